"""Attending cells against the equations in NumPy, and against the stock loop."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from keras_rnn import scans
from tests import reference

BATCH, TIME, SOURCE_TIME, FEATURES, MEMORY, UNITS = 3, 4, 5, 2, 6, 4
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 1, 1, 0]], bool)


def softmax(scores):
    scores = np.where(MASK, scores, -np.inf)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def arrays():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(BATCH, TIME, FEATURES)).astype("float32")
    return x, generator.normal(size=(BATCH, SOURCE_TIME, MEMORY)).astype("float32")


def randomised(cell, x, memory):
    """A layer of the cell, with weights that are no zeros, and the weights by path in float64."""
    layer = keras_rnn.FusedRNN(cell, return_sequences=True, return_extras=True)
    layer(x, memory=memory, memory_mask=MASK)
    generator = np.random.default_rng(1)
    for weight in cell.trainable_weights:
        weight.assign(weight + 0.3 * generator.normal(size=weight.shape))
    return layer


def values(layer):
    return {weight.name: np.asarray(weight, "float64") for weight in layer.weights}


def bahdanau(weights, query, memory):
    hidden = (query @ weights["query_kernel"])[:, None] + memory @ weights["memory_kernel"]
    alpha = softmax(np.tanh(hidden) @ weights["score_vector"])
    return np.einsum("bs,bsm->bm", alpha, memory), alpha


def test_bahdanau_looks_before_the_step():
    x, memory = arrays()
    cell = keras_rnn.AttentionCell(keras_rnn.GRUCell(UNITS), keras_rnn.BahdanauAttention(3))
    outputs, extras = randomised(cell, x, memory)(x, memory=memory, memory_mask=MASK)
    inner, attention = values(cell.cell), values(cell.attention)
    state = np.zeros((BATCH, UNITS))
    for t in range(TIME):
        context, alpha = bahdanau(attention, state, memory)
        (state,), _ = reference.gru(inner, np.concatenate([x[:, t], context], 1), [state])
        np.testing.assert_allclose(outputs[:, t], state, atol=1e-5)
        np.testing.assert_allclose(extras["alpha"][:, t], alpha, atol=1e-5)
        np.testing.assert_allclose(extras["context"][:, t], context, atol=1e-5)
    assert not extras["alpha"].numpy().transpose(0, 2, 1)[~MASK].any()


def test_luong_looks_after_the_step_and_feeds_what_it_found():
    x, memory = arrays()
    cell = keras_rnn.AttentionCell(
        keras_rnn.LSTMCell(UNITS, output_activation="tanh"),
        keras_rnn.LuongAttention(UNITS, score="general"),
    )
    outputs, extras = randomised(cell, x, memory)(x, memory=memory, memory_mask=MASK)
    inner, attention = values(cell.cell), values(cell.attention)
    attentional = np.asarray(cell.attentional_kernel, "float64")
    fed, states = np.zeros((BATCH, UNITS)), [np.zeros((BATCH, UNITS))] * 2
    for t in range(TIME):
        states, _ = reference.lstm(inner, np.concatenate([x[:, t], fed], 1), states)
        alpha = softmax(np.einsum("bu,bsu->bs", states[0], memory @ attention["memory_kernel"]))
        context = np.einsum("bs,bsm->bm", alpha, memory)
        fed = np.tanh(np.concatenate([context, states[0]], 1) @ attentional)
        np.testing.assert_allclose(outputs[:, t], fed, atol=1e-5)
        np.testing.assert_allclose(extras["alpha"][:, t], alpha, atol=1e-5)


def test_nematus_looks_between_two_transitions():
    x, memory = arrays()
    cell = keras_rnn.AttentionCell(
        keras_rnn.GRUCell(UNITS),
        keras_rnn.BahdanauAttention(3),
        context_cell=keras_rnn.GRUCell(UNITS),
    )
    outputs, extras = randomised(cell, x, memory)(x, memory=memory, memory_mask=MASK)
    first, second = values(cell.cell), values(cell.context_cell)
    attention = values(cell.attention)
    state = np.zeros((BATCH, UNITS))
    for t in range(TIME):
        (between,), _ = reference.gru(first, x[:, t], [state])
        context, alpha = bahdanau(attention, between, memory)
        (state,), _ = reference.gru(second, context, [between])
        np.testing.assert_allclose(outputs[:, t], state, atol=1e-5)
        np.testing.assert_allclose(extras["alpha"][:, t], alpha, atol=1e-5)


def test_coverage_is_the_sum_of_what_was_looked_at():
    x, memory = arrays()
    attention = keras_rnn.BahdanauAttention(3, coverage=True)
    cell = keras_rnn.AttentionCell(keras_rnn.GRUCell(UNITS), attention)
    layer = randomised(cell, x, memory)
    layer.return_state = True
    outputs, *_, covered, extras = layer(x, memory=memory, memory_mask=MASK)
    inner, weights = values(cell.cell), values(attention)
    state, past = np.zeros((BATCH, UNITS)), np.zeros((BATCH, SOURCE_TIME))
    for t in range(TIME):
        hidden = (state @ weights["query_kernel"])[:, None] + memory @ weights["memory_kernel"]
        hidden = hidden + past[..., None] * weights["coverage_vector"]
        alpha = softmax(np.tanh(hidden) @ weights["score_vector"])
        past = past + alpha
        context = np.einsum("bs,bsm->bm", alpha, memory)
        (state,), _ = reference.gru(inner, np.concatenate([x[:, t], context], 1), [state])
        np.testing.assert_allclose(outputs[:, t], state, atol=1e-5)
        np.testing.assert_allclose(extras["alpha"][:, t], alpha, atol=1e-5)
    np.testing.assert_allclose(covered, past, atol=1e-5)
    # It mattered: without the past the weights are others.
    _, alone = attention(outputs[:, -2], memory, mask=MASK, return_weights=True)
    assert np.abs(alone - extras["alpha"][:, -1]).max() > 1e-3


@pytest.mark.parametrize(
    "inner, order, coverage",
    [
        # Each takes 15 s: the others are part of these, and of Luong's below.
        pytest.param("lstm", "before", False, marks=pytest.mark.full),
        pytest.param("lstm", "after", False, marks=pytest.mark.full),
        pytest.param("lstm", "between", False, marks=pytest.mark.full),
        pytest.param("lstm", "before", True, marks=pytest.mark.full),
        ("lstm", "between", True),
        pytest.param("layer_norm_gru", "before", False, marks=pytest.mark.full),
    ],
)
def test_fused_as_in_the_stock_loop(inner, order, coverage):
    def cell():
        return keras_rnn.make_cell(inner, UNITS)

    attending = keras_rnn.AttentionCell(
        cell(),
        keras_rnn.BahdanauAttention(3, coverage=coverage),
        order=order,
        context_cell=cell() if order == "between" else None,
    )
    assert keras_rnn.check_cell(attending, memory=tf.constant(arrays()[1]))


@pytest.mark.parametrize("score", ["dot", pytest.param("concat", marks=pytest.mark.full)])
def test_luong_fused_as_in_the_stock_loop(score):
    """The keys of `dot` are the annotations themselves: one tensor in two places of the memory."""
    attention = keras_rnn.LuongAttention(MEMORY, score=score)
    attending = keras_rnn.AttentionCell(keras_rnn.GRUCell(MEMORY), attention)
    assert keras_rnn.check_cell(attending, memory=tf.constant(arrays()[1]))


def test_a_step_by_itself_is_a_step_of_the_loop():
    x, memory = arrays()
    cell = keras_rnn.AttentionCell(
        keras_rnn.GRUCell(UNITS), keras_rnn.LuongAttention(3, score="concat")
    )
    outputs, _ = randomised(cell, x, memory)(x, memory=memory, memory_mask=MASK)
    prepared, states = cell.prepare_memory(memory, MASK), cell.get_initial_state(BATCH)
    for t in range(TIME):
        states, _ = cell.advance(x[:, t], states, prepared)
        np.testing.assert_allclose(outputs[:, t], states[0], atol=1e-6)


def test_what_does_not_go_together():
    attention = keras_rnn.BahdanauAttention(3)
    with pytest.raises(ValueError, match="order must be one of"):
        keras_rnn.AttentionCell(keras_rnn.GRUCell(2), attention, order="never")
    with pytest.raises(ValueError, match="context_cell belongs"):
        keras_rnn.AttentionCell(keras_rnn.GRUCell(2), attention, order="between")
    covering = keras_rnn.BahdanauAttention(3, coverage=True)
    with pytest.raises(ValueError, match="first_states"):
        keras_rnn.AttentionCell(keras_rnn.GRUCell(2), covering).get_initial_state(3)
    with pytest.raises(ValueError, match="has seen no memory"):
        keras.layers.RNN(keras_rnn.AttentionCell(keras_rnn.GRUCell(2), attention))(arrays()[0])
    with pytest.raises(ValueError, match="give recurrent_dropout to its cell"):
        keras_rnn.AttentionCell(keras_rnn.GRUCell(2), attention, recurrent_dropout=0.5)
    dropping = keras_rnn.GRUCell(2, recurrent_dropout=0.5)
    with pytest.raises(ValueError, match="same recurrent_dropout, got 0.0 and 0.5"):
        keras_rnn.AttentionCell(keras_rnn.GRUCell(2), attention, context_cell=dropping)
    with pytest.raises(ValueError, match="must have the states of the cell"):
        keras_rnn.AttentionCell(keras_rnn.GRUCell(2), attention, context_cell=keras_rnn.GRUCell(3))


def test_a_cell_of_keras_is_told_what_stands_for_it():
    theirs, attention = keras.layers.LSTMCell(4), keras_rnn.BahdanauAttention(3)
    told = r"not LSTMCell of keras\. .* keras_rnn.LSTMCell\(units, output_activation='tanh'\)"
    with pytest.raises(TypeError, match="AttentionCell goes around a keras_rnn.Cell, " + told):
        keras_rnn.AttentionCell(theirs, attention)
    with pytest.raises(TypeError, match=told):
        keras_rnn.AttentionCell(keras_rnn.LSTMCell(4), attention, context_cell=theirs)
    with pytest.raises(TypeError, match="ZoneoutCell goes around a keras_rnn.Cell, " + told):
        keras_rnn.ZoneoutCell(theirs, 0.1)


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("inner", ["simple_rnn", "layer_norm_simple_rnn"])
def test_recurrent_dropout_falls_on_nothing_but_the_cells_recurrent_product(inner, order):
    """What is fed and what attends is as wide as the state here; with all of the state dropped it alone counts."""
    units, generator = 3, np.random.default_rng(0)

    def normal(*shape):
        return tf.constant(generator.normal(size=shape), "float32")

    x, memory = normal(2, 5), normal(2, 4, units)
    cell = keras_rnn.AttentionCell(
        keras_rnn.make_cell(inner, units),
        keras_rnn.BahdanauAttention(units),
        order,
        memory_size=units,
    )
    cell.build((2, 5))
    states = [normal(2, units) for _ in cell.state_sizes]
    prepared = cell.prepare_memory(memory)
    projected = tf.nest.map_structure(
        lambda leaf: leaf[:, 0], cell.project(x[:, None], scans.product)
    )
    dot = scans.dropping(scans.product, tf.zeros([2, units]))
    dropped, _ = cell.step(projected, states, dot, prepared)
    cell.cell.recurrent_kernel.assign(tf.zeros([units, units]))
    expected, _ = cell.step(projected, states, scans.product, prepared)
    for got, wanted in zip(dropped, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-6)
    assert np.abs(expected[0]).max() > 0.01


class OwnProjection(keras_rnn.GRUCell):
    """Says of no kernel that its projection is a product with it."""

    input_kernel = None


def test_a_cell_whose_projection_is_no_product_is_projected_in_the_step():
    x, memory = arrays()
    layers = [
        randomised(keras_rnn.AttentionCell(cell(UNITS), keras_rnn.BahdanauAttention(3)), x, memory)
        for cell in (OwnProjection, keras_rnn.GRUCell)
    ]
    layers[0].set_weights(layers[1].get_weights())
    own, plain = (layer(x, memory=memory, memory_mask=MASK)[0] for layer in layers)
    np.testing.assert_allclose(own, plain, atol=1e-6)


def test_noise_of_the_cell_inside_falls_in_training():
    x, memory = arrays()
    cell = keras_rnn.GRUCell(
        UNITS, recurrent_dropout=0.9, recurrent_dropout_kind="candidate", seed=1
    )
    cell = keras_rnn.AttentionCell(cell, keras_rnn.BahdanauAttention(3))
    layer = randomised(cell, x, memory)
    _, extras = layer(x, memory=memory, training=True)
    assert (extras["c_tilde"].numpy() == 0).mean() > 0.5


def test_what_stands_in_masked_positions_of_the_memory_reaches_nothing():
    x, memory = arrays()
    cell = keras_rnn.AttentionCell(keras_rnn.GRUCell(UNITS), keras_rnn.BahdanauAttention(3))
    layer = randomised(cell, x, memory)
    spoilt = np.where(MASK[..., None], memory, np.nan)
    wanted, found = (layer(x, memory=m, memory_mask=MASK)[0] for m in (memory, spoilt))
    np.testing.assert_array_equal(wanted, found)
