"""What Keras keeps to itself is still where this package looks for it."""

import gc
import weakref

import keras
import numpy as np

import keras_rnn
from keras_rnn.keras_internals import (
    drawn_before_the_loop,
    keep_while_ids_are_known,
    layers_of,
    mask_of,
)


def test_a_mask_goes_with_its_tensor():
    y = keras.layers.Masking()(np.array([[[1.0], [0.0]]]))
    np.testing.assert_array_equal(mask_of(y), [[True, False]])
    assert mask_of(keras.ops.ones([1, 2])) is None


def test_the_layers_within_a_layer_are_found_however_deep():
    inner = keras.layers.Dense(2)
    outer = keras.layers.TimeDistributed(inner)
    cell = keras_rnn.ZoneoutCell(keras_rnn.GRUCell(3), 0.1)
    cell.more = [outer]
    assert layers_of(cell) == [cell.cell, outer, inner]
    assert not layers_of(inner)


def test_the_stock_loop_draws_before_it_runs_and_forgets_after():
    seen = []

    class SpyingCell(keras_rnn.GRUCell):
        def step(self, projected, states, dot, memory=None):
            seen.append(drawn_before_the_loop(self))
            return super().step(projected, states, dot, memory)

    cell = SpyingCell(3, recurrent_dropout=0.5, seed=1)
    keras.layers.RNN(cell)(np.ones([2, 4, 3], "float32"), training=True)
    assert seen[-1].shape == (2, 3) and drawn_before_the_loop(cell) is None


def test_a_layer_lives_while_keras_saves_it_and_no_longer(tmp_path):
    born, alive = [], []

    class Brief(keras.layers.Layer):
        def get_config(self):
            keep_while_ids_are_known(self)
            return super().get_config()

    class Outer(keras.layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            brief = Brief()
            born.append(weakref.ref(brief))
            brief.get_config()
            del brief
            gc.collect()
            alive.append(born[-1]() is not None)
            return super().get_config()

    keras.Sequential([keras.Input([2]), Outer()]).save(tmp_path / "model.keras")
    gc.collect()
    assert alive == [True] and born[0]() is None
