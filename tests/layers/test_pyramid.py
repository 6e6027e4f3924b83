"""Pairs of time steps side by side: the mask comes with the steps, in a functional model, too."""

import keras
import numpy as np

from keras_rnn.layers import HalveTime

X = np.array([[[1.0], [2.0], [3.0], [0.0], [0.0]]], "float32")


def test_steps_bring_their_mask():
    y, mask = HalveTime()(keras.layers.Masking()(X))
    assert mask.numpy().tolist() == [[True, True, False]]
    assert y.numpy().tolist() == [[[1, 2], [3, 0], [0, 0]]]


def test_without_a_mask_all_steps_are_real():
    y, mask = HalveTime()(X)
    assert mask.numpy().tolist() == [[True, True, True]] and y.shape == (1, 3, 2)


def test_in_a_functional_model_the_mask_is_bool():
    inputs = keras.Input((None, 1))
    y, mask = HalveTime()(keras.layers.Masking()(inputs))
    assert mask.dtype == "bool" and y.shape == (None, None, 2)
    model = keras.Model(inputs, [y, mask])
    assert model(X)[1].numpy().tolist() == [[True, True, False]]
