"""Layer normalisation, whose weights have a gradient of their own, against the formula."""

import numpy as np
import pytest
import tensorflow as tf

from keras_rnn.cells.layer_norm import layer_norm
from tests import reference

EPSILON = 1e-3


def plain(x, gain, offset):
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), axis=-1, keepdims=True)
    return gain * (x - mean) * tf.math.rsqrt(variance + EPSILON) + offset


def ours(x, gain, offset):
    return layer_norm(x, gain, offset, EPSILON)


def derivatives(norm, given, weight):
    """Value, gradient, and the gradient of the gradient's squares."""
    with tf.GradientTape() as outer:
        outer.watch(given)
        with tf.GradientTape() as inner:
            inner.watch(given)
            y = norm(*given)
            loss = tf.reduce_sum(y * tf.sin(weight * y))
        first = inner.gradient(loss, given)
        squares = tf.add_n([tf.reduce_sum(g * g) for g in first])
    return [y, *first, *outer.gradient(squares, given)]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    ("shape", "weight_shape"),
    [((3, 5), (5,)), ((2, 1024), (1024,)), ((2, 3, 260), (260,)), ((4, 6), ()), ((7,), (7,))],
)
def test_values_and_derivatives_are_those_of_the_formula(shape, weight_shape, jit_compile):
    draw = np.random.default_rng(sum(shape)).normal
    given = [tf.constant(draw(size=s)) for s in (shape, weight_shape, weight_shape)]
    weight = tf.constant(draw(size=shape))
    wanted = derivatives(plain, given, weight)
    function = tf.function(derivatives, jit_compile=jit_compile, autograph=False)
    for got, value in zip(function(ours, given, weight), wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_narrow_numbers_are_summed_in_wide_ones(dtype):
    """Squares beyond the range of float16, and a mean that its sums would lose."""
    x = tf.cast(np.random.default_rng(0).normal(300.0, 100.0, size=(2, 1024)), dtype)
    given = [x, tf.ones([1024], dtype), tf.zeros([1024], dtype)]
    exact = [tf.cast(value, tf.float64) for value in given]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([given, exact])
        results = [tf.reduce_sum(tf.cast(ours(*given), tf.float64)[:, ::2])]
        results += [tf.reduce_sum(plain(*exact)[:, ::2])]
    wanted = reference.layer_norm(exact[0].numpy(), 1.0, 0.0)
    close = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5}[dtype]
    np.testing.assert_allclose(tf.cast(ours(*given), tf.float64), wanted, rtol=close, atol=close)
    for got, value in zip(
        tape.gradient(results[0], given), tape.gradient(results[1], exact), strict=True
    ):
        assert got.dtype == dtype
        largest = np.abs(value).max()
        np.testing.assert_allclose(
            tf.cast(got, tf.float64), value, rtol=close, atol=close * largest
        )


@pytest.mark.parametrize("spec", [[None, None], None])
def test_shapes_may_be_unknown(spec):
    x = np.random.default_rng(0).normal(size=(3, 6))
    function = tf.function(
        lambda x: layer_norm(x, 0.1, np.arange(6.0), EPSILON),
        input_signature=[tf.TensorSpec(spec, tf.float64)],
    )
    wanted = plain(tf.constant(x), 0.1, np.arange(6.0))
    np.testing.assert_allclose(function(tf.constant(x)), wanted, rtol=1e-12)


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError):
        layer_norm([1, 3], 1.5, 0.5, EPSILON)
