"""The gated recurrent unit, as in the lecture."""

from __future__ import annotations

from keras import ops

from keras_rnn.cells.activations import sigmoid, tanh
from keras_rnn.cells.standard import StandardCell
from keras_rnn.registration import register


@register
class GRUCell(StandardCell):
    """Gated recurrent unit.

        Γ_u = σ(W_u [c_prev, x] + b_u)                how much of the NEW candidate is taken
        Γ_r = σ(W_r [c_prev, x] + b_r)
        c̃   = tanh(W_c [Γ_r * c_prev, x] + b_c)       reset before the product, the lecture's line, the default
        c   = Γ_u * c̃ + (1 - Γ_u) * c_prev
        a   = c

    With `reset_after=True`, as in Keras's default and cuDNN, with a second bias d:

        c̃   = tanh(W_cx x + b_c + Γ_r * (W_cc c_prev + d_c))

    Keras's z weighs the OLD state: z = 1 - Γ_u. The state is [c], which is the output. Extras: `gamma_u`, `gamma_r`,
    `c_tilde`.

    Weights, in blocks u, r, c:
        kernel: [features, 3 · units]
        recurrent_kernel: [units, 3 · units]
        bias: [3 · units]
        recurrent_bias: [3 · units], only with `reset_after`

    Arguments:
        units: size of c.
        reset_after: whether the reset gate comes after the recurrent product.
        **kwargs: those of `StandardCell`: initializers, regularizers, constraints, recurrent_dropout,
            recurrent_dropout_kind, seed; and those of `keras.layers.Layer`.

    Raises:
        ValueError: for `units` below 1, or an invalid recurrent dropout (see `StandardCell`).

    Source: Cho et al. 2014, equations 5 to 8, with Γ_u for 1 - z.

    Example:

    >>> import keras, keras_rnn
    >>> layer = keras_rnn.FusedRNN(keras_rnn.GRUCell(8), return_sequences=True)
    >>> layer(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 5, 8])
    """

    blocks = 3
    recurrent_dropout_kinds = ("sequence", "candidate")

    def __init__(self, units: int, reset_after: bool = False, **kwargs):
        super().__init__(units, **kwargs)
        self.reset_after = reset_after

    def build(self, input_shape):
        super().build(input_shape)
        if self.reset_after:
            self.recurrent_bias = self.add_weight(
                shape=(3 * self.units,),
                name="recurrent_bias",
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def step(self, projected, states, dot, memory=None):
        (c_prev,) = states
        x_part, dropped = self.split_noise(projected)
        n = self.units
        x_gates, x_c = x_part[:, : 2 * n], x_part[:, 2 * n :]
        if self.reset_after:
            product = dot(c_prev, self.recurrent_kernel) + self.recurrent_bias
            gamma_u, gamma_r = ops.split(sigmoid(x_gates + product[:, : 2 * n]), 2, axis=-1)
            c_tilde = dropped(tanh(x_c + gamma_r * product[:, 2 * n :]))
        else:
            product = dot(c_prev, self.recurrent_kernel, columns=slice(2 * n))
            gamma_u, gamma_r = ops.split(sigmoid(x_gates + product), 2, axis=-1)
            product = dot(gamma_r * c_prev, self.recurrent_kernel, columns=slice(2 * n, 3 * n))
            c_tilde = dropped(tanh(x_c + product))
        c = gamma_u * c_tilde + (1 - gamma_u) * c_prev
        return [c], {"gamma_u": gamma_u, "gamma_r": gamma_r, "c_tilde": c_tilde}

    def get_config(self):
        return {**super().get_config(), "reset_after": self.reset_after}
