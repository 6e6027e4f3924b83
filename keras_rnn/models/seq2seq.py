"""Encoder and decoder: one sequence of tokens from another."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_rnn import draws
from keras_rnn.attention import Attention, BahdanauAttention, LuongAttention
from keras_rnn.cells import AttentionCell, Cell, make_cell
from keras_rnn.layers import Dropout, FusedRNN, SpatialDropout1D
from keras_rnn.layers.characters import unit_vectors
from keras_rnn.models.encoder import TextEncoder, output_size_of
from keras_rnn.models.search import shifted
from keras_rnn.registration import register

Tensor = Any

ATTENTIONS = ("bahdanau", "luong_dot", "luong_general", "luong_concat", "conditional", "none")
COVERING = ("bahdanau", "conditional")
BRIDGES = ("learnt", "copied", "zero")


@register
class Bridge(keras.layers.Layer):
    """From the last states of the encoder to the first ones of the decoder.

        learnt    s_0 = tanh(W [last states of the encoder's last layer] + b), for each state of each layer
        copied    s_0 = the encoder's, layer by layer
        zero      s_0 = 0

    Weights of `learnt`, for state k of layer l: `state_l_k`, a dense layer [encoder's last states, size] with a bias.

    Arguments:
        kind: one of these.
        state_sizes: for each layer of the decoder the sizes of the states to make, integers or tuples of them.

    Raises:
        ValueError: for another kind, or states of the encoder that cannot be copied.

    >>> last_states = [[ops.ones([2, 3]), ops.ones([2, 3])]]  # of one layer, an LSTM's a and c
    >>> [[state.shape for state in layer] for layer in Bridge("learnt", [[4], [4]])(last_states)]
    [[TensorShape([2, 4])], [TensorShape([2, 4])]]
    """

    def __init__(self, kind: str, state_sizes: list[list[int | tuple[int, ...]]], **kwargs):
        super().__init__(**kwargs)
        if kind not in BRIDGES:
            raise ValueError(f"bridge must be one of {', '.join(BRIDGES)}, got {kind!r}.")
        self.kind, self.state_sizes = kind, state_sizes
        self.shapes = [
            [(size,) if isinstance(size, int) else tuple(size) for size in sizes]
            for sizes in state_sizes
        ]
        self.products = []
        if kind == "learnt":
            self.products = [
                [
                    keras.layers.Dense(
                        math.prod(shape),
                        activation="tanh",
                        dtype=self.dtype_policy,
                        name=f"state_{layer}_{k}",
                    )
                    for k, shape in enumerate(shapes)
                ]
                for layer, shapes in enumerate(self.shapes)
            ]

    def build(self, last_states_shape):
        features = sum(math.prod(shape[1:]) for shape in last_states_shape[-1])
        for product in tf.nest.flatten(self.products):
            product.build((None, features))
        shapes = [[tuple(shape[1:]) for shape in layer] for layer in last_states_shape]
        if self.kind == "copied" and shapes != self.shapes:
            raise ValueError(
                f"The encoder's last states have the shapes {shapes}, the decoder's {self.shapes}: bridge='copied' "
                "wants the same cell and layers on both sides, and a decoder as wide as the encoder's directions "
                "together."
            )

    def call(self, last_states: list[list[Tensor]]) -> list[list[Tensor]]:
        if self.kind == "copied":
            return last_states
        first = last_states[-1][0]
        rows = ops.shape(first)[0]
        if self.kind == "zero":
            return [[ops.zeros((rows, *s), first.dtype) for s in shapes] for shapes in self.shapes]
        flat = [ops.reshape(state, (rows, math.prod(state.shape[1:]))) for state in last_states[-1]]
        last = ops.concatenate(flat, axis=-1)
        return [
            [ops.reshape(product(last), (rows, *shape)) for product, shape in zip(*layer)]
            for layer in zip(self.products, self.shapes)
        ]

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "state_sizes": self.state_sizes}


@register
class EncoderDecoder(keras.Model):
    """A recurrent encoder, and a decoder that looks back at it: the logits of each target token.

        h_1 … h_n = encoder(x_1 … x_n)
        s_0 = bridge(last states of the encoder)
        s_t, context_t = decoder(E y_{t-1}, s_{t-1}; h)              an `AttentionCell`
        r_t = tanh(W_r [s_t; context_t; E y_{t-1}] + b_r)
        logits_t = W_o r_t + b_o                                     W_o = E where they are tied

    Weights: those of the `encoder`; `embedding` E [vocabulary_size, embedding_dim], with tie="all" the encoder's own;
    those of the cells `decoder_0`, `decoder_1`, …, the first one in an `AttentionCell` if there is an attention; those
    of the `Bridge`; `readout` W_rᵀ [decoder's output + context + embedding_dim, embedding_dim] with its bias; and
    `output_bias` b_o [vocabulary_size], or with tie="none" `output`, W_oᵀ [embedding_dim, vocabulary_size] with its
    bias.

    Arguments:
        encoder: arguments of `TextEncoder`.
        vocabulary_size: number of target tokens.
        embedding_dim: size of the vector of a target token.
        units: size of the decoder's state.
        cell: name of the decoder's cell.
        layers: of the decoder; the first one looks at the source.
        attention: "bahdanau", "luong_dot", "luong_general", "luong_concat", "conditional" (Nematus), or "none": a plain
            encoder-decoder, whose decoder sees the last states of the encoder and nothing else.
        attention_units: size of the additive attentions' hidden layer.
        coverage: the attention, an additive one, knows how much it has looked at each position before.
        bridge: "learnt", "copied" or "zero".
        tie: "none"; "target": the output's weights are the target embeddings; "all": and those are the source's, too
            (one vocabulary).
        dropout: share dropped of the features of embeddings, and of r.
        recurrent_dropout: share of the decoder's state dropped in recurrent products.
        scheduled_sampling: share of the decoder's inputs in training that are its own guesses: a first pass over the
            right tokens makes them, a second one reads the mixture.

    Call argument: a dict with `ids` int32 [batch, source_time] and `target` int32 [batch, target_time], each sequence
    with its end; gives logits [batch, target_time, vocabulary]. `start` and `advance` make it a decoder for a search.

    Raises:
        ValueError: for an unknown attention, bridge or tie, coverage of an attention without it, or sizes that do not
            go together.

    Source: Sutskever et al. 2014; Bahdanau et al. 2015; Luong et al. 2015; Sennrich et al. 2017; Press and Wolf 2017
        (tied weights); Bengio et al. 2015 and Mihaylova and Martins 2019 (scheduled sampling).

    Example:

    >>> import numpy as np
    >>> from keras_rnn.models.search import beam_search
    >>> source = {"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 5, "cell": "gru"}}
    >>> model = EncoderDecoder(source, vocabulary_size=8, embedding_dim=4, units=6)
    >>> ids, target = np.array([[4, 5, 3], [6, 3, 0]]), np.array([[4, 3], [7, 3]])
    >>> model({"ids": ids, "target": target}).shape.as_list()
    [2, 2, 8]
    >>> beam_search(model, {"ids": ids}, max_length=5, beam=3).tokens.shape.as_list()
    [2, 1, 5]
    """

    def __init__(
        self,
        encoder: dict,
        vocabulary_size: int,
        embedding_dim: int,
        units: int,
        cell: str = "gru",
        layers: int = 1,
        attention: str = "bahdanau",
        attention_units: int = 128,
        coverage: bool = False,
        bridge: str = "learnt",
        tie: str = "target",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        scheduled_sampling: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if attention not in ATTENTIONS:
            raise ValueError(
                f"attention must be one of {', '.join(ATTENTIONS)}, got {attention!r}."
            )
        if attention == "none" and bridge == "zero":
            raise ValueError(
                "A decoder with attention='none' and bridge='zero' would never see the source."
            )
        if coverage and attention not in COVERING:
            raise ValueError(f"coverage=True goes with attention={' or '.join(COVERING)}.")
        if tie not in ("none", "target", "all"):
            raise ValueError(f"tie must be none, target or all, got {tie!r}.")
        same = (vocabulary_size, embedding_dim) == (
            encoder["vocabulary_size"],
            encoder["embedding_dim"],
        )
        if tie == "all" and not same:
            raise ValueError("tie='all' wants one vocabulary and one embedding_dim for both sides.")
        self.config = {
            "encoder": encoder,
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "units": units,
            "cell": cell,
            "layers": layers,
            "attention": attention,
            "attention_units": attention_units,
            "coverage": coverage,
            "bridge": bridge,
            "tie": tie,
            "dropout": dropout,
            "recurrent_dropout": recurrent_dropout,
            "scheduled_sampling": scheduled_sampling,
        }
        dtype = self.dtype_policy
        self.encoder = TextEncoder(**encoder, dtype=dtype, name="encoder")
        self.embedding = self.encoder.embedding
        if tie != "all":
            self.embedding = keras.layers.Embedding(
                vocabulary_size, embedding_dim, dtype=dtype, name="embedding"
            )
        # As rows of the output's weights the vectors must not be as small as Keras makes them.
        self.embedding.embeddings_initializer = unit_vectors(embedding_dim)
        self.input_dropout = SpatialDropout1D(dropout, dtype=dtype, name="dropout")
        self.decoder = [
            FusedRNN(
                self._cell(number),
                return_sequences=True,
                return_extras=number == 0 and attention != "none",
                name=f"decoder_{number}",
            )
            for number in range(layers)
        ]
        self.attends = attention != "none"
        self.output_size = output_size_of(self.decoder[-1])
        cells = [rnn.cell for rnn in self.decoder]
        if self.attends:  # what the attention adds to the states begins as nothing
            cells[0] = cells[0].cell
        sizes = [cell.state_sizes for cell in cells]
        self.bridge = Bridge(bridge, sizes, dtype=dtype, name="bridge")
        self.readout = keras.layers.Dense(
            self.readout_size, activation="tanh", dtype=dtype, name="readout"
        )
        self.output_dropout = Dropout(dropout, dtype=dtype, name="output_dropout")
        self.seed_generator = keras.random.SeedGenerator() if scheduled_sampling else None
        if tie == "none":
            self.output_layer = keras.layers.Dense(vocabulary_size, dtype=dtype, name="output")
        else:
            self.output_bias = self.add_weight(
                shape=(vocabulary_size,), initializer="zeros", name="output_bias"
            )

    @property
    def readout_size(self) -> int:
        """Size of r."""
        return self.config["embedding_dim"]

    @property
    def target_width(self) -> int:
        """Size of what stands for a target token, E y."""
        return self.config["embedding_dim"]

    def build(self, features_shape):
        ids, target = features_shape["ids"], features_shape["target"]
        self.encoder.build(features_shape)
        if self.config["tie"] != "all":
            self.embedding.build(target)
        self.bridge.build(
            [
                [(ids[0], *((size,) if isinstance(size, int) else size)) for size in sizes]
                for sizes in self.encoder.stack.state_sizes
            ]
        )
        self.input_dropout.build((*target, self.target_width))
        memory, x = (*ids, self.encoder.features), (*target, self.target_width)
        for number, rnn in enumerate(self.decoder):
            rnn.build(x, None, memory if number == 0 and self.attends else None)
            x = (*target, self.output_size)
        seen = self.encoder.features if self.attends else 0
        self.build_outputs((*target, self.output_size + seen + self.target_width))

    def build_outputs(self, read_shape: tuple[int | None, ...]) -> None:
        """Builds what reads [s_t; context_t; E y_{t-1}]."""
        r = (*read_shape[:-1], self.readout_size)
        self.readout.build(read_shape)
        self.output_dropout.build(r)
        if self.config["tie"] == "none":
            self.output_layer.build(r)

    def _cell(self, number: int) -> Cell:
        config = self.config
        noise = {}
        if config["recurrent_dropout"]:
            noise["recurrent_dropout"] = config["recurrent_dropout"]

        def cell(name: str) -> Cell:
            options = {"dtype": self.dtype_policy, "name": name, **noise}
            return make_cell(config["cell"], config["units"], **options)

        if number or config["attention"] == "none":
            return cell("cell")
        conditional = config["attention"] == "conditional"
        inner = cell("cell")
        return AttentionCell(
            inner,
            self._attention(inner.output_size),
            context_cell=cell("context_cell") if conditional else None,
            name="attending_cell",
        )

    def _attention(self, query_size: int) -> Attention:
        kind, _, score = self.config["attention"].partition("_")
        options = {"dtype": self.dtype_policy, "name": "attention"}
        if kind == "luong":
            units = self.config["attention_units"] if score == "concat" else query_size
            return LuongAttention(units, score=score, **options)
        return BahdanauAttention(
            self.config["attention_units"], coverage=self.config["coverage"], **options
        )

    # All time steps at once

    def call(self, features: dict, training: bool = False) -> Tensor:
        h, mask, states = self._read(features, training)
        target = features["target"]
        logits = self._logits(shifted(target), h, mask, states, training)
        if training and self.seed_generator is not None:
            draw = draws.uniform(ops.shape(target), self.seed_generator)
            guesses = ops.cast(ops.argmax(logits, axis=-1), target.dtype)
            chosen = draw < self.config["scheduled_sampling"]
            previous = shifted(ops.where(chosen, guesses, target))
            logits = self._logits(previous, h, mask, states, training)
        return logits

    def _logits(self, previous, h, mask, states, training):
        """Logits of every step, each after the right token."""
        y = self.input_dropout(self.embedding(previous), training=training)
        x, extras = self._decode(y, h, mask, states, training)
        context = [extras["context"]] if self.attends else []
        return self._read_out(ops.concatenate([x, *context, y], axis=-1), training)

    def _decode(self, y, h, mask, states, training):
        """The decoder's outputs of every step, and the extras of the cell that attends."""
        x, extras = y, {}
        for number, (rnn, first) in enumerate(zip(self.decoder, states, strict=True)):
            looking = number == 0 and self.attends
            memory = {"memory": h, "memory_mask": mask} if looking else {}
            x = rnn(x, initial_state=first, training=training, **memory)
            if looking:
                x, extras = x
        return x, extras

    def _read(self, features: dict, training: bool):
        """The annotations of the source, their mask, and the decoder's first states."""
        h, mask, last_states = self.encoder(features, training=training, return_state=True)
        states = self.bridge(last_states)
        if self.attends:
            states[0] = self.decoder[0].cell.first_states(states[0], h)
        return h, mask, states

    def _read_out(self, x: Tensor, training: bool = False) -> Tensor:
        r = self.output_dropout(self.readout(x), training=training)
        if self.config["tie"] == "none":
            return self.output_layer(r)
        kernel = ops.transpose(ops.cast(self._output_vectors(), r.dtype))
        # As one product of two matrices; XLA takes a third longer for one matrix a sequence.
        logits = ops.matmul(ops.reshape(r, (-1, r.shape[-1])), kernel)
        logits = ops.reshape(logits, (*ops.shape(r)[:-1], kernel.shape[-1]))
        return logits + ops.cast(self.output_bias, r.dtype)

    def _output_vectors(self) -> Tensor:
        """What tied output weights are: [vocabulary, size of r]."""
        return self.embedding.embeddings

    # Step by step

    def start(self, features: dict) -> dict[str, Any]:
        """The state of a search: what is known of the source, and the decoder's first states."""
        h, mask, states = self._read(features, training=False)
        if not self.attends:
            return {"states": states}
        return {"memory": self.decoder[0].cell.prepare_memory(h, mask), "states": states}

    def advance(self, tokens: Tensor, state: dict[str, Any]):
        """One step: the logits of the next token, the new state, and where it looked."""
        y = self.embedding(tokens)
        x, state, extras = self._step(y, state)
        if not self.attends:
            return self._read_out(ops.concatenate([x, y], axis=-1)), state, {}
        logits = self._read_out(ops.concatenate([x, extras["context"], y], axis=-1))
        return logits, state, {"alpha": extras["alpha"]}

    def _step(self, y: Tensor, state: dict[str, Any]):
        """The decoder's output of one step, the new state, and the extras of the cell that attends."""
        x, looked, new_states = y, {}, []
        for number, (rnn, states) in enumerate(zip(self.decoder, state["states"], strict=True)):
            memory = state.get("memory") if number == 0 else None
            states, extras = rnn.cell.advance(x, states, memory)
            new_states.append(states)
            x = states[0]
            if memory is not None:
                looked = extras
        return x, {**state, "states": new_states}, looked

    def get_config(self):
        return {**super().get_config(), **self.config}
