"""The cells: one file each, equations only. `CELLS` is the list that every test and every command runs over."""

from __future__ import annotations

import functools

import keras

from keras_rnn.cells.attention_cell import AttentionCell
from keras_rnn.cells.cell import Cell
from keras_rnn.cells.esn import ESNCell
from keras_rnn.cells.gru import GRUCell
from keras_rnn.cells.layer_norm_gru import LayerNormGRUCell
from keras_rnn.cells.layer_norm_lstm import LayerNormLSTMCell
from keras_rnn.cells.layer_norm_simple_rnn import LayerNormSimpleRNNCell
from keras_rnn.cells.lstm import LSTMCell
from keras_rnn.cells.nas import NASCell
from keras_rnn.cells.peephole_lstm import PeepholeLSTMCell
from keras_rnn.cells.query_reduction import QueryReductionCell
from keras_rnn.cells.simple_rnn import SimpleRNNCell
from keras_rnn.cells.wrapper import WrapperCell
from keras_rnn.cells.zoneout import ZoneoutCell

CELLS = {
    "lstm": functools.partial(LSTMCell, output_activation="tanh"),
    "lecture_lstm": LSTMCell,
    "gru": GRUCell,
    "gru_reset_after": functools.partial(GRUCell, reset_after=True),
    "simple_rnn": SimpleRNNCell,
    "peephole_lstm": functools.partial(PeepholeLSTMCell, output_activation="tanh"),
    "layer_norm_lstm": LayerNormLSTMCell,
    "layer_norm_gru": LayerNormGRUCell,
    "layer_norm_simple_rnn": LayerNormSimpleRNNCell,
    "nas": NASCell,
    "esn": ESNCell,
}


def make_cell(name: str, /, units: int, **kwargs) -> Cell:
    """Makes a cell by its short name, or by the class name of a registered cell.

    Arguments:
        name: a key of `CELLS`, as "lstm", or the class name of a cell registered with Keras for saving; with its
            package, as "mine>MyCell", where two have one name.
        units: size of its output.
        **kwargs: passed to the cell.

    Raises:
        ValueError: for a name that neither the list nor Keras knows, or that several registered classes have.

    >>> import keras_rnn
    >>> keras_rnn.make_cell("gru", 3).state_size
    3
    """
    if name in CELLS:
        return CELLS[name](units, **kwargs)
    found = registered_cells(name)
    if len({*found.values()}) > 1:
        raise ValueError(
            f"cell is {name!r}, but several are registered: {', '.join(sorted(found))}."
        )
    for cell in found.values():
        return cell(units, **kwargs)
    raise ValueError(
        f"cell is {name!r}, which is neither one of {', '.join(CELLS)} nor the name of a cell registered "
        "with keras.saving.register_keras_serializable."
    )


def registered_cells(name: str | None = None) -> dict[str, type[Cell]]:
    """The cells registered with Keras for saving, by "package>Name": all of them, or those of a name; not those that
    want another cell.
    """
    return {
        registered: cell
        for registered, cell in keras.saving.get_custom_objects().items()
        if isinstance(cell, type) and issubclass(cell, Cell) and not issubclass(cell, WrapperCell)
        if name in (None, registered, registered.split(">")[-1])
    }


__all__ = [
    "AttentionCell",
    "CELLS",
    "Cell",
    "ESNCell",
    "GRUCell",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "LayerNormSimpleRNNCell",
    "NASCell",
    "PeepholeLSTMCell",
    "QueryReductionCell",
    "SimpleRNNCell",
    "ZoneoutCell",
    "make_cell",
    "registered_cells",
]
