"""ROUGE of summaries against its definition, and what the package says of the same texts."""

import numpy as np
import pytest
from rouge_score import rouge_scorer

from keras_rnn import rouge

TEXTS = [
    "The cat sat on the mat, and the dog slept all day long.",
    "Prices of oil rose on Monday after a storm closed two ports.",
    "A man of forty won the race in two hours.",
]
REFERENCES = ["Cat sits on the mat", "Oil prices rise after storm", "Man wins race"]
ANSWERS = ["the cat on the mat", "oil rose and oil fell", "man wins race"]


def common(left, right) -> int:
    """Longest common subsequence, by the definition."""
    if not left or not right:
        return 0
    if left[-1] == right[-1]:
        return 1 + common(left[:-1], right[:-1])
    return max(common(left[:-1], right), common(left, right[:-1]))


def test_scores_are_those_of_the_package_and_of_the_definition():
    scores = rouge.summary_scores(ANSWERS, REFERENCES, TEXTS, words=4)
    package = rouge_scorer.RougeScorer(rouge.KINDS, use_stemmer=False)
    leads = [" ".join(text.split()[:4]) for text in TEXTS]
    for prefix, given in (("", ANSWERS), ("lead_", leads)):
        for kind in rouge.KINDS:
            right = [
                package.score(reference, answer)[kind].fmeasure
                for reference, answer in zip(REFERENCES, given)
            ]
            assert scores[prefix + kind] == pytest.approx(np.mean(right))
            low, high = scores["confidence"][prefix + kind]
            assert min(right) <= low <= scores[prefix + kind] <= high <= max(right)
    pairs = [(a.lower().split(), r.lower().split()) for a, r in zip(ANSWERS, REFERENCES)]
    longest = [2 * common(a, r) / (len(a) + len(r)) for a, r in pairs]
    assert scores["rougeL"] == pytest.approx(np.mean(longest))
    assert scores["exact_match"] == 0  # "man", not "Man"
    assert scores["length"] == pytest.approx(13 / 3) and scores["lead"] == 4


def test_new_runs_of_words_are_counted():
    scores = rouge.summary_scores(ANSWERS, REFERENCES, TEXTS, words=4)
    # Of 13 words "fell", "wins" and, in its text, "and"; of 10 pairs these.
    new = ["cat on", "rose and", "and oil", "oil fell", "man wins", "wins race"]
    assert scores["novel"]["answers"]["1"] == pytest.approx(3 / 13)
    assert scores["novel_ngrams"] == pytest.approx(len(new) / 10)


def test_the_draws_of_the_confidence_disturb_nobody():
    np.random.seed(5)
    right = np.random.uniform(size=2)
    np.random.seed(5)
    first = np.random.uniform()
    scores = [rouge.summary_scores(ANSWERS, REFERENCES, TEXTS, words=4) for _ in range(2)]
    assert [first, np.random.uniform()] == right.tolist() and scores[0] == scores[1]


def test_the_best_lead_is_the_best_of_all():
    score = rouge_scorer.RougeScorer(["rougeL"])
    means = [
        np.mean(
            [
                score.score(reference, " ".join(text.split()[:words]))["rougeL"].fmeasure
                for text, reference in zip(TEXTS, REFERENCES)
            ]
        )
        for words in range(1, 15)
    ]
    assert rouge.best_lead(TEXTS, REFERENCES) == 1 + int(np.argmax(means))
    # Longer than all that are tried one by one.
    text = " ".join(f"w{n}" for n in range(100))
    assert rouge.best_lead([text], [" ".join(text.split()[:60])]) == pytest.approx(60, abs=3)


def test_other_scripts_count_too():
    scores = rouge.summary_scores(["Żółw śpi"], ["żółw śpi dziś"], ["Żółw śpi dziś"], words=1)
    assert scores["rouge1"] == pytest.approx(0.8) and scores["lead_rouge1"] == pytest.approx(0.5)


def test_of_nothing_everything_is_zero():
    scores = rouge.summary_scores([], [], [], words=3)
    assert scores["rougeL"] == scores["lead_rouge1"] == scores["novel_ngrams"] == 0
    assert rouge.summary_scores([""], ["a"], ["a b"], words=3)["rouge2"] == 0
