"""Attention against NumPy in float64 and brute force; masks, precision, saving."""

import itertools
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rnn.attention import (
    AttentionPooling,
    BahdanauAttention,
    LocationAttention,
    LuongAttention,
    StructuredSelfAttention,
    masked_softmax,
)

BATCH, TIME, FEATURES, QUERY_FEATURES, UNITS = 4, 5, 6, 3, 7

MASKS = {
    "none": None,
    "right": np.arange(TIME)[None] < np.array([[5], [3], [1], [2]]),
    "left": np.arange(TIME)[None] >= np.array([[0], [2], [4], [1]]),
    "holes": np.array([[1, 0, 1, 0, 1], [0, 1, 0, 1, 0], [1, 1, 0, 0, 1], [0, 0, 1, 0, 0]], bool),
    "empty rows": np.array(
        [[0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1]], bool
    ),
}


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def softmax(scores, mask):
    """The definition, one row at a time."""
    result = np.zeros_like(scores)
    for place in np.ndindex(scores.shape[:-1]):
        real = np.ones(scores.shape[-1], bool) if mask is None else mask[place[0]]
        if real.any():
            powers = np.exp(scores[place][real] - scores[place][real].max())
            result[place][real] = powers / powers.sum()
    return result


def weights_of(layer):
    return {weight.name: np.asarray(weight, "float64") for weight in layer.weights}


def pooling_reference(weights, h, mask):
    u = np.tanh(h @ weights["kernel"] + weights["bias"])
    alpha = softmax(u @ weights["context_vector"], mask)
    return np.einsum("bt,btf->bf", alpha, h), alpha


def structured_reference(weights, h, mask):
    hidden = np.tanh(np.einsum("fu,btf->but", weights["kernel"], h))
    alpha = softmax(np.einsum("ur,but->brt", weights["row_kernel"], hidden), mask)
    return alpha @ h, alpha


def alignment_reference(layer, weights, query, memory, mask):
    """Every score written as a loop over (example, target position, source position)."""
    squeezed = query.ndim == 2
    query = query[:, None] if squeezed else query
    scores = np.zeros([query.shape[0], query.shape[1], memory.shape[1]])
    for b, t, j in np.ndindex(scores.shape):
        s, h = query[b, t], memory[b, j]
        if "score_vector" in weights:
            hidden = np.tanh(s @ weights["query_kernel"] + h @ weights["memory_kernel"])
            scores[b, t, j] = weights["score_vector"] @ hidden
        elif "memory_kernel" in weights:
            scores[b, t, j] = s @ (h @ weights["memory_kernel"])
        else:
            scores[b, t, j] = s @ h
    alpha = softmax(scores, mask)
    context = np.einsum("btj,bjf->btf", alpha, memory)
    return (context[:, 0], alpha[:, 0]) if squeezed else (context, alpha)


ALIGNMENTS = {
    "bahdanau": lambda **options: BahdanauAttention(UNITS, **options),
    "luong dot": lambda **options: LuongAttention(FEATURES, score="dot", **options),
    "luong general": lambda **options: LuongAttention(QUERY_FEATURES, score="general", **options),
    "luong concat": lambda **options: LuongAttention(UNITS, score="concat", **options),
}
SELF_ATTENTIONS = {
    "pooling": lambda **options: AttentionPooling(UNITS, **options),
    "structured": lambda **options: StructuredSelfAttention(UNITS, rows=3, **options),
}


def make_query(name, rank):
    features = FEATURES if name == "luong dot" else QUERY_FEATURES
    return values(BATCH, *([2] if rank == 3 else []), features, seed=1)


def call_compiled(layer, *inputs, jit_compile=False, **options):
    return tf.function(lambda *tensors: layer(*tensors, **options), jit_compile=jit_compile)(
        *inputs
    )


def randomize(layer):
    """Biases start at zero, where an error in them does not show."""
    for number, weight in enumerate(layer.weights):
        weight.assign(values(*weight.shape, seed=10 + number))


@pytest.mark.parametrize("mask_name", MASKS)
@pytest.mark.parametrize("name", SELF_ATTENTIONS)
def test_self_attention_is_its_equation(name, mask_name):
    layer, h, mask = SELF_ATTENTIONS[name](dtype="float64"), values(BATCH, TIME, FEATURES), None
    mask = MASKS[mask_name]
    layer.build(h.shape)
    randomize(layer)
    reference = {"pooling": pooling_reference, "structured": structured_reference}[name]
    expected, expected_alpha = reference(weights_of(layer), h, mask)
    for jit_compile in (False, True):
        pooled, alpha = call_compiled(
            layer, h, mask=mask, return_weights=True, jit_compile=jit_compile
        )
        np.testing.assert_allclose(pooled, expected, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(alpha, expected_alpha, rtol=1e-12, atol=1e-13)
        if mask is not None:
            shaped = mask if name == "pooling" else np.repeat(mask[:, None], 3, 1)
            assert np.all(np.asarray(alpha)[~shaped] == 0)
    np.testing.assert_allclose(layer(h, mask=mask), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("mask_name", MASKS)
@pytest.mark.parametrize("name", ALIGNMENTS)
def test_alignment_is_its_equation(name, mask_name, rank):
    layer, mask = ALIGNMENTS[name](dtype="float64"), MASKS[mask_name]
    query, memory = make_query(name, rank), values(BATCH, TIME, FEATURES)
    layer.build(query.shape, memory.shape)
    randomize(layer)
    expected, expected_alpha = alignment_reference(layer, weights_of(layer), query, memory, mask)
    context, alpha = layer(query, memory, mask=mask, return_weights=True)
    np.testing.assert_allclose(context, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(alpha, expected_alpha, rtol=1e-12, atol=1e-13)
    compiled = call_compiled(layer, query, memory, mask=mask, jit_compile=True)
    np.testing.assert_allclose(compiled, expected, rtol=1e-12, atol=1e-13)
    real_rows = np.ones(BATCH, bool) if mask is None else mask.any(1)
    totals = np.asarray(alpha).sum(-1)
    np.testing.assert_allclose(totals[real_rows], 1, rtol=1e-12)
    assert np.all(totals[~real_rows] == 0)


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_attend_with_keys_made_once_and_a_dot_from_outside(name):
    layer, query, memory = ALIGNMENTS[name](), make_query(name, 2), values(BATCH, TIME, FEATURES)
    query, memory = query.astype("float32"), memory.astype("float32")
    mask = MASKS["right"]
    expected, expected_alpha = layer(query, memory, mask=mask, return_weights=True)
    products = []

    def dot(operand, variable):
        products.append(variable.name)
        return keras.ops.matmul(operand, variable)

    keys = layer.keys(memory, dot)
    made_once = list(products)
    for _ in range(2):
        context, alpha = layer.attend(query, tf.constant(memory), keys, mask, dot)
        np.testing.assert_allclose(context, expected, rtol=1e-6)
        np.testing.assert_allclose(alpha, expected_alpha, rtol=1e-6)
    assert made_once == ([] if name == "luong dot" else ["memory_kernel"])
    per_step = ["query_kernel"] if name in ("bahdanau", "luong concat") else []
    assert products == made_once + 2 * per_step


def test_structured_penalty_by_brute_force():
    layer = StructuredSelfAttention(UNITS, rows=3, penalty=0.7, dtype="float64")
    h, mask = values(BATCH, TIME, FEATURES), MASKS["empty rows"]
    _, alpha = layer(h, mask=mask, return_weights=True)
    alpha, by_row = np.asarray(alpha), []
    for b in range(BATCH):
        total = 0.0
        for p, q in itertools.product(range(3), repeat=2):
            total += (alpha[b, p] @ alpha[b, q] - (p == q)) ** 2
        if mask[b].any():
            by_row.append(total)
    np.testing.assert_allclose(layer.losses, [0.7 * np.mean(by_row)], rtol=1e-12)
    without = StructuredSelfAttention(UNITS, rows=3)
    without(h)
    assert without.losses == []
    all_masked = StructuredSelfAttention(UNITS, rows=3, penalty=1.0)
    all_masked(h, mask=np.zeros([BATCH, TIME], bool))
    assert all_masked.losses == [0.0]


def all_attentions():
    return [*SELF_ATTENTIONS, *ALIGNMENTS]


def make_layer_and_inputs(name, dtype, rank=2):
    if name in SELF_ATTENTIONS:
        return SELF_ATTENTIONS[name](dtype=dtype), [values(BATCH, TIME, FEATURES)]
    return ALIGNMENTS[name](dtype=dtype), [make_query(name, rank), values(BATCH, TIME, FEATURES)]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", all_attentions())
def test_empty_rows_and_nan_padding_give_zero_context_and_finite_gradients(
    name, dtype, jit_compile
):
    layer, inputs = make_layer_and_inputs(name, dtype)
    layer.build(*[tensor.shape for tensor in inputs])
    mask = MASKS["empty rows"]
    memory = np.where(mask[..., None], inputs[-1], np.nan)
    inputs = [tf.constant(tensor, layer.compute_dtype) for tensor in [*inputs[:-1], memory]]

    @tf.function(jit_compile=jit_compile)
    def run(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            context, alpha = layer(*inputs, mask=mask, return_weights=True)
            loss = tf.reduce_sum(tf.cast(context, tf.float32) ** 2) + tf.reduce_sum(
                tf.cast(alpha, tf.float32) ** 2
            )
        sources = [*inputs, *layer.trainable_variables]
        return context, alpha, tape.gradient(loss, sources)

    context, alpha, gradients = run(inputs)
    context, alpha = np.asarray(context, "float64"), np.asarray(alpha, "float64")
    assert np.isfinite(context).all() and np.isfinite(alpha).all()
    assert np.all(context[~mask.any(1)] == 0)
    assert np.any(context[mask.any(1)] != 0)
    shaped = np.repeat(mask[:, None], 3, 1) if name == "structured" else mask
    assert np.all(alpha[~shaped] == 0)
    for gradient in gradients:
        assert np.isfinite(np.asarray(gradient, "float64")).all()
    assert np.all(np.asarray(gradients[len(inputs) - 1], "float64")[~mask] == 0)


@pytest.mark.parametrize("dtype, tolerance", [("mixed_bfloat16", 4e-2), ("mixed_float16", 5e-3)])
@pytest.mark.parametrize("name", all_attentions())
def test_mixed_precision_is_near_float64_and_softmax_is_float32(name, dtype, tolerance):
    exact, inputs = make_layer_and_inputs(name, "float64")
    exact.build(*[tensor.shape for tensor in inputs])
    mixed, _ = make_layer_and_inputs(name, dtype)
    mixed.build(*[tensor.shape for tensor in inputs])
    mixed.set_weights([0.5 * weight for weight in exact.get_weights()])
    exact.set_weights([0.5 * weight for weight in exact.get_weights()])
    expected, expected_alpha = exact(*inputs, mask=MASKS["holes"], return_weights=True)
    context, alpha = mixed(*inputs, mask=MASKS["holes"], return_weights=True)
    assert context.dtype == mixed.compute_dtype and alpha.dtype == tf.float32
    np.testing.assert_allclose(np.asarray(context, "float64"), expected, atol=tolerance)
    np.testing.assert_allclose(alpha, expected_alpha, atol=tolerance)
    real = MASKS["holes"].any(1)
    np.testing.assert_allclose(np.asarray(alpha)[real].sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("score", ["dot", "general"])
def test_scores_beyond_the_range_of_float16_are_numbers(score, rank):
    exact, rough = (
        LuongAttention(32, score, dtype=policy) for policy in ("float32", "mixed_float16")
    )
    memory = np.full([1, 3, 32], 60.0, "float32") + np.float32([[[0.0], [0.125], [-1.0]]])
    query = memory[:, 0] if rank == 2 else memory[:, :2]
    for layer in (exact, rough):
        layer.build(query.shape, memory.shape)
        layer.set_weights([np.eye(32)] if score == "general" else [])
    (_, wanted), (context, alpha) = (
        layer(query, memory, return_weights=True) for layer in (exact, rough)
    )
    np.testing.assert_allclose(alpha, wanted, atol=1e-6)
    assert context.dtype == tf.float16 and np.isfinite(context).all()


@pytest.mark.parametrize("name", all_attentions())
def test_gradients_equal_finite_differences(name):
    layer, inputs = make_layer_and_inputs(name, "float64", rank=3)
    layer.build(*[tensor.shape for tensor in inputs])
    randomize(layer)
    mask = MASKS["empty rows"]
    probe = values(*layer(*inputs, mask=mask).shape, seed=5)
    sources = [tf.Variable(tensor) for tensor in inputs] + [w.value for w in layer.weights]

    def loss():
        return tf.reduce_sum(
            layer(*[tf.identity(s) for s in sources[: len(inputs)]], mask=mask) * probe
        )

    with tf.GradientTape() as tape:
        value = loss()
    for source, gradient in zip(sources, tape.gradient(value, sources), strict=True):
        direction = values(*source.shape, seed=6)
        start, step = source.numpy(), 1e-5
        source.assign(start + step * direction)
        above = loss().numpy()
        source.assign(start - step * direction)
        below = loss().numpy()
        source.assign(start)
        slope = (above - below) / (2 * step)
        assert math.isclose(slope, np.sum(gradient * direction), rel_tol=1e-6, abs_tol=1e-9)


def test_result_does_not_depend_on_padding():
    layer, h = AttentionPooling(UNITS), values(BATCH, TIME, FEATURES).astype("float32")
    longer = np.concatenate([h, np.full([BATCH, 9, FEATURES], 1e4, "float32")], axis=1)
    mask = np.arange(TIME + 9)[None].repeat(BATCH, 0) < TIME
    np.testing.assert_allclose(layer(h), layer(longer, mask=mask), rtol=1e-6, atol=1e-7)


def test_large_scores_do_not_overflow():
    scores = np.array([[1e4, 1e4, -1e4], [-1e4, -1e4 + 1, 0]], "float32")
    mask = np.array([[True, True, True], [True, True, False]])
    expected = [[0.5, 0.5, 0.0], [1 / (1 + math.e), math.e / (1 + math.e), 0.0]]
    np.testing.assert_allclose(masked_softmax(scores, mask), expected, rtol=1e-6)


@pytest.mark.parametrize("name", all_attentions())
def test_no_time_and_no_rows(name):
    layer, inputs = make_layer_and_inputs(name, "float32")
    layer.build(*[tensor.shape for tensor in inputs])
    no_time = [*inputs[:-1], inputs[-1][:, :0]]
    assert np.all(np.asarray(layer(*no_time)) == 0)
    assert np.all(np.asarray(layer(*no_time, mask=np.zeros([BATCH, 0], bool))) == 0)
    assert layer(*[tensor[:0] for tensor in inputs]).shape[0] == 0


def test_masks_that_tensors_carry_are_used():
    ids = np.array([[3, 4, 0, 0], [5, 0, 0, 0]])
    h = keras.layers.Embedding(9, FEATURES, mask_zero=True)(ids)
    layer = AttentionPooling(UNITS)
    np.testing.assert_array_equal(layer(h, return_weights=True)[1][0, 2:], [0, 0])
    np.testing.assert_allclose(layer(h), layer(h, mask=ids != 0))
    attention = BahdanauAttention(UNITS)
    query = keras.layers.Embedding(9, FEATURES, mask_zero=True)(ids[:, :2])
    context, alpha = attention(query, h, return_weights=True)
    assert np.all(np.asarray(alpha)[np.repeat((ids == 0)[:, None], 2, 1)] == 0)
    # An explicit mask stands over the carried one.
    mask = np.array([[True, False, True, False]] * 2)
    _, alpha = attention(query, h, mask=mask, return_weights=True)
    assert np.all((np.asarray(alpha) > 0) == mask[:, None])
    # The context has the query's time axis, and keeps its mask.
    following = AttentionPooling(UNITS)
    np.testing.assert_allclose(
        following(context), following(tf.constant(context.numpy()), mask=ids[:, :2] != 0)
    )


def test_pooling_takes_further_axes():
    layer, h = AttentionPooling(UNITS), values(2, 3, TIME, FEATURES).astype("float32")
    mask = np.random.default_rng(0).random([2, 3, TIME]) < 0.6
    pooled = layer(h, mask=mask)
    flat = layer(h.reshape(6, TIME, FEATURES), mask=mask.reshape(6, TIME))
    np.testing.assert_allclose(np.reshape(pooled, [6, FEATURES]), flat, rtol=1e-6, atol=1e-7)


def test_symbolic_shapes_with_dynamic_time():
    sequence = keras.Input([None, FEATURES])
    pooled, alpha = AttentionPooling(UNITS)(sequence, return_weights=True)
    assert pooled.shape == (None, FEATURES) and alpha.shape == (None, None)
    assert StructuredSelfAttention(UNITS, 3)(sequence).shape == (None, 3, FEATURES)
    query = keras.Input([None, QUERY_FEATURES])
    context, alpha = BahdanauAttention(UNITS)(query, sequence, return_weights=True)
    assert context.shape == (None, None, FEATURES) and alpha.shape == (None, None, None)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: AttentionPooling(0), "units must be an integer above 0"),
        (lambda: StructuredSelfAttention(3, rows=0), "rows must be"),
        (lambda: StructuredSelfAttention(3, rows=1, penalty=-1.0), "penalty"),
        (lambda: LuongAttention(3, score="cosine"), "dot, general or concat, not 'cosine'"),
        (lambda: LuongAttention(3).build((2, 4), (2, 5, 3)), "query has 4 features"),
        (lambda: LuongAttention(3).build((2, 3), (2, 5, 4)), "memory has 4 features"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_saved_model_loads_in_another_process(tmp_path):
    sequence = keras.Input([None, FEATURES])
    query = keras.Input([QUERY_FEATURES])
    mask = keras.Input([None], dtype="bool")
    regularizer = keras.regularizers.L2(0.01)
    outputs = [
        AttentionPooling(UNITS, kernel_regularizer=regularizer)(sequence, mask=mask),
        StructuredSelfAttention(UNITS, 3, penalty=0.5)(sequence, mask=mask),
        BahdanauAttention(UNITS)(query, sequence, mask=mask),
        LuongAttention(QUERY_FEATURES, "general")(query, sequence, mask=mask),
    ]
    model = keras.Model([sequence, query, mask], outputs)
    inputs = [
        values(BATCH, TIME, FEATURES).astype("float32"),
        make_query("bahdanau", 2).astype("float32"),
        MASKS["holes"],
    ]
    expected = model(inputs)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "inputs.npz", *inputs)
    np.savez(tmp_path / "expected.npz", *expected, np.sum(model.losses))
    script = """
import sys, numpy as np, keras, keras_rnn.attention
folder = sys.argv[1]
model = keras.models.load_model(folder + "/model.keras")
inputs, expected = np.load(folder + "/inputs.npz"), np.load(folder + "/expected.npz")
results = model([inputs[name] for name in inputs.files])
results = [*results, np.sum(model.losses)]
for result, name in zip(results, expected.files, strict=True):
    np.testing.assert_allclose(result, expected[name], rtol=1e-6)
print("equal")
"""
    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert answer.stdout.strip() == "equal", answer.stderr


def test_a_trained_pooling_finds_the_word_that_matters():
    """The answer is a number at the one marked position: its weight must become the largest."""
    generator = np.random.default_rng(0)
    h = generator.normal(size=[1024, 8, 3]).astype("float32")
    place = generator.integers(0, 8, 1024)
    h[..., 0] = 0
    h[np.arange(1024), place, 0] = 2
    answer = h[np.arange(1024), place, 1]
    sequence = keras.Input([8, 3])
    pooling = AttentionPooling(8)
    model = keras.Model(sequence, keras.layers.Dense(1)(pooling(sequence)))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.fit(h, answer, batch_size=64, epochs=15, verbose=0)
    alpha = np.asarray(pooling(h, return_weights=True)[1])
    assert np.mean(alpha.argmax(1) == place) > 0.95


@pytest.mark.parametrize(
    "make",
    [
        AttentionPooling,
        lambda units: StructuredSelfAttention(units, rows=units),
        lambda units: BahdanauAttention(units, coverage=True),
        lambda units: LuongAttention(units, score="concat"),
        lambda units: LocationAttention(units, filters=units),
    ],
)
def test_weights_do_not_begin_alike(make):
    layer, features = make(64), [None, None, 64]
    layer.build(
        *[features] * (1 if isinstance(layer, (AttentionPooling, StructuredSelfAttention)) else 2)
    )
    drawn = [weight.numpy().ravel() for weight in layer.weights if weight.numpy().any()]
    assert len(drawn) > 1
    for one, other in itertools.combinations(drawn, 2):
        size = min(one.size, other.size)
        assert abs(np.corrcoef(one[:size], other[:size])[0, 1]) < 0.6


def test_every_kernel_is_initialized_and_regularized_as_asked_for():
    options = {"kernel_initializer": "ones", "kernel_regularizer": keras.regularizers.L2(1.0)}
    h, query = np.ones([1, 2, 2], "float32"), np.ones([1, 4], "float32")
    pooling, additive = AttentionPooling(3, **options), BahdanauAttention(3, **options)
    pooling(h)
    additive(query, h)
    assert float(sum(pooling.losses)) == 2 * 3 + 3
    assert float(sum(additive.losses)) == 4 * 3 + 2 * 3 + 3


@pytest.mark.parametrize("name", SELF_ATTENTIONS)
def test_what_is_pooled_has_no_mask(name):
    h = keras.layers.Embedding(9, 3, mask_zero=True)(np.array([[1, 2, 0]]))
    assert hasattr(h, "_keras_mask")
    assert getattr(SELF_ATTENTIONS[name]()(h), "_keras_mask", None) is None


def test_location_attention_remembers_the_last_step_alone():
    alpha = tf.constant([[0.2, 0.8]])
    np.testing.assert_array_equal(LocationAttention(3).remember(alpha, tf.ones([1, 2])), alpha)
