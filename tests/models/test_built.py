"""Models built from shapes: all weights are there before anything is computed, and they are those of a call."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rnn import models

ENCODER = {"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 5}}
ONE_WAY = {**ENCODER, "stack": {"units": 5, "bidirectional": False, "layers": 2}}
ALL_PARTS = {
    **ENCODER,
    "stack": {"units": 5, "cell": "gru", "layers": 2, "dropout": 0.1},
    "alphabet_size": 7,
    "character_units": 3,
    "vectors_size": 6,
    "vectors_dim": 3,
    "attributes_size": 5,
    "attributes": 2,
    "skip": True,
}
VECTORS = {**ENCODER, "vectors_size": 6, "vectors_dim": 3}

IDS = np.array([[2, 3, 0]])
WORDS = {"ids": IDS}
TOKENS = {
    "ids": IDS,
    "characters": np.ones([1, 3, 6], int),
    "vector_ids": IDS,
    "attributes": np.ones([1, 3, 2], int),
}
DOCUMENT = {"ids": np.array([[[2, 3, 0], [4, 0, 0]]])}
PAIR = {"ids": IDS, "target": np.array([[4, 3]])}
SOUND = {  # ones would be normalised to nothing
    "features": np.random.default_rng(0).normal(size=[2, 10, 4]).astype("float32"),
    "frames": np.array([10, 5]),
    "target": np.array([[3, 2], [4, 2]]),
}


def translator(attention, bridge="learnt", tie="target", layers=1, cell="gru", **options):
    encoder = {**ENCODER, "stack": {"units": 5, "cell": cell, "layers": layers}}
    kinds = {"attention": attention, "bridge": bridge, "tie": tie, "layers": layers, "cell": cell}
    return models.EncoderDecoder(encoder, 9, 4, units=10, **kinds, **options)


MODELS = {
    "last": (
        lambda: models.Classifier(3, ONE_WAY, {"kind": "last", "bidirectional": False}),
        WORDS,
    ),
    "all that stands for a token": (
        lambda: models.Classifier(3, ALL_PARTS, {"kind": "max"}),
        TOKENS,
    ),
    "sentences by self-attention": (
        lambda: models.HierarchicalClassifier(
            3, ENCODER, {"units": 6, "layers": 2}, {"kind": "self_attention"}
        ),
        DOCUMENT,
    ),
    "softmax": (
        lambda: models.Tagger(3, {**ALL_PARTS, "character_encoder": "rnn"}, crf=False),
        TOKENS,
    ),
    "additive": (lambda: translator("bahdanau", coverage=True, scheduled_sampling=0.2), PAIR),
    "multiplicative": (lambda: translator("luong_general", "copied", "none", 2, "lstm"), PAIR),
    "conditional": (lambda: translator("conditional", "learnt", "all", 2), PAIR),
    "copies with vectors": (
        lambda: models.PointerGenerator(VECTORS, units=6, token_vectors=[0] * 9),
        {**PAIR, "vector_ids": IDS},
    ),
    "attending": (
        lambda: models.SpeechRecognizer(
            4, 7, {"units": 3, "halvings": 1}, {"embedding_dim": 4, "units": 6}
        ),
        SOUND,
    ),
    "story": (
        lambda: models.StoryReader(3, ENCODER, units=6, hops=3),
        {**DOCUMENT, "question": np.array([[7, 2]])},
    ),
}


# Five of the ten have every kind of part; all take a minute.
FEW = (
    "all that stands for a token",
    "sentences by self-attention",
    "conditional",
    "attending",
    "story",
)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in FEW else pytest.mark.full) for kind in MODELS]
)
def test_shapes_make_the_weights_that_a_call_makes(kind):
    make, inputs = MODELS[kind]
    keras.backend.clear_session()  # or names that count the layers of a process would differ
    keras.utils.set_random_seed(3)
    model = make()
    model.build({name: (None, None, *value.shape[2:]) for name, value in inputs.items()})
    assert all(layer.built for layer in model._flatten_layers())

    # The same model as if it said nothing of its shapes: Keras then calls it to find them.
    silent = type(type(model).__name__, (type(model),), {"build": keras.layers.Layer.build})
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    called = silent.from_config(model.get_config())
    outputs = tf.nest.flatten(called(inputs))

    assert [weight.path for weight in model.weights] == [weight.path for weight in called.weights]
    for ours, theirs in zip(model.weights, called.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    number = len(model.weights)
    for ours, theirs in zip(tf.nest.flatten(model(inputs)), outputs, strict=True):
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert len(model.weights) == number
