"""check_cell passes what is right and names what is wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_rnn
from keras_rnn import CELLS
from tests import reference


@pytest.mark.full
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_of_ours_passes(name, capsys):
    def step(x, states, weights):
        return reference.CELLS[name](weights, x, states)[0]

    assert keras_rnn.check_cell(keras_rnn.make_cell(name, 4), reference=step) is True
    assert "all checks passed" in capsys.readouterr().out


@pytest.mark.full
def test_zoneout_passes():
    assert keras_rnn.check_cell(keras_rnn.ZoneoutCell(keras_rnn.GRUCell(3), rates=0.2))


def test_an_attending_cell_needs_no_memory_to_be_checked():
    # The score of products wants a memory of its own width; within another cell it is found as well.
    attention = keras_rnn.LuongAttention(4, score="dot")
    cell = keras_rnn.AttentionCell(keras_rnn.GRUCell(4), attention)
    assert keras_rnn.check_cell(keras_rnn.ZoneoutCell(cell, 0.1))


def elman(x, states, weights):
    return reference.simple_rnn(weights, x, states)[0]


@keras.saving.register_keras_serializable(package="test_checks")
class TenLineCell(keras_rnn.StandardCell):
    """What the README promises: a cell in ten lines."""

    def step(self, projected, states, dot, memory=None):
        (a_prev,) = states
        return [ops.tanh(projected + dot(a_prev, self.recurrent_kernel))], {}


@keras.saving.register_keras_serializable(package="test_checks")
class CountingCell(TenLineCell):
    """Not pure: every call gives something else."""

    def step(self, projected, states, dot, memory=None):
        new, extras = super().step(projected, states, dot)
        return [new[0] + tf.random.uniform([])], extras


@keras.saving.register_keras_serializable(package="test_checks")
class ForgetfulCell(TenLineCell):
    """Its config lacks what it was made with."""

    def __init__(self, units, factor=1.0, **kwargs):
        super().__init__(units, **kwargs)
        self.factor = factor

    def step(self, projected, states, dot, memory=None):
        new, extras = super().step(projected, states, dot)
        return [self.factor * new[0]], extras


@keras.saving.register_keras_serializable(package="test_checks")
class TimelessCell(TenLineCell):
    """Projects a step with a glance at the other steps, which one step alone does not see."""

    def project(self, x, dot, training=False):
        projected = super().project(x, dot, training)
        return projected + ops.mean(projected, axis=(0, 1), keepdims=True)


def test_a_cell_of_ten_lines_passes_and_stays_as_it_was(capsys):
    cell = TenLineCell(4)
    cell.build((None, 3))
    before = [np.array(weight) for weight in cell.weights]
    assert keras_rnn.check_cell(cell, reference=elman) is True
    assert "all checks passed" in capsys.readouterr().out
    for weight, value in zip(cell.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_a_wrong_reference_is_named(capsys):
    def wrong(x, states, weights):
        return [reference.simple_rnn(weights, x, states)[0][0] * 1.01]

    assert keras_rnn.check_cell(keras_rnn.SimpleRNNCell(4), reference=wrong) is False
    out = capsys.readouterr().out
    assert "outputs against the reference" in out and "differs by" in out
    assert "gradient" not in out


@pytest.mark.parametrize("cell", [CountingCell, pytest.param(TimelessCell, marks=pytest.mark.full)])
def test_wrong_cells_fail(cell, capsys):
    assert keras_rnn.check_cell(cell(4)) is False
    out = capsys.readouterr().out
    assert cell.__name__ in out and "differs by" in out


def test_a_cell_that_looks_at_other_rows_fails(capsys):
    @keras.saving.register_keras_serializable(package="test_checks")
    class CrowdCell(TenLineCell):
        def step(self, projected, states, dot, memory=None):
            (new,), _ = super().step(projected, states, dot)
            return [new - ops.mean(new, axis=0)], {"mean of all": 0 * new + ops.mean(new, axis=0)}

    assert keras_rnn.check_cell(CrowdCell(4)) is False
    out = capsys.readouterr().out
    assert "outputs of a row by itself: differs" in out
    assert "extra 'mean of all' of a row by itself: differs" in out


def test_a_config_that_forgets_an_argument_is_named(capsys):
    assert keras_rnn.check_cell(ForgetfulCell(4, factor=2.0)) is False
    assert "get_config: lacks 'factor'" in capsys.readouterr().out


def test_a_cell_whose_step_fails_is_reported_not_raised(capsys):
    @keras.saving.register_keras_serializable(package="test_checks")
    class BrokenCell(TenLineCell):
        def step(self, projected, states, dot, memory=None):
            raise RuntimeError("no equations here")

    assert keras_rnn.check_cell(BrokenCell(4)) is False
    assert "no equations here" in capsys.readouterr().out
