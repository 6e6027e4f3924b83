"""The parts of Keras that it keeps to itself and that this package cannot do without: here and nowhere else.

Each has a test that fails when Keras moves it, in `tests/test_keras_internals.py`.
"""

from __future__ import annotations

import keras
import tensorflow as tf
from keras.src.backend.common import global_state

# Stock `keras.layers.RNN` draws one dropout mask a sequence only for cells of this class. It asks the cell for it by
# `_create_dropout_mask`, and keeps it there while its loop runs.
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell

__all__ = [
    "DropoutRNNCell",
    "drawn_before_the_loop",
    "keep_while_ids_are_known",
    "layers_of",
    "mask_of",
]


def drawn_before_the_loop(cell: DropoutRNNCell) -> tf.Tensor | None:
    """The mask that a stock loop has drawn for a cell; None outside of such a loop."""
    return getattr(cell, "_recurrent_dropout_mask", None)


def layers_of(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers within a layer, and those within them."""
    return list(layer._flatten_layers(include_self=False))


def mask_of(tensor: tf.Tensor) -> tf.Tensor | None:
    """The mask that Keras hands on with a tensor."""
    return getattr(tensor, "_keras_mask", None)


def keep_while_ids_are_known(layer: keras.layers.Layer) -> None:
    """Keeps a layer alive until the model that is being saved or loaded is done.

    While it saves or loads, Keras tells by their ids which objects are shared, also those that `Bidirectional` only
    copies. If such a layer died meanwhile, another could get its id, and the two would be restored as one.
    """
    known = global_state.get_global_attribute("shared_objects/id_to_config_map")
    if known is not None:
        known.setdefault("alive", []).append(layer)
