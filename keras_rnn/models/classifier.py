"""Text classifiers: a score for each label."""

from typing import Any

import keras
from keras import ops

from keras_rnn.layers import Dropout, SpatialDropout1D
from keras_rnn.models.encoder import RecurrentStack, TextEncoder
from keras_rnn.models.pooling import Pooling
from keras_rnn.registration import register

Tensor = Any


@register
class Classifier(keras.Model):
    """Embeddings, recurrent layers, pooling, one product: logits [batch, labels] in float32.

        h = encoder(ids)      s = pooling(h)      logits = W s + b

    Weights: those of the `encoder` and of the `pooling`; `logits` Wᵀ [size of s, labels] with its bias.

    Arguments:
        labels: number of labels.
        encoder: arguments of `TextEncoder`.
        pooling: arguments of `Pooling`.
        dropout: share of the pooled vector dropped before the last product.

    Call argument: a dict with `ids` int32 [batch, time], 0 = padding; with characters also `characters` int32 [batch,
    time, word_length]; `real` bool [batch], where it is given, says which rows are no fillers.

    Example:
        >>> import numpy as np
        >>> classifier = Classifier(3, encoder={"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 5}})
        >>> classifier({"ids": np.array([[2, 3, 0]])}).shape.as_list()
        [1, 3]
    """

    def __init__(
        self,
        labels: int,
        encoder: dict,
        pooling: dict | None = None,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        pooling = pooling or {}
        self.config = {"labels": labels, "encoder": encoder, "pooling": pooling, "dropout": dropout}
        dtype = self.dtype_policy
        self.encoder = TextEncoder(**encoder, dtype=dtype, name="encoder")
        self.pooling = Pooling(**pooling, dtype=dtype, name="pooling")
        self.dropout = Dropout(dropout, dtype=dtype, name="dropout")
        self.logits = keras.layers.Dense(labels, dtype="float32", name="logits")

    def build(self, features_shape):
        h = (*features_shape["ids"], self.encoder.features)
        self.encoder.build(features_shape)
        self.pooling.build(h)
        pooled = self.pooling.pooled_shape(h)
        self.dropout.build(pooled)
        self.logits.build(pooled)

    def call(self, features: dict, training: bool = False) -> Tensor:
        return self.explain(features, training=training)[0]

    def explain(self, features: dict, training: bool = False) -> tuple[Tensor, Tensor]:
        """Logits, and how much of a say each token had: float32 [batch, time]."""
        h, mask = self.encoder(features, real=_real_tokens(features), training=training)
        pooled, weights = self.pooling(h, mask=mask, return_weights=True)
        return self.logits(self.dropout(pooled, training=training)), weights

    def gates(self, features: dict) -> dict[str, Tensor]:
        """Those of the encoder: name -> [batch, time, units]."""
        return self.encoder.gates(features)

    def get_config(self):
        return {**super().get_config(), **self.config}


@register
class HierarchicalClassifier(keras.Model):
    """Words make sentences, sentences make the document: logits [batch, labels] in float32.

        h_it = word_encoder(ids_i)      s_i = Σ_t α_it h_it
        h_i = sentence_encoder(s)       v = Σ_i α_i h_i      logits = W v + b

    Weights: those of the encoder of words, `words`, of the `RecurrentStack` over sentences, `sentences`, and of both
    poolings, `word_pooling` and `sentence_pooling`; `logits` Wᵀ [size of v, labels] with its bias.

    Arguments:
        labels: number of labels.
        encoder: arguments of the word level's `TextEncoder`.
        stack: arguments of the sentence level's `RecurrentStack`.
        pooling: arguments of `Pooling`, for both levels.
        dropout: share of the sentence vectors' and of the document vector's features dropped.

    Call argument: a dict with `ids` int32 [batch, sentences, words], 0 = padding, and maybe
    `real` bool [batch].

    Source: Yang et al. 2016, Hierarchical Attention Networks for Document Classification.

    >>> import numpy as np
    >>> words = {"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 3}}
    >>> model = HierarchicalClassifier(2, encoder=words, stack={"units": 5})
    >>> model({"ids": np.array([[[2, 3], [4, 0]]])}).shape  # one text of two sentences
    TensorShape([1, 2])
    """

    def __init__(
        self,
        labels: int,
        encoder: dict,
        stack: dict,
        pooling: dict | None = None,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        pooling = pooling or {}
        self.config = {
            "labels": labels,
            "encoder": encoder,
            "stack": stack,
            "pooling": pooling,
            "dropout": dropout,
        }
        dtype = self.dtype_policy
        self.encoder = TextEncoder(**encoder, dtype=dtype, name="words")
        self.word_pooling = Pooling(**pooling, dtype=dtype, name="word_pooling")
        self.sentence_dropout = SpatialDropout1D(dropout, dtype=dtype, name="dropout")
        self.stack = RecurrentStack(**stack, dtype=dtype, name="sentences")
        self.sentence_pooling = Pooling(**pooling, dtype=dtype, name="sentence_pooling")
        self.dropout = Dropout(dropout, dtype=dtype, name="document_dropout")
        self.logits = keras.layers.Dense(labels, dtype="float32", name="logits")

    def build(self, features_shape):
        batch, sentences, words = features_shape["ids"]
        self.encoder.build({name: (None, words) for name in features_shape})
        h = (None, words, self.encoder.features)
        self.word_pooling.build(h)
        pooled = (batch, sentences, self.word_pooling.pooled_shape(h)[-1])
        self.sentence_dropout.build(pooled)
        self.stack.build(pooled)
        h = self.stack.compute_output_shape(pooled)
        self.sentence_pooling.build(h)
        document = self.sentence_pooling.pooled_shape(h)
        self.dropout.build(document)
        self.logits.build(document)

    def call(self, features: dict, training: bool = False) -> Tensor:
        return self.explain(features, training=training)[0]

    def explain(self, features: dict, training: bool = False) -> tuple[Tensor, Tensor]:
        """Logits, and how much of a say each token had: float32 [batch, sentences, words]."""
        batch, sentences, words = ops.shape(features["ids"])
        mask = _real_tokens(features)
        # Each sentence is a row of its own: [batch · sentences, words].
        names = [name for name in ("ids", "vector_ids") if name in features]
        flat = {name: ops.reshape(features[name], (-1, words)) for name in names}
        h, flat_mask = self.encoder(flat, real=ops.reshape(mask, (-1, words)), training=training)
        pooled, word_weights = self.word_pooling(h, mask=flat_mask, return_weights=True)
        pooled = ops.reshape(pooled, (batch, sentences, pooled.shape[-1]))
        real = ops.any(mask, axis=-1)
        pooled = self.sentence_dropout(pooled, training=training)
        h = self.stack(pooled, mask=real, training=training)
        document, sentence_weights = self.sentence_pooling(h, mask=real, return_weights=True)
        weights = ops.reshape(word_weights, (batch, sentences, words)) * sentence_weights[..., None]
        return self.logits(self.dropout(document, training=training)), weights

    def gates(self, features: dict) -> dict[str, Tensor]:
        """Those of the word level: name -> [batch, sentences, words, units]."""
        return self.encoder.sentence_gates(features)

    def get_config(self):
        return {**super().get_config(), **self.config}


def _real_tokens(features: dict) -> Tensor:
    """Which tokens are real; a filler row has none."""
    mask = features["ids"] != 0
    if "real" in features:
        mask = mask & ops.reshape(features["real"], (-1,) + (1,) * (len(mask.shape) - 1))
    return mask
