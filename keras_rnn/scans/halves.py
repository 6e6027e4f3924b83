"""A scan of two halves of the rows side by side: what one core does for one half need not wait for the other's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_rnn.scans.devices import only_cpus
from keras_rnn.scans.loop import Real, Step
from keras_rnn.scans.products import dropping
from keras_rnn.scans.scan import Scanned, scan
from keras_rnn.scans.stacks import in_parts

# Rows, and numbers of a state, from which on two halves are faster than one whole.
LEAST_ROWS = 8
LEAST_NUMBERS = 2048

# Units from which on they are not: the weights leave a core's cache, and each half's product reads all of them.
MANY_UNITS = 512


def scan_in_halves(
    step: Step,
    projected: Any,
    states: Sequence[tf.Tensor],
    weights: Sequence[tuple[keras.Variable | tf.Tensor, tf.Tensor]] = (),
    *,
    mask: tf.Tensor | None = None,
    memory: Any = None,
    operand_mask: tf.Tensor | None = None,
    extras: bool = False,
    unroll: int = 1,
) -> Scanned:
    """Runs a scan on two halves of the rows, each step of the loop a step of both.

    The products and the elementwise work of one half hang on nothing of the other, so that XLA gives each to a core of
    its own; a product of all rows it divides among cores that then wait for each other at every step. The step must
    treat each row by itself, and the number of rows be known. It is a scan whose step is two steps, so it needs no
    gradient of its own.

    Arguments: those of `scan`.
    """
    rows, count = states[0].shape[0], len(states)
    sizes = [rows // 2, rows - rows // 2]

    def both(slices, states, dot, memory):
        stepped = [
            step_half(*half, own, dot)
            for *half, own in zip(slices, memory, (states[:count], states[count:]), strict=True)
        ]
        (first, extras_of_first), (second, extras_of_second) = stepped
        return [*first, *second], {
            name: tf.concat([extra, extras_of_second[name]], 0)
            for name, extra in extras_of_first.items()
        }

    def step_half(slices, memory, states, dot):
        projected, real = slices if mask is not None else (slices, None)
        memory, operand_mask = memory
        new, found = step(projected, states, dropping(dot, operand_mask), memory)
        found = found if extras else {}
        if real is not None:
            real = Real(real)
            pairs = zip(new, states, strict=True)
            new = [real.choose(tf.cast(one, old.dtype), old) for one, old in pairs]
            found = {name: real.choose(extra, None) for name, extra in found.items()}
        return list(new), found

    scanned = scan(
        both,
        projected if mask is None else (projected, mask),
        [state for half in in_parts(list(states), sizes) for state in half],
        weights,
        memory=in_parts((memory, operand_mask), sizes),
        extras=extras,
        parts=sizes,
        unroll=unroll,
    )
    last = zip(scanned.states[:count], scanned.states[count:], strict=True)
    return Scanned(scanned.outputs, [tf.concat(pair, 0) for pair in last], scanned.extras)


def halving_pays(state: tf.Tensor) -> bool:
    """Whether `scan_in_halves` is the faster one for a state [rows, units]: on a CPU, where there is enough to do."""
    rows, *units = state.shape
    if rows is None or rows < LEAST_ROWS or rows * math.prod(units) < LEAST_NUMBERS:
        return False
    return math.prod(units) < MANY_UNITS and only_cpus()
