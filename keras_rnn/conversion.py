"""Trained recurrent layers of Keras as ours, and back: the same outputs, to rounding."""

from __future__ import annotations

import warnings

import keras
import numpy as np
from keras import activations

from keras_rnn.cells.gru import GRUCell
from keras_rnn.cells.lstm import LSTMCell
from keras_rnn.cells.simple_rnn import SimpleRNNCell
from keras_rnn.layers.rnn import FusedRNN

LAYER_SETTINGS = (
    "name",
    "trainable",
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "zero_output_for_mask",
    "activity_regularizer",
)
CELL_SETTINGS = tuple(
    f"{weight}_{kind}"
    for weight in ("kernel", "recurrent", "bias")
    for kind in ("initializer", "regularizer", "constraint")
) + ("recurrent_dropout", "seed")
LSTM_FROM_KERAS = (0, 1, 3, 2)  # i f c o -> u f o c
LSTM_TO_KERAS = (0, 1, 3, 2)  # u f o c -> i f c o


def from_keras(layer: keras.layers.RNN) -> FusedRNN:
    """A `FusedRNN` that computes what a `keras.layers.LSTM`, `GRU` or `SimpleRNN` computes, with its trained weights.

    Arguments:
        layer: the layer of Keras. If it is not built, only its settings are carried over.

    Raises:
        TypeError: for another layer.
        ValueError: for activations that our cells do not have.

    >>> import keras, keras_rnn
    >>> theirs = keras.layers.LSTM(4)
    >>> x = keras.ops.ones((2, 5, 3))
    >>> y = theirs(x)
    >>> ours = keras_rnn.from_keras(theirs)
    >>> bool(keras.ops.max(keras.ops.abs(ours(x) - y)) < 1e-6)
    True
    """
    settings = {name: getattr(layer.cell, name) for name in CELL_SETTINGS} if _known(layer) else {}
    if isinstance(layer, keras.layers.LSTM):
        _need(layer.cell, recurrent_activation="sigmoid", activation="tanh")
        forget = layer.cell.unit_forget_bias
        cell = LSTMCell
        settings |= {"output_activation": "tanh", "unit_forget_bias": forget}
    elif isinstance(layer, keras.layers.GRU):
        _need(layer.cell, recurrent_activation="sigmoid", activation="tanh")
        cell = GRUCell
        settings |= {"reset_after": layer.cell.reset_after}
    elif isinstance(layer, keras.layers.SimpleRNN):
        cell = SimpleRNNCell
        settings |= {"activation": layer.cell.activation}
    else:
        raise TypeError(
            f"from_keras converts keras.layers.LSTM, GRU and SimpleRNN, not {type(layer).__name__}."
        )
    if layer.cell.dropout:
        warnings.warn(
            f"{layer.name} has dropout={layer.cell.dropout} on its inputs, which no cell has here: "
            f"put keras_rnn.SpatialDropout1D({layer.cell.dropout}) before the layer to train on.",
            stacklevel=2,
        )
    ours = FusedRNN(
        cell(layer.cell.units, dtype=layer.dtype_policy, **settings),
        **{name: getattr(layer, name) for name in LAYER_SETTINGS},
    )
    if layer.built:
        ours.build((_batch_size(layer), None, layer.cell.kernel.shape[0]))
        ours.cell.set_weights(_weights_from_keras(layer))
    return ours


def to_keras(layer: FusedRNN) -> keras.layers.RNN:
    """The `keras.layers.LSTM`, `GRU` or `SimpleRNN` that computes what a `FusedRNN` computes, with its trained weights.

    Arguments:
        layer: a `FusedRNN` around an `LSTMCell` with `output_activation="tanh"`, a `GRUCell` or a `SimpleRNNCell`.

    Raises:
        TypeError: for another cell.
        ValueError: for an LSTM whose output is not Γ_o * tanh(c), which Keras does not have.

    >>> import keras_rnn, numpy as np
    >>> layer, x = keras_rnn.GRU(4), np.ones((2, 5, 3), "float32")
    >>> np.allclose(layer(x), to_keras(layer)(x), atol=1e-6)
    True
    """
    cell = layer.cell
    settings = {name: getattr(layer, name) for name in LAYER_SETTINGS}
    if type(cell) not in (LSTMCell, GRUCell, SimpleRNNCell):
        raise TypeError(
            "to_keras converts a FusedRNN around an LSTMCell, a GRUCell or a SimpleRNNCell, "
            f"not around {type(cell).__name__}."
        )
    if cell.recurrent_dropout and cell.recurrent_dropout_kind == "candidate":
        raise ValueError('Keras has no recurrent dropout of the kind "candidate".')
    settings |= {name: getattr(cell, name) for name in CELL_SETTINGS}
    settings["dtype"] = layer.dtype_policy
    if isinstance(cell, LSTMCell):
        if activations.serialize(cell.output_activation) != "tanh":
            raise ValueError(
                "Keras's LSTM has a = Γ_o * tanh(c) only; this cell has output_activation="
                f"{activations.serialize(cell.output_activation)!r}."
            )
        settings["unit_forget_bias"] = cell.unit_forget_bias
        theirs = keras.layers.LSTM(cell.units, **settings)
    elif isinstance(cell, GRUCell):
        theirs = keras.layers.GRU(cell.units, reset_after=cell.reset_after, **settings)
    else:
        theirs = keras.layers.SimpleRNN(cell.units, activation=cell.activation, **settings)
    if layer.built:
        theirs.build((_batch_size(layer), None, cell.kernel.shape[0]))
        theirs.cell.set_weights(_weights_to_keras(cell))
    return theirs


def _known(layer) -> bool:
    return isinstance(layer, (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN))


def _need(cell, **wanted: str):
    for name, value in wanted.items():
        found = activations.serialize(getattr(cell, name))
        if found != value:
            raise ValueError(f"Only {name}={value!r} can be converted, not {found!r}.")


def _weights_from_keras(layer) -> list[np.ndarray]:
    cell = layer.cell
    kernel, recurrent = np.asarray(cell.kernel), np.asarray(cell.recurrent_kernel)
    bias = np.zeros(kernel.shape[1:], kernel.dtype) if cell.bias is None else np.asarray(cell.bias)
    if isinstance(layer, keras.layers.LSTM):
        return [_reordered(weight, LSTM_FROM_KERAS) for weight in (kernel, recurrent, bias)]
    if isinstance(layer, keras.layers.GRU):
        if not cell.reset_after:
            biases = [bias]
        elif cell.bias is None:
            biases = [bias, bias]
        else:
            biases = list(bias)
        return [_first_block_negated(weight) for weight in (kernel, recurrent, *biases)]
    return [kernel, recurrent, bias]


def _weights_to_keras(cell) -> list[np.ndarray]:
    weights = [np.asarray(weight) for weight in cell.weights]
    if isinstance(cell, LSTMCell):
        return [_reordered(weight, LSTM_TO_KERAS) for weight in weights]
    if isinstance(cell, GRUCell):
        kernel, recurrent, *biases = [_first_block_negated(weight) for weight in weights]
        return [kernel, recurrent, np.stack(biases) if cell.reset_after else biases[0]]
    return weights


def _reordered(weight: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    blocks = np.split(weight, len(order), axis=-1)
    return np.concatenate([blocks[k] for k in order], axis=-1)


def _first_block_negated(weight: np.ndarray) -> np.ndarray:
    """Keras's z weighs the old state: z = 1 - Γ_u = σ(-u)."""
    z, *rest = np.split(weight, 3, axis=-1)
    return np.concatenate([-z, *rest], axis=-1)


def _batch_size(layer) -> int | None:
    """A stateful layer is built for one batch size."""
    return layer.states[0].shape[0] if layer.stateful else None
