"""What is computed of texts in blocks is what would be computed of each alone."""

import numpy as np
import pytest
import tensorflow as tf

import pipelines
from keras_rnn.tasks.blocks import ROWS, in_blocks, padded


@pytest.mark.parametrize("number", [0, 1, 2, ROWS, ROWS + 1, 2 * ROWS + 3])
def test_blocks_answer_each_text_in_its_place(number):
    generator = np.random.default_rng(number)
    texts = [generator.integers(1, 9, size=generator.integers(1, 30)) for _ in range(number)]

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int64)], autograph=False)
    def answer(ragged):
        def compute(part, length):
            ids = padded(part["ids"], length)
            return [
                tf.reduce_sum(ids, 1),
                tf.fill([tf.shape(ids)[0], 1], tf.shape(ids, tf.int64)[1]),
            ]

        specs = [tf.TensorSpec([], tf.int64), tf.TensorSpec([1], tf.int64)]
        return in_blocks({"ids": ragged}, compute, [8, 16, 30], specs)

    flat = np.concatenate([np.zeros(0, int), *texts])
    ragged = tf.RaggedTensor.from_row_lengths(flat, [len(text) for text in texts])
    sums, lengths = answer(ragged)
    assert sums.shape == [number] and lengths.shape == [number, 1]
    np.testing.assert_array_equal(sums, [text.sum() for text in texts])
    # Computed at one of the lengths, long enough for the text.
    assert set(lengths.numpy().ravel()) <= {8, 16, 30}
    assert all(length >= len(text) for length, text in zip(lengths.numpy()[:, 0], texts))


def test_one_text_alone_leaves_the_rest_of_the_graph_unknown():
    """What is said of shapes in one branch of a graph, TensorFlow takes for true in all of it."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def answer(texts):
        words = pipelines.framed(tf.strings.split(texts), instead="")
        rows = tf.cast(words.value_rowids(), tf.int32)
        ids = words.with_flat_values(tf.strings.length(words.flat_values) + 0 * rows)

        def compute(part, length):
            return [tf.reduce_sum(padded(part["ids"], length), 1)]

        (sums,) = in_blocks({"ids": ids}, compute, [8, 16], [tf.TensorSpec([], tf.int32)])
        return sums, rows

    for number in (2, 1, ROWS + 1):
        sums, rows = answer(tf.constant(["a bcd"] * number))
        np.testing.assert_array_equal(sums, [4] * number)
        np.testing.assert_array_equal(rows, np.repeat(np.arange(number), 2))
