"""Answers that are a span of the text, as in SQuAD, or that there is none."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn import models
from keras_rnn.tasks.blocks import in_blocks, lengths_up_to
from keras_rnn.tasks.questions import QuestionServer
from keras_rnn.tasks.reading import Reading, as_bytes

# In the place of a first token: the text has no answer, or its answer was not found.
NO_ANSWER, NOT_FOUND = -1, -2


class SpanAnswers(Reading):
    """A span of the context. With `answerable` every question has one."""

    kind = "spans"
    metric = "f1"

    def __init__(self, config, features, vectors_dim: int, answerable: bool):
        super().__init__(config, features, vectors_dim)
        self.answerable = answerable

    def facts(self):
        return {"answerable": self.answerable}

    @property
    def columns(self):
        number = pipelines.Column.of_ids(self.features.max_length, scalar=True, least=NOT_FOUND)
        return {**self.features.columns, "first": number, "last": number}

    @property
    def judged_columns(self):
        # So that spans of tokens become spans of the text.
        sequence, text = pipelines.Column("int32"), pipelines.Column("uint8")
        places = {"token_starts": sequence, "token_ends": sequence, "text": text}
        return {**super().judged_columns, **places}

    def encode(self, record, features, offsets, counts, training):
        span = NO_ANSWER, NO_ANSWER
        if record["answers"]:
            span = _span_of_tokens(record, *offsets)
            if span[0] == NOT_FOUND:
                reason = "whose answer does not stand in the context that is read"
                counts[f"{reason}, left out" if training else reason] += 1
                if training:
                    return None
        elif self.answerable and not training:
            counts["without an answer, which training never saw"] += 1
            span = NOT_FOUND, NOT_FOUND
        empty = np.zeros(0, np.int32)
        return {
            "first": np.int32(span[0]),
            "last": np.int32(span[1]),
            "token_starts": empty if training else offsets[0],
            "token_ends": empty if training else offsets[1],
            "text": as_bytes("" if training else record["context"]),
        }

    def build_model(self):
        return models.SpanReader(self.encoder(), self.answerable, self.config.dropout)

    def loss(self, model, batch, training):
        logits = model(batch, training=training)
        places, weight = self._right(batch)
        first, last = (
            tf.nn.sparse_softmax_cross_entropy_with_logits(place, part)
            for place, part in zip(places, logits, strict=True)
        )
        return first + last, weight, logits

    def hits(self, batch, outputs):
        """Where both ends, each for itself, are the likeliest."""
        places, weight = self._right(batch)
        first, last = (
            tf.argmax(part, axis=1, output_type=tf.int32) == place
            for place, part in zip(places, outputs, strict=True)
        )
        return first & last, weight

    def _right(self, batch) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The positions of the first and the last token, 0 for no answer, and the weight of the example."""
        places = [tf.maximum(tf.reshape(batch[name], [-1]) + 1, 0) for name in ("first", "last")]
        known = batch["real"] & (tf.reshape(batch["first"], [-1]) != NOT_FOUND)
        return places, tf.cast(known, tf.float32)

    def decode(self, outputs):
        return models.best_span(*outputs, self.config.answer_length)[:2]

    def texts(self, found, examples):
        answers = []
        for first, last, example in zip(*found, examples, strict=True):
            begin, end = 0, 0
            if first >= 0:
                begin, end = example["token_starts"][first], example["token_ends"][last]
            answers.append(example["text"][begin:end].tobytes().decode("utf-8", "replace"))
        return answers

    def server(self, model):
        return SpanServer(self, model)


class SpanServer(QuestionServer):
    """Texts and questions to spans.

    `details` adds `start_probabilities` and `end_probabilities`, float32 [batch, tokens]; `attention` is their mean.
    """

    def __init__(self, reading: SpanAnswers, model: keras.Model):
        super().__init__(reading, model)
        self.longest = reading.config.answer_length
        self.run = lambda features: model(features, training=False)

    def _serving_default(self, context, question):
        logits = self.run(self._features(context, question))
        return self._result(context, *models.best_span(*logits, self.longest))

    def _details(self, context, question):
        logits = self.run(self._features(context, question))
        tokens = self._cut(context)[0].to_tensor("")
        # Without the place of no answer, and what padding there is where no text has a token.
        start, end = (tf.nn.softmax(part)[:, 1 : 1 + tf.shape(tokens)[1]] for part in logits)
        return {
            **self._result(context, *models.best_span(*logits, self.longest)),
            "tokens": tokens,
            "attention": (start + end) / 2,
            "start_probabilities": start,
            "end_probabilities": end,
        }

    def _compiled(self, context, question):
        def numbers(features):
            return list(models.best_span(*self.run(features), self.longest))

        run = tf.function(numbers, jit_compile=True, autograph=False)

        def compute(encoded, length):
            features = self.features.pad(encoded, length)
            return run(features)

        number = tf.TensorSpec([], tf.int32)
        found = in_blocks(
            self.features.encode(tf.stack([context, question], axis=1)),
            compute,
            lengths_up_to(self.features.max_length),
            [number, number, tf.TensorSpec([])],
        )
        return self._result(context, *found)

    @pipelines.on_cpu
    def _result(self, context, first, last, score) -> dict[str, tf.Tensor]:
        _, starts, ends = self._cut(context)
        # One more, so that no answer has a place to look at.
        starts, ends = (tf.pad(part.to_tensor(-1), [[0, 0], [0, 1]]) for part in (starts, ends))
        found = first >= 0
        start, end = (
            tf.where(found, tf.gather(part, tf.maximum(place, 0), batch_dims=1), -1)
            for part, place in ((starts, first), (ends, last))
        )
        answer = tf.strings.substr(context, tf.maximum(start, 0), tf.maximum(end - start, 0))
        return {"answer": answer, "score": score, "start": start, "end": end}

    def _explained(self, result: dict[str, np.ndarray], row: int) -> dict[str, Any]:
        shown = super()._explained(result, row)
        names = ("start_probabilities", "end_probabilities")
        pointers = [result[name][row, : len(shown["tokens"])].tolist() for name in names]
        return {**shown, "pointers": pointers}


def _span_of_tokens(
    record: pipelines.Record, starts: np.ndarray, ends: np.ndarray
) -> tuple[int, int]:
    """First and last token of the first accepted answer that stands in the tokens of the context."""
    context = record["context"]
    given = record["starts"] or [None] * len(record["answers"])
    for answer, start in zip(record["answers"], given):
        answer = answer.strip()
        begin = _place(context, answer, start)
        if begin < 0:
            continue
        begin = len(context[:begin].encode("utf-8"))
        end = begin + len(answer.encode("utf-8"))
        if not len(ends) or end > ends[-1]:
            continue
        # The token that holds the byte, where an answer begins or ends within one.
        first = int(np.searchsorted(ends, begin, side="right"))
        last = int(np.searchsorted(starts, end - 1, side="right")) - 1
        if first <= last:
            return first, last
    return NOT_FOUND, NOT_FOUND


def _place(context: str, answer: str, start: int | None) -> int:
    """Where an answer begins: where the data says, else at a whole word, else anywhere; -1 for nowhere."""
    if start is not None:
        # Files disagree about blanks and a character more or less.
        near = context.find(answer, max(start - 1, 0), start + len(answer) + 1)
        if near >= 0:
            return near
    place = context.find(answer)
    first = place
    while place >= 0:
        before, after = context[place - 1 : place], context[place + len(answer) :][:1]
        if not before.isalnum() and not after.isalnum():
            return place
        place = context.find(answer, place + 1)
    return first
