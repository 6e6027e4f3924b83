"""What two kinds of answers, words and spans, have in common: how one of them is learnt, given and judged."""

import abc
import collections
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn.tasks.passages import PassageFeatures
from keras_rnn.tasks.stack import stack_of
from keras_rnn.tasks.task import Batch, Server
from keras_rnn.tasks.texts import row_arrays

# Size of a token's learnt vector, where the config leaves it open.
EMBEDDING_DIM = 64


class Reading(abc.ABC):
    """One kind of answers.

    Arguments:
        config: the run's config.
        features: text to ids.
        vectors_dim: size of a pretrained vector, 0 for none.
    """

    kind: str
    metric: str

    # What the model's last weights score, if it is always the same.
    labels: Sequence[str] = ()

    def __init__(
        self, config: ml_collections.ConfigDict, features: PassageFeatures, vectors_dim: int
    ):
        self.config = config
        self.features = features
        self.vectors_dim = vectors_dim

    @abc.abstractmethod
    def facts(self) -> dict[str, Any]:
        """What was learnt of the training data, for the workdir."""

    @property
    @abc.abstractmethod
    def columns(self) -> dict[str, pipelines.Column]:
        """What the model reads of an example, and what is right."""

    @property
    def judged_columns(self) -> dict[str, pipelines.Column]:
        """What an example of dev holds for its scores, in UTF-8: the accepted answers, and its kind."""
        return {"accepted": pipelines.Column("uint8"), "kind": pipelines.Column("uint8")}

    @abc.abstractmethod
    def encode(
        self,
        record: pipelines.Record,
        features: dict[str, np.ndarray],
        offsets: tuple[np.ndarray, np.ndarray],
        counts: collections.Counter,
        training: bool,
    ) -> dict[str, np.ndarray] | None:
        """The columns of a record, or None where it teaches nothing, counted.

        `offsets` are where the context's tokens begin and end, in bytes.
        """

    def batches(self, store: pipelines.ExampleStore, **options) -> pipelines.Batches:
        """What `Task.batches` gives, of these options."""
        return pipelines.Batches(store, **options)

    def label_axes(self, model: keras.Model) -> list[tuple[keras.Variable, tuple[int, ...]]]:
        """As that of a task."""
        return []

    @abc.abstractmethod
    def build_model(self) -> keras.Model:
        """A new model, not yet built."""

    @abc.abstractmethod
    def loss(
        self, model: keras.Model, batch: Batch, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, Any]:
        """As that of a task."""

    @abc.abstractmethod
    def hits(self, batch: Batch, outputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Whether the model's outputs are right, bool [batch], and the weight of each example."""

    @abc.abstractmethod
    def decode(self, outputs: Any) -> tuple[tf.Tensor, ...]:
        """From the model's outputs to numbers, [batch] each, that `texts` reads. Compiled."""

    @abc.abstractmethod
    def texts(
        self, found: tuple[np.ndarray, ...], examples: Sequence[Mapping[str, np.ndarray]]
    ) -> list[str]:
        """The answers that numbers stand for."""

    @abc.abstractmethod
    def server(self, model: keras.Model) -> Server:
        """Contexts and questions to answers."""

    # Shared

    def encoder(self) -> dict[str, Any]:
        """The arguments that both models have for their tables of vectors and recurrent layers."""
        config = self.config
        vectors = self.features.vectors
        return {
            "vocabulary_size": self.features.tokenizer.size,
            "embedding_dim": config.embedding_dim or EMBEDDING_DIM,
            "stack": stack_of(config),
            "dropout": config.dropout,
            "vectors_size": vectors.size if vectors is not None else 0,
            "vectors_dim": self.vectors_dim,
            "vectors_trainable": config.vectors_trainable,
        }

    def encode_all(
        self, records: Iterator[pipelines.Record], counts: collections.Counter, training: bool
    ) -> Iterator[dict[str, np.ndarray]]:
        """The examples of records, encoded many at a time; counts what is cut and what is left out."""
        most, of_question = self.features.max_length, self.features.question_length
        for chunk in pipelines.in_chunks(records):
            contexts, starts, ends = self.features.cut(_texts(chunk, "context"))
            questions = self.features.cut(_texts(chunk, "question"))[0]
            self.features.count_cut(contexts, questions, counts)
            encoded = self.features.encode_tokens(contexts[:, :most], questions[:, :of_question])
            split = {
                name: ragged.to_tensor(shape=[None, of_question]).numpy()
                if name.startswith("question")
                else row_arrays(ragged)
                for name, ragged in encoded.items()
            }
            offsets = list(zip(row_arrays(starts[:, :most]), row_arrays(ends[:, :most])))
            for place, record in enumerate(chunk):
                features = {name: rows[place] for name, rows in split.items()}
                example = self.encode(record, features, offsets[place], counts, training)
                if example is None:
                    continue
                # Only what is judged has to be compared.
                judged = {
                    "accepted": [] if training else record["answers"],
                    "kind": "" if training else record["task"],
                }
                example |= {name: as_bytes(json.dumps(value)) for name, value in judged.items()}
                yield {**features, **example}


def as_bytes(text: str) -> np.ndarray:
    """A text as a column of a store holds it."""
    return np.frombuffer(text.encode("utf-8"), np.uint8)


def judged_by(store: pipelines.ExampleStore, number: int) -> tuple[list[str], str]:
    """The accepted answers of an example of dev, and its kind."""
    found = []
    for name, kind in (("accepted", list), ("kind", str)):
        try:
            found.append(json.loads(store.text(number, name)))
        except json.JSONDecodeError:
            raise store.damaged(name, f"example {number} is no JSON") from None
        if not isinstance(found[-1], kind):
            raise store.damaged(name, f"example {number} is no {kind.__name__}")
    return tuple(found)


def characters_before(text: str, place: int) -> int:
    """How many characters stand before a byte of a text; -1 stays -1.

    >>> characters_before("für", 3)
    2
    """
    return place if place < 0 else len(text.encode("utf-8")[:place].decode("utf-8", "replace"))


def _texts(records: Sequence[pipelines.Record], name: str) -> tf.Tensor:
    return tf.constant([record[name] for record in records], tf.string)
