"""Texts in blocks of few shapes, so that an exported function can be compiled for each of them."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

# Rows that are computed at a time, unless there is one text alone; and the shortest length.
ROWS, SHORTEST = 16, 16


def lengths_up_to(longest: int) -> list[int]:
    """The padded lengths, two to each doubling, of which the last one is `longest`.

    >>> lengths_up_to(100)
    [16, 24, 32, 48, 64, 96, 100]
    """
    sizes = (SHORTEST * 2**n * half // 2 for n in itertools.count() for half in (2, 3))
    return [*itertools.takewhile(lambda size: size < longest, sizes), longest]


def in_blocks(
    features: Mapping[str, tf.RaggedTensor],
    compute: Callable[[dict[str, tf.RaggedTensor], tf.Tensor], Sequence[tf.Tensor]],
    lengths: Sequence[int | tf.Tensor],
    specs: Sequence[tf.TensorSpec],
) -> list[tf.Tensor]:
    """Computes something of each text: the shortest first, a block of texts at a time, at one of a few lengths.

    One text alone is a block by itself.

    Arguments:
        features: of the texts, each ragged [batch, (time), ...]; the first says how long they are.
        compute: `compute(features, length)` of a block: tensors [rows, ...]. It is traced for one row and for
            `ROWS`, with length unknown; what XLA compiles in it is compiled for each length when it comes.
        lengths: growing; the last one holds every text.
        specs: of these tensors, the same for all lengths, without the first axis.

    Returns:
        The tensors, [batch, ...].
    """
    length_of = next(iter(features.values())).row_lengths()
    number = tf.size(length_of)
    known = tf.cast(tf.stack(lengths), tf.int64)

    def length(longest):
        return known[tf.math.count_nonzero(known[:-1] < longest)]

    def blocks():
        count = -(-number // ROWS)
        order = tf.argsort(length_of, stable=True)
        # The last block is filled up with the shortest text.
        filled = tf.concat([order, tf.repeat(order[:1], count * ROWS - number)], 0)

        def block(place, arrays):
            chosen = filled[place * ROWS : (place + 1) * ROWS]
            part = {name: _block(ragged, chosen) for name, ragged in features.items()}
            parts = compute(part, length(tf.reduce_max(tf.gather(length_of, chosen))))
            return place + 1, [
                array.write(place, part) for array, part in zip(arrays, parts, strict=True)
            ]

        arrays = [
            tf.TensorArray(spec.dtype, count, element_shape=[None, *spec.shape]) for spec in specs
        ]
        _, arrays = tf.while_loop(lambda place, _: place < count, block, [0, arrays])
        places = tf.argsort(order)
        return [
            tf.gather(_joined(array, spec), places)
            for array, spec in zip(arrays, specs, strict=True)
        ]

    def alone():
        part = {name: _alone(ragged) for name, ragged in features.items()}
        return list(compute(part, length(length_of[0])))

    # Of one text all that makes a block would take as long as the model.
    parts = tf.cond(number == 1, alone, blocks)
    return [
        tf.ensure_shape(part, [None, *spec.shape]) for part, spec in zip(parts, specs, strict=True)
    ]


def padded(ragged: tf.RaggedTensor, length: int | tf.Tensor | None = None) -> tf.Tensor:
    """Rows filled up with 0: [batch, length, ...], as long as the longest if None.

    >>> padded(tf.ragged.constant([[1], [2, 3]]), 3).numpy().tolist()
    [[1, 0, 0], [2, 3, 0]]
    """
    inner = ragged.flat_values.shape[1:]
    if not tf.is_tensor(length):
        return ragged.to_tensor(shape=[None, length, *inner])
    shape = tf.stack([-1, tf.cast(length, tf.int64), *inner])
    return tf.ensure_shape(ragged.to_tensor(shape=shape), [ragged.shape[0], None, *inner])


def _block(ragged: tf.RaggedTensor, chosen: tf.Tensor) -> tf.RaggedTensor:
    """`ROWS` chosen rows, so many by the static shape as well: models choose by it how they run."""
    rows = tf.gather(ragged, chosen)
    splits = tf.ensure_shape(rows.row_splits, [ROWS + 1])
    return tf.RaggedTensor.from_row_splits(rows.values, splits, validate=False)


def _alone(ragged: tf.RaggedTensor) -> tf.RaggedTensor:
    """The same of the only row. If its own splits got a shape here, TensorFlow would take it for theirs everywhere."""
    splits = tf.stack([0, ragged.row_splits[-1]])
    return tf.RaggedTensor.from_row_splits(ragged.values, splits, validate=False)


def _joined(array: tf.TensorArray, spec: tf.TensorSpec) -> tf.Tensor:
    # Nothing cannot be joined, unless its shape is known.
    nothing = tf.zeros([0, *(size or 0 for size in spec.shape)], spec.dtype)
    joined = tf.cond(array.size() > 0, array.concat, lambda: nothing)
    return tf.ensure_shape(joined, [None, *spec.shape])
