"""Reading for a span: where in a text the answer to a question begins and ends."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_rnn.attention import LOWEST, AttentionPooling, LuongAttention
from keras_rnn.layers import SpatialDropout1D
from keras_rnn.models.encoder import UNKNOWN, RecurrentStack, TextEncoder, gates_of
from keras_rnn.registration import register

Tensor = Any


@register
class SpanReader(keras.Model):
    """An attentive reader that points at the first and the last token of the answer.

        q_j = E(question_j)      p_i = [E(context_i), whether i stands in the question, Σ_j a_ij q_j]
        g = attention_pooling(encoder(q))      h = rnn(p)
        start_i = g · W_s h_i              c = Σ_i softmax(start)_i h_i
        end_i = tanh(W [g, c]) · W_e h_i   nowhere = w · [g, c] + b

    The logit of position 0 is `nowhere`, the end's likewise; token i is position i + 1. Where `answerable` is True
    every question has an answer, and that logit is very small unless the text is empty.

    Weights, with `width` the size of E and `features` that of h: those of the encoder, `question`; the dense layer
    `aligning` [width, width], relu, which makes of two vectors the score behind a_ij; those of the recurrent layers
    `context`; `pooling`, an `AttentionPooling`; `start` W_sᵀ and `end` W_eᵀ [features, features], without a bias;
    `query` Wᵀ [2 · features, features]; and, unless `answerable`, `nowhere` w [2 · features, 1]. Those that are dense
    have a bias each.

    Arguments:
        encoder: arguments of `TextEncoder`, which has the vectors E of both texts and reads the question; the context
            is read by recurrent layers of the same sizes. Without characters, attributes, skip and word dropout.
        answerable: whether each question has an answer.
        dropout: share of features dropped of the context's vectors and of all states, the same ones for all tokens of
            a text.

    Call argument: a dict with `ids` int32 [batch, time], `question` int32 [batch, question_time] and, where there are
    vectors, `vector_ids` and `question_vector_ids`. Gives logits of start and end, float32 [batch, 1 + time] each.

    Raises:
        ValueError: for an encoder with what it cannot have.

    Source: Chen et al. 2017, Reading Wikipedia to Answer Open-Domain Questions; the end that knows the start: Wang and
    Jiang 2017, Machine Comprehension Using Match-LSTM and Answer Pointer; nowhere: Levy et al. 2017.

    Example:

    >>> import numpy as np
    >>> reader = SpanReader({"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 5}})
    >>> start, end = reader({"ids": np.array([[4, 5, 6, 0]]), "question": np.array([[7, 5]])})
    >>> start.shape.as_list(), end.shape.as_list()
    ([1, 5], [1, 5])
    """

    def __init__(self, encoder: dict, answerable: bool = False, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        for name in ("skip", "word_dropout", "alphabet_size", "attributes_size"):
            if encoder.get(name):
                raise ValueError(
                    f"A SpanReader takes an encoder without {name}, got {name}={encoder[name]}."
                )
        self.config = {"encoder": encoder, "answerable": answerable, "dropout": dropout}
        dtype = self.dtype_policy
        self.answerable = answerable
        self.encoder = TextEncoder(**encoder, dtype=dtype, name="question")
        width = self.encoder.width
        self.dropout = SpatialDropout1D(dropout, dtype=dtype, name="dropout")
        self.aligning = keras.layers.Dense(width, activation="relu", dtype=dtype, name="aligning")
        self.alignment = LuongAttention(width, score="dot", dtype=dtype, name="alignment")
        self.stack = RecurrentStack(**encoder["stack"], dtype=dtype, name="context")
        features = self.stack.features
        self.pooling = AttentionPooling(features, dtype=dtype, name="pooling")
        self.start = LuongAttention(features, score="general", dtype=dtype, name="start")
        self.query = keras.layers.Dense(features, activation="tanh", dtype=dtype, name="query")
        self.end = LuongAttention(features, score="general", dtype=dtype, name="end")
        self.nowhere = keras.layers.Dense(1, dtype="float32", name="nowhere")

    def build(self, features_shape):
        ids, question = features_shape["ids"], features_shape["question"]
        features, width = self.stack.features, self.encoder.width
        self.encoder.build({"ids": question})
        self.aligning.build((*ids, width))
        self.alignment.build((*ids, width), (*question, width))
        self.stack.build((*ids, 2 * width + 1))
        self.pooling.build((*question, features))
        self.start.build((ids[0], features), (*ids, features))
        self.query.build((ids[0], 2 * features))
        self.end.build((ids[0], features), (*ids, features))
        if not self.answerable:
            self.nowhere.build((ids[0], 2 * features))

    def call(self, features: dict, training: bool = False) -> tuple[Tensor, Tensor]:
        ids, question = features["ids"], features["question"]
        mask, question_mask = ids != 0, question != 0
        q = self._question_vectors(features)
        p = self.dropout(self._context_vectors(features, q), training=training)
        q, _ = self.encoder({"ids": question, "embedded": q}, training=training)
        g = self.pooling(self.dropout(q, training=training), mask=question_mask)
        h = self.dropout(self.stack(p, mask=mask, training=training), training=training)
        h = ops.where(mask[:, :, None], h, ops.zeros((), h.dtype))
        keys = self.start.keys(h)
        start = self.start.scores(g, keys)
        c, _ = self.start.attend(g, h, keys, mask)
        found = ops.concatenate([g, c], axis=-1)
        end = self.end.scores(self.query(found), self.end.keys(h))
        if self.answerable:
            # A text without a token has no answer all the same.
            nowhere = ops.where(ops.any(mask, axis=1, keepdims=True), LOWEST, 0.0)
        else:
            nowhere = self.nowhere(found)
        return tuple(
            ops.concatenate([nowhere, ops.where(mask, ops.cast(logits, "float32"), LOWEST)], axis=1)
            for logits in (start, end)
        )

    def gates(self, features: dict) -> dict[str, Tensor]:
        """Those of the first layer over the context: name -> [batch, time, units]."""
        p = self._context_vectors(features, self._question_vectors(features))
        return gates_of(self.stack.rnns[0], p, features["ids"] != 0)

    def _question_vectors(self, features: dict) -> Tensor:
        """q, [batch, question_time, width]."""
        inputs = {"ids": features["question"]}
        if "question_vector_ids" in features:
            inputs["vector_ids"] = features["question_vector_ids"]
        return self.encoder.embed(inputs)

    def _context_vectors(self, features: dict, q: Tensor) -> Tensor:
        """p, [batch, time, 2 · width + 1]."""
        ids, question = features["ids"], features["question"]
        p = self.encoder.embed(features)
        same = ops.any((ids[:, :, None] == question[:, None]) & (ids > UNKNOWN)[:, :, None], axis=2)
        keys = self.alignment.keys(self.aligning(q))
        aligned, _ = self.alignment.attend(self.aligning(p), q, keys, question != 0)
        return ops.concatenate([p, ops.cast(same, p.dtype)[:, :, None], aligned], axis=-1)

    def get_config(self):
        return {**super().get_config(), **self.config}


def best_span(
    start: tf.Tensor, end: tf.Tensor, longest: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The likeliest span of a `SpanReader`: first and last position together, under a limit of its length.

        argmax log p(start = i) + log p(end = j)  over i = j = 0 and 1 ≤ i ≤ j < i + longest

    Arguments:
        start, end: logits [batch, 1 + time]; position 0 is that of no answer.
        longest: most positions of a span.

    Returns:
        First and last token of the span, int32 [batch], both -1 for no answer; and its probability, float32 [batch].

    Example:

    >>> start, end = tf.constant([[0.0, 9.0, 0.0, 8.0]]), tf.constant([[0.0, 0.0, 0.0, 9.0]])
    >>> [int(found[0]) for found in best_span(start, end, longest=2)[:2]]
    [2, 2]
    """
    start, end = tf.nn.log_softmax(start), tf.nn.log_softmax(end)
    # Row d: spans of d + 1 tokens, from each token on.
    after = tf.pad(end[:, 1:], [[0, 0], [0, longest]], constant_values=LOWEST)
    time = tf.shape(start)[1] - 1
    scores = tf.stack([start[:, 1:] + after[:, d : d + time] for d in range(longest)], axis=1)
    flat = tf.reshape(scores, [tf.shape(start)[0], longest * time])
    # The span of no answer stands first, so that something stands there where there is no token.
    flat = tf.concat([start[:, :1] + end[:, :1], flat], axis=1)
    best = tf.argmax(flat, axis=1, output_type=tf.int32) - 1
    probability = tf.exp(tf.reduce_max(flat, axis=1))
    first = tf.where(best < 0, -1, best % tf.maximum(time, 1))
    last = tf.where(best < 0, -1, first + best // tf.maximum(time, 1))
    return first, last, probability
