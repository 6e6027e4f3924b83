"""The echo state network."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import activations, initializers

from keras_rnn.cells.standard import StandardCell
from keras_rnn.registration import register

# Spectral radius, in parts of the largest weight, below which it is taken for 0.
LEAST_RADIUS = 1e-2


@register
class ESNCell(StandardCell):
    """Echo state network: a random reservoir that is never trained.

        a = (1 - λ) * a_prev + λ * tanh(W_x x + W_a a_prev + b)

    W_a is sparse and scaled so that its largest eigenvalue has the given absolute value. A small one may be so sparse
    that nothing goes round in it: its eigenvalues are 0, and it stays as it was drawn. The state is [a], which is the
    output. No extras. Train a layer on top of it; the reservoir costs no gradient work.

    Weights, none trainable:
        kernel: [features, units]
        recurrent_kernel: [units, units]
        bias: [units]

    Arguments:
        units: size of the reservoir.
        connectivity: share of the recurrent weights that are not 0.
        leaky: λ, how much of the new value is taken.
        spectral_radius: absolute value of the largest eigenvalue of W_a, unless that is 0.
        activation: the function, tanh by default.
        **kwargs: those of `StandardCell`; `recurrent_initializer` is "glorot_uniform" here.

    Raises:
        ValueError: for `connectivity` or `leaky` outside of (0, 1], and as `StandardCell`.

    Source: Jaeger 2001; TensorFlow Addons' `ESNCell`.

    Example:

    >>> import keras, keras_rnn
    >>> keras_rnn.FusedRNN(keras_rnn.ESNCell(8))(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 8])
    """

    recurrent_dropout_kinds = ("sequence", "candidate")
    trained = False

    def __init__(
        self,
        units: int,
        connectivity: float = 0.1,
        leaky: float = 1.0,
        spectral_radius: float = 0.9,
        activation: Any = "tanh",
        recurrent_initializer: Any = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(units, recurrent_initializer=recurrent_initializer, **kwargs)
        for name, value in (("connectivity", connectivity), ("leaky", leaky)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {value}.")
        self.connectivity = connectivity
        self.leaky = leaky
        self.spectral_radius = spectral_radius
        self.activation = activations.get(activation)

    def initial_recurrent_kernel(self, shape, dtype=None):
        """The reservoir: most of its weights are 0, and it is scaled to the spectral radius."""
        kernel = super().initial_recurrent_kernel(shape, dtype=dtype)
        # An initializer draws wherever a layer may be built, while a graph is traced as well.
        keep = initializers.RandomUniform(0, 1, self.seed)(shape) < self.connectivity
        kernel = tf.where(keep, kernel, tf.zeros_like(kernel))
        radius = tf.reduce_max(tf.abs(tf.linalg.eigvals(tf.cast(kernel, "float64"))))
        # The eigenvalues of a reservoir in which nothing goes round are 0, and come out as a little more.
        goes_round = radius > LEAST_RADIUS * tf.cast(tf.reduce_max(tf.abs(kernel)), radius.dtype)
        scale = tf.where(goes_round, self.spectral_radius / radius, 1.0)
        return kernel * tf.cast(scale, kernel.dtype)

    def step(self, projected, states, dot, memory=None):
        (a_prev,) = states
        x_part, dropped = self.split_noise(projected)
        a = dropped(self.activation(x_part + dot(a_prev, self.recurrent_kernel)))
        return [(1 - self.leaky) * a_prev + self.leaky * a], {}

    def get_config(self):
        return {
            **super().get_config(),
            "connectivity": self.connectivity,
            "leaky": self.leaky,
            "spectral_radius": self.spectral_radius,
            "activation": activations.serialize(self.activation),
        }
