"""A vector for each word from its characters: a convolution, or a recurrent layer in both directions."""

import math
from typing import Any

import keras
from keras import ops

from keras_rnn.cells import make_cell
from keras_rnn.layers.rnn import FusedRNN
from keras_rnn.registration import register

Tensor = Any


# Less than any sum of a filter, and finite in float16 as well.
LOWEST = -6e4


def unit_vectors(dimension: int) -> keras.initializers.Initializer:
    """Random vectors of mean squared length 1."""
    bound = math.sqrt(3 / dimension)
    return keras.initializers.RandomUniform(-bound, bound)


class _CharacterLayer(keras.layers.Layer):
    """Characters' vectors, word by word; a subclass says how they become one."""

    def __init__(self, alphabet_size: int, units: int, embedding_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.alphabet_size = alphabet_size
        self.units = units
        self.embedding_dim = embedding_dim
        # Vectors of length 1: Keras's own are so short that the filters learn little at first.
        self.embedding = keras.layers.Embedding(
            alphabet_size,
            embedding_dim,
            embeddings_initializer=unit_vectors(embedding_dim),
            dtype=self.dtype_policy,
            name="embedding",
        )

    def call(self, ids: Tensor, training: bool = False) -> Tensor:
        shape = ops.shape(ids)
        words = ops.reshape(ids, (-1, shape[-1]))
        pooled = self.pool(self.embedding(words), words != 0, training)
        return ops.reshape(pooled, (*shape[:-1], self.features))

    def compute_output_shape(self, ids_shape):
        return (*ids_shape[:-1], self.features)

    def get_config(self):
        own = {name: getattr(self, name) for name in ("alphabet_size", "units", "embedding_dim")}
        return {**super().get_config(), **own}


@register
class CharacterConvolution(_CharacterLayer):
    """A vector for each word from its characters: convolutions of several widths, the largest value of each.

        v_k = max_t relu(W_k [e_t … e_{t+k-1}] + b_k),  k = 2, 3, 4

    One zero vector stands before the word and zeros after it, so that all filters see where it begins, and
    those of three characters and more where it ends.

    Weights: `embedding` [alphabet_size, embedding_dim]; for each width k `kernel_k` [k, embedding_dim, units];
    `bias` [units · number of widths].

    Arguments:
        alphabet_size: number of character ids, 0 is padding.
        units: filters of each width.
        embedding_dim: size of a character's vector.
        widths: in characters.

    Call argument: `ids` int32 [batch, time, characters]; gives [batch, time, units · number of widths]. A word with
    no character gives zeros.

    Source: Kim et al. 2016, Character-Aware Neural Language Models.

    Example:

    >>> import numpy as np
    >>> layer = CharacterConvolution(9, units=4)
    >>> layer(np.array([[[4, 5, 0], [0, 0, 0]]])).shape
    TensorShape([1, 2, 12])
    """

    def __init__(
        self,
        alphabet_size: int,
        units: int,
        embedding_dim: int = 16,
        widths: tuple[int, ...] = (2, 3, 4),
        **kwargs,
    ):
        super().__init__(alphabet_size, units, embedding_dim, **kwargs)
        self.widths = tuple(widths)
        self.features = units * len(self.widths)

    def build(self, ids_shape):
        self.embedding.build(ids_shape)
        self.kernels = [
            self.add_weight(shape=(width, self.embedding_dim, self.units), name=f"kernel_{width}")
            for width in self.widths
        ]
        self.bias = self.add_weight(shape=(self.features,), initializer="zeros", name="bias")

    def pool(self, x: Tensor, real: Tensor, training: bool) -> Tensor:
        real = real[..., None]
        length, widest = ops.shape(x)[1], max(self.widths)
        before = min(1, widest - 1)
        padded = ops.pad(ops.where(real, x, 0.0), ((0, 0), (before, widest - 1 - before), (0, 0)))
        # All widths in one product over the windows of the widest: much faster than convolutions on a CPU.
        windows = [padded[:, place : place + length] for place in range(widest)]
        kernels = [
            ops.pad(ops.cast(kernel, self.compute_dtype), ((0, widest - width), (0, 0), (0, 0)))
            for width, kernel in zip(self.widths, self.kernels, strict=True)
        ]
        kernel = ops.reshape(
            ops.concatenate(kernels, axis=-1), (widest * self.embedding_dim, self.features)
        )
        found = ops.matmul(ops.concatenate(windows, axis=-1), kernel)
        # The largest first, then bias and rectifier: they keep the order, and there is less to compute.
        return ops.relu(ops.max(ops.where(real, found, LOWEST), axis=1) + self.bias)

    def get_config(self):
        return {**super().get_config(), "widths": list(self.widths)}


@register
class CharacterRNN(_CharacterLayer):
    """A vector for each word from its characters: the last states of a recurrent layer in both directions.

        v = [forward state at the last character, backward state at the first]

    Weights: `embedding` [alphabet_size, embedding_dim], and those of the two cells.

    Arguments:
        alphabet_size: number of character ids, 0 is padding.
        units: size of the state, for each direction.
        embedding_dim: size of a character's vector.
        cell: name of the cell.

    Call argument: `ids` int32 [batch, time, characters]; gives [batch, time, 2 · units]. A word with no character
    gives zeros.

    Source: Lample et al. 2016, Neural Architectures for Named Entity Recognition.

    Example:

    >>> import numpy as np
    >>> layer = CharacterRNN(9, units=4)
    >>> layer(np.array([[[4, 5, 0], [0, 0, 0]]])).shape
    TensorShape([1, 2, 8])
    """

    def __init__(
        self,
        alphabet_size: int,
        units: int,
        embedding_dim: int = 16,
        cell: str = "lstm",
        **kwargs,
    ):
        super().__init__(alphabet_size, units, embedding_dim, **kwargs)
        self.cell = cell
        dtype = self.dtype_policy
        self.rnn = keras.layers.Bidirectional(
            FusedRNN(make_cell(cell, units, dtype=dtype)), dtype=dtype, name="rnn"
        )
        self.features = 2 * units

    def build(self, ids_shape):
        self.embedding.build(ids_shape)
        self.rnn.build((None, ids_shape[-1], self.embedding_dim))

    def pool(self, x: Tensor, real: Tensor, training: bool) -> Tensor:
        return self.rnn(x, mask=real, training=training)

    def get_config(self):
        return {**super().get_config(), "cell": self.cell}


CHARACTER_LAYERS = {"cnn": CharacterConvolution, "rnn": CharacterRNN}
