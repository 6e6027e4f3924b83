"""Two halves of the rows side by side are the whole: outputs, states, extras, gradients, whatever the cell is."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rnn import attention, scans
from keras_rnn.cells import CELLS, AttentionCell, make_cell
from keras_rnn.layers import FusedRNN, projection
from keras_rnn.scans import halves

# An odd number of rows, so that the halves are not alike.
BATCH, TIME, FEATURES, UNITS = 5, 6, 3, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=[BATCH, TIME, FEATURES]).astype("float32")
MASK = np.array([[True] * 6, [True] * 2 + [False] * 4, [False] * 6, [False, True] * 3, [True] * 6])
MEMORY = RNG.normal(size=[BATCH, 7, 4]).astype("float32")
MEMORY_MASK = np.arange(7) < np.array([7, 3, 1, 5, 7])[:, None]


@pytest.fixture
def halving(monkeypatch):
    """Sets whether the rows are halved, however few; counts how often they are."""
    calls = []
    really = scans.scan_in_halves
    module = sys.modules["keras_rnn.layers.rnn"]
    monkeypatch.setattr(
        module, "scan_in_halves", lambda *given, **rest: calls.append(1) or really(*given, **rest)
    )

    def set_to(halved):
        monkeypatch.setattr(halves, "LEAST_ROWS", 2 if halved else 10**9)
        monkeypatch.setattr(halves, "LEAST_NUMBERS", 1)
        monkeypatch.setattr(projection, "MOST_PRODUCTS", 0)
        return calls

    return set_to


def everything(layer, compiled=False, training=False, **given):
    """Outputs, last states and extras, and the gradients of a sum over all of them."""
    x = tf.constant(X)
    if not layer.built:
        layer(x, **given)
    variables = [variable.value for variable in layer.trainable_variables]

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            results = layer(x, training=training, **given)
            weights = np.random.default_rng(1)
            total = sum(
                tf.reduce_sum(leaf * weights.normal(size=leaf.shape).astype("float32"))
                for leaf in tf.nest.flatten(results)
            )
        return results, tape.gradient(total, [x, *variables])

    results, gradients = tf.function(run, jit_compile=compiled)(x)
    return [leaf.numpy() for leaf in tf.nest.flatten((results, gradients))]


def close(given, wanted):
    """Equal to the rounding of a sum of such numbers."""
    largest = max(1.0, np.abs(wanted).max(initial=0.0))
    np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=2e-6 * largest)


def same(halving, make, **options):
    layer = make()
    calls = halving(False)
    wanted = everything(layer, **options)
    assert not calls
    halving(True)
    given = everything(layer, **options)
    assert calls
    assert len(given) == len(wanted) >= 3
    for one, other in zip(given, wanted, strict=True):
        close(one, other)


def layer_of(cell, **options):
    return lambda: FusedRNN(
        cell(), return_sequences=True, return_state=True, return_extras=True, **options
    )


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("masked", [False, True])
def test_every_cell(name, masked, halving):
    mask = tf.constant(MASK) if masked else None
    same(halving, layer_of(lambda: make_cell(name, UNITS)), mask=mask)


@pytest.mark.parametrize("options", [{"go_backwards": True}, {"rematerialize": 2}])
def test_other_ways_through_time(options, halving):
    make = layer_of(lambda: make_cell("layer_norm_lstm", UNITS), **options)
    same(halving, make, mask=tf.constant(MASK), compiled=True)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_dropout_in_recurrent_products(name, halving):
    """One mask a sequence, the same one in both runs, and each row has its own."""

    def make():
        return layer_of(lambda: make_cell(name, UNITS, recurrent_dropout=0.5, seed=3))()

    layers = make(), make()
    layers[0](X), layers[1](X)
    layers[1].set_weights(layers[0].get_weights())
    halving(False)
    wanted = everything(layers[0], training=True, mask=tf.constant(MASK))
    calls = halving(True)
    given = everything(layers[1], training=True, mask=tf.constant(MASK))
    assert calls
    for one, other in zip(given, wanted, strict=True):
        close(one, other)


@pytest.mark.parametrize("kind", ["LuongAttention", "BahdanauAttention", "LocationAttention"])
def test_each_row_attends_to_its_own_memory(kind, halving):
    make = layer_of(lambda: AttentionCell(make_cell("gru", UNITS), getattr(attention, kind)(4)))
    given = {"memory": tf.constant(MEMORY), "memory_mask": tf.constant(MEMORY_MASK)}
    same(halving, make, mask=tf.constant(MASK), **given)


def test_both_directions_compiled(halving):
    def make():
        layer = FusedRNN(make_cell("lstm", UNITS), return_sequences=True, return_state=True)
        return keras.layers.Bidirectional(layer)

    same(halving, make, mask=tf.constant(MASK), compiled=True)


def test_gradients_of_the_first_states_and_of_the_memory(halving):
    cell = AttentionCell(make_cell("lstm", UNITS), attention.BahdanauAttention(4))
    layer = FusedRNN(cell, return_sequences=True)
    states = [RNG.normal(size=[BATCH, size]).astype("float32") for size in cell.state_sizes[:2]]
    layer(X, memory=MEMORY)
    found = []
    for halved in (False, True):
        halving(halved)
        first = [tf.constant(state) for state in states]
        first += cell.initial_states(BATCH, tf.constant(MEMORY))[2:]
        memory = tf.constant(MEMORY)
        with tf.GradientTape() as tape:
            tape.watch((first, memory))
            y = layer(X, initial_state=first, memory=memory, mask=tf.constant(MASK))
            total = tf.reduce_sum(y * np.arange(1.0, TIME + 1, dtype="float32")[:, None])
        gradients = tape.gradient(total, (first[:2], memory))
        found.append([gradient.numpy() for gradient in tf.nest.flatten(gradients)])
    assert all(np.abs(gradient).max() > 0 for gradient in found[0])
    for one, other in zip(*found, strict=True):
        close(one, other)


def test_a_number_for_all_rows_goes_to_both_halves():
    """A number that all rows share, and its gradient from both halves."""
    x = RNG.normal(size=[TIME, BATCH, UNITS]).astype("float32")
    own = tf.constant(RNG.normal(size=[BATCH, UNITS]).astype("float32"))

    def step(projected, states, dot, memory):
        share, own = memory
        return [tf.tanh(projected + share * states[0] + own)], {}

    share = tf.constant(0.7)

    found = []
    for scan in (scans.scan, scans.scan_in_halves):
        with tf.GradientTape() as tape:
            memory = (share, own)
            tape.watch(memory)
            scanned = scan(step, tf.constant(x), [tf.zeros([BATCH, UNITS])], memory=memory)
            total = tf.reduce_sum(scanned.outputs**2)
        found.append([scanned.outputs, *scanned.states, *tape.gradient(total, memory)])
    for one, other in zip(*found, strict=True):
        close(one.numpy(), other.numpy())


def test_rows_that_only_the_states_know(halving):
    """Inputs of any number of rows, with a first state that has five."""
    layer = FusedRNN(make_cell("lstm", UNITS), return_sequences=True)
    layer(X)
    first = [tf.constant(RNG.normal(size=[BATCH, UNITS]).astype("float32")) for _ in range(2)]
    found = []
    for halved in (False, True):
        calls = halving(halved)
        specs = [tf.TensorSpec([None, TIME, FEATURES]), tf.TensorSpec([None, TIME], tf.bool)]
        run = tf.function(
            lambda x, mask: layer(x, initial_state=first, mask=mask), input_signature=specs
        )
        found.append(run(X, MASK).numpy())
        assert bool(calls) == halved
    close(*found)


def test_halves_are_for_enough_rows_on_a_cpu(monkeypatch):
    def state(*shape):
        return tf.zeros(shape)

    assert scans.halving_pays(state(8, 256)) and scans.halving_pays(state(512, 4))
    assert not scans.halving_pays(state(7, 500)) and not scans.halving_pays(state(8, 255))
    assert scans.halving_pays(state(64, 511)) and not scans.halving_pays(state(64, 512))
    assert not scans.halving_pays(keras.KerasTensor((None, 128)))
    gpu = tf.config.LogicalDevice("gpu", "GPU")
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda: [tf.config.LogicalDevice("cpu", "CPU"), gpu]
    )
    assert not scans.halving_pays(state(64, 256))
