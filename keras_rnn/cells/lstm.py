"""Long short-term memory, as in the lecture."""

from __future__ import annotations

from typing import Any

from keras import activations, ops

from keras_rnn.cells.activations import sigmoid, tanh
from keras_rnn.cells.standard import StandardCell
from keras_rnn.registration import register


@register
class LSTMCell(StandardCell):
    """Long short-term memory.

        c̃   = tanh(W_c [a_prev, x] + b_c)
        Γ_u = σ(W_u [a_prev, x] + b_u)          update gate (elsewhere: input gate)
        Γ_f = σ(W_f [a_prev, x] + b_f)          forget gate
        Γ_o = σ(W_o [a_prev, x] + b_o)          output gate
        c   = Γ_u * c̃ + Γ_f * c_prev
        a   = Γ_o * c                           output_activation="linear", the lecture's line, the default
        a   = Γ_o * tanh(c)                     output_activation="tanh", as in Keras, cuDNN and PyTorch

    The states are [a, c]; the output is a. Extras: `gamma_u`, `gamma_f`, `gamma_o`, `c_tilde`, `c`.

    Weights, in blocks u, f, o, c:
        kernel: [features, 4 · units]
        recurrent_kernel: [units, 4 · units]
        bias: [4 · units]

    Arguments:
        units: size of a and of c.
        output_activation: what is done to c before the output gate: "linear" or "tanh", or any Keras activation.
        unit_forget_bias: whether the bias of the forget gate starts at 1.
        **kwargs: those of `StandardCell`: initializers, regularizers, constraints, recurrent_dropout,
            recurrent_dropout_kind, seed; and those of `keras.layers.Layer`.

    Raises:
        ValueError: for `units` below 1, or an invalid recurrent dropout (see `StandardCell`).

    Source: Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000 for the forget gate.

    Example:

    >>> import keras, keras_rnn
    >>> layer = keras_rnn.FusedRNN(keras_rnn.LSTMCell(8), return_sequences=True)
    >>> layer(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 5, 8])
    """

    blocks = 4
    recurrent_dropout_kinds = ("sequence", "candidate")

    def __init__(
        self, units: int, output_activation: Any = "linear", unit_forget_bias: bool = True, **kwargs
    ):
        super().__init__(units, **kwargs)
        self.output_activation = activations.get(output_activation)
        self.unit_forget_bias = unit_forget_bias
        self.state_size = [units, units]

    def step(self, projected, states, dot, memory=None):
        a_prev, c_prev = states
        x_part, dropped = self.split_noise(projected)
        u, f, o, c = ops.split(x_part + dot(a_prev, self.recurrent_kernel), 4, axis=-1)
        gamma_u = sigmoid(u)
        gamma_f = sigmoid(f)
        gamma_o = sigmoid(o)
        c_tilde = dropped(tanh(c))
        c = gamma_u * c_tilde + gamma_f * c_prev
        a = gamma_o * self.output_activation(c)
        gates = {"gamma_u": gamma_u, "gamma_f": gamma_f, "gamma_o": gamma_o}
        return [a, c], {**gates, "c_tilde": c_tilde, "c": c}

    def initial_bias(self, shape, dtype=None):
        bias = super().initial_bias(shape, dtype=dtype)
        if not self.unit_forget_bias:
            return bias
        u, f, o, c = ops.split(bias, 4)
        return ops.concatenate([u, ops.ones_like(f), o, c])

    def get_config(self):
        return {
            **super().get_config(),
            "output_activation": activations.serialize(self.output_activation),
            "unit_forget_bias": self.unit_forget_bias,
        }
