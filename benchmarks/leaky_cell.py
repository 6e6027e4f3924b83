"""A cell as a user writes one: leaky units that learn how much they forget."""

import keras
from keras import ops

import keras_rnn


@keras.saving.register_keras_serializable(package="benchmarks")
class LeakyCell(keras_rnn.Cell):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")
        self.bias = self.add_weight(shape=(self.units,), name="bias", initializer="zeros")
        self.leak = self.add_weight(shape=(self.units,), name="leak", initializer="zeros")

    def project(self, x, dot, training=False):
        return dot(x, self.kernel) + self.bias

    def step(self, projected, states, dot, memory=None):
        (a_prev,) = states
        leak = ops.sigmoid(self.leak)
        a_new = ops.tanh(projected + dot(a_prev, self.recurrent))
        return [leak * a_prev + (1 - leak) * a_new], {}

    def get_config(self):
        return {**super().get_config(), "units": self.units}
