"""The LSTM whose gates see the cell state."""

from __future__ import annotations

from keras import ops

from keras_rnn.cells.activations import sigmoid, tanh
from keras_rnn.cells.lstm import LSTMCell
from keras_rnn.registration import register


@register
class PeepholeLSTMCell(LSTMCell):
    """Long short-term memory with peephole connections from the cell state to the gates.

        c̃   = tanh(W_c [a_prev, x] + b_c)
        Γ_u = σ(W_u [a_prev, x] + p_u * c_prev + b_u)
        Γ_f = σ(W_f [a_prev, x] + p_f * c_prev + b_f)
        c   = Γ_u * c̃ + Γ_f * c_prev
        Γ_o = σ(W_o [a_prev, x] + p_o * c + b_o)          the output gate sees the new state
        a   = Γ_o * c                                     or Γ_o * tanh(c), as `output_activation` says

    The states are [a, c]; the output is a. Extras: `gamma_u`, `gamma_f`, `gamma_o`, `c_tilde`, `c`.

    Weights, in blocks u, f, o, c:
        kernel: [features, 4 · units]
        recurrent_kernel: [units, 4 · units]
        bias: [4 · units]
        peephole_kernel: [3 · units], blocks u, f, o

    Arguments:
        units: size of a and of c.
        **kwargs: those of `LSTMCell`; `output_activation="tanh"` gives the cell of TensorFlow Addons.

    Raises:
        ValueError: for `units` below 1, or an invalid recurrent dropout (see `StandardCell`).

    Source: Gers and Schmidhuber 2000, "Recurrent nets that time and count".

    Example:

    >>> import keras, keras_rnn
    >>> keras_rnn.FusedRNN(keras_rnn.PeepholeLSTMCell(8))(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 8])
    """

    recurrent_dropout_kinds = ("sequence", "candidate")

    def build(self, input_shape):
        super().build(input_shape)
        self.peephole_kernel = self.add_weight(
            shape=(3 * self.units,),
            name="peephole_kernel",
            initializer="random_uniform",
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )

    def step(self, projected, states, dot, memory=None):
        a_prev, c_prev = states
        x_part, dropped = self.split_noise(projected)
        u, f, o, c = ops.split(x_part + dot(a_prev, self.recurrent_kernel), 4, axis=-1)
        p_u, p_f, p_o = ops.split(ops.convert_to_tensor(self.peephole_kernel), 3)
        gamma_u = sigmoid(u + p_u * c_prev)
        gamma_f = sigmoid(f + p_f * c_prev)
        c_tilde = dropped(tanh(c))
        c = gamma_u * c_tilde + gamma_f * c_prev
        gamma_o = sigmoid(o + p_o * c)
        a = gamma_o * self.output_activation(c)
        gates = {"gamma_u": gamma_u, "gamma_f": gamma_f, "gamma_o": gamma_o}
        return [a, c], {**gates, "c_tilde": c_tilde, "c": c}
