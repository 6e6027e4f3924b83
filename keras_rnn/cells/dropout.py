"""Recurrent dropout: the noise that every cell can take."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_rnn import draws
from keras_rnn.keras_internals import DropoutRNNCell, drawn_before_the_loop


class RecurrentDropout(DropoutRNNCell):
    """One dropout mask a sequence, on the operands of the recurrent products (Gal and Ghahramani 2016).

        a_prev  ->  mask * a_prev,      mask = Bernoulli(1 - rate) / (1 - rate), drawn once a sequence

    Draws are counter-based (Philox), so that compiled and uncompiled programs draw the same masks.
    """

    dropout = 0.0  # of the inputs: `keras.layers.RNN` asks for it

    def set_recurrent_dropout(self, rate: float, seed: int | None):
        if not 0 <= rate < 1:
            raise ValueError(f"recurrent_dropout must be in [0, 1), got {rate}.")
        self.recurrent_dropout = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if rate else None

    def recurrent_dropout_config(self) -> dict[str, Any]:
        return {"recurrent_dropout": self.recurrent_dropout, "seed": self.seed}

    def operand_mask(self, state: tf.Tensor, training: bool) -> tf.Tensor | None:
        """The mask of this sequence, [batch, units], or None. Under stock RNN it is the one drawn before its loop."""
        if not training or not self.recurrent_dropout:
            return None
        drawn = drawn_before_the_loop(self)
        return self.keep_mask(state, self.recurrent_dropout) if drawn is None else drawn

    def keep_mask(self, like: tf.Tensor, rate: float) -> tf.Tensor:
        """A fresh mask: 0 with probability `rate`, else 1 / (1 - rate)."""
        kept = draws.kept(tf.shape(like), rate, self.seed_generator)
        mask = tf.where(kept, tf.constant(1 / (1 - rate), like.dtype), 0)
        return tf.ensure_shape(mask, like.shape)

    def uniform(self, shape: tf.Tensor) -> tf.Tensor:
        """Fresh float32 numbers in [0, 1)."""
        return draws.uniform(shape, self.seed_generator)

    def _create_dropout_mask(self, step_input: tf.Tensor, dropout_rate: float) -> tf.Tensor:
        return self.keep_mask(step_input, dropout_rate)
