"""The layer-normalised Elman network."""

from __future__ import annotations

from keras_rnn.cells.layer_norm import Norms
from keras_rnn.cells.simple_rnn import SimpleRNNCell
from keras_rnn.registration import register


@register
class LayerNormSimpleRNNCell(Norms, SimpleRNNCell):
    """Elman's network with layer normalisation of its two products.

        a = tanh(LN_x(W_x x) + LN_a(W_a a_prev) + b)

    TensorFlow Addons normalised the sum of the products instead. The state is [a], which is the output. No extras.

    Weights:
        kernel: [features, units]
        recurrent_kernel: [units, units]
        bias, kernel_gain, kernel_offset, recurrent_gain, recurrent_offset: [units]

    Arguments:
        units: size of a.
        epsilon: added to the variances.
        **kwargs: those of `SimpleRNNCell`.

    Raises:
        ValueError: for `units` below 1, or an invalid recurrent dropout (see `StandardCell`).

    Source: Ba, Kiros and Hinton 2016.

    Example:

    >>> import keras, keras_rnn
    >>> keras_rnn.FusedRNN(keras_rnn.LayerNormSimpleRNNCell(8))(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 8])
    """

    recurrent_dropout_kinds = ("sequence", "candidate")

    def build(self, input_shape):
        super().build(input_shape)
        self.add_norm("kernel", self.units)
        self.add_norm("recurrent", self.units)

    def step(self, projected, states, dot, memory=None):
        (a_prev,) = states
        x_part, dropped = self.split_noise(projected)
        recurrent_part = self.norm("recurrent", dot(a_prev, self.recurrent_kernel))
        return [dropped(self.activation(x_part + recurrent_part))], {}
