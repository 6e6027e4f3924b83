"""Every dropout of a model is switched on in training, and has the rate that was asked for."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from keras_rnn import models

RATE = 0.5
ENCODER = {"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 3}, "dropout": RATE}
DEEP = {**ENCODER, "stack": {"units": 3, "layers": 2, "dropout": RATE}}
IDS = np.array([[4, 5, 3], [6, 3, 0]])
TARGET = np.array([[4, 3], [7, 3]])
SOUND = {
    "features": np.random.default_rng(0).normal(size=[2, 8, 4]).astype("float32"),
    "frames": np.array([8, 5]),
}

MODELS = {
    "speech": (
        lambda: models.SpeechRecognizer(
            4,
            9,
            {"units": 3, "layers": 2, "halvings": 1, "bidirectional": False, "dropout": RATE},
            {"embedding_dim": 4, "units": 3, "dropout": RATE},
            dropout=RATE,
        ),
        {**SOUND, "target": TARGET},
    ),
    "translator": (
        lambda: models.EncoderDecoder(DEEP, 9, 4, units=6, attention_units=3, dropout=RATE),
        {"ids": IDS, "target": TARGET},
    ),
    "copies": (
        lambda: models.PointerGenerator(ENCODER, units=6, attention_units=3, dropout=RATE),
        {"ids": IDS, "target": TARGET},
    ),
    "document": (
        lambda: models.HierarchicalClassifier(
            3, ENCODER, {"units": 3, "layers": 2, "dropout": RATE}, dropout=RATE
        ),
        {"ids": IDS[:, None]},
    ),
}


def outputs(model, inputs, **options):
    return [part.numpy() for part in tf.nest.flatten(model(inputs, **options)) if part is not None]


@pytest.mark.parametrize("kind", MODELS)
def test_each_dropout_by_itself_changes_what_training_sees(kind):
    make, inputs = MODELS[kind]
    model = make()
    whole = outputs(model, inputs)
    dropouts = [x for x in model._flatten_layers() if isinstance(x, keras.layers.Dropout)]
    assert len(dropouts) > 2 and {dropout.rate for dropout in dropouts} == {RATE}
    for one in dropouts:
        for dropout in dropouts:
            dropout.rate = 0.9 if dropout is one else 0.0
        noisy = outputs(model, inputs, training=True)
        assert any((x != y).any() for x, y in zip(whole, noisy, strict=True)), one.path


def test_recurrent_dropout_reaches_every_cell():
    stack = {"units": 3, "recurrent_dropout": 0.4}
    model = models.EncoderDecoder(
        {**ENCODER, "stack": stack},
        vocabulary_size=9,
        embedding_dim=4,
        units=6,
        layers=2,
        recurrent_dropout=0.3,
    )
    cells = [x for x in model._flatten_layers() if isinstance(x, keras_rnn.StandardCell)]
    assert sorted(cell.recurrent_dropout for cell in cells) == [0.3, 0.3, 0.4, 0.4]
