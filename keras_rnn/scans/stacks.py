"""Stacks over time: tensors [time, batch, ...], their slices, and the arrays that loops fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

State = list[tf.Tensor]


def swapped(stack: tf.Tensor) -> tf.Tensor:
    """Batch-major to time-major and back."""
    return tf.transpose(stack, [1, 0, *range(2, stack.shape.rank)])


def length_of(stack: tf.Tensor, axis: int = 0) -> int | tf.Tensor:
    """The number of slices, as an integer where it is known."""
    return tf.shape(stack)[axis] if stack.shape[axis] is None else stack.shape[axis]


def shape_of(stack: tf.Tensor) -> list[int | tf.Tensor]:
    """The shape, as integers where they are known."""
    return [
        dynamic if static is None else static
        for dynamic, static in zip(tf.unstack(tf.shape(stack)), stack.shape)
    ]


def in_parts(nest: Any, sizes: Sequence[int]) -> list[Any]:
    """The rows of each leaf, in nests of the same structure; a single number stands in all of them."""

    def has_rows(leaf):
        return leaf is not None and leaf.shape.rank != 0

    cut = [
        tf.split(leaf, sizes) if has_rows(leaf) else [leaf] * len(sizes)
        for leaf in tf.nest.flatten(nest)
    ]
    return [tf.nest.pack_sequence_as(nest, part) for part in zip(*cut, strict=True)]


def slices_at(nest: Any, t: int | tf.Tensor, axis: int = 0) -> Any:
    """`stack[t]` of each stack, by one operation: there are many to trace, and to run where nothing is compiled."""
    axis = tf.constant(axis)
    return tf.nest.map_structure(lambda stack: tf.gather(stack, t, axis=axis), nest)


def at_least_one(stack: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """The stack, with one more element where it has none: a loop that never runs still has to compile."""
    missing = tf.maximum(1 - tf.shape(stack)[axis], 0)
    return tf.pad(stack, [[0, missing if k == axis else 0] for k in range(stack.shape.rank)])


def zeros_of_slices(nest: Any, axis: int = 0) -> Any:
    """What one slice of the stacks would be, of zeros; it works for no time steps as well."""

    def zeros(stack):
        known = stack.shape[:axis].concatenate(stack.shape[axis + 1 :])
        if known.is_fully_defined():
            return tf.zeros(known, stack.dtype)
        shape = tf.shape(stack)
        slice_of_zeros = tf.zeros(tf.concat([shape[:axis], shape[axis + 1 :]], 0), stack.dtype)
        return tf.ensure_shape(slice_of_zeros, known)

    return tf.nest.map_structure(zeros, nest)


def array_over(element: tf.Tensor, time: int | tf.Tensor, extra: int = 0) -> tf.TensorArray:
    """An array over time. Where `time` may turn out to be 0, it still has an element, so that it can be stacked."""
    dynamic = tf.is_tensor(time)
    array = array_of(element, (tf.maximum(time, 1) if dynamic else time) + extra)
    return array.write(0, tf.zeros_like(element)) if dynamic else array


def array_of(element: tf.Tensor, size: int | tf.Tensor) -> tf.TensorArray:
    return tf.TensorArray(
        element.dtype, size=size, element_shape=element.shape, clear_after_read=False
    )


def array_from(stack: tf.Tensor) -> tf.TensorArray:
    """An array that holds the slices of a stack."""
    return array_of(stack[0], length_of(stack)).unstack(stack)
