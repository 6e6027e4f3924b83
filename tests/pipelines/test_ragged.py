"""Ragged rows by few operations give what TensorFlow's own give by many."""

import numpy as np
import tensorflow as tf

from pipelines.ragged import first_of_rows, framed, kept


def draws(number=40):
    generator = np.random.default_rng(0)
    for _ in range(number):
        lengths = generator.integers(0, 4, size=generator.integers(0, 5))
        values = generator.integers(4, 99, size=lengths.sum()).astype("int32")
        keep = generator.random(lengths.sum()) < 0.5
        yield tf.RaggedTensor.from_row_lengths(values, lengths), tf.constant(keep)


def test_kept_is_a_mask():
    for ragged, keep in draws():
        masked = tf.ragged.boolean_mask(ragged, ragged.with_values(keep))
        assert kept(ragged, keep).to_list() == masked.to_list()


def test_vectors_are_kept_whole():
    ragged = tf.RaggedTensor.from_row_lengths(tf.reshape(tf.range(6), [3, 2]), [2, 0, 1])
    assert kept(ragged, tf.constant([False, True, True])).to_list() == [[[2, 3]], [], [[4, 5]]]
    assert first_of_rows(ragged, 1).to_list() == [[[0, 1]], [], [[4, 5]]]


def test_the_first_of_rows_are_a_slice():
    for ragged, _ in draws():
        for most in (0, 1, 2, 9):
            assert first_of_rows(ragged, most).to_list() == ragged[:, :most].to_list()


def test_rows_are_framed_and_none_is_empty():
    for ragged, _ in draws():
        for start in (None, 2):
            for end in (None, 3):
                before, behind = [start] * (start is not None), [end] * (end is not None)
                wanted = [[*before, *(row or [1]), *behind] for row in ragged.to_list()]
                assert framed(ragged, 1, start, end).to_list() == wanted
