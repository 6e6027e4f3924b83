"""A choice between two computations: values and gradients, compiled or not, of known sizes or not."""

import numpy as np
import pytest
import tensorflow as tf

from keras_rnn.scans import either, forward_only


def doubled(x, w):
    y = x * w
    return [2.0 * y, tf.reduce_sum(y, axis=0)]


def squared(x, w):
    y = x * w
    return [y * y, tf.reduce_max(y, axis=0)]


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("first", [True, False])
def test_values_and_gradients_are_those_of_the_branch(first, known, compiled):
    x = tf.constant(np.random.default_rng(0).normal(size=[4, 3]), tf.float32)
    w = tf.constant([1.0, -2.0, 0.5])

    def differentiate(function):
        with tf.GradientTape() as tape:
            tape.watch([x_here := function.x, function.w])
            results = function()
            loss = tf.reduce_sum(tf.sin(results[0])) + tf.reduce_sum(tf.cos(results[1]))
        return [*results, *tape.gradient(loss, [x_here, function.w])]

    class Chosen:
        def __init__(self, x, w, condition):
            self.x, self.w, self.condition = x, w, condition

        def __call__(self):
            return either(self.condition, doubled, squared, [self.x, self.w])

    class Branch(Chosen):
        def __call__(self):
            return (doubled if first else squared)(self.x, self.w)

    @tf.function(jit_compile=compiled)
    def run(x, condition):
        return differentiate(Chosen(x, w, condition))

    spec = tf.TensorSpec(x.shape if known else [None, 3])
    got = run.get_concrete_function(spec, tf.TensorSpec([], tf.bool))(x, tf.constant(first))
    for one, other in zip(got, differentiate(Branch(x, w, None)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_an_export_has_the_bare_choice():
    with forward_only():
        graph = (
            tf.function(lambda x: either(x[0] > 0, lambda x: [x], lambda x: [-x], [x]))
            .get_concrete_function(tf.TensorSpec([None]))
            .graph
        )
    assert "IdentityN" not in {operation.type for operation in graph.get_operations()}
