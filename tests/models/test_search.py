"""Search against a brute force over every sequence of a small vocabulary."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from keras_rnn.models import search

VOCABULARY = 7
START, END = search.START, search.END
WORDS = [1, 4, 5, 6]
SOURCE_TIME = 3


class Table:
    """A decoder whose logits hang on the last token, the step and the row; it looks at the source in turn."""

    def __init__(self, steps: int, seed: int = 0, batch: int = 3):
        generator = np.random.default_rng(seed)
        shape = (batch, steps, VOCABULARY, VOCABULARY)
        self.logits = generator.normal(scale=2, size=shape).astype(np.float32)
        looks = generator.normal(scale=2, size=(batch, steps, VOCABULARY, SOURCE_TIME))
        self.alpha = (np.exp(looks) / np.exp(looks).sum(-1, keepdims=True)).astype(np.float32)

    def start(self, rows):
        return {"row": tf.convert_to_tensor(rows), "step": tf.zeros_like(rows)}

    def advance(self, tokens, state):
        place = tf.stack([state["row"], state["step"], tokens], axis=1)
        logits = tf.gather_nd(tf.constant(self.logits), place)
        alpha = tf.gather_nd(tf.constant(self.alpha), place)
        return logits, {**state, "step": state["step"] + 1}, {"alpha": alpha}

    def log_probability(self, row: int, tokens) -> tuple[float, np.ndarray]:
        """Of a whole sequence with its end, and the attention of each step."""
        total, last, alphas = 0.0, START, []
        for step, token in enumerate([*tokens, END]):
            logits = self.logits[row, step, last].astype(np.float64)
            total += logits[token] - np.log(np.exp(logits).sum())
            alphas.append(self.alpha[row, step, last])
            last = token
        return total, np.array(alphas)


def every_sequence(shortest: int, longest: int):
    for length in range(shortest, longest + 1):
        yield from itertools.product(WORDS, repeat=length)


def ranked(decoder, row, shortest, longest, length_penalty, coverage_penalty):
    """Every sequence with its score, the best first."""
    found = []
    for tokens in every_sequence(shortest, longest):
        log_probability, alphas = decoder.log_probability(row, tokens)
        score = log_probability / ((5 + len(tokens) + 1) / 6) ** length_penalty
        covered = np.minimum(alphas.sum(0), 1)
        score += coverage_penalty * np.log(covered).sum()
        found.append((score, log_probability, list(tokens), alphas))
    return sorted(found, key=lambda entry: -entry[0])


def run(function, compiled: bool, rows):
    return tf.function(function, jit_compile=compiled)(tf.constant(rows))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "length_penalty, coverage_penalty, shortest",
    [(0.0, 0.0, 0), (1.0, 0.0, 0), (0.6, 0.2, 0), (1.0, 0.5, 2)],
)
def test_a_wide_beam_finds_the_best(compiled, length_penalty, coverage_penalty, shortest):
    longest, n_best = 4, 5
    decoder = Table(longest + 1, seed=shortest)
    found = run(
        lambda rows: search.beam_search(
            decoder,
            rows,
            longest,
            beam=256,
            length_penalty=length_penalty,
            coverage_penalty=coverage_penalty,
            n_best=n_best,
            min_length=shortest,
            exact=True,
        ),
        compiled,
        [2, 0, 1],
    )
    for place, row in enumerate([2, 0, 1]):
        best = ranked(decoder, row, shortest, longest, length_penalty, coverage_penalty)[:n_best]
        for number, (score, log_probability, tokens, alphas) in enumerate(best):
            length = int(found.lengths[place, number])
            assert found.tokens[place, number, :length].numpy().tolist() == tokens
            assert not found.tokens[place, number, length:].numpy().any()
            assert float(found.scores[place, number]) == pytest.approx(score, rel=1e-4)
            assert float(found.log_probabilities[place, number]) == pytest.approx(
                log_probability, rel=1e-4
            )
            alignment = found.alignments[place, number].numpy()
            np.testing.assert_allclose(alignment[: length + 1], alphas, rtol=1e-5)
            assert not alignment[length + 1 :].any()


@pytest.mark.parametrize("compiled", [False, True])
def test_greedy_takes_the_likeliest_token_and_so_does_a_beam_of_one(compiled):
    longest = 6
    decoder = Table(longest + 1, seed=5)
    greedy = run(lambda rows: search.greedy_search(decoder, rows, longest), compiled, [0, 1, 2])
    beam = run(lambda rows: search.beam_search(decoder, rows, longest, beam=1), compiled, [0, 1, 2])
    for row in range(3):
        last, tokens = START, []
        while len(tokens) < longest:
            logits = decoder.logits[row, len(tokens), last].copy()
            logits[[0, START]] = -np.inf
            last = int(logits.argmax())
            if last == END:
                break
            tokens.append(last)
        length = int(greedy.lengths[row, 0])
        assert greedy.tokens[row, 0, :length].numpy().tolist() == tokens
        log_probability, alphas = decoder.log_probability(row, tokens)
        assert float(greedy.scores[row, 0]) == pytest.approx(log_probability, rel=1e-4)
        np.testing.assert_allclose(greedy.alignments[row, 0, : length + 1], alphas, rtol=1e-5)
    np.testing.assert_array_equal(greedy.tokens, beam.tokens)
    np.testing.assert_allclose(greedy.log_probabilities, beam.log_probabilities, rtol=1e-5)
    np.testing.assert_allclose(greedy.alignments, beam.alignments, rtol=1e-5)


def narrow_beam(decoder, row, longest, beam, length_penalty):
    """The search by the book, with lists."""
    opened, whole = [(0.0, [])], []
    for step in range(longest + 1):
        candidates = []
        for total, tokens in opened:
            last = tokens[-1] if tokens else START
            logits = decoder.logits[row, step, last].astype(np.float64)
            log_probabilities = logits - np.log(np.exp(logits).sum())
            for token in [END] if step == longest else [*WORDS, END]:
                candidates.append((total + log_probabilities[token], [*tokens, token]))
        candidates = sorted(candidates, key=lambda entry: -entry[0])[: 2 * beam]
        for total, tokens in candidates:
            if tokens[-1] == END:
                whole.append((total / ((5 + step + 1) / 6) ** length_penalty, tokens[:-1]))
        opened = [entry for entry in candidates if entry[1][-1] != END][:beam]
        whole = sorted(whole, key=lambda entry: -entry[0])[:beam]
        if not opened:
            break
        hope = opened[0][0] / ((5 + step + 2) / 6) ** length_penalty
        if len(whole) and hope <= whole[0][0]:
            break
    return whole


@pytest.mark.parametrize("beam", [2, 3])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_narrow_beam_finds_what_the_book_finds(beam, length_penalty):
    longest = 8
    for seed in range(5):
        decoder = Table(longest + 1, seed=seed)
        found = search.beam_search(
            decoder, tf.constant([0, 1, 2]), longest, beam=beam, length_penalty=length_penalty
        )
        for row in range(3):
            score, tokens = narrow_beam(decoder, row, longest, beam, length_penalty)[0]
            length = int(found.lengths[row, 0])
            assert found.tokens[row, 0, :length].numpy().tolist() == tokens
            assert float(found.scores[row, 0]) == pytest.approx(score, rel=1e-4)


def test_each_row_has_its_own_limit():
    decoder = Table(9, seed=1)
    decoder.logits[:, :, :, END] = -20.0  # nobody ends by himself
    limits = tf.constant([1, 4, 8])
    rows = tf.constant([0, 1, 2])
    for found in (
        search.greedy_search(decoder, rows, 8, limits=limits),
        search.sample(decoder, rows, 8, seed=1, limits=limits),
        search.beam_search(decoder, rows, 8, beam=3, min_length=8, limits=limits),
    ):
        assert found.lengths[:, 0].numpy().tolist() == [1, 4, 8]


def test_a_row_does_not_hang_on_its_neighbours():
    decoder = Table(7, seed=3)
    alone = [search.beam_search(decoder, tf.constant([row]), 6, beam=3) for row in range(3)]
    together = search.beam_search(decoder, tf.constant([0, 1, 2]), 6, beam=3)
    for row in range(3):
        np.testing.assert_array_equal(together.tokens[row], alone[row].tokens[0])
        np.testing.assert_allclose(together.scores[row], alone[row].scores[0], rtol=1e-6)


def test_a_row_that_is_done_stays_so_while_its_neighbours_go_on():
    """Row 0 stops at once; were it to go on, the length penalty would bring up a longer sequence."""
    decoder = Table(8, batch=2)
    decoder.logits[:] = -20.0
    decoder.logits[:, :6, :, 4] = decoder.logits[:, 6:, :, END] = 0.0
    decoder.logits[0, 0] = np.log([0.67, 1e-9, 1e-9, 0.22, 0.11, 1e-9, 1e-9])
    options = {"max_length": 7, "beam": 2, "length_penalty": 1.5}
    together = search.beam_search(decoder, tf.constant([0, 1]), **options)
    alone = search.beam_search(decoder, tf.constant([0]), **options)
    assert together.lengths[:, 0].numpy().tolist() == [0, 6]
    assert alone.lengths[0, 0] == 0
    # An exact search goes on as long as the longer one may win.
    assert search.beam_search(decoder, tf.constant([0]), exact=True, **options).lengths[0, 0] == 6


def test_one_row_is_like_many():
    """Shape inference knows less of a batch of 1, which broadcasts."""
    decoder = Table(5)
    several = run(lambda rows: search.beam_search(decoder, rows, 4, 3), False, [0, 1, 2])
    alone = run(lambda rows: search.beam_search(decoder, rows, 4, 3), False, [1])
    np.testing.assert_array_equal(alone.tokens[0], several.tokens[1])
    np.testing.assert_array_equal(alone.scores[0], several.scores[1])


@pytest.mark.parametrize("compiled", [False, True])
def test_a_state_may_have_parts_that_are_none(compiled):
    """As the memory of an attention without a mask has."""

    class Partly(Table):
        def start(self, rows):
            return {"a": (None, super().start(rows)), "z": None}

        def advance(self, tokens, state):
            assert state["z"] is None and state["a"][0] is None
            logits, inner, extras = super().advance(tokens, state["a"][1])
            return logits, {"a": (None, inner), "z": None}, extras

    def tokens(decoder):
        def find(rows):
            greedy = search.greedy_search(decoder, rows, 4)
            return greedy.tokens, search.beam_search(decoder, rows, 4, 3).tokens

        return run(find, compiled, [0, 1, 2])

    for found, right in zip(tokens(Partly(5)), tokens(Table(5)), strict=True):
        np.testing.assert_array_equal(found, right)


def test_no_rows_are_no_answers():
    decoder = Table(7)
    nothing = tf.zeros([0], tf.int32)
    for found in (
        search.greedy_search(decoder, nothing, 6),
        search.beam_search(decoder, nothing, 6, beam=2),
    ):
        assert found.tokens.shape == (0, 1, 6)


def test_draws_follow_the_distribution():
    decoder = Table(2, seed=4, batch=1)
    rows = tf.zeros([4000], tf.int32)
    drawn = search.sample(decoder, rows, 1, seed=7)
    again = search.sample(decoder, rows, 1, seed=7)
    np.testing.assert_array_equal(drawn.tokens, again.tokens)
    logits = decoder.logits[0, 0, START].astype(np.float64)
    logits[[0, START]] = -np.inf
    wanted = np.exp(logits) / np.exp(logits).sum()
    first = np.where(drawn.lengths[:, 0] == 0, END, drawn.tokens[:, 0, 0])
    share = np.bincount(first, minlength=VOCABULARY) / 4000
    np.testing.assert_allclose(share, wanted, atol=4 * math.sqrt(0.25 / 4000))
    # Few tokens only.
    likely = np.argsort(-wanted)
    few = search.sample(decoder, rows, 1, seed=7, top_k=2)
    first = np.where(few.lengths[:, 0] == 0, END, few.tokens[:, 0, 0])
    assert {*first.tolist()} == {*likely[:2].tolist()}
    nucleus = search.sample(decoder, rows, 1, seed=7, top_p=float(wanted[likely[0]]) * 0.99)
    first = np.where(nucleus.lengths[:, 0] == 0, END, nucleus.tokens[:, 0, 0])
    assert {*first.tolist()} == {int(likely[0])}
    cold = search.sample(decoder, rows[:5], 1, seed=7, temperature=1e-3)
    greedy = search.greedy_search(decoder, rows[:5], 1)
    np.testing.assert_array_equal(cold.tokens, greedy.tokens)


def test_the_largest_number_that_is_drawn_is_not_infinite(monkeypatch):
    """Among those of many tokens there is often one."""
    largest = np.float32(1 - 2**-24)
    monkeypatch.setattr(
        search.draws,
        "uniform_of",
        lambda shape, seed: tf.one_hot(tf.fill(shape[:1], 5), shape[1], largest, 0.5),
    )
    decoder = Table(2)
    decoder.logits[..., 4] = 100.0
    drawn = search.sample(decoder, rows_of(3), 1, seed=1)
    assert drawn.tokens.numpy().tolist() == [[[4]]] * 3


def test_settings_that_cannot_be():
    decoder = Table(3)
    with pytest.raises(ValueError, match="n_best"):
        search.beam_search(decoder, tf.constant([0]), 2, beam=2, n_best=3)
    for wrong in ({"temperature": 0.0}, {"top_p": 0.0}, {"top_k": -1}):
        with pytest.raises(ValueError, match="must be above 0"):
            search.sample(decoder, tf.constant([0]), 2, seed=1, **wrong)


def test_a_hot_draw_takes_no_padding():
    drawn = search.sample(Table(6), tf.zeros([300], tf.int32), 5, seed=1, temperature=1e9).tokens
    for row in drawn.numpy()[:, 0].tolist():
        tokens = row[: row.index(0)] if 0 in row else row
        assert START not in tokens and not any(row[len(tokens) :])


@pytest.mark.parametrize("compiled", [False, True])
def test_given_tokens_are_scored_as_they_are(compiled):
    decoder = Table(5)
    given = [[4, 5, 1, 6], [], [6, 6]]
    # An end and what stands behind it is no more than filling.
    padded = [[4, 5, 1, 6], [0, 0, 0, 0], [6, 6, END, 5]]
    found = run(lambda rows: search.forced_search(decoder, rows, padded), compiled, range(3))
    assert found.tokens[:, 0].numpy().tolist() == [[4, 5, 1, 6], [0] * 4, [6, 6, 0, 0]]
    assert found.lengths[:, 0].numpy().tolist() == [4, 0, 2]
    for row, tokens in enumerate(given):
        log_probability, alphas = decoder.log_probability(row, tokens)
        assert found.scores[row, 0].numpy() == pytest.approx(log_probability, abs=1e-4)
        np.testing.assert_allclose(
            found.alignments[row, 0, : len(alphas)].numpy(), alphas, atol=1e-5
        )


def repeats(tokens, n: int) -> bool:
    runs = [tuple(tokens[place : place + n]) for place in range(len(tokens) - n + 1)]
    return len(set(runs)) < len(runs)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_run_of_tokens_stands_in_a_sequence_twice(compiled, n):
    """Against every sequence without repeats; there are sequences with some that would be better."""
    shortest, longest, n_best = n + 1, 5, 10
    decoder = Table(longest + 1, seed=8)
    # What likes to go on as it went: the best sequences are "4 4 4 ...".
    for token in WORDS:
        decoder.logits[:, :, token, token] += 4
    found = run(
        lambda rows: search.beam_search(
            decoder,
            rows,
            longest,
            beam=1100,
            n_best=n_best,
            min_length=shortest,
            block_ngrams=n,
            exact=True,
        ),
        compiled,
        [0, 1],
    )
    for row in range(2):
        every = ranked(decoder, row, shortest, longest, 1.0, 0.0)
        allowed = [entry for entry in every if not repeats(entry[2], n)]
        assert any(repeats(entry[2], n) for entry in every[:n_best])
        for number, (score, _, tokens, _) in enumerate(allowed[:n_best]):
            length = int(found.lengths[row, number])
            assert found.tokens[row, number, :length].numpy().tolist() == tokens
            assert float(found.scores[row, number]) == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_greedy_search_takes_the_likeliest_token_that_repeats_nothing(n):
    longest = 12
    decoder = Table(longest + 1, seed=2)
    decoder.logits[:, :, :, END] -= 9
    found = run(
        lambda rows: search.greedy_search(decoder, rows, longest, block_ngrams=n), True, [0, 1, 2]
    )
    for row in range(3):
        tokens = []
        while len(tokens) < longest:
            logits = decoder.logits[row, len(tokens), (tokens or [START])[-1]]
            order = [t for t in np.argsort(-logits) if t not in (0, START)]
            token = next(t for t in order if t == END or not repeats([*tokens, t], n))
            if token == END:
                break
            tokens.append(int(token))
        length = int(found.lengths[row, 0])
        assert found.tokens[row, 0, :length].numpy().tolist() == tokens


def rows_of(number: int):
    return tf.range(number, dtype=tf.int32)


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.7}], ids=str)
def test_a_seed_draws_the_same_with_xla_and_without(options):
    decoder = Table(9, batch=8)

    def draw(rows):
        return search.sample(decoder, rows, 8, seed=3, **options).tokens

    plain, compiled = (run(draw, way, rows_of(8)) for way in (False, True))
    np.testing.assert_array_equal(plain, compiled)
    assert len({tuple(row) for row in plain.numpy()[:, 0]}) > 4


@pytest.mark.parametrize("temperature", [1e-8, 1e-12, 1e-30])
def test_a_temperature_near_zero_is_a_greedy_search(temperature):
    decoder = Table(6)
    drawn = search.sample(decoder, rows_of(3), 5, seed=0, temperature=temperature)
    greedy = search.greedy_search(decoder, rows_of(3), 5)
    np.testing.assert_array_equal(drawn.tokens, greedy.tokens)
    np.testing.assert_array_equal(drawn.lengths, greedy.lengths)


class Even(Table):
    """All words are as likely."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.logits[:] = 0.0


@pytest.mark.parametrize(
    "options, fewest", [({"top_k": 1}, 1), ({"top_k": 2}, 2), ({"top_p": 0.3}, 2)], ids=str
)
def test_of_words_that_are_as_likely_no_more_are_drawn_than_asked_for(options, fewest):
    # Five of the seven tokens are permitted; the share is that of all seven.
    found = search.sample(
        Even(steps=2, batch=400), rows_of(400), 1, seed=1, min_length=1, **options
    )
    assert len(np.unique(found.tokens)) <= fewest + ("top_p" in options)


def test_the_likeliest_words_of_a_vocabulary_whose_size_is_not_known():
    decoder = Table(6)
    sizes = []

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)])
    def draw(rows, size):
        class Dynamic:
            start = staticmethod(decoder.start)

            @staticmethod
            def advance(tokens, state):
                logits, state, extras = decoder.advance(tokens, state)
                logits = logits[:, :size]
                sizes.append(logits.shape[-1])
                return logits, state, extras

        return search.sample(Dynamic, rows, 5, seed=0, top_k=1).tokens

    greedy = search.greedy_search(decoder, rows_of(3), 5)
    np.testing.assert_array_equal(draw(rows_of(3), VOCABULARY), greedy.tokens)
    assert set(sizes) == {None}


@pytest.mark.parametrize("name", ["greedy_search", "beam_search"])
def test_one_token_may_be_the_start_and_the_end(name):
    decoder = Table(4)
    options = {"beam": 200} if name == "beam_search" else {}
    found = getattr(search, name)(decoder, rows_of(3), 3, start=END, end=END, **options)
    assert (found.lengths.numpy() <= 3).all() and (found.scores.numpy() > -100).all()
    for row in range(3):
        tokens = found.tokens.numpy()[row, 0, : found.lengths[row, 0]]
        total, last = 0.0, END
        for step, token in enumerate([*tokens, END]):
            logits = decoder.logits[row, step, last].astype(np.float64)
            total += logits[token] - np.log(np.exp(logits).sum())
            last = token
        assert float(found.log_probabilities[row, 0]) == pytest.approx(total, abs=1e-4)


def test_after_the_limit_the_end_comes_however_unlikely():
    decoder = Table(4)
    decoder.logits[..., END] = -np.inf
    for found in (
        search.greedy_search(decoder, rows_of(3), 3),
        search.sample(decoder, rows_of(3), 3, seed=0),
    ):
        assert (found.lengths.numpy() == 3).all() and (found.tokens.numpy() > 0).all()


@pytest.mark.parametrize("name", ["greedy_search", "beam_search"])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_longer_than_the_sequence_blocks_nothing(name, compiled):
    decoder = Table(3)
    for longest in (0, 2):
        found, free = (
            run(
                lambda rows, n=n, most=longest: getattr(search, name)(
                    decoder, rows, most, block_ngrams=n
                ),
                compiled,
                rows_of(3),
            )
            for n in (5, 0)
        )
        np.testing.assert_array_equal(found.tokens, free.tokens)
        np.testing.assert_array_equal(found.scores, free.scores)


def test_where_every_word_is_blocked_the_end_comes():
    found = search.greedy_search(Table(9), rows_of(3), 8, min_length=6, block_ngrams=1)
    for tokens, length in zip(found.tokens.numpy()[:, 0], found.lengths.numpy()[:, 0]):
        assert length == len(WORDS) and sorted(tokens[:length]) == WORDS


def test_where_every_word_is_blocked_a_beam_ends_as_a_greedy_search_does():
    decoder, options = Table(6), {"max_length": 5, "min_length": 5, "block_ngrams": 1}
    greedy = search.greedy_search(decoder, rows_of(3), **options)
    narrow, wide = (search.beam_search(decoder, rows_of(3), beam=n, **options) for n in (1, 3))
    np.testing.assert_array_equal(narrow.tokens, greedy.tokens)
    np.testing.assert_allclose(narrow.log_probabilities, greedy.log_probabilities, rtol=1e-5)
    assert wide.lengths.numpy().tolist() == [[len(WORDS)]] * 3
    assert (wide.scores.numpy() > -100).all()


def test_who_is_stuck_too_early_gives_way_to_who_is_not():
    decoder = Table(6, batch=1)
    decoder.logits[:, :, 5, :END] = decoder.logits[:, :, 5, END + 1 :] = -np.inf
    decoder.logits[:, 0, START, 5] = 9.0
    found = search.beam_search(decoder, rows_of(1), 5, beam=4, min_length=3, block_ngrams=1)
    assert found.lengths.numpy() >= 3 and 5 not in found.tokens.numpy()[0, 0, :2]


def test_each_step_has_draws_of_its_own():
    drawn = search.sample(Even(steps=5, batch=20), rows_of(20), 4, seed=1, min_length=4)
    assert (drawn.tokens[:, 0, 0] != drawn.tokens[:, 0, 1]).numpy().any()


def test_more_likeliest_words_than_there_are_is_all_of_them():
    few, every = (search.sample(Table(3), rows_of(3), 2, seed=1, top_k=k) for k in (99, VOCABULARY))
    np.testing.assert_array_equal(few.tokens, every.tokens)


def test_the_share_of_the_likeliest_is_that_at_the_temperature():
    """Of a word that has half of the probability, two thirds at half the temperature."""
    decoder = Even(steps=2, batch=200)
    decoder.logits[..., 4] = np.log(2)  # against two others of 0
    decoder.logits[..., [0, 1, 2, 3]] = -30
    options = {"min_length": 1, "temperature": 0.5, "top_p": 0.6}
    drawn = search.sample(decoder, rows_of(200), 1, seed=1, **options)
    assert np.unique(drawn.tokens).tolist() == [4]


def test_what_is_drawn_is_scored_as_the_decoder_scores_it():
    decoder = Table(3)
    found = search.sample(decoder, rows_of(3), 2, seed=1, top_k=2, temperature=2.0)
    for row in range(3):
        tokens = found.tokens.numpy()[row, 0, : found.lengths[row, 0]]
        right, _ = decoder.log_probability(row, tokens)
        assert float(found.scores[row, 0]) == pytest.approx(right, abs=1e-4)


def test_positions_that_nobody_looks_at_cost_no_coverage():
    wide, narrow = Table(5), Table(5)
    wide.alpha[..., 2] = 0
    narrow.alpha = wide.alpha[..., :2]
    found, wanted = (
        search.beam_search(decoder, rows_of(3), 4, beam=3, coverage_penalty=0.2)
        for decoder in (wide, narrow)
    )
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-6)


def test_where_there_are_fewer_sequences_than_asked_for_the_rest_score_next_to_nothing():
    """Of four words there are sixteen sequences of two."""
    found = search.beam_search(Table(3), rows_of(3), 2, beam=20, n_best=20, min_length=2)
    assert (found.scores[:, :16].numpy() > -100).all()
    assert (found.scores[:, 16:].numpy() <= -1e9).all()


def test_a_limit_beyond_the_longest_is_none():
    decoder = Table(5)
    for find in (search.greedy_search, search.beam_search):
        found, wanted = (find(decoder, rows_of(3), 4, limits=limits) for limits in ([99] * 3, None))
        np.testing.assert_array_equal(found.tokens, wanted.tokens)
        np.testing.assert_allclose(found.scores, wanted.scores)
    decoder.logits[..., END] -= 20
    found, wanted = (
        search.greedy_search(decoder, rows_of(3), 4, limits=limits) for limits in ([99] * 3, None)
    )
    assert (found.lengths.numpy() == 4).all()
    np.testing.assert_allclose(found.scores, wanted.scores)
