"""FusedRNN as a Keras layer: masks of any shape, Bidirectional, stacks, memory, saving, training."""

import gc
import os
import subprocess
import sys
import weakref

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_rnn
from tests import reference
from tests.comparing import (
    MODES,
    assert_equal,
    build_randomly,
    differentiate,
    make_cell,
    make_mask,
    named_weights,
    state_shapes,
    stock,
    values,
)

BATCH, TIME, FEATURES, UNITS = 4, 5, 3, 4


@st.composite
def shapes_and_masks(draw):
    batch, time = draw(st.integers(1, 5)), draw(st.integers(0, 7))
    features, units = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    mask = draw(st.none() | hypothesis.extra.numpy.arrays(bool, (batch, time)))
    return batch, time, features, units, mask


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    drawn=shapes_and_masks(),
    name=st.sampled_from(["lstm", "gru", "layer_norm_simple_rnn", "peephole_lstm"]),
    go_backwards=st.booleans(),
    zero_output_for_mask=st.booleans(),
    return_sequences=st.booleans(),
)
def test_any_shape_and_mask_is_the_reference(
    drawn, name, go_backwards, zero_output_for_mask, return_sequences
):
    batch, time, features, units, mask = drawn
    cell = make_cell(name, units, features, "float64")
    layer = keras_rnn.FusedRNN(
        cell,
        return_sequences=return_sequences,
        return_state=True,
        go_backwards=go_backwards,
        zero_output_for_mask=zero_output_for_mask,
    )
    x = values(batch, time, features)
    states = [values(*shape, seed=5 + i) for i, shape in enumerate(state_shapes(layer, batch))]
    outputs, last, _ = reference.run(
        reference.CELLS[name],
        named_weights(cell),
        x,
        states,
        mask,
        go_backwards,
        zero_output_for_mask,
    )
    if not return_sequences:
        outputs = outputs[:, -1] if time else np.zeros([batch, units])
    result = layer(x, initial_state=[tf.constant(state) for state in states], mask=mask)
    for actual, expected in zip(result, [outputs, *last], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)


@hypothesis.settings(max_examples=25)
@hypothesis.given(drawn=shapes_and_masks(), name=st.sampled_from(["lstm", "gru"]))
def test_any_shape_and_mask_has_the_stock_gradients(drawn, name):
    batch, time, features, units, mask = drawn
    hypothesis.assume(time > 0)
    cell = make_cell(name, units, features, "float64")
    options = dict(return_sequences=True, return_state=True)
    x = values(batch, time, features)
    expected = differentiate(stock(cell, **options), x, mask)
    assert_equal(differentiate(keras_rnn.FusedRNN(cell, **options), x, mask), expected)


@pytest.mark.parametrize("mask_dtype", ["int32", "float32", "uint8"])
def test_masks_may_be_numbers(mask_dtype):
    layer = keras_rnn.FusedRNN(make_cell("gru", UNITS, FEATURES))
    x, mask = values(BATCH, TIME, FEATURES), make_mask("holes", BATCH, TIME)
    np.testing.assert_array_equal(layer(x, mask=mask.astype(mask_dtype)), layer(x, mask=mask))
    assert (layer(x, mask=mask) != layer(x)).numpy().any()


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("name", ["lstm", "gru", "layer_norm_gru"])
def test_padding_changes_nothing(name, go_backwards):
    """Outputs at real steps, last states and every gradient, whatever stands in the padding."""
    cell = make_cell(name, UNITS, FEATURES, "float64")
    layer = keras_rnn.FusedRNN(
        cell, return_sequences=True, return_state=True, go_backwards=go_backwards
    )
    x, mask = values(BATCH, TIME, FEATURES), make_mask("right", BATCH, TIME)
    more = 4
    longer = np.concatenate([x, np.full([BATCH, more, FEATURES], 99.0)], 1)
    longer_mask = np.concatenate([mask, np.zeros([BATCH, more], bool)], 1)
    place = slice(more, None) if go_backwards else slice(TIME)
    state_count = len(cell.state_sizes)
    short_cotangents = [values(BATCH, TIME, UNITS)] + [values(BATCH, UNITS)] * state_count
    long_cotangents = [np.zeros([BATCH, TIME + more, UNITS])] + short_cotangents[1:]
    long_cotangents[0][:, place] = short_cotangents[0]
    short = differentiate(layer, x, mask, cotangents=short_cotangents)
    long = differentiate(layer, longer, longer_mask, cotangents=long_cotangents)
    for key, value in short.values.items():
        actual = long.values[key][:, place] if key == "result 0" else long.values[key]
        np.testing.assert_allclose(actual, value, rtol=1e-12, atol=1e-14)
    for key, gradient in short.gradients.items():
        actual = long.gradients[key][:, :TIME] if key == "x" else long.gradients[key]
        np.testing.assert_allclose(actual, gradient, rtol=1e-12, atol=1e-14)
    assert np.all(long.gradients["x"][:, TIME:] == 0)


@pytest.mark.parametrize(
    "mask_name, mode",
    [("right", "eager"), ("empty rows", "eager"), ("left", "graph"), ("empty rows", "xla")],
)
def test_what_stands_in_masked_steps_reaches_nothing(mask_name, mode):
    """Padding may hold huge numbers: neither values nor gradients take anything from it."""
    cell = make_cell("lstm", UNITS, FEATURES, "float64")
    layer = keras_rnn.FusedRNN(cell, return_sequences=True)
    x, mask = values(BATCH, TIME, FEATURES), make_mask(mask_name, BATCH, TIME)
    clean = differentiate(layer, np.where(mask[..., None], x, 0.0), mask, mode=mode)
    huge = differentiate(layer, np.where(mask[..., None], x, 1e300), mask, mode=mode)
    assert_equal(huge, clean)


MERGES = ["sum", "mul", "concat", "ave", None]


def bidirectional(make, cell_name, precision="float64", **options):
    """A Bidirectional layer whose two cells have different weights, the same for every `make`."""
    dtype = keras.dtype_policies.get(precision)
    merge_mode = options.pop("merge_mode", "concat")
    forward = make(keras_rnn.make_cell(cell_name, UNITS, dtype=dtype), dtype=dtype, **options)
    layer = keras.layers.Bidirectional(forward, merge_mode=merge_mode, dtype=dtype)
    layer.build((None, None, FEATURES))
    for seed, part in enumerate([layer.forward_layer, layer.backward_layer]):
        build_randomly(part.cell, FEATURES, seed=seed)
    return layer


@pytest.mark.parametrize(
    "merge_mode, mode, return_sequences",
    [
        *[(merge_mode, "eager", True) for merge_mode in MERGES],
        *[(merge_mode, "graph", False) for merge_mode in MERGES],
        ("concat", "xla", True),
        (None, "xla", False),
    ],
)
def test_bidirectional(merge_mode, mode, return_sequences):
    x, mask = values(BATCH, TIME, FEATURES), make_mask("right", BATCH, TIME)
    options = dict(merge_mode=merge_mode, return_sequences=return_sequences)
    results = []
    for make, how in [(keras.layers.RNN, "eager"), (keras_rnn.FusedRNN, mode)]:
        layer = bidirectional(make, "gru", **options)

        def compute(x, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = tf.nest.flatten(layer(x, mask=mask))
                loss = tf.add_n(
                    [tf.reduce_sum(tf.sin(k + output)) for k, output in enumerate(outputs)]
                )
            sources = [x, *[weight.value for weight in layer.trainable_variables]]
            return outputs, tape.gradient(loss, sources)

        if how != "eager":
            compute = tf.function(compute, jit_compile=how == "xla")
        results.append(tf.nest.flatten(compute(tf.constant(x))))
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def test_bidirectional_states_and_masks_reach_both_directions():
    x, mask = values(BATCH, TIME, FEATURES), make_mask("holes", BATCH, TIME)
    states = [tf.constant(values(BATCH, UNITS, seed=k)) for k in range(4)]
    results = []
    for make in (keras.layers.RNN, keras_rnn.FusedRNN):
        layer = bidirectional(make, "lstm", return_sequences=True, return_state=True)
        results.append(layer(x, initial_state=states, mask=mask))
        assert len(results[-1]) == 5
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def test_bidirectional_backward_pass_starts_at_the_last_real_step():
    layer = bidirectional(keras_rnn.FusedRNN, "gru", return_sequences=True)
    x, mask = values(BATCH, TIME, FEATURES), make_mask("right", BATCH, TIME)
    outputs = np.asarray(layer(x, mask=mask))
    for row, length in enumerate(mask.sum(1)):
        alone = np.asarray(layer(x[row : row + 1, :length]))
        np.testing.assert_allclose(outputs[row, :length], alone[0], rtol=1e-10, atol=1e-12)


def make_stack(dtype="float64"):
    widths = [FEATURES, UNITS, UNITS + 1]
    return [
        make_cell(name, UNITS + k, widths[k], dtype, seed=k)
        for k, name in enumerate(["lstm", "gru", "layer_norm_lstm"])
    ]


@pytest.mark.parametrize("mode, go_backwards", [("eager", False), ("graph", True), ("xla", True)])
def test_a_stack_equals_the_stock_stack(mode, go_backwards):
    cells = make_stack()
    options = dict(return_sequences=True, return_state=True, go_backwards=go_backwards)
    fused, same = keras_rnn.FusedRNN(cells, **options), stock(cells, **options)
    x, mask = values(BATCH, TIME, FEATURES), make_mask("holes", BATCH, TIME)
    states = [values(*shape, seed=5 + i) for i, shape in enumerate(state_shapes(fused, BATCH))]
    expected = differentiate(same, x, mask, states)
    assert_equal(differentiate(fused, x, mask, states, mode=mode), expected)


def test_a_stateful_stack_and_a_stack_of_one():
    for cells in (make_stack(), make_stack()[:1]):
        fused, same = (make(cells, stateful=True) for make in (keras_rnn.FusedRNN, stock))
        x = values(BATCH, TIME, FEATURES)
        assert_equal(differentiate(fused, x, calls=3), differentiate(same, x, calls=3))
        fused.reset_state()
        assert all(np.all(np.asarray(state) == 0) for state in tf.nest.flatten(fused.states))


def test_extras_of_a_stack_are_a_list():
    fused = keras_rnn.FusedRNN(make_stack(), return_extras=True, return_state=True)
    *_, extras = fused(values(BATCH, TIME, FEATURES))
    assert [sorted(part) for part in extras] == [
        ["c", "c_tilde", "gamma_f", "gamma_o", "gamma_u"],
        ["c_tilde", "gamma_r", "gamma_u"],
        ["c", "c_tilde", "gamma_f", "gamma_o", "gamma_u"],
    ]
    assert extras[1]["gamma_r"].shape == (BATCH, TIME, UNITS + 1)


@keras.saving.register_keras_serializable(package="test_rnn")
class ReadingCell(keras_rnn.Cell):
    """Attends over its memory at every step, with the real attention layer and its keys."""

    def __init__(self, units, memory_features=FEATURES, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units
        self.memory_features = memory_features
        self.attention = keras_rnn.BahdanauAttention(units, dtype=self.dtype_policy)

    def build(self, input_shape):
        columns = self.units
        self.kernel = self.add_weight(shape=(input_shape[-1], columns), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, columns), name="recurrent")
        self.reading = self.add_weight(shape=(self.memory_features, columns), name="reading")
        self.attention.build((None, self.units), (None, None, self.memory_features))

    def project(self, x, dot, training=False):
        return dot(x, self.kernel)

    def prepare_memory(self, memory, memory_mask=None, **kwargs):
        prepared = {"memory": memory, "keys": self.attention.keys(memory)}
        return prepared if memory_mask is None else {**prepared, "mask": memory_mask}

    def step(self, projected, states, dot, memory=None):
        (a_prev,) = states
        context, alpha = self.attention.attend(
            a_prev, memory["memory"], memory["keys"], memory.get("mask"), dot
        )
        a = ops.tanh(projected + dot(a_prev, self.recurrent) + dot(context, self.reading))
        return [a], {"alpha": alpha, "context": context}

    def get_config(self):
        config = {"units": self.units, "memory_features": self.memory_features}
        return {**super().get_config(), **config}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("masked", [False, True])
def test_memory_reaches_the_step_and_its_gradient_comes_back(masked, mode):
    """Under FusedRNN memory is an argument; under the stock loop it rides behind the states."""
    cell = ReadingCell(UNITS, dtype="float64")
    build_randomly(cell, FEATURES)
    x, memory = values(BATCH, TIME, FEATURES), values(BATCH, 6, FEATURES, seed=3)
    mask = make_mask("holes", BATCH, TIME)
    memory_mask = make_mask("empty rows", BATCH, 6, seed=2) if masked else None
    state = values(BATCH, UNITS, seed=4)
    fused = keras_rnn.FusedRNN(cell, return_sequences=True)
    same = stock(cell, return_sequences=True)
    probe = values(BATCH, TIME, UNITS, seed=6)

    def ours(x, state, memory):
        options = {} if memory_mask is None else {"memory_mask": memory_mask}
        return fused(x, initial_state=[state], mask=mask, memory=memory, **options)

    def theirs(x, state, memory):
        tail = [] if memory_mask is None else [tf.constant(memory_mask, tf.float64)]
        return same(x, initial_state=[state, memory, *tail], mask=mask)

    def with_gradients(function):
        def compute(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                outputs = function(*tensors)
                loss = tf.reduce_sum(outputs * probe)
            variables = [weight.value for weight in cell.trainable_variables]
            return [outputs, *tape.gradient(loss, [*tensors, *variables])]

        return compute

    tensors = [tf.constant(array) for array in (x, state, memory)]
    expected = with_gradients(theirs)(*tensors)
    compute = with_gradients(ours)
    if mode != "eager":
        compute = tf.function(compute, jit_compile=mode == "xla")
    for number, (actual, wanted) in enumerate(zip(compute(*tensors), expected, strict=True)):
        np.testing.assert_allclose(
            actual, wanted, rtol=1e-9, atol=1e-11, err_msg=f"result {number}"
        )


def test_weights_of_attention_come_as_extras():
    cell = ReadingCell(UNITS)
    layer = keras_rnn.FusedRNN(cell, return_sequences=True, return_extras=True)
    memory_mask = make_mask("right", BATCH, 6)
    _, extras = layer(
        values(BATCH, TIME, FEATURES), memory=values(BATCH, 6, FEATURES), memory_mask=memory_mask
    )
    alpha = np.asarray(extras["alpha"])
    assert alpha.shape == (BATCH, TIME, 6)
    np.testing.assert_allclose(alpha.sum(-1), 1, rtol=1e-6)
    assert np.all(alpha[~np.repeat(memory_mask[:, None], TIME, 1)] == 0)


def test_masks_of_an_embedding_pass_through():
    ids = np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])
    h = keras.layers.Embedding(9, FEATURES, mask_zero=True)(ids)
    layer = keras_rnn.FusedRNN(make_cell("gru", UNITS, FEATURES), return_sequences=True)
    outputs = layer(h)
    np.testing.assert_array_equal(outputs, layer(tf.constant(h.numpy()), mask=ids != 0))
    pooled = keras.layers.GlobalAveragePooling1D()(outputs)
    first = np.asarray(outputs)[0, :3].mean(0)
    np.testing.assert_allclose(pooled[0], first, rtol=1e-5)
    # A layer that gives no time axis passes no mask on.
    last = keras_rnn.FusedRNN(layer.cell, return_state=True)
    assert last.compute_mask(h, ids != 0) == [None, None]


@pytest.mark.parametrize(
    "options, shapes",
    [
        ({}, [(None, 4)]),
        ({"return_sequences": True}, [(None, None, 4)]),
        ({"return_state": True}, [(None, 4), (None, 4), (None, 4)]),
        ({"return_sequences": True, "return_extras": True}, [(None, None, 4)] * 6),
    ],
)
def test_symbolic_shapes(options, shapes):
    layer = keras_rnn.FusedRNN(keras_rnn.LSTMCell(UNITS), **options)
    results = layer(keras.Input([None, FEATURES]))
    assert [result.shape for result in tf.nest.flatten(results)] == shapes


def test_symbolic_shapes_of_a_stack():
    """Outputs are those of the last cell, states those of all."""
    layer = keras_rnn.FusedRNN([keras_rnn.LSTMCell(3), keras_rnn.GRUCell(5)], return_state=True)
    results = layer(keras.Input([None, FEATURES]))
    shapes = [(None, 5), (None, 3), (None, 3), (None, 5)]
    assert [result.shape for result in tf.nest.flatten(results)] == shapes


def test_layer_lives_through_its_config():
    layer = keras_rnn.FusedRNN(
        keras_rnn.GRUCell(UNITS, reset_after=True, dtype="mixed_float16"),
        return_sequences=True,
        return_state=True,
        go_backwards=True,
        zero_output_for_mask=True,
        return_extras=True,
        rematerialize=3,
        name="mine",
    )
    again = keras_rnn.FusedRNN.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.cell.reset_after and again.return_extras and again.go_backwards
    assert again.rematerialize == 3 and again.compute_dtype == "float16" and again.name == "mine"
    assert layer.fused is True
    for shorthand in (keras_rnn.LSTM, keras_rnn.GRU):
        options = dict(recurrent_dropout=0.3, return_sequences=True, dtype="mixed_bfloat16")
        layer = shorthand(UNITS, **options)
        again = shorthand.from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        assert again.cell.recurrent_dropout == 0.3 and again.compute_dtype == "bfloat16"
        assert again.return_sequences and again.fused


def test_shorthands_are_the_cells():
    x = values(BATCH, TIME, FEATURES)
    for shorthand, name in [(keras_rnn.LSTM, "lecture_lstm"), (keras_rnn.GRU, "gru")]:
        cell = make_cell(name, UNITS, FEATURES)
        layer = shorthand(UNITS, return_sequences=True)
        layer.build((None, None, FEATURES))
        layer.set_weights(cell.get_weights())
        expected = keras_rnn.FusedRNN(cell, return_sequences=True)(x)
        np.testing.assert_array_equal(layer(x), expected)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: keras_rnn.FusedRNN(keras.layers.LSTMCell(3)), TypeError, "keras.layers.RNN runs"),
        (lambda: keras_rnn.FusedRNN("lstm"), TypeError, "str does not"),
        (
            lambda: keras_rnn.FusedRNN([keras_rnn.GRUCell(3), keras.layers.GRUCell(3)]),
            TypeError,
            "keras_rnn.Cell",
        ),
        (
            lambda: keras_rnn.FusedRNN(keras_rnn.GRUCell(3), dtype="bfloat16"),
            ValueError,
            "give the dtype to the cell",
        ),
        (
            lambda: keras_rnn.LSTM(3)(np.ones([2, 4, 3]), initial_state=[np.ones([2, 3])]),
            ValueError,
            "must hold 2 tensors.*got 1",
        ),
        (
            lambda: keras_rnn.LSTM(3, rematerialize=-3),
            ValueError,
            "rematerialize must be a number of time steps.*got -3",
        ),
        (
            lambda: keras_rnn.FusedRNN(keras_rnn.GRUCell(3), unroll=True),
            ValueError,
            "unroll must be a number of time steps, 1 or more; got True",
        ),
        (
            lambda: keras_rnn.GRU(3, unroll=0),
            ValueError,
            "unroll must be a number of time steps, 1 or more; got 0",
        ),
    ],
)
def test_wrong_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_extras_and_a_memory_without_rows_are_refused():
    """Two halves of the rows get a part each: of what has no rows they would make something else, silently."""

    class RatedCell(keras_rnn.GRUCell):
        def step(self, projected, states, dot, memory=None):
            states, _ = super().step(projected, states, dot)
            return states, {"rate": ops.ones([2 * UNITS])}

    x = values(BATCH, TIME, FEATURES)
    layer = keras_rnn.FusedRNN(RatedCell(UNITS), return_extras=True)
    with pytest.raises(ValueError, match=rf"extra 'rate' must be .batch, \.\.\..*\({2 * UNITS},\)"):
        layer(x)
    layer = keras_rnn.FusedRNN(keras_rnn.GRUCell(UNITS))
    with pytest.raises(ValueError, match=rf"tensor of a memory must be .*\({BATCH + 1}, 2\)"):
        layer(x, memory=values(BATCH + 1, 2))


@pytest.mark.parametrize("beside", ["memory", "initial_state"])
def test_the_mask_of_the_sequences_counts_beside_other_tensors(beside):
    """Keras gives a layer of several tensors the mask of each by name."""
    ids = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [1, 1, 1, 1, 1]])
    embedding = keras.layers.Embedding(9, 4, mask_zero=True)
    given = {"initial_state": values(3, UNITS)}
    cell = keras_rnn.GRUCell(UNITS)
    if beside == "memory":
        given = {"memory": values(3, 7, 6)}
        cell = keras_rnn.AttentionCell(cell, keras_rnn.BahdanauAttention(5))
    layer = keras_rnn.FusedRNN(cell)
    x = embedding(ids)
    expected = layer(np.asarray(x), mask=ids > 0, **given)
    np.testing.assert_array_equal(layer(x, **given), expected)
    inputs, other = (
        keras.Input([None], dtype="int32"),
        keras.Input(next(iter(given.values())).shape[1:]),
    )
    model = keras.Model([inputs, other], layer(embedding(inputs), **{beside: other}))
    np.testing.assert_allclose(model([ids, *given.values()]), expected, rtol=1e-5, atol=1e-6)


def test_a_frozen_cell_stays_frozen_in_the_shorthand():
    layer = keras_rnn.GRU(UNITS)
    layer.cell.trainable = False
    again = keras_rnn.GRU.from_config(layer.get_config())
    again.build((None, TIME, FEATURES))
    assert again.trainable_weights == [] and len(again.weights) == 3


def test_a_stateful_layer_refuses_another_batch_size():
    layer = keras_rnn.GRU(UNITS, stateful=True)
    layer(values(BATCH, TIME, FEATURES))
    with pytest.raises(ValueError, match="batch size.*expected 4, got 3"):
        layer(values(BATCH - 1, TIME, FEATURES))


def test_a_model_trains_compiled_on_batches_of_several_lengths():
    """The sum of a sequence, learned under XLA with masks; the loss must fall far."""
    generator = np.random.default_rng(0)
    batches = []
    for length in (4, 9):
        x = generator.normal(size=[256, length, 2]).astype("float32")
        mask = np.arange(length) < generator.integers(1, length + 1, [256, 1])
        y = np.sum(x[..., 0] * mask, axis=1, keepdims=True).astype("float32")
        batches.append(((x, mask), y))
    sequence, mask = keras.Input([None, 2]), keras.Input([None], dtype="bool")
    h = keras_rnn.LSTM(12)(sequence, mask=mask)
    model = keras.Model([sequence, mask], keras.layers.Dense(1)(h))
    model.compile(keras.optimizers.Adam(0.02), "mse", jit_compile=True)
    losses = [model.train_on_batch(*batches[step % 2]) for step in range(150)]
    assert np.mean(losses[-4:]) < 0.1 * np.mean(losses[:2])


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_trains_in_mixed_precision(precision):
    layer = keras_rnn.FusedRNN(keras_rnn.GRUCell(12, dtype=precision))
    model = keras.Sequential(
        [keras.Input([None, 2]), layer, keras.layers.Dense(1, dtype="float32")]
    )
    model.compile(keras.optimizers.Adam(0.02), "mse", jit_compile=False)
    x = values(256, 6, 2).astype("float32")
    losses = [model.train_on_batch(x, x[..., :1].sum(1)) for _ in range(100)]
    assert losses[-1] < 0.2 * losses[0]
    assert all(weight.dtype == "float32" for weight in layer.weights)


def test_loading_a_model_that_makes_its_own_bidirectional_layers_shares_no_cell(
    tmp_path, forgets_registered_classes
):
    """Keras tells by its id what a model shares; a layer that Bidirectional copied may have had the same one."""
    copied, lost = [], []

    class Watched(keras_rnn.FusedRNN):
        def get_config(self):
            copied.append(weakref.ref(self))
            return super().get_config()

    @keras.saving.register_keras_serializable(package="tests")
    class Pile(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.rnns = []
            for _ in range(3):
                rnn = Watched(keras_rnn.LSTMCell(UNITS), return_sequences=True)
                self.rnns.append(keras.layers.Bidirectional(rnn))
                del rnn
                gc.collect(1)  # they are young
            lost.append(sum(layer() is None for layer in copied))

        def build(self, shape):
            for rnn in self.rnns:
                rnn.build(shape)
                shape = (*shape[:-1], 2 * UNITS)

        def call(self, x):
            for rnn in self.rnns:
                x = rnn(x)
            return x

    keras.saving.register_keras_serializable(package="tests")(Watched)
    model = keras.Sequential([keras.Input([TIME, FEATURES]), Pile()])
    model.save(tmp_path / "model.keras")
    copied.clear(), lost.clear()
    again = keras.models.load_model(tmp_path / "model.keras")
    cells = [
        layer.cell
        for rnn in again.layers[-1].rnns
        for layer in (rnn.forward_layer, rnn.backward_layer)
    ]
    assert len({id(cell) for cell in cells}) == 6
    assert len(copied) >= 3 and lost == [0]
    x = values(BATCH, TIME, FEATURES)
    np.testing.assert_allclose(again(x), model(x), rtol=1e-6)
    gc.collect()
    assert not any(layer() for layer in copied)  # nor are they kept for longer


def test_saved_models_load_in_another_process(tmp_path):
    """Every cell, a stack, zoneout, shorthands and Bidirectional, without custom_objects."""
    sequence = keras.Input([None, FEATURES])
    mask = keras.Input([None], dtype="bool")
    layers = {
        name: keras_rnn.FusedRNN(keras_rnn.make_cell(name, UNITS)) for name in keras_rnn.CELLS
    }
    layers["zoneout"] = keras_rnn.FusedRNN(
        keras_rnn.ZoneoutCell(keras_rnn.LSTMCell(UNITS), rates=(0.1, 0.2))
    )
    layers["stack"] = keras_rnn.FusedRNN([keras_rnn.LSTMCell(UNITS), keras_rnn.GRUCell(UNITS)])
    layers["lstm shorthand"] = keras_rnn.LSTM(UNITS, recurrent_dropout=0.2, seed=1)
    layers["gru shorthand"] = keras_rnn.GRU(UNITS, reset_after=True, go_backwards=True)
    layers["bidirectional"] = keras.layers.Bidirectional(keras_rnn.GRU(UNITS), merge_mode="sum")
    layers["stock loop"] = keras.layers.RNN(keras_rnn.LSTMCell(UNITS))
    outputs = [layer(sequence, mask=mask) for layer in layers.values()]
    model = keras.Model([sequence, mask], outputs)
    for number, weight in enumerate(model.weights):
        if "seed" not in weight.name:
            weight.assign(values(*weight.shape, seed=number))
    inputs = [
        values(BATCH, TIME, FEATURES).astype("float32"),
        make_mask("holes", BATCH, TIME),
    ]
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "inputs.npz", *inputs)
    np.savez(tmp_path / "model.npz", *model(inputs))
    # A SavedModel needs no class of ours.
    part = keras.Model(model.inputs, outputs[-3:])
    np.savez(tmp_path / "exported.npz", *part(inputs))
    signature = [tf.TensorSpec([None, None, FEATURES]), tf.TensorSpec([None, None], tf.bool)]
    holder = tf.Module()
    holder.part = part
    holder.call = tf.function(lambda x, mask: part([x, mask]), input_signature=signature)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(holder, str(tmp_path / "exported"), options=options)
    script = """
import sys, numpy as np
folder, how = sys.argv[1:]
inputs, expected = np.load(folder + "/inputs.npz"), np.load(folder + f"/{how}.npz")
inputs = [inputs[name] for name in inputs.files]
if how == "model":
    import keras, keras_rnn
    results = keras.models.load_model(folder + "/model.keras")(inputs)
else:
    import tensorflow as tf
    loaded = tf.saved_model.load(folder + "/exported")
    results = loaded.call(*inputs)
    assert "keras_rnn" not in sys.modules
for result, name in zip(results, expected.files, strict=True):
    np.testing.assert_allclose(result, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
print("equal")
"""
    for how in ("model", "exported"):
        answer = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), how],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert answer.stdout.strip() == "equal", answer.stderr


@pytest.mark.parametrize("every, mode", [(True, "graph"), (2, "xla"), (1, "eager"), (99, "eager")])
def test_rematerialized_equals_kept(every, mode):
    cell = make_cell("peephole_lstm", UNITS, FEATURES, "float64")
    options = dict(return_sequences=True, return_state=True, return_extras=True)
    kept = keras_rnn.FusedRNN(cell, **options)
    again = keras_rnn.FusedRNN(cell, rematerialize=every, **options)
    x, mask = values(BATCH, TIME, FEATURES), make_mask("holes", BATCH, TIME)
    states = [values(*shape, seed=5 + i) for i, shape in enumerate(state_shapes(kept, BATCH))]
    expected = differentiate(kept, x, mask, states)
    assert_equal(
        differentiate(again, x, mask, states, mode=mode, dynamic=mode == "graph"), expected
    )


class SpikingCell(keras_rnn.StandardCell):
    """What is multiplied by its recurrent weight are ones and zeros, of a type of the caller's choice."""

    def __init__(self, units, kind, **kwargs):
        super().__init__(units, **kwargs)
        self.kind = kind

    def step(self, projected, states, dot, memory=None):
        spikes = ops.cast(states[0] > 0, self.kind)
        return [ops.tanh(projected + dot(spikes, self.recurrent_kernel))], {}


@pytest.mark.parametrize("kind", ["int32", "bool", "float32"])
def test_products_with_integers_are_those_with_their_numbers(kind):
    cell = SpikingCell(UNITS, kind)
    x = values(BATCH, TIME, FEATURES).astype("float32")
    results = []
    for layer in (keras_rnn.FusedRNN(cell), keras.layers.RNN(cell)):
        with tf.GradientTape() as tape:
            outputs = layer(x)
        results.append([outputs, *tape.gradient(outputs, cell.trainable_weights)])
    for ours, theirs in zip(*results, strict=True):
        assert np.abs(theirs).max() > 0
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("make", [keras_rnn.LSTM, keras_rnn.GRU])
def test_integers_are_read_as_numbers(make, training, kind):
    layer = make(UNITS)
    x = np.random.default_rng(0).integers(2, size=[BATCH, TIME, FEATURES]).astype(kind)
    np.testing.assert_array_equal(layer(x, training=training), layer(x.astype("float32")))


@pytest.mark.parametrize("nest", [tuple, list, dict])
def test_a_memory_of_several_tensors_reaches_the_step_as_it_is(nest):
    class Reader(SpikingCell):
        def step(self, projected, states, dot, memory=None):
            if nest is dict:
                memory = memory["gain"], memory["shift"]
            gain, shift = memory
            return [ops.tanh(gain * projected + shift + states[0])], {}

    gain, shift = (values(BATCH, UNITS, seed=seed).astype("float32") for seed in (1, 2))
    memory = {"gain": gain, "shift": shift} if nest is dict else nest([gain, shift])
    cell = Reader(UNITS, "float32")
    x = values(BATCH, TIME, FEATURES).astype("float32")
    a = np.zeros([BATCH, UNITS])
    outputs = keras_rnn.FusedRNN(cell)(x, memory=memory)
    for t in range(TIME):
        a = np.tanh(gain * (x[:, t] @ np.asarray(cell.kernel)) + shift + a)
    np.testing.assert_allclose(outputs, a, atol=1e-5)


@keras.saving.register_keras_serializable(package="test_rnn")
class LayeredCell(keras_rnn.Cell):
    """Its equations use a layer of Keras, which may be built before the first step or by it."""

    def __init__(self, units, builds=True, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units
        self.builds = builds
        self.dense = keras.layers.Dense(units, dtype=self.dtype_policy, name="dense")

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        if self.builds:
            self.dense.build((None, 2 * self.units))

    def project(self, x, dot, training=False):
        return dot(x, self.kernel)

    def step(self, projected, states, dot, memory=None):
        return [ops.tanh(self.dense(ops.concatenate([projected, states[0]], axis=-1)))], {}

    def get_config(self):
        return {**super().get_config(), "units": self.units, "builds": self.builds}


def test_layers_within_a_cell_that_it_leaves_unbuilt_are_named(capsys):
    assert not keras_rnn.check_cell(LayeredCell(UNITS, builds=False))
    assert capsys.readouterr().out == (
        "LayeredCell: build: leaves 'dense' unbuilt, so that a loaded model loses its weights\n"
    )


@pytest.mark.parametrize("builds", [True, False])
def test_layers_within_a_cell_are_built_and_trained(builds):
    x = values(BATCH, TIME, FEATURES).astype("float32")
    cell = LayeredCell(UNITS, builds, name="cell")
    model = keras.Sequential([keras_rnn.FusedRNN(cell)])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=True)
    model.fit(x, np.ones([BATCH, UNITS]), verbose=0)
    before = [np.array(weight.value) for weight in cell.weights]
    assert [part.shape for part in before] == [(FEATURES, UNITS), (2 * UNITS, UNITS), (UNITS,)]
    model.fit(x, np.ones([BATCH, UNITS]), verbose=0)
    assert all((part != weight.value).numpy().any() for part, weight in zip(before, cell.weights))


def test_the_shape_of_the_inputs_may_be_given():
    with pytest.warns(UserWarning, match="input_shape"):
        model = keras.Sequential([keras_rnn.LSTM(UNITS, input_shape=(TIME, FEATURES))])
    assert model.built and model.output_shape == (None, UNITS)


@pytest.mark.parametrize("steps", [0, -1, 2.5])
def test_chunks_are_whole_steps(steps):
    with pytest.raises(
        ValueError, match=f"rematerialize must be a number of time steps.*got {steps}"
    ):
        keras_rnn.FusedRNN(keras_rnn.GRUCell(UNITS), rematerialize=steps)


def test_a_variable_of_nobody_in_a_step_is_told_of():
    outside = keras.Variable(np.ones(UNITS, "float32"))

    class Careless(SpikingCell):
        def step(self, projected, states, dot, memory=None):
            return [ops.tanh(projected + outside * states[0])], {}

    x = values(BATCH, TIME, FEATURES).astype("float32")
    with pytest.raises(ValueError, match="variable that is no weight of its cell"):
        keras_rnn.FusedRNN(Careless(UNITS, "float32"))(x)
