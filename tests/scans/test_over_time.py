"""Loops of single steps and of several at once: against a sum that NumPy makes, and against each other."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from keras_rnn.scans.over_time import over_time
from tests.comparing import assert_equal, differentiate, make_cell, make_mask, values


def summed(x, first, unroll):
    """Running sums of x [time, rows], once from `first` on with it in front, and once each row doubled."""

    def body(t, total):
        total = total + tf.gather(x, t)
        return total, {"sums": total, "doubled": 2.0 * tf.gather(x, t)}

    like = {"sums": first, "doubled": first}
    time = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
    return over_time(body, time, first, like, [None, first], unroll)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla", "unknown time", "unknown time, xla"])
@pytest.mark.parametrize("time", [1, 2, 3, 8, 19])
@pytest.mark.parametrize("unroll", [1, 3, 8])
def test_sums(unroll, time, mode):
    x, first = values(time, 4), values(4, seed=1)
    run = functools.partial(summed, unroll=unroll)
    if mode != "eager":
        spec = tf.TensorSpec([None if "unknown" in mode else time, 4], tf.float64)
        signature = [spec, tf.TensorSpec([4], tf.float64)]
        run = tf.function(run, input_signature=signature, jit_compile="xla" in mode)
    total, stacks = run(tf.constant(x), tf.constant(first))
    sums = np.cumsum(np.concatenate([first[None], x]), axis=0)
    np.testing.assert_allclose(total, sums[-1], atol=1e-12)
    np.testing.assert_allclose(stacks["sums"], sums, atol=1e-12)
    np.testing.assert_allclose(stacks["doubled"], 2 * x, atol=1e-12)


@pytest.mark.parametrize("unroll", [1, 3, 8])
def test_of_no_steps_there_is_one_slice_of_zeros(unroll):
    spec = [tf.TensorSpec([None, 4], tf.float64), tf.TensorSpec([4], tf.float64)]
    run = tf.function(functools.partial(summed, unroll=unroll), input_signature=spec)
    total, stacks = run(np.ones([0, 4]), np.ones([4]))
    assert total.numpy().tolist() == [1.0] * 4
    assert stacks["doubled"].numpy().tolist() == [[0.0] * 4]
    assert stacks["sums"].numpy()[0].tolist() == [1.0] * 4


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("unroll", [1, 4])
def test_xla_knows_how_often_a_loop_runs(unroll, unknown):
    """Otherwise it asks before each iteration, which on a GPU means to wait for the answer."""
    layer = keras_rnn.LSTM(4, return_sequences=True, unroll=unroll)
    layer.build([2, None, 3])

    def train(x):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(x))
        return tape.gradient(total, layer.trainable_weights)

    spec = tf.TensorSpec([2, None if unknown else 19, 3])
    function = tf.function(train, input_signature=[spec], jit_compile=True)
    compiled = function.experimental_get_compiler_ir(tf.ones([2, 19, 3]))("optimized_hlo")
    loops = [line for line in compiled.splitlines() if " while(" in line]
    # Forward and backward, and of each the steps that are left over.
    assert len(loops) == (2 if 19 % unroll < 2 else 4)
    assert all("known_trip_count" in loop for loop in loops)


def unrolled(name, unroll, **options):
    return keras_rnn.FusedRNN(
        make_cell(name, 6, 5, "float64"),
        return_sequences=True,
        return_state=True,
        unroll=unroll,
        **options,
    )


@pytest.mark.parametrize(
    "name, mask, mode",
    [
        ("gru", "none", "xla"),
        ("gru", "holes", "graph"),
        ("gru", "left", "eager"),
        ("layer_norm_lstm", "holes", "graph"),
    ],
)
def test_layers_give_the_same_however_many_steps_are_one_iteration(name, mask, mode):
    x, mask = values(8, 10, 5, scale=0.5), make_mask(mask, 8, 10)
    expected = differentiate(unrolled(name, 1), x, mask, mode=mode)
    assert_equal(differentiate(unrolled(name, 3), x, mask, mode=mode), expected)


@pytest.mark.parametrize("options", [{"rematerialize": 4}, {"go_backwards": True}], ids=str)
def test_with_what_else_a_layer_can_do(options):
    x, mask = values(3, 7, 5, scale=0.5), make_mask("holes", 3, 7)
    expected = differentiate(unrolled("gru", 1, **options), x, mask, mode="graph")
    assert_equal(differentiate(unrolled("gru", 3, **options), x, mask, mode="graph"), expected)


def test_halves_of_the_rows():
    x = values(8, 10, 5, scale=0.5)
    results = []
    for unroll in (1, 3):
        layer = keras_rnn.FusedRNN(make_cell("lstm", 256, 5, "float64"), unroll=unroll)
        results.append(differentiate(layer, x, mode="xla"))
    assert_equal(*results)


def test_extras_and_the_configuration():
    layer = unrolled("lstm", 4, return_extras=True)
    x = tf.constant(values(8, 10, 5))
    again = keras_rnn.FusedRNN.from_config(layer.get_config())
    assert again.unroll == 4
    assert keras_rnn.LSTM(3, unroll=2).get_config()["unroll"] == 2
    assert keras_rnn.LSTM(3, unroll=False).unroll == 1
    *_, extras = layer(x)
    *_, expected = unrolled("lstm", 1, return_extras=True)(x)
    assert extras.keys() == expected.keys() and extras
    for name, extra in extras.items():
        np.testing.assert_allclose(extra, expected[name], atol=1e-12)
