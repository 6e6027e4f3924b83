"""The encoder-decoder: all steps at once as step by step, its bridges, its search compiled."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rnn.models import EncoderDecoder, beam_search, forced_search
from keras_rnn.models.seq2seq import ATTENTIONS, COVERING

SOURCE = np.array([[4, 5, 6, 3], [7, 3, 0, 0], [8, 9, 3, 0]], "int32")
TARGET = np.array([[4, 5, 3], [6, 3, 0], [7, 8, 3]], "int32")


def small_model(**settings):
    keras.utils.set_random_seed(1)
    stack = {"units": 4, "cell": settings.get("cell", "gru")}
    encoder = {"vocabulary_size": 12, "embedding_dim": 5, "stack": stack}
    settings = {"units": 8, "attention_units": 3, **settings}
    model = EncoderDecoder(encoder, vocabulary_size=10, embedding_dim=5, **settings)
    model({"ids": SOURCE, "target": TARGET})
    return model


@pytest.mark.parametrize(
    "attention, coverage",
    [*((name, False) for name in ATTENTIONS), *((name, True) for name in COVERING)],
)
def test_step_by_step_as_all_at_once(attention, coverage):
    cell = "lstm" if attention in ("none", "conditional") else "gru"
    model = small_model(attention=attention, cell=cell, layers=2, coverage=coverage)
    if coverage:
        model.decoder[0].cell.attention.coverage_vector.assign([1.0, -2.0, 3.0])
    logits = model({"ids": SOURCE, "target": TARGET}).numpy()
    assert np.ptp(logits) > 0.01
    state, token = model.start({"ids": SOURCE}), np.full(3, 2)
    for t in range(TARGET.shape[1]):
        given, state, looked = model.advance(token, state)
        np.testing.assert_allclose(given, logits[:, t], atol=1e-5)
        if attention != "none":
            np.testing.assert_allclose(looked["alpha"].numpy().sum(1), 1, atol=1e-5)
            assert not looked["alpha"].numpy()[SOURCE == 0].any()
        token = TARGET[:, t]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
@pytest.mark.parametrize("attention", ["bahdanau", "luong_dot", "none"])
def test_a_search_has_the_precision_of_the_model(policy, attention):
    """`start` and `advance` are no calls of a layer, in which Keras casts the weights."""
    model = small_model(attention=attention, layers=2, dtype=policy)
    log_p = tf.nn.log_softmax(tf.cast(model({"ids": SOURCE, "target": TARGET}), tf.float32))
    right = tf.gather(log_p, TARGET, axis=2, batch_dims=2).numpy() * (TARGET != 0)
    forced = forced_search(model, {"ids": SOURCE}, TARGET)
    np.testing.assert_allclose(forced.scores[:, 0], right.sum(1), rtol=1e-2)
    found = beam_search(model, {"ids": SOURCE}, max_length=3, beam=4)
    assert (found.scores.numpy() < 0).all()


def test_padding_of_the_source_changes_nothing():
    model = small_model()
    wide = np.pad(SOURCE, [[0, 0], [0, 3]])
    np.testing.assert_allclose(
        model({"ids": SOURCE, "target": TARGET}), model({"ids": wide, "target": TARGET}), atol=1e-5
    )


@pytest.mark.parametrize("coverage", [False, True])
def test_the_compiled_search_finds_what_the_eager_one_finds(coverage):
    model = small_model(coverage=coverage)
    find = tf.function(
        lambda ids: beam_search(model, {"ids": ids}, max_length=6, beam=3, n_best=2),
        jit_compile=True,
        autograph=False,
    )
    compiled = find(tf.constant(SOURCE))
    eager = beam_search(model, {"ids": SOURCE}, max_length=6, beam=3, n_best=2)
    np.testing.assert_array_equal(compiled.tokens, eager.tokens)
    np.testing.assert_allclose(compiled.scores, eager.scores, rtol=1e-4)
    np.testing.assert_allclose(compiled.alignments, eager.alignments, atol=1e-5)


def test_bridges():
    copied = small_model(bridge="copied", attention="none")
    _, _, last = copied.encoder({"ids": SOURCE}, return_state=True)
    np.testing.assert_array_equal(copied.start({"ids": SOURCE})["states"][0][0], last[0][0])
    zero = small_model(bridge="zero")
    assert not zero.start({"ids": SOURCE})["states"][0][0].numpy().any()
    with pytest.raises(ValueError, match="bridge='copied'"):
        small_model(bridge="copied", units=5)
    with pytest.raises(ValueError, match="never see the source"):
        small_model(bridge="zero", attention="none")
    with pytest.raises(ValueError, match="coverage=True goes with"):
        small_model(coverage=True, attention="luong_dot")


def test_scheduled_sampling_feeds_guesses_in_training_alone():
    plain, sampled = small_model(), small_model(scheduled_sampling=1.0)
    sampled.set_weights(plain.get_weights())
    features = {"ids": SOURCE, "target": TARGET}
    np.testing.assert_allclose(plain(features), sampled(features), atol=1e-6)
    guessed = sampled(features, training=True).numpy()
    first = plain(features).numpy()
    # The first token has nothing before it but the start.
    np.testing.assert_allclose(guessed[:, 0], first[:, 0], atol=1e-6)
    assert np.abs(guessed[:, 1:] - first[:, 1:]).max() > 1e-4
