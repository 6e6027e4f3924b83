"""Summarization: its files, its model, its score, its answers."""

import collections
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn import models, pictures, rouge
from keras_rnn.models.search import LOWEST
from keras_rnn.tasks.blocks import in_blocks, lengths_up_to
from keras_rnn.tasks.copies import CopyFeatures
from keras_rnn.tasks.facts import read_facts, write_facts
from keras_rnn.tasks.inputs import count_cut, read_texts
from keras_rnn.tasks.stack import stack_of
from keras_rnn.tasks.task import Batch, Server, Task, built, known_cell
from keras_rnn.tasks.texts import by_length, is_blank, row_arrays
from keras_rnn.tasks.vectors import give_vectors, vector_ids, vectors_dim_of

FACTS_FILE = "vocabulary.summaries.json"

# Words of text and summary together, padding included, that are scored at a time.
WORDS_AT_ONCE = 4096

# Texts that one call of the model answers.
ANSWERED_TOGETHER = 64


class Summarization(Task):
    """A shorter text for a text."""

    name = "summarization"
    drawn = "copying"

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        known_cell(config.cell)
        if config.search.n_best > config.search.beam:
            raise pipelines.InputError(
                f"--config.search.n_best={config.search.n_best}: it must be at most search.beam, {config.search.beam}"
            )
        if config.coverage_weight and not config.coverage:
            raise pipelines.InputError(
                f"--config.coverage_weight={config.coverage_weight:g} goes with --config.coverage=true; to do without, "
                "add --config.coverage_weight=0"
            )
        self.features: CopyFeatures | None = None
        # k of the baseline, the first k words of a text, and the words of the longest training summary.
        self.lead = self.longest = 1

    @property
    def metric(self) -> str:
        return self.config.metric

    @property
    def beside(self) -> Sequence[str]:
        return [f"lead_{self.metric}"] if self.metric in rouge.KINDS else []

    @property
    def higher_is_better(self) -> bool:
        return self.config.metric != "loss"

    @property
    def searches(self) -> bool:
        return self.config.dev_beam != self.config.search.beam

    # Data

    def built_in_data(self, directory):
        return pipelines.write_tables(directory, pipelines.town_notices(), ".jsonl")

    def read(self, files, counts=None, answers=True, on_error="raise", json_lines=False):
        data = self.config.data
        return pipelines.read_table(
            files,
            {"text": data.text, "summary": data.summary},
            delimiter=data.delimiter or None,
            max_bytes=self.config.max_bytes,
            counts=counts,
            optional=() if answers else ("summary",),
            on_error=on_error,
            json_lines=json_lines,
            texts=("text", "summary"),
        )

    def fit(self, records):
        def texts(field):
            return (record[field] for record in records())

        self.features = CopyFeatures.fit(self.config, texts, self.inherited)

        def pairs():
            for record in records():
                if record["text"].strip() and record["summary"].strip():
                    yield record["text"], record["summary"]

        count = 0
        for chunk in pipelines.in_chunks(pairs()):
            count += len(chunk)
            ids = self.features.encode_summaries(*map(_strings, zip(*chunk, strict=True)))
            # Without the end.
            self.longest = max(self.longest, int(tf.reduce_max(ids.row_lengths())) - 1)
        # Of many as many as it asks: all of them may not fit into the memory.
        some = list(itertools.islice(pairs(), 0, None, max(count // rouge.SOUGHT, 1)))
        self.lead = rouge.best_lead(*zip(*some, strict=True)) if some else 1
        self.vectors_dim = vectors_dim_of(self)

    @property
    def vocabularies(self):
        return self.features.vocabularies

    def save(self, directory):
        self.features.tokenizer.save(directory)
        if self.features.vectors is not None:
            self.features.vectors.save(directory, name="vocabulary.vectors")
        facts = {
            "lead": self.lead,
            "longest": self.longest,
            "vectors_dim": self.vectors_dim,
            "spellings": self.features.spellings.tolist(),
        }
        write_facts(directory, FACTS_FILE, facts)

    def load(self, directory, calibrated=True):
        kinds = {"lead": int, "longest": int, "vectors_dim": int, "spellings": list}
        facts = read_facts(directory, FACTS_FILE, kinds)
        self.lead, self.longest = facts["lead"], facts["longest"]
        self.vectors_dim = facts["vectors_dim"]
        tokenizer, vectors = pipelines.load_tokenizer(directory), None
        if self.config.vectors:
            vectors = pipelines.load_tokenizer(directory, name="vocabulary.vectors")
        limits = (self.config.max_length, self.config.max_bytes)
        self.features = CopyFeatures(tokenizer, facts["spellings"], vectors, *limits)

    @property
    def columns(self):
        return {
            **self.features.columns,
            "target": pipelines.Column.of_ids(self.features.extended_size),
            # What dev summaries are made of and compared with, in bytes.
            "text": pipelines.Column("uint8"),
            "reference": pipelines.Column("uint8"),
        }

    def encode(self, records, counts=None, training=False):
        counts = collections.Counter() if counts is None else counts

        def both_texts(chunk):
            texts, summaries = (
                _strings([record[field] for record in chunk]) for field in ("text", "summary")
            )
            encoded = {
                name: row_arrays(ragged) for name, ragged in self.features.encode(texts).items()
            }
            targets = row_arrays(self.features.encode_summaries(texts, summaries))
            return chunk, encoded, targets, int(self.features.too_long(texts))

        for chunk, encoded, targets, cut in pipelines.map_ahead(
            both_texts, pipelines.in_chunks(records)
        ):
            for place, record in enumerate(chunk):
                example = {name: rows[place] for name, rows in encoded.items()}
                reason = self._flaw(record, len(example["ids"]), len(targets[place]) - 1, training)
                if reason:
                    counts[f"{reason}, left out"] += 1
                    continue
                kept = {"text": record["text"], "reference": record["summary"]}
                yield {
                    **example,
                    "target": targets[place],
                    **{name: _bytes("" if training else text) for name, text in kept.items()},
                }
            if cut:
                counts[f"cut to {self.config.max_length} words"] += cut

    def _flaw(self, record: pipelines.Record, text: int, summary: int, training: bool) -> str:
        """Why an example is no good, if so; `text` and `summary` are numbers of words."""
        if not record["text"].strip():
            return "without text"
        if not record["summary"].strip():
            return "without summary"
        if training and summary > text:
            return "summary longer than its text"
        return ""

    def batches(self, store, training):
        config = self.config
        options = {
            "length_columns": ["ids", "target"],
            "fields": [*self.features.columns, "target"],
            "batch_size": config.batch_size,
            "seed": config.seed,
        }
        if training:
            return pipelines.Batches(store, shuffle=True, max_shapes=config.max_shapes, **options)
        return pipelines.Batches(
            store, max_shapes=config.max_shapes, batch_tokens=WORDS_AT_ONCE, **options
        )

    def real_tokens(self, batch):
        real = batch["real"][:, None]
        return sum(tf.math.count_nonzero((batch[name] != 0) & real) for name in ("ids", "target"))

    # Model

    @property
    def embedding_dim(self):
        return self.config.embedding_dim or (64 if self.config.vectors else 128)

    def build_model(self):
        config, features = self.config, self.features
        token_vectors = None
        if features.vectors is not None:
            tokens = tf.RaggedTensor.from_row_lengths(
                features.tokenizer.tokens_list, [features.tokenizer.size]
            )
            token_vectors = vector_ids(features.vectors, tokens).flat_values.numpy().tolist()
        model = models.PointerGenerator(
            {
                "vocabulary_size": features.tokenizer.size,
                "embedding_dim": self.embedding_dim,
                "stack": stack_of(config),
                "dropout": config.dropout,
                "word_dropout": config.word_dropout,
                "vectors_size": features.vectors.size if features.vectors is not None else 0,
                "vectors_dim": self.vectors_dim,
                "vectors_trainable": config.vectors_trainable,
            },
            units=config.decoder_units,
            cell=config.cell,
            attention_units=config.attention_units,
            coverage=config.coverage,
            dropout=config.dropout,
            recurrent_dropout=config.recurrent_dropout,
            token_vectors=token_vectors,
        )
        text = features.pad(features.encode(_strings(["a"])))
        return built(model, {**text, "target": tf.constant([[pipelines.END]])})

    def initialize(self, model):
        return give_vectors(model, self.config, self.features.vectors)

    def _text_of(self, batch: Batch) -> dict[str, tf.Tensor]:
        return {name: batch[name] for name in self.features.columns}

    def loss(self, model, batch, training):
        target = batch["target"]
        inputs = {**self._text_of(batch), "target": target}
        logits, alpha, switch = model(inputs, training=training)
        found, _ = models.log_likelihood(logits, alpha, switch, batch["ids"], target)
        losses = -found
        if training and self.config.label_smoothing:
            uniform = tf.reduce_logsumexp(logits, axis=2) - tf.reduce_mean(logits, axis=2)
            losses += self.config.label_smoothing * (uniform - losses)
        if training and self.config.coverage_weight:
            losses += self.config.coverage_weight * models.coverage_loss(alpha)
        # A word that can be neither written nor copied teaches nothing.
        real = (target != pipelines.PADDING) & (target != pipelines.UNKNOWN)
        return losses, tf.cast(real & batch["real"][:, None], tf.float32), ()

    def forward(self, model, batch, last=False):
        losses, weights, _ = self.loss(model, batch, training=False)
        beam = self.config.search.beam if last else self.config.dev_beam
        found = search(self.config, model, self._text_of(batch), self.longest, beam, 1)
        return losses, weights, found.tokens[:, 0]

    # Scores

    def judge(self, forward, batches):
        loss = words = 0.0
        store = batches.store
        texts, references = (
            [store.text(number, name) for number in range(len(store))]
            for name in ("text", "reference")
        )
        answers = [""] * len(store)
        for batch in batches.tensors():
            losses, weights, found = forward(batch)
            loss += float(tf.reduce_sum(losses * weights))
            words += float(tf.reduce_sum(weights))
            numbers = batch["index"].numpy()
            real = numbers >= 0
            given = _strings([texts[number] for number in numbers[real]])
            decoded = self.features.decode(given, tf.boolean_mask(found, real)).numpy()
            for number, text in zip(numbers[real], decoded, strict=True):
                answers[number] = text.decode("utf-8")
        return {
            **rouge.summary_scores(answers, references, texts, self.lead),
            "loss": loss / max(words, 1.0),
            "examples": len(answers),
        }

    # Answers

    def read_input(self, file, counts=None):
        return read_texts(self, file, counts)

    def server(self, model):
        return SummarizationServer(self.config, self.features, model, self.longest)

    def as_text(self, answer):
        return " ".join(answer["summary"].split())

    def as_row(self, record, answer):
        return {**record.row, self.config.data.summary: answer["summary"]}

    def word_vectors(self, model):
        return model.encoder.embedding.embeddings.value, self.features.tokenizer.tokens_list

    def draw(self, answer, title=""):
        if not answer["target_tokens"]:
            return None
        tokens = (answer["source_tokens"], answer["target_tokens"])
        alignment = np.array(answer["alignment"])
        return pictures.draw_copying(alignment, *tokens, answer["copied"], title)

    def pictures(self, server, records):
        shown = {}
        rows = []
        answers = server.explain(records)
        for number, (record, answer) in enumerate(zip(records, answers, strict=True)):
            rows.append((record["text"], record["summary"], answer["summary"]))
            figure = self.draw(answer)
            if figure is not None:
                shown[f"{self.drawn}/{number}"] = pictures.to_pixels(figure)[None]
        few = records[: pictures.GATES_SHOWN]
        sentences = [answer["source_tokens"] for answer in answers[: len(few)]]
        if few and all(sentences):
            shown |= pictures.gates_pictures(
                *server.gates(_strings([record["text"] for record in few])), sentences
            )
        table = pictures.markdown_table(["text", "right", "given"], rows)
        return {"summaries": table, **shown}


def search(
    config: ml_collections.ConfigDict,
    model: keras.Model,
    text: dict[str, tf.Tensor],
    longest: int,
    beam: int,
    n_best: int,
) -> models.Found:
    """Summarizes texts under the search settings of a config, in `longest` words unless they say otherwise."""
    settings = config.search
    shared = {"min_length": settings.min_length, "block_ngrams": settings.block_ngrams}
    width = settings.max_length or max(longest, settings.min_length)
    if beam == 1:
        return models.greedy_search(model, text, width, **shared)
    penalty = settings.length_penalty
    return models.beam_search(
        model, text, width, beam=beam, length_penalty=penalty, n_best=n_best, **shared
    )


class SummarizationServer(Server):
    """Raw texts to their summaries.

    Signatures, from `text` string[batch]:
        serving_default: `output` string[batch], `score` float32[batch]
        compiled: the same through XLA, in batches and lengths of a fixed set
        details: the same, `outputs` string[batch, n_best] and `scores` float32[batch, n_best]; `source_tokens`
            string[batch, source], `target_tokens` string[batch, target], both padded with "", the latter with the end
            "[END]"; `alignment` float32[batch, target, source], where each word looked, and `copied` float32[batch,
            target], the probability that it was copied from there. Where fewer than n_best are found, the output is ""
            and the score -1e9

    The score is that of the search: the log-probability, divided by the length penalty. The summary of an empty text is
    empty.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        features: CopyFeatures,
        model: keras.Model,
        longest: int,
    ):
        super().__init__(name="summarization")
        self.features = features
        self.weights = [variable.value for variable in model.weights]
        self.n_best = config.search.n_best
        self.alignments = config.search.alignments
        self.width = config.search.max_length or max(longest, config.search.min_length)
        # Behind functions, so that saving does not follow them into Keras.
        self.find = lambda text: search(
            config, model, text, longest, config.search.beam, self.n_best
        )
        self.read = lambda inputs: model(inputs, training=False)
        self.encode_gates = lambda text: model.gates(text)

    def signatures(self):
        text = [tf.TensorSpec([None], tf.string, name="text")]
        return {
            name: tf.function(getattr(self, "_" + name), input_signature=text, autograph=False)
            for name in ("serving_default", "compiled", "details")
        }

    def gates(self, text: tf.Tensor) -> tuple[dict[str, tf.Tensor], np.ndarray]:
        """The gates of the encoder's first layer over texts string [batch], name -> [batch, time, units], and where
        their words stand, bool [batch, time].
        """
        features = self._encoded(text)
        return self.encode_gates(features), features["ids"].numpy() != 0

    def _encoded(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.features.pad(self.features.encode(text))

    def _serving_default(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        found = self.find(self._encoded(text))
        return self._result(text, found.tokens[:, 0], found.scores[:, 0])

    def _result(self, text, tokens, scores) -> dict[str, tf.Tensor]:
        blank = is_blank(text)
        return {
            "output": tf.where(blank, "", self.features.decode(text, tokens)),
            "score": tf.where(blank, 0.0, scores),
        }

    def _details(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        encoded = self._encoded(text)
        found = self.find(encoded)
        batch, blank = tf.shape(text)[0], is_blank(text)[:, None]
        flat = tf.reshape(found.tokens, [batch * self.n_best, self.width])
        outputs = self.features.decode(tf.repeat(text, self.n_best), flat)
        # One step more, for the end looks somewhere as well.
        tokens = tf.pad(found.tokens[:, 0], [[0, 0], [0, 1]])
        ended = tf.one_hot(found.lengths[:, 0], self.width + 1, dtype=tf.int32) * pipelines.END
        tokens = tf.where(blank, 0, tokens + ended)
        logits, alpha, switch = self.read({**encoded, "target": tokens})
        _, copied = models.log_likelihood(logits, alpha, switch, encoded["ids"], tokens)
        real = tokens != pipelines.PADDING
        return {
            **self._result(text, found.tokens[:, 0], found.scores[:, 0]),
            "outputs": tf.where(blank, "", tf.reshape(outputs, [batch, self.n_best])),
            "scores": tf.where(blank, 0.0, tf.maximum(found.scores, LOWEST)),
            "source_tokens": self.features.words(text).to_tensor(""),
            "target_tokens": self.features.spell(text, tokens),
            "alignment": tf.where(real[:, :, None], alpha, 0.0),
            "copied": tf.where(real, copied, 0.0),
        }

    def _compiled(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        def best(encoded):
            found = self.find(encoded)
            return found.tokens[:, 0], found.scores[:, 0]

        run = tf.function(best, jit_compile=True, autograph=False)

        def compute(encoded, length):
            return run(self.features.pad(encoded, length))

        parts = in_blocks(
            self.features.encode(text),
            compute,
            lengths_up_to(self.features.max_length),
            [tf.TensorSpec([self.width], tf.int32), tf.TensorSpec([])],
        )
        return self._result(text, *parts)

    # In the process that trained it

    @functools.cached_property
    def _functions(self):
        return self.signatures()

    def answer(self, records, counts=None):
        texts = [record["text"] for record in records]
        if counts is not None:
            count_cut(self.features, texts, counts)
        return by_length(texts, ANSWERED_TOGETHER, lambda some: self._answer(some, self.alignments))

    def explain(self, records: Sequence[pipelines.Record]) -> list[dict[str, Any]]:
        """Answers with `source_tokens`, `target_tokens`, `alignment` and `copied`."""
        return self._answer([record["text"] for record in records], aligned=True)

    def _answer(self, texts: Sequence[str], aligned: bool) -> list[dict[str, Any]]:
        name = "details" if aligned or self.n_best > 1 else "serving_default"
        given = self._functions[name](_strings(texts))
        result = {name: tensor.numpy() for name, tensor in given.items()}
        return [
            {**self._object(result, row), **(_aligned(result, row) if aligned else {})}
            for row in range(len(texts))
        ]

    def _object(self, result: dict[str, np.ndarray], row: int) -> dict[str, Any]:
        answer = {
            "summary": result["output"][row].decode("utf-8"),
            "score": float(result["score"][row]),
        }
        if self.n_best > 1:
            pairs = zip(result["outputs"][row], result["scores"][row], strict=True)
            answer["n_best"] = [
                {"summary": text.decode("utf-8"), "score": float(score)}
                for text, score in pairs
                if score > LOWEST  # there may be fewer
            ]
        return answer


def _aligned(result: dict[str, np.ndarray], row: int) -> dict[str, Any]:
    """The words of both sides, what each looked at, and how surely it was copied."""
    source, target = (
        [token.decode("utf-8") for token in result[side][row] if token]
        for side in ("source_tokens", "target_tokens")
    )
    return {
        "source_tokens": source,
        "target_tokens": target,
        "alignment": result["alignment"][row, : len(target), : len(source)].tolist(),
        "copied": result["copied"][row, : len(target)].tolist(),
    }


def _strings(texts: Sequence[str]) -> tf.Tensor:
    return tf.constant(list(texts), tf.string)


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8"), np.uint8)


TASK = Summarization
