"""The cell found by neural architecture search."""

from __future__ import annotations

from keras import ops

from keras_rnn.cells.activations import sigmoid, tanh
from keras_rnn.cells.standard import StandardCell
from keras_rnn.registration import register


@register
class NASCell(StandardCell):
    """The recurrent cell that neural architecture search found.

        x_0 … x_7 = W_x x                         m_0 … m_7 = W_m m_prev + b
        p = tanh(σ(x_0 + m_0) * relu(x_1 + m_1))
        q = tanh(σ(x_2 + m_2) + relu(x_3 * m_3))
        r = tanh(tanh(x_4 + m_4) * σ(x_5 + m_5))
        s = σ(tanh(x_6 + m_6) + σ(x_7 + m_7))
        c = tanh(p + c_prev) * q
        m = tanh(c * tanh(r + s))

    The states are [m, c]; the output is m. (TensorFlow Addons has them the other way round.) Extras: `c`.

    Weights, in blocks 0 to 7:
        kernel: [features, 8 · units]
        recurrent_kernel: [units, 8 · units]
        bias: [8 · units], on the recurrent product, where block 3 multiplies

    Arguments:
        units: size of m and of c.
        **kwargs: those of `StandardCell`; the recurrent dropout is of the kind "sequence".

    Raises:
        ValueError: for `units` below 1, or an invalid recurrent dropout (see `StandardCell`).

    Source: Zoph and Le 2016, figure 8 and appendix A; TensorFlow Addons' `NASCell` for the bias.

    Example:

    >>> import keras, keras_rnn
    >>> keras_rnn.FusedRNN(keras_rnn.NASCell(8))(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 8])
    """

    blocks = 8

    def __init__(self, units: int, **kwargs):
        super().__init__(units, **kwargs)
        self.state_size = [units, units]

    def project(self, x, dot, training=False):
        return dot(x, self.kernel)

    @property
    def input_kernel(self):
        return self.kernel

    def step(self, projected, states, dot, memory=None):
        m_prev, c_prev = states
        x = ops.split(projected, 8, axis=-1)
        m = ops.split(dot(m_prev, self.recurrent_kernel) + self.bias, 8, axis=-1)
        p = tanh(sigmoid(x[0] + m[0]) * ops.relu(x[1] + m[1]))
        q = tanh(sigmoid(x[2] + m[2]) + ops.relu(x[3] * m[3]))
        r = tanh(tanh(x[4] + m[4]) * sigmoid(x[5] + m[5]))
        s = sigmoid(tanh(x[6] + m[6]) + sigmoid(x[7] + m[7]))
        c = tanh(p + c_prev) * q
        return [tanh(c * tanh(r + s)), c], {"c": c}
