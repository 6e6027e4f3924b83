"""Taggers: the mask goes with the emissions, and a saved model has its constraints."""

import keras
import numpy as np
import pytest

import keras_rnn
from keras_rnn.models import Tagger

ENCODER = {"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 5}}
WORDS = {"ids": np.array([[4, 5, 0, 0, 0]])}


def tagger(**options):
    keras.utils.set_random_seed(0)
    return Tagger(3, ENCODER, **options)


def test_the_loss_counts_no_padding_in_any_precision():
    exact, rough = tagger(), tagger(dtype="mixed_bfloat16")
    exact(WORDS), rough(WORDS)
    rough.set_weights(exact.get_weights())
    tags = np.array([[1, 2, 0, 0, 0]])
    wanted, given = (float(model.output_layer.loss(tags, model(WORDS))) for model in (exact, rough))
    assert given == pytest.approx(wanted, rel=0.02)


def test_constraints_may_be_an_array_in_a_model_that_is_saved(tmp_path):
    permitted = keras_rnn.tag_constraints(["O", "B-X", "I-X"], "BIO")
    model = tagger(constraints=permitted)
    wanted = model(WORDS)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again(WORDS), wanted, atol=1e-6)
    np.testing.assert_array_equal(again.output_layer.constraints, permitted)


def test_independent_tags_find_their_mask_as_a_crf_does():
    model = tagger(crf=False)
    emissions, mask, tags = model(WORDS), model.mask(WORDS), np.array([[1, 2, 0, 0, 0]])
    layer, bare = model.output_layer, np.array(emissions)
    for find in (layer.decode, layer.marginals):
        for one, other in zip(find(emissions), find(emissions, mask), strict=True):
            np.testing.assert_array_equal(one, other)
    assert layer.marginals(bare).numpy().sum() == pytest.approx(5)
    everything = np.ones([1, 5], bool)
    np.testing.assert_array_equal(
        layer.log_likelihood(tags, bare), layer.log_likelihood(tags, bare, everything)
    )
