"""Elman's network."""

from __future__ import annotations

from typing import Any

from keras import activations

from keras_rnn.cells.standard import StandardCell
from keras_rnn.registration import register


@register
class SimpleRNNCell(StandardCell):
    """Elman's network.

        a = tanh(W_a a_prev + W_x x + b)

    The state is [a], which is the output. No extras.

    Weights:
        kernel: [features, units]
        recurrent_kernel: [units, units]
        bias: [units]

    Arguments:
        units: size of a.
        activation: the function, tanh by default.
        **kwargs: those of `StandardCell`: initializers, regularizers, constraints, recurrent_dropout,
            recurrent_dropout_kind, seed; and those of `keras.layers.Layer`.

    Raises:
        ValueError: for `units` below 1, or an invalid recurrent dropout (see `StandardCell`).

    Source: Elman 1990.

    Example:

    >>> import keras, keras_rnn
    >>> keras_rnn.FusedRNN(keras_rnn.SimpleRNNCell(8))(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 8])
    """

    recurrent_dropout_kinds = ("sequence", "candidate")

    def __init__(self, units: int, activation: Any = "tanh", **kwargs):
        super().__init__(units, **kwargs)
        self.activation = activations.get(activation)

    def step(self, projected, states, dot, memory=None):
        (a_prev,) = states
        x_part, dropped = self.split_noise(projected)
        return [dropped(self.activation(x_part + dot(a_prev, self.recurrent_kernel)))], {}

    def get_config(self):
        return {**super().get_config(), "activation": activations.serialize(self.activation)}
