"""Blocks of weights are cut out before a loop that multiplies by them, not at every step of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from keras_rnn import models, scans

WEIGHT = np.random.default_rng(0).normal(size=(6, 12)).astype("float32")


def slices_in_loops(function, *specs) -> int:
    """How many slices are cut in the bodies of a function's loops."""
    graph = (
        tf.function(function, autograph=False).get_concrete_function(*specs).graph.as_graph_def()
    )
    library = {one.signature.name: one.node_def for one in graph.library.function}
    nodes = [*graph.node, *(node for body in library.values() for node in body)]
    bodies = [node.attr["body"].func.name for node in nodes if "body" in node.attr]
    assert bodies
    return sum(node.op == "StridedSlice" for body in bodies for node in library[body])


def test_in_a_scan_without_a_gradient():
    layer = keras_rnn.GRU(4, return_sequences=True)
    layer(tf.zeros([2, 5, 3]))
    wanted = slices_in_loops(lambda x: layer(x), tf.TensorSpec([2, 5, 3]))
    with scans.forward_only():
        assert slices_in_loops(lambda x: layer(x), tf.TensorSpec([2, 5, 3])) == wanted


class Decoder:
    """Logits by a product of the last token with a weight, or with columns and rows of it."""

    def __init__(self, columns, rows):
        self.weight = keras.Variable(WEIGHT)
        self.columns, self.rows = columns, rows

    def start(self, rows):
        return tf.zeros([rows, 1])

    def advance(self, tokens, state):
        x = tf.one_hot(tokens, 6)[:, self.rows or slice(None)]
        return scans.product(x, self.weight, self.columns, self.rows), state, {}


SEARCHES = [
    lambda decoder, rows: models.greedy_search(decoder, rows, max_length=4),
    lambda decoder, rows: models.beam_search(decoder, rows, max_length=4, beam=3),
]


@pytest.mark.parametrize("search", SEARCHES)
def test_in_a_search(search):
    whole, block = Decoder(None, None), Decoder(slice(6), slice(6))
    rows = tf.TensorSpec([], tf.int32)
    wanted = slices_in_loops(lambda rows: search(whole, rows), rows)
    assert slices_in_loops(lambda rows: search(block, rows), rows) == wanted


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_finds_the_same_and_forgets_its_blocks(search):
    """Twice the same decoder, eagerly and in a graph, with another weight the second time."""
    block, whole = Decoder(slice(6), None), Decoder(None, None)
    for weight in (WEIGHT, -WEIGHT):
        block.weight.assign(weight)
        whole.weight = tf.constant(weight[:, :6])
        for run in (search, tf.function(search, autograph=False)):
            found, wanted = run(block, 2), run(whole, 2)
            np.testing.assert_array_equal(found.tokens, wanted.tokens)
            np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-6)


def test_what_a_loop_alone_asks_for_stays_in_the_loop():
    """A block that was not asked for before the loop belongs to its body, and is not there after it."""
    weight, x = keras.Variable(WEIGHT), tf.ones([1, 6])

    @tf.function(autograph=False)
    def run():
        with scans.blocks_cut_once():

            def body(n, total):
                return n + 1, total + scans.product(x, weight, columns=slice(3))

            _, total = tf.while_loop(lambda n, _: n < 2, body, [0, tf.zeros([1, 3])])
            return total + scans.product(x, weight, columns=slice(3))

    np.testing.assert_allclose(run(), 3 * WEIGHT[:, :3].sum(0, keepdims=True), rtol=1e-5)
