"""Rematerialisation changes memory and time, never a value or a gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from tests.comparing import make_cell, make_mask, values

BATCH, FEATURES, UNITS = 3, 4, 5


def outputs_and_gradients(layer, x, mask, compiled, **kwargs):
    @tf.function(jit_compile=compiled)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            results = tf.nest.flatten(layer(x, mask=mask, **kwargs))
            loss = tf.add_n([tf.reduce_sum(tf.sin(result)) for result in results])
        return results, tape.gradient(loss, [x, *layer.trainable_variables])

    return tf.nest.flatten(run.get_concrete_function(x)(x))


@pytest.mark.parametrize(
    "name, every, time, mask_name",
    [
        ("lstm", 3, 7, "none"),
        ("gru", 3, 6, "holes"),
        ("layer_norm_lstm", True, 10, "none"),
        ("esn", 4, 2, "holes"),
    ],
)
def test_equals_the_plain_loop(name, every, time, mask_name):
    cell = make_cell(name, UNITS, FEATURES)
    x = tf.constant(values(BATCH, time, FEATURES), "float32")
    mask = make_mask(mask_name, BATCH, time)
    options = {"return_sequences": True, "return_state": True, "return_extras": True}
    plain = keras_rnn.FusedRNN(cell, **options)
    thrifty = keras_rnn.FusedRNN(cell, rematerialize=every, **options)
    plain(x), thrifty(x)
    compiled = time % 2 == 0
    expected = outputs_and_gradients(plain, x, mask, compiled)
    got = outputs_and_gradients(thrifty, x, mask, compiled)
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("unroll", [1, 2])
def test_gradient_from_outside_of_a_compiled_function(unroll):
    cell = make_cell("gru", UNITS, FEATURES)
    x = tf.constant(values(BATCH, 5, FEATURES), "float32")
    gradients = []
    for every in (None, 2):
        layer = keras_rnn.FusedRNN(cell, rematerialize=every, unroll=unroll)
        layer(x)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.function(layer, jit_compile=True)(x))
        gradients.append(tape.gradient(total, cell.trainable_variables))
    for plain, thrifty in zip(*gradients, strict=True):
        np.testing.assert_allclose(thrifty, plain, rtol=1e-5, atol=1e-5)


def test_noise_is_drawn_once():
    def layer(every):
        cell = keras_rnn.ZoneoutCell(keras_rnn.LSTMCell(UNITS, seed=1), rates=0.5, seed=2)
        return keras_rnn.FusedRNN(cell, rematerialize=every, return_sequences=True)

    x = tf.constant(values(BATCH, 6, FEATURES), "float32")
    plain, thrifty = layer(None), layer(2)
    plain.build(x.shape), thrifty.build(x.shape)
    thrifty.set_weights(plain.get_weights())
    expected = outputs_and_gradients(plain, x, None, True, training=True)
    got = outputs_and_gradients(thrifty, x, None, True, training=True)
    for ours, theirs in zip(got, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_trains_in_bidirectional_with_dynamic_time():
    layer = keras.layers.Bidirectional(keras_rnn.GRU(UNITS, rematerialize=True))
    inputs = keras.Input((None, FEATURES))
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    model.compile("sgd", "mse", jit_compile=True)
    before = [np.asarray(weight) for weight in model.trainable_weights]
    model.fit(values(8, 9, FEATURES), np.ones([8, 1]), batch_size=8, verbose=0)
    for old, new in zip(before, model.trainable_weights):
        assert np.abs(old - np.asarray(new)).max() > 0


def test_no_copy_of_the_inputs_has_time_in_front():
    """What is kept beyond inputs, outputs and their gradients grows as the root of the time; such a copy would not."""
    layer = keras_rnn.FusedRNN(keras_rnn.LSTMCell(7), return_sequences=True, rematerialize=True)
    layer.build((3, 256, 5))
    weights = [weight.value for weight in layer.trainable_weights]

    @tf.function(jit_compile=True, autograph=False)
    def train(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([x, *weights])
            loss = tf.reduce_mean(layer(x, training=True) ** 2)
        return tape.gradient(loss, [x, *weights])

    compiled = train.experimental_get_compiler_ir(tf.zeros([3, 256, 5]))(stage="optimized_hlo")
    assert (
        "f32[3,256,5]" in compiled and "f32[16,16,3,7]" in compiled
    )  # the inputs; the outputs of the chunks
    assert "f32[256,3,5]" not in compiled and "f32[16,16,3,5]" not in compiled


@pytest.mark.parametrize("time", [0, None])
def test_no_time_steps_are_no_chunks(time):
    layer = keras_rnn.FusedRNN(
        keras_rnn.SimpleRNNCell(UNITS), rematerialize=True, return_sequences=True
    )
    layer.build([BATCH, None, FEATURES])
    run = tf.function(layer, input_signature=[tf.TensorSpec([BATCH, time, FEATURES])])
    assert run(tf.zeros([BATCH, 0, FEATURES])).shape == (BATCH, 0, UNITS)
