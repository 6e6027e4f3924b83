"""From token ids to a state for every token: embeddings, then recurrent layers."""

from typing import Any

import keras
from keras import ops

from keras_rnn.cells import make_cell
from keras_rnn.layers import FusedRNN

UNKNOWN = 1

Tensor = Any


def recurrent_layer(
    cell: str, units: int, bidirectional: bool, recurrent_dropout: float, dtype: Any, name: str
) -> keras.layers.Layer:
    """One recurrent layer that returns the state of every step, forwards or in both directions."""
    noise = {"recurrent_dropout": recurrent_dropout} if recurrent_dropout else {}
    layer = FusedRNN(make_cell(cell, units, dtype=dtype, **noise), return_sequences=True, name=name)
    return keras.layers.Bidirectional(layer, dtype=dtype, name=name) if bidirectional else layer


@keras.saving.register_keras_serializable(package="keras_rnn")
class RecurrentStack(keras.layers.Layer):
    """Recurrent layers on top of each other, with dropout before each one after the first.

    Arguments:
        units: size of the state, for each direction.
        cell: name of the cell.
        layers: how many.
        bidirectional: read forwards and backwards; the features are then 2 · units.
        dropout: share of features dropped, the same ones at every step.
        recurrent_dropout: share of the state dropped in recurrent products.

    Call arguments: `x` [batch, time, features], `mask` bool [batch, time], `training`; gives [batch, time, features].
    """

    def __init__(
        self,
        units: int,
        cell: str = "lstm",
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = {
            "units": units,
            "cell": cell,
            "layers": layers,
            "bidirectional": bidirectional,
            "dropout": dropout,
            "recurrent_dropout": recurrent_dropout,
        }
        self.supports_masking = True
        dtype = self.dtype_policy
        self.rnns = [
            recurrent_layer(cell, units, bidirectional, recurrent_dropout, dtype, f"rnn_{number}")
            for number in range(layers)
        ]
        self.dropouts = [
            keras.layers.SpatialDropout1D(dropout, dtype=dtype, name=f"dropout_{number}")
            for number in range(1, layers)
        ]
        self.features = units * (2 if bidirectional else 1)

    def build(self, x_shape):
        for number, rnn in enumerate(self.rnns):
            rnn.build(x_shape)
            x_shape = (*x_shape[:-1], self.features)
            if number < len(self.dropouts):
                self.dropouts[number].build(x_shape)

    def call(self, x: Tensor, mask: Tensor | None = None, training: bool = False) -> Tensor:
        for number, rnn in enumerate(self.rnns):
            if number:
                x = self.dropouts[number - 1](x, training=training)
            x = rnn(x, mask=mask, training=training)
        return x

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.features)

    def get_config(self):
        return {**super().get_config(), **self.config}


@keras.saving.register_keras_serializable(package="keras_rnn")
class TextEncoder(keras.layers.Layer):
    """The state of every token of a text: embeddings and a stack of recurrent layers.

    Arguments:
        vocabulary_size: number of token ids; 0 is padding, 1 the unknown token.
        embedding_dim: size of a token's vector.
        stack: arguments of `RecurrentStack`.
        dropout: share of the embeddings' features dropped, the same ones for all words of a text.
        word_dropout: share of the tokens that training replaces by the unknown one, so that its vector is learnt.
        alphabet_size: number of character ids; 0 = no characters.
        character_units: filters of the character convolution, for each of its widths.
        embedding_trainable: False keeps the token vectors as they were given.
        skip: put each token's vector beside its state.

    Call arguments: `features`, a dict with `ids` int32 [batch, time] and, with characters, `characters` int32
    [batch, time, word_length]; `real` bool [batch, time], from the ids where it is not given; `training`.

    Returns: states [batch, time, features] and the mask.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        stack: dict,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        alphabet_size: int = 0,
        character_units: int = 32,
        embedding_trainable: bool = True,
        skip: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = {
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "stack": stack,
            "dropout": dropout,
            "word_dropout": word_dropout,
            "alphabet_size": alphabet_size,
            "character_units": character_units,
            "embedding_trainable": embedding_trainable,
            "skip": skip,
        }
        self.supports_masking = True
        dtype = self.dtype_policy
        self.embedding = keras.layers.Embedding(
            vocabulary_size,
            embedding_dim,
            trainable=embedding_trainable,
            dtype=dtype,
            name="embedding",
        )
        self.characters = None
        self.width = embedding_dim
        if alphabet_size:
            self.characters = CharacterConvolution(
                alphabet_size, character_units, dtype=dtype, name="characters"
            )
            self.width += self.characters.features
        self.embedding_dropout = keras.layers.SpatialDropout1D(dropout, dtype=dtype, name="dropout")
        self.stack = RecurrentStack(**stack, dtype=dtype, name="stack")
        self.features = self.stack.features + (self.width if skip else 0)
        self.seed_generator = keras.random.SeedGenerator() if word_dropout else None

    def build(self, features_shape):
        ids = features_shape["ids"]
        self.embedding.build(ids)
        if self.characters is not None:
            self.characters.build(features_shape["characters"])
        self.embedding_dropout.build((*ids, self.width))
        self.stack.build((*ids, self.width))

    def call(self, features: dict, real: Tensor | None = None, training: bool = False):
        ids = features["ids"]
        # Not called `mask`: Keras fills an argument of that name by itself.
        mask = ids != 0 if real is None else real
        if training and self.seed_generator is not None:
            draw = keras.random.uniform(ops.shape(ids), seed=self.seed_generator)
            dropped = (draw < self.config["word_dropout"]) & (ids != 0)
            ids = ops.where(dropped, UNKNOWN, ids)
        x = self.embedding(ids)
        if self.characters is not None:
            x = ops.concatenate([x, self.characters(features["characters"])], axis=-1)
        x = self.embedding_dropout(x, training=training)
        h = self.stack(x, mask=mask, training=training)
        if self.config["skip"]:
            h = ops.concatenate([h, x], axis=-1)
        return h, mask

    def get_config(self):
        return {**super().get_config(), **self.config}


@keras.saving.register_keras_serializable(package="keras_rnn")
class CharacterConvolution(keras.layers.Layer):
    """A vector for each word from its characters: convolutions of several widths, the largest value of each.

        v_k = max_t relu(W_k [e_t … e_{t+k-1}] + b_k),  k = 2, 3, 4

    Weights: `embedding` [alphabet_size, embedding_dim]; for each width k a kernel [k, embedding_dim, units] and a bias.

    Arguments:
        alphabet_size: number of character ids, 0 is padding.
        units: filters of each width.
        embedding_dim: size of a character's vector.
        widths: in characters.

    Call argument: `ids` int32 [batch, time, characters]; gives [batch, time, units · number of widths]. A word with
    no character gives zeros.

    Source: Kim et al. 2016, Character-Aware Neural Language Models.
    """

    def __init__(
        self,
        alphabet_size: int,
        units: int,
        embedding_dim: int = 16,
        widths: tuple[int, ...] = (2, 3, 4),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = {
            "alphabet_size": alphabet_size,
            "units": units,
            "embedding_dim": embedding_dim,
            "widths": list(widths),
        }
        dtype = self.dtype_policy
        self.embedding = keras.layers.Embedding(alphabet_size, embedding_dim, dtype=dtype)
        self.convolutions = [
            keras.layers.Conv1D(units, width, padding="same", activation="relu", dtype=dtype)
            for width in widths
        ]
        self.features = units * len(widths)

    def build(self, ids_shape):
        self.embedding.build(ids_shape)
        for convolution in self.convolutions:
            convolution.build((None, ids_shape[-1], self.config["embedding_dim"]))

    def call(self, ids: Tensor) -> Tensor:
        shape = ops.shape(ids)
        words = ops.reshape(ids, (-1, ids.shape[-1]))
        real = ops.cast(words != 0, self.compute_dtype)[..., None]
        x = self.embedding(words) * real
        # The rectifier makes 0 the smallest value, so that padding never wins.
        pooled = [ops.max(convolution(x) * real, axis=1) for convolution in self.convolutions]
        return ops.reshape(ops.concatenate(pooled, axis=-1), (*shape[:-1], self.features))

    def get_config(self):
        return {**super().get_config(), **self.config}
