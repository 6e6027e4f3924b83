"""The fused loop with cells that a user might write: gradients by finite differences, and limits."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_rnn
from keras_rnn import scans
from tests.comparing import (
    MODES,
    assert_equal,
    build_randomly,
    differentiate,
    make_cell,
    make_mask,
    state_shapes,
    stock,
    values,
)

BATCH, TIME, FEATURES, UNITS = 4, 5, 3, 4


class PlainCell(keras_rnn.Cell):
    """Knows nothing of `dot`, and reads vectors and a scalar as attributes."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")
        self.decay = self.add_weight(shape=(self.units,), name="decay")
        self.scale = self.add_weight(shape=(), name="scale")

    def project(self, x, dot, training=False):
        return ops.matmul(x, self.kernel)

    def step(self, projected, states, dot, memory=None):
        (a_prev,) = states
        hidden = ops.tanh(projected + ops.matmul(a_prev, self.recurrent))
        return [self.decay * a_prev + self.scale * hidden], {"hidden": hidden}


class MixedCell(PlainCell):
    """Multiplies by one weight in `dot`, by blocks of it, and outside of `dot`, all in one step."""

    def step(self, projected, states, dot, memory=None):
        (a_prev,) = states
        half = self.units // 2
        first = dot(a_prev, self.recurrent, columns=slice(half))
        again = dot(a_prev, self.recurrent, columns=slice(1, 1 + half))
        deep = dot(ops.tanh(dot(a_prev * self.decay, self.recurrent)), self.recurrent)
        both = ops.concatenate([first, again], axis=-1) + ops.matmul(deep, self.recurrent)
        return [ops.tanh(projected + both) * self.scale], {}


class LayeredCell(keras_rnn.Cell):
    """Holds other layers, projects to a nest, and keeps a state of two axes and an integer count."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.output_size = units
        self.state_size = [units, (2, 3), 1]
        self.norm = keras.layers.LayerNormalization(dtype=self.dtype_policy)
        self.dense = keras.layers.Dense(6, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")
        self.norm.build((None, self.units))
        self.dense.build((None, self.units))

    def project(self, x, dot, training=False):
        return {"product": dot(x, self.kernel), "pair": [x[..., :1], ops.square(x[..., 1:2])]}

    def step(self, projected, states, dot, memory=None):
        a_prev, table, count = states
        gate = ops.sigmoid(projected["pair"][0] - projected["pair"][1])
        a = self.norm(projected["product"] + dot(gate * a_prev, self.recurrent))
        update = ops.reshape(self.dense(a), (-1, 2, 3))
        table = 0.5 * table + update * ops.expand_dims(ops.tanh(count), -1)
        a = a + ops.sum(table, axis=(1, 2))[:, None]
        return [a, table, count + 0.25], {"gate": gate}


USERS_CELLS = {"plain": PlainCell, "mixed": MixedCell, "layered": LayeredCell}
USERS_WAYS = [("none", "eager"), ("holes", "graph"), ("holes", "xla")]


def make_users_cell(name, dtype="float64", **options):
    cell = USERS_CELLS[name](UNITS, dtype=dtype, **options)
    build_randomly(cell, FEATURES)
    return cell


def state_values(layer):
    return [values(*shape, seed=5 + i) for i, shape in enumerate(state_shapes(layer, BATCH))]


@pytest.mark.parametrize(
    "name, mask_name, mode",
    [
        *[(name, mask, mode) for name in USERS_CELLS for mask, mode in USERS_WAYS],
        ("plain", "none", "xla"),
    ],
)
def test_a_users_cell_equals_the_stock_loop(name, mask_name, mode):
    cell = make_users_cell(name)
    x, mask = values(BATCH, TIME, FEATURES), make_mask(mask_name, BATCH, TIME)
    options = dict(return_sequences=True, return_state=True)
    fused = keras_rnn.FusedRNN(cell, **options)
    states = state_values(fused)
    expected = differentiate(stock(cell, **options), x, mask, states)
    actual = differentiate(fused, x, mask, states, mode=mode, dynamic=mode == "graph")
    assert_equal(actual, expected)


def directional_error(function, sources, step=1e-5):
    """The largest relative gap between the tape's slope and a finite difference, over sources."""
    with tf.GradientTape() as tape:
        value = function()
    worst = 0.0
    for number, (source, gradient) in enumerate(
        zip(sources, tape.gradient(value, sources), strict=True)
    ):
        direction = values(*source.shape, seed=60 + number)
        start = source.numpy()
        source.assign(start + step * direction)
        above = function().numpy()
        source.assign(start - step * direction)
        below = function().numpy()
        source.assign(start)
        slope = np.sum(gradient * direction)
        worst = max(worst, abs((above - below) / (2 * step) - slope) / max(1.0, abs(slope)))
    return worst


@pytest.mark.parametrize("name", [*keras_rnn.CELLS, *USERS_CELLS, "zoneout"])
def test_gradients_are_finite_differences(name):
    """Of outputs, states and extras together, in x, every state and every weight."""
    if name in USERS_CELLS:
        cell = make_users_cell(name)
    else:
        cell = make_cell(name, UNITS, FEATURES, "float64")
    layer = keras_rnn.FusedRNN(cell, return_sequences=True, return_state=True, return_extras=True)
    x = tf.Variable(values(BATCH, TIME, FEATURES))
    states = [tf.Variable(state) for state in state_values(layer)]
    mask = make_mask("holes", BATCH, TIME)
    layer(x, initial_state=[tf.identity(state) for state in states])

    @tf.function
    def function():
        results = layer(
            tf.identity(x), initial_state=[tf.identity(state) for state in states], mask=mask
        )
        return tf.add_n(
            [
                tf.reduce_sum(result * values(*result.shape, seed=30 + i))
                for i, result in enumerate(tf.nest.flatten(results))
            ]
        )

    sources = [x, *states, *[weight.value for weight in layer.trainable_variables]]
    assert directional_error(function, sources) < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_extras_are_those_of_the_step_and_differentiable(mode):
    cell = make_users_cell("plain")
    layer = keras_rnn.FusedRNN(cell, return_sequences=True, return_extras=True)
    x, mask = values(BATCH, TIME, FEATURES), make_mask("holes", BATCH, TIME)

    def unrolled(x):
        (state,) = cell.get_initial_state(BATCH)
        hidden = []
        for t in range(TIME):
            (new,), extras = cell.step(cell.project(x[:, t], None), [state], None)
            state = tf.where(mask[:, t, None], new, state)
            hidden.append(tf.where(mask[:, t, None], extras["hidden"], 0.0))
        return tf.stack(hidden, 1)

    probe = values(BATCH, TIME, UNITS, seed=8)
    variables = [weight.value for weight in cell.trainable_variables]

    def gradients(hidden_of):
        def compute(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                hidden = hidden_of(x)
                loss = tf.reduce_sum(hidden * probe)
            return [hidden, *tape.gradient(loss, [x, *variables])]

        return compute

    expected = gradients(unrolled)(tf.constant(x))
    ours = gradients(lambda x: layer(x, mask=mask)[1]["hidden"])
    if mode != "eager":
        ours = tf.function(ours, jit_compile=mode == "xla")
    for actual, wanted in zip(ours(tf.constant(x)), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("frozen", ["recurrent", "kernel", "decay"])
def test_frozen_weights_get_no_gradient_and_disturb_no_other(frozen):
    x = values(BATCH, TIME, FEATURES)
    cell = make_users_cell("mixed")
    layer = keras_rnn.FusedRNN(cell)
    everything = differentiate(layer, x).gradients
    getattr(cell, frozen).trainable = False
    rest = differentiate(layer, x).gradients
    path = getattr(cell, frozen).path
    assert set(everything) - set(rest) == {path}
    for name, gradient in rest.items():
        np.testing.assert_allclose(gradient, everything[name], rtol=1e-12)
    with tf.GradientTape() as tape:
        tape.watch(getattr(cell, frozen).value)
        loss = tf.reduce_sum(layer(x))
    gradient = tape.gradient(loss, getattr(cell, frozen).value)
    # Only the projection, outside of the loop, may answer a tape that asks for it.
    assert gradient is None or frozen == "kernel"
    # A whole layer may be frozen, and thawed.
    layer.trainable = False
    assert set(differentiate(layer, x).gradients) == {"x"}
    layer.trainable = True
    getattr(cell, frozen).trainable = True
    assert set(differentiate(layer, x).gradients) == set(everything)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_dot_takes_a_weight_and_an_operand_of_other_precisions(policy):
    """As the plain product does: the result has the precision of the operand."""

    class WideCell(keras_rnn.SimpleRNNCell):
        def build(self, input_shape):
            super().build(input_shape)
            self.wide = self.add_weight(shape=(UNITS, UNITS), name="wide", autocast=False)

        def step(self, projected, states, dot, memory=None):
            (a_prev,) = states
            a = projected + dot(a_prev, self.wide)
            return [ops.tanh(a + ops.cast(dot(ops.cast(a, "float32"), self.wide), a.dtype))], {}

    cell = WideCell(UNITS, dtype=policy)
    x = values(BATCH, TIME, FEATURES)
    fused = keras_rnn.FusedRNN(cell, return_sequences=True)
    fused.build(x.shape)
    ours = differentiate(fused, x).arrays()
    theirs = differentiate(stock(cell, return_sequences=True), x).arrays()
    assert ours.keys() == theirs.keys() and any("wide" in name for name in ours)
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=0.1, atol=0.1, err_msg=name)


def test_dot_refuses_every_other_column():
    class GappyCell(keras_rnn.SimpleRNNCell):
        def step(self, projected, states, dot, memory=None):
            return [
                projected + dot(states[0], self.recurrent_kernel, columns=slice(0, None, 2))
            ], {}

    with pytest.raises(ValueError, match="lie side by side, not every 2th"):
        keras_rnn.FusedRNN(GappyCell(UNITS))(values(BATCH, TIME, FEATURES))


def test_an_echo_state_network_costs_no_weight_gradients():
    """Its backward graph lacks the two products over all time steps that an Elman network's has: of each kernel."""

    def products(name):
        cell = make_cell(name, UNITS, FEATURES, "float32")
        layer = keras_rnn.FusedRNN(cell)
        layer.build((None, None, FEATURES))

        @tf.function
        def compute(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(layer(x))
            return tape.gradient(loss, [x, *[w.value for w in layer.trainable_variables]])

        graph = compute.get_concrete_function(tf.TensorSpec([BATCH, TIME, FEATURES])).graph
        nodes = list(graph.as_graph_def().node)
        for function in graph.as_graph_def().library.function:
            nodes.extend(function.node_def)
        return sum(node.op in ("MatMul", "BatchMatMulV2") for node in nodes)

    assert products("simple_rnn") - products("esn") == 2


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_second_derivatives_are_refused(mode):
    layer = keras_rnn.FusedRNN(make_cell("gru", UNITS, FEATURES))
    x = tf.constant(values(BATCH, TIME, FEATURES), tf.float32)
    layer(x)

    def compute(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(layer(x))
            slope = tf.reduce_sum(inner.gradient(loss, x) ** 2)
        return outer.gradient(slope, x)

    with pytest.raises(NotImplementedError, match="keras.layers.RNN"):
        (tf.function(compute) if mode == "graph" else compute)(x)


@pytest.mark.parametrize(
    "mode, dynamic, masked, return_sequences",
    [
        *itertools.product(["eager"], [False], [False, True], [False, True]),
        *itertools.product(["graph"], [False, True], [False, True], [False, True]),
        ("xla", False, False, True),
        ("xla", True, False, False),
        ("xla", True, True, True),
    ],
)
def test_no_time_steps(mode, dynamic, masked, return_sequences):
    """Outputs are 0, states stay, and gradients pass through the states alone."""
    cell = make_cell("lstm", UNITS, FEATURES, "float64")
    states = [values(BATCH, UNITS, seed=5), values(BATCH, UNITS, seed=6)]
    x, mask = values(BATCH, 0, FEATURES), np.zeros([BATCH, 0], bool) if masked else None
    layer = keras_rnn.FusedRNN(cell, return_sequences=return_sequences, return_state=True)
    layer.build((BATCH, None, FEATURES))
    shape = [BATCH, 0, UNITS] if return_sequences else [BATCH, UNITS]
    cotangents = [values(*shape), *states[::-1]]
    result = differentiate(
        layer, x, mask, states, mode=mode, dynamic=dynamic, cotangents=cotangents
    )
    outputs, a, c = result.values.values()
    np.testing.assert_array_equal(outputs, np.zeros(shape))
    np.testing.assert_array_equal([a, c], states)
    np.testing.assert_array_equal(result.gradients["state 0"], states[1])
    np.testing.assert_array_equal(result.gradients["state 1"], states[0])
    for name, gradient in result.gradients.items():
        assert name.startswith("state") or np.all(gradient == 0)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_no_rows(name):
    layer = keras_rnn.FusedRNN(make_cell(name, UNITS, FEATURES), return_sequences=True)
    result = differentiate(layer, values(0, TIME, FEATURES), np.zeros([0, TIME], bool))
    assert result.values["result 0"].shape == (0, TIME, UNITS)
    for name, gradient in result.gradients.items():
        assert name == "x" or np.all(gradient == 0)


def test_gradients_of_some_of_the_results():
    """Whoever uses only the last c, or only the outputs, gets the gradient of that."""
    cell = make_cell("lstm", UNITS, FEATURES, "float64")
    x = values(BATCH, TIME, FEATURES)
    options = dict(return_sequences=True, return_state=True)
    for part in range(3):
        gradients = []
        for layer in (stock(cell, **options), keras_rnn.FusedRNN(cell, **options)):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(x)[part] ** 2)
            sources = [weight.value for weight in layer.trainable_variables]
            gradients.append(tape.gradient(loss, sources))
        for ours, theirs in zip(*gradients, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_cell_that_two_layers_share():
    """One cell in two layers of one model: gradients add up."""
    cell = make_cell("gru", UNITS, UNITS, "float64")
    x = values(BATCH, TIME, UNITS)
    results = []
    for make in (stock, keras_rnn.FusedRNN):
        layers = [make(cell, return_sequences=True), make(cell, go_backwards=True)]
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layers[1](layers[0](x)) ** 2)
        results.append(tape.gradient(loss, [weight.value for weight in cell.trainable_variables]))
    for ours, theirs in zip(*reversed(results), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_weights_stay_variables_after_tracing():
    """The substitution of weights inside the loop leaves nothing behind on the cell."""
    cell = make_users_cell("plain", "float32")
    layer = keras_rnn.FusedRNN(cell)
    x = values(BATCH, TIME, FEATURES).astype("float32")
    compute = tf.function(layer)
    before = np.asarray(compute(x))
    cell.recurrent.assign(2 * cell.recurrent)
    assert not np.allclose(before, compute(x))
    np.testing.assert_allclose(compute(x), stock(cell)(x), rtol=1e-5, atol=1e-6)
    assert isinstance(cell.recurrent, keras.Variable)


def test_state_shapes_helper_matches_the_layers_states():
    layer = keras_rnn.FusedRNN(make_cell("lstm", UNITS, FEATURES))
    initial = layer.get_initial_state(BATCH)
    assert [tuple(state.shape) for state in initial] == state_shapes(layer, BATCH)


def test_dropout_falls_on_operands_as_wide_as_its_mask():
    kernel = tf.ones([4, 2])
    dot = scans.dropping(scans.product, tf.zeros([2, 3]))
    np.testing.assert_array_equal(dot(tf.ones([2, 4]), kernel), [[4, 4], [4, 4]])
    np.testing.assert_array_equal(dot(tf.ones([2, 3]), kernel[:3]), [[0, 0], [0, 0]])


def test_extras_of_no_time_steps():
    layer = keras_rnn.FusedRNN(keras_rnn.GRUCell(UNITS), return_extras=True)
    _, extras = layer(tf.zeros([BATCH, 0, FEATURES]))
    assert extras["gamma_u"].shape == (BATCH, 0, UNITS)


def test_without_a_gradient_the_states_of_no_time_steps_are_the_first_ones():
    layer = keras_rnn.FusedRNN(keras_rnn.SimpleRNNCell(UNITS), return_state=True)
    layer.build([BATCH, None, FEATURES])
    first = tf.fill([BATCH, UNITS], 0.5)
    with scans.forward_only():
        run = tf.function(
            lambda x: layer(x, initial_state=[first]),
            input_signature=[tf.TensorSpec([BATCH, None, FEATURES])],
        )
        _, state = run(tf.zeros([BATCH, 0, FEATURES]))
    np.testing.assert_array_equal(state, first)


def test_gradients_of_half_precision_are_summed_in_float32():
    """In bfloat16 a sum of ones ends at 256."""
    weight = keras.Variable(1.0, dtype="bfloat16")

    def step(projected, states, dot, memory=None):
        return [projected + tf.convert_to_tensor(weight)], {}

    @tf.function(autograph=False)
    def gradient(projected):
        value = tf.convert_to_tensor(weight)
        with tf.GradientTape() as tape:
            tape.watch(value)
            scanned = scans.scan(step, projected, [projected[0]], [(weight, value)])
            total = tf.reduce_sum(tf.cast(scanned.outputs, tf.float32))
        return tape.gradient(total, value)

    assert float(gradient(tf.zeros([1024, 1, 1], tf.bfloat16))) == 1024


@pytest.mark.parametrize("training", [False, True])
def test_states_keep_the_precision_of_the_cell(training):
    class WideStepCell(keras_rnn.SimpleRNNCell):
        def step(self, projected, states, dot, memory=None):
            (a,), _ = super().step(projected, states, dot)
            return [tf.cast(a, tf.float32)], {}

    layer = keras_rnn.FusedRNN(WideStepCell(UNITS, dtype="mixed_bfloat16"), return_sequences=True)
    assert layer(values(BATCH, TIME, FEATURES), training=training).dtype == tf.bfloat16
