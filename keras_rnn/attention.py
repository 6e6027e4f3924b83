"""Attention: pooling over one sequence, and alignment of a query with a memory.

Everything here is a plain Keras layer. `AttentionPooling` and `StructuredSelfAttention` turn a
sequence into one vector or a few; `BahdanauAttention` and `LuongAttention` answer a query with a
context vector. The softmax is taken in float32 under every policy, a masked position has weight
exactly 0, and a row without one real position gives zero weights and a zero context, with no NaN
in values or gradients.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_rnn.keras_internals import mask_of
from keras_rnn.registration import register

Tensor = Any
Dot = Callable[[Tensor, Any], Tensor]

# Stands for minus infinity: finite, so that the gradient of a row without real positions is 0.
LOWEST = -1e30


def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax over the last axis in float32, over the real positions alone.

    Arguments:
        scores: tensor [..., time].
        mask: bool tensor that broadcasts to `scores`, true = real; None means all are real.

    Returns:
        Weights [..., time] in float32 (float64 for float64 scores): exactly 0 where `mask` is
        false, and 0 all along a row that has no real position; every other row sums to 1.

    >>> import numpy as np
    >>> from keras_rnn.attention import masked_softmax
    >>> scores = np.array([[1.0, 1.0, 9.0], [1.0, 2.0, 3.0]], "float32")
    >>> mask = np.array([[True, True, False], [False, False, False]])
    >>> np.asarray(masked_softmax(scores, mask)).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    """
    scores = ops.convert_to_tensor(scores)
    scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
    if mask is not None:
        mask = ops.cast(mask, "bool")
        scores = ops.where(mask, scores, LOWEST)
    # `initial` also lets time be 0.
    highest = ops.max(scores, axis=-1, keepdims=True, initial=LOWEST)
    weights = ops.exp(scores - ops.stop_gradient(highest))
    if mask is not None:
        weights = ops.where(mask, weights, 0.0)
    total = ops.sum(weights, axis=-1, keepdims=True)
    return weights / ops.where(total > 0, total, 1.0)


def matmul_dot(operand: Tensor, variable: Any) -> Tensor:
    """The product of an operand with a weight, in the operand's dtype: the plain `dot`."""
    return ops.matmul(operand, ops.cast(variable, operand.dtype))


def _zero_masked(sequence: Tensor, mask: Tensor | None) -> Tensor:
    """Zeros the vectors of masked positions: 0 times what stands in padding may be NaN."""
    if mask is None:
        return sequence
    mask = ops.expand_dims(ops.cast(mask, "bool"), -1)
    return ops.where(mask, sequence, ops.zeros((), sequence.dtype))


def _add_axis(mask: Tensor | None, axis: int) -> Tensor | None:
    return None if mask is None else ops.expand_dims(mask, axis)


@register
class AttentionPooling(keras.layers.Layer):
    """One vector for a sequence: the mean of its vectors, weighted by what the layer looks for.

        u_it = tanh(W_w h_it + b_w)      α_it = softmax_t(u_it · u_w)      s_i = Σ_t α_it h_it

    Weights: `kernel` W_wᵀ [features, units], `bias` b_w [units], `context_vector` u_w [units].

    Arguments:
        units: size of the hidden vectors u_it.
        kernel_initializer: for `kernel` and `context_vector`.
        kernel_regularizer: for `kernel` and `context_vector`.

    Call arguments:
        h: tensor [batch, time, features]; further axes may stand between batch and time.
        mask: bool [batch, time], true = real; filled in by Keras where `h` carries a mask.
        return_weights: also return α, float32 [batch, time].

    Returns:
        The pooled vectors [batch, features], or the pair (pooled, α).

    Raises:
        ValueError: for `units` that are no integer above 0.

    Source: Yang et al. 2016, Hierarchical Attention Networks for Document Classification.

    >>> import numpy as np
    >>> from keras_rnn.attention import AttentionPooling
    >>> pooled, alpha = AttentionPooling(4)(np.ones([2, 3, 5], "float32"), return_weights=True)
    >>> pooled.shape.as_list(), alpha.shape.as_list()
    ([2, 5], [2, 3])
    """

    def __init__(
        self,
        units: int,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = _positive(units, "units", self)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, h_shape: tuple[int | None, ...]) -> None:
        self.kernel = _add_weight(self, "kernel", h_shape[-1], self.units)
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        self.context_vector = _add_weight(self, "context_vector", self.units)

    def call(
        self, h: Tensor, mask: Tensor | None = None, return_weights: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        h = _zero_masked(h, mask)
        u = ops.tanh(matmul_dot(h, self.kernel) + self.bias)
        alpha = masked_softmax(_times_vector(u, self.context_vector), mask)
        weights = ops.expand_dims(ops.cast(alpha, h.dtype), -2)
        pooled = ops.squeeze(ops.matmul(weights, h), -2)
        return (pooled, alpha) if return_weights else pooled

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        """The time axis is gone, and its mask with it."""
        return None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **_shared_config(self)}


@register
class StructuredSelfAttention(keras.layers.Layer):
    """A few vectors for a sequence, each a mean under weights of its own.

        A = softmax_t(W_2 tanh(W_1 Hᵀ))      M = A H      penalty · ‖A Aᵀ - I‖²_F

    The penalty pushes the rows apart and each row onto few positions. It is a loss of the layer,
    averaged over the rows of the batch that have a real position.

    Weights: `kernel` W_1ᵀ [features, units], `row_kernel` W_2ᵀ [units, rows].

    Arguments:
        units: size of the hidden vectors.
        rows: number of weightings, r in the paper.
        penalty: factor of the penalty; 0 adds no loss.
        kernel_initializer: for both kernels.
        kernel_regularizer: for both kernels.

    Call arguments:
        h: tensor [batch, time, features].
        mask: bool [batch, time], true = real; filled in by Keras where `h` carries a mask.
        return_weights: also return A, float32 [batch, rows, time].

    Returns:
        M [batch, rows, features], or the pair (M, A).

    Raises:
        ValueError: for `units` or `rows` that are no integer above 0, or a negative penalty.

    Source: Lin et al. 2017, A Structured Self-attentive Sentence Embedding.

    >>> import numpy as np
    >>> from keras_rnn.attention import StructuredSelfAttention
    >>> layer = StructuredSelfAttention(4, rows=2, penalty=1.0)
    >>> layer(np.ones([3, 6, 5], "float32")).shape.as_list(), len(layer.losses)
    ([3, 2, 5], 1)
    """

    def __init__(
        self,
        units: int,
        rows: int,
        penalty: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = _positive(units, "units", self)
        self.rows = _positive(rows, "rows", self)
        if penalty < 0:
            raise ValueError(f"{type(self).__name__}: penalty must be 0 or more, not {penalty}.")
        self.penalty = penalty
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, h_shape: tuple[int | None, ...]) -> None:
        self.kernel = _add_weight(self, "kernel", h_shape[-1], self.units)
        self.row_kernel = _add_weight(self, "row_kernel", self.units, self.rows)

    def call(
        self, h: Tensor, mask: Tensor | None = None, return_weights: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        h = _zero_masked(h, mask)
        scores = matmul_dot(ops.tanh(matmul_dot(h, self.kernel)), self.row_kernel)
        alpha = masked_softmax(ops.swapaxes(scores, -1, -2), _add_axis(mask, -2))
        pooled = ops.matmul(ops.cast(alpha, h.dtype), h)
        if self.penalty:
            self.add_loss(self.penalty * self._mean_overlap(alpha, mask))
        return (pooled, alpha) if return_weights else pooled

    def _mean_overlap(self, alpha: Tensor, mask: Tensor | None) -> Tensor:
        """‖A Aᵀ - I‖²_F, averaged over the rows of the batch with a real position."""
        products = ops.matmul(alpha, ops.swapaxes(alpha, -1, -2))
        overlap = ops.sum(
            ops.square(products - ops.eye(self.rows, dtype=products.dtype)), axis=(-2, -1)
        )
        if mask is None:
            return ops.mean(overlap)
        real = ops.cast(ops.any(ops.cast(mask, "bool"), axis=-1), overlap.dtype)
        return ops.sum(overlap * real) / ops.maximum(ops.sum(real), 1.0)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        """The time axis is gone, and its mask with it."""
        return None

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rows": self.rows,
            "penalty": self.penalty,
            **_shared_config(self),
        }


class Attention(keras.layers.Layer):
    """Alignment of a query with a memory: the base of `BahdanauAttention` and `LuongAttention`.

        e_tj = score(s_t, h_j)      α_tj = softmax_j(e_tj)      context_t = Σ_j α_tj h_j

    A new attention is one class: `build(query_shape, memory_shape)` adds its weights,
    `keys(memory, dot)` does once a sentence what needs no query, and `scores(query, keys, dot)`
    gives e. Inside a recurrent cell, call `keys` once and `attend` at every step with the cell's
    own `dot`; as a layer, call it.

    An attention that minds where it has looked sets `remembers`: `remember(alpha, past)` makes of
    the weights of a step, and of what was remembered before it, what the next step's
    `scores(query, keys, dot, past)` are given. It begins as zeros [batch, source_time].

    Arguments:
        units: size of what is compared; each score says which.
        kernel_initializer: for all weights.
        kernel_regularizer: for all weights.

    Call arguments:
        query: tensor [batch, features] or [batch, target_time, features].
        memory: tensor [batch, source_time, features].
        mask: bool [batch, source_time] over the memory, true = real; where it is not given, the
            mask that the memory carries.
        return_weights: also return α, float32 [batch, source_time] or
            [batch, target_time, source_time].

    Returns:
        The context [batch, features] or [batch, target_time, features], or (context, α).

    Raises:
        ValueError: for `units` that are no integer above 0.

    >>> class Nearest(Attention):  # the nearer a vector of the memory, the more it weighs
    ...     def build(self, query_shape, memory_shape):
    ...         pass
    ...     def keys(self, memory, dot=None):
    ...         return memory
    ...     def scores(self, query, keys, dot=None):
    ...         return -ops.sum((query[:, None] - keys) ** 2, axis=-1)
    >>> memory = ops.reshape(ops.arange(6.0), [1, 3, 2])
    >>> context = Nearest(2)(memory[:, 1], memory)
    >>> ops.convert_to_numpy(context).round(2).tolist()
    [[2.0, 3.0]]
    """

    remembers = False

    def __init__(
        self,
        units: int,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = _positive(units, "units", self)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        # A query of target_time keeps its mask: the context has the query's time axis.
        self.supports_masking = True

    def keys(self, memory: Tensor, dot: Dot = matmul_dot) -> Tensor:
        """What the scores need of the memory: [batch, source_time, units], once a sentence."""
        raise NotImplementedError(f"{type(self).__name__} must define keys(memory, dot).")

    def scores(self, query: Tensor, keys: Tensor, dot: Dot = matmul_dot) -> Tensor:
        """e: [batch, source_time], or [batch, target_time, source_time] for such a query."""
        raise NotImplementedError(f"{type(self).__name__} must define scores(query, keys, dot).")

    def remember(self, alpha: Tensor, past: Tensor) -> Tensor:
        """What the next step's scores are given, [batch, source_time]."""
        raise NotImplementedError(f"{type(self).__name__} must define remember(alpha, past).")

    def attend(
        self,
        query: Tensor,
        memory: Tensor,
        keys: Tensor,
        mask: Tensor | None = None,
        dot: Dot = matmul_dot,
        past: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The context and the weights α for one query, from keys made before.

        Vectors of `memory` at masked positions must be finite (their weight is exactly 0). `past`
        is what an attention that remembers has kept; None where it has looked at nothing yet.
        """
        one_query = len(query.shape) == 2
        if not one_query:
            mask = _add_axis(mask, -2)
        looked = {} if past is None else {"past": past}
        alpha = masked_softmax(self.scores(query, keys, dot, **looked), mask)
        weights = ops.cast(alpha, memory.dtype)
        if one_query:
            return ops.squeeze(ops.matmul(ops.expand_dims(weights, -2), memory), -2), alpha
        return ops.matmul(weights, memory), alpha

    def call(
        self,
        query: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        return_weights: bool = False,
        memory_mask: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        # Keras fills `memory_mask` from the mask that `memory` carries.
        mask = memory_mask if mask is None else mask
        memory = _zero_masked(memory, mask)
        context, alpha = self.attend(query, memory, self.keys(memory), mask)
        return (context, alpha) if return_weights else context

    def compute_mask(self, query: Tensor, previous_mask: Tensor | None = None) -> Tensor | None:
        return mask_of(query) if len(query.shape) == 3 else None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **_shared_config(self)}


@register
class BahdanauAttention(Attention):
    """Additive attention.

        e_tj = v · tanh(W_s s_t + W_h h_j)
        α_tj = softmax_j(e_tj)
        context_t = Σ_j α_tj h_j

    The decoder gives s_{t-1} as the query; the context enters the input of step t. With coverage
    the scores know how much each position has been looked at before:

        e_tj = v · tanh(W_s s_t + W_h h_j + w_c Σ_{i<t} α_ij)

    Weights: `query_kernel` W_sᵀ [query features, units], `memory_kernel` W_hᵀ [memory features,
    units], `score_vector` v [units]; with coverage `coverage_vector` w_c [units].

    Arguments:
        units: size of the hidden vectors that are compared.
        coverage: look at what was looked at. It is kept by an `AttentionCell`, step by step; the
            layer by itself has looked at nothing yet.

    Call arguments and returns: as `Attention`.

    Source: Bahdanau et al. 2015, Neural Machine Translation by Jointly Learning to Align and
    Translate; coverage: Tu et al. 2016, Modeling Coverage for Neural Machine Translation, and See
    et al. 2017, equation 11.

    >>> import numpy as np
    >>> from keras_rnn.attention import BahdanauAttention
    >>> layer = BahdanauAttention(4)
    >>> memory = np.ones([2, 3, 5], "float32")
    >>> mask = np.array([[True, True, False], [True, True, True]])
    >>> context, alpha = layer(np.ones([2, 6], "float32"), memory, mask=mask, return_weights=True)
    >>> context.shape.as_list(), alpha.numpy()[0].tolist()
    ([2, 5], [0.5, 0.5, 0.0])
    """

    def __init__(self, units: int, coverage: bool = False, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.coverage = self.remembers = coverage

    def build(
        self, query_shape: tuple[int | None, ...], memory_shape: tuple[int | None, ...]
    ) -> None:
        _build_additive(self, query_shape, memory_shape)
        if self.coverage:
            self.coverage_vector = _add_weight(self, "coverage_vector", self.units)

    def keys(self, memory: Tensor, dot: Dot = matmul_dot) -> Tensor:
        return dot(memory, self.memory_kernel)

    def scores(
        self, query: Tensor, keys: Tensor, dot: Dot = matmul_dot, past: Tensor | None = None
    ) -> Tensor:
        if past is not None:
            w_c = ops.cast(self.coverage_vector, keys.dtype)
            keys = keys + ops.expand_dims(ops.cast(past, keys.dtype), -1) * w_c
        return _additive_scores(self, query, keys, dot)

    def remember(self, alpha: Tensor, past: Tensor) -> Tensor:
        return past + ops.cast(alpha, past.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "coverage": self.coverage}


@register
class LocationAttention(Attention):
    """Additive attention that knows where it looked a step ago, so that it goes on from there.

        f_t = F ∗ α_{t-1}                                         convolution over the positions
        e_tj = v · tanh(W_s s_t + W_h h_j + U f_tj)
        α_tj = softmax_j(e_tj)      context_t = Σ_j α_tj h_j

    Weights: those of `BahdanauAttention`, `location_filters` F [width, filters] and `location_kernel`
    Uᵀ [filters, units].

    Arguments:
        units: size of the hidden vectors that are compared.
        filters: how many of them.
        width: positions that a filter spans, odd, the middle one being the position itself.

    Call arguments and returns: as `Attention`; the layer by itself has looked at nothing yet, an
    `AttentionCell` keeps α from step to step.

    Raises:
        ValueError: an even width.

    Source: Chorowski et al. 2015, Attention-Based Models for Speech Recognition, equations 8 and 9.

    >>> import keras, keras_rnn
    >>> cell = keras_rnn.AttentionCell(keras_rnn.GRUCell(8), keras_rnn.LocationAttention(6))
    >>> decoder = keras_rnn.FusedRNN(cell, return_sequences=True)
    >>> decoder(keras.ops.ones((2, 5, 3)), memory=keras.ops.ones((2, 7, 4))).shape
    TensorShape([2, 5, 8])
    """

    remembers = True

    def __init__(self, units: int, filters: int = 10, width: int = 15, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.filters, self.width = (
            _positive(filters, "filters", self),
            _positive(width, "width", self),
        )
        if width % 2 == 0:
            raise ValueError(f"LocationAttention: width must be odd, not {width}.")

    def build(
        self, query_shape: tuple[int | None, ...], memory_shape: tuple[int | None, ...]
    ) -> None:
        _build_additive(self, query_shape, memory_shape)
        self.location_filters = _add_weight(self, "location_filters", self.width, self.filters)
        self.location_kernel = _add_weight(self, "location_kernel", self.filters, self.units)

    def keys(self, memory: Tensor, dot: Dot = matmul_dot) -> Tensor:
        return dot(memory, self.memory_kernel)

    def scores(
        self, query: Tensor, keys: Tensor, dot: Dot = matmul_dot, past: Tensor | None = None
    ) -> Tensor:
        if past is not None:
            keys = keys + self._location(ops.cast(past, keys.dtype))
        return _additive_scores(self, query, keys, dot)

    def _location(self, past: Tensor) -> Tensor:
        """U f: [batch, source_time, units]."""
        positions, half = ops.shape(past)[1], self.width // 2
        padded = ops.pad(past, [[0, 0], [half, half]])
        windows = [padded[:, place : place + positions] for place in range(self.width)]
        found = matmul_dot(ops.stack(windows, axis=-1), self.location_filters)
        return matmul_dot(found, self.location_kernel)

    def remember(self, alpha: Tensor, past: Tensor) -> Tensor:
        return ops.cast(alpha, past.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "width": self.width}


@register
class LuongAttention(Attention):
    """Multiplicative attention and its relatives.

        dot:      e_tj = s_t · h_j
        general:  e_tj = s_t · W_a h_j
        concat:   e_tj = v · tanh(W_s s_t + W_h h_j),   [W_s, W_h] = W_a on [s_t; h_j]
        α_tj = softmax_j(e_tj)      context_t = Σ_j α_tj h_j

    The decoder gives s_t as the query; the attentional vector that is made of the context enters
    the input of the next step.

    Weights: dot has none; general `memory_kernel` W_aᵀ [memory features, units]; concat as
    `BahdanauAttention`.

    Arguments:
        units: dot: the size of query and memory; general: the size of the query; concat: the
            size of the hidden vectors.
        score: "dot", "general" or "concat".

    Call arguments and returns: as `Attention`.

    Raises:
        ValueError: an unknown score, or sizes of query and memory that the score cannot take.

    Source: Luong et al. 2015, Effective Approaches to Attention-based Neural Machine Translation.

    >>> import numpy as np
    >>> from keras_rnn.attention import LuongAttention
    >>> query, memory = np.ones([2, 7, 4], "float32"), np.ones([2, 3, 5], "float32")
    >>> LuongAttention(4, score="general")(query, memory).shape.as_list()
    [2, 7, 5]
    """

    def __init__(self, units: int, score: str = "dot", **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        if score not in ("dot", "general", "concat"):
            raise ValueError(
                f"LuongAttention: score must be dot, general or concat, not {score!r}."
            )
        self.score = score

    def build(
        self, query_shape: tuple[int | None, ...], memory_shape: tuple[int | None, ...]
    ) -> None:
        if self.score == "concat":
            _build_additive(self, query_shape, memory_shape)
            return
        if query_shape[-1] != self.units:
            raise ValueError(
                f"LuongAttention(units={self.units}, score={self.score!r}): the query has "
                f"{query_shape[-1]} features; it must have {self.units}, or use score='concat'."
            )
        if self.score == "general":
            self.memory_kernel = _add_weight(self, "memory_kernel", memory_shape[-1], self.units)
        elif memory_shape[-1] != self.units:
            raise ValueError(
                f"LuongAttention(units={self.units}, score='dot'): the memory has "
                f"{memory_shape[-1]} features; it must have {self.units}, or use score='general'."
            )

    def keys(self, memory: Tensor, dot: Dot = matmul_dot) -> Tensor:
        keys = memory if self.score == "dot" else dot(memory, self.memory_kernel)
        # Their products with a query may leave the range of float16, which ends at 65504.
        narrow = self.score != "concat" and keys.dtype == "float16"
        return ops.cast(keys, "float32") if narrow else keys

    def scores(self, query: Tensor, keys: Tensor, dot: Dot = matmul_dot) -> Tensor:
        if self.score == "concat":
            return _additive_scores(self, query, keys, dot)
        if len(query.shape) == 2:
            return ops.squeeze(ops.matmul(keys, ops.expand_dims(query, -1)), -1)
        return ops.matmul(query, ops.swapaxes(keys, -1, -2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "score": self.score}


def _positive(value: Any, name: str, layer: keras.layers.Layer) -> int:
    if not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(
            f"{type(layer).__name__}: {name} must be an integer above 0, not {value!r}."
        )
    return value


def _add_weight(layer: Any, name: str, *shape: int) -> Any:
    initializer = layer.kernel_initializer
    # Asked twice, an initializer of Keras draws the same numbers: weights that share one would begin alike.
    if isinstance(initializer, keras.initializers.Initializer):
        initializer = initializer.clone()
    return layer.add_weight(
        shape=shape, initializer=initializer, regularizer=layer.kernel_regularizer, name=name
    )


def _times_vector(hidden: Tensor, vector: Any) -> Tensor:
    """hidden [..., units] times vector [units] -> [...]."""
    return ops.squeeze(matmul_dot(hidden, ops.expand_dims(vector, -1)), -1)


def _build_additive(layer: Attention, query_shape: Any, memory_shape: Any) -> None:
    layer.query_kernel = _add_weight(layer, "query_kernel", query_shape[-1], layer.units)
    layer.memory_kernel = _add_weight(layer, "memory_kernel", memory_shape[-1], layer.units)
    layer.score_vector = _add_weight(layer, "score_vector", layer.units)


def _additive_scores(layer: Attention, query: Tensor, keys: Tensor, dot: Dot) -> Tensor:
    hidden = ops.expand_dims(dot(query, layer.query_kernel), -2)  # [batch, (target_time,) 1, units]
    if len(query.shape) == 3:
        keys = ops.expand_dims(keys, -3)  # [batch, 1, source_time, units]
    return _times_vector(ops.tanh(hidden + keys), layer.score_vector)


def _shared_config(layer: Any) -> dict[str, Any]:
    return {
        "units": layer.units,
        "kernel_initializer": keras.initializers.serialize(layer.kernel_initializer),
        "kernel_regularizer": keras.regularizers.serialize(layer.kernel_regularizer),
    }
