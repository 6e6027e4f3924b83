"""Steps one after the other, and stacks over time of what they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_rnn.scans.stacks import array_over

Body = Callable[[tf.Tensor, Any], tuple[Any, Any]]


def over_time(
    body: Body,
    time: int | tf.Tensor,
    variables: Any,
    like: Any = (),
    before: Any = (),
    unroll: int = 1,
) -> tuple[Any, Any]:
    """Runs `variables, slices = body(t, variables)` for each t below `time`.

    Where the time may turn out to be 0, stacks hold one slice of zeros then.

    Arguments:
        body: one step.
        time: how many there are.
        variables: nest of what goes from step to step.
        like: nest of tensors, in shape and type as the slices that a step leaves.
        before: in the order of `like`, what stands in its stack in front of the first step's slice; None is nothing.
        unroll: steps to an iteration of the loop, which writes what they leave in one piece. Those that are left over
            have a loop of their own.

    Returns:
        the variables after the last step, and the stacks of the slices, [time, ...], one more where something stands
        before.
    """
    leaves = tf.nest.flatten(like)
    before = list(before) or [None] * len(leaves)
    if unroll == 1 or (not tf.is_tensor(time) and time < unroll):
        variables, stacks = _one_by_one(body, 0, time, variables, leaves, before)
        return variables, tf.nest.pack_sequence_as(like, stacks)
    iterations = time // unroll
    done = iterations * unroll
    variables, stacks = _together(body, unroll, iterations, variables, leaves)
    # One by one each slice is written where it stays; these pieces do not fit into one array, and are copied.
    pieces = [[stack] if one is None else [one[None], stack] for one, stack in zip(before, stacks)]
    if tf.is_tensor(time) or done < time:
        nothing = [None] * len(leaves)
        variables, rest = _one_by_one(body, done, time - done, variables, leaves, nothing)
        if tf.is_tensor(time):
            rest = [stack[: tf.maximum(time - done, 1 - iterations)] for stack in rest]
        pieces = [[*some, stack] for some, stack in zip(pieces, rest)]
    stacks = [tf.concat(some, 0) if len(some) > 1 else some[0] for some in pieces]
    return variables, tf.nest.pack_sequence_as(like, stacks)


def _one_by_one(body: Body, start, steps, variables, leaves, before):
    """`steps` steps from `start` on."""
    arrays = [array_over(leaf, steps, 0 if one is None else 1) for leaf, one in zip(leaves, before)]
    arrays = [a if one is None else a.write(0, one) for a, one in zip(arrays, before)]

    def iteration(step, variables, arrays):
        variables, slices = body(start + step, variables)
        places = [step if one is None else step + 1 for one in before]
        slices = zip(arrays, places, tf.nest.flatten(slices), strict=True)
        return step + 1, variables, [array.write(place, leaf) for array, place, leaf in slices]

    variables, arrays = _repeat(iteration, steps, variables, arrays)
    return variables, [array.stack() for array in arrays]


def _together(body: Body, unroll: int, iterations, variables, leaves):
    """The first `iterations` times `unroll` steps."""
    arrays = [array_over(tf.stack([leaf] * unroll), iterations) for leaf in leaves]

    def iteration(i, variables, arrays):
        steps = []
        for k in range(unroll):
            variables, slices = body(i * unroll + k, variables)
            steps.append(tf.nest.flatten(slices))
        together = [tf.stack(slices) for slices in zip(*steps, strict=True)]
        return i + 1, variables, [array.write(i, part) for array, part in zip(arrays, together)]

    variables, arrays = _repeat(iteration, iterations, variables, arrays)
    stacks = [array.stack()[:iterations] for array in arrays]
    return variables, [
        tf.reshape(stack, tf.concat([[iterations * unroll], tf.shape(stack)[2:]], 0))
        for stack in stacks
    ]


def _repeat(iteration, times, variables, arrays):
    """Runs `i, variables, arrays = iteration(i, variables, arrays)` so many times.

    The bound is the only condition: with another beside it XLA would not know the number of iterations beforehand, and
    without a bound TensorFlow could not differentiate a loop within a loop.
    """
    start = (tf.constant(0), variables, arrays)
    return tf.while_loop(lambda *_: True, iteration, start, maximum_iterations=times)[1:]
