"""Search: the best sequence of tokens under any decoder that goes step by step.

A decoder has two methods:

    start(inputs) -> state                      state: a nest of tensors [batch, ...]
    advance(tokens, state) -> (logits, state)   tokens int32 [rows] -> logits [rows, vocabulary]

`rows` is the batch, or batch · beam. `advance` may give a third value, a dict whose `alpha` [rows, source_time] are
attention weights: alignments and the coverage penalty are made of them. What of the state comes back as the very tensor
that went in is taken to be the same for all hypotheses of a row, and is not moved when they change places.

Every search is one `tf.while_loop` over tensors: it runs eagerly, in a graph, under XLA and in a SavedModel.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from keras_rnn import draws
from keras_rnn.scans import blocks_cut_once

START, END = 2, 3

# Stands for minus infinity, the log-probability of what is forbidden; sums of a few of them are still finite.
LOWEST = -1e9
DEAD = LOWEST / 2  # from here down there is something forbidden in a hypothesis
BARELY = LOWEST / 4  # the least of what is permitted, however low the temperature
MISSING = 2 * LOWEST  # that of no hypothesis at all


class Found(NamedTuple):
    """What a search found, the best first: `n` hypotheses for each row of the batch.

    Attributes:
        tokens: int32 [batch, n, max_length], without start and end, filled up with 0.
        lengths: int32 [batch, n], tokens without start and end.
        scores: float32 [batch, n], what the hypotheses are ranked by.
        log_probabilities: float32 [batch, n], of the tokens and the end together.
        alignments: float32 [batch, n, max_length + 1, source_time], the attention weights of each token and of the end;
            None where the decoder gives none.
    """

    tokens: tf.Tensor
    lengths: tf.Tensor
    scores: tf.Tensor
    log_probabilities: tf.Tensor
    alignments: tf.Tensor | None


def greedy_search(
    decoder: Any,
    inputs: Any,
    max_length: int,
    min_length: int = 0,
    limits: tf.Tensor | None = None,
    block_ngrams: int = 0,
    start: int = START,
    end: int = END,
) -> Found:
    """Takes the likeliest token at every step.

    Arguments:
        decoder: an object with `start` and `advance`.
        inputs: what its `start` takes.
        max_length: most tokens, the end not counted. After so many the end is what is left.
        min_length: fewest tokens; the end comes before, where `block_ngrams` leaves nothing else.
        limits: int [batch], most tokens of each row, where that is less.
        block_ngrams: n, if no n tokens may follow each other twice in a sequence; 0 = they may.
        start: id of the token that begins a sequence.
        end: id of the token that ends it.

    Returns:
        A `Found` with one hypothesis a row; its score is the log-probability.

    Example:

    >>> class Chain:  # 4, then 5, then the end
    ...     def start(self, rows):
    ...         return tf.zeros([rows, 1])
    ...     def advance(self, tokens, state):
    ...         likely = tf.gather([0, 0, 4, 0, 5, 3], tokens)
    ...         return 9 * tf.one_hot(likely, 6), state, {}
    >>> greedy_search(Chain(), 2, max_length=4).tokens.numpy().tolist()
    [[[4, 5, 0, 0]], [[4, 5, 0, 0]]]
    """
    return _walk(
        decoder, inputs, max_length, min_length, limits, start, end, _likeliest, block_ngrams
    )


def sample(
    decoder: Any,
    inputs: Any,
    max_length: int,
    seed: int | tf.Tensor,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_length: int = 0,
    limits: tf.Tensor | None = None,
    start: int = START,
    end: int = END,
) -> Found:
    """Draws each token from the decoder's distribution.

    Arguments:
        seed: of the draws; the same seed gives the same tokens, with XLA and without.
        temperature: what the logits are divided by; near 0 it is a greedy search.
        top_k: draw among so many likeliest tokens; 0 = all.
        top_p: draw among the fewest likeliest tokens that have this share of the probability.

    The other arguments and the result are those of `greedy_search`. The score is the log-probability under the decoder
    itself, whatever was left out of the draw.

    Raises:
        ValueError: for a temperature or a top_p of 0 or less, or a negative top_k.

    Example:

    >>> class Chain:  # 4, then 5, then the end
    ...     def start(self, rows):
    ...         return tf.zeros([rows, 1])
    ...     def advance(self, tokens, state):
    ...         likely = tf.gather([0, 0, 4, 0, 5, 3], tokens)
    ...         return 9 * tf.one_hot(likely, 6), state, {}
    >>> sample(Chain(), 2, max_length=4, seed=1, top_k=1).tokens.numpy().tolist()
    [[[4, 5, 0, 0]], [[4, 5, 0, 0]]]
    """
    if temperature <= 0 or top_p <= 0 or top_k < 0:
        raise ValueError(
            "temperature and top_p must be above 0, top_k at least 0; "
            f"got {temperature}, {top_p}, {top_k}."
        )

    def draw(log_probabilities, step):
        forbidden = log_probabilities <= DEAD
        likeliest = tf.reduce_max(log_probabilities, axis=-1, keepdims=True)
        # However low the temperature, what is permitted stays above what is not.
        scaled = tf.maximum((log_probabilities - likeliest) / temperature, BARELY)
        scaled = tf.where(forbidden, LOWEST, scaled)
        tokens = None
        if top_k or top_p < 1:
            size = _size(scaled)
            share = tf.reduce_logsumexp(scaled, axis=-1, keepdims=True)
            scaled, tokens = tf.math.top_k(scaled, _least(top_k or size, size))
            before = tf.cumsum(tf.exp(scaled - share), axis=-1, exclusive=True)
            scaled = tf.where(before < top_p, scaled, LOWEST)
        uniform = draws.uniform_of(tf.shape(scaled), tf.stack([tf.cast(seed, tf.int32), step]))
        chosen = tf.argmax(scaled + _gumbel(uniform), axis=-1, output_type=tf.int32)
        return chosen if tokens is None else tf.gather(tokens, chosen, batch_dims=1)

    return _walk(decoder, inputs, max_length, min_length, limits, start, end, draw)


def forced_search(
    decoder: Any, inputs: Any, tokens: tf.Tensor, start: int = START, end: int = END
) -> Found:
    """Takes given tokens, whatever the decoder thinks of them: what a translation is worth, and where it looks.

    Arguments:
        tokens: int [batch, max_length], filled up with 0; an end and what stands behind it count as filling, too.

    The other arguments and the result are those of `greedy_search`.

    Example:

    >>> class Chain:  # 4, then 5, then the end
    ...     def start(self, rows):
    ...         return tf.zeros([rows, 1])
    ...     def advance(self, tokens, state):
    ...         likely = tf.gather([0, 0, 4, 0, 5, 3], tokens)
    ...         return 9 * tf.one_hot(likely, 6), state, {}
    >>> found = forced_search(Chain(), 2, [[4, 5], [5, 4]])
    >>> found.scores.numpy().round(2).tolist()
    [[-0.0], [-27.0]]
    """
    tokens = tf.cast(tokens, tf.int32)
    real = tf.math.cumprod(tf.cast((tokens != 0) & (tokens != end), tf.int32), axis=1)
    tokens = tf.pad(tf.where(real > 0, tokens, end), [[0, 0], [0, 1]], constant_values=end)
    longest = tf.shape(real)[1] if real.shape[1] is None else real.shape[1]

    def given(log_probabilities, step):
        return tf.gather(tokens, step, axis=1)

    return _walk(decoder, inputs, longest, 0, None, start, end, given)


def _gumbel(uniform: tf.Tensor) -> tf.Tensor:
    """What makes the largest of log-probabilities a draw, from float32 numbers in [0, 1)."""
    # Of 0 or 1 it would be infinite; 2^-25 added to the number nearest to 1 would make it 1.
    return -tf.math.log(-tf.math.log(tf.maximum(uniform, 2**-25)))


def _likeliest(log_probabilities: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    return tf.argmax(log_probabilities, axis=-1, output_type=tf.int32)


@blocks_cut_once()
def _walk(
    decoder, inputs, max_length, min_length, limits, start, end, choose, block_ngrams=0
) -> Found:
    """One hypothesis a row, each token chosen once and for all."""
    decoder = _Decoder(decoder)
    state = decoder.start(inputs)
    batch = tf.shape(state[0])[0]
    limits = _limits(limits, batch, max_length)
    first = tf.fill([batch], start)
    alpha = decoder.advance(first, state)[2]
    steps = max_length + 1
    tokens = tf.TensorArray(tf.int32, steps, element_shape=[None])
    alphas = _alphas(alpha, steps)

    def body(step, last, state, done, lengths, total, written, tokens, alphas):
        log_probabilities, new_state, alpha = decoder.advance(last, state)
        allowed = _allowed(log_probabilities, step, min_length, limits, start, end)
        if block_ngrams:
            allowed = _without_repeats(allowed, written[0], step, block_ngrams)
        # At the limit, or where all is forbidden, the end is what is left.
        over = (step >= limits) | (tf.reduce_max(allowed, axis=-1) <= DEAD)
        chosen = tf.where(done, 0, tf.where(over, end, choose(allowed, step)))
        gained = tf.gather(log_probabilities, chosen, batch_dims=1)
        ends = done | (chosen == end)
        return (
            step + 1,
            chosen,
            new_state,
            ends,
            lengths + tf.cast(~ends, tf.int32),
            total + tf.where(done, 0.0, gained),
            [_noted(before, chosen, step) for before in written],
            tokens.write(step, tf.where(ends, 0, chosen)),
            [array.write(step, tf.where(done[:, None], 0.0, alpha)) for array in alphas],
        )

    none = tf.zeros([batch], tf.int32)
    _, _, _, _, lengths, total, _, tokens, alphas = tf.while_loop(
        lambda step, last, state, done, *_: ~tf.reduce_all(done),
        body,
        (
            tf.constant(0),
            first,
            state,
            tf.zeros([batch], tf.bool),
            none,
            tf.zeros([batch], tf.float32),
            [tf.zeros([batch, steps], tf.int32)] if block_ngrams else [],
            _zeroed(tokens, steps, none),
            [_zeroed(array, steps, tf.zeros_like(alpha)) for array in alphas],
        ),
        maximum_iterations=steps,
    )
    tokens = tf.transpose(tokens.stack()[:max_length])[:, None]
    alignments = [tf.transpose(array.stack(), [1, 0, 2])[:, None] for array in alphas]
    return Found(tokens, lengths[:, None], total[:, None], total[:, None], *(alignments or [None]))


@blocks_cut_once()
def beam_search(
    decoder: Any,
    inputs: Any,
    max_length: int,
    beam: int = 5,
    length_penalty: float = 1.0,
    coverage_penalty: float = 0.0,
    n_best: int = 1,
    min_length: int = 0,
    limits: tf.Tensor | None = None,
    block_ngrams: int = 0,
    exact: bool = False,
    start: int = START,
    end: int = END,
) -> Found:
    """Keeps the `beam` likeliest beginnings at every step, and the best `beam` whole sequences that came of them.

        score(Y) = log p(Y) / lp(Y) + cp(Y)
        lp(Y) = ((5 + |Y|) / 6)^length_penalty                       |Y| counts the end
        cp(Y) = coverage_penalty · Σ_j log(min(Σ_t α_tj, 1))         over positions looked at at all

    A row is done when no beginning that is still open scores better, at its present length, than its worst whole
    sequence; with `exact`, when none can ever do so.

    Arguments:
        decoder: an object with `start` and `advance`.
        inputs: what its `start` takes.
        max_length: most tokens, the end not counted. After so many the end is what is left.
        beam: beginnings that are kept.
        length_penalty: α of lp; 0 ranks by the plain log-probability, more favours longer sequences.
        coverage_penalty: β of cp.
        n_best: sequences to give for each row, at most `beam`.
        min_length: fewest tokens; the end comes before, where `block_ngrams` leaves nothing else.
        limits: int [batch], most tokens of each row, where that is less.
        block_ngrams: n, if no n tokens may follow each other twice in a sequence; 0 = they may.
        exact: whether to search on until nothing better can come.
        start: id of the token that begins a sequence.
        end: id of the token that ends it.

    Returns:
        A `Found` with `n_best` hypotheses a row. Where there are fewer, the score is -1e9 or less.

    Raises:
        ValueError: for a beam below 1 or an n_best above the beam, or a coverage penalty without attention weights.

    Source: Wu et al. 2016 (GNMT), equation 14; Paulus et al. 2017, section 2.5 (no trigram twice).

    Example:

    >>> class Chain:  # 4, then 5, then the end
    ...     def start(self, rows):
    ...         return tf.zeros([rows, 1])
    ...     def advance(self, tokens, state):
    ...         likely = tf.gather([0, 0, 4, 0, 5, 3], tokens)
    ...         return 9 * tf.one_hot(likely, 6), state, {}
    >>> found = beam_search(Chain(), 1, max_length=4, beam=3)
    >>> found.tokens.numpy().tolist(), found.scores.numpy().round(2).tolist()
    ([[[4, 5, 0, 0]]], [[-0.0]])
    """
    if beam < 1 or not 1 <= n_best <= beam:
        raise ValueError(
            f"beam must be at least 1 and n_best from 1 to beam, got {beam}, {n_best}."
        )
    search = _Beam(
        _Decoder(decoder),
        beam,
        max_length,
        length_penalty,
        coverage_penalty,
        n_best,
        min_length,
        block_ngrams,
        exact,
        start,
        end,
    )
    return search.run(inputs, limits)


class _Beginnings(NamedTuple):
    """The open hypotheses: the last token of each, what it is worth so far, the attention it has paid to each source
    position and all its tokens (lists of one, or empty where nobody asks), and the decoder's state.
    """

    tokens: tf.Tensor
    log_probabilities: tf.Tensor
    coverage: list[tf.Tensor]
    written: list[tf.Tensor]
    state: list[tf.Tensor]


class _Whole(NamedTuple):
    """The whole hypotheses: what each is worth, the step of its end, and its place in the beam before that step."""

    scores: tf.Tensor
    log_probabilities: tf.Tensor
    last_step: tf.Tensor
    parent: tf.Tensor


class _History(NamedTuple):
    """For each step and place in the beam: the token, the place it comes from, the attention of each place."""

    tokens: tf.TensorArray
    parents: tf.TensorArray
    alphas: list[tf.TensorArray]


@dataclasses.dataclass(frozen=True)
class _Beam:
    """One beam search, with the arguments of `beam_search`."""

    decoder: _Decoder
    beam: int
    max_length: int
    length_penalty: float
    coverage_penalty: float
    n_best: int
    min_length: int
    block_ngrams: int
    exact: bool
    start: int
    end: int

    def run(self, inputs: Any, limits: tf.Tensor | None) -> Found:
        beam, steps = self.beam, self.max_length + 1
        state = self.decoder.start(inputs)
        batch = tf.shape(state[0])[0]
        limits = _limits(limits, batch, self.max_length)
        state = [tf.repeat(leaf, beam, axis=0) for leaf in state]
        first = tf.fill([batch, beam], self.start)
        alpha = self.decoder.advance(tf.reshape(first, [-1]), state)[2]
        if self.coverage_penalty and alpha is None:
            raise ValueError("coverage_penalty needs a decoder that gives alpha.")
        empty = tf.zeros([batch, beam], tf.int32)
        opened = _Beginnings(
            tokens=first,
            log_probabilities=tf.tile([[0.0] + [LOWEST] * (beam - 1)], [batch, 1]),
            coverage=[_of_beams(tf.zeros_like(alpha), beam)] if self.coverage_penalty else [],
            written=[tf.zeros([batch, beam, steps], tf.int32)] if self.block_ngrams else [],
            state=state,
        )
        whole = _Whole(
            scores=tf.fill([batch, beam], MISSING),
            log_probabilities=tf.fill([batch, beam], MISSING),
            last_step=empty,
            parent=empty,
        )
        history = _History(
            _zeroed(tf.TensorArray(tf.int32, steps, element_shape=[None, beam]), steps, empty),
            _zeroed(tf.TensorArray(tf.int32, steps, element_shape=[None, beam]), steps, empty),
            [_zeroed(a, steps, tf.zeros_like(alpha)) for a in _alphas(alpha, steps)],
        )

        def going_on(step, going, opened, whole, history):
            return tf.reduce_any(going) & (step < steps)

        def body(step, going, opened, whole, history):
            old = (going, opened, whole)
            ended, opened, history = self.step(step, opened, history, limits)
            # A row that is done stays so, however long its neighbours go on.
            pairs = zip(_best_whole(whole, ended, beam), whole, strict=True)
            whole = _Whole(*(tf.where(going[:, None], new, kept) for new, kept in pairs))
            new = (going & self.hopes(step + 1, opened, whole), opened, whole)
            for tensor, before in zip(tf.nest.flatten(new), tf.nest.flatten(old), strict=True):
                tensor.set_shape(before.shape)  # inference loses that of a batch of 1
            return step + 1, *new, history

        _, _, _, whole, history = tf.while_loop(
            going_on,
            body,
            (tf.constant(0), tf.fill([batch], True), opened, whole, history),
            maximum_iterations=steps,
        )
        return _read_back(whole, history, self.n_best, beam, self.max_length)

    def step(
        self, step: tf.Tensor, opened: _Beginnings, history: _History, limits: tf.Tensor
    ) -> tuple[_Whole, _Beginnings, _History]:
        """What ends at this step, what goes on, and the history with it."""
        tokens = tf.reshape(opened.tokens, [-1])
        log_probabilities, new_state, alpha = self.decoder.advance(tokens, opened.state)
        best, parent, token = self.best_extensions(step, opened, log_probabilities, limits)
        coverage = [covered + _of_beams(alpha, self.beam) for covered in opened.coverage]

        scores = best / self.penalty(step + 1)
        for covered in coverage:
            scores += tf.gather(self.coverage_penalty * _covered(covered), parent, batch_dims=1)
        scores = tf.where((token == self.end) & (best > DEAD), scores, MISSING)
        ended = _Whole(scores, best, tf.fill(tf.shape(parent), step), parent)

        left, chosen = tf.math.top_k(tf.where(token == self.end, MISSING, best), self.beam)
        parent, token = (tf.gather(x, chosen, batch_dims=1) for x in (parent, token))
        moved = tf.reshape(parent + self.beam * tf.range(tf.shape(parent)[0])[:, None], [-1])
        opened = _Beginnings(
            token,
            tf.maximum(left, MISSING),
            [tf.gather(covered, parent, batch_dims=1) for covered in coverage],
            [
                _noted(tf.gather(written, parent, batch_dims=1), token, step)
                for written in opened.written
            ],
            _moved(opened.state, new_state, moved),
        )
        history = _History(
            history.tokens.write(step, token),
            history.parents.write(step, parent),
            [array.write(step, alpha) for array in history.alphas],
        )
        return ended, opened, history

    def best_extensions(
        self, step: tf.Tensor, opened: _Beginnings, log_probabilities: tf.Tensor, limits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Of the likeliest, [batch, 2 · beam], because half of them may be ends: log-probability, parent, token."""
        limits = tf.repeat(limits, self.beam)
        allowed = _allowed(log_probabilities, step, self.min_length, limits, self.start, self.end)
        for written in opened.written:
            written = tf.reshape(written, [-1, self.max_length + 1])
            allowed = _without_repeats(allowed, written, step, self.block_ngrams)
        before = opened.log_probabilities[:, :, None]
        totals = before + _of_beams(allowed, self.beam)
        if self.block_ngrams:
            # Where no beginning can go on, the end is what is left, before `min_length`, too.
            stuck = tf.reduce_max(totals, axis=[1, 2], keepdims=True) <= DEAD
            ending = stuck & (tf.range(_size(totals)) == self.end)
            totals = tf.where(ending, before + _of_beams(log_probabilities, self.beam), totals)
        vocabulary = _size(log_probabilities)
        flat = tf.reshape(totals, [-1, self.beam * vocabulary])
        best, place = tf.math.top_k(flat, 2 * self.beam)
        return best, place // vocabulary, place % vocabulary

    def hopes(self, step: tf.Tensor, opened: _Beginnings, whole: _Whole) -> tf.Tensor:
        """Whether a row may still find something better, bool [batch]."""
        # A log-probability only falls, but a longer sequence divides it by more.
        at_last = self.exact and self.length_penalty > 0
        length = tf.cast(self.max_length + 1, tf.float32) if at_last else step + 1
        hope = tf.reduce_max(opened.log_probabilities, axis=1) / self.penalty(length)
        return hope > whole.scores[:, self.n_best - 1]

    def penalty(self, length: tf.Tensor) -> tf.Tensor:
        """lp(Y)."""
        return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** self.length_penalty


def _best_whole(old: _Whole, new: _Whole, beam: int) -> _Whole:
    together = [tf.concat(pair, axis=1) for pair in zip(old, new)]
    _, chosen = tf.math.top_k(together[0], beam)
    return _Whole(*(tf.gather(part, chosen, batch_dims=1) for part in together))


def _read_back(whole: _Whole, history: _History, n_best: int, beam: int, max_length: int) -> Found:
    """Follows each whole hypothesis from its end to its start."""
    scores, log_probabilities, last_step, parent = (part[:, :n_best] for part in whole)
    tokens, parents = history.tokens.stack(), history.parents.stack()
    alphas = [_by_beam(array.stack(), beam) for array in history.alphas]
    shape = tf.shape(scores)
    steps = max_length + 1
    kept = tf.TensorArray(tf.int32, steps, element_shape=[None, n_best])
    looked = [tf.TensorArray(tf.float32, steps, element_shape=[None, n_best, None]) for _ in alphas]

    def body(turn, place, kept, looked):
        step = steps - 1 - turn
        # `place` is where the hypothesis stands in the beam after this step, or, at its last, before it.
        token = tf.gather(tokens[step], place, batch_dims=1)
        before = tf.where(step < last_step, tf.gather(parents[step], place, batch_dims=1), parent)
        kept = kept.write(step, tf.where(step < last_step, token, 0))
        real = (step <= last_step)[:, :, None]
        looked = [
            array.write(step, tf.where(real, tf.gather(alpha[step], before, batch_dims=1), 0.0))
            for array, alpha in zip(looked, alphas)
        ]
        return turn + 1, tf.where(step <= last_step, before, place), kept, looked

    _, _, kept, looked = tf.while_loop(
        lambda turn, *_: turn < steps,
        body,
        (tf.constant(0), tf.zeros(shape, tf.int32), kept, looked),
    )
    tokens = tf.transpose(kept.stack()[:max_length], [1, 2, 0])
    alignments = [tf.transpose(array.stack(), [1, 2, 0, 3]) for array in looked]
    return Found(tokens, last_step, scores, log_probabilities, *(alignments or [None]))


class _Decoder:
    """The caller's decoder, whose state goes through the loop as a list of tensors; what is None in it waits here."""

    def __init__(self, decoder: Any):
        self._decoder = decoder
        self._nones = None

    def start(self, inputs: Any) -> list[tf.Tensor]:
        state = self._decoder.start(inputs)
        # False instead of a tensor, so that only the places of None are kept.
        self._nones = tf.nest.map_structure(lambda leaf: None if leaf is None else False, state)
        return self._present(state)

    def advance(self, tokens: tf.Tensor, tensors: list[tf.Tensor]):
        """One step: log-probabilities, the new state, and alpha or None."""
        left = iter(tensors)
        state = tf.nest.map_structure(
            lambda leaf: None if leaf is None else next(left), self._nones
        )
        logits, new_state, *extras = self._decoder.advance(tokens, state)
        tf.nest.assert_same_structure(state, new_state)
        alpha = extras[0].get("alpha") if extras else None
        alpha = None if alpha is None else tf.cast(alpha, tf.float32)
        return tf.nn.log_softmax(tf.cast(logits, tf.float32)), self._present(new_state), alpha

    @staticmethod
    def _present(state: Any) -> list[tf.Tensor]:
        leaves = tf.nest.flatten(state)
        return [tf.convert_to_tensor(leaf) for leaf in leaves if leaf is not None]


def _allowed(log_probabilities, step, min_length, limits, start, end):
    """Without padding and start; without the end before `min_length`, with nothing else after the limit."""
    token = tf.range(_size(log_probabilities))
    never = (token == 0) | (token == start) & (token != end)
    early, late = (step < tf.minimum(min_length, limits))[:, None], (step >= limits)[:, None]
    forbidden = never | (early & (token == end)) | (late & (token != end))
    return tf.where(forbidden, LOWEST, log_probabilities)


def _without_repeats(log_probabilities, written, step, n):
    """Forbids what would make the last n tokens the same as n before them.

    Arguments:
        log_probabilities: [rows, vocabulary].
        written: int32 [rows, steps], the tokens so far, 0 where there are none yet.
        step: how many there are.
    """
    steps = written.shape[1] if written.shape[1] is not None else tf.shape(written)[1]
    # Clamped for what is shorter than n - 1: whatever is gathered there, nothing `follows` yet.
    before = tf.minimum(tf.maximum(step - (n - 1), 0) + tf.range(n - 1), steps - 1)
    ending = tf.gather(written, before, axis=1)
    # Place p follows n - 1 tokens that are the last ones again.
    follows = tf.range(_least(n - 1, steps), steps)
    alike = tf.fill([tf.shape(written)[0], tf.maximum(steps - (n - 1), 0)], True)
    for back in range(n - 1):
        earlier = tf.gather(written, follows - (n - 1) + back, axis=1)
        alike &= earlier == ending[:, back, None]
    alike &= (follows < step)[None]
    forbidden = tf.where(alike, tf.gather(written, follows, axis=1), 0)  # 0 is forbidden anyway
    rows, vocabulary = tf.shape(log_probabilities)[0], _size(log_probabilities)
    flat = tf.reshape(forbidden + vocabulary * tf.range(rows)[:, None], [-1])
    times = tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, rows * vocabulary)
    return tf.where(tf.reshape(times, [rows, vocabulary]) > 0, LOWEST, log_probabilities)


def _noted(written: tf.Tensor, token: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """`written` [..., steps] with the tokens [...] of a step."""
    here = tf.range(_size(written)) == step
    return tf.where(here, token[..., None], written)


def _limits(limits, batch, max_length):
    if limits is None:
        return tf.fill([batch], max_length)
    return tf.minimum(tf.cast(limits, tf.int32), max_length)


def _of_beams(rows: tf.Tensor, beam: int) -> tf.Tensor:
    """[batch · beam, size] -> [batch, beam, size]."""
    return tf.reshape(rows, [-1, beam, _size(rows)])


def _size(tensor: tf.Tensor) -> int | tf.Tensor:
    """Of the last axis: a number where it is known, as it is under XLA."""
    return tf.shape(tensor)[-1] if tensor.shape[-1] is None else tensor.shape[-1]


def _least(one: int | tf.Tensor, other: int | tf.Tensor) -> int | tf.Tensor:
    """The smaller one: a number where both are."""
    return min(one, other) if isinstance(other, int) else tf.minimum(one, other)


def _by_beam(stack: tf.Tensor, beam: int) -> tf.Tensor:
    """[steps, batch · beam, size] -> [steps, batch, beam, size]."""
    shape = tf.shape(stack)
    return tf.reshape(stack, [shape[0], shape[1] // beam, beam, shape[2]])


def _moved(old: list[tf.Tensor], new: list[tf.Tensor], rows: tf.Tensor) -> list[tf.Tensor]:
    """The state of the hypotheses that were chosen; what `advance` did not touch is the same in each."""
    pairs = zip(old, new, strict=True)
    return [after if after is before else tf.gather(after, rows) for before, after in pairs]


def _covered(coverage: tf.Tensor) -> tf.Tensor:
    """Σ_j log(min(Σ_t α_tj, 1)), [batch, beam]. Padding, which nobody looks at, does not count."""
    logs = tf.math.log(tf.clip_by_value(coverage, 1e-10, 1.0))
    return tf.reduce_sum(tf.where(coverage > 0, logs, 0.0), axis=2)


def _alphas(alpha: tf.Tensor | None, steps: int) -> list[tf.TensorArray]:
    """An array for the attention weights of each step, if there are any."""
    if alpha is None:
        return []
    return [tf.TensorArray(tf.float32, steps, element_shape=[None, alpha.shape[-1]])]


def _zeroed(array: tf.TensorArray, steps: int, zeros: tf.Tensor) -> tf.TensorArray:
    """The search may stop early: what was not written is 0."""
    return array.unstack(tf.tile(zeros[None], [steps] + [1] * zeros.shape.rank))


def shifted(target: tf.Tensor) -> tf.Tensor:
    """What a decoder has read before each token of a target: the start, then the tokens before it."""
    return tf.pad(target[:, :-1], [[0, 0], [1, 0]], constant_values=START)
