"""Keras's own tests of its recurrent layers, from the installed wheel, run against ours.

Each test file is executed as it lies in the wheel, with our layers and cells in the place of the
stock ones. `LEFT_OUT` names every test that is not run, with the reason.
"""

import importlib.util
import pathlib
import types
import unittest

import keras
import numpy as np
import pytest
from keras import ops

import keras_rnn

FOLDER = pathlib.Path(keras.__file__).parent / "src" / "layers" / "rnn"
FILES = [
    "lstm_test",
    "gru_test",
    "simple_rnn_test",
    "rnn_test",
    "stacked_rnn_cells_test",
    "bidirectional_test",
    "dropout_rnn_cell_test",
]

CUDNN = "tests a switch between Keras's and cuDNN's kernels, which we do not have"
STATES = "the output of its cell is the sum of its states; with us the output is the first state"
LEFT_OUT = {
    "rnn_test.RNNTest.test_forward_pass_two_states": STATES,
    "rnn_test.RNNTest.test_passing_initial_state_two_states": STATES,
    "rnn_test.RNNTest.test_statefulness_two_states": STATES,
    "stacked_rnn_cells_test.StackedRNNTest.test_correctness_two_states_stack": STATES,
    "stacked_rnn_cells_test.StackedRNNTest.test_statefullness_two_states_stack": STATES,
    "gru_test.GRUTest.test_torch_cudnn_dispatch_fires": "a test of the PyTorch backend",
    "bidirectional_test.SimpleRNNTest.test_torch_cudnn_bidirectional_gru_dispatch_fires": (
        "a test of the PyTorch backend"
    ),
    "bidirectional_test.SimpleRNNTest.test_keeps_use_cudnn": CUDNN,
    "bidirectional_test.SimpleRNNTest.test_fused_lstm_eligibility": CUDNN,
    "bidirectional_test.SimpleRNNTest.test_fused_gru_eligibility": CUDNN,
}
# time_distributed_test holds no recurrent layer; the convolutional LSTMs are other layers.

register = keras.saving.register_keras_serializable(package="test_keras_suite")


class InputDropout:
    """Dropout on the inputs, which Keras's cells have and ours leave to a layer before the loop."""

    def __init__(self, units, dropout=0.0, **kwargs):
        super().__init__(units, **kwargs)
        self.input_rate = dropout
        if dropout and self.seed_generator is None:
            self.seed_generator = keras.random.SeedGenerator(self.seed)

    def project(self, x, dot, training=False):
        if training and self.input_rate:
            x = x * self.keep_mask(x, self.input_rate)
        return super().project(x, dot, training=training)

    def get_config(self):
        return {**super().get_config(), "dropout": self.input_rate}


@register
class LSTMCell(InputDropout, keras_rnn.LSTMCell):
    def __init__(self, units, output_activation="tanh", **kwargs):
        super().__init__(units, output_activation=output_activation, **kwargs)


@register
class SimpleRNNCell(InputDropout, keras_rnn.SimpleRNNCell):
    pass


@register
class GRUCell(InputDropout, keras_rnn.GRUCell):
    """Keras's z weighs the old state: what its initializers give for z is the negative of ours."""

    def __init__(self, units, reset_after=True, **kwargs):
        super().__init__(units, reset_after=reset_after, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        for weight in self.weights:
            array = np.array(weight)
            array[..., : self.units] *= -1
            weight.assign(array)


class KerasArguments:
    """Takes the arguments of a Keras layer: those that only choose an implementation are dropped."""

    cell_class = None

    def __init__(self, units, use_bias=True, **kwargs):
        for name in ("implementation", "unroll", "use_cudnn"):
            kwargs.pop(name, None)
        if not use_bias:
            kwargs["bias_initializer"] = "zeros"
            if self.cell_class is LSTMCell:
                kwargs["unit_forget_bias"] = False
        own = ("return_sequences", "return_state", "go_backwards", "stateful", "name", "trainable")
        own = {name: kwargs.pop(name) for name in own if name in kwargs}
        own["zero_output_for_mask"] = kwargs.pop("zero_output_for_mask", False)
        super().__init__(self.cell_class(units, **kwargs), **own)

    def get_config(self):
        config = super().get_config()
        for name in ("cell", "return_extras", "rematerialize"):
            del config[name]
        return {**self.cell.get_config(), **config}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@register
class LSTM(KerasArguments, keras_rnn.FusedRNN):
    cell_class = LSTMCell


@register
class GRU(KerasArguments, keras_rnn.FusedRNN):
    cell_class = GRUCell


@register
class SimpleRNN(KerasArguments, keras_rnn.FusedRNN):
    cell_class = SimpleRNNCell


@register
class RNN(keras_rnn.FusedRNN):
    """Takes `unroll`, gives its `dtype` to the cells, and unpacks the states of a stack.

    Keras gives the one state of a cell in a stack as a tensor where that cell has no
    `get_initial_state`, else in a list of one. All our cells have it.
    """

    def __init__(self, cell, unroll=False, dtype=None, **kwargs):
        if dtype is not None:
            policy = keras.dtype_policies.get(dtype)
            stack = isinstance(cell, (list, tuple, keras.layers.StackedRNNCells))
            parts = getattr(cell, "cells", cell) if stack else [cell]
            if any(part.dtype_policy != policy for part in parts):
                parts = [
                    type(part).from_config({**part.get_config(), "dtype": policy}) for part in parts
                ]
                cell = parts if stack else parts[0]
        super().__init__(cell, **kwargs)

    def call(
        self,
        sequences,
        initial_state=None,
        mask=None,
        memory=None,
        memory_mask=None,
        training=False,
    ):
        results = super().call(sequences, initial_state, mask, training=training)
        if not isinstance(results, tuple):
            return results
        return [part[0] if isinstance(part, list) and len(part) == 1 else part for part in results]


class UnitsAndStates(keras_rnn.Cell):
    """What the two linear cells of Keras's tests have in common."""

    def __init__(self, units, state_size=None, **kwargs):
        super().__init__(**kwargs)
        self.units = self.output_size = units
        self.state_size = state_size if state_size else self.default_state_size(units)
        if isinstance(self.state_size, tuple):
            self.state_size = list(self.state_size)

    def add_ones(self, name, rows):
        return self.add_weight(shape=(rows, self.units), initializer="ones", name=name)

    def project(self, x, dot, training=False):
        return dot(x, self.kernel)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "state_size": self.state_size}


@register
class OneStateRNNCell(UnitsAndStates):
    """a = W x + V a_prev, all weights 1."""

    @staticmethod
    def default_state_size(units):
        return units

    def build(self, input_shape):
        self.kernel = self.add_ones("kernel", input_shape[-1])
        self.recurrent_kernel = self.add_ones("recurrent_kernel", self.units)

    def step(self, projected, states, dot, memory=None):
        return [projected + dot(states[0], self.recurrent_kernel)], {}


@register
class TwoStatesRNNCell(UnitsAndStates):
    """Two sums of the same; Keras's cell gives their sum, ours the first of them."""

    @staticmethod
    def default_state_size(units):
        return [units, units]

    def build(self, input_shape):
        self.kernel = self.add_ones("kernel", input_shape[-1])
        self.recurrent_kernel_1 = self.add_ones("recurrent_kernel_1", self.units)
        self.recurrent_kernel_2 = self.add_ones("recurrent_kernel_2", self.units)

    def step(self, projected, states, dot, memory=None):
        output_1 = projected + dot(states[0], self.recurrent_kernel_1)
        output_2 = projected + dot(states[0], self.recurrent_kernel_2)
        return [output_1, output_2], {}


@register
class RNNCellWithDropout(InputDropout, OneStateRNNCell):
    """Dropout on the inputs, and the recurrent dropout that every cell has."""

    def __init__(self, units, dropout=0.5, recurrent_dropout=0.5, **kwargs):
        super().__init__(units, dropout=dropout, recurrent_dropout=recurrent_dropout, **kwargs)


OURS = {cls.__name__: cls for cls in (LSTM, GRU, SimpleRNN, RNN, LSTMCell, GRUCell, SimpleRNNCell)}
CELLS = {
    "OneStateRNNCell": OneStateRNNCell,
    "TwoStatesRNNCell": TwoStatesRNNCell,
    "RNNCellWithDropout": RNNCellWithDropout,
}


class Layers(types.ModuleType):
    """Keras's module of layers, with ours in the place of the recurrent ones."""

    def __init__(self, stock):
        super().__init__("layers")
        self._stock = stock
        self.__dict__.update(OURS)

    def __getattr__(self, name):
        return getattr(self._stock, name)


def load(file):
    """The test module of that name, executed anew, with our classes in its globals."""
    path = FOLDER / f"{file}.py"
    spec = importlib.util.spec_from_file_location(f"keras_suite_{file}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.layers = Layers(module.layers)
    for name, cell in CELLS.items():
        if hasattr(module, name):
            setattr(module, name, cell)
    return module


def collect():
    """Name -> test, of every test in the files."""
    tests = {}
    for file in FILES:
        if not (FOLDER / f"{file}.py").exists():
            continue
        for case in vars(load(file)).values():
            if isinstance(case, type) and issubclass(case, unittest.TestCase):
                for method in unittest.TestLoader().getTestCaseNames(case):
                    tests[f"{file}.{case.__name__}.{method}"] = case
    return tests


TESTS = collect()


@pytest.mark.skipif(not TESTS, reason="this wheel of Keras holds no tests")
@pytest.mark.parametrize("name", [name for name in TESTS if name not in LEFT_OUT])
def test_as_keras_does(name):
    case = TESTS[name](name.split(".")[-1])
    run_layer_test = case.run_layer_test

    def with_our_weights(layer, **options):
        # With `reset_after` the recurrent bias is a weight of its own, not a row of the bias.
        arguments = options["init_kwargs"]
        cells = arguments.get("cell", [])
        cells = cells if isinstance(cells, list) else [cells]
        more = sum(getattr(cell, "reset_after", False) for cell in cells)
        more += layer is GRU and arguments.get("reset_after", True)
        options["expected_num_trainable_weights"] += more
        if "expected_num_losses" in options:
            options["expected_num_losses"] += more
        run_layer_test(layer, **options)

    case.run_layer_test = with_our_weights
    case.debug()


@pytest.mark.skipif(not TESTS, reason="this wheel of Keras holds no tests")
def test_at_least_four_in_five_are_run():
    assert set(LEFT_OUT) <= set(TESTS), "a test that is left out is not there any more"
    assert len(LEFT_OUT) <= 0.2 * len(TESTS)


def test_the_gru_of_this_file_is_keras_gru():
    """The stand-in above starts from the same initializers as Keras's layer, and computes the same."""
    options = dict(
        kernel_initializer=keras.initializers.GlorotUniform(seed=1),
        recurrent_initializer=keras.initializers.Orthogonal(seed=2),
        bias_initializer=keras.initializers.RandomNormal(seed=3),
        reset_after=False,
    )
    x = ops.ones((2, 5, 3))
    expected = keras.layers.GRU(4, **options)(x)
    np.testing.assert_allclose(GRU(4, **options)(x), expected, rtol=1e-5, atol=1e-6)
