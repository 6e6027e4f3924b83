"""What the layer-normalised cells share."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_rnn.scans import in_rows


def layer_norm(x: tf.Tensor, gain: tf.Tensor, offset: tf.Tensor, epsilon: float) -> tf.Tensor:
    """LN(x) = gain * (x - mean) / sqrt(variance + epsilon) + offset, over the last axis.

    Gain and offset are numbers, or have one for each column. Mean and variance are computed in float32 at least.

    Source: Ba, Kiros and Hinton 2016, equation 4.

    >>> import keras_rnn
    >>> [round(v, 3) for v in keras_rnn.layer_norm([1.0, 3.0], 1.0, 0.5, epsilon=0.0).numpy().tolist()]
    [-0.5, 1.5]
    """
    x = tf.convert_to_tensor(x)
    wide = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
    centred = wide - tf.reduce_mean(wide, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    normal = centred * tf.math.rsqrt(variance + epsilon)
    return tf.cast(normal, x.dtype) * in_rows(gain, x) + in_rows(offset, x)


class Norms:
    """A cell's layer normalisations: of its input product, named "kernel", and of what its step gives to `norm`.

    It stands before the cell among the bases, whose `build` adds the weights: `NAME_gain`, which starts at 1, and
    `NAME_offset`, which starts at 0.

    Arguments:
        units: as the cell's.
        epsilon: added to the variances.
        **kwargs: those of the cell.
    """

    def __init__(self, units: int, epsilon: float = 1e-3, **kwargs):
        super().__init__(units, **kwargs)
        self.epsilon = epsilon

    def add_norm(self, name: str, width: int):
        for kind, initial in (("gain", "ones"), ("offset", "zeros")):
            weight = self.add_weight(shape=(width,), name=f"{name}_{kind}", initializer=initial)
            setattr(self, f"{name}_{kind}", weight)

    def norm(self, name: str, x: tf.Tensor) -> tf.Tensor:
        gain = keras.ops.convert_to_tensor(getattr(self, f"{name}_gain"))
        offset = keras.ops.convert_to_tensor(getattr(self, f"{name}_offset"))
        return layer_norm(x, gain, offset, self.epsilon)

    def project(self, x, dot, training=False):
        return self.with_noise(self.norm("kernel", dot(x, self.kernel)) + self.bias, x, training)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
