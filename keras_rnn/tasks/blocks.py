"""Blocks of texts of few shapes, so that an exported function can be compiled for each of them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# Rows that are computed at a time, and the shortest length; each further length is twice as long.
ROWS = 32
SHORTEST = 16


def lengths_up_to(longest: int) -> list[int]:
    """The padded lengths, of which the last one is `longest`.

    >>> lengths_up_to(100)
    [16, 32, 64, 100]
    """
    lengths = [min(SHORTEST, longest)]
    while lengths[-1] < longest:
        lengths.append(min(2 * lengths[-1], longest))
    return lengths


def in_blocks(
    text: tf.Tensor,
    encode: Callable[[tf.Tensor], Any],
    length_of: Callable[[Any], tf.Tensor],
    compute: Callable[[Any, int], Sequence[tf.Tensor]],
    lengths: Sequence[int],
    specs: Sequence[tf.TensorSpec],
) -> list[tf.Tensor]:
    """Computes something of each text, `ROWS` texts at a time, at one of a few lengths.

    Arguments:
        text: string[batch], any number of them; or string[batch, texts], where several belong together.
        encode: the ragged features of a block of texts.
        length_of: the longest row of these features.
        compute: `compute(features, length)`, tensors [ROWS, ...].
        lengths: growing; the last one holds every text.
        specs: of these tensors, the same for all lengths, without the first axis.

    Returns:
        The tensors, [batch, ...].
    """
    number = tf.shape(text)[0]
    count = -(-number // ROWS)
    text = tf.concat([text, tf.fill([count * ROWS - number, *text.shape[1:]], "")], 0)

    def block(place, arrays):
        features = encode(text[place * ROWS : (place + 1) * ROWS])
        longest = tf.cast(length_of(features), tf.int32)
        choice = tf.reduce_sum(tf.cast(tf.constant(lengths[:-1], tf.int32) < longest, tf.int32))
        branches = [functools.partial(compute, features, length) for length in lengths]
        parts = tf.switch_case(choice, branches)
        return place + 1, [array.write(place, p) for array, p in zip(arrays, parts, strict=True)]

    arrays = [
        tf.TensorArray(spec.dtype, count, element_shape=[ROWS, *spec.shape]) for spec in specs
    ]
    _, arrays = tf.while_loop(lambda place, _: place < count, block, [0, arrays])
    return [
        tf.reshape(array.stack(), [-1, *spec.shape])[:number]
        for array, spec in zip(arrays, specs, strict=True)
    ]
