"""Zoneout: some of the states stay as they were."""

from __future__ import annotations

import numbers
from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_rnn.cells.cell import Cell
from keras_rnn.cells.wrapper import WrapperCell, build_cell
from keras_rnn.registration import register


@register
class ZoneoutCell(WrapperCell):
    """Zoneout around any cell: in training, each unit of a state keeps its previous value with a given probability.

        s = d * s_prev + (1 - d) * s_new,     d ~ Bernoulli(rate), drawn at every step      in training
        s = rate * s_prev + (1 - rate) * s_new                                             otherwise

    Weights, states and extras are those of the wrapped cell. What an attention remembers of its memory is not zoned.

    Arguments:
        cell: any `Cell`.
        rates: the rate of each state, or one number for all of them. For an LSTM, (rate of a, rate of c).
        **kwargs: `seed`, and those of `keras.layers.Layer`.

    Raises:
        TypeError: for a cell that is not a `keras_rnn.Cell`.
        ValueError: for a number of rates other than that of the states, a rate outside of [0, 1), or a recurrent
            dropout of its own.

    Source: Krueger et al. 2017, equations 5 and 6.

    Example:

    >>> import keras, keras_rnn
    >>> cell = keras_rnn.ZoneoutCell(keras_rnn.LSTMCell(8), rates=(0.1, 0.2))
    >>> keras_rnn.FusedRNN(cell)(keras.ops.ones((2, 5, 3)), training=True).shape
    TensorShape([2, 8])
    """

    def __init__(self, cell: Cell, rates: float | Sequence[float], **kwargs):
        super().__init__(cell, **kwargs)
        count = len(cell.state_sizes)
        self.rates = [float(rates)] * count if isinstance(rates, numbers.Real) else list(rates)
        if len(self.rates) != count or not all(0 <= rate < 1 for rate in self.rates):
            raise ValueError(
                f"rates must be a number in [0, 1) or {count} of them, one a state; got {rates}."
            )
        self.state_size = cell.state_size
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        # What an attention remembers, a number for each position of the memory, is no state of units.
        self.zoned = [None not in shape for shape in self.state_shapes]

    def build(self, input_shape):
        build_cell(self.cell, input_shape)

    def build_memory(self, memory_shape):
        self.cell.build_memory(memory_shape)

    def initial_states(self, batch_size, memory=None):
        return self.cell.initial_states(batch_size, memory)

    def get_initial_state(self, batch_size=None):
        return self.cell.get_initial_state(batch_size)

    @property
    def input_kernel(self):
        return self.cell.input_kernel

    def project(self, x, dot, training=False):
        projected = self.cell.project(x, dot, training=training)
        if not training:
            return {"cell": projected}
        rows = tf.unstack(tf.shape(x)[:2])
        kept = [
            tf.cast(self.uniform([*rows, *shape]) < rate, x.dtype)
            for shape, rate, zoned in zip(self.state_shapes, self.rates, self.zoned)
            if zoned
        ]
        return {"cell": projected, "kept": kept}

    def step(self, projected, states, dot, memory=None):
        new_states, extras = self.cell.step(projected["cell"], states, dot, memory)
        rates = [rate for rate, zoned in zip(self.rates, self.zoned) if zoned]
        kept = iter(projected.get("kept", rates))
        return [
            _mixed(next(kept), s, n) if zoned else n
            for s, n, zoned in zip(states, new_states, self.zoned)
        ], extras

    def prepare_memory(self, memory, memory_mask=None, **kwargs):
        return self.cell.prepare_memory(memory, memory_mask, **kwargs)

    def get_config(self):
        return {**super().get_config(), "rates": self.rates}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("cell")), **config)


def _mixed(d, s_prev: tf.Tensor, s_new: tf.Tensor) -> tf.Tensor:
    return d * s_prev + (1 - d) * s_new
