"""Recurrent dropout and zoneout: the same draws forwards, backwards, compiled and in the reference."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from tests import reference
from tests.comparing import build_randomly, make_mask, named_weights, stock, values

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5


def noisy_cell(name, dtype="float64"):
    """A cell with noise, all its weights random."""
    options = dict(seed=11, dtype=dtype)
    if name == "zoneout":
        inner = keras_rnn.LSTMCell(UNITS, dtype=dtype)
        cell = keras_rnn.ZoneoutCell(inner, rates=(0.3, 0.5), **options)
    elif name == "zoneout around dropout":
        inner = keras_rnn.GRUCell(UNITS, recurrent_dropout=0.4, seed=12, dtype=dtype)
        cell = keras_rnn.ZoneoutCell(inner, rates=0.5, **options)
    else:
        name, kind = name.split(", ")
        cell = keras_rnn.make_cell(
            name, UNITS, recurrent_dropout=0.4, recurrent_dropout_kind=kind, **options
        )
    build_randomly(cell, FEATURES)
    return cell


KINDS = [f"{name}, {kind}" for name in ("lstm", "gru") for kind in ("sequence", "candidate")]
KINDS += ["gru_reset_after, sequence", "layer_norm_lstm, candidate", "nas, sequence"]
NOISY = [*KINDS, "zoneout", "zoneout around dropout"]


def seed_states(layer):
    return [variable for variable in layer.variables if "seed" in variable.path]


class SameDraws:
    """Calls a layer in training again and again with the same draws."""

    def __init__(self, layer, x, **options):
        self.layer, self.options = layer, options
        layer(x)
        self.start = [np.array(variable) for variable in seed_states(layer)]
        assert self.start

    def reset(self):
        for variable, value in zip(seed_states(self.layer), self.start, strict=True):
            variable.assign(value)

    def __call__(self, x):
        self.reset()
        return self.layer(x, training=True, **self.options)


@pytest.mark.parametrize(
    "name, mode, rematerialize",
    [
        *[(name, "eager", None) for name in NOISY],
        ("lstm, sequence", "graph", None),
        ("lstm, sequence", "xla", None),
        ("lstm, candidate", "xla", None),
        ("zoneout around dropout", "xla", None),
        ("lstm, sequence", "xla", 2),
        ("gru, candidate", "graph", 2),
        ("zoneout around dropout", "eager", 2),
    ],
)
def test_gradient_belongs_to_the_draws_of_the_forward_pass(name, mode, rematerialize):
    """Draws that differ backwards give a wrong gradient without an error: finite differences."""
    cell = noisy_cell(name)
    layer = keras_rnn.FusedRNN(cell, return_sequences=True, rematerialize=rematerialize)
    x = tf.Variable(values(BATCH, TIME, FEATURES))
    mask = make_mask("holes", BATCH, TIME)
    call = SameDraws(layer, tf.identity(x), mask=mask)
    probe = values(BATCH, TIME, UNITS, seed=3)

    def compute():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.identity(x), training=True, mask=mask) * probe)
        return loss, tape.gradient(loss, sources)

    sources = [x, *[weight.value for weight in layer.trainable_variables]]
    if mode != "eager":
        compute = tf.function(compute, jit_compile=mode == "xla")

    def again():
        call.reset()
        return compute()

    loss, gradients = again()
    np.testing.assert_allclose(again()[0], loss, rtol=1e-12)
    for source, gradient in list(zip(sources, gradients, strict=True))[:3]:
        direction, start, step = values(*source.shape, seed=9), source.numpy(), 1e-5
        source.assign(start + step * direction)
        above = again()[0].numpy()
        source.assign(start - step * direction)
        below = again()[0].numpy()
        source.assign(start)
        slope = np.sum(gradient * direction)
        assert (above - below) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", NOISY)
def test_draws_are_the_same_compiled_or_not_and_change_from_call_to_call(name):
    layer = keras_rnn.FusedRNN(noisy_cell(name, "float32"), return_sequences=True)
    x = tf.constant(values(BATCH, TIME, FEATURES), tf.float32)
    call = SameDraws(layer, x)
    first = np.asarray(call(x))
    np.testing.assert_array_equal(call(x), first)
    assert not np.allclose(layer(x, training=True), first)
    for jit_compile in (False, True):
        compiled = tf.function(
            lambda x: layer(x, training=True), jit_compile=jit_compile, autograph=False
        )
        call.reset()
        np.testing.assert_allclose(compiled(x), first, rtol=1e-4, atol=1e-5)
        assert not np.allclose(compiled(x), first)


@pytest.mark.parametrize("name", NOISY)
def test_without_training_there_is_no_noise(name):
    layer = keras_rnn.FusedRNN(noisy_cell(name), return_sequences=True)
    x = values(BATCH, TIME, FEATURES)
    np.testing.assert_array_equal(layer(x), layer(x, training=False))
    if "zoneout" not in name:
        quiet = keras_rnn.make_cell(name.split(", ")[0], UNITS, dtype="float64")
        build_randomly(quiet, FEATURES)
        expected = keras_rnn.FusedRNN(quiet, return_sequences=True)(x)
        np.testing.assert_array_equal(layer(x), expected)


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_reset_after"])
def test_one_mask_a_sequence_falls_on_the_operand_of_each_recurrent_product(name):
    """Gal & Ghahramani 2016, with the very mask that the layer drew, in the reference."""
    cell = noisy_cell(f"{name}, sequence")
    layer = keras_rnn.FusedRNN(cell, return_sequences=True)
    x = values(BATCH, TIME, FEATURES)
    call = SameDraws(layer, x)
    call.reset()
    mask = np.asarray(cell.operand_mask(tf.zeros([BATCH, UNITS], tf.float64), True))
    assert set(np.unique(np.round(mask, 6))) == {0.0, round(1 / 0.6, 6)}
    assert not np.all(mask == mask[:1])  # every row has its own
    weights = named_weights(cell)
    outputs = np.zeros([BATCH, TIME, UNITS])
    for row in range(BATCH):
        # The mask multiplies the operand: as well the rows of the recurrent kernel.
        dropped = {**weights, "recurrent_kernel": mask[row][:, None] * weights["recurrent_kernel"]}
        states = [np.zeros([1, UNITS]) for _ in cell.state_sizes]
        outputs[row] = reference.run(reference.CELLS[name], dropped, x[row : row + 1], states)[0]
    np.testing.assert_allclose(call(x), outputs, rtol=1e-10, atol=1e-12)


def test_the_stock_loop_draws_the_same_sequence_mask():
    cell = noisy_cell("gru, sequence")
    x = values(BATCH, TIME, FEATURES)
    ours = SameDraws(keras_rnn.FusedRNN(cell, return_sequences=True), x)
    theirs = SameDraws(stock(cell, return_sequences=True), x)
    theirs.start = ours.start  # the stock loop draws, in vain, without training too
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-10, atol=1e-12)


def test_dropout_on_the_candidate_leaves_the_memory():
    """Semeniuta et al. 2016: where the candidate is dropped, c only forgets."""
    cell = noisy_cell("lstm, candidate")
    layer = keras_rnn.FusedRNN(cell, return_sequences=True, return_extras=True)
    x = values(BATCH, TIME, FEATURES)
    layer(x)
    _, extras = layer(x, training=True)
    extras = {name: np.asarray(extra) for name, extra in extras.items()}
    dropped = extras["c_tilde"] == 0
    assert 0.25 < dropped.mean() < 0.55
    assert not np.all(dropped == dropped[:, :1])  # a mask a step
    before = np.concatenate([np.zeros([BATCH, 1, UNITS]), extras["c"][:, :-1]], axis=1)
    np.testing.assert_allclose(
        extras["c"][dropped], (extras["gamma_f"] * before)[dropped], rtol=1e-12
    )
    # What is kept is scaled up: its mean over many draws is the candidate without noise.
    first = []
    for _ in range(100):
        first.append(np.asarray(layer(x[:, :1], training=True)[1]["c_tilde"]))
    expected = np.asarray(layer(x[:, :1])[1]["c_tilde"])
    np.testing.assert_allclose(np.mean(first, 0), expected, atol=0.35)


def test_zoneout_keeps_each_state_with_its_own_rate():
    """Krueger et al. 2017: each unit of each state is either the old or the new value."""
    inner = keras_rnn.LSTMCell(64, dtype="float64")
    cell = keras_rnn.ZoneoutCell(inner, rates=(0.2, 0.6), seed=3)
    build_randomly(cell, FEATURES)
    layer = keras_rnn.FusedRNN(cell, return_state=True)
    x = values(32, 1, FEATURES)
    states = [values(32, 64, seed=4) + 9, values(32, 64, seed=5) + 9]
    expected, _ = reference.lecture_lstm(named_weights(inner), x[:, 0], states)
    layer(x)
    tensors = [tf.constant(state) for state in states]
    _, *last = layer(x, initial_state=tensors, training=True)
    kept_masks = []
    for state, old, new, rate in zip(last, states, expected, (0.2, 0.6), strict=True):
        state = np.asarray(state)
        kept = state == old
        np.testing.assert_allclose(state[~kept], new[~kept], rtol=1e-10)
        assert kept.mean() == pytest.approx(rate, abs=0.05)
        kept_masks.append(kept)
    assert not np.all(kept_masks[0] <= kept_masks[1])  # the states draw apart
    # Without training: the mean.
    _, *last = layer(x, initial_state=tensors)
    for state, old, new, rate in zip(last, states, expected, (0.2, 0.6), strict=True):
        np.testing.assert_allclose(state, rate * old + (1 - rate) * new, rtol=1e-10)


@pytest.mark.parametrize("wrapped", ["zoneout", "attention"])
def test_the_stock_loop_draws_one_mask_a_sequence_for_a_cell_in_a_cell(wrapped):
    seen = []

    class SpiedCell(keras_rnn.GRUCell):
        def operand_mask(self, state, training):
            seen.append(super().operand_mask(state, training))
            return seen[-1]

    inner = SpiedCell(UNITS, recurrent_dropout=0.5, seed=3)
    states = [np.zeros([2, UNITS], "float32")]
    if wrapped == "zoneout":
        cell = keras_rnn.ZoneoutCell(inner, 0.1)
    else:
        cell = keras_rnn.AttentionCell(inner, keras_rnn.BahdanauAttention(3), memory_size=4)
        states.append(np.ones([2, 7, 4], "float32"))
    layer, x = keras.layers.RNN(cell), np.ones([2, 6, 3], "float32")
    layer(x, states, training=True)
    first, count = np.asarray(seen[-1]), len(seen)
    for mask in seen[-6:]:
        np.testing.assert_array_equal(mask, first)
    layer(x, states, training=True)
    assert (np.asarray(seen[-1]) != first).any() and len(seen) > count


def test_zoneout_around_attention():
    """What is drawn zones the cell's states, and not what the attention remembers of the memory."""
    memory = np.random.default_rng(0).normal(size=[2, 7, 4]).astype("float32")
    x = np.ones([2, 5, 3], "float32")
    attention = keras_rnn.BahdanauAttention(3, coverage=True)
    cell = keras_rnn.AttentionCell(keras_rnn.GRUCell(UNITS), attention)
    layer = keras_rnn.FusedRNN(cell, return_sequences=True)
    plain = layer(x, memory=memory)
    zoned = keras_rnn.FusedRNN(keras_rnn.ZoneoutCell(cell, 0.0), return_state=True)
    last, state, remembered = zoned(x, memory=memory, training=True)
    np.testing.assert_allclose(last, plain[:, -1], rtol=1e-6)
    np.testing.assert_allclose(np.sum(remembered, axis=1), [5, 5], rtol=1e-5)
    kept = keras_rnn.FusedRNN(keras_rnn.ZoneoutCell(cell, 1 - 1e-7), return_state=True)
    last, state, remembered = kept(x, memory=memory)
    np.testing.assert_allclose(state, 0, atol=1e-5)
    np.testing.assert_allclose(np.sum(remembered, axis=1), [5, 5], rtol=1e-5)


def test_zoneout_draws_anew_at_every_step():
    cell = keras_rnn.ZoneoutCell(keras_rnn.SimpleRNNCell(64, dtype="float64"), rates=0.5, seed=3)
    build_randomly(cell, FEATURES)
    layer = keras_rnn.FusedRNN(cell, return_sequences=True)
    x = values(8, 5, FEATURES)
    layer(x)
    outputs = np.asarray(layer(x, training=True))
    same = outputs[:, 1:] == outputs[:, :-1]
    assert same.mean() == pytest.approx(0.5, abs=0.1)
    assert not np.all(same == same[:, :1])


def test_zoneout_carries_config_weights_extras_and_losses():
    inner = keras_rnn.GRUCell(
        UNITS, recurrent_dropout=0.3, recurrent_regularizer="l2", dtype="mixed_bfloat16"
    )
    cell = keras_rnn.ZoneoutCell(inner, rates=0.25, seed=5, name="mine")
    again = keras_rnn.ZoneoutCell.from_config(cell.get_config())
    assert again.get_config() == cell.get_config()
    assert again.cell.recurrent_dropout == 0.3 and again.rates == [0.25]
    assert again.compute_dtype == "bfloat16" and again.state_sizes == [UNITS]
    layer = keras_rnn.FusedRNN(again, return_extras=True)
    _, extras = layer(values(BATCH, TIME, FEATURES))
    assert sorted(extras) == ["c_tilde", "gamma_r", "gamma_u"]
    assert len(layer.losses) == 1 and len(layer.trainable_weights) == 3
    serialized = keras.saving.serialize_keras_object(cell)
    assert keras.saving.deserialize_keras_object(serialized).get_config() == cell.get_config()


def test_two_layers_without_a_seed_draw_differently():
    x = values(BATCH, TIME, FEATURES)
    first, second = (
        keras_rnn.FusedRNN(keras_rnn.GRUCell(UNITS, recurrent_dropout=0.5)) for _ in range(2)
    )
    first(x), second(x)
    second.cell.set_weights(first.cell.get_weights())
    assert not np.allclose(first(x, training=True), second(x, training=True))
