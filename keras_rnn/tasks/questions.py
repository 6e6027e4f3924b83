"""What serves answers to questions, of either kind."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn.tasks.reading import Reading, characters_before
from keras_rnn.tasks.task import Server
from keras_rnn.tasks.texts import by_length

# Questions that one call of the model answers.
ANSWERED_TOGETHER = 64


class QuestionServer(Server):
    """Raw contexts and questions to answers.

    Signatures, all from `context` and `question` string[batch]:
        serving_default: `answer` string[batch], `score` float32[batch], its probability, `start` and `end`
            int32[batch], where it stands in the context, in bytes; -1 where it does not
        compiled: the same through XLA, in batches and lengths of a fixed set
        details: the same, `tokens` string[batch, tokens] padded with "", `attention` float32[batch, tokens], and what
            the kind of answers has beside
    """

    def __init__(self, reading: Reading, model: keras.Model):
        super().__init__(name="question_answering")
        self.features = reading.features
        self.weights = [variable.value for variable in model.weights]
        # Behind a function, so that saving does not follow it into Keras.
        self.run_gates = lambda features: model.gates(features)

    def signatures(self):
        inputs = [tf.TensorSpec([None], tf.string, name=name) for name in ("context", "question")]
        return {
            name: tf.function(getattr(self, "_" + name), input_signature=inputs, autograph=False)
            for name in ("serving_default", "compiled", "details")
        }

    def _features(self, context: tf.Tensor, question: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.features.pad(self.features.encode(tf.stack([context, question], axis=1)))

    @pipelines.on_cpu
    def _cut(self, context: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """The tokens that are read of contexts, and where they begin and end."""
        return tuple(part[:, : self.features.max_length] for part in self.features.cut(context))

    def _explained(self, result: dict[str, np.ndarray], row: int) -> dict[str, Any]:
        """What pictures show of a row of `details`, `tokens` among it."""
        return {"tokens": [t.decode("utf-8", "replace") for t in result["tokens"][row] if t]}

    # In the process that trained it

    def gates(self, records: Sequence[pipelines.Record]) -> tuple[dict[str, tf.Tensor], np.ndarray]:
        """The gates over the contexts of records, as the model gives them, and where their tokens stand, bool."""
        features = self._features(*self._texts(records).values())
        return self.run_gates(features), features["ids"].numpy() != 0

    @functools.cached_property
    def _functions(self):
        return self.signatures()

    def _ask(self, name: str, records: Sequence[pipelines.Record]) -> dict[str, np.ndarray]:
        result = self._functions[name](**self._texts(records))
        return {key: value.numpy() for key, value in result.items()}

    def _texts(self, records: Sequence[pipelines.Record]) -> dict[str, tf.Tensor]:
        return {
            field: tf.constant([record[field] for record in records], tf.string)
            for field in ("context", "question")
        }

    def answer(self, records, counts=None):
        if counts is not None:
            contexts, questions = (
                self.features.cut(texts)[0] for texts in self._texts(records).values()
            )
            self.features.count_cut(contexts, questions, counts)
        return by_length(records, ANSWERED_TOGETHER, self._answer, lambda r: len(r["context"]))

    def _answer(self, records: Sequence[pipelines.Record]) -> list[dict[str, Any]]:
        result = self._ask("serving_default", records)
        return [self._object(result, row, record) for row, record in enumerate(records)]

    def explain(self, records: Sequence[pipelines.Record]) -> list[dict[str, Any]]:
        """Answers with what they were made of."""
        result = self._ask("details", records)
        return [
            {**self._object(result, row, record), **self._explained(result, row)}
            for row, record in enumerate(records)
        ]

    def _object(
        self, result: dict[str, np.ndarray], row: int, record: pipelines.Record
    ) -> dict[str, Any]:
        start, end = (
            characters_before(record["context"], int(result[name][row]))
            for name in ("start", "end")
        )
        return {
            "answer": result["answer"][row].decode("utf-8", "replace"),
            "score": float(result["score"][row]),
            "start": start,
            "end": end,
        }
