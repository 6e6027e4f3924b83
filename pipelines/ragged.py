"""Rows of unlike lengths, by few operations.

TensorFlow's own ragged slices, masks and concatenations take dozens of operations each: no matter for a thousand
texts, but whoever serves a single one waits for each of them.
"""

import tensorflow as tf


def kept(ragged: tf.RaggedTensor, keep: tf.Tensor) -> tf.RaggedTensor:
    """The values [batch, (time), ...] for which `keep`, bool [values], says so.

    >>> kept(tf.ragged.constant([[1, 2], [], [3]]), tf.constant([True, False, True])).to_list()
    [[1], [], [3]]
    """
    places = tf.where(keep)[:, 0]
    before = tf.concat([[0], tf.cumsum(tf.cast(keep, tf.int64))], 0)
    return tf.RaggedTensor.from_row_splits(
        tf.gather(ragged.values, places), tf.gather(before, ragged.row_splits), validate=False
    )


def first_of_rows(ragged: tf.RaggedTensor, most: int) -> tf.RaggedTensor:
    """The first `most` values of each row.

    >>> first_of_rows(tf.ragged.constant([[1, 2, 3], [], [4]]), 2).to_list()
    [[1, 2], [], [4]]
    """
    places = tf.range(tf.cast(tf.shape(ragged.values)[0], tf.int64))
    begins = tf.gather(ragged.row_splits, row_of(ragged, places))
    return kept(ragged, places - begins < most)


def framed(
    ragged: tf.RaggedTensor, instead: int | str, start: int | None = None, end: int | None = None
) -> tf.RaggedTensor:
    """Each row with `instead` as its value where it has none, behind `start` and before `end` where these are given.

    >>> framed(tf.ragged.constant([[7, 8], []]), instead=1, start=2, end=3).to_list()
    [[2, 7, 8, 3], [2, 1, 3]]
    """
    old, values = ragged.row_splits, ragged.values
    before, behind = int(start is not None), int(end is not None)
    lengths = tf.maximum(old[1:] - old[:-1], 1) + before + behind
    new = tf.concat([[0], tf.cumsum(lengths)], 0)
    places = tf.range(tf.cast(tf.size(values), tf.int64))
    places += tf.gather(new[:-1] + before - old[:-1], row_of(ragged, places))

    def all_of(value, shape):
        return tf.fill(shape, tf.constant(value, values.dtype))

    parts = [(places, values)]
    if before:
        parts.append((new[:-1], all_of(start, tf.shape(lengths))))
    if behind:
        parts.append((new[1:] - 1, all_of(end, tf.shape(lengths))))
    places, values = (tf.concat(pieces, 0) for pieces in zip(*parts, strict=True))
    values = tf.tensor_scatter_nd_update(all_of(instead, [new[-1]]), places[:, None], values)
    return tf.RaggedTensor.from_row_splits(values, new, validate=False)


def row_of(ragged: tf.RaggedTensor, places: tf.Tensor) -> tf.Tensor:
    """The rows that values at these places, int64, are in."""
    return tf.searchsorted(ragged.row_splits[1:], places, side="right")
