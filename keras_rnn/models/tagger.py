"""Taggers: a score of each tag for each token, and what a whole sequence of tags is worth."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_rnn.keras_internals import mask_of
from keras_rnn.layers import CRF, SpatialDropout1D
from keras_rnn.models.encoder import TextEncoder
from keras_rnn.registration import register

Tensor = Any


@register
class IndependentTags(keras.layers.Dense):
    """Tags that do not look at each other: a softmax at each position, with the methods of a `CRF`.

        log p(y|x) = Σ_t log softmax(W h_t + b)[y_t]

    Weights: `kernel` Wᵀ [features, tags], `bias` b [tags].

    Arguments:
        tags: their number.

    >>> layer = IndependentTags(3)
    >>> emissions, mask = layer(tf.ones([1, 2, 4])), tf.constant([[True, False]])
    >>> layer.marginals(emissions, mask).numpy().sum(axis=2).round(3).tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, tags: int, **kwargs):
        super().__init__(tags, **kwargs)
        self.tags = tags

    def log_likelihood(
        self, tags: Tensor, emissions: Tensor, mask: Tensor | None = None
    ) -> tf.Tensor:
        """log p(tags) of each row, [batch]; `tags` int[batch, time], or bool[batch, time, tags] as those permitted."""
        log_probabilities = tf.nn.log_softmax(emissions)
        tags = tf.convert_to_tensor(tags)
        if tags.shape.rank == 3:
            permitted = tf.where(tf.cast(tags, tf.bool), log_probabilities, -1e9)
            each = tf.reduce_logsumexp(permitted, axis=2)
        else:
            each = tf.reduce_sum(tf.one_hot(tags, self.tags) * log_probabilities, axis=2)
        each = each if mask is None else tf.where(tf.cast(mask, tf.bool), each, 0.0)
        return tf.reduce_sum(each, axis=1)

    def decode(self, emissions: Tensor, mask: Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """The likeliest tag of each position, 0 where masked, and the score of each row."""
        mask = _real(emissions, mask)
        best = tf.where(mask, tf.argmax(emissions, axis=2, output_type=tf.int32), 0)
        scores = tf.where(mask, tf.reduce_max(emissions, axis=2), 0.0)
        return best, tf.reduce_sum(scores, axis=1)

    def marginals(self, emissions: Tensor, mask: Tensor | None = None) -> tf.Tensor:
        """p(tag) at each position: float32 [batch, time, tags], 0 where masked."""
        mask = _real(emissions, mask)
        return tf.where(mask[:, :, None], tf.nn.softmax(emissions), 0.0)

    def get_config(self):
        config = super().get_config()
        del config["units"]
        return {**config, "tags": self.tags}


def _real(emissions: Tensor, mask: Tensor | None) -> tf.Tensor:
    """The mask, as a `CRF` finds it: without one that of the emissions, and without that one all are real."""
    mask = mask_of(emissions) if mask is None else mask
    return tf.ones(tf.shape(emissions)[:2], tf.bool) if mask is None else tf.cast(mask, tf.bool)


@register
class Tagger(keras.Model):
    """Embeddings, recurrent layers, and a conditional random field or a softmax: emissions [batch, time, tags].

        h = encoder(ids, …)      emission_t = W h_t + b

    Weights: those of the `encoder`, and those of the last layer, `tags`, a `CRF` or an `IndependentTags`: `kernel` Wᵀ
    [encoder's features, tags], `bias` b [tags], of a `CRF` also `transitions` [tags, tags], `start` and `end` [tags].

    Arguments:
        tags: number of tags.
        encoder: arguments of `TextEncoder`.
        crf: whether tags look at their neighbours.
        constraints: as in `CRF`.
        dropout: share of the states' features dropped, the same ones at every position.

    Call argument: a dict as `TextEncoder` takes it; `real` bool [batch], where it is given, says which rows are no
    fillers. `log_likelihood`, `decode` and `marginals` are those of the last layer, `output_layer`.

    Source: Lample et al. 2016; Ma and Hovy 2016.

    Example:

    >>> import numpy as np
    >>> tagger = Tagger(3, encoder={"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 5}})
    >>> features = {"ids": np.array([[2, 3, 0]])}
    >>> emissions = tagger(features)
    >>> tags, scores = tagger.output_layer.decode(emissions, tagger.mask(features))
    >>> tags.shape.as_list()
    [1, 3]
    """

    def __init__(
        self,
        tags: int,
        encoder: dict,
        crf: bool = True,
        constraints: Any = None,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = {
            "tags": tags,
            "encoder": encoder,
            "crf": crf,
            "constraints": None if constraints is None else np.asarray(constraints).tolist(),
            "dropout": dropout,
        }
        dtype = self.dtype_policy
        self.encoder = TextEncoder(**encoder, dtype=dtype, name="encoder")
        self.dropout = SpatialDropout1D(dropout, dtype=dtype, name="dropout")
        # Sums over long sequences want float32.
        if crf:
            self.output_layer = CRF(tags, constraints, dtype="float32", name="tags")
        else:
            self.output_layer = IndependentTags(tags, dtype="float32", name="tags")

    def build(self, features_shape):
        h = (*features_shape["ids"], self.encoder.features)
        self.encoder.build(features_shape)
        self.dropout.build(h)
        self.output_layer.build(h)

    def mask(self, features: dict) -> Tensor:
        """Which tokens are real, bool [batch, time]; a filler row has none."""
        mask = features["ids"] != 0
        if "real" in features:
            mask = mask & features["real"][:, None]
        return mask

    def call(self, features: dict, training: bool = False) -> Tensor:
        h, _ = self.encoder(features, real=self.mask(features), training=training)
        # A cast here would lose the mask; the output layer makes float32 of h by itself.
        return self.output_layer(self.dropout(h, training=training))

    def get_config(self):
        return {**super().get_config(), **self.config}
