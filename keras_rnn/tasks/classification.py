"""Text classification: its files, its model, its score, its answers."""

import collections
import functools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn import metrics, models, pictures
from keras_rnn.tasks.blocks import in_blocks, lengths_up_to
from keras_rnn.tasks.facts import read_facts, write_facts
from keras_rnn.tasks.features import TextFeatures
from keras_rnn.tasks.inputs import count_cut, read_texts
from keras_rnn.tasks.stack import stack_of
from keras_rnn.tasks.task import (
    Batch,
    Portable,
    Server,
    Task,
    built,
    known_cell,
    model_inputs,
)
from keras_rnn.tasks.texts import by_length, row_arrays
from keras_rnn.tasks.vectors import give_vectors, vectors_dim_of

LABELS_FILE = "vocabulary.labels.json"
CALIBRATION_FILE = "calibration.json"

# A label of a text that may have several is given where it is likelier than not.
THRESHOLD = 0.5

# Words of a text whose weights a picture shows.
WORDS_SHOWN = 200

# Texts that one call of the model answers.
ANSWERED_TOGETHER = 64


class Classification(Task):
    """One label, or with `data.multilabel_separator` any number of labels, for each text."""

    name = "classification"
    drawn = "attention"

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        self.labels: list[str] = []
        self.label_counts: list[int] = []
        self.examples = 0
        self.temperature = 1.0
        self.features: TextFeatures | None = None
        self.separator = config.data.multilabel_separator
        self.several_labels = bool(self.separator)
        self.metric = "f1_macro" if config.class_weights == "balanced" else "accuracy"
        if self.several_labels:
            self.metric = "f1_micro" if config.class_weights == "none" else "f1_macro"
        known_cell(config.cell)
        for name in ("characters", "hierarchical", "vectors"):
            if config[name] and config.tokenizer != "words":
                raise pipelines.InputError(
                    f"--config.{name} goes with --config.tokenizer=words, not {config.tokenizer}"
                )
        if config.characters and config.hierarchical:
            raise pipelines.InputError(
                "--config.characters=true and --config.hierarchical=true do not go together"
            )

    # Data

    def built_in_data(self, directory):
        return pipelines.write_tables(directory, pipelines.language_identification(seed=0), ".tsv")

    def read(self, files, counts=None, answers=True, on_error="raise", json_lines=False):
        data = self.config.data
        return pipelines.read_table(
            files,
            {"text": data.text, "label": data.label},
            delimiter=data.delimiter or None,
            max_bytes=self.config.max_bytes,
            counts=counts,
            optional=() if answers else ("label",),
            on_error=on_error,
            json_lines=json_lines,
            texts=("text",),
        )

    def stratum(self, record):
        # Of several labels the first: their combinations may all be different.
        return "".join(self.labels_of(record)[:1])

    def labels_of(self, record: pipelines.Record) -> list[str]:
        """The labels of a record, sorted, each once."""
        value = record["label"]
        if not self.several_labels:
            if isinstance(value, list):
                raise record.error(
                    "the label is a list; for several labels a text set "
                    "--config.data.multilabel_separator"
                )
            if not value.strip():
                raise record.error("the label is empty")
            return [value.strip()]
        parts = value if isinstance(value, list) else value.split(self.separator)
        return sorted({part.strip() for part in parts} - {""})

    def fit(self, records):
        counts = collections.Counter()
        first = None
        for record in records():
            first = first or record
            self.examples += 1
            counts.update(self.labels_of(record))
        self.labels = sorted(counts)
        self.label_counts = [counts[label] for label in self.labels]
        if not self.several_labels and len(self.labels) < 2:
            raise pipelines.InputError(
                f"every row has the label {self.labels[0]!r}; two labels at least are needed to learn from",
                first.file,
            )
        if not self.labels:
            raise pipelines.InputError("no row has a label", first.file)
        self.features = TextFeatures.fit(
            self.config, lambda: (record["text"] for record in records()), self.inherited
        )
        self.vectors_dim = vectors_dim_of(self)

    def save(self, directory):
        self.features.save(directory)
        facts = {
            "labels": self.labels,
            "counts": self.label_counts,
            "examples": self.examples,
            "vector_dim": self.vectors_dim,
        }
        write_facts(directory, LABELS_FILE, facts)

    def load(self, directory, calibrated=True):
        self.features = TextFeatures.load(self.config, directory)
        kinds = {"labels": list[str], "counts": list[int], "examples": int, "vector_dim": int}
        facts = read_facts(directory, LABELS_FILE, kinds)
        self.labels, self.label_counts = facts["labels"], facts["counts"]
        self.examples, self.vectors_dim = facts["examples"], facts["vector_dim"]
        if calibrated and os.path.exists(os.path.join(directory, CALIBRATION_FILE)):
            facts = read_facts(directory, CALIBRATION_FILE, {"temperature": (float, int)})
            self.temperature = facts["temperature"]

    @property
    def vocabularies(self):
        return self.features.vocabularies

    @property
    def columns(self):
        label = pipelines.Column.of_ids(len(self.labels), scalar=True)
        if self.several_labels:
            label = pipelines.Column("float32", (len(self.labels),), scalar=True, bounds=(0, 1))
        return {**self.features.columns, "label": label}

    def encode(self, records, counts=None, training=False):
        number_of = {label: number for number, label in enumerate(self.labels)}

        def encoded_texts(chunk):
            texts = tf.constant([record["text"] for record in chunk])
            return chunk, *self.features.encode_and_count(texts)

        for chunk, encoded, cut in pipelines.map_ahead(encoded_texts, pipelines.in_chunks(records)):
            empty = sum(not record["text"].strip() for record in chunk)
            if counts is not None and empty:
                counts["empty (read as an unknown word)"] += empty
            if counts is not None and int(cut):
                counts[f"cut to {self.config.max_length} tokens"] += int(cut)
            split = {name: row_arrays(ragged) for name, ragged in encoded.items()}
            for place, record in enumerate(chunk):
                numbers = []
                for label in self.labels_of(record):
                    if label not in number_of:
                        known = ", ".join(map(repr, self.labels[:20]))
                        more = ", …" if len(self.labels) > 20 else ""
                        raise record.error(
                            f"the label {label!r} does not occur in the training data; "
                            f"its labels are {known}{more}"
                        )
                    numbers.append(number_of[label])
                example = {name: parts[place] for name, parts in split.items()}
                if self.several_labels:
                    example["label"] = np.zeros(len(self.labels), np.float32)
                    example["label"][numbers] = 1
                else:
                    example["label"] = np.int32(numbers[0])
                yield example

    def batches(self, store, training):
        return pipelines.Batches(
            store,
            batch_size=self.config.batch_size,
            length_columns=["ids"],
            max_length=self.config.max_length,
            shuffle=training,
            seed=self.config.seed,
            max_shapes=self.config.max_shapes,
        )

    # Model

    @property
    def embedding_dim(self):
        return self.config.embedding_dim or (16 if self.config.vectors else 64)

    def build_model(self):
        config = self.config
        pooling = {
            "kind": config.pooling,
            "units": config.attention_units,
            "rows": config.attention_rows,
            "penalty": config.attention_penalty,
            "bidirectional": config.bidirectional,
        }
        stack = stack_of(config)
        encoder = {
            "vocabulary_size": self.features.tokenizer.size,
            "embedding_dim": self.embedding_dim,
            "stack": stack,
            "dropout": config.dropout,
            "word_dropout": config.word_dropout,
            "alphabet_size": self.features.alphabet.size if config.characters else 0,
            "character_units": config.character_units,
            "skip": config.skip and config.pooling != "last",
            "vectors_size": self.features.vectors.size if config.vectors else 0,
            "vectors_dim": self.vectors_dim,
            "vectors_trainable": config.vectors_trainable,
        }
        if config.hierarchical:
            model = models.HierarchicalClassifier(
                len(self.labels),
                encoder,
                stack={**stack, "layers": 1},
                pooling=pooling,
                dropout=config.dropout,
            )
        else:
            model = models.Classifier(
                len(self.labels), encoder, pooling=pooling, dropout=config.dropout
            )
        features = self.features.pad(self.features.encode(tf.constant(["a"])))
        return built(model, features)

    def label_axes(self, model):
        return [(model.logits.kernel, (1,)), (model.logits.bias, (0,))]

    def initialize(self, model):
        given = give_vectors(model, self.config, self.features.vectors)
        if not given:
            return ""
        words = self.features.tokenizer.tokens_list[len(pipelines.SPECIAL_TOKENS) :]
        known = {*self.features.vectors.tokens_list}
        share = np.mean([word in known or word.lower() in known for word in words])
        return f"{given}; they know {share:.0%} of the vocabulary"

    @functools.cached_property
    def _label_weights(self) -> np.ndarray:
        """Weight of each label: examples / (labels · its examples) if balanced, else 1."""
        if self.config.class_weights == "none":
            return np.ones(len(self.labels), np.float32)
        counts = np.maximum(self.label_counts, 1)
        if self.several_labels:
            return ((self.examples - counts) / counts).clip(0.1, 100).astype(np.float32)
        return (sum(self.label_counts) / (len(counts) * counts)).astype(np.float32)

    def loss(self, model, batch, training):
        logits = model(batch, training=training)
        weight = tf.cast(batch["real"], tf.float32)
        labels = self._targets(batch)
        smooth = self.config.label_smoothing if training else 0.0
        weights = tf.constant(self._label_weights)
        if self.several_labels:
            targets = labels * (1 - smooth) + smooth / 2
            # A rare label's presence weighs more than its absence.
            loss = tf.nn.weighted_cross_entropy_with_logits(targets, logits, weights)
            return tf.reduce_mean(loss, axis=1), weight, logits
        loss = keras.losses.categorical_crossentropy(
            labels, logits, from_logits=True, label_smoothing=smooth
        )
        return loss, weight * tf.linalg.matvec(labels, weights), logits

    def _targets(self, batch: Batch) -> tf.Tensor:
        """What is right, as float32 [batch, labels]."""
        if self.several_labels:
            return tf.reshape(batch["label"], [-1, len(self.labels)])
        return tf.one_hot(tf.reshape(batch["label"], [-1]), len(self.labels))

    def training_metrics(self):
        if self.several_labels:
            return {"accuracy": keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")}
        return {"accuracy": keras.metrics.CategoricalAccuracy(name="accuracy")}

    def update_metrics(self, metrics, batch, outputs):
        real = tf.cast(batch["real"], tf.float32)
        metrics["accuracy"].update_state(self._targets(batch), outputs, sample_weight=real)

    def _answers(self, forward, batches) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Logits and right labels (bool) of the real examples, batch by batch."""
        for batch in batches.tensors():
            logits = forward(batch)[2].numpy()
            real = batch["real"].numpy()
            yield logits[real], self._targets(batch).numpy()[real] > 0.5

    def _predicted(self, logits: np.ndarray) -> np.ndarray:
        if self.several_labels:
            return logits >= math.log(THRESHOLD / (1 - THRESHOLD))
        return np.arange(len(self.labels)) == logits.argmax(1)[:, None]

    def judge(self, forward, batches):
        counts = metrics.LabelCounts(self.labels)
        loss = 0.0
        for logits, right in self._answers(forward, batches):
            counts.update(right, self._predicted(logits))
            loss += metrics.negative_log_likelihood(
                logits, right, self.temperature, self.several_labels
            ).sum()
        result = counts.result()
        return {**result, "loss": float(loss / max(result["examples"], 1))}

    def calibrate(self, forward, batches, directory):
        logits, right = map(np.concatenate, zip(*self._answers(forward, batches), strict=True))
        self.temperature = metrics.fit_temperature(logits, right, self.several_labels)
        facts = {"temperature": self.temperature}
        write_facts(directory, CALIBRATION_FILE, facts)
        return facts

    # Answers

    def read_input(self, file, counts=None):
        return read_texts(self, file, counts)

    def server(self, model):
        return ClassificationServer(
            self.features, model, self.labels, self.temperature, self.separator
        )

    def as_text(self, answer):
        return self._shown(answer["label"])

    def as_row(self, record, answer):
        label = answer["label"]
        if isinstance(label, list) and not isinstance(record.row.get(self.config.data.label), list):
            label = self.separator.join(label)
        return {**record.row, self.config.data.label: label}

    def word_vectors(self, model):
        return model.encoder.embedding.embeddings.value, self.features.tokenizer.tokens_list

    def draw(self, answer, title=""):
        words, count = answer["tokens"][:WORDS_SHOWN], len(answer["tokens"])
        if len(words) < count:
            title += f"{', ' if title else ''}the first {len(words)} of {count} words"
        return pictures.draw_attention(answer["attention"], words, title)

    def pictures(self, server, records):
        answers = server.explain(records)
        shown, rows = {}, []
        for number, (record, answer) in enumerate(zip(records, answers, strict=True)):
            right, given = (self._shown(source.get("label", "")) for source in (record, answer))
            rows.append((record["text"], right, given, f"{answer['probability']:.3f}"))
            title = f"right: {right}, given: {given} ({answer['probability']:.2f})"
            shown[f"{self.drawn}/{number}"] = pictures.to_pixels(self.draw(answer, title))[None]
        few = records[: pictures.GATES_SHOWN]
        tokens = [answer["tokens"] for answer in answers[: len(few)]]
        shown |= pictures.gates_pictures(*server.gates(few), tokens)
        table = pictures.markdown_table(["text", "right", "given", "probability"], rows)
        return {"labels": table, **shown}

    def _shown(self, label: str | list[str]) -> str:
        return self.separator.join(label) if isinstance(label, list) else label


class ClassificationServer(Server):
    """Raw texts to labels.

    Signatures, all from `text` string[batch]:
        serving_default: `label` string[batch], `probability` float32[batch], `probabilities` float32[batch, labels]
        compiled: the same through XLA, in batches and lengths of a fixed set
        details: the same, `tokens` string[batch, tokens] padded with "", and `attention` float32[batch, tokens]

    Where a text may have several labels, `label` joins those likelier than not, and `probability` is that of exactly
    these, taken as independent.
    """

    def __init__(
        self,
        features: TextFeatures,
        model: keras.Model,
        labels: Sequence[str],
        temperature: float,
        separator: str,
    ):
        super().__init__(name="classification")
        self.features = features
        self.weights = [variable.value for variable in model.weights]
        self.label_names = list(labels)
        self.separator = separator
        self.temperature = temperature
        # Behind a function, so that saving does not follow it into Keras.
        self.run = lambda features: model.explain(features, training=False)
        self.run_gates = lambda features: model.gates(features)

    def signatures(self):
        text = [tf.TensorSpec([None], tf.string, name="text")]
        return {
            name: tf.function(getattr(self, "_" + name), input_signature=text, autograph=False)
            for name in ("serving_default", "compiled", "details")
        }

    def _serving_default(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        logits, _ = self.run(self.features.pad(self.features.encode(text)))
        return self._result(logits)

    def _details(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        features = self.features.pad(self.features.encode(text))
        logits, weights = self.run(features)
        tokens = self.features.tokens(text)
        # Sentences and words alike: the weights of the real tokens in their order.
        flat = tf.boolean_mask(weights, features["ids"] != 0)
        attention = tokens.with_flat_values(flat)
        return {
            **self._result(logits),
            "tokens": tokens.to_tensor(""),
            "attention": attention.to_tensor(0.0),
        }

    def _compiled(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        run = tf.function(lambda features: self.run(features)[0], jit_compile=True, autograph=False)

        def compute(encoded, length):
            features = self.features.pad(encoded, length)
            return [run(features)]

        (logits,) = in_blocks(
            self.features.encode(text),
            compute,
            lengths_up_to(self.features.max_length),
            [tf.TensorSpec([len(self.label_names)])],
        )
        return self._result(logits)

    @pipelines.on_cpu
    def _result(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        names = tf.constant(self.label_names)
        probabilities = self._probabilities(logits)
        if not self.separator:
            return {
                "label": tf.gather(names, tf.argmax(logits, axis=1)),
                "probability": tf.reduce_max(probabilities, axis=1),
                "probabilities": probabilities,
            }
        given = probabilities >= THRESHOLD
        likely = tf.where(given, probabilities, 1 - probabilities)
        chosen = tf.ragged.boolean_mask(tf.broadcast_to(names, tf.shape(given)), given)
        return {
            "label": tf.strings.reduce_join(chosen, axis=1, separator=self.separator),
            "probability": tf.reduce_prod(likely, axis=1),
            "probabilities": probabilities,
        }

    def portable(self):
        return Portable(
            weights=self.weights,
            inputs=model_inputs(self.features.columns),
            run=lambda features: {"probabilities": self._probabilities(self.run(features)[0])},
            rules={
                "task": "classification",
                "labels": self.label_names,
                "several": bool(self.separator),
                "threshold": THRESHOLD,
                **self.features.portable(),
            },
        )

    def _probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        scaled = logits / self.temperature
        return tf.nn.sigmoid(scaled) if self.separator else tf.nn.softmax(scaled)

    # In the process that trained it

    @functools.cached_property
    def _functions(self):
        return self.signatures()

    def answer(self, records, counts=None):
        texts = [record["text"] for record in records]
        if counts is not None:
            count_cut(self.features, texts, counts)
        return by_length(texts, ANSWERED_TOGETHER, self._answer)

    def _answer(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        given = self._functions["serving_default"](tf.constant(texts, tf.string))
        result = {name: value.numpy() for name, value in given.items()}
        return [self._object(result, row) for row in range(len(texts))]

    def gates(self, records: Sequence[pipelines.Record]) -> tuple[dict[str, tf.Tensor], np.ndarray]:
        """The gates over the texts of records, as the model gives them, and where their tokens stand, bool."""
        texts = tf.constant([record["text"] for record in records], tf.string)
        features = self.features.pad(self.features.encode(texts))
        return self.run_gates(features), features["ids"].numpy() != 0

    def explain(self, records: Sequence[pipelines.Record]) -> list[dict[str, Any]]:
        """Answers with `tokens` and `attention`."""
        texts = tf.constant([record["text"] for record in records], tf.string)
        # Eagerly: to trace it takes longer than to compute it for a few texts.
        result = {name: v.numpy() for name, v in self._details(texts).items()}
        lengths = self.features.tokens(texts).row_lengths().numpy()
        answers = []
        for row, length in enumerate(lengths):
            tokens = [token.decode("utf-8", "replace") for token in result["tokens"][row, :length]]
            attention = result["attention"][row, :length].tolist()
            answer = self._object(result, row)
            answers.append({**answer, "tokens": tokens, "attention": attention})
        return answers

    def _object(self, result: Mapping[str, np.ndarray], row: int) -> dict[str, Any]:
        probabilities = [float(value) for value in result["probabilities"][row]]
        label: str | list[str] = result["label"][row].decode("utf-8")
        if self.separator:
            label = [
                name
                for name, probability in zip(self.label_names, probabilities, strict=True)
                if probability >= THRESHOLD
            ]
        return {
            "label": label,
            "probability": float(result["probability"][row]),
            "probabilities": dict(zip(self.label_names, probabilities, strict=True)),
        }

    def assets(self):
        return {"labels.txt": "".join(f"{_one_line(label)}\n" for label in self.label_names)}


def _one_line(label: str) -> str:
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


TASK = Classification
