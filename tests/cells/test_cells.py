"""Every cell of the list against its equations in NumPy, and as users of Keras expect a cell."""

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from tests import reference
from tests.comparing import (
    MASKS,
    build_randomly,
    make_cell,
    make_mask,
    named_weights,
    state_shapes,
    stock,
    values,
)

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5
LEAKY = 0.7

WEIGHTS = {
    "simple_rnn": {"kernel": (3, 5), "recurrent_kernel": (5, 5), "bias": (5,)},
    "lstm": {"kernel": (3, 20), "recurrent_kernel": (5, 20), "bias": (20,)},
    "gru": {"kernel": (3, 15), "recurrent_kernel": (5, 15), "bias": (15,)},
    "nas": {"kernel": (3, 40), "recurrent_kernel": (5, 40), "bias": (40,)},
}
WEIGHTS["lecture_lstm"] = WEIGHTS["lstm"]
WEIGHTS["esn"] = WEIGHTS["simple_rnn"]
WEIGHTS["gru_reset_after"] = {**WEIGHTS["gru"], "recurrent_bias": (15,)}
WEIGHTS["peephole_lstm"] = {**WEIGHTS["lstm"], "peephole_kernel": (15,)}
for base, columns in [("simple_rnn", 5), ("lstm", 20), ("gru", 15)]:
    norms = ["kernel_gain", "kernel_offset", "recurrent_gain", "recurrent_offset"]
    WEIGHTS[f"layer_norm_{base}"] = {**WEIGHTS[base], **{norm: (columns,) for norm in norms}}
WEIGHTS["layer_norm_lstm"] |= {"state_gain": (5,), "state_offset": (5,)}


def reference_step(name):
    if name == "esn":
        return functools.partial(reference.esn, leaky=LEAKY)
    return reference.CELLS[name]


@pytest.mark.parametrize("mask_name", MASKS)
@pytest.mark.parametrize("name", keras_rnn.CELLS)
def test_outputs_states_and_extras_are_the_equations(name, mask_name):
    cell = make_cell(name, UNITS, FEATURES, "float64")
    x, mask = values(BATCH, TIME, FEATURES), make_mask(mask_name, BATCH, TIME)
    go_backwards = mask_name in ("right", "holes")
    zero_output = mask_name in ("left", "holes")
    options = dict(
        return_sequences=True,
        return_state=True,
        go_backwards=go_backwards,
        zero_output_for_mask=zero_output,
    )
    fused = keras_rnn.FusedRNN(cell, return_extras=True, **options)
    states = [values(*shape, seed=5 + i) for i, shape in enumerate(state_shapes(fused, BATCH))]
    outputs, last, extras = reference.run(
        reference_step(name), named_weights(cell), x, states, mask, go_backwards, zero_output
    )
    tensors = [tf.constant(state) for state in states]
    result = fused(x, initial_state=tensors, mask=mask)
    for actual, expected in zip(result[:-1], [outputs, *last], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    for extra, expected in extras.items():
        np.testing.assert_allclose(result[-1][extra], expected, rtol=1e-10, atol=1e-12)
    stepwise = stock(cell, **options)(x, initial_state=tensors, mask=mask)
    for actual, expected in zip(stepwise, [outputs, *last], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    # Without initial states they are zero.
    zeros = [np.zeros_like(state) for state in states]
    expected, _, _ = reference.run(
        reference_step(name), named_weights(cell), x, zeros, mask, go_backwards, zero_output
    )
    np.testing.assert_allclose(fused(x, mask=mask)[0], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", keras_rnn.CELLS)
def test_weights_are_named_and_shaped_as_documented(name):
    cell = keras_rnn.make_cell(name, UNITS)
    cell.build((None, FEATURES))
    assert {weight.name: tuple(weight.shape) for weight in cell.weights} == WEIGHTS[name]
    assert all(weight.trainable == (name != "esn") for weight in cell.weights)
    for weight in cell.weights:
        if weight.name.endswith("gain"):
            np.testing.assert_array_equal(weight, np.ones(weight.shape))
        if weight.name.endswith("offset"):
            np.testing.assert_array_equal(weight, np.zeros(weight.shape))


@pytest.mark.parametrize("name", keras_rnn.CELLS)
def test_a_cell_lives_through_its_config(name):
    options = dict(
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.1, seed=3),
        recurrent_regularizer=keras.regularizers.L2(0.5),
        bias_constraint=keras.constraints.MaxNorm(2.0),
        recurrent_dropout=0.25,
        seed=7,
        name="mine",
        dtype="mixed_bfloat16",
    )
    cell = keras_rnn.make_cell(name, UNITS, **options)
    config = cell.get_config()
    again = type(cell).from_config(config)
    assert again.get_config() == config and again.name == "mine"
    assert again.units == UNITS and again.recurrent_dropout == 0.25 and again.seed == 7
    serialized = keras.saving.serialize_keras_object(cell)
    assert keras.saving.deserialize_keras_object(serialized).get_config() == config
    again.build((None, FEATURES))
    kernel = np.asarray(again.kernel)
    assert again.kernel.dtype == "float32" and again.compute_dtype == "bfloat16"
    assert 0 < np.abs(kernel).max() < 0.5
    if name != "esn":
        recurrent = [w for w in again.weights if w.name in ("recurrent_kernel", "peephole_kernel")]
        penalty = 0.5 * sum(np.sum(np.square(weight)) for weight in recurrent)
        np.testing.assert_allclose(sum(again.losses), penalty, rtol=1e-5)
    assert isinstance(again.bias.constraint, keras.constraints.MaxNorm)


@pytest.mark.parametrize("name", ["lstm", "gru_reset_after", "peephole_lstm"])
def test_each_weight_has_the_initializer_regularizer_and_constraint_of_its_part(name):
    part_of = {"recurrent_kernel": "recurrent", "recurrent_bias": "bias"}
    part_of |= {"peephole_kernel": "recurrent"}
    options = {"unit_forget_bias": False} if "lstm" in name else {}
    for number, part in enumerate(("kernel", "recurrent", "bias"), start=1):
        options[f"{part}_initializer"] = keras.initializers.Constant(number)
        options[f"{part}_regularizer"] = keras.regularizers.L2(number)
        options[f"{part}_constraint"] = keras.constraints.MaxNorm(number)
    cell = keras_rnn.make_cell(name, UNITS, **options)
    cell.build((None, FEATURES))
    for weight in cell.weights:
        part = part_of.get(weight.name, weight.name)
        assert weight.regularizer is options[f"{part}_regularizer"], weight.name
        assert weight.constraint is options[f"{part}_constraint"], weight.name
        if weight.name != "peephole_kernel":  # it has an initializer of its own
            assert np.all(weight == options[f"{part}_initializer"].value), weight.name


CLASSES = {type(keras_rnn.make_cell(name, UNITS)) for name in keras_rnn.CELLS}
CLASSES |= {keras_rnn.QueryReductionCell, keras_rnn.ZoneoutCell, keras_rnn.AttentionCell}


@pytest.mark.parametrize("cls", sorted(CLASSES, key=lambda cls: cls.__name__))
def test_a_config_holds_every_argument(cls):
    """Those of the class and of all it descends from."""
    given = {
        keras_rnn.ZoneoutCell: lambda: cls(keras_rnn.GRUCell(UNITS), 0.1),
        keras_rnn.AttentionCell: lambda: cls(
            keras_rnn.GRUCell(UNITS), keras_rnn.BahdanauAttention(UNITS)
        ),
    }
    config = given.get(cls, lambda: cls(UNITS))().get_config()
    arguments = {
        argument.name
        for base in cls.__mro__
        if issubclass(base, keras_rnn.Cell)
        for argument in inspect.signature(base.__init__).parameters.values()
        if argument.kind is argument.POSITIONAL_OR_KEYWORD
    }
    # What is refused, or does nothing, is left out.
    refused = {
        keras_rnn.QueryReductionCell: {"recurrent_dropout"},
        keras_rnn.ZoneoutCell: {"recurrent_dropout"},
        keras_rnn.AttentionCell: {"recurrent_dropout", "seed"},
    }
    assert arguments - {"self"} - set(config) == refused.get(cls, set())


@pytest.mark.parametrize("name", keras_rnn.CELLS)
def test_every_trainable_weight_moves_in_training(name):
    """A weight that training does not move is a weight that is not in the graph."""
    layer = keras_rnn.FusedRNN(keras_rnn.make_cell(name, UNITS))
    model = keras.Sequential([keras.Input([None, FEATURES]), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    before = model.get_weights()
    model.train_on_batch(values(8, TIME, FEATURES), values(8, 1, seed=1))
    moved = [not np.array_equal(old, new) for old, new in zip(before, model.get_weights())]
    assert moved == [weight.trainable for weight in model.weights]


def test_lstm_biases():
    for unit_forget_bias in (True, False):
        cell = keras_rnn.LSTMCell(2, unit_forget_bias=unit_forget_bias)
        cell.build((None, 3))
        ones = [0, 0, 1, 1, 0, 0, 0, 0] if unit_forget_bias else [0] * 8
        np.testing.assert_array_equal(cell.bias, ones)


def test_lstm_default_is_the_lecture_and_the_name_lstm_is_the_standard():
    assert keras_rnn.LSTMCell(2).output_activation is keras.activations.linear
    assert keras_rnn.make_cell("lecture_lstm", 2).output_activation is keras.activations.linear
    assert keras_rnn.make_cell("lstm", 2).output_activation is keras.activations.tanh
    assert not keras_rnn.GRUCell(2).reset_after
    assert keras_rnn.make_cell("gru_reset_after", 2).reset_after


def test_simple_rnn_takes_another_activation():
    cell = keras_rnn.SimpleRNNCell(UNITS, activation="relu", dtype="float64")
    build_randomly(cell, FEATURES)
    x = values(BATCH, TIME, FEATURES)
    step = functools.partial(reference.simple_rnn, activation=reference.relu)
    expected = reference.run(step, named_weights(cell), x, [np.zeros([BATCH, UNITS])])[0][:, -1]
    np.testing.assert_allclose(keras_rnn.FusedRNN(cell)(x), expected, rtol=1e-10)


@pytest.mark.parametrize("base", ["lstm", "gru", "simple_rnn"])
def test_layer_norm_takes_another_epsilon(base):
    outputs = []
    for epsilon in (1e-3, 0.5):
        cell = make_cell(f"layer_norm_{base}", UNITS, FEATURES, "float64", epsilon=epsilon)
        x = values(1, 1, FEATURES)
        weights = named_weights(cell)
        outputs.append(np.asarray(keras_rnn.FusedRNN(cell)(x)))
        assert cell.get_config()["epsilon"] == epsilon
    assert not np.allclose(*outputs)
    if base == "simple_rnn":
        product = x[:, 0] @ weights["kernel"]
        normed = reference.layer_norm(
            product, weights["kernel_gain"], weights["kernel_offset"], epsilon=0.5
        )
        # The state is zero, and the norm of zeros is the offset.
        expected = np.tanh(normed + weights["recurrent_offset"] + weights["bias"])
        np.testing.assert_allclose(outputs[1], expected, rtol=1e-10)


def test_echo_state_reservoir():
    cell = keras_rnn.ESNCell(60, connectivity=0.2, spectral_radius=0.8, leaky=0.5, seed=1)
    cell.build((None, FEATURES))
    reservoir = np.asarray(cell.recurrent_kernel, "float64")
    assert np.abs(np.linalg.eigvals(reservoir)).max() == pytest.approx(0.8, rel=1e-4)
    assert np.mean(reservoir != 0) == pytest.approx(0.2, abs=0.03)
    assert cell.trainable_weights == []
    again = keras_rnn.ESNCell.from_config(cell.get_config())
    assert (again.connectivity, again.spectral_radius, again.leaky) == (0.2, 0.8, 0.5)
    layer = keras_rnn.FusedRNN(cell)
    layer.trainable = False
    layer.trainable = True  # a frozen layer that thaws leaves the reservoir as it is
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 3


def test_a_reservoir_in_which_nothing_goes_round_stays_as_it_was_drawn():
    for seed in (25, 35):  # whose eigenvalues are 0, and come out as 1e-16 and 1e-9
        kernel = np.asarray(keras_rnn.ESNCell(8, seed=seed).initial_recurrent_kernel((8, 8)))
        assert kernel.any() and not np.linalg.matrix_power(kernel != 0, 8).any()
        assert np.abs(kernel).max() < 1


def test_a_seed_draws_the_connections_of_a_reservoir():
    options = {"seed": 1, "recurrent_initializer": "ones", "connectivity": 0.5}
    cells = [keras_rnn.ESNCell(9, **options) for _ in range(2)]
    for cell in cells:
        cell.build((None, FEATURES))
    np.testing.assert_array_equal(*(cell.recurrent_kernel for cell in cells))


def test_an_echo_state_network_is_built_while_a_graph_is_traced():
    layer = keras_rnn.FusedRNN(keras_rnn.ESNCell(8, connectivity=0.5, spectral_radius=0.7))

    class Reading(keras.Model):
        def call(self, x):
            return layer(x)

    model = Reading()
    model.compile("sgd", "mse")
    model.predict(np.ones([4, 5, 3], "float32"), verbose=0)
    reservoir = np.asarray(layer.cell.recurrent_kernel, "float64")
    assert np.abs(np.linalg.eigvals(reservoir)).max() == pytest.approx(0.7, rel=1e-4)


def test_the_units_may_be_one_and_features_one():
    for name in keras_rnn.CELLS:
        cell = make_cell(name, 1, 1, "float64")
        x = values(2, 3, 1)
        states = [np.zeros([2, 1])] * len(cell.state_sizes)
        expected = reference.run(reference_step(name), named_weights(cell), x, states)[0]
        layer = keras_rnn.FusedRNN(cell, return_sequences=True)
        np.testing.assert_allclose(layer(x), expected, rtol=1e-10, atol=1e-12, err_msg=name)


def test_make_cell_finds_registered_classes_and_names_the_others():
    @keras.saving.register_keras_serializable(package="test_cells")
    class MyOwnCell(keras_rnn.SimpleRNNCell):
        pass

    assert type(keras_rnn.make_cell("MyOwnCell", 3)) is MyOwnCell
    assert type(keras_rnn.make_cell("NASCell", 3)) is keras_rnn.NASCell
    with pytest.raises(ValueError, match="'lsmt'.*lecture_lstm"):
        keras_rnn.make_cell("lsmt", 3)
    with pytest.raises(ValueError, match="nor the name of a cell"):  # a layer, but no cell
        keras_rnn.make_cell("SpatialDropout1D", 3)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: keras_rnn.LSTMCell(0), "units must be a positive integer, got 0"),
        (lambda: keras_rnn.GRUCell(4.0), "units must be a positive integer, got 4.0"),
        (
            lambda: keras_rnn.StandardCell(3, recurrent_dropout_kind="candidate"),
            "recurrent_dropout_kind of StandardCell must be one of .'sequence',.",
        ),
        (
            lambda: keras_rnn.ZoneoutCell(keras_rnn.GRUCell(3), 0.1, recurrent_dropout=0.5),
            "give recurrent_dropout to its cell",
        ),
        (lambda: keras_rnn.GRUCell(3, recurrent_dropout=1.0), r"recurrent_dropout .* got 1.0"),
        (lambda: keras_rnn.GRUCell(3, recurrent_dropout_kind="row"), "got 'row'"),
        (
            lambda: keras_rnn.NASCell(3, recurrent_dropout=0.5, recurrent_dropout_kind="candidate"),
            "candidate",
        ),
        (lambda: keras_rnn.ESNCell(3, connectivity=0.0), "connectivity must be in"),
        (lambda: keras_rnn.ESNCell(3, leaky=1.5), "leaky must be in"),
        (lambda: keras_rnn.ZoneoutCell(keras_rnn.GRUCell(3), rates=(0.1, 0.2)), "one a state"),
        (lambda: keras_rnn.ZoneoutCell(keras_rnn.GRUCell(3), rates=1.0), "rates must be"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class OwnStep(keras_rnn.LSTMCell):
    """A step that takes the projection as it comes."""

    def step(self, projected, states, dot, memory=None):
        return [keras.ops.tanh(projected[:, : self.units]), states[1]], {}


class OwnProjection(keras_rnn.LSTMCell):
    def project(self, x, dot, training=False):
        return super().project(x, dot, training=training)


class OwnStepAround(keras_rnn.LSTMCell):
    def step(self, projected, states, dot, memory=None):
        return super().step(projected, states, dot, memory)


@pytest.mark.parametrize("training", [False, True])
def test_a_bias_is_added_once_whoever_overrides_what(training):
    x = np.random.default_rng(7).normal(size=[3, 4, 5]).astype("float32")
    bias = np.linspace(-1.0, 1.0, 24, dtype="float32")

    def outputs(cell):
        layer = keras_rnn.FusedRNN(cell(6, kernel_initializer="ones", recurrent_initializer="ones"))
        layer.build(x.shape)
        layer.cell.bias.assign(bias)
        return np.array(layer(x, training=training))

    expected = outputs(keras_rnn.LSTMCell)
    np.testing.assert_allclose(outputs(OwnProjection), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs(OwnStepAround), expected, rtol=1e-5, atol=1e-6)
    last = np.tanh(x[:, -1].sum(-1, keepdims=True) + bias[:6])
    np.testing.assert_allclose(outputs(OwnStep), last, rtol=1e-5, atol=1e-6)
