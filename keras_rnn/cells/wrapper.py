"""What the cells around another cell share."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_rnn.cells.cell import Cell


class WrapperCell(Cell):
    """A cell around a cell, which keeps its own precision and its own recurrent dropout.

    Arguments:
        cell: the cell inside.
        **kwargs: `seed`, and those of `keras.layers.Layer`.

    Raises:
        TypeError: for a cell that is not a `keras_rnn.Cell`.
        ValueError: for a recurrent dropout, which belongs to the cell inside.
    """

    def __init__(self, cell: Cell, **kwargs):
        self.require_cell(cell)
        if kwargs.pop("recurrent_dropout", 0):
            raise ValueError(
                f"{type(self).__name__} drops nothing itself: give recurrent_dropout to its cell."
            )
        super().__init__(**{"dtype": cell.dtype_policy, **kwargs})
        self.cell = cell
        self.output_size = cell.output_size

    @classmethod
    def require_cell(cls, cell: Any) -> None:
        """Refuses what is no cell of this package, by a line that says what would be."""
        if not isinstance(cell, Cell):
            kind = type(cell)
            raise TypeError(
                f"{cls.__name__} goes around a keras_rnn.Cell, not {kind.__name__} of "
                f"{kind.__module__.partition('.')[0]}. Keras's own are keras_rnn.LSTMCell(units, output_activation="
                "'tanh'), keras_rnn.GRUCell(units, reset_after=True) and keras_rnn.SimpleRNNCell(units)."
            )

    def operand_mask(self, state: tf.Tensor, training: bool) -> tf.Tensor | None:
        return self.cell.operand_mask(state, training)

    # By these two the stock loop has one mask drawn before it runs.

    def get_recurrent_dropout_mask(self, state: tf.Tensor) -> tf.Tensor | None:
        return self.cell.get_recurrent_dropout_mask(state)

    def reset_recurrent_dropout_mask(self):
        self.cell.reset_recurrent_dropout_mask()

    def get_config(self):
        config = super().get_config()
        del config["recurrent_dropout"]  # that of the cell inside counts
        return {**config, "cell": keras.saving.serialize_keras_object(self.cell)}


def build_cell(cell: Cell, input_shape: tuple[int | None, ...]) -> None:
    """Builds a cell as Keras's `__call__` would, once."""
    if not cell.built:
        cell.build(input_shape)
        cell.built = True
