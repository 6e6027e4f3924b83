"""Recurrent layers in TensorFlow: this package's, and any cell in `keras.layers.RNN`."""

import functools
import importlib.util
import pathlib
import sys
from collections.abc import Callable

import keras_rnn  # first: it imports TensorFlow without its notices
from benchmarks.shapes import Problem

# isort: split
import keras

from benchmarks.stock_layers import runs

# Cells by name. The first two have the equations of Keras and PyTorch, the next two the lecture's.
CELLS = {
    "lstm": lambda units: keras_rnn.LSTMCell(units, output_activation="tanh"),
    "gru": lambda units: keras_rnn.GRUCell(units, reset_after=True),
    "lecture lstm": keras_rnn.LSTMCell,
    "lecture gru": keras_rnn.GRUCell,
    "layer norm lstm": keras_rnn.LayerNormLSTMCell,
    "peephole lstm": keras_rnn.PeepholeLSTMCell,
    "nas": keras_rnn.NASCell,
}


def ours(
    file: str = "", rematerialize: int | bool | None = None, unroll: int = 1, **sizes
) -> Callable[[], None]:
    """FusedRNN under XLA; `file` is a user's module that has the cell."""
    problem = Problem(**sizes)
    layer = functools.partial(keras_rnn.FusedRNN, rematerialize=rematerialize, unroll=unroll)
    return runs(_layer(problem, layer, file), problem, jit_compile=True)


def loop(jit_compile: bool, file: str = "", **sizes) -> Callable[[], None]:
    """The same cell in `keras.layers.RNN`."""
    problem = Problem(**sizes)
    return runs(_layer(problem, keras.layers.RNN, file), problem, jit_compile)


def cell_class(file: str, name: str) -> type[keras.layers.Layer]:
    """A class of a user's module, a file, which may import what lies beside it."""
    sys.path.insert(0, str(pathlib.Path(file).parent))
    spec = importlib.util.spec_from_file_location(pathlib.Path(file).stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def _layer(problem: Problem, wrapper, file: str) -> keras.layers.Layer:
    make = cell_class(file, problem.cell) if file else CELLS[problem.cell]
    keras.utils.set_random_seed(problem.seed)
    layer = wrapper(make(problem.units), return_sequences=True)
    return keras.layers.Bidirectional(layer) if problem.bidirectional else layer
