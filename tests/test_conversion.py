"""Trained layers of Keras become ours, and ours Keras's, with the same numbers."""

import keras
import numpy as np
import pytest

import keras_rnn
from tests.comparing import EPSILON, build_randomly, make_mask, values

BATCH, TIME, FEATURES, UNITS = 4, 7, 3, 5

THEIRS = {
    "lstm": lambda **options: keras.layers.LSTM(UNITS, **options),
    "gru": lambda **options: keras.layers.GRU(UNITS, reset_after=False, **options),
    "gru reset after": lambda **options: keras.layers.GRU(UNITS, reset_after=True, **options),
    "simple": lambda **options: keras.layers.SimpleRNN(UNITS, activation="relu", **options),
    "lstm without bias": lambda **options: keras.layers.LSTM(UNITS, use_bias=False, **options),
    "gru without bias": lambda **options: keras.layers.GRU(UNITS, use_bias=False, **options),
}
OURS = {
    "lstm": lambda **options: keras_rnn.LSTMCell(UNITS, output_activation="tanh", **options),
    "gru": lambda **options: keras_rnn.GRUCell(UNITS, **options),
    "gru reset after": lambda **options: keras_rnn.GRUCell(UNITS, reset_after=True, **options),
    "simple": lambda **options: keras_rnn.SimpleRNNCell(UNITS, activation="relu", **options),
}


def built(layer):
    layer.build((BATCH, None, FEATURES))
    for number, weight in enumerate(layer.weights):
        if "seed" not in weight.path and "state" not in weight.path.split("/")[-1]:
            weight.assign(values(*weight.shape, seed=number, scale=0.5))
    return layer


def assert_same_results(first, second, precision="float32"):
    x, mask = values(BATCH, TIME, FEATURES), make_mask("holes", BATCH, TIME)
    for ours, theirs in zip(
        keras.tree.flatten(first(x, mask=mask)),
        keras.tree.flatten(second(x, mask=mask)),
        strict=True,
    ):
        tolerance = 16 * EPSILON[precision]
        ours, theirs = np.asarray(ours, "float64"), np.asarray(theirs, "float64")
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("name", THEIRS)
def test_from_keras_computes_the_same(name, go_backwards, dtype):
    options = dict(return_sequences=True, return_state=True, go_backwards=go_backwards)
    theirs = built(THEIRS[name](dtype=dtype, **options))
    ours = keras_rnn.from_keras(theirs)
    assert isinstance(ours, keras_rnn.FusedRNN) and ours.fused
    assert_same_results(ours, theirs, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OURS)
def test_to_keras_computes_the_same_and_comes_back_the_same(name, dtype):
    options = dict(return_sequences=True, return_state=True)
    ours = keras_rnn.FusedRNN(OURS[name](dtype=dtype), **options)
    build_randomly(ours.cell, FEATURES)
    ours.build((None, None, FEATURES))
    theirs = keras_rnn.to_keras(ours)
    assert type(theirs).__module__.startswith("keras.")
    assert_same_results(ours, theirs, dtype)
    again = keras_rnn.from_keras(theirs)
    for first, second in zip(ours.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["lstm", "gru", "gru reset after", "simple"])
def test_settings_are_carried_both_ways(name):
    options = dict(
        return_sequences=True,
        return_state=True,
        go_backwards=True,
        stateful=True,
        zero_output_for_mask=True,
        recurrent_dropout=0.25,
        seed=3,
        name="mine",
        dtype="mixed_bfloat16",
        kernel_initializer="zeros",
        recurrent_regularizer=keras.regularizers.L2(0.1),
        activity_regularizer=keras.regularizers.L2(0.2),
        bias_constraint="non_neg",
    )
    theirs = built(THEIRS[name](**options))
    ours = keras_rnn.from_keras(theirs)
    back = keras_rnn.to_keras(ours)
    for layer in (ours, back):
        assert layer.name == "mine" and layer.compute_dtype == "bfloat16" and layer.stateful
        assert layer.return_state and layer.zero_output_for_mask and layer.go_backwards
        assert layer.cell.recurrent_dropout == 0.25
        if name != "simple":  # Keras's loses it itself
            assert layer.activity_regularizer.l2 == pytest.approx(0.2)
    config, expected = back.get_config(), theirs.get_config()
    assert config == expected
    for first, second in zip(theirs.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_layer_that_is_not_built_converts_its_settings():
    ours = keras_rnn.from_keras(keras.layers.GRU(UNITS, return_sequences=True))
    assert not ours.built and ours.cell.reset_after
    assert not keras_rnn.to_keras(ours).built


def test_stateful_layers_convert_with_their_batch_size():
    theirs = built(keras.layers.LSTM(UNITS, stateful=True))
    ours = keras_rnn.from_keras(theirs)
    for _ in range(2):
        assert_same_results(ours, theirs)


@pytest.mark.parametrize(
    "convert, error, message",
    [
        (lambda: keras_rnn.from_keras(keras.layers.Dense(3)), TypeError, "not Dense"),
        (
            lambda: keras_rnn.from_keras(keras.layers.LSTM(3, activation="relu")),
            ValueError,
            "activation='tanh'.*'relu'",
        ),
        (
            lambda: keras_rnn.from_keras(keras.layers.GRU(3, recurrent_activation="relu")),
            ValueError,
            "recurrent_activation='sigmoid'",
        ),
        (
            lambda: keras_rnn.to_keras(keras_rnn.FusedRNN(keras_rnn.LSTMCell(3))),
            ValueError,
            "linear",
        ),
        (
            lambda: keras_rnn.to_keras(keras_rnn.FusedRNN(keras_rnn.NASCell(3))),
            TypeError,
            "NASCell",
        ),
        (
            lambda: keras_rnn.to_keras(
                keras_rnn.FusedRNN(
                    keras_rnn.GRUCell(3, recurrent_dropout=0.1, recurrent_dropout_kind="candidate")
                )
            ),
            ValueError,
            "candidate",
        ),
        (
            lambda: keras_rnn.to_keras(
                keras_rnn.FusedRNN([keras_rnn.GRUCell(3), keras_rnn.GRUCell(3)])
            ),
            TypeError,
            "StackedRNNCells",
        ),
    ],
)
def test_what_cannot_be_converted_is_named(convert, error, message):
    with pytest.raises(error, match=message):
        convert()


def test_dropout_on_the_inputs_is_warned_of():
    with pytest.warns(UserWarning, match=r"dropout=0.5 .* keras_rnn.SpatialDropout1D\(0.5\)"):
        keras_rnn.from_keras(keras.layers.LSTM(3, dropout=0.5))
