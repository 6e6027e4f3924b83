"""A scan: a step run over time, with an efficient gradient."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_rnn.scans.loop import Arguments, Loop, Step
from keras_rnn.scans.stacks import State, at_least_one


@dataclasses.dataclass
class Scanned:
    """What a scan gives.

    Attributes:
        outputs: the first state after every step, [time, batch, ...].
        states: every state after the last step, each [batch, ...].
        extras: the step's extras, each [time, batch, ...], zero at masked steps; empty unless asked for.
    """

    outputs: tf.Tensor
    states: State
    extras: dict[str, tf.Tensor]


_GRADIENTS = contextvars.ContextVar("gradients", default=True)


@contextlib.contextmanager
def forward_only() -> Iterator[None]:
    """Scans that are traced inside keep nothing for backward and have no gradient: for serving.

    >>> import keras_rnn
    >>> layer, x = keras_rnn.GRU(4), tf.ones([2, 5, 3])
    >>> with forward_only():
    ...     layer(x).shape
    TensorShape([2, 4])
    """
    token = _GRADIENTS.set(False)
    try:
        yield
    finally:
        _GRADIENTS.reset(token)


def has_gradient() -> bool:
    """Whether what is traced now may be differentiated: not within `forward_only`."""
    return _GRADIENTS.get()


def scan(
    step: Step,
    projected: Any,
    states: Sequence[tf.Tensor],
    weights: Sequence[tuple[keras.Variable | tf.Tensor, tf.Tensor]] = (),
    *,
    mask: tf.Tensor | None = None,
    memory: Any = None,
    operand_mask: tf.Tensor | None = None,
    extras: bool = False,
    parts: Sequence[int] = (),
    axis: int = 0,
    unroll: int = 1,
) -> Scanned:
    """Runs `step` over time, with an efficient gradient.

    Arguments:
        step: `step(projected, states, dot, memory) -> (states, extras)`, one time step. It must be pure.
        projected: nest of tensors [time, batch, ...]; each step sees its slice.
        states: the states before the first step, each [batch, ...].
        weights: the variables that `step` may read, each with the tensor to read in its place (its value in the dtype
            of computation). Those that are not trainable cost no gradient work. A plain tensor may stand for a
            variable: `dot` knows it by identity.
        mask: bool[time, batch]; a step with False carries the states.
        memory: nest of tensors [batch, ...] or single numbers that every step sees, or None.
        operand_mask: [batch, units], constant over the sequence; multiplies every operand of that width before its
            product with a weight (recurrent dropout after Gal and Ghahramani).
        extras: whether to stack the step's extras.
        parts: the rows of each part of the batch, where the step takes them part by part: the slices of `projected`
            are then a list, one nest a part, and the states those of the first part, then those of the next. The
            outputs are the first states of all parts, one beneath the other.
        axis: where time stands in `projected`, 0 or 1.
        unroll: time steps to an iteration of the loop. Within `forward_only` it is one.

    Raises:
        NotImplementedError: when a second derivative is taken through the scan.

    Example:

    >>> def step(x, states, dot, memory):  # a running mean
    ...     return [0.5 * states[0] + 0.5 * x], {}
    >>> scan(step, tf.ones([3, 1, 1]), [tf.zeros([1, 1])]).outputs.numpy().flatten().tolist()
    [0.5, 0.75, 0.875]
    """
    variables = [variable for variable, _ in weights]
    length = tf.nest.flatten(projected)[0].shape[axis]
    time = None
    if not length:  # 0, or known only when it runs, and then it may be 0
        time = tf.shape(tf.nest.flatten(projected)[0])[axis]
        projected = tf.nest.map_structure(lambda stack: at_least_one(stack, axis), projected)
        mask = None if mask is None else at_least_one(mask)
    arguments = Arguments(
        projected, list(states), [value for _, value in weights], memory, mask, operand_mask, time
    )
    shown = range(0, len(states), len(states) // max(len(parts), 1))
    loop = Loop(step, variables, extras, length, shown, parts, axis, unroll)
    template = [None if leaf is None else True for leaf in arguments.flatten()]

    @tf.custom_gradient
    def run(*tensors):
        given = arguments.replace(template, tensors)
        kept = loop.forward(given)
        results = ([kept.states[k][1:] for k in shown], kept.last_states, kept.extras)

        def gradient(*cotangents):
            gradients = loop.backward(given, kept, *tf.nest.pack_sequence_as(results, cotangents))
            return [
                None if leaf is None else _once_differentiable(leaf)
                for leaf, there in zip(gradients, template)
                if there
            ]

        return tf.nest.flatten(results), gradient

    if has_gradient():
        flat = _in_words_of_cells(run, [leaf for leaf in arguments.flatten() if leaf is not None])
        # The structure of the extras is known only after the step was traced.
        outputs, last_states, extras = tf.nest.pack_sequence_as(loop.structure, flat)
    else:
        outputs, last_states, extras = loop.forward_only(arguments)
    outputs = tf.concat(outputs, 1) if len(outputs) > 1 else outputs[0]
    if time is not None:
        outputs = outputs[:time]
        extras = {name: stack[:time] for name, stack in extras.items()}
    return Scanned(outputs, last_states, extras)


def _in_words_of_cells(
    run: Callable[..., list[tf.Tensor]], leaves: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """`run(*leaves)`; what TensorFlow says of variables that it does not know, in words for who writes a cell."""
    try:
        return run(*leaves)
    except TypeError as error:
        if "must accept keyword argument 'variables'" not in str(error):
            raise
        raise ValueError(
            "The step reads a variable that is no weight of its cell, and would give it no gradient: "
            "make it an attribute of the cell."
        ) from None


def _once_differentiable(leaf: tf.Tensor) -> tf.Tensor:
    """The gradient of the scan. Its own gradient would silently miss the kept products: refuse it."""

    @tf.custom_gradient
    def identity(leaf):
        def gradient(_):
            raise NotImplementedError(
                "FusedRNN and CRF have no second derivative. keras.layers.RNN with the same cell has the same outputs "
                "and gradients as FusedRNN, and its gradient can be differentiated again."
            )

        return tf.identity(leaf), gradient

    return identity(leaf)
