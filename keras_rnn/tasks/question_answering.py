"""Question answering: its files, its models, its scores, its answers."""

import collections
import json
import os
from typing import Any

import keras
import ml_collections
import tensorflow as tf

import pipelines
from keras_rnn import metrics, pictures
from keras_rnn.tasks.answers import AnswerCounts
from keras_rnn.tasks.facts import read_facts, write_facts
from keras_rnn.tasks.inputs import format_of
from keras_rnn.tasks.passages import PassageFeatures
from keras_rnn.tasks.reading import EMBEDDING_DIM, Reading, judged_by
from keras_rnn.tasks.span_answers import SpanAnswers
from keras_rnn.tasks.task import Task, built, known_cell
from keras_rnn.tasks.vectors import give_vectors, vector_tokenizer, vectors_dim_of
from keras_rnn.tasks.word_answers import WordAnswers

ANSWERS_FILE = "vocabulary.answers.json"

# Tokens read of a question, at most.
MOST_OF_QUESTION = 64


class QuestionAnswering(Task):
    """A word, or a span of the text, for a question about a text."""

    name = "question_answering"
    drawn = "attention"
    input_column = "context"

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        known_cell(config.cell)
        self.reading: Reading | None = None

    @property
    def metric(self) -> str:
        return self.reading.metric

    # Data

    def built_in_data(self, directory):
        return pipelines.write_tables(directory, pipelines.house_stories(), ".jsonl")

    def read(self, files, counts=None, answers=True, on_error="raise", json_lines=False):
        return pipelines.read_questions(
            files,
            delimiter=self.config.data.delimiter or None,
            max_bytes=self.config.max_bytes,
            counts=counts,
            answers=answers,
            on_error=on_error,
            json_lines=json_lines,
        )

    def stratum(self, record):
        # Of answers that are spans there are as many as records, nearly.
        return record["task"]

    def fit(self, records):
        config = self.config
        counted = AnswerCounts(records())
        kind = counted.kind if config.answers == "detect" else config.answers
        counted.check(kind)
        if isinstance(self.parent, QuestionAnswering) and self.parent.reading.kind != kind:
            theirs = self.parent.reading.kind
            raise pipelines.InputError(
                f"--config.init_from={self.config.init_from}: its answers are {theirs}, not {kind}"
            )
        texts = (record[name] for record in records() for name in ("context", "question"))
        tokenizer = self.inherited.get("embedding") or pipelines.train_tokenizer(
            "words", texts, config.vocabulary_size, lower=config.lower, min_count=config.min_count
        )
        vectors = None
        if config.vectors:
            vectors = self.inherited.get("vectors") or vector_tokenizer(
                config, tokenizer.tokens_list
            )
        facts = {
            "answers": kind,
            "vectors_dim": vectors_dim_of(self),
            "question_length": MOST_OF_QUESTION,
            "sentence_length": config.sentence_length if kind == "words" else 0,
        }
        if kind == "words":
            facts["words"] = sorted(counted.words)
        else:
            facts["answerable"] = not counted.unanswered
        self._read_as(facts, tokenizer, vectors)
        # Rows as long as the data wants them: each token more is a step of a recurrent network.
        facts |= self.reading.features.longest(records())
        self._read_as(facts, tokenizer, vectors)

    def _read_as(self, facts: dict[str, Any], tokenizer, vectors) -> None:
        config = self.config
        features = PassageFeatures(
            tokenizer,
            vectors,
            max_length=config.max_length,
            question_length=facts["question_length"],
            max_bytes=config.max_bytes,
            sentence_length=facts["sentence_length"],
        )
        shared = (config, features, facts["vectors_dim"])
        if facts["answers"] == "words":
            self.reading = WordAnswers(*shared, facts["words"])
        else:
            self.reading = SpanAnswers(*shared, facts["answerable"])

    @property
    def vocabularies(self):
        return self.reading.features.vocabularies

    @property
    def vectors_dim(self):
        return self.reading.vectors_dim

    @property
    def labels(self):
        return self.reading.labels

    def save(self, directory):
        features = self.reading.features
        features.tokenizer.save(directory)
        if features.vectors is not None:
            features.vectors.save(directory, name="vocabulary.vectors")
        facts = {
            "answers": self.reading.kind,
            "vectors_dim": self.reading.vectors_dim,
            "question_length": features.question_length,
            "sentence_length": features.sentence_length,
            **self.reading.facts(),
        }
        write_facts(directory, ANSWERS_FILE, facts)

    def load(self, directory, calibrated=True):
        common = {
            "answers": str,
            "vectors_dim": int,
            "question_length": int,
            "sentence_length": int,
        }
        facts = read_facts(directory, ANSWERS_FILE, common)
        if facts["answers"] not in ("words", "spans"):
            message = f"'answers' is {facts['answers']!r}, neither 'words' nor 'spans'"
            raise pipelines.InputError(message, os.path.join(directory, ANSWERS_FILE))
        of_kind = {"words": list} if facts["answers"] == "words" else {"answerable": bool}
        facts = read_facts(directory, ANSWERS_FILE, of_kind)
        vectors = None
        if self.config.vectors:
            vectors = pipelines.load_tokenizer(directory, name="vocabulary.vectors")
        self._read_as(facts, pipelines.load_tokenizer(directory), vectors)

    @property
    def columns(self):
        return {**self.reading.columns, **self.reading.judged_columns}

    def encode(self, records, counts=None, training=False):
        counts = collections.Counter() if counts is None else counts
        return self.reading.encode_all(records, counts, training)

    def batches(self, store, training):
        return self.reading.batches(
            store,
            batch_size=self.config.batch_size,
            length_columns=["ids"],
            fields=[*self.reading.columns],
            shuffle=training,
            seed=self.config.seed,
            max_shapes=self.config.max_shapes,
        )

    # Model

    @property
    def embedding_dim(self):
        return self.config.embedding_dim or EMBEDDING_DIM

    def label_axes(self, model):
        return self.reading.label_axes(model)

    def build_model(self):
        features = self.reading.features
        inputs = features.pad(features.encode(tf.constant([["a", "a"]])))
        return built(self.reading.build_model(), inputs)

    def initialize(self, model):
        return give_vectors(model, self.config, self.reading.features.vectors)

    def loss(self, model, batch, training):
        return self.reading.loss(model, batch, training)

    def training_metrics(self):
        return {"accuracy": keras.metrics.Mean(name="accuracy")}

    def update_metrics(self, metrics, batch, outputs):
        metrics["accuracy"].update_state(*self.reading.hits(batch, outputs))

    def forward(self, model, batch, last=False):
        losses, weights, outputs = self.loss(model, batch, training=False)
        return losses, weights, self.reading.decode(outputs)

    def judge(self, forward, batches):
        scores = metrics.AnswerScores(spans=self.reading.kind == "spans")
        loss = total = 0.0
        for batch in batches.tensors():
            losses, weights, found = forward(batch)
            loss += float(tf.reduce_sum(losses * weights))
            total += float(tf.reduce_sum(weights))
            real = batch["real"].numpy()
            numbers = batch["index"].numpy()[real].tolist()
            examples = [batches.store[number] for number in numbers]
            answers = self.reading.texts(tuple(part.numpy()[real] for part in found), examples)
            for answer, number in zip(answers, numbers, strict=True):
                scores.update(answer, *judged_by(batches.store, number))
        return {**scores.result(), "loss": loss / max(total, 1.0)}

    # Answers

    def read_input(self, file, counts=None):
        kind = format_of(file, self.input_column, self.config.data.delimiter)
        if kind == "lines":
            raise pipelines.InputError(
                "a question needs its text: JSON lines, or a table, with context and question",
                "standard input" if file == "-" else file,
            )
        return self.read(file, counts, False, "yield", json_lines=kind == "jsonl")

    def server(self, model):
        return self.reading.server(model)

    def as_text(self, answer):
        return answer["answer"]

    def as_row(self, record, answer):
        return {**record.row, "answer": answer["answer"]}

    def rewriting(self, source):
        if not all(pipelines.is_squad(file) for file in pipelines.expand(source)):
            return None

        def predictions(answered, output):
            # As SQuAD's own evaluation takes them: an answer by the id of each question.
            found = {
                record.row.get("id", str(record.line)): answer["answer"]
                for record, answer in answered
                if "error" not in answer
            }
            text = json.dumps(found, ensure_ascii=False) + "\n"
            if isinstance(output, str):
                with pipelines.atomic_write(output) as file:
                    file.write(text)
            else:
                output.write(text.encode("utf-8"))

        return predictions

    def word_vectors(self, model):
        return model.encoder.embedding.embeddings.value, self.reading.features.tokenizer.tokens_list

    def draw(self, answer, title=""):
        if "hops" in answer:
            return pictures.draw_story(answer["hops"], answer["sentences"], title)
        return pictures.draw_attention(answer["pointers"], answer["tokens"], title)

    def pictures(self, server, records):
        if not records:
            return {}
        shown, rows = {}, []
        answers = server.explain(records)
        for number, (record, answer) in enumerate(zip(records, answers, strict=True)):
            right = " / ".join(record.get("answers", [])) or "(none)"
            given = answer["answer"] or "(none)"
            rows.append((record["question"], right, given, f"{answer['score']:.3f}"))
            title = f"{record['question']} {given} (right: {right})"
            shown[f"{self.drawn}/{number}"] = pictures.to_pixels(self.draw(answer, title))[None]
        few = records[: pictures.GATES_SHOWN]
        tokens = [answer["tokens"] for answer in answers[: len(few)]]
        shown |= pictures.gates_pictures(*server.gates(few), tokens)
        table = pictures.markdown_table(["question", "right", "given", "probability"], rows)
        return {"answers": table, **shown}


TASK = QuestionAnswering
