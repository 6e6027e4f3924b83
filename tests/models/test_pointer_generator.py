"""The pointer-generator against NumPy, token by token."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rnn import models
from keras_rnn.models.pointer_generator import without_unknown

VOCABULARY, SOURCE_TIME = 8, 5
ENCODER = {
    "vocabulary_size": VOCABULARY,
    "embedding_dim": 5,
    "stack": {"units": 4, "cell": "gru"},
    "vectors_size": 9,
    "vectors_dim": 3,
}
# 9 is the word at place 1 of the first text, which stands at place 3 again; 8 and 10 those of the second one.
IDS = np.array([[4, 9, 5, 9, 4], [8, 6, 10, 0, 0]], np.int32)
VECTORS = np.array([[4, 2, 5, 2, 4], [7, 6, 1, 0, 0]], np.int32)
TARGET = np.array([[9, 4, 7, 3], [10, 8, 3, 0]], np.int32)


def make(**settings) -> models.PointerGenerator:
    keras.utils.set_random_seed(3)
    model = models.PointerGenerator(
        ENCODER, units=6, attention_units=4, token_vectors=[*range(VOCABULARY)], **settings
    )
    model({"ids": IDS, "vector_ids": VECTORS, "target": TARGET})
    # Nothing is at its beginning, so that every weight counts.
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(scale=0.7, size=variable.shape))
    return model


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def distribution(logits, alpha, switch, ids):
    """P over the extended vocabulary in float64, one token of one text: every probability by its definition."""
    logits = np.array(logits, np.float64)
    logits[1] = -np.inf
    generated = np.exp(logits - logits.max())
    whole = np.zeros(len(logits) + len(ids))
    whole[: len(logits)] = sigmoid(np.float64(switch)) * generated / generated.sum()
    for token, weight in zip(ids, alpha, strict=True):
        whole[token] += sigmoid(-np.float64(switch)) * weight
    return whole


def numbers(rows=2, steps=4, seed=0):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, steps, VOCABULARY)).astype(np.float32)
    alpha = generator.uniform(size=(rows, steps, SOURCE_TIME)) * (IDS > 0)[:, None]
    alpha = (alpha / alpha.sum(-1, keepdims=True)).astype(np.float32)
    return logits, alpha, generator.normal(scale=2, size=(rows, steps)).astype(np.float32)


def test_a_token_that_is_hardly_possible_keeps_its_logarithm():
    logits, alpha, switch = numbers()
    logits[:, :, 7] = -60.0
    found = models.log_distribution(logits[:, 0], alpha[:, 0], switch[:, 0], IDS)
    target = np.full([2, 4], 7, np.int32)
    likelihood, _ = models.log_likelihood(logits, alpha, switch, IDS, target)
    assert 7 not in IDS and -80 < float(found[0, 7]) < -50
    np.testing.assert_allclose(found[:, 7], likelihood[:, 0], rtol=1e-6)


def test_the_unknown_token_is_not_copied_either():
    logits, alpha, switch = numbers()
    ids = np.where(np.arange(SOURCE_TIME) == 1, 1, IDS)
    whole = np.exp(models.log_distribution(logits[:, 0], alpha[:, 0], switch[:, 0], ids))
    for row in range(2):
        right = distribution(logits[row, 0], alpha[row, 0], switch[row, 0], ids[row])
        assert right[1] > 0.01
        right[1] = 0
        np.testing.assert_allclose(whole[row], right, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_distribution_and_the_likelihood_are_those_of_the_definition(compiled):
    logits, alpha, switch = numbers()
    function = tf.function(models.log_distribution, jit_compile=compiled)
    likelihood = tf.function(models.log_likelihood, jit_compile=compiled)
    found, copied = likelihood(logits, alpha, switch, IDS, TARGET)
    for step in range(4):
        whole = np.exp(function(logits[:, step], alpha[:, step], switch[:, step], IDS))
        for row in range(2):
            right = distribution(logits[row, step], alpha[row, step], switch[row, step], IDS[row])
            np.testing.assert_allclose(whole[row], right, rtol=1e-5, atol=1e-9)
            assert right.sum() == pytest.approx(1) and right[1] == 0
            token = TARGET[row, step]
            if token:
                assert float(found[row, step]) == pytest.approx(np.log(right[token]), rel=1e-4)
                looked = alpha[row, step][IDS[row] == token].sum()
                share = sigmoid(-np.float64(switch[row, step])) * looked / right[token]
                assert float(copied[row, step]) == pytest.approx(share, abs=1e-5)


def test_gradients_are_finite_and_right_where_nothing_can_be_copied():
    logits, alpha, switch = (tf.constant(part) for part in numbers())
    target = np.array([[7, 9, 3, 5], [7, 3, 10, 8]], np.int32)

    def total(*parts):
        return tf.reduce_sum(models.log_likelihood(*parts, IDS, target)[0])

    with tf.GradientTape() as tape:
        tape.watch([logits, alpha, switch])
        found = total(logits, alpha, switch)
    gradients = tape.gradient(found, [logits, alpha, switch])
    generator = np.random.default_rng(1)
    for place, (part, gradient) in enumerate(zip((logits, alpha, switch), gradients)):
        assert np.isfinite(gradient).all()
        way = generator.normal(size=part.shape).astype(np.float32)
        ends = []
        for sign in (1, -1):
            parts = [logits, alpha, switch]
            parts[place] = part + sign * 1e-3 * way
            ends.append(float(total(*parts)))
        slope = (ends[0] - ends[1]) / 2e-3
        assert float(tf.reduce_sum(gradient * way)) == pytest.approx(slope, rel=0.02, abs=0.02)


def test_coverage_loss_by_a_loop():
    alpha = numbers()[1]
    right = np.zeros(alpha.shape[:2])
    for row in range(2):
        covered = np.zeros(SOURCE_TIME)
        for step in range(4):
            right[row, step] = np.minimum(alpha[row, step], covered).sum()
            covered += alpha[row, step]
    np.testing.assert_allclose(models.coverage_loss(alpha), right, rtol=1e-5)
    assert right[:, 0].tolist() == [0, 0] and (right[:, 1:] > 0).all()


@pytest.mark.parametrize("coverage", [False, True])
def test_a_search_sees_step_by_step_what_training_sees_at_once(coverage):
    model = make(coverage=coverage)
    texts = {"ids": tf.constant(IDS), "vector_ids": tf.constant(VECTORS)}
    logits, alpha, switch = model({**texts, "target": TARGET})
    state = model.start(texts)
    previous = np.concatenate([np.full([2, 1], 2), TARGET[:, :-1]], axis=1)
    for step in range(4):
        log_probabilities, state, extras = model.advance(tf.constant(previous[:, step]), state)
        right = models.log_distribution(logits[:, step], alpha[:, step], switch[:, step], IDS)
        np.testing.assert_allclose(log_probabilities, right, rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(extras["alpha"], alpha[:, step], rtol=1e-4, atol=1e-6)


def test_padding_and_neighbours_change_nothing():
    model = make()
    texts = {"ids": IDS, "vector_ids": VECTORS}
    whole = models.beam_search(model, texts, 6, beam=3)
    alone = models.beam_search(
        model, {name: part[1:, :3] for name, part in texts.items()}, 6, beam=3
    )
    wide = models.beam_search(
        model, {name: np.pad(part, [[0, 0], [0, 4]]) for name, part in texts.items()}, 6, beam=3
    )
    np.testing.assert_array_equal(whole.tokens, wide.tokens)
    np.testing.assert_array_equal(whole.tokens[1:], alone.tokens)
    np.testing.assert_allclose(whole.scores, wide.scores, rtol=1e-5)
    np.testing.assert_allclose(whole.scores[1:], alone.scores, rtol=1e-5)
    assert whole.lengths.numpy().max() > 0


def test_a_copied_word_is_read_as_its_vector():
    model = make()
    other = VECTORS.copy()
    other[0, 1] = 8
    first, second = (
        model({"ids": IDS, "vector_ids": vectors, "target": TARGET})[0]
        for vectors in (VECTORS, other)
    )
    # The first word of the target, 9, is the text's at place 1: the next step reads that vector, and the text does.
    assert not np.allclose(first[0, 1], second[0, 1])
    np.testing.assert_array_equal(first[1], second[1])


def test_every_weight_is_learnt_and_the_model_is_saved(tmp_path):
    model = make(dropout=0.1)
    texts = {"ids": IDS, "vector_ids": VECTORS, "target": TARGET}
    with tf.GradientTape() as tape:
        logits, alpha, switch = model(texts, training=True)
        found, _ = models.log_likelihood(logits, alpha, switch, IDS, TARGET)
        loss = tf.reduce_sum(models.coverage_loss(alpha)) - tf.reduce_sum(found)
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        assert gradient is not None, variable.path
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, variable.path
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    for left, right in zip(model(texts), again(texts), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def test_in_bfloat16_the_probabilities_are_float32_and_near(monkeypatch):
    exact = make()({"ids": IDS, "vector_ids": VECTORS, "target": TARGET})
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        rough = make()({"ids": IDS, "vector_ids": VECTORS, "target": TARGET})
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(part.dtype == tf.float32 for part in rough)
    found = [models.log_likelihood(*parts, IDS, TARGET)[0] for parts in (exact, rough)]
    np.testing.assert_allclose(found[0], found[1], atol=0.2)


def test_the_unknown_word_is_never_written():
    assert without_unknown(tf.zeros([1, 4])).numpy()[0].tolist() == [0, -1e9, 0, 0]


def test_vectors_and_their_numbers_go_together():
    with pytest.raises(ValueError, match="token_vectors go with"):
        models.PointerGenerator(ENCODER, units=6)


def test_what_a_copying_decoder_has_not_is_refused():
    with pytest.raises(TypeError, match="has no layers"):
        models.PointerGenerator({**ENCODER, "vectors_dim": 0}, units=6, layers=2)
    for name in ("attention", "tie", "vocabulary_size", "embedding_dim"):
        with pytest.raises(TypeError, match=f"has no {name}"):
            models.PointerGenerator(ENCODER, units=6, **{name: "conditional"})
    for name in ("alphabet_size", "attributes_size"):
        with pytest.raises(ValueError, match=f"an encoder without {name}, got {name}=5"):
            models.PointerGenerator({**ENCODER, name: 5}, units=6)


def test_xla_gives_the_same_loss_and_gradients():
    model = make()
    variables = [variable.value for variable in model.trainable_variables]

    def step():
        with tf.GradientTape() as tape:
            logits, alpha, switch = model({"ids": IDS, "vector_ids": VECTORS, "target": TARGET})[:3]
            found, _ = models.log_likelihood(logits, alpha, switch, IDS, TARGET)
            loss = -tf.reduce_sum(tf.where(TARGET > 0, found, 0.0))
        return loss, [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]

    (loss, gradients), (same, others) = (
        tf.function(step, jit_compile=compiled)() for compiled in (False, True)
    )
    assert float(loss) == pytest.approx(float(same), rel=1e-5)
    for variable, one, other in zip(model.trainable_variables, gradients, others, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, err_msg=variable.path)
        assert np.abs(one).max() > 1e-4, variable.path


def test_its_configuration_is_what_was_given():
    given = {
        "units": 6,
        "cell": "gru",
        "attention_units": 5,
        "coverage": False,
        "dropout": 0.1,
        "recurrent_dropout": 0.2,
    }
    encoder = {"vocabulary_size": VOCABULARY, "embedding_dim": 5, "stack": {"units": 4}}
    config = models.PointerGenerator(encoder, **given).get_config()
    assert {name: config[name] for name in given} == given
