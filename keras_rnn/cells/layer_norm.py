"""What the layer-normalised cells share."""

from __future__ import annotations

import keras
import tensorflow as tf

# Columns that are few enough to be added up one by one.
_NARROW = 128


def layer_norm(x: tf.Tensor, gain: tf.Tensor, offset: tf.Tensor, epsilon: float) -> tf.Tensor:
    """LN(x) = gain * (x - mean) / sqrt(variance + epsilon) + offset, over the last axis.

    Gain and offset are numbers, or have one for each column. Mean and variance are computed in float32 at least.

    Source: Ba, Kiros and Hinton 2016, equation 4.

    >>> import keras_rnn
    >>> [round(v, 3) for v in keras_rnn.layer_norm([1.0, 3.0], 1.0, 0.5, epsilon=0.0).numpy().tolist()]
    [-0.5, 1.5]
    """
    x = tf.convert_to_tensor(x)
    gain, offset = (_for_each_column(weight, x) for weight in (gain, offset))

    def normal(x):
        wide = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
        centred = wide - _mean(wide)
        scale = tf.math.rsqrt(_mean(tf.square(centred)) + epsilon)
        return centred * scale, scale

    # The gradient is written out for its sums: compiled for a CPU, those that TensorFlow derives took longer than all
    # else that normalising adds to a step.
    @tf.custom_gradient
    def normalise(x, gain, offset):
        def gradient(d):
            n, scale = normal(x)
            d = tf.cast(d, n.dtype)
            d_normal = d * tf.cast(gain, n.dtype)
            d_x = scale * (d_normal - _mean(d_normal) - n * _mean(d_normal * n))
            d_gain, d_offset = _sum_of_rows(d * n), _sum_of_rows(d)
            return (
                tf.cast(d_x, x.dtype),
                tf.cast(d_gain, gain.dtype),
                tf.cast(d_offset, offset.dtype),
            )

        return tf.cast(normal(x)[0], x.dtype) * gain + offset, gradient

    return normalise(x, gain, offset)


def _for_each_column(weight: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    weight = tf.convert_to_tensor(weight, x.dtype)
    return weight if weight.shape.rank else tf.broadcast_to(weight, tf.shape(x)[-1:])


def _mean(x: tf.Tensor) -> tf.Tensor:
    """Over the last axis, [..., 1]. Halves are added up first, which XLA does many numbers at a time."""
    width = size = x.shape[-1] if x.shape.rank else None
    if width is None:
        return tf.reduce_mean(x, axis=-1, keepdims=True)
    while width > _NARROW and width % 2 == 0:
        width //= 2
        x = x[..., :width] + x[..., width:]
    return tf.reduce_sum(x, axis=-1, keepdims=True) / size


def _sum_of_rows(x: tf.Tensor) -> tf.Tensor:
    """Over all axes but the last, as a product."""
    x = tf.reshape(x, tf.stack([-1, tf.shape(x)[-1]]))
    # With one row of ones it would be no product: XLA takes it into what makes the terms, and that is slow.
    return tf.matmul(tf.ones([2, tf.shape(x)[0]], x.dtype), x)[0]


class Norms:
    """Gains and offsets of a cell's layer normalisations: `NAME_gain` starts at 1, `NAME_offset` at 0."""

    epsilon: float

    def add_norm(self, name: str, width: int):
        for kind, initial in (("gain", "ones"), ("offset", "zeros")):
            weight = self.add_weight(shape=(width,), name=f"{name}_{kind}", initializer=initial)
            setattr(self, f"{name}_{kind}", weight)

    def norm(self, name: str, x: tf.Tensor) -> tf.Tensor:
        gain = keras.ops.convert_to_tensor(getattr(self, f"{name}_gain"))
        offset = keras.ops.convert_to_tensor(getattr(self, f"{name}_offset"))
        return layer_norm(x, gain, offset, self.epsilon)
