"""A decoder that writes words of its own or copies those of its source."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_rnn.models.encoder import UNKNOWN
from keras_rnn.models.search import shifted
from keras_rnn.models.seq2seq import EncoderDecoder
from keras_rnn.registration import register

Tensor = Any

# Stands for the logarithm of 0, and for 0 under a logarithm.
LOWEST = -1e9
LEAST = 1e-37

# What other decoders let choose.
FIXED = (
    "attention",
    "bridge",
    "embedding_dim",
    "layers",
    "scheduled_sampling",
    "tie",
    "vocabulary_size",
)


@register
class PointerGenerator(EncoderDecoder):
    """An encoder-decoder over an extended vocabulary: its own words, and those of the text that it lacks.

        α_t, context_t, s_t        as in `EncoderDecoder`
        p_gen = σ(w · [s_t; context_t; E y_{t-1}] + b)
        P(w) = p_gen · P_vocabulary(w) + (1 - p_gen) · Σ_{j: x_j = w} α_tj

    A token of the text that the vocabulary lacks has the id `vocabulary_size` + the first place where it stands: so the
    extended vocabulary of a batch is as large as its texts are long. Such a token is read, when it was written, as it
    is read in the text: as the unknown one, and beside it as its pretrained vector, if there are any. [UNK] itself is
    never written.

    Weights: those of `EncoderDecoder`, whose output has a bias alone, and `switch`, w [units + context + embedding, 1]
    with its b.

    Arguments:
        encoder: arguments of `TextEncoder`, without characters and attributes; its embeddings, pretrained ones beside
            them, are those of the decoder and the weights of the output, too.
        units: size of the decoder's state.
        cell: name of the decoder's cell.
        attention_units: size of the attention's hidden layer.
        coverage: whether the attention knows how much it has looked at each position before.
        dropout: share dropped of the features of E y and of what the output is read from.
        recurrent_dropout: share of the decoder's state dropped in recurrent products.
        token_vectors: for each token of the vocabulary the number of its pretrained vector.

    Call argument: a dict with `ids` int32 [batch, source_time] and `target` int32 [batch, target_time], extended ids,
    and with pretrained vectors `vector_ids` int32 [batch, source_time]; gives the vocabulary's logits [batch,
    target_time, vocabulary], α [batch, target_time, source_time] and the logit of p_gen [batch, target_time], all
    float32. `log_likelihood` and `log_distribution` make probabilities of them. `start` and `advance` make it a decoder
    for a search, of extended ids.

    Raises:
        ValueError: for an encoder with pretrained vectors and no `token_vectors`, or the other way round; for one with
            characters or attributes.
        TypeError: for other arguments of an `EncoderDecoder`.

    Source: See, Liu and Manning 2017, Get To The Point; Press and Wolf 2017 (tied weights).

    Example:

    >>> import numpy as np
    >>> from keras_rnn.models.search import greedy_search
    >>> encoder = {"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 5}}
    >>> model = PointerGenerator(encoder, units=6)
    >>> ids = np.array([[4, 10, 5], [6, 7, 0]])         # the second word of the first text is in no vocabulary
    >>> logits, alpha, switch = model({"ids": ids, "target": np.array([[10, 3], [7, 3]])})
    >>> logits.shape.as_list(), alpha.shape.as_list(), switch.shape.as_list()
    ([2, 2, 9], [2, 2, 3], [2, 2])
    >>> greedy_search(model, {"ids": ids}, max_length=5).tokens.shape.as_list()
    [2, 1, 5]
    """

    def __init__(
        self,
        encoder: dict,
        units: int,
        cell: str = "lstm",
        attention_units: int = 128,
        coverage: bool = True,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        token_vectors: Sequence[int] | None = None,
        **kwargs,
    ):
        for name in FIXED:
            if name in kwargs:
                raise TypeError(
                    f"A PointerGenerator has no {name}: its decoder is one layer of additive attention, "
                    "with the vectors of its encoder."
                )
        for name in ("alphabet_size", "attributes_size"):
            if encoder.get(name):
                raise ValueError(
                    f"A PointerGenerator takes an encoder without {name}, got {name}={encoder[name]}."
                )
        super().__init__(
            encoder,
            vocabulary_size=encoder["vocabulary_size"],
            embedding_dim=encoder["embedding_dim"],
            units=units,
            cell=cell,
            attention_units=attention_units,
            coverage=coverage,
            tie="all",
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            **kwargs,
        )
        self.token_vectors = None if token_vectors is None else [*token_vectors]
        if (self.encoder.vectors is None) != (token_vectors is None):
            raise ValueError("token_vectors go with an encoder that has pretrained vectors.")
        self.switch = keras.layers.Dense(1, dtype=self.dtype_policy, name="switch")

    @property
    def readout_size(self) -> int:
        return self.encoder.width

    @property
    def target_width(self) -> int:
        return self.encoder.width

    def build_outputs(self, read_shape):
        super().build_outputs(read_shape)
        self.switch.build(read_shape)

    def _output_vectors(self) -> Tensor:
        return self._vectors_of(ops.arange(self.config["vocabulary_size"]), None)

    def _vectors_of(self, tokens: Tensor, features: dict | None) -> Tensor:
        """What stands for tokens, [..., width]; of extended ids [batch, ...] with the features of their texts."""
        size = self.config["vocabulary_size"]
        parts = {"ids": ops.where(tokens < size, tokens, UNKNOWN)}
        if self.token_vectors is not None:
            vector_ids = ops.take(ops.array(self.token_vectors, "int32"), parts["ids"], axis=0)
            if features is not None:
                place = ops.where(tokens < size, 0, tokens - size)
                copied = tf.gather(features["vector_ids"], place, batch_dims=1)
                vector_ids = ops.where(tokens < size, vector_ids, ops.cast(copied, "int32"))
            parts["vector_ids"] = vector_ids
        return self.encoder.embed(parts)

    def _read(self, features: dict, training: bool):
        return super()._read(self._known(features), training)

    def _known(self, features: dict) -> dict:
        """Features with the unknown token for what the vocabulary lacks, as the encoder reads them."""
        ids = ops.cast(features["ids"], "int32")
        return {**features, "ids": ops.where(ids < self.config["vocabulary_size"], ids, UNKNOWN)}

    def gates(self, features: dict) -> dict[str, Tensor]:
        """Those of the encoder over texts: name -> [batch, time, units]."""
        return self.encoder.gates(self._known(features))

    # All time steps at once

    def call(self, features: dict, training: bool = False):
        h, mask, states = self._read(features, training)
        previous = shifted(ops.cast(features["target"], "int32"))
        y = self.input_dropout(self._vectors_of(previous, features), training=training)
        s, extras = self._decode(y, h, mask, states, training)
        logits, switch = self._write([s, extras["context"], y], training)
        return logits, ops.cast(extras["alpha"], "float32"), switch

    def _write(self, parts: list[Tensor], training: bool = False) -> tuple[Tensor, Tensor]:
        """Logits of the vocabulary's tokens, and of p_gen."""
        x = ops.concatenate(parts, axis=-1)
        switch = ops.squeeze(ops.cast(self.switch(x), "float32"), -1)
        return ops.cast(self._read_out(x, training), "float32"), switch

    # Step by step

    def start(self, features: dict) -> dict[str, Any]:
        state = super().start(features)
        texts = {"ids": ops.cast(features["ids"], "int32")}
        if self.token_vectors is not None:
            texts["vector_ids"] = ops.cast(features["vector_ids"], "int32")
        return {**state, "texts": texts}

    def advance(self, tokens: Tensor, state: dict[str, Any]):
        y = self._vectors_of(tokens[:, None], state["texts"])[:, 0]
        s, new_state, extras = self._step(y, state)
        logits, switch = self._write([s, extras["context"], y])
        alpha = ops.cast(extras["alpha"], "float32")
        log_probabilities = log_distribution(logits, alpha, switch, state["texts"]["ids"])
        return log_probabilities, new_state, {"alpha": alpha}

    def get_config(self):
        kept = ("encoder", "units", "cell", "attention_units", "coverage", "dropout")
        config = {name: self.config[name] for name in (*kept, "recurrent_dropout")}
        config["token_vectors"] = self.token_vectors
        return {**keras.Model.get_config(self), **config}


def log_distribution(logits: Tensor, alpha: Tensor, switch: Tensor, ids: Tensor) -> Tensor:
    """log P of every token of the extended vocabulary, [rows, vocabulary + source_time]; -1e9 where P is 0.

    Arguments:
        logits: float32 [rows, vocabulary].
        alpha: float32 [rows, source_time], 0 at padding.
        switch: float32 [rows], the logit of p_gen.
        ids: int32 [rows, source_time], extended ids of the texts.

    >>> import numpy as np
    >>> zeros, alpha, ids = np.zeros([1, 4], "float32"), np.float32([[0.25, 0.75]]), np.array([[3, 4 + 1]])
    >>> np.exp(log_distribution(zeros, alpha, zeros[:, 0], ids)).astype(float).round(3).tolist()
    [[0.167, 0.0, 0.167, 0.292, 0.0, 0.375]]
    """
    logits = without_unknown(logits)
    rows, size = ops.shape(logits)[0], logits.shape[-1]
    width = size + ops.shape(alpha)[1]
    generated = ops.log_sigmoid(switch)[:, None] + ops.log_softmax(logits, axis=-1)
    # A word of the text may stand in it several times.
    places = ops.reshape(ids + width * ops.arange(rows)[:, None], (-1,))
    alpha = ops.reshape(ops.where(ids == UNKNOWN, 0.0, alpha), (-1,))
    looked = ops.reshape(tf.math.unsorted_segment_sum(alpha, places, rows * width), (rows, width))
    copied = ops.where(looked > LEAST, ops.log(ops.maximum(looked, LEAST)), LOWEST)
    copied += ops.log_sigmoid(-switch)[:, None]
    generated = tf.pad(generated, [[0, 0], [0, width - size]], constant_values=LOWEST)
    return ops.logaddexp(generated, copied)


def log_likelihood(
    logits: Tensor, alpha: Tensor, switch: Tensor, ids: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """log P of given tokens, and the share of P that comes by copying: float32 [batch, target_time] each.

    Arguments: as for `log_distribution`, with an axis target_time behind that of the batch in `logits`, `alpha` and
    `switch`; `target` int32 [batch, target_time], extended ids.
    """
    logits = without_unknown(logits)
    token = ops.arange(logits.shape[-1])
    right = ops.sum(ops.where(token == target[:, :, None], logits, 0.0), axis=-1)
    generated = ops.log_sigmoid(switch) + right - ops.logsumexp(logits, axis=-1)
    generated = ops.where(target < logits.shape[-1], generated, LOWEST)
    looked = ops.sum(ops.where(ids[:, None] == target[:, :, None], alpha, 0.0), axis=-1)
    # Where nothing is looked at the gradient is 0, not that of a logarithm of 0.
    copied = ops.where(looked > LEAST, ops.log(ops.maximum(looked, LEAST)), LOWEST)
    copied += ops.log_sigmoid(-switch)
    return ops.logaddexp(generated, copied), ops.sigmoid(copied - generated)


def without_unknown(logits: Tensor) -> Tensor:
    """The unknown token is a hole that copying fills; nobody wants to read it."""
    return ops.where(ops.arange(logits.shape[-1]) == UNKNOWN, LOWEST, logits)


def coverage_loss(alpha: Tensor) -> Tensor:
    """Σ_j min(α_tj, Σ_{t'<t} α_t'j), [batch, target_time]: how much a step looks where others have looked.

    Arguments:
        alpha: float32 [batch, target_time, source_time].

    Source: See et al. 2017, equation 12.

    >>> import numpy as np
    >>> coverage_loss(np.float32([[[1, 0], [0.5, 0.5], [0, 1]]])).numpy().tolist()
    [[0.0, 0.5, 0.5]]
    """
    before = ops.cumsum(alpha, axis=1) - alpha
    return ops.sum(ops.minimum(alpha, before), axis=-1)
