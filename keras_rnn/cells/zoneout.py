"""Zoneout: some of the states stay as they were."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_rnn.cells.cell import Cell
from keras_rnn.cells.standard import register


@register
class ZoneoutCell(Cell):
    """Zoneout around a cell: in training, each unit of a state keeps its previous value with a given probability.

        s = d * s_prev + (1 - d) * s_new,     d ~ Bernoulli(rate), drawn at every step      in training
        s = rate * s_prev + (1 - rate) * s_new                                             otherwise

    Weights, states and extras are those of the wrapped cell.

    Arguments:
        cell: any `Cell` but one that attends: there the zoneout belongs inside, around the attending cell's own.
        rates: the rate of each state, or one number for all of them. For an LSTM, (rate of a, rate of c).
        **kwargs: `seed`, and those of `keras.layers.Layer`.

    Raises:
        ValueError: for a number of rates other than that of the states, a rate outside of [0, 1), a cell that attends,
            or a recurrent dropout of its own.

    Source: Krueger et al. 2017, equations 5 and 6.

    Example:

    >>> import keras, keras_rnn
    >>> cell = keras_rnn.ZoneoutCell(keras_rnn.LSTMCell(8), rates=(0.1, 0.2))
    >>> keras_rnn.FusedRNN(cell)(keras.ops.ones((2, 5, 3)), training=True).shape
    TensorShape([2, 8])
    """

    def __init__(self, cell: Cell, rates: float | Sequence[float], **kwargs):
        if hasattr(cell, "build_memory"):
            raise ValueError(
                f"{type(cell).__name__} attends: put the ZoneoutCell around the cell that is in it."
            )
        if kwargs.get("recurrent_dropout"):
            raise ValueError("A ZoneoutCell drops nothing: give recurrent_dropout to its cell.")
        super().__init__(**{"dtype": cell.dtype_policy, **kwargs})
        count = len(cell.state_sizes)
        self.rates = [float(rates)] * count if isinstance(rates, (int, float)) else list(rates)
        if len(self.rates) != count or not all(0 <= rate < 1 for rate in self.rates):
            raise ValueError(
                f"rates must be a number in [0, 1) or {count} of them, one a state; got {rates}."
            )
        self.cell = cell
        self.state_size = cell.state_size
        self.output_size = cell.output_size
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def build(self, input_shape):
        if not self.cell.built:
            self.cell.build(input_shape)
            self.cell.built = True

    @property
    def input_kernel(self):
        return self.cell.input_kernel

    def project(self, x, dot, training=False):
        projected = self.cell.project(x, dot, training=training)
        if not training:
            return {"cell": projected}
        kept = [
            tf.cast(self.uniform([*tf.unstack(tf.shape(x)[:2]), *_shape(size)]) < rate, x.dtype)
            for size, rate in zip(self.state_sizes, self.rates)
        ]
        return {"cell": projected, "kept": kept}

    def step(self, projected, states, dot, memory=None):
        new_states, extras = self.cell.step(projected["cell"], states, dot, memory)
        kept = projected.get("kept", self.rates)
        return [d * s + (1 - d) * n for d, s, n in zip(kept, states, new_states)], extras

    def prepare_memory(self, memory, memory_mask=None, **kwargs):
        return self.cell.prepare_memory(memory, memory_mask, **kwargs)

    def operand_mask(self, state, training):
        return self.cell.operand_mask(state, training)

    def get_config(self):
        config = super().get_config()
        del config["recurrent_dropout"]  # that of the wrapped cell counts
        return {
            **config,
            "cell": keras.saving.serialize_keras_object(self.cell),
            "rates": self.rates,
        }

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("cell")), **config)


def _shape(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)
