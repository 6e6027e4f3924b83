"""From the states of all words to one vector for the text, and how much each word had a say in it."""

from typing import Any

import keras
from keras import ops

from keras_rnn.attention import AttentionPooling, StructuredSelfAttention
from keras_rnn.registration import register

Tensor = Any

KINDS = ("attention", "self_attention", "max", "mean", "last")


@register
class Pooling(keras.layers.Layer):
    """One vector for a sequence, by one of five ways.

    | kind | vector | weight of a word |
    |---|---|---|
    | `attention` | Σ_t α_t h_t | α_t (Yang et al. 2016) |
    | `self_attention` | the rows of A H, side by side | mean of A over its rows (Lin et al. 2017) |
    | `max` | the largest value of each feature | share of the features whose largest value is there |
    | `mean` | the mean | 1 / number of words |
    | `last` | the state that has read everything | 1 for the last word (half for each end if bidirectional) |

    Weights: those of `AttentionPooling` or of `StructuredSelfAttention` for these two kinds, none for the others.

    Arguments:
        kind: one of the five.
        units: size of the attentions' hidden layer.
        rows: attentions side by side, for `self_attention`.
        penalty: weight of the penalty on alike rows, for `self_attention`.
        bidirectional: for `last`: the second half of the features has read the text from its end.

    Call arguments: `h` [batch, time, features], `mask` bool [batch, time], `return_weights`. Further axes may stand
    between batch and time. A row without one real position gives zeros.

    Raises:
        ValueError: for another kind.

    Example:
        >>> import numpy as np
        >>> h = np.array([[[1.0], [5.0], [9.0]]], "float32")
        >>> Pooling("max")(h, mask=np.array([[True, True, False]])).numpy().tolist()
        [[5.0]]
    """

    def __init__(
        self,
        kind: str = "attention",
        units: int = 64,
        rows: int = 4,
        penalty: float = 0.0,
        bidirectional: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"Pooling(kind={kind!r}): it must be one of {', '.join(KINDS)}")
        self.kind = kind
        self.units = units
        self.rows = rows
        self.penalty = penalty
        self.bidirectional = bidirectional
        self.supports_masking = True
        self.attention = None
        if kind == "attention":
            self.attention = AttentionPooling(units, dtype=self.dtype_policy, name="attention")
        elif kind == "self_attention":
            self.attention = StructuredSelfAttention(
                units, rows, penalty=penalty, dtype=self.dtype_policy, name="self_attention"
            )

    def build(self, h_shape):
        if self.attention is not None:
            self.attention.build(h_shape)

    def pooled_shape(self, h_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the vectors that stand for texts of this shape."""
        vectors = self.rows if self.kind == "self_attention" else 1
        return (*h_shape[:-2], vectors * h_shape[-1])

    def call(self, h: Tensor, mask: Tensor | None = None, return_weights: bool = False):
        if mask is None:
            mask = ops.ones(ops.shape(h)[:-1], "bool")
        mask = ops.cast(mask, "bool")
        pooled, weights = getattr(self, "_" + self.kind)(h, mask)
        return (pooled, weights) if return_weights else pooled

    def _attention(self, h, mask):
        return self.attention(h, mask=mask, return_weights=True)

    def _self_attention(self, h, mask):
        rows, weights = self.attention(h, mask=mask, return_weights=True)
        pooled = ops.reshape(rows, (*ops.shape(rows)[:-2], self.rows * h.shape[-1]))
        return pooled, ops.mean(weights, axis=-2)

    def _max(self, h, mask):
        # -1e4 is below any state of any cell here, and a number in float16.
        h = ops.where(mask[..., None], h, ops.cast(-1e4, h.dtype))
        largest = ops.max(h, axis=-2)
        filled = ops.any(mask, axis=-1, keepdims=True)
        pooled = ops.where(filled, largest, ops.zeros_like(largest))
        first = ops.argmax(h, axis=-2)
        share = ops.mean(ops.one_hot(first, ops.shape(h)[-2], dtype="float32"), axis=-2)
        return pooled, ops.where(mask, share, 0.0)

    def _mean(self, h, mask):
        real = ops.cast(mask, "float32")
        weights = real / ops.maximum(ops.sum(real, axis=-1, keepdims=True), 1.0)
        pooled = ops.sum(ops.cast(h, "float32") * weights[..., None], axis=-2)
        return ops.cast(pooled, h.dtype), weights

    def _last(self, h, mask):
        real = ops.cast(mask, "float32")
        number = ops.cumsum(real, axis=-1) * real
        last = ops.cast(number == ops.max(number, axis=-1, keepdims=True), "float32") * real
        if not self.bidirectional:
            return _pick(h, last), last
        first = ops.cast(number == 1.0, "float32") * real
        half = h.shape[-1] // 2
        pooled = [_pick(h[..., :half], last), _pick(h[..., half:], first)]
        return ops.concatenate(pooled, axis=-1), (last + first) / 2

    def compute_mask(self, inputs, previous_mask=None):
        """The time axis is gone, and its mask with it."""
        return None

    def get_config(self):
        config = {name: getattr(self, name) for name in ("kind", "units", "rows", "penalty")}
        return {**super().get_config(), **config, "bidirectional": self.bidirectional}


def _pick(h: Tensor, chosen: Tensor) -> Tensor:
    """The vector of the one chosen position of each row, by a product (gather is slow in gradients)."""
    return ops.sum(h * ops.cast(chosen, h.dtype)[..., None], axis=-2)
