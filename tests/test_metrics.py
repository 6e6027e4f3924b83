"""Scores against the definitions, written out."""

import numpy as np
import pytest

from keras_rnn import metrics


def one_hot(numbers, labels):
    return np.eye(labels, dtype=bool)[numbers]


def test_scores_of_a_small_table():
    counts = metrics.LabelCounts(["a", "b", "c"])
    right = [0, 0, 0, 1, 1, 2]
    given = [0, 0, 1, 1, 2, 1]
    # In two parts, as batches come.
    counts.update(one_hot(right[:2], 3), one_hot(given[:2], 3))
    counts.update(one_hot(right[2:], 3), one_hot(given[2:], 3))
    result = counts.result()
    assert result["accuracy"] == pytest.approx(3 / 6)
    assert result["f1_micro"] == pytest.approx(3 / 6)
    assert result["by_label"]["a"] == pytest.approx(
        {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "support": 3}
    )
    assert result["by_label"]["b"]["precision"] == pytest.approx(1 / 3)
    assert result["by_label"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert result["f1_macro"] == pytest.approx((0.8 + 0.4 + 0.0) / 3)
    assert result["examples"] == 6


def test_a_label_that_never_occurs_is_left_out_of_the_macro_mean():
    counts = metrics.LabelCounts(["a", "b", "never"])
    counts.update(one_hot([0, 1], 3), one_hot([0, 1], 3))
    assert counts.result()["f1_macro"] == 1.0


def test_scores_are_those_of_scikit_learn():
    import sklearn.metrics

    rng = np.random.default_rng(0)
    right, given = rng.random((2, 200, 5)) < 0.3
    counts = metrics.LabelCounts(list("abcde"))
    counts.update(right, given)
    result = counts.result()
    assert result["f1_macro"] == pytest.approx(
        sklearn.metrics.f1_score(right, given, average="macro")
    )
    assert result["f1_micro"] == pytest.approx(
        sklearn.metrics.f1_score(right, given, average="micro")
    )
    assert result["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(right, given))


def test_negative_log_likelihood():
    logits = np.array([[2.0, 0.0], [1000.0, -1000.0]])
    right = one_hot([0, 1], 2)
    got = metrics.negative_log_likelihood(logits, right, 2.0, multilabel=False)
    assert got == pytest.approx([np.log1p(np.exp(-1.0)), 1000.0])
    got = metrics.negative_log_likelihood(logits[:1], right[:1], 1.0, multilabel=True)
    assert got == pytest.approx([(np.log1p(np.exp(-2.0)) + np.log(2.0)) / 2])


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.5])
def test_temperature_is_found_again(temperature):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(40000, 3)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    drawn = (rng.random((len(logits), 1)) > probabilities.cumsum(1)).sum(1)
    found = metrics.fit_temperature(logits * temperature, one_hot(drawn, 3), multilabel=False)
    assert found == pytest.approx(temperature, rel=0.05)


def test_temperature_of_several_labels_is_found_again():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 3)) * 2
    right = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    found = metrics.fit_temperature(3 * logits, right, multilabel=True)
    assert found == pytest.approx(3, rel=0.05)


def test_two_texts_without_a_mistake_are_right_with_three_quarters():
    right = np.eye(2, dtype=bool)
    found = metrics.fit_temperature(right * 1.0, right, multilabel=False)
    assert found == pytest.approx(1 / np.log(3), rel=1e-3)


@pytest.mark.parametrize(
    "given, right, exact, f1",
    [
        # After SQuAD's normalisation: case, punctuation, articles and blanks do not count.
        ("The  Denver Broncos.", "denver broncos", 1.0, 1.0),
        ("Santa Clara", "Santa Clara, California", 0.0, 0.8),
        ("gold gold", "gold", 0.0, 2 / 3),
        ("an", "the", 1.0, 1.0),
        ("", "", 1.0, 1.0),
        ("gold", "", 0.0, 0.0),
        ("", "gold", 0.0, 0.0),
    ],
)
def test_answers_are_compared_as_squad_does(given, right, exact, f1):
    scores = metrics.AnswerScores(spans=True)
    scores.update(given, [right] if right else [])
    result = scores.result()
    assert result["exact_match"] == exact and result["f1"] == pytest.approx(f1)


def test_the_accepted_answer_that_suits_best_counts():
    scores = metrics.AnswerScores(spans=True)
    scores.update("Levi's Stadium", ["Santa Clara", "Levi's Stadium in Santa Clara"], "where")
    scores.update("2015", ["2016", "the 2015 season"], "when")
    scores.update("2015", ["2015"], "when")
    result = scores.result()
    assert result["exact_match"] == pytest.approx(1 / 3)
    assert result["f1"] == pytest.approx((4 / 7 + 2 / 3 + 1) / 3)
    assert result["by_kind"]["when"] == {
        "exact_match": 0.5,
        "f1": pytest.approx((2 / 3 + 1) / 2),
        "examples": 2,
    }


def test_words_are_right_or_wrong():
    scores = metrics.AnswerScores(spans=False)
    for answer, accepted, kind in (
        ("yes", ["yes"], "a"),
        ("Yes", ["yes"], "a"),
        ("x", ["y", "x"], "b"),
    ):
        scores.update(answer, accepted, kind)
    assert scores.result() == {
        "accuracy": pytest.approx(2 / 3),
        "examples": 3,
        "by_kind": {
            "a": {"accuracy": 0.5, "examples": 2},
            "b": {"accuracy": 1.0, "examples": 1},
        },
    }


def test_where_no_span_is_and_none_is_given_none_is_right():
    counts = metrics.TagCounts(["O", "B-X"])
    counts.update_tags(np.array([0, 0]), np.array([0, 0]), np.zeros(2, bool))
    assert counts.result()["f1"] == 1.0  # tags that spell no spans count one by one
    counts.update_spans([], [])
    result = counts.result()
    assert (result["accuracy"], result["precision"], result["recall"], result["f1"]) == (1, 0, 0, 0)
    assert result["by_label"] == {}


def test_confusions_are_shares_of_the_right_tag():
    counts = metrics.TagCounts(["O", "B-X"])
    counts.update_tags(np.array([0, 0, 0, 1]), np.array([1, 0, 0, 1]), np.zeros(4, bool))
    assert counts.confusions(3) == [("O", "B-X", 1, 1 / 3)]


def test_blanks_of_a_transcript_do_not_count():
    scores = metrics.recognition_scores([" one  two "], ["one two"])
    assert scores == {"wer": 0, "cer": 0, "exact_match": 1}
