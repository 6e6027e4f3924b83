"""The CRF against all paths counted one by one, in every mask; saved, loaded and trained again; long and large."""

import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from pipelines.schemes import check

ROOT = Path(__file__).resolve().parents[2]
TAGS, TIME = 3, 4
# Every mask of four positions: right, left, holes, one position, none.
MASKS = np.array(list(itertools.product([True, False], repeat=TIME)))


def chain(rows=2**TIME, time=TIME, tags=TAGS, seed=0, scale=1.0):
    """Random emissions, transitions, start and end."""
    generator = np.random.default_rng(seed)
    shapes = [(rows, time, tags), (tags, tags), (tags,), (tags,)]
    return [scale * generator.normal(size=shape).astype("float32") for shape in shapes]


def paths(emissions, transitions, start, end, mask):
    """All paths over the real positions of one row, [paths, positions], and their scores, in float64."""
    emissions = np.asarray(emissions, "float64")[np.asarray(mask, bool)]
    tags, positions = len(transitions), len(emissions)
    every = np.array(list(itertools.product(range(tags), repeat=positions)), int)
    every = every.reshape(tags**positions, positions)
    scores = np.zeros(len(every))
    for place in range(positions):
        scores += emissions[place, every[:, place]]
        if place:
            scores += np.asarray(transitions, "float64")[every[:, place - 1], every[:, place]]
    if positions:
        scores += np.asarray(start, "float64")[every[:, 0]] + np.asarray(end)[every[:, -1]]
    return every, scores


def log_sum(scores):
    return np.max(scores) + np.log(np.sum(np.exp(scores - np.max(scores))))


def reference(arrays, masks, tags):
    """Log-likelihoods, and for each argument the gradient of their sum: observed counts less expected ones."""
    likelihoods = []
    gradients = [np.zeros(np.shape(array)) for array in arrays]
    for row, mask in enumerate(masks):
        every, scores = paths(arrays[0][row], *arrays[1:], mask)
        permitted = np.ones(len(every), bool)
        for place, position in enumerate(np.flatnonzero(mask)):
            if np.ndim(tags) == 3:
                permitted &= tags[row, position][every[:, place]]
            else:
                permitted &= every[:, place] == tags[row, position]
        likelihoods.append(log_sum(scores[permitted]) - log_sum(scores))
        for chosen, sign in ((permitted, 1.0), (np.ones(len(every), bool), -1.0)):
            shares = sign * np.exp(scores[chosen] - log_sum(scores[chosen]))
            for path, share in zip(every[chosen], shares, strict=True):
                if not len(path):
                    continue
                positions = np.flatnonzero(mask)
                np.add.at(gradients[0], (row, positions, path), share)
                np.add.at(gradients[1], (path[:-1], path[1:]), share)
                gradients[2][path[0]] += share
                gradients[3][path[-1]] += share
    return np.array(likelihoods), gradients


@functools.cache
def differentiated(compiled):
    """Traced once for all data of the same shapes."""

    @tf.function(jit_compile=compiled)
    def run(emissions, tags, mask, *weights):
        with tf.GradientTape() as tape:
            tape.watch([emissions, weights])
            value = keras_rnn.crf_log_likelihood(tags, emissions, *weights, mask)
            total = tf.reduce_sum(value)
        return value, tape.gradient(total, [emissions, *weights])

    return run


def value_and_gradients(tags, arrays, mask, compiled, known=True):
    """Of tensors whose sizes are known when they are traced, or only when they are there."""
    run = differentiated(compiled)
    emissions, *weights = map(tf.constant, arrays)
    rows = [emissions, tf.constant(tags), None if mask is None else tf.constant(mask)]
    if known:
        return run(*rows, *weights)
    specs = [tf.TensorSpec([None, None, *part.shape[2:]], part.dtype) for part in rows]
    return run.get_concrete_function(*specs, *map(tf.TensorSpec.from_tensor, weights))(
        *rows, *weights
    )


@pytest.mark.parametrize("known", [True, False], ids=["known sizes", "unknown sizes"])
@pytest.mark.parametrize(
    ("observed", "compiled"), [("one tag", False), ("one tag", True), ("several tags", False)]
)
def test_likelihood_and_gradient_in_every_mask(observed, compiled, known):
    arrays = chain()
    generator = np.random.default_rng(1)
    tags = generator.integers(TAGS, size=MASKS.shape)
    if observed == "several tags":
        tags = (generator.random((*MASKS.shape, TAGS)) < 0.4) | (tags[..., None] == range(TAGS))
    value, gradients = value_and_gradients(tags, arrays, MASKS, compiled, known)
    expected, expected_gradients = reference(arrays, MASKS, tags)
    np.testing.assert_allclose(value, expected, atol=1e-5)
    assert value[-1] == 0.0  # The empty row.
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=1e-5)


@pytest.mark.parametrize("spread", [59.0, 61.0, 1000.0, 1e6])
@pytest.mark.parametrize(
    ("compiled", "known"),
    [(False, True), (True, True), (True, False)],
    ids=["graph", "XLA", "XLA, unknown sizes"],
)
def test_transitions_that_lie_far_apart(spread, compiled, known):
    """On both sides of where sums of exponentials give way to log space: the best ways have hardly a competitor."""
    arrays = chain(seed=4)
    arrays[1] = np.array([[0, -1, -0.5], [-1, -0.5, 0], [-0.3, -0.7, -0.9]], "float32") * spread
    tags = np.random.default_rng(1).integers(TAGS, size=MASKS.shape)
    value, gradients = value_and_gradients(tags, arrays, MASKS, compiled, known)
    expected, expected_gradients = reference(arrays, MASKS, tags)
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-4)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=1e-4 if spread < 100 else 1e-2)


@pytest.mark.parametrize("where", ["an emission", "start", "end", "a column", "a transition"])
def test_minus_infinity_is_what_cannot_be(where):
    """Tag 2 is impossible somewhere, and the right tags are 0 and 1."""
    arrays = chain(seed=5)
    place = {
        "an emission": (0, (slice(None), 1, 2)),
        "start": (2, 2),
        "end": (3, 2),
        "a column": (1, (slice(None), 2)),
        "a transition": (1, (0, 2)),
    }
    number, entry = place[where]
    arrays[number][entry] = -np.inf
    tags = np.random.default_rng(1).integers(2, size=MASKS.shape)
    value, gradients = value_and_gradients(tags, arrays, MASKS, compiled=False)
    expected, expected_gradients = reference(arrays, MASKS, tags)
    np.testing.assert_allclose(value, expected, atol=1e-5)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=1e-5)
    marginals = keras_rnn.crf_marginals(*arrays, MASKS)
    assert np.isfinite(marginals).all()
    np.testing.assert_allclose(marginals.numpy().sum(axis=2), MASKS, atol=1e-5)


def test_all_tags_permitted_is_certain_and_one_permitted_is_observed():
    arrays = chain()
    tags = np.random.default_rng(1).integers(TAGS, size=MASKS.shape)
    everything = np.ones((*MASKS.shape, TAGS), bool)
    anything = keras_rnn.crf_log_likelihood(everything, *arrays, MASKS)
    np.testing.assert_allclose(anything, 0.0, atol=1e-6)
    np.testing.assert_allclose(
        keras_rnn.crf_log_likelihood(tags[..., None] == range(TAGS), *arrays, MASKS),
        keras_rnn.crf_log_likelihood(tags, *arrays, MASKS),
        atol=1e-5,
    )


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
def test_decoding_and_marginals_in_every_mask(compiled):
    arrays = chain(seed=2)
    k = 5

    @tf.function(jit_compile=compiled)
    def run(*tensors):
        best = keras_rnn.crf_decode(*tensors, MASKS)
        several = keras_rnn.crf_decode(*tensors, MASKS, k=k)
        return best, several, keras_rnn.crf_marginals(*tensors, MASKS)

    (best, score), (tags, scores), marginals = run(*map(tf.constant, arrays))
    assert best.dtype == tf.int32 and tags.shape == (len(MASKS), k, TIME)
    np.testing.assert_array_equal(best, tags[:, 0])
    np.testing.assert_allclose(score, scores[:, 0], atol=1e-6)
    for row, mask in enumerate(MASKS):
        every, wanted = paths(arrays[0][row], *arrays[1:], mask)
        order = np.argsort(-wanted)[:k]
        found = np.asarray(tags)[row][:, mask]
        np.testing.assert_array_equal(found[: len(order)], every[order])
        if mask.any():
            np.testing.assert_allclose(scores[row][: len(order)], wanted[order], atol=1e-5)
            assert np.all(scores[row][len(order) :] < -1e8)  # There are no more.
        else:  # its one sequence is empty
            np.testing.assert_array_equal(scores[row], [0.0, *[-1e9] * (k - 1)])
        np.testing.assert_array_equal(np.asarray(tags)[row][:, ~mask], 0)
        shares = np.zeros((TIME, TAGS))
        for path, probability in zip(every, np.exp(wanted - log_sum(wanted)), strict=True):
            shares[np.flatnonzero(mask), path] += probability
        np.testing.assert_allclose(marginals[row], shares, atol=1e-5)


@pytest.mark.parametrize("filler", [-100, 3, 255])
def test_what_tags_hold_in_padding_has_no_part(filler):
    arrays = chain(seed=3)
    tags = np.random.default_rng(1).integers(TAGS, size=MASKS.shape)
    filled = np.where(MASKS, tags, filler)
    for compiled in (False, True):
        value, gradients = value_and_gradients(filled, arrays, MASKS, compiled)
        expected, expected_gradients = value_and_gradients(tags, arrays, MASKS, compiled)
        np.testing.assert_array_equal(value, expected)
        for gradient, wanted in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_array_equal(gradient, wanted)


def test_tags_with_an_axis_of_one_more_are_those_without():
    arrays = chain(seed=3)
    tags = np.random.default_rng(1).integers(TAGS, size=MASKS.shape)
    np.testing.assert_array_equal(
        keras_rnn.crf_log_likelihood(tags[..., None], *arrays, MASKS),
        keras_rnn.crf_log_likelihood(tags, *arrays, MASKS),
    )
    with pytest.raises(
        ValueError, match=r"tags must be int\[batch, time\] or bool.*got \(16, 4, 2\)"
    ):
        keras_rnn.crf_log_likelihood(np.ones((16, 4, 2), bool), *arrays, MASKS)


def test_marginals_keep_their_digits_however_long_the_sequence():
    """Against the recursions in float64, by matrices: the scores themselves grow to tens of thousands."""
    time, tags = 6000, 5
    emissions, transitions, start, end = chain(rows=1, time=time, tags=tags, seed=6, scale=3.0)
    moves = np.exp(np.float64(transitions))
    weights = np.exp(np.float64(emissions[0]))

    def recursion(first, weights, moves):
        found = [np.exp(np.float64(first)) * weights[0]]
        for weight in weights[1:]:
            found.append(found[-1] / found[-1].sum() @ moves * weight)
        return np.array(found)

    products = recursion(start, weights, moves) * recursion(end, weights[::-1], moves.T)[::-1]
    products /= weights
    right = products / products.sum(1, keepdims=True)
    marginals = tf.function(keras_rnn.crf_marginals, autograph=False)
    found = marginals(emissions, transitions, start, end)[0]
    np.testing.assert_allclose(found, right, atol=1e-5)


def test_marginals_are_the_gradient_of_the_partition():
    emissions, *rest = chain(time=6, tags=5)
    tags = np.zeros((len(MASKS), 6), int)
    mask = np.random.default_rng(3).random((len(MASKS), 6)) < 0.7
    tensor = tf.constant(emissions)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        total = tf.reduce_sum(keras_rnn.crf_log_likelihood(tags, tensor, *rest, mask))
    observed = np.eye(5)[tags] * mask[..., None]
    np.testing.assert_allclose(
        keras_rnn.crf_marginals(emissions, *rest, mask),
        observed - np.asarray(tape.gradient(total, tensor)),
        atol=1e-5,
    )


def test_defaults():
    """No mask, no start and no end are all real and zero; one position has no transition."""
    emissions, transitions, _, _ = chain(rows=2)
    zeros, everything = np.zeros(TAGS, "float32"), np.ones((2, TIME), bool)
    tags = np.array([[0, 1, 2, 1], [2, 2, 0, 0]])
    full = (emissions, transitions, zeros, zeros, everything)
    np.testing.assert_allclose(
        keras_rnn.crf_log_likelihood(tags, emissions, transitions),
        keras_rnn.crf_log_likelihood(tags, *full),
    )
    np.testing.assert_array_equal(
        keras_rnn.crf_decode(emissions, transitions)[0], keras_rnn.crf_decode(*full)[0]
    )
    one = emissions[:, :1]
    np.testing.assert_allclose(
        keras_rnn.crf_log_likelihood(tags[:, :1], one, transitions),
        np.take_along_axis(np.asarray(tf.nn.log_softmax(one))[:, 0], tags[:, :1], 1)[:, 0],
        rtol=1e-5,
    )


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("emission_dtype", ["float16", "bfloat16", "float64"])
def test_types(dtype, emission_dtype):
    arrays = chain(rows=1)
    tags = tf.constant([[0, 1, 2, 1]], dtype)
    emissions = tf.cast(arrays[0], emission_dtype)
    value = keras_rnn.crf_log_likelihood(tags, emissions, *arrays[1:])
    assert value.dtype == tf.float32
    exact = keras_rnn.crf_log_likelihood(tags, tf.cast(emissions, "float32"), *arrays[1:])
    np.testing.assert_array_equal(value, exact)


def test_no_rows_and_no_time_steps():
    """Also where only the running program knows that there are none."""
    _, transitions, start, end = chain()

    @tf.function(input_signature=[tf.TensorSpec([None, None, TAGS])])
    def run(emissions):
        tags = tf.zeros(tf.shape(emissions)[:2], tf.int32)
        return (
            keras_rnn.crf_log_likelihood(tags, emissions, transitions, start, end),
            keras_rnn.crf_decode(emissions, transitions, start, end),
            keras_rnn.crf_decode(emissions, transitions, start, end, k=2),
            keras_rnn.crf_marginals(emissions, transitions, start, end),
        )

    for rows, time in [(0, 3), (2, 0), (0, 0)]:
        value, (tags, score), (several, scores), marginals = run(np.zeros((rows, time, TAGS)))
        np.testing.assert_array_equal(value, np.zeros(rows))
        assert tags.shape == (rows, time) and several.shape == (rows, 2, time)
        np.testing.assert_array_equal(score, np.zeros(rows))
        np.testing.assert_array_equal(scores, [[0.0, -1e9]] * rows if rows else scores)
        assert marginals.shape == (rows, time, TAGS)


def test_large_scores():
    """Emissions of ±1000: nothing overflows, and what is certain is certain."""
    emissions, *rest = chain(rows=2, time=30, seed=4)
    emissions = np.where(emissions > 0, 1000.0, -1000.0).astype("float32")
    arrays = [emissions, *rest]
    tags = np.random.default_rng(5).integers(TAGS, size=(2, 30))
    value, gradients = value_and_gradients(tags, arrays, None, compiled=False)
    assert np.all(np.isfinite(value)) and np.all(np.asarray(value) < -1000)
    for gradient in gradients:
        assert np.all(np.isfinite(gradient))
    marginals = keras_rnn.crf_marginals(*arrays)
    np.testing.assert_allclose(np.sum(marginals, axis=-1), 1.0, atol=1e-4)
    best, _ = keras_rnn.crf_decode(*arrays)
    chosen = np.take_along_axis(emissions, best[..., None].numpy(), -1)[..., 0]
    np.testing.assert_array_equal(chosen, np.max(emissions, -1))


def test_what_stands_at_masked_positions_does_not_matter():
    """Not even what is no number, nor tags that do not exist."""
    emissions, *rest = chain(rows=2)
    mask = np.array([[False, True, False, True], [True, True, False, False]])
    spoilt = np.where(mask[..., None], emissions, np.nan).astype("float32")
    tags = np.array([[0, 1, 2, 1], [2, 2, 0, 0]])
    spoilt_tags = np.where(mask, tags, -1)
    wanted = value_and_gradients(tags, [emissions, *rest], mask, False)
    found = value_and_gradients(spoilt_tags, [spoilt, *rest], mask, False)
    tf.nest.map_structure(np.testing.assert_allclose, found, wanted)
    for decoded, expected in [
        (keras_rnn.crf_decode(spoilt, *rest, mask), keras_rnn.crf_decode(emissions, *rest, mask)),
        (
            [keras_rnn.crf_marginals(spoilt, *rest, mask)],
            [keras_rnn.crf_marginals(emissions, *rest, mask)],
        ),
    ]:
        for one, other in zip(decoded, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_ten_thousand_steps():
    """The program does not grow with time, and a long sequence is decoded as its copy in pieces."""

    @tf.function(input_signature=[tf.TensorSpec([1, None, TAGS])])
    def run(emissions):
        _, *rest = [tf.constant(array) for array in chain(seed=6)]
        tags, score = keras_rnn.crf_decode(emissions, *rest)
        with tf.GradientTape() as tape:
            tape.watch(emissions)
            value = keras_rnn.crf_log_likelihood(tags, emissions, *rest)
        return tags, score, value, tape.gradient(value, emissions)

    # A hundred sure positions after each hundred doubtful ones part the sequence.
    piece = np.concatenate([chain(rows=1, time=100, seed=7)[0], np.full((1, 100, TAGS), -50.0)], 1)
    piece[:, 100:, 1] = 50.0
    tags, score, value, gradient = run(np.tile(piece, (1, 50, 1)).astype("float32"))
    np.testing.assert_array_equal(tags, np.tile(run(piece.astype("float32"))[0], (1, 50)))
    assert np.isfinite(score) and np.all(np.isfinite(value)) and np.all(np.isfinite(gradient))


# Constraints


def permitted_paths(constraints, tags, length):
    full = np.ones((tags + 1, tags + 1), bool)
    full[: len(constraints), : len(constraints)] = constraints
    return [
        path
        for path in itertools.product(range(tags), repeat=length)
        if full[tags, path[0]]
        and full[path[-1], tags]
        and all(full[a, b] for a, b in zip(path, path[1:]))
    ]


SCHEMES = {
    "BIO": ["O", "B-X", "I-X", "B-Y", "I-Y"],
    "IOB1": ["I-X", "O", "B-X", "I-Y", "B-Y"],
    "IOBES": ["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "E-Y", "S-Y"],
    "plain": ["NOUN", "VERB", "O"],
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_constraints_permit_what_the_scheme_permits(scheme):
    names = SCHEMES[scheme]
    constraints = keras_rnn.tag_constraints(names, scheme)
    for length in (1, 2, 3):
        permitted = set(permitted_paths(constraints, len(names), length))
        for path in itertools.product(range(len(names)), repeat=length):
            keeps = check([names[tag] for tag in path], scheme) == []
            assert (path in permitted) == keeps, [names[tag] for tag in path]


def test_tags_without_labels():
    unlabelled = keras_rnn.tag_constraints(["O", "B", "I"], "BIO")
    np.testing.assert_array_equal(unlabelled, keras_rnn.tag_constraints(["O", "B-X", "I-X"], "BIO"))


@pytest.mark.parametrize(
    ("tags", "scheme", "message"),
    [
        (["O", "B-X"], "BILOU", "scheme must be one of BIO, IOB1, IOBES, plain"),
        (["O", "E-X"], "BIO", "'E-X' is no tag of the scheme BIO"),
        (["NOUN"], "IOBES", "'NOUN' is no tag of the scheme IOBES"),
        (["B-"], "BIO", "'B-' is no tag of the scheme BIO"),
    ],
)
def test_tags_of_no_scheme(tags, scheme, message):
    with pytest.raises(ValueError, match=message):
        keras_rnn.tag_constraints(tags, scheme)


def constrained_layer(constraints, tags, seed=0):
    layer = keras_rnn.CRF(tags, constraints)
    layer.build((None, None, tags))
    _, transitions, start, end = chain(tags=tags, seed=seed)
    layer.set_weights([np.eye(tags), np.zeros(tags), transitions, start, end])
    return layer


@pytest.mark.parametrize("scheme", ["BIO", "IOB1", "IOBES", "matrix", "matrix with edges"])
def test_constrained_decoding(scheme):
    """The best, the k best and the marginals of the permitted paths alone, whatever the emissions want."""
    if scheme in SCHEMES:
        names = SCHEMES[scheme][:5]
        constraints = keras_rnn.tag_constraints(names, scheme)
    else:
        count = 4 if scheme == "matrix" else 5
        constraints = np.random.default_rng(8).random((count, count)) < 0.6
        constraints[np.diag_indices(count)] = True
        names = SCHEMES["BIO"][:4]
    tags = len(names)
    layer = constrained_layer(constraints, tags)
    lengths = [1, 2, 3, 4] * 3
    mask = np.arange(4) < np.array(lengths)[:, None]
    emissions = chain(rows=12, tags=tags, seed=9, scale=4.0)[0]
    best, score = layer.decode(emissions, mask)
    several, scores = layer.decode(emissions, mask, k=3)
    marginals = np.asarray(layer.marginals(emissions, mask))
    np.testing.assert_array_equal(best, several[:, 0])
    for row, length in enumerate(lengths):
        every, all_scores = paths(
            emissions[row], *map(np.asarray, layer.get_weights()[2:]), mask[row]
        )
        number = {tuple(path): place for place, path in enumerate(every)}
        chosen = [number[path] for path in permitted_paths(constraints, tags, length)]
        order = sorted(chosen, key=lambda place: -all_scores[place])[:3]
        found = np.asarray(several)[row, : len(order), :length]
        np.testing.assert_array_equal(found, every[order])
        np.testing.assert_allclose(
            scores[row, : len(order)], all_scores[order], rtol=1e-5, atol=1e-4
        )
        assert np.all(scores[row, len(order) :] < -1e8)
        np.testing.assert_allclose(score[row], all_scores[order[0]], rtol=1e-5, atol=1e-4)
        shares = np.zeros((4, tags))
        weights = np.exp(all_scores[chosen] - log_sum(all_scores[chosen]))
        for path, weight in zip(every[chosen], weights, strict=True):
            shares[np.arange(length), path] += weight
        np.testing.assert_allclose(marginals[row], shares, atol=1e-4)


@pytest.mark.parametrize("edges", [False, True])
def test_transition_scores_are_what_decoding_adds(edges):
    """Where every emission is zero, the score of a pair of tags is its way in, its transition and its way out."""
    tags = 3
    constraints = np.random.default_rng(3).random((tags + edges, tags + edges)) < 0.7
    constraints[0] = constraints[:, 0] = True
    layer = constrained_layer(constraints, tags)
    table = layer.transition_scores()
    pairs = table[-1, :-1, None] + table[:-1, :-1] + table[:-1, -1]
    best, scores = layer.decode(tf.zeros([1, 2, tags]), k=tags * tags)
    permitted = int(np.isfinite(pairs).sum())
    assert 0 < permitted < tags * tags
    for tag_pair, score in zip(np.asarray(best)[0, :permitted], scores[0]):
        np.testing.assert_allclose(score, pairs[tuple(tag_pair)], rtol=1e-5)
    np.testing.assert_allclose(scores[0, 0], pairs.max(), rtol=1e-5)


def test_constraints_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"constraints must be bool\[3, 3\] or bool\[4, 4\]"):
        keras_rnn.CRF(3, np.ones((2, 2)))


# The layer


def tagger(recurrent=False, constraints=None, policy=None):
    inputs = keras.Input((None, 5))
    x = keras.layers.Masking()(inputs)
    if recurrent:
        x = keras.layers.Bidirectional(keras_rnn.GRU(4, return_sequences=True))(x)
    else:
        x = keras.layers.Dense(8, "tanh")(x)
    crf = keras_rnn.CRF(TAGS, constraints, dtype=policy)
    return keras.Model(inputs, crf(x)), crf


def sentences(rows=6, time=5):
    generator = np.random.default_rng(10)
    x = generator.normal(size=(rows, time, 5)).astype("float32")
    lengths = generator.integers(1, time + 1, size=rows)
    x[np.arange(time) >= lengths[:, None]] = 0.0
    return x, generator.integers(TAGS, size=(rows, time)), np.arange(time) < lengths[:, None]


def test_the_mask_goes_with_the_emissions():
    model, crf = tagger()
    x, tags, mask = sentences()
    emissions = model(x)
    weights = [np.asarray(weight) for weight in (crf.transitions, crf.start, crf.end)]
    wanted = -np.mean(keras_rnn.crf_log_likelihood(tags, emissions, *weights, mask))
    model.compile("sgd", crf.loss, jit_compile=False)
    assert model.evaluate(x, tags, verbose=0) == pytest.approx(wanted, rel=1e-4)
    assert float(crf.loss(tags, emissions)) == pytest.approx(wanted, rel=1e-5)
    assert float(crf.loss(tags, np.asarray(emissions), mask)) == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_array_equal(
        crf.decode(emissions)[0], crf.decode(np.asarray(emissions), mask)[0]
    )
    np.testing.assert_array_equal(
        crf.marginals(emissions), crf.marginals(np.asarray(emissions), mask)
    )
    # Sentences weigh what they are given.
    weight = np.array([0, 0, 1, 0, 2, 0.0])
    each = -np.asarray(keras_rnn.crf_log_likelihood(tags, emissions, *weights, mask))
    weighed = model.evaluate(x, tags, sample_weight=weight, verbose=0)
    assert weighed == pytest.approx(np.mean(each * weight), rel=1e-4)
    column = model.evaluate(x, tags, sample_weight=weight[:, None], verbose=0)
    assert column == pytest.approx(weighed, rel=1e-6)
    with pytest.raises(ValueError, match=r"sample weights of a CRF must be \[batch\]"):
        crf.loss(tags, emissions, np.full(mask.shape, 0.5))
    # Several permitted tags go through fit as well.
    permitted = (tags[..., None] == range(TAGS)) | (np.arange(5) % 2 == 0)[None, :, None]
    partly = -np.mean(keras_rnn.crf_log_likelihood(permitted, emissions, *weights, mask))
    assert model.evaluate(x, permitted, verbose=0) == pytest.approx(partly, rel=1e-4)
    # What was traced for several shapes knows no rank; a batch of one would stretch over its weights.
    model.evaluate(x[:1], tags[:1], sample_weight=weight[:1], verbose=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="are one a sequence"):
        model.evaluate(x[:1], tags[:1], sample_weight=np.ones([1, x.shape[1]]), verbose=0)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_batches_of_any_length_train_one_model(jit_compile):
    keras.utils.set_random_seed(0)
    model, crf = tagger(recurrent=jit_compile)
    model.compile(keras.optimizers.SGD(0.1), crf.loss, jit_compile=jit_compile)
    for time in (4, 6):
        x, tags, _ = sentences(time=time)
        alone = float(crf.loss(tags, model(x)))
        assert model.train_on_batch(x, tags) == pytest.approx(alone, rel=1e-5)


def test_fit_under_xla_moves_every_weight():
    model, crf = tagger()
    x, tags, mask = sentences()
    before = [np.array(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.Adam(0.1), crf.loss, jit_compile=True)
    losses = model.fit(x, tags, epochs=25, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.any(np.asarray(weight) != old), weight.path
    assert np.mean(np.asarray(crf.decode(model(x))[0])[mask] == tags[mask]) > 0.9


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_precision(policy):
    """Emissions come out in float32, and the scores of a sequence are summed in it."""
    model, crf = tagger(policy=policy)
    x, tags, mask = sentences()
    hidden = model.layers[-2].output
    emissions = model(x)
    assert emissions.dtype == tf.float32
    exact = keras.Model(model.input, hidden)(x) @ np.asarray(crf.kernel) + np.asarray(crf.bias)
    np.testing.assert_allclose(emissions, exact, atol=0.02)
    weights = [np.asarray(weight) for weight in (crf.transitions, crf.start, crf.end)]
    wanted = -np.mean(keras_rnn.crf_log_likelihood(tags, emissions, *weights, mask))
    assert float(crf.loss(tags, emissions)) == pytest.approx(wanted, rel=1e-4)
    if policy != "mixed_float16":
        model.compile(keras.optimizers.Adam(0.1), crf.loss, jit_compile=False)
        losses = model.fit(x, tags, epochs=12, verbose=0).history["loss"]
        assert losses[-1] < 0.6 * losses[0]


def test_as_a_keras_layer():
    keras_rnn_crf = keras_rnn.CRF(4, np.eye(4, dtype=bool), kernel_regularizer="l2", name="tags")
    again = keras_rnn.CRF.from_config(keras_rnn_crf.get_config())
    np.testing.assert_array_equal(again.constraints, np.eye(4, dtype=bool))
    assert again.tags == 4 and again.name == "tags"
    assert again.kernel_regularizer.get_config() == keras_rnn_crf.kernel_regularizer.get_config()
    assert keras_rnn_crf.compute_output_shape((2, None, 7)) == (2, None, 4)


def test_each_regularizer_has_its_weight():
    squares = [keras.regularizers.L2(share) for share in (1.0, 2.0)]
    crf = keras_rnn.CRF(3, kernel_regularizer=squares[0], transition_regularizer=squares[1])
    crf.build((None, None, 4))
    wanted = np.sum(np.square(crf.kernel)) + 2 * np.sum(np.square(crf.transitions))
    assert float(sum(crf.losses)) == pytest.approx(wanted)


IN_A_NEW_PROCESS = """
import sys
import keras, numpy as np
import keras_rnn

model = keras.saving.load_model(sys.argv[1])
data = np.load(sys.argv[2])
crf = model.layers[-1]
emissions = model(data["x"])
np.testing.assert_allclose(emissions, data["emissions"], atol=1e-5)
tags, scores = crf.decode(emissions)
np.testing.assert_array_equal(tags, data["decoded"])
np.testing.assert_array_equal(crf.constraints, data["constraints"])
before = np.array(crf.transitions)
np.testing.assert_array_equal(before, data["transitions"])
loss = model.evaluate(data["x"], data["tags"], verbose=0)
np.testing.assert_allclose(loss, data["loss"], rtol=1e-4)
history = model.fit(data["x"], data["tags"], epochs=3, verbose=0).history["loss"]
assert history[-1] < loss, history
assert np.all(np.array(crf.transitions) != before)
model.save(sys.argv[1])
print("trained", history[-1])
"""


def test_saved_loaded_in_a_new_process_and_trained_on(tmp_path):
    constraints = np.ones((TAGS + 1, TAGS + 1), bool)
    constraints[0, 1] = False
    model, crf = tagger(recurrent=True, constraints=constraints)
    x, tags, _ = sentences()
    fresh = np.array(crf.transitions)
    model.compile(keras.optimizers.Adam(0.03), crf.loss, jit_compile=False)
    model.fit(x, tags, epochs=2, verbose=0)
    assert np.all(np.array(crf.transitions) != fresh)
    model.save(tmp_path / "tagger.keras")
    emissions = model(x)
    np.savez(
        tmp_path / "data.npz",
        x=x,
        tags=tags,
        emissions=emissions,
        decoded=crf.decode(emissions)[0],
        constraints=constraints,
        transitions=np.array(crf.transitions),
        loss=model.evaluate(x, tags, verbose=0),
    )
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS, tmp_path / "tagger.keras", tmp_path / "data.npz"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
    )
    assert done.returncode == 0 and done.stdout.startswith("trained"), done.stderr[-3000:]
    # And back: two models in one process keep their losses apart.
    again = keras.saving.load_model(tmp_path / "tagger.keras")
    assert again.layers[-1].loss is not crf.loss
    assert again.evaluate(x, tags, verbose=0) < model.evaluate(x, tags, verbose=0)


# Weights of TensorFlow Addons


def addons_weights(features=5, boundary=True, kernel=True):
    """As its CRF gives them: name -> array, in the order of get_weights."""
    generator = np.random.default_rng(11)
    shapes = {"chain_kernel": (TAGS, TAGS)}
    if boundary:
        shapes |= {"left_boundary": (TAGS,), "right_boundary": (TAGS,)}
    if kernel:
        shapes |= {"dense/kernel": (features, TAGS), "dense/bias": (TAGS,)}
    return {name: generator.normal(size=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("boundary", [True, False])
@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_weights_of_tensorflow_addons(boundary, kernel, named):
    weights = addons_weights(TAGS, boundary, kernel)
    given = (
        {f"tagger/{name}:0": value for name, value in weights.items()}
        if named
        else [*weights.values()]
    )
    crf = keras_rnn.CRF(TAGS)
    crf.load_addons_weights(given)
    x = chain(rows=3)[0]
    kernel_matrix = weights.get("dense/kernel", np.eye(TAGS))
    emissions = x @ kernel_matrix + weights.get("dense/bias", 0.0)
    np.testing.assert_allclose(crf(x), emissions, rtol=1e-5, atol=1e-5)
    tags, score = crf.decode(crf(x))
    zeros = np.zeros(TAGS)
    for row in range(3):
        every, scores = paths(
            emissions[row],
            weights["chain_kernel"],
            weights.get("left_boundary", zeros),
            weights.get("right_boundary", zeros),
            np.ones(TIME, bool),
        )
        np.testing.assert_array_equal(tags[row], every[np.argmax(scores)])
        assert float(score[row]) == pytest.approx(np.max(scores), rel=1e-4)


def test_weights_that_do_not_fit():
    weights = addons_weights(features=5)
    crf = keras_rnn.CRF(TAGS + 1)
    with pytest.raises(ValueError, match=r"chain_kernel has shape \[3, 3\]; 4 tags need \[4, 4\]"):
        crf.load_addons_weights(weights)
    with pytest.raises(ValueError, match="no weight called chain_kernel"):
        keras_rnn.CRF(TAGS).load_addons_weights({"kernel": np.ones((5, 3))})
    with pytest.raises(ValueError, match="1, 3 or 5 weights .* 2"):
        keras_rnn.CRF(TAGS).load_addons_weights(list(weights.values())[:2])
    built = keras_rnn.CRF(TAGS)
    built.build((None, None, 7))
    with pytest.raises(ValueError, match=r"kernel has shape \[5, 3\]; this layer's has \[7, 3\]"):
        built.load_addons_weights(weights)
