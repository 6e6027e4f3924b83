"""CTC against TensorFlow's own kernel, and against every path written out."""

import itertools

import numpy as np
import tensorflow as tf

from keras_rnn.models import ctc_alignment, ctc_loss, ctc_search

LABELS, TIME = 3, 5


def logits_of(seed: int, rows: int = 4, labels: int = LABELS, time: int = TIME) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=[rows, time, labels], scale=2).astype("float32")


def spelled(path) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label)


def all_paths(logits: np.ndarray) -> dict[tuple[int, ...], list]:
    """Each sequence with its paths and their log-probabilities, of one row [time, labels]."""
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        score = scores[np.arange(len(path)), path].sum()
        found.setdefault(spelled(path), []).append((score, path))
    return found


def total(paths) -> float:
    return float(np.logaddexp.reduce([score for score, _ in paths]))


def test_the_loss_is_that_of_all_paths_and_of_tensorflow():
    logits = logits_of(0)
    steps, labels = np.array([5, 4, 3, 5]), np.array([[1, 2], [1, 1], [2, 0], [0, 0]])
    for jit in (False, True):
        compiled = tf.function(ctc_loss, jit_compile=jit)
        losses, possible = compiled(logits, tf.constant(steps, tf.int32), labels.astype("int32"))
        assert possible.numpy().all()
        for row, loss in enumerate(losses.numpy()):
            right = tuple(label for label in labels[row] if label)
            expected = -total(all_paths(logits[row, : steps[row]])[right])
            np.testing.assert_allclose(loss, expected, rtol=1e-4)
        # The kernel of TensorFlow, which takes no empty text.
        sparse = tf.sparse.from_dense(labels[:3].astype("int32"))
        given, lengths = tf.constant(logits[:3]), tf.constant(steps[:3], tf.int32)
        kernel = tf.nn.ctc_loss(
            sparse, given, None, lengths, logits_time_major=False, blank_index=0
        )
        np.testing.assert_allclose(losses[:3], kernel, rtol=1e-4)


def test_a_text_without_time_for_it_costs_nothing_and_stays_finite():
    logits = tf.constant(logits_of(1, rows=2))
    labels, steps = tf.constant([[1, 1, 2], [1, 2, 0]]), tf.constant([3, 2])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses, possible = ctc_loss(logits, steps, labels)
    assert possible.numpy().tolist() == [False, True]
    assert losses.numpy()[0] == 0 and losses.numpy()[1] > 0
    gradient = tape.gradient(losses, logits).numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient[0]).max() == 0
    assert np.abs(gradient[1, 2:]).max() == 0 < np.abs(gradient[1, :2]).max()


def test_greedy_takes_the_likeliest_path():
    logits, steps = logits_of(2, rows=8), np.array([5, 4, 3, 2, 1, 5, 5, 0])
    found = ctc_search(tf.constant(logits), tf.constant(steps, tf.int32), beam=1)
    for row, count in enumerate(steps):
        paths = all_paths(logits[row, :count]).items()
        right, best = max(
            ((labels, max(found)[0]) for labels, found in paths), key=lambda pair: pair[1]
        )
        tokens = found.tokens.numpy()[row, 0]
        assert tuple(tokens[tokens > 0]) == right
        np.testing.assert_allclose(found.scores.numpy()[row, 0], best, atol=1e-4)


def test_a_wide_beam_finds_the_likeliest_sequence_and_its_probability():
    # Nearly even, so that many paths of one sequence come to more than the likeliest one.
    logits, steps = 0.3 * logits_of(3, rows=8), np.array([5, 4, 3, 2, 1, 5, 5, 5])
    found = ctc_search(tf.constant(logits), tf.constant(steps, tf.int32), beam=400)
    greedy = ctc_search(tf.constant(logits), tf.constant(steps, tf.int32), beam=1)
    differ = 0
    for row, count in enumerate(steps):
        sums = {labels: total(paths) for labels, paths in all_paths(logits[row, :count]).items()}
        right = max(sums, key=sums.get)
        tokens = found.tokens.numpy()[row, 0]
        assert tuple(tokens[tokens > 0]) == right
        np.testing.assert_allclose(found.scores.numpy()[row, 0], sums[right], atol=1e-4)
        likeliest = greedy.tokens.numpy()[row, 0]
        differ += tuple(likeliest[likeliest > 0]) != right
    assert differ  # or the beam would not be needed here


def test_the_alignment_is_the_likeliest_path_of_the_sequence():
    logits, steps = logits_of(4, rows=5, time=6), np.array([6, 5, 6, 6, 4])
    labels = np.array([[1, 2, 0], [2, 2, 0], [1, 2, 1], [0, 0, 0], [2, 0, 0]])
    found = tf.function(ctc_alignment)(logits, tf.constant(steps, tf.int32), labels).numpy()
    for row, count in enumerate(steps):
        right = tuple(label for label in labels[row] if label)
        _, path = max(all_paths(logits[row, :count])[right])
        places = np.cumsum([(a != b) & (a > 0) for a, b in zip(path, (0, *path))]) - 1
        expected = np.zeros([3, 6])
        for time, label in enumerate(path):
            if label:
                expected[places[time], time] = 1
        np.testing.assert_array_equal(found[row], expected)
    assert ctc_alignment(logits, steps, np.zeros([5, 0])).shape == [5, 0, 6]
    one_step = ctc_alignment(logits[:1, :1], [1], [[2, 0]]).numpy()
    np.testing.assert_array_equal(one_step, [[[1], [0]]])
    assert ctc_alignment(logits[:2, :0], [0, 0], [[0], [0]]).shape == [2, 1, 0]
    assert ctc_alignment(logits[:0, :0], [], np.zeros([0, 0])).shape == [0, 0, 0]
