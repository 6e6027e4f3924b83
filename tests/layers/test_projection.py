"""Inputs that each step projects itself give what inputs give that were projected before the loop."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from keras_rnn.layers import projection
from tests.comparing import MASKS, assert_equal, differentiate, make_cell, make_mask, values

# Those that multiply their inputs by a kernel and do nothing else to them.
CELLS = ("gru", "lstm", "simple_rnn", "peephole_lstm", "nas", "esn", "zoneout")
BATCH, TIME, FEATURES, UNITS = 5, 6, 3, 4


def layer_of(name, **options):
    cell = make_cell(name, UNITS, FEATURES, "float64")
    return keras_rnn.FusedRNN(cell, return_sequences=True, return_state=True, **options)


@pytest.fixture
def counted(monkeypatch):
    """How often a step that projects is made."""
    calls = []
    really = projection.step_that_projects
    monkeypatch.setattr(
        "keras_rnn.layers.rnn.step_that_projects", lambda cell: calls.append(cell) or really(cell)
    )
    return calls


@pytest.mark.parametrize("name", CELLS)
def test_every_cell(name, counted):
    layer, x = layer_of(name), values(BATCH, TIME, FEATURES, scale=0.5)
    before = differentiate(layer, x, mode="graph")
    assert not counted
    assert_equal(differentiate(layer, x, mode="graph", in_steps=True), before)
    assert counted


@pytest.mark.parametrize("mask", MASKS)
def test_masks(mask, counted):
    layer, x = layer_of("lstm", zero_output_for_mask=True), values(BATCH, TIME, FEATURES)
    mask = make_mask(mask, BATCH, TIME)
    before = differentiate(layer, x, mask)
    assert_equal(differentiate(layer, x, mask, in_steps=True), before)
    assert counted


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("options", [{"go_backwards": True}, {"rematerialize": 2}])
def test_other_ways_through_time(batch, options, counted):
    layer, x = layer_of("gru", **options), values(batch, TIME, FEATURES)
    before = differentiate(layer, x, mode="xla")
    assert_equal(differentiate(layer, x, mode="xla", in_steps=True), before)
    assert counted


def test_a_stack(counted):
    cells = [make_cell("lstm", UNITS, FEATURES, "float64"), make_cell("gru", 2, UNITS, "float64")]
    layer, x = keras_rnn.FusedRNN(cells, return_sequences=True), values(BATCH, TIME, FEATURES)
    before = differentiate(layer, x, make_mask("right", BATCH, TIME))
    again = differentiate(layer, x, make_mask("right", BATCH, TIME), in_steps=True)
    assert_equal(again, before)
    assert {cell.name for cell in counted} == {cell.name for cell in cells}


def test_no_time_steps():
    layer = layer_of("lstm")
    outputs, *states = layer(np.zeros([BATCH, 0, FEATURES]))
    assert outputs.shape == (BATCH, 0, UNITS)
    for state in states:
        np.testing.assert_array_equal(state, np.zeros([BATCH, UNITS]))


def test_in_bfloat16_as_near_as_before_the_loop():
    exact, low = (
        make_cell("lstm", UNITS, FEATURES, dtype) for dtype in ("float64", "mixed_bfloat16")
    )
    layers = [keras_rnn.FusedRNN(cell, return_sequences=True) for cell in (exact, low)]
    x = values(BATCH, TIME, FEATURES)
    wanted = differentiate(layers[0], x).values["result 0"]
    before, within = (
        np.abs(differentiate(layers[1], x, in_steps=late).values["result 0"] - wanted).mean()
        for late in (False, True)
    )
    assert 0 < within <= 1.5 * before


def test_training_projects_before_the_loop(counted):
    layer, x = layer_of("lstm"), values(BATCH, TIME, FEATURES)
    layer(x, training=True)
    assert not counted
    layer(x)
    assert len(counted) == 1


def test_where_it_pays(monkeypatch):
    def pays(shape, units=128, cell=keras_rnn.LSTMCell):
        layer = cell(units)
        layer.build((None, shape[-1]))
        return projection.projecting_in_steps_pays(layer, keras.KerasTensor(shape))

    assert pays((40, 8, 100)) and pays((None, 8, 100))  # [time, batch, features]
    assert not pays((100, 8, 100)) and not pays((40, 32, 100))  # one product shared by cores
    assert not pays((40, None, 100))
    assert pays((20, 1, 128)) and not pays((20, 1, 129))  # a kernel that leaves the nearest cache
    # What this cell does to its inputs is more than a product.
    assert not pays((40, 8, 100), cell=keras_rnn.LayerNormLSTMCell)
    gpu = tf.config.LogicalDevice("gpu", "GPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda: [gpu])
    assert not pays((40, 8, 100))
