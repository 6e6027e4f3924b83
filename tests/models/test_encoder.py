"""Encoders: characters by hand, padding, dropout that only training sees."""

import keras
import numpy as np
import pytest

from keras_rnn import CharacterConvolution, CharacterRNN
from keras_rnn.models.encoder import TextEncoder


def encoder(**options):
    settings = {"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 3}, **options}
    return TextEncoder(**settings)


def test_character_convolution_by_hand():
    layer = CharacterConvolution(alphabet_size=6, units=2, embedding_dim=3, widths=(2,))
    ids = np.array([[[1, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]]])
    got = layer(ids).numpy()
    table = layer.embedding.embeddings.numpy()
    kernel, bias = layer.kernels[0].numpy(), layer.bias.numpy()
    for word, characters in enumerate(([1, 2], [3], [])):
        vectors = np.concatenate([np.zeros((1, 3)), table[characters], np.zeros((5, 3))])
        values = [
            np.maximum(vectors[t] @ kernel[0] + vectors[t + 1] @ kernel[1] + bias, 0)
            for t in range(len(characters))
        ]
        wanted = np.max(values, axis=0) if values else np.zeros(2)
        np.testing.assert_allclose(got[0, word], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [CharacterConvolution, CharacterRNN])
def test_characters_of_words_of_any_length_in_one_model(kind):
    ids = keras.Input((None, None), dtype="int32")
    layer = kind(alphabet_size=7, units=4)
    model = keras.Model(ids, layer(ids))
    for shape in ([2, 3, 5], [3, 4, 8]):
        words = np.random.default_rng(0).integers(7, size=shape)
        np.testing.assert_allclose(model.predict_on_batch(words), layer(words), atol=1e-6)


def test_states_do_not_depend_on_padding():
    layer = encoder(alphabet_size=5, character_units=2, skip=True)
    ids = np.array([[2, 3, 4]])
    characters = np.array([[[2, 3], [1, 0], [4, 4]]])
    h, mask = layer({"ids": ids, "characters": characters})
    wider, wider_mask = layer(
        {
            "ids": np.pad(ids, ((0, 1), (0, 2))),
            "characters": np.pad(characters, ((0, 1), (0, 2), (0, 1))),
        }
    )
    np.testing.assert_allclose(h[0], wider[0, :3], rtol=1e-5, atol=1e-6)
    assert wider_mask.numpy().tolist() == [[True] * 3 + [False] * 2, [False] * 5]
    assert h.shape == (1, 3, 2 * 3 + 4 + 3 * 2)


def test_skip_puts_the_embedding_beside_the_state():
    keras.utils.set_random_seed(1)
    layer = encoder(skip=True)
    ids = np.array([[2, 3]])
    h, _ = layer({"ids": ids})
    np.testing.assert_array_equal(h[..., 6:], layer.embedding(ids))


def test_word_dropout_draws_in_training_alone():
    layer = encoder(word_dropout=0.5, skip=True)
    ids = np.full((40, 25), 3)
    ids[:, -5:] = 0
    table = layer({"ids": ids})[0] is not None and layer.embedding.embeddings.numpy()
    plain = layer({"ids": ids})[0].numpy()[..., 6:]
    np.testing.assert_array_equal(plain[:, :20], np.broadcast_to(table[3], (40, 20, 4)))
    drawn = layer({"ids": ids}, training=True)[0].numpy()[..., 6:]
    unknown = (drawn == table[1]).all(-1)
    assert unknown[:, :20].mean() == pytest.approx(0.5, abs=0.06)
    assert not unknown[:, 20:].any()
    again = layer({"ids": ids}, training=True)[0].numpy()[..., 6:]
    assert (again != drawn).any()


def test_given_vectors_stand_beside_the_learnt_ones():
    layer = encoder(vectors_size=7, vectors_dim=2, skip=True)
    h, _ = layer({"ids": np.array([[2, 5]]), "vector_ids": np.array([[6, 1]])})
    table = layer.vectors.embeddings.numpy()
    np.testing.assert_array_equal(h[0, :, 6:10], layer.embedding(np.array([2, 5])))
    np.testing.assert_array_equal(h[0, :, 10:], table[[6, 1]])
    assert all("vectors" not in weight.path for weight in layer.trainable_variables)
