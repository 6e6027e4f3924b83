"""Keras's dropout with draws that cost little under XLA."""

from typing import Any

import keras
import tensorflow as tf

from keras_rnn.draws import kept
from keras_rnn.registration import register

Tensor = Any


@register
class Dropout(keras.layers.Dropout):
    """Drops features in training: each is 0 with probability `rate`, else divided by 1 - rate.

    `keras.layers.Dropout` with other draws: compiled for a CPU its own take longer than many a recurrent layer.

    Arguments: those of `keras.layers.Dropout`.

    Example:

    >>> x = tf.ones([1000, 1000])
    >>> dropped = Dropout(0.2)(x, training=True)
    >>> sorted(set(dropped.numpy().ravel().tolist())), round(float(tf.reduce_mean(dropped)), 1)
    ([0.0, 1.25], 1.0)
    """

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or not self.rate:
            return inputs
        if self.rate == 1:
            return tf.zeros_like(inputs)
        shape = [
            size if given is None else given
            for size, given in zip(tf.unstack(tf.shape(inputs)), self._shape(inputs))
        ]
        # Not multiplied by a mask: what is dropped is 0 whatever it was.
        return tf.where(
            kept(shape, self.rate, self.seed_generator), inputs * (1 / (1 - self.rate)), 0
        )

    def _shape(self, inputs: Tensor) -> tuple[int | None, ...]:
        """Of the mask; None = the input's."""
        return self.noise_shape or (None,) * len(inputs.shape)


@register
class SpatialDropout1D(Dropout):
    """Drops the same features at every time step of [batch, time, features].

    Arguments: those of `keras.layers.SpatialDropout1D`.

    Example:

    >>> dropped = SpatialDropout1D(0.5)(tf.ones([2, 7, 4]), training=True)
    >>> bool(tf.reduce_all(dropped == dropped[:, :1]))
    True
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(rate, seed=seed, **kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def _shape(self, inputs):
        return None, 1, None

    def get_config(self):
        config = super().get_config()
        del config["noise_shape"]
        return config
