"""Reading a story for a word: facts that lead from one to the next."""

import itertools
from typing import Any

import keras
from keras import ops

from keras_rnn.cells import QueryReductionCell
from keras_rnn.layers import Dropout, FusedRNN
from keras_rnn.models.encoder import TextEncoder
from keras_rnn.registration import register

Tensor = Any

# The vectors of words at first.
WORDS = {"class_name": "RandomNormal", "config": {"stddev": 0.3}}


@register
class StoryReader(keras.Model):
    """Reads the sentences of a story in their order, several times, and answers with one of the known answers.

        read(text) = [encoder(text), Σ_j l_j * v_j]      l_ji = (1 - j / J) - (i / d) (1 - 2 j / J)
        x_s = W_x read(sentence_s) + b_x      q = W_q read(question) + b_q      q¹_s = q
        →h^k = cell(x, q^k)      ←h^k = cell(x, q^k) from the end      q^{k+1} = →h^k + ←h^k
        logits = W relu(W_o [→h^K_last, q] + b_o) + b

    with v_j the vector of the j-th of J words, i = 1 … d, and l_j the weights of its place, without which a sentence
    would be worth its words in any order. Sentences and question are read alike, by their words too, and W_x = W_q at
    first, so that the products of both, which the gates look at, are large from the first where they speak of the same.

    In each hop every sentence makes of its question what is left to ask, and hands that on: what "Where is the map?"
    has become after "Ada took the map" is asked, in the next hop, of the sentences that follow.

    Weights: those of the `encoder`; `fact` W_xᵀ and `query` W_qᵀ [encoder's states + vectors, units]; of each hop a
    `QueryReductionCell` in `forwards_k`, of each but the last one in `backwards_k` as well; `hidden` W_oᵀ [2 · units,
    units] and `logits` Wᵀ [units, answers]. The dense ones have a bias each.

    Arguments:
        answers: number of answers.
        encoder: arguments of `TextEncoder`, for sentences and question; its last states stand for the text.
        units: size of x and of the queries.
        hops: how often the story is read.
        dropout: share of features dropped of x, and of the last layer.

    Call argument: a dict with `ids` int32 [batch, sentences, words], `question` int32 [batch, question_time] and, where
    there are vectors, `vector_ids` and `question_vector_ids`. Gives logits [batch, answers] in float32. Where sentences
    recur, `distinct_ids` [distinct, words] may give each of them once, `distinct_vector_ids` likewise, and `which`
    [batch, sentences] say where it stands: each is then read once.

    Source: Seo et al. 2017, Query-Reduction Networks for Question Answering, with a recurrent net that reads each
    sentence beside the weights of places of Sukhbaatar et al. 2015, End-To-End Memory Networks, section 4.1.

    Example:

    >>> import numpy as np
    >>> reader = StoryReader(3, {"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 5}}, units=6)
    >>> logits = reader({"ids": np.array([[[4, 5], [6, 0]]]), "question": np.array([[7]])})
    >>> logits.shape.as_list()
    [1, 3]
    """

    def __init__(
        self,
        answers: int,
        encoder: dict,
        units: int,
        hops: int = 4,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = {
            "answers": answers,
            "encoder": encoder,
            "units": units,
            "hops": hops,
            "dropout": dropout,
        }
        dtype = self.dtype_policy
        # As small as Keras makes them by itself, the vectors would hardly be heard at first.
        encoder = {"embedding_initializer": WORDS, **encoder}
        # With the words' own vectors beside what the recurrent layers make of them.
        self.encoder = TextEncoder(**encoder, skip=True, dtype=dtype, name="encoder")
        # The same at first, so that what speaks of the same has a large product.
        alike = keras.initializers.GlorotUniform()
        self.fact = keras.layers.Dense(units, kernel_initializer=alike, dtype=dtype, name="fact")
        self.query = keras.layers.Dense(units, kernel_initializer=alike, dtype=dtype, name="query")
        self.dropout = Dropout(dropout, dtype=dtype, name="dropout")

        def read(name, go_backwards=False):
            cell = QueryReductionCell(units, dtype=dtype, name="cell")
            return FusedRNN(
                cell,
                return_sequences=True,
                return_extras=True,
                go_backwards=go_backwards,
                name=name,
            )

        self.forwards = [read(f"forwards_{hop}") for hop in range(hops)]
        # What the last hop would hand to earlier sentences nobody asks for.
        self.backwards = [read(f"backwards_{hop}", go_backwards=True) for hop in range(hops - 1)]
        self.hidden = keras.layers.Dense(units, activation="relu", dtype=dtype, name="hidden")
        self.logits = keras.layers.Dense(answers, dtype="float32", name="logits")

    def build(self, features_shape):
        batch, sentences, words = features_shape["ids"]
        units = self.config["units"]
        self.encoder.build({"ids": (None, words)})
        read = self.encoder.stack.features + self.encoder.width
        self.fact.build((batch, sentences, read))
        self.query.build((batch, read))
        self.dropout.build((batch, sentences, units))
        # Hop by hop, which is the order in which their weights are drawn.
        for pair in itertools.zip_longest(self.forwards, self.backwards):
            for rnn in filter(None, pair):
                rnn.build((batch, sentences, 2 * units))
        self.hidden.build((batch, 2 * units))
        self.logits.build((batch, units))

    def call(self, features: dict, training: bool = False) -> Tensor:
        return self.explain(features, training=training)[0]

    def explain(self, features: dict, training: bool = False) -> tuple[Tensor, Tensor]:
        """Logits, and what each hop takes of each sentence at the story's end: float32 [batch, hops, sentences].

        The weights of a hop are those of its last state, α_s = z_s Π_{t>s} (1 - z_t); they sum to 1 at most.
        """
        mask = ops.any(features["ids"] != 0, axis=2)
        x = self.dropout(self.facts(features, training), training=training)
        q = self.question(features, training)
        queries = ops.broadcast_to(q[:, None], ops.shape(x))
        hops = []
        for hop, forwards in enumerate(self.forwards):
            inputs = ops.concatenate([x, queries], axis=-1)
            h, extras = forwards(inputs, mask=mask)
            hops.append(_weights(extras["z"][:, :, 0], mask))
            if hop < len(self.backwards):
                later, _ = self.backwards[hop](inputs, mask=mask)
                queries = h + ops.flip(later, axis=1)
        found = self.hidden(ops.concatenate([h[:, -1], q], axis=-1))
        return self.logits(self.dropout(found, training=training)), ops.stack(hops, axis=1)

    def gates(self, features: dict) -> dict[str, Tensor]:
        """Those of the encoder over the sentences: name -> [batch, sentences, words, units]."""
        return self.encoder.sentence_gates(features)

    def facts(self, features: dict, training: bool = False) -> Tensor:
        """x of every sentence, [batch, sentences, units]."""
        batch, sentences, words = ops.shape(features["ids"])
        names = [name for name in ("ids", "vector_ids") if name in features]
        if "which" in features:
            distinct = {name: features[f"distinct_{name}"] for name in names}
            return ops.take(self.fact(self._read(distinct, training)), features["which"], axis=0)
        flat = {name: ops.reshape(features[name], (-1, words)) for name in names}
        x = self.fact(self._read(flat, training))
        return ops.reshape(x, (batch, sentences, x.shape[-1]))

    def question(self, features: dict, training: bool = False) -> Tensor:
        """The question at first, [batch, units]."""
        inputs = {"ids": features["question"]}
        if "question_vector_ids" in features:
            inputs["vector_ids"] = features["question_vector_ids"]
        return self.query(self._read(inputs, training))

    def _read(self, inputs: dict, training: bool) -> Tensor:
        """Texts, [texts, words] -> [texts, features]: what recurrent layers make of them, and their words."""
        h, mask, states = self.encoder(inputs, training=training, return_state=True)
        vectors = h[:, :, -self.encoder.width :]
        placed = vectors * ops.cast(_places(mask, self.encoder.width), vectors.dtype)
        last = states[-1][0]
        return ops.concatenate([last, ops.sum(placed, axis=1)], axis=-1)

    def get_config(self):
        return {**super().get_config(), **self.config}


def _places(mask: Tensor, width: int) -> Tensor:
    """Mask [texts, words] of words from the left -> l, float32 [texts, words, width], 0 where masked."""
    real = ops.cast(mask, "float32")
    part = ops.cumsum(real, axis=1) / ops.maximum(ops.sum(real, axis=1, keepdims=True), 1.0)
    feature = ops.arange(1, width + 1, dtype="float32") / width
    places = (1 - part[:, :, None]) - feature * (1 - 2 * part[:, :, None])
    return places * real[:, :, None]


def _weights(z: Tensor, mask: Tensor) -> Tensor:
    """Gates [batch, sentences] -> α_s = z_s Π_{t>s} (1 - z_t), 0 where masked."""
    z = ops.where(mask, ops.cast(z, "float32"), 0.0)
    kept = ops.flip(ops.cumprod(ops.flip(1 - z, axis=1), axis=1), axis=1)
    # Of all later sentences, without this one.
    after = ops.concatenate([kept[:, 1:], ops.ones_like(kept[:, :1])], axis=1)
    return z * after
