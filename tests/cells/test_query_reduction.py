"""The query-reduction cell: its equations, its closed form, both loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from keras_rnn.cells import QueryReductionCell


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def equations(weights, x, states):
    """One time step in NumPy."""
    gate_kernel, gate_bias, kernel, bias = weights
    fact, query = np.split(x, 2, axis=-1)
    z, r = np.split(sigmoid((fact * query) @ gate_kernel + gate_bias), 2, axis=-1)
    h_tilde = np.tanh(x @ kernel + bias)
    return [z * r * h_tilde + (1 - z) * states[0]]


def test_it_is_its_equations_under_both_loops():
    cell = QueryReductionCell(5)
    x = np.random.default_rng(0).normal(size=[3, 7, 8]).astype("float32")
    mask = np.arange(7) < np.array([[7], [4], [0]])
    layer = keras_rnn.FusedRNN(cell, return_sequences=True, return_extras=True)
    outputs, extras = layer(x, mask=mask)
    weights = [w.numpy().astype("float64") for w in cell.weights]
    state, wanted = [np.zeros([3, 5])], []
    for step in range(7):
        new = equations(weights, x[:, step].astype("float64"), state)
        state = [np.where(mask[:, step, None], new[0], state[0])]
        wanted.append(state[0])
    np.testing.assert_allclose(outputs, np.stack(wanted, axis=1), atol=1e-5)
    # The last state is a sum of candidates, weighted by an attention that favours what came last.
    z, r = extras["z"].numpy()[0], extras["r"].numpy()[0]
    after = np.append(np.cumprod((1 - z)[::-1], axis=0)[::-1][1:], [[1.0]], axis=0)
    candidates = np.tanh(x[0] @ weights[2] + weights[3])
    np.testing.assert_allclose(outputs[0, -1], (z * after * r * candidates).sum(0), atol=1e-5)


def test_gradients_are_those_of_the_stock_loop():
    cell = QueryReductionCell(5)
    x = tf.constant(np.random.default_rng(1).normal(size=[3, 6, 8]), tf.float32)
    mask = tf.constant(np.arange(6) < np.array([[6], [3], [1]]))
    gradients = []
    for loop in (keras_rnn.FusedRNN, keras.layers.RNN):
        layer = loop(cell, return_sequences=True)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.sin(layer(x, mask=mask)))
        gradients.append(tape.gradient(loss, [x, *(w.value for w in cell.trainable_weights)]))
    for fused, stock in zip(*gradients):
        np.testing.assert_allclose(fused, stock, atol=1e-5)
        assert np.abs(stock).max() > 1e-3


def test_at_first_it_keeps_more_than_it_takes():
    cell = QueryReductionCell(4, keep_bias=2.0)
    _, extras = keras_rnn.FusedRNN(cell, return_extras=True)(keras.ops.zeros((1, 3, 6)))
    np.testing.assert_allclose(extras["z"], sigmoid(-2.0), rtol=1e-5)
    np.testing.assert_allclose(extras["r"], 0.5, rtol=1e-5)


def test_what_it_cannot_read_is_said():
    with pytest.raises(ValueError, match="a fact and a query of one size side by side, got 5"):
        keras_rnn.FusedRNN(QueryReductionCell(4))(keras.ops.zeros((1, 3, 5)))
    with pytest.raises(ValueError, match="units must be a positive integer, got 0"):
        QueryReductionCell(0)
