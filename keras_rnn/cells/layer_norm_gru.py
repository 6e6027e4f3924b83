"""The layer-normalised GRU."""

from __future__ import annotations

from keras import ops

from keras_rnn.cells.activations import sigmoid, tanh
from keras_rnn.cells.layer_norm import Norms
from keras_rnn.cells.standard import StandardCell
from keras_rnn.registration import register


@register
class LayerNormGRUCell(Norms, StandardCell):
    """Gated recurrent unit with layer normalisation of its two products.

        x_u, x_r, x_c = LN_x(W_x x) + b
        r_u, r_r, r_c = LN_c(W_c c_prev)
        Γ_u = σ(x_u + r_u)
        Γ_r = σ(x_r + r_r)
        c̃   = tanh(x_c + Γ_r * r_c)                  one recurrent product, so the reset gate comes after it
        c   = Γ_u * c̃ + (1 - Γ_u) * c_prev

    Each LN is over all its columns, as in the LSTM; Ba et al. normalise the products of the gates and of the candidate
    apart. The state is [c], which is the output. Extras: `gamma_u`, `gamma_r`, `c_tilde`.

    Weights, in blocks u, r, c:
        kernel: [features, 3 · units]
        recurrent_kernel: [units, 3 · units]
        bias: [3 · units]
        kernel_gain, kernel_offset, recurrent_gain, recurrent_offset: [3 · units]

    Arguments:
        units: size of c.
        epsilon: added to the variances.
        **kwargs: those of `StandardCell`.

    Raises:
        ValueError: for `units` below 1, or an invalid recurrent dropout (see `StandardCell`).

    Source: Ba, Kiros and Hinton 2016, equations 26 to 28.

    Example:

    >>> import keras, keras_rnn
    >>> keras_rnn.FusedRNN(keras_rnn.LayerNormGRUCell(8))(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 8])
    """

    blocks = 3
    recurrent_dropout_kinds = ("sequence", "candidate")

    def build(self, input_shape):
        super().build(input_shape)
        self.add_norm("kernel", 3 * self.units)
        self.add_norm("recurrent", 3 * self.units)

    def step(self, projected, states, dot, memory=None):
        (c_prev,) = states
        x_part, dropped = self.split_noise(projected)
        x_u, x_r, x_c = ops.split(x_part, 3, axis=-1)
        recurrent_part = self.norm("recurrent", dot(c_prev, self.recurrent_kernel))
        r_u, r_r, r_c = ops.split(recurrent_part, 3, axis=-1)
        gamma_u = sigmoid(x_u + r_u)
        gamma_r = sigmoid(x_r + r_r)
        c_tilde = dropped(tanh(x_c + gamma_r * r_c))
        c = gamma_u * c_tilde + (1 - gamma_u) * c_prev
        return [c], {"gamma_u": gamma_u, "gamma_r": gamma_r, "c_tilde": c_tilde}
