"""Checks a cell in a minute: for those who write one."""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_rnn.cells.attention_cell import AttentionCell
from keras_rnn.cells.cell import Cell
from keras_rnn.cells.wrapper import WrapperCell
from keras_rnn.keras_internals import layers_of
from keras_rnn.layers.rnn import FusedRNN

BATCH, TIME, FEATURES = 3, 6, 5
MASKS = {
    "right padding": [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]],
    "left padding": [[1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1]],
    "holes and an empty row": [[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]],
}


def check_cell(cell: Cell, reference: Callable[..., Any] | None = None, memory: Any = None) -> bool:
    """Checks that a cell computes the same in the fused loop as step by step, and that it can be saved.

    Compared, in float32, uncompiled and under XLA: outputs, last states and the gradients of inputs, initial states and
    every weight, for four mask patterns; then a row by itself, which must give what it gives among others; saving and
    loading, and bfloat16. What differs is printed.

    Arguments:
        cell: the cell. A copy of it, made through its `get_config`, is checked.
        reference: `reference(x, states, weights) -> states`, one time step in NumPy: x [batch, features], a list of
            states and a dict of weights by name, all float64. Compared with what the cell computes without a mask.
        memory: what an attending cell sees at each step, with 3 rows; random numbers if an `AttentionCell` is given
            none.

    Returns:
        Whether all agreed.

    >>> import numpy as np, keras_rnn
    >>> def elman(x, states, weights):
    ...     product = states[0] @ weights["recurrent_kernel"]
    ...     return [np.tanh(x @ weights["kernel"] + product + weights["bias"])]
    >>> keras_rnn.check_cell(keras_rnn.SimpleRNNCell(4), reference=elman)
    SimpleRNNCell: all checks passed.
    True
    """
    report = _Report(type(cell).__name__)
    try:
        _check(cell, reference, memory, report)
    except Exception as error:  # a broken cell may raise anything; the answer is still a report
        report.differs("it runs", f"{type(error).__name__}: {_message(error)}")
    return report.close()


class _Report:
    def __init__(self, name: str):
        self.name = name
        self.failures = 0

    def differs(self, what: str, how: str):
        self.failures += 1
        print(f"{self.name}: {what}: {how}")

    def compare(self, what: str, got: Any, expected: Any, tolerance: float):
        if got is None and expected is None:
            return
        if got is None or expected is None:
            has = "the stock loop" if got is None else "the fused loop"
            self.differs(what, f"only {has} has one")
            return
        got, expected = (np.asarray(tf.cast(x, tf.float64)) for x in (got, expected))
        error = np.abs(got - expected).max(initial=0) / max(1.0, np.abs(expected).max(initial=0))
        if not error <= tolerance:  # NaN fails too
            self.differs(what, f"differs by {error:.2e}, more than {tolerance:.0e}")

    def close(self) -> bool:
        if not self.failures:
            print(f"{self.name}: all checks passed.")
        return not self.failures


def _check(cell: Cell, reference, memory, report: _Report):
    config = cell.get_config()
    for name, parameter in inspect.signature(type(cell).__init__).parameters.items():
        named = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if named and name != "self" and name not in config:
            report.differs("get_config", f"lacks {name!r}, so that a saved cell loses it")
    generator = np.random.default_rng(0)
    attending = _attending(cell)
    if memory is None and attending is not None:
        features = attending.memory_size or attending.attention.units
        memory = generator.normal(size=(BATCH, TIME - 1, features)).astype("float32")
    cell = _copy(cell)
    x = tf.constant(generator.normal(size=(BATCH, TIME, FEATURES)), "float32")
    fused = FusedRNN(cell, return_sequences=True, return_state=True)
    stock = keras.layers.RNN(cell, return_sequences=True, return_state=True)
    fused.build(x.shape, None, None if memory is None else np.shape(memory))
    unbuilt = [layer for layer in layers_of(cell) if not layer.built]
    fused(x, memory=memory)
    unbuilt = [layer.name for layer in unbuilt if layer.weights]
    for name in unbuilt:
        report.differs(
            "build", f"leaves {name!r} unbuilt, so that a loaded model loses its weights"
        )
    for weight in cell.trainable_weights:  # zeros and ones hide mistakes
        weight.assign(weight + 0.1 * generator.normal(size=weight.shape))
    states = [
        tf.constant(generator.normal(size=zeros.shape), cell.compute_dtype)
        for zeros in cell.initial_states(BATCH, memory)
    ]
    tail = (
        [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(memory)]
        if memory is not None
        else []
    )
    if len(tail) > 1:
        raise ValueError("check_cell takes one tensor as memory.")

    for compiled in (False, True):
        for masks in ({"no mask": None}, MASKS):
            ours = _compiled(
                lambda x, s, a, m: fused(x, s, mask=m, memory=a[0] if a else None), cell, compiled
            )
            theirs = _compiled(lambda x, s, a, m: stock(x, [*s, *a], mask=m), cell, compiled)
            for pattern, mask in masks.items():
                mask = None if mask is None else tf.constant(np.array(mask, bool))
                got = ours(x, states, tail, mask)
                for name, value in theirs(x, states, tail, mask).items():
                    how = f"{pattern}, {'XLA' if compiled else 'no XLA'}"
                    report.compare(f"{name} ({how})", got[name], value, 1e-4)

    if reference is not None:
        weights = {w.name: np.asarray(w, "float64") for w in cell.weights}
        expected = [np.asarray(state, "float64") for state in states]
        outputs = []
        for t in range(TIME):
            expected = list(reference(np.asarray(x[:, t], "float64"), expected, weights))
            outputs.append(expected[0])
        got = fused(x, states, memory=memory)
        report.compare("outputs against the reference", got[0], np.stack(outputs, axis=1), 1e-5)
        for k, state in enumerate(expected):
            report.compare(f"state {k} against the reference", got[1 + k], state, 1e-5)

    _check_rows(cell, x, memory, report)
    if not unbuilt:
        _check_saving(fused, x, memory, report)
    _check_bfloat16(cell, x, memory, report)


def _attending(cell: Cell) -> AttentionCell | None:
    """The cell itself or the one within it that attends."""
    while not isinstance(cell, AttentionCell):
        if not isinstance(cell, WrapperCell):
            return None
        cell = cell.cell
    return cell


def _compiled(function, cell: Cell, compiled: bool) -> Callable[..., dict[str, tf.Tensor]]:
    """One loop with its gradients, as a function of inputs, states, memory and mask to a dict by name."""

    @tf.function(jit_compile=compiled)
    def run(x, states, memory, mask):
        with tf.GradientTape() as tape:
            tape.watch([x, states, memory])
            outputs, *last = function(x, states, memory, mask)
            last = last[: len(states)]
            loss = tf.add_n([tf.reduce_sum(tf.sin(y + k)) for k, y in enumerate([outputs, *last])])
        weights = list(cell.trainable_weights)
        sources = {"x": x, "states": states, "memory": memory, "weights": weights}
        gradients = tape.gradient(loss, sources)
        named = {"outputs": outputs, "gradient of the inputs": gradients["x"]}
        for k, (state, gradient) in enumerate(zip(last, gradients["states"])):
            named[f"state {k}"] = state
            named[f"gradient of initial state {k}"] = gradient
        for gradient in gradients["memory"]:
            named["gradient of the memory"] = gradient
        for weight, gradient in zip(weights, gradients["weights"]):
            named[f"gradient of {weight.name}"] = gradient
        return named

    def call(*arguments):
        return run.get_concrete_function(*arguments)(*arguments)

    return call


def _check_rows(cell: Cell, x, memory, report: _Report):
    """A row must not see the others: large batches are run in halves."""
    layer = FusedRNN(cell, return_sequences=True, return_extras=True)
    outputs, extras = layer(x, memory=memory)
    first = None if memory is None else tf.nest.map_structure(lambda leaf: leaf[:1], memory)
    outputs_alone, extras_alone = layer(x[:1], memory=first)
    report.compare("outputs of a row by itself", outputs_alone, outputs[:1], 1e-5)
    for name, extra in extras.items():
        report.compare(f"extra {name!r} of a row by itself", extras_alone[name], extra[:1], 1e-5)


def _check_saving(fused: FusedRNN, x, memory, report: _Report):
    if memory is not None:  # a model of more inputs than a check should make up
        copy = type(fused.cell).from_config(fused.cell.get_config())
        report.compare("units after saving", copy.output_size, fused.cell.output_size, 0)
        return
    inputs = keras.Input((None, FEATURES), dtype=x.dtype)
    layer = FusedRNN.from_config(fused.get_config())
    model = keras.Model(inputs, layer(inputs)[0])
    layer.cell.set_weights(fused.cell.get_weights())
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
    report.compare("outputs after saving and loading", loaded(x), model(x), 1e-6)


def _check_bfloat16(cell: Cell, x, memory, report: _Report):
    """bfloat16 has 8 bits: the fused loop must stay as near to float32 as the stock one does."""
    low = _copy(cell, dtype="mixed_bfloat16")
    fused = FusedRNN(low, return_sequences=True)
    stock = keras.layers.RNN(low, return_sequences=True, dtype="mixed_bfloat16")
    fused(x, memory=memory)
    low.set_weights(cell.get_weights())
    exact = FusedRNN(cell, return_sequences=True)(x, memory=memory)
    tail = None
    if memory is not None:
        tail = [*low.initial_states(BATCH, memory), tf.convert_to_tensor(memory)]
    ours, theirs = fused(x, memory=memory), stock(x, initial_state=tail)
    ours, theirs = (
        np.abs(np.asarray(tf.cast(y, "float32") - exact)).mean() for y in (ours, theirs)
    )
    if not ours <= 1.5 * theirs + 1e-2:
        report.differs("bfloat16", f"mean error {ours:.2e}, in the stock loop {theirs:.2e}")


def _copy(cell: Cell, dtype: str | None = None) -> Cell:
    config = cell.get_config()
    return type(cell).from_config(config if dtype is None else _recast(config, dtype))


def _recast(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The config in another precision, with those of the layers inside."""

    def changed(key, value):
        if key == "dtype":
            return dtype
        if isinstance(value, dict) and "dtype" in (value.get("config") or ()):
            return {**value, "config": _recast(value["config"], dtype)}
        return value

    return {key: changed(key, value) for key, value in config.items()}


def _message(error: Exception) -> str:
    """What the error says, in one line. Keras puts a line of its own before it, and ink around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered"):
        del lines[0]
    return re.sub("\x1b\\[[0-9;]*m", "", lines[0] if lines else "")
