"""Random draws and the dropout made of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rnn import draws
from keras_rnn.layers import Dropout, SpatialDropout1D


def drawn(function, jit_compile):
    """What a function of fresh seeds gives, in a graph."""
    seeds = keras.random.SeedGenerator(7)
    return tf.function(lambda: function(seeds), jit_compile=jit_compile)().numpy()


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-60.0, -10.0)])
def test_numbers_are_uniform_and_the_same_with_and_without_xla(bounds):
    plain, compiled = (
        drawn(lambda seeds: draws.uniform([200, 500], seeds, *bounds), jit) for jit in (False, True)
    )
    if bounds == (0.0, 1.0):
        np.testing.assert_array_equal(plain, compiled)
    np.testing.assert_allclose(plain, compiled, rtol=1e-6)
    low, high = bounds
    assert plain.min() >= low and plain.max() < high
    # A tenth of them in each tenth of the range, within five standard errors.
    counts = np.histogram(plain, 10, bounds)[0]
    assert np.abs(counts - 10_000).max() < 5 * np.sqrt(10_000)
    assert abs(np.corrcoef(plain[:, :-1].ravel(), plain[:, 1:].ravel())[0, 1]) < 0.02


def test_every_call_draws_anew():
    seeds = keras.random.SeedGenerator(7)
    assert (draws.uniform([50], seeds) != draws.uniform([50], seeds)).numpy().all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_is_the_mask_and_keeps_the_mean(rate, dtype):
    layer = Dropout(rate, seed=3, dtype=dtype)
    x = tf.cast(tf.random.stateless_normal([400, 500], [1, 2]), dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    assert y.dtype == x.dtype
    kept = y != 0
    assert float(tf.reduce_mean(tf.cast(kept, "float32"))) == pytest.approx(1 - rate, abs=0.006)
    scale = tf.where(kept, tf.constant(1 / (1 - rate), dtype), 0)
    np.testing.assert_array_equal(y, x * scale)
    np.testing.assert_array_equal(tape.gradient(y, x), scale)
    assert (layer(x) == x).numpy().all() and layer(x, training=False) is x


def test_what_is_dropped_is_zero_whatever_it_was():
    y = Dropout(0.5)(tf.fill([1000], float("inf")), training=True).numpy()
    assert set(y) == {0, np.inf}
    assert not Dropout(1.0)(tf.ones([9]), training=True).numpy().any()


def test_what_is_dropped_is_shared_as_the_shape_says():
    x = tf.ones([5, 7, 40])
    shared = Dropout(0.5, noise_shape=(5, 1, None))(x, training=True).numpy()
    spatial = SpatialDropout1D(0.5)(x, training=True).numpy()
    for y in (shared, spatial):
        assert (y == y[:, :1]).all() and set(np.unique(y)) == {0, 2}
        assert len({row.tobytes() for row in y[:, 0]}) == 5
    with pytest.raises(ValueError, match="ndim"):
        SpatialDropout1D(0.5)(tf.ones([5, 7]))


@pytest.mark.parametrize("layer", [Dropout(0.3, seed=4), SpatialDropout1D(0.3, seed=4)])
def test_they_are_saved_as_they_are(layer):
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    x = tf.ones([6, 3, 5])
    np.testing.assert_array_equal(layer(x, training=True), again(x, training=True))
    assert (layer.rate, layer.seed, layer.noise_shape) == (0.3, 4, None)


@pytest.mark.parametrize("layer, slow", [(Dropout(0.3), False), (keras.layers.Dropout(0.3), True)])
def test_xla_draws_without_the_operation_that_keras_asks_for(layer, slow):
    """The one with it takes sixty times as long; when Keras's own is without, ours may go."""
    function = tf.function(lambda x: layer(x, training=True), jit_compile=True)
    program = function.experimental_get_compiler_ir(tf.ones([8, 9]))(stage="hlo")
    assert "rng-bit-generator(" in program
    assert ("StatelessRandomGetKeyCounter" in program) == slow
