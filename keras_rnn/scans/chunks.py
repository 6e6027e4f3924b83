"""A scan in chunks of time that keeps only the states between them.

It turns its inputs back to batch-major: read as they came, one chunk at a time, they need no copy with time in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_rnn.scans.scan import Scanned, scan
from keras_rnn.scans.stacks import length_of, shape_of, swapped


def scan_in_chunks(
    run: Callable[..., Scanned],
    inputs: Any,
    states: Sequence[tf.Tensor],
    weights: Sequence[tuple[keras.Variable, tf.Tensor]],
    every: int | None = None,
    *,
    mask: tf.Tensor | None = None,
    memory: Any = None,
) -> Scanned:
    """Runs a scan in chunks and keeps only the states between them: backward computes each chunk again.

    It is a scan whose step is itself a scan, so it needs no gradient of its own.

    Arguments:
        run: `run(inputs, states, mask, memory) -> Scanned`, the scan of one chunk, with whatever goes before it. It
            must draw no noise, for it runs again in backward.
        inputs: nest of tensors [time, batch, ...].
        states, weights, mask, memory: as in `scan`.
        every: time steps in a chunk; by default about the square root of the time.
    """
    first = tf.nest.flatten(inputs)[0]
    time = length_of(first)
    if every is None:
        every = _square_root(time)
    chunks = -(-time // every)
    if mask is None:  # the last chunk is filled up with steps that carry the states
        mask = tf.ones(tf.shape(first)[:2], tf.bool)

    def cut(stack):
        """[batch, chunks, every, ...]; XLA drops the two turns of what had its batch in front."""
        stack = swapped(stack)
        if not isinstance(time, int) or time % every:
            filler = [[0, 0], [0, chunks * every - time]] + [[0, 0]] * (stack.shape.rank - 2)
            stack = tf.pad(stack, filler)
        batch, _, *rest = shape_of(stack)
        return tf.reshape(stack, [batch, chunks, every, *rest])

    def step(projected, states, dot, memory):
        inputs, mask = tf.nest.map_structure(lambda chunk: swapped(chunk), projected)
        scanned = run(inputs, states, mask, memory)
        return scanned.states, {"outputs of the chunk": scanned.outputs, **scanned.extras}

    scanned = scan(
        step,
        tf.nest.map_structure(cut, (inputs, mask)),
        states,
        weights,
        memory=memory,
        extras=True,
        axis=1,
    )
    extras = {
        name: tf.reshape(stack, [chunks * every, *shape_of(stack)[2:]])[:time]
        for name, stack in scanned.extras.items()
    }
    return Scanned(extras.pop("outputs of the chunk"), scanned.states, extras)


def _square_root(time: int | tf.Tensor) -> int | tf.Tensor:
    """Rounded down, and at least 1; or somewhat less, if that divides the time: then nothing has to be filled up."""
    if isinstance(time, int):
        root = max(1, math.isqrt(time))
        return next((n for n in range(root, root // 2, -1) if time % n == 0), root)
    return tf.maximum(tf.cast(tf.sqrt(tf.cast(time, tf.float32)), tf.int32), 1)
