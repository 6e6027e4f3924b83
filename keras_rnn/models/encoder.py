"""From token ids to a state for every token: embeddings, then recurrent layers."""

from typing import Any

import keras
from keras import ops

from keras_rnn import draws
from keras_rnn.cells import Cell, make_cell
from keras_rnn.layers import FusedRNN, SpatialDropout1D
from keras_rnn.layers.characters import CHARACTER_LAYERS, unit_vectors
from keras_rnn.registration import register

UNKNOWN = 1

# What may stand beside a token's own vector, in this order.
OTHER_PARTS = ("characters", "vectors", "attributes")

Tensor = Any


def recurrent_layer(
    cell: str, units: int, bidirectional: bool, recurrent_dropout: float, dtype: Any, name: str
) -> keras.layers.Layer:
    """One recurrent layer, forwards or in both directions, that returns its outputs and its last states."""
    noise = {"recurrent_dropout": recurrent_dropout} if recurrent_dropout else {}
    # Named, because Keras would number the cells of a process, and curves would have other names in the next.
    cell = make_cell(cell, units, dtype=dtype, name="cell", **noise)
    layer = FusedRNN(cell, return_sequences=True, return_state=True, name=name)
    return keras.layers.Bidirectional(layer, dtype=dtype, name=name) if bidirectional else layer


def cell_of(layer: keras.layers.Layer) -> Cell:
    """The cell of a `recurrent_layer`, that of the direction forwards."""
    return getattr(layer, "forward_layer", layer).cell


def output_size_of(layer: keras.layers.Layer) -> int:
    """The size of the outputs of a `recurrent_layer`, of one direction: a cell's own may be other than its units.

    Raises:
        ValueError: for outputs that are no vectors.
    """
    cell = cell_of(layer)
    if not isinstance(cell.output_size, int):
        raise ValueError(
            f"The models read vectors; {type(cell).__name__} has the output_size {cell.output_size}."
        )
    return cell.output_size


def gates_of(layer: keras.layers.Layer, x: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """The gates of a `recurrent_layer`, read forwards, and its state: name -> [batch, time, units]."""
    layer = getattr(layer, "forward_layer", layer)
    looking = FusedRNN(
        layer.cell, return_sequences=True, return_extras=True, dtype=layer.dtype_policy
    )
    outputs, extras = looking(x, mask=mask)
    return {**extras, "output": outputs}


@register
class RecurrentStack(keras.layers.Layer):
    """Recurrent layers on top of each other, with dropout before each one after the first.

    Weights: those of the cells, of each layer one, or two if bidirectional.

    Arguments:
        units: of the cell, for each direction.
        cell: name of the cell.
        layers: how many.
        bidirectional: read forwards and backwards; the features are then twice the cell's outputs.
        dropout: share of features dropped, the same ones at every step.
        recurrent_dropout: share of the state dropped in recurrent products.

    Call arguments: `x` [batch, time, features], `mask` bool [batch, time], `training`; gives [batch, time, features],
    and with `return_state` a list of the last states of each layer, those of both directions side by side.

    >>> RecurrentStack(3, layers=2)(ops.ones([1, 5, 4])).shape
    TensorShape([1, 5, 6])
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
            SpatialDropout1D(dropout, dtype=dtype, name=f"dropout_{number}")
            for number in range(1, layers)
        ]
        self.directions = 2 if bidirectional else 1
        self.features = output_size_of(self.rnns[-1]) * self.directions

    @property
    def state_sizes(self) -> list[list[int | tuple[int, ...]]]:
        """Of each layer, the sizes of its last states, both directions side by side."""

        def wide(size):
            whole = isinstance(size, int)
            return size * self.directions if whole else (*size[:-1], size[-1] * self.directions)

        return [[wide(size) for size in cell_of(rnn).state_sizes] for rnn in self.rnns]

    def build(self, x_shape):
        for number, rnn in enumerate(self.rnns):
            rnn.build(x_shape)
            x_shape = (*x_shape[:-1], self.features)
            if number < len(self.dropouts):
                self.dropouts[number].build(x_shape)

    def call(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        training: bool = False,
        return_state: bool = False,
    ):
        last_states = []
        for number, rnn in enumerate(self.rnns):
            if number:
                x = self.dropouts[number - 1](x, training=training)
            x, *states = rnn(x, mask=mask, training=training)
            if self.config["bidirectional"]:
                pairs = zip(states[: len(states) // 2], states[len(states) // 2 :], strict=True)
                states = [ops.concatenate(pair, axis=-1) for pair in pairs]
            last_states.append(states)
        return (x, last_states) if return_state else x

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.features)

    def get_config(self):
        return {**super().get_config(), **self.config}


@register
class TextEncoder(keras.layers.Layer):
    """The state of every token of a text: embeddings and a stack of recurrent layers.

    Weights: `embedding` [vocabulary_size, embedding_dim]; where they are wanted, `characters` (those of the layer),
    `vectors` [vectors_size, vectors_dim], `attributes` [attributes_size, attribute_dim]; those of the `stack`.

    Arguments:
        vocabulary_size: number of token ids; 0 is padding, 1 the unknown token.
        embedding_dim: size of a token's vector.
        stack: arguments of `RecurrentStack`.
        dropout: share of the embeddings' features dropped, the same ones for all words of a text.
        word_dropout: share of the tokens that training replaces by the unknown one, so that its vector is learnt.
        alphabet_size: number of character ids; 0 = no characters.
        character_units: filters of the character convolution, for each of its widths; or units of the recurrence.
        character_encoder: `cnn` or `rnn`.
        embedding_trainable: False keeps the token vectors as they were given.
        embedding_initializer: what the token vectors are drawn from.
        skip: put each token's vector beside its state.
        vectors_size, vectors_dim: shape of a second table of token vectors, with a vocabulary of its own, as
            pretrained ones have it; size 0 = none.
        vectors_trainable: False keeps that table as it was given.
        attributes_size, attributes, attribute_dim: number of attribute ids (0 = none), how many a token has, and the
            size of the vector of each.

    Call arguments: `features`, a dict with `ids` int32 [batch, time] and, where they are wanted, `characters` int32
    [batch, time, word_length], `vector_ids` int32 [batch, time], `attributes` int32 [batch, time, attributes]; to read
    each word's characters once, `characters` [words, word_length] and `words` int32 [batch, time], which is where; in
    the place of all but `ids`, `embedded` [batch, time, width], what `embed` gave of them; `real` bool [batch, time],
    from the ids where it is not given; `training`.

    Returns: states [batch, time, features] and the mask; with `return_state` also the last states of each layer.

    >>> import numpy as np
    >>> encoder = TextEncoder(vocabulary_size=9, embedding_dim=4, stack={"units": 3})
    >>> h, mask = encoder({"ids": np.array([[2, 5, 0]])})
    >>> h.shape, mask.numpy().tolist()
    (TensorShape([1, 3, 6]), [[True, True, False]])
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
        character_encoder: str = "cnn",
        embedding_trainable: bool = True,
        embedding_initializer: Any = "uniform",
        skip: bool = False,
        vectors_size: int = 0,
        vectors_dim: int = 0,
        vectors_trainable: bool = False,
        attributes_size: int = 0,
        attributes: int = 0,
        attribute_dim: int = 16,
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
            "character_encoder": character_encoder,
            "embedding_trainable": embedding_trainable,
            "embedding_initializer": embedding_initializer,
            "skip": skip,
            "vectors_size": vectors_size,
            "vectors_dim": vectors_dim,
            "vectors_trainable": vectors_trainable,
            "attributes_size": attributes_size,
            "attributes": attributes,
            "attribute_dim": attribute_dim,
        }
        self.supports_masking = True
        dtype = self.dtype_policy
        self.embedding = keras.layers.Embedding(
            vocabulary_size,
            embedding_dim,
            embeddings_initializer=embedding_initializer,
            trainable=embedding_trainable,
            dtype=dtype,
            name="embedding",
        )
        self.characters = None
        self.width = embedding_dim
        if alphabet_size:
            self.characters = CHARACTER_LAYERS[character_encoder](
                alphabet_size, character_units, dtype=dtype, name="characters"
            )
            self.width += self.characters.features
        self.vectors = None
        if vectors_size:
            self.vectors = keras.layers.Embedding(
                vectors_size, vectors_dim, trainable=vectors_trainable, dtype=dtype, name="vectors"
            )
            self.width += vectors_dim
        self.attributes = None
        if attributes_size:
            self.attributes = keras.layers.Embedding(
                attributes_size,
                attribute_dim,
                embeddings_initializer=unit_vectors(attribute_dim),
                dtype=dtype,
                name="attributes",
            )
            self.width += attributes * attribute_dim
        self.embedding_dropout = SpatialDropout1D(dropout, dtype=dtype, name="dropout")
        self.stack = RecurrentStack(**stack, dtype=dtype, name="stack")
        self.features = self.stack.features + (self.width if skip else 0)
        self.seed_generator = keras.random.SeedGenerator() if word_dropout else None

    @property
    def parts(self) -> dict[str, keras.layers.Layer]:
        """What makes the vectors of tokens, name -> layer, in the order in which they stand side by side."""
        layers = {name: getattr(self, name) for name in ("embedding", *OTHER_PARTS)}
        return {name: layer for name, layer in layers.items() if layer is not None}

    @property
    def inputs(self) -> list[tuple[str, int]]:
        """Of each feature that the recurrent layers read, the part that it comes from, and its number there."""
        config = self.config
        sizes = {
            "embedding": config["embedding_dim"],
            "characters": self.characters.features if self.characters is not None else 0,
            "vectors": config["vectors_dim"],
            "attributes": config["attributes"] * config["attribute_dim"],
        }
        return [(name, number) for name in self.parts for number in range(sizes[name])]

    def build(self, features_shape):
        ids = features_shape["ids"]
        self.embedding.build(ids)
        if self.characters is not None:
            self.characters.build(features_shape["characters"])
        if self.vectors is not None:
            self.vectors.build(ids)
        if self.attributes is not None:
            self.attributes.build(features_shape["attributes"])
        self.embedding_dropout.build((*ids, self.width))
        self.stack.build((*ids, self.width))

    def call(
        self,
        features: dict,
        real: Tensor | None = None,
        training: bool = False,
        return_state: bool = False,
    ):
        ids = features["ids"]
        # Not called `mask`: Keras fills an argument of that name by itself.
        mask = ids != 0 if real is None else real
        if training and self.seed_generator is not None:
            draw = draws.uniform(ops.shape(ids), self.seed_generator)
            dropped = (draw < self.config["word_dropout"]) & (ids != 0)
            ids = ops.where(dropped, UNKNOWN, ids)
        x = features.get("embedded")
        if x is None:
            x = self.embed({**features, "ids": ids}, training=training)
        x = self.embedding_dropout(x, training=training)
        h, last_states = self.stack(x, mask=mask, training=training, return_state=True)
        if self.config["skip"]:
            h = ops.concatenate([h, x], axis=-1)
        return (h, mask, last_states) if return_state else (h, mask)

    def gates(self, features: dict) -> dict[str, Tensor]:
        """The gates of the first layer at every token, read forwards, and its state: name -> [batch, time, units]."""
        return gates_of(self.stack.rnns[0], self.embed(features), features["ids"] != 0)

    def sentence_gates(self, features: dict) -> dict[str, Tensor]:
        """The same where a text is a list of sentences: name -> [batch, sentences, words, units]."""
        shape = ops.shape(features["ids"])
        names = [name for name in ("ids", "vector_ids") if name in features]
        gates = self.gates({name: ops.reshape(features[name], (-1, shape[2])) for name in names})
        return {name: ops.reshape(gate, (*shape, gate.shape[-1])) for name, gate in gates.items()}

    def embed(self, features: dict, training: bool = False) -> Tensor:
        """All that stands for each token, side by side: [batch, time, width]."""
        ids = features["ids"]
        parts = [self.embedding(ids)]
        if self.characters is not None:
            vectors = self.characters(features["characters"], training=training)
            if "words" in features:
                vectors = ops.take(vectors, features["words"], axis=0)
            parts.append(vectors)
        if self.vectors is not None:
            parts.append(self.vectors(features["vector_ids"]))
        if self.attributes is not None:
            each = self.attributes(features["attributes"])
            parts.append(ops.reshape(each, (*ops.shape(ids), each.shape[-2] * each.shape[-1])))
        return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]

    def get_config(self):
        return {**super().get_config(), **self.config}
