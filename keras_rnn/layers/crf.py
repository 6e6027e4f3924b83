"""Linear-chain conditional random fields: a layer, and the same as functions of plain tensors."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_rnn.keras_internals import mask_of
from keras_rnn.registration import register
from keras_rnn.scans import either, scan

# Score of what is forbidden: far below any real score, and finite, so that no difference of two of them is NaN.
FORBIDDEN = -1e9
# What stands for minus infinity: a sum of many is still finite.
LOWEST = -1e30
# From here on differences between transitions are too wide for sums of their exponentials in float32.
WIDE = 60.0


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

    Raises:
        ValueError: for permitted tags of another number than the emissions have.

    >>> import numpy as np, keras_rnn
    >>> p = keras_rnn.crf_log_likelihood([[0, 1]], np.zeros((1, 2, 3), "float32"), np.zeros((3, 3), "float32"))
    >>> round(float(np.exp(p[0])), 4)  # one of nine sequences
    0.1111
    """
    chain = _Chain(emissions, transitions, start, end, mask)
    tags = tf.convert_to_tensor(tags)
    if tags.shape.rank == 3 and tags.shape[2] == 1 and chain.tags > 1:
        tags = tags[:, :, 0]  # as Keras takes them for its sparse losses
    if tags.shape.rank == 3:
        if tags.shape[2] not in (None, chain.tags):
            raise ValueError(
                f"tags must be int[batch, time] or bool[batch, time, {chain.tags}], got {tags.shape}."
            )
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
    before, _ = chain.forward(chain.emissions, relative=True)
    after, _ = backwards.forward(backwards.emissions, relative=True)
    scores = before + tf.reverse(after, [1]) - chain.emissions
    return tf.where(chain.mask[:, :, None], tf.nn.softmax(scores), 0.0)


class _Chain:
    """The scores of one batch, in float32, and the recursions over them."""

    def __init__(self, emissions, transitions, start, end, mask):
        emissions = _finite(emissions)
        self.transitions = _finite(transitions)
        zeros = tf.zeros_like(self.transitions[0])
        self.start = zeros if start is None else _finite(start)
        self.end = zeros if end is None else _finite(end)
        sizes = zip(tf.unstack(tf.shape(emissions)[:2]), emissions.shape)
        self.batch, self.time = (now if known is None else known for now, known in sizes)
        self.tags = self.transitions.shape[0]
        if mask is None:
            self.mask = tf.ones(tf.shape(emissions)[:2], tf.bool)
            self.emissions = emissions
        else:
            self.mask = tf.cast(mask, tf.bool)
            # Whatever padding holds, NaN too, has no part in value or gradient.
            self.emissions = tf.where(self.mask[:, :, None], emissions, 0.0)
        self.real = tf.reduce_any(self.mask, axis=1)

    def score(self, tags: tf.Tensor) -> tf.Tensor:
        """Score of the given sequences, [batch]."""
        tags = tf.where(self.mask, tf.cast(tags, tf.int32), 0)
        chosen = tf.one_hot(tags, self.tags) * tf.cast(self.mask, tf.float32)[:, :, None]
        score = tf.reduce_sum(chosen * self.emissions, axis=[1, 2])
        # Real positions to the front: then the neighbours are the consecutive real ones.
        order = tf.argsort(tf.cast(~self.mask, tf.int32), axis=1, stable=True)
        tags = tf.gather(tags, order, batch_dims=1)
        length = tf.reduce_sum(tf.cast(self.mask, tf.int32), axis=1)
        pairs = tags[:, :-1] * self.tags + tags[:, 1:]
        moves = tf.gather(tf.reshape(self.transitions, [-1]), pairs)
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

    def forward(self, emissions: tf.Tensor, relative: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """α of every position, [batch, time, tags], and of the last real one, [batch, tags].

        `relative` to the largest of its position: α itself grows with the length, and float32 has seven digits.

        The sum over the tags before is a product of matrices: e^(α - the row's largest α) times e^(transition - the
        column's largest). No sum is less than the smallest entry of the second, for the first holds a 1; so nothing
        is lost unless a column ranges widely, as forbidden transitions do. Then the sum is taken in log space.
        """

        def by_product(emissions, start, transitions):
            largest = tf.reduce_max(transitions, axis=0)
            factors = tf.exp(transitions - largest)

            def onward(before, dot, largest):
                top = tf.stop_gradient(tf.reduce_max(before, axis=1, keepdims=True))
                return tf.math.log(dot(tf.exp(before - top), factors)) + top + largest

            return self.run(onward, emissions, start, largest, [(factors, factors)], relative)

        def in_log_space(emissions, start, transitions):
            def onward(before, dot, transitions):
                return tf.reduce_logsumexp(before[:, :, None] + transitions, axis=1)

            return self.run(onward, emissions, start, transitions, relative=relative)

        columns = (tf.reduce_min(self.transitions, axis=0), tf.reduce_max(self.transitions, axis=0))
        narrow = tf.reduce_all(columns[0] > columns[1] - WIDE)
        alpha, last = either(
            narrow, by_product, in_log_space, [emissions, self.start, self.transitions]
        )
        return alpha, last

    def forward_best(self, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The scores of the k best sequences up to a position that end in a tag, [batch, time, k, tags].

        And those up to the last real position, [batch, k, tags].
        """

        def largest(before, dot, transitions):
            return _largest(before[:, :, :, None] + transitions, k)

        # The first real position has one sequence for each tag.
        first = tf.where(tf.range(k)[:, None] == 0, self.start, FORBIDDEN)
        return self.run(largest, self.emissions[:, :, None, :], first, self.transitions)

    def run(
        self,
        onward: Callable[..., tf.Tensor],
        emissions: tf.Tensor,
        first: tf.Tensor,
        memory: tf.Tensor,
        weights: Sequence[tuple[tf.Tensor, tf.Tensor]] = (),
        relative: bool = False,
    ) -> list[tf.Tensor]:
        """Scores of every position and of the last real one: `first` at the first real one, then `onward`."""

        def step(emission, states, dot, memory):
            before, begun = states
            memory, first = memory
            after = tf.where(begun > 0, onward(before, dot, memory), first) + emission
            if relative:
                after -= tf.stop_gradient(tf.reduce_max(after, axis=1, keepdims=True))
            return [after, tf.ones_like(begun)], {}

        zeros = tf.zeros([self.batch, *first.shape])
        begun = tf.zeros([self.batch] + [1] * first.shape.rank)
        order = [1, 0, *range(2, first.shape.rank + 2)]
        scanned = scan(
            step,
            tf.transpose(emissions, order),
            [zeros, begun],
            weights,
            mask=tf.transpose(self.mask),
            memory=(memory, first),
        )
        return [tf.transpose(scanned.outputs, order), scanned.states[0]]

    def best(self, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The k best sequences [batch, k, time] and their scores [batch, k]."""
        scores, last = self.forward_best(k)
        # An entry is a rank and a tag: rank · tags + tag.
        best, entry = tf.math.top_k(tf.reshape(last + self.end, [self.batch, k * self.tags]), k)
        scores = tf.reshape(scores, [self.batch, self.time, k * self.tags])
        into = tf.transpose(self.transitions)

        def backward(entry, now):
            """From the entries at a position to those before it: what the forward step took the largest of."""
            before, moves = now
            came_from = tf.tile(tf.gather(into, entry % self.tags), [1, 1, k])
            candidates = before[:, None, :] + came_from
            if k == 1:
                previous = tf.argmax(candidates, axis=2, output_type=tf.int32)
            else:
                ranked = tf.math.top_k(candidates, k).indices
                previous = tf.gather(ranked, entry // self.tags, batch_dims=2)
            return tf.where(moves[:, None], previous, entry)

        # Positions that have a real one before them, each with the scores of the one before.
        seen_before = tf.cumsum(tf.cast(self.mask, tf.int32), axis=1, exclusive=True) > 0
        moves = (self.mask & seen_before)[:, 1:]
        # A loop without a step cannot be stacked; one that moves nothing can.
        one_more = [[0, 1], [0, 0]]
        inputs = (
            tf.pad(tf.transpose(scores[:, :-1], [1, 0, 2]), [*one_more, [0, 0]]),
            tf.pad(tf.transpose(moves), one_more),
        )
        # Turned round by hand: converters to other runtimes know only loops that count upwards.
        reverse = tf.nest.map_structure(lambda stack: tf.reverse(stack, [0]), inputs)
        entries = tf.reverse(tf.scan(backward, reverse, entry), [0])[: self.time]
        tags = tf.transpose(entries % self.tags, [1, 2, 0])
        tags = tf.where(self.mask[:, None, :], tags, 0)
        empty = tf.one_hot(0, k, 0.0, FORBIDDEN)  # its one sequence is none
        return tags, tf.where(self.real[:, None], best, tf.cast(empty, best.dtype))


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
        identity: the name by which a saved loss finds this layer again; a fresh one by default.

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
        kernel_regularizer: Any = None,
        transition_regularizer: Any = None,
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
        self.bias = self.add_weight(
            shape=(self.tags,), name="bias", initializer="zeros", autocast=False
        )
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
        # In float32 under every precision: the scores of long sequences are sums of these.
        emissions = ops.cast(ops.matmul(inputs, self.kernel), "float32")
        return emissions + ops.cast(self.bias, "float32")

    def log_likelihood(self, tags, emissions, mask=None) -> tf.Tensor:
        """log p(tags | emissions) of each row, [batch]; see `crf_log_likelihood`."""
        chain = (self.transitions, self.start, self.end)
        return crf_log_likelihood(tags, emissions, *map(_tensor, chain), mask)

    def decode(self, emissions, mask=None, k: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """The best tags and their scores, within the constraints; see `crf_decode`."""
        mask = mask_of(emissions) if mask is None else mask
        return crf_decode(emissions, *self._constrained(), mask, k)

    def marginals(self, emissions, mask=None) -> tf.Tensor:
        """The probability of each tag at each position, within the constraints; see `crf_marginals`."""
        mask = mask_of(emissions) if mask is None else mask
        return crf_marginals(emissions, *self._constrained(), mask)

    def load_addons_weights(self, weights: Mapping[str, Any] | Sequence[Any]) -> None:
        """Takes the weights of a trained `tfa.layers.CRF` of TensorFlow Addons.

        A layer that is not built yet is built to fit them. Without a boundary, `start` and `end` become zero; without
        a kernel, the kernel becomes the identity.

        Arguments:
            weights: what the layer's `get_weights()` gave; or name -> array, as from the variables of a SavedModel or
                an HDF5 file, where the end of the name counts ("…/chain_kernel:0").

        Raises:
            ValueError: for weights that are missing or of another shape.
        """
        if not isinstance(weights, Mapping):
            weights = _named_addons_weights(list(weights))
        named = {path.split(":")[0].split("/")[-1]: np.asarray(v) for path, v in weights.items()}
        if "chain_kernel" not in named:
            raise ValueError(f"There is no weight called chain_kernel, only {', '.join(named)}.")
        zeros = np.zeros(self.tags)
        for name, shape in (
            ("chain_kernel", (self.tags, self.tags)),
            ("left_boundary", (self.tags,)),
            ("right_boundary", (self.tags,)),
            ("bias", (self.tags,)),
        ):
            found = named.setdefault(name, zeros).shape
            if found != shape:
                raise ValueError(
                    f"{name} has shape {list(found)}; {self.tags} tags need {list(shape)}."
                )
        kernel = named.get("kernel", np.eye(self.tags))
        if not self.built:
            self.build((None, None, kernel.shape[0]))
        if kernel.shape != tuple(self.kernel.shape):
            raise ValueError(
                f"kernel has shape {list(kernel.shape)}; this layer's has {list(self.kernel.shape)}."
            )
        self.kernel.assign(kernel)
        self.bias.assign(named["bias"])
        self.transitions.assign(named["chain_kernel"])
        self.start.assign(named["left_boundary"])
        self.end.assign(named["right_boundary"])

    def transition_scores(self) -> np.ndarray:
        """What stands between tags, [tags + 1, tags + 1]: the last row starts, the last column ends, -inf forbids."""
        moves, start, end = (
            ops.convert_to_numpy(weight) for weight in (self.transitions, self.start, self.end)
        )
        scores = np.block([[moves, end[:, None]], [start, 0.0]])
        return scores if self.constraints is None else np.where(self._permitted, scores, -np.inf)

    @property
    def _permitted(self) -> np.ndarray:
        """The constraints, bool[tags + 1, tags + 1], whatever was given of them."""
        permitted = np.ones((self.tags + 1, self.tags + 1), bool)
        permitted[: len(self.constraints), : len(self.constraints)] = self.constraints
        return permitted

    def _constrained(self) -> list[tf.Tensor]:
        scores = [_tensor(weight) for weight in (self.transitions, self.start, self.end)]
        if self.constraints is None:
            return scores
        n, permitted = self.tags, self._permitted
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
    without a mask, that of the emissions counts. Keras passes its sample weights in the mask's place: real numbers
    [batch], one a sequence.

    Raises:
        ValueError: for sample weights of another shape.

    It is saved with a compiled model and finds its layer again when the model is loaded.
    """

    def __init__(self, layer: CRF, identity: str | None = None):
        super().__init__(name="crf_loss", reduction="sum_over_batch_size", dtype="float32")
        self.layer_of = weakref.ref(layer)  # Keras would save a layer for the loss's own
        self.identity = identity or _fresh_identity()
        _LAYERS[self.identity] = layer

    def __call__(self, tags, emissions, mask=None):
        weights = None
        if mask is not None:
            given = ops.convert_to_tensor(mask)
            if given.dtype.is_floating or given.shape.rank == 1:
                mask, weights = None, _sequence_weights(given)
        mask = mask_of(emissions) if mask is None else ops.cast(mask, "bool")
        losses = -self.layer_of().log_likelihood(tags, emissions, mask)
        if weights is not None:
            # In a graph that was traced for several shapes their rank is unknown.
            tf.debugging.assert_equal(
                tf.size(weights), tf.size(losses), "The sample weights of a CRF are one a sequence."
            )
            losses *= weights
        return tf.reduce_mean(losses)

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
        letter, hyphen, label = tag.partition("-")
        known = letter in tuple(letters[scheme]) and bool(hyphen) == bool(label)
        if not known or (letter == "O" and label):
            raise ValueError(f"{tag!r} is no tag of the scheme {scheme}.")
        # Spans without a label, as B, I, O, are spans of one label.
        parts.append((letter, "" if letter == "O" else label or "_"))

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


def _named_addons_weights(weights: list) -> dict[str, Any]:
    """The weights of a `tfa.layers.CRF` in the order of its `get_weights`: chain, boundary, dense layer."""
    names = {
        1: ["chain_kernel"],
        3: ["chain_kernel", "left_boundary", "right_boundary"],
        5: ["chain_kernel", "left_boundary", "right_boundary", "kernel", "bias"],
    }.get(len(weights))
    if names is None:
        raise ValueError(
            f"tfa.layers.CRF has 1, 3 or 5 weights (as it is made), not {len(weights)}."
        )
    if len(weights) == 3 and np.ndim(weights[1]) == 2:
        names = ["chain_kernel", "kernel", "bias"]
    return dict(zip(names, weights))


def _largest(moved: tf.Tensor, k: int) -> tf.Tensor:
    """The k largest of [batch, ranks, from, to] over ranks and from: [batch, k, to]."""
    if k == 1:
        return tf.reduce_max(moved, axis=[1, 2])[:, None, :]
    batch, tags = tf.shape(moved)[0], moved.shape[3]
    moved = tf.reshape(moved, [batch, k * tags, tags])
    return tf.transpose(tf.math.top_k(tf.transpose(moved, [0, 2, 1]), k).values, [0, 2, 1])


def _finite(scores: tf.Tensor) -> tf.Tensor:
    """float32; what was minus infinity is still far below all else, but no difference of two of them is NaN."""
    return tf.maximum(tf.cast(scores, tf.float32), LOWEST)


def _tensor(weight) -> tf.Tensor:
    return tf.convert_to_tensor(ops.convert_to_tensor(weight))


def _sequence_weights(weights: tf.Tensor) -> tf.Tensor:
    """Sample weights [batch] or [batch, 1] as float32 [batch]."""
    column = weights.shape.is_compatible_with([None, 1])  # in `fit` the rank may be unknown
    if not column and weights.shape.rank != 1:
        raise ValueError(
            "The sample weights of a CRF must be [batch], one a sequence, for its likelihood is one of whole "
            f"sequences; got {weights.shape}. A mask [batch, time] must be bool."
        )
    return tf.reshape(tf.cast(weights, "float32"), [-1])


def _fresh_identity() -> str:
    return np.random.default_rng().bytes(16).hex()
