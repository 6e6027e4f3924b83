"""Linear-chain conditional random fields: a layer, and the same as functions of plain tensors."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_rnn.cells.standard import register
from keras_rnn.scan import scan

# Score of what is forbidden: far below any real score, and finite, so that no difference of two of them is NaN.
FORBIDDEN = -1e9


def crf_log_likelihood(
    tags: tf.Tensor,
    emissions: tf.Tensor,
    transitions: tf.Tensor,
    start: tf.Tensor | None = None,
    end: tf.Tensor | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """log p(tags | emissions) of every row, [batch], float32; 0 for an empty row.

        log p(y|x) = Σ_t (emission[t, y_t] + transition[y_{t-1}, y_t]) + start[y_1] + end[y_T] - log Z

    with transitions between consecutive real positions, and log Z by the forward recursion in log space.

    Arguments:
        tags: int[batch, time]; or bool[batch, time, tags], the permitted tags of each position, for sequences that are
            partly observed: then the sum over all permitted sequences.
        emissions: [batch, time, tags].
        transitions: [tags, tags], from the row's tag to the column's.
        start, end: [tags], scores of the first and of the last real tag; zero by default.
        mask: bool[batch, time], any pattern; all real by default.

    >>> import numpy as np, keras_rnn
    >>> p = keras_rnn.crf_log_likelihood([[0, 1]], np.zeros((1, 2, 3), "float32"), np.zeros((3, 3), "float32"))
    >>> round(float(np.exp(p[0])), 4)  # one of nine sequences
    0.1111
    """
    chain = _Chain(emissions, transitions, start, end, mask)
    tags = tf.convert_to_tensor(tags)
    if tags.shape.rank == 3:
        permitted = tf.where(tf.cast(tags, tf.bool), chain.emissions, FORBIDDEN)
        return chain.log_partition(permitted) - chain.log_partition(chain.emissions)
    return chain.score(tags) - chain.log_partition(chain.emissions)


def crf_decode(
    emissions: tf.Tensor,
    transitions: tf.Tensor,
    start: tf.Tensor | None = None,
    end: tf.Tensor | None = None,
    mask: tf.Tensor | None = None,
    k: int | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The best tag sequences and their scores (Viterbi).

    Arguments:
        emissions, transitions, start, end, mask: as in `crf_log_likelihood`.
        k: how many sequences; None for the best one alone.

    Returns:
        tags int32[batch, time], 0 at masked positions, and scores float32[batch]; with `k`, tags [batch, k, time] and
        scores [batch, k], the best first. Where a row has fewer than k sequences, the rest score -1e9 or less.

    >>> import numpy as np, keras_rnn
    >>> tags, scores = keras_rnn.crf_decode(np.eye(3, dtype="float32")[None], np.zeros((3, 3), "float32"))
    >>> tags.numpy().tolist(), scores.numpy().tolist()
    ([[0, 1, 2]], [3.0])
    """
    tags, scores = _Chain(emissions, transitions, start, end, mask).best(k or 1)
    return (tags[:, 0], scores[:, 0]) if k is None else (tags, scores)


def crf_marginals(
    emissions: tf.Tensor,
    transitions: tf.Tensor,
    start: tf.Tensor | None = None,
    end: tf.Tensor | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """p(y_t = tag | emissions), float32[batch, time, tags]; 0 at masked positions.

    From the forward recursion over the sequence and over its reverse:
    p(y_t) = softmax(α_t + β_t - emission_t), where both α_t and β_t hold the emission of t.

    Arguments:
        emissions, transitions, start, end, mask: as in `crf_log_likelihood`.

    >>> import numpy as np, keras_rnn
    >>> keras_rnn.crf_marginals(np.zeros((1, 2, 4), "float32"), np.zeros((4, 4), "float32"))[0, 0].numpy().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    chain = _Chain(emissions, transitions, start, end, mask)
    backwards = _Chain(
        tf.reverse(chain.emissions, [1]),
        tf.transpose(chain.transitions),
        chain.end,
        chain.start,
        tf.reverse(chain.mask, [1]),
    )
    before, _ = chain.forward(chain.emissions)
    after, _ = backwards.forward(backwards.emissions)
    scores = before + tf.reverse(after, [1]) - chain.emissions
    return tf.where(chain.mask[:, :, None], tf.nn.softmax(scores), 0.0)


class _Chain:
    """The scores of one batch, in float32, and the recursions over them."""

    def __init__(self, emissions, transitions, start, end, mask):
        self.emissions = tf.cast(emissions, tf.float32)
        self.transitions = tf.cast(transitions, tf.float32)
        zeros = tf.zeros_like(self.transitions[0])
        self.start = zeros if start is None else tf.cast(start, tf.float32)
        self.end = zeros if end is None else tf.cast(end, tf.float32)
        self.batch, self.time = tf.unstack(tf.shape(self.emissions)[:2])
        self.tags = self.transitions.shape[0]
        shape = tf.shape(self.emissions)[:2]
        self.mask = tf.ones(shape, tf.bool) if mask is None else tf.cast(mask, tf.bool)
        self.real = tf.reduce_any(self.mask, axis=1)

    def score(self, tags: tf.Tensor) -> tf.Tensor:
        """Score of the given sequences, [batch]."""
        tags = tf.cast(tags, tf.int32)
        chosen = tf.one_hot(tags, self.tags) * tf.cast(self.mask, tf.float32)[:, :, None]
        score = tf.reduce_sum(chosen * self.emissions, axis=[1, 2])
        # Real positions to the front: then the neighbours are the consecutive real ones.
        order = tf.argsort(tf.cast(~self.mask, tf.int32), axis=1, stable=True)
        tags = tf.gather(tags, order, batch_dims=1)
        length = tf.reduce_sum(tf.cast(self.mask, tf.int32), axis=1)
        pairs = tags[:, :-1] * self.tags + tags[:, 1:]
        moves = tf.gather(tf.reshape(self.transitions, [-1]), tf.maximum(pairs, 0))
        counts = tf.range(1, tf.maximum(self.time, 1)) < length[:, None]
        score += tf.reduce_sum(tf.where(counts, moves, 0.0), axis=1)
        filled = tf.pad(tags, [[0, 0], [0, 1]])  # a row without positions still has a first
        first, last = filled[:, 0], tf.gather(filled, tf.maximum(length - 1, 0), batch_dims=1)
        ends = tf.reduce_sum(tf.one_hot(first, self.tags) * self.start, axis=1)
        ends += tf.reduce_sum(tf.one_hot(last, self.tags) * self.end, axis=1)
        return tf.where(self.real, score + ends, 0.0)

    def log_partition(self, emissions: tf.Tensor) -> tf.Tensor:
        """log Z, [batch]; the fused scan gives its gradient."""
        _, last = self.forward(emissions)
        partition = tf.reduce_logsumexp(last + self.end, axis=1)
        return tf.where(self.real, partition, 0.0)

    def forward(self, emissions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """α of every position, [batch, time, tags], and of the last real one, [batch, tags]."""
        zeros = tf.zeros([self.batch, self.tags])

        def step(emission, states, dot, memory):
            alpha, begun = states
            transitions, start = memory
            moved = tf.reduce_logsumexp(alpha[:, :, None] + transitions, axis=1)
            return [tf.where(begun > 0, moved, start) + emission, tf.ones_like(begun)], {}

        scanned = scan(
            step,
            tf.transpose(emissions, [1, 0, 2]),
            [zeros, tf.zeros([self.batch, 1])],
            mask=tf.transpose(self.mask),
            memory=(self.transitions, self.start),
        )
        return tf.transpose(scanned.outputs, [1, 0, 2]), scanned.states[0]

    def best(self, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The k best sequences [batch, k, time] and their scores [batch, k]."""
        # A beam entry is (rank, tag), flat. The first real position has one sequence for each tag.
        shape = [self.batch, k, self.tags]
        none = tf.fill(shape, FORBIDDEN)
        only_first = tf.range(k)[None, :, None] == 0
        nowhere = tf.zeros(shape, tf.int32)

        def forward(carried, now):
            scores, begun, _ = carried
            emission, real = now
            moved = scores[:, :, :, None] + self.transitions  # [batch, k, from, to]
            moved = tf.reshape(moved, [self.batch, k * self.tags, self.tags])
            moved, origin = tf.math.top_k(tf.transpose(moved, [0, 2, 1]), k)
            moved, origin = (tf.transpose(x, [0, 2, 1]) for x in (moved, origin))
            begins = tf.where(only_first, self.start, none)
            new = tf.where(begun[:, None, None], moved, begins) + emission[:, None, :]
            real = real[:, None, None]
            return tf.where(real, new, scores), begun | real[:, 0, 0], tf.where(real, origin, -1)

        def backward(entry, now):
            origin, real, begun_before = now
            flat = tf.reshape(origin, [self.batch, k * self.tags])
            previous = tf.gather(flat, entry, batch_dims=1)
            return tf.where((real & begun_before)[:, None], previous, entry)

        by_time = (tf.transpose(self.emissions, [1, 0, 2]), tf.transpose(self.mask))
        initial = (none, tf.zeros([self.batch], tf.bool), nowhere)
        scores, begun, origins = tf.scan(forward, by_time, initial)
        last = tf.concat([initial[0][None], scores], axis=0)[-1]
        final = tf.reshape(last + self.end, [self.batch, k * self.tags])
        best, entry = tf.math.top_k(final, k)
        begun_before = tf.concat([initial[1][None], begun], axis=0)[:-1]
        entries = tf.scan(
            backward, (origins, by_time[1], begun_before), entry, reverse=True
        )  # at t: the entry at the last real position before t
        after = tf.concat([entries, entry[None]], axis=0)[1:]
        tags = tf.transpose(after % self.tags, [1, 2, 0])
        tags = tf.where(self.mask[:, None, :], tags, 0)
        return tags, tf.where(self.real[:, None], best, 0.0)


@register
class CRF(keras.layers.Layer):
    """A linear-chain conditional random field on top of an encoder.

        emission = W h + b
        log p(y|x) = Σ_t (emission[t, y_t] + transition[y_{t-1}, y_t]) + start[y_1] + end[y_T] - log Z

    The layer gives the emissions; `loss`, `decode` and `marginals` take them. The mask of the hidden vectors goes with
    the emissions, so that `model.compile(optimizer, crf.loss)` and `fit` count real positions only.

    Weights:
        kernel: [features, tags]
        bias: [tags]
        transitions: [tags, tags], from the row's tag to the column's
        start, end: [tags]

    Arguments:
        tags: the number of tags.
        constraints: what decoding may do; None for everything. bool[tags, tags], True where the transition is
            permitted; or bool[tags + 1, tags + 1], whose last row says with which tags a sequence may begin and whose
            last column with which it may end. `keras_rnn.tag_constraints` makes one for a tag scheme.
        kernel_regularizer, transition_regularizer: as in Keras.

    Raises:
        ValueError: for constraints of another shape.

    Source: Lafferty, McCallum and Pereira 2001; Lample et al. 2016.

    Example:

    >>> import keras, keras_rnn, numpy as np
    >>> inputs = keras.Input((None, 8))
    >>> crf = keras_rnn.CRF(3)
    >>> model = keras.Model(inputs, crf(keras_rnn.GRU(4, return_sequences=True)(inputs)))
    >>> model.compile("adam", crf.loss)
    >>> history = model.fit(np.ones((2, 5, 8)), np.ones((2, 5), int), verbose=0)
    >>> tags, scores = crf.decode(model(np.ones((2, 5, 8))))
    >>> tags.shape, scores.shape
    (TensorShape([2, 5]), TensorShape([2]))
    """

    def __init__(
        self,
        tags: int,
        constraints: Any = None,
        kernel_regularizer=None,
        transition_regularizer=None,
        identity: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.tags = tags
        self.constraints = None if constraints is None else np.asarray(constraints, bool)
        if self.constraints is not None and self.constraints.shape not in (
            (tags, tags),
            (tags + 1, tags + 1),
        ):
            raise ValueError(
                f"constraints must be bool[{tags}, {tags}] or bool[{tags + 1}, {tags + 1}], "
                f"got {self.constraints.shape}."
            )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.transition_regularizer = keras.regularizers.get(transition_regularizer)
        self.loss = CRFLoss(self, identity)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.tags), name="kernel", regularizer=self.kernel_regularizer
        )
        self.bias = self.add_weight(shape=(self.tags,), name="bias", initializer="zeros")
        self.transitions = self.add_weight(
            shape=(self.tags, self.tags),
            name="transitions",
            regularizer=self.transition_regularizer,
            autocast=False,
        )
        self.start = self.add_weight(
            shape=(self.tags,), name="start", initializer="zeros", autocast=False
        )
        self.end = self.add_weight(
            shape=(self.tags,), name="end", initializer="zeros", autocast=False
        )

    def call(self, inputs, mask=None):
        return ops.matmul(inputs, self.kernel) + self.bias

    def log_likelihood(self, tags, emissions, mask=None) -> tf.Tensor:
        """log p(tags | emissions) of each row, [batch]; see `crf_log_likelihood`."""
        chain = (self.transitions, self.start, self.end)
        return crf_log_likelihood(tags, emissions, *map(_tensor, chain), mask)

    def decode(self, emissions, mask=None, k: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """The best tags and their scores, within the constraints; see `crf_decode`."""
        mask = _mask_of(emissions) if mask is None else mask
        return crf_decode(emissions, *self._constrained(), mask, k)

    def marginals(self, emissions, mask=None) -> tf.Tensor:
        """The probability of each tag at each position, within the constraints; see `crf_marginals`."""
        mask = _mask_of(emissions) if mask is None else mask
        return crf_marginals(emissions, *self._constrained(), mask)

    def _constrained(self) -> list[tf.Tensor]:
        scores = [_tensor(weight) for weight in (self.transitions, self.start, self.end)]
        if self.constraints is None:
            return scores
        n = self.tags
        permitted = np.ones((n + 1, n + 1), bool)
        permitted[: len(self.constraints), : len(self.constraints)] = self.constraints
        parts = (permitted[:n, :n], permitted[n, :n], permitted[:n, n])
        return [tf.where(part, score, FORBIDDEN) for part, score in zip(parts, scores)]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.tags)

    def get_config(self):
        return {
            **super().get_config(),
            "tags": self.tags,
            "constraints": None if self.constraints is None else self.constraints.tolist(),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "transition_regularizer": keras.regularizers.serialize(self.transition_regularizer),
            "identity": self.loss.identity,
        }


# A saved model names the loss's layer by its identity; the layer is made before the loss when it is loaded.
_LAYERS: weakref.WeakValueDictionary[str, CRF] = weakref.WeakValueDictionary()


@register
class CRFLoss(keras.losses.Loss):
    """The loss of a `CRF` layer, as `crf.loss`: -log p(tags | emissions), the mean over the rows.

    Called with (tags, emissions, mask): tags int[batch, time], or bool[batch, time, tags] where several are permitted;
    without a mask, that of the emissions counts. Keras passes its sample weights in the mask's place: [batch].

    It is saved with a compiled model and finds its layer again when the model is loaded.
    """

    def __init__(self, layer: CRF, identity: str | None = None):
        super().__init__(name="crf_loss", reduction="sum_over_batch_size", dtype="float32")
        self.layer_of = weakref.ref(layer)  # Keras would save a layer for the loss's own
        self.identity = identity or _fresh_identity()
        _LAYERS[self.identity] = layer

    def __call__(self, tags, emissions, mask=None):
        weights = None
        if mask is not None and ops.convert_to_tensor(mask).shape.rank == 1:
            mask, weights = None, ops.cast(mask, "float32")
        mask = _mask_of(emissions) if mask is None else ops.cast(mask, "bool")
        losses = -self.layer_of().log_likelihood(tags, emissions, mask)
        return tf.reduce_mean(losses if weights is None else losses * weights)

    def call(self, tags, emissions):
        return -self.layer_of().log_likelihood(tags, emissions, _mask_of(emissions))

    def get_config(self):
        return {"identity": self.identity}

    @classmethod
    def from_config(cls, config):
        layer = _LAYERS.get(config["identity"])
        if layer is None:
            raise ValueError("The loss of a CRF can only be loaded together with its model.")
        return layer.loss


def tag_constraints(tags: Sequence[str], scheme: str) -> np.ndarray:
    """Which transitions a tag scheme permits: bool[tags + 1, tags + 1] for `CRF(constraints=...)`.

    The last row says with which tags a sequence may begin, the last column with which it may end.

    Arguments:
        tags: the names of the tags, as "O", "B-PER", "I-PER".
        scheme: "BIO", "IOB1", "IOBES" or "plain" (everything is permitted).

    Raises:
        ValueError: for an unknown scheme or a tag that is none of it.

    >>> import keras_rnn
    >>> keras_rnn.tag_constraints(["O", "B-X", "I-X"], "BIO").astype(int).tolist()
    [[1, 1, 0, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]]
    """
    outside = ("O", "")
    letters = {"BIO": "OBI", "IOB1": "OBI", "IOBES": "OBIES", "plain": None}
    if scheme not in letters:
        raise ValueError(f"scheme must be one of {', '.join(letters)}, got {scheme!r}.")
    if scheme == "plain":
        permitted = np.ones((len(tags) + 1, len(tags) + 1), bool)
        permitted[-1, -1] = False
        return permitted
    parts = []
    for tag in tags:
        letter, _, label = tag.partition("-")
        if letter not in tuple(letters[scheme]) or (letter == "O") == bool(label):
            raise ValueError(f"{tag!r} is no tag of the scheme {scheme}.")
        parts.append((letter, label))

    def follows(left: tuple[str, str], right: tuple[str, str]) -> bool:
        same = left[1] == right[1] and left != outside
        if scheme == "BIO":  # I continues a span
            return right[0] != "I" or same
        if scheme == "IOB1":  # I begins a span as well; B only right after a span of its own label
            return right[0] != "B" or same
        inside = left[0] in ("B", "I")  # IOBES: a span that has begun goes on to its E
        return (right[0] in ("I", "E") and same) if inside else right[0] in ("O", "B", "S")

    rows = [*parts, outside]
    return np.array(
        [
            [follows(left, right) and not (k == j == len(tags)) for j, right in enumerate(rows)]
            for k, left in enumerate(rows)
        ]
    )


def _tensor(weight) -> tf.Tensor:
    return tf.convert_to_tensor(ops.convert_to_tensor(weight))


def _mask_of(emissions) -> tf.Tensor | None:
    return getattr(emissions, "_keras_mask", None)


def _fresh_identity() -> str:
    return np.random.default_rng().bytes(16).hex()
