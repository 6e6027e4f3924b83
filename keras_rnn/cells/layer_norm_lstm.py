"""The layer-normalised LSTM."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_rnn.cells.activations import sigmoid, tanh
from keras_rnn.cells.layer_norm import Norms
from keras_rnn.cells.lstm import LSTMCell
from keras_rnn.registration import register


@register
class LayerNormLSTMCell(Norms, LSTMCell):
    """Long short-term memory with layer normalisation of its two products and of its cell state.

        u, f, o, c̃' = LN_x(W_x x) + LN_a(W_a a_prev) + b
        c̃   = tanh(c̃'),  Γ_u = σ(u),  Γ_f = σ(f),  Γ_o = σ(o)
        c   = LN_c(Γ_u * c̃ + Γ_f * c_prev)                  the state is stored normalised
        a   = Γ_o * tanh(c)                                 `output_activation="linear"` leaves the tanh out

    Each LN is over all its columns, as in TensorFlow Addons. The states are [a, c]; the output is a. Extras: `gamma_u`,
    `gamma_f`, `gamma_o`, `c_tilde`, `c`.

    Weights, in blocks u, f, o, c:
        kernel: [features, 4 · units]
        recurrent_kernel: [units, 4 · units]
        bias: [4 · units]
        kernel_gain, kernel_offset, recurrent_gain, recurrent_offset: [4 · units]
        state_gain, state_offset: [units]

    Arguments:
        units: size of a and of c.
        epsilon: added to the variances.
        **kwargs: those of `LSTMCell`; `output_activation` is "tanh" here.

    Raises:
        ValueError: for `units` below 1, or an invalid recurrent dropout (see `StandardCell`).

    Source: Ba, Kiros and Hinton 2016, equations 20 to 22.

    Example:

    >>> import keras, keras_rnn
    >>> keras_rnn.FusedRNN(keras_rnn.LayerNormLSTMCell(8))(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 8])
    """

    recurrent_dropout_kinds = ("sequence", "candidate")

    def __init__(
        self, units: int, epsilon: float = 1e-3, output_activation: Any = "tanh", **kwargs
    ):
        super().__init__(units, epsilon, output_activation=output_activation, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        self.add_norm("kernel", 4 * self.units)
        self.add_norm("recurrent", 4 * self.units)
        self.add_norm("state", self.units)

    def step(self, projected, states, dot, memory=None):
        a_prev, c_prev = states
        x_part, dropped = self.split_noise(projected)
        recurrent_part = self.norm("recurrent", dot(a_prev, self.recurrent_kernel))
        u, f, o, c = ops.split(x_part + recurrent_part, 4, axis=-1)
        gamma_u = sigmoid(u)
        gamma_f = sigmoid(f)
        gamma_o = sigmoid(o)
        c_tilde = dropped(tanh(c))
        c = self.norm("state", gamma_u * c_tilde + gamma_f * c_prev)
        a = gamma_o * self.output_activation(c)
        gates = {"gamma_u": gamma_u, "gamma_f": gamma_f, "gamma_o": gamma_o}
        return [a, c], {**gates, "c_tilde": c_tilde, "c": c}
