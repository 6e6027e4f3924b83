"""ROUGE by the package rouge-score, with the beginning of the text as what a summary has to beat."""

import collections
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

KINDS = ("rouge1", "rouge2", "rougeL")

# Texts among which the best k is sought, evenly spread over those there are, and the largest k.
SOUGHT = 1000
LONGEST_LEAD = 200

_WORD = re.compile(r"[^\W_]+")


def _words(text: str) -> list[str]:
    """Lower-case runs of letters and digits of any script; of ASCII text the very words of rouge-score's own tokenizer
    without its stemmer, which knows English alone.
    """
    return _WORD.findall(text.lower())


def _spelled(text: str) -> str:
    """The words in hexadecimal digits: rouge-score takes only ASCII letters and digits for parts of a word."""
    return " ".join(word.encode("utf-8").hex() for word in _words(text))


def lead(text: str, words: int) -> str:
    """The first words of a text, as blanks part them.

    >>> lead("One  more time, please", 3)
    'One more time,'
    """
    return " ".join(text.split(maxsplit=words)[:words])


def best_lead(texts: Sequence[str], references: Sequence[str]) -> int:
    """How many of the first words make the best ROUGE-L against the references, in the mean.

    Of many texts a thousand are asked; beyond 30 words each k tried is a tenth larger than the one before.

    >>> best_lead(["a b c d e", "f g h"], ["b a c", "g f h"])
    3
    """
    step = max(len(texts) // SOUGHT, 1)
    texts, references = texts[::step], references[::step]
    score = _scorer(["rougeL"])
    best, best_words, words = -1.0, 1, 1
    longest = min(max((len(text.split()) for text in texts), default=1), LONGEST_LEAD)
    while words <= longest:
        found = np.mean(
            [
                score(right, lead(text, words))["rougeL"].fmeasure
                for text, right in zip(texts, references, strict=True)
            ]
        )
        if found > best:
            best, best_words = found, words
        words += 1 if words < 30 else words // 10
    return best_words


def summary_scores(
    answers: Sequence[str], references: Sequence[str], texts: Sequence[str], words: int
) -> dict[str, Any]:
    """F-measures of ROUGE-1, 2 and L of summaries and of the first words of their texts; what is new in them.

    Arguments:
        answers, references: the summaries to judge and the right ones.
        texts: what they are summaries of.
        words: k of the baseline, the first k words of a text.

    Returns:
        `rouge1`, `rouge2`, `rougeL` and with `lead_` before them those of the baseline, means over the examples; in
        `confidence` the bounds of each between which 95 of 100 samples of as many examples lie (bootstrap, 1,000
        samples, always the same); `lead`, which is k; `novel_ngrams`, the share of a summary's pairs of words that do
        not follow each other in its text; in `novel` the same for runs of 1, 2, 3 words, of the answers and of the
        references; `length` and `reference_length`, words in the mean; `exact_match`.

    >>> scores = summary_scores(["the cat sat"], ["the cat slept"], ["the cat sat down"], words=2)
    >>> round(scores["rouge1"], 3), scores["lead_rougeL"], scores["novel_ngrams"], scores["length"]
    (0.667, 0.8, 0.0, 3.0)
    """
    scores = _rouge(answers, references, "")
    leads = _rouge([lead(text, words) for text in texts], references, "lead_")
    confidence = {**scores.pop("confidence"), **leads.pop("confidence")}
    novel = {
        name: {str(n): _novel(summaries, texts, n) for n in (1, 2, 3)}
        for name, summaries in (("answers", answers), ("references", references))
    }
    exact = sum(
        answer.split() == right.split() for answer, right in zip(answers, references, strict=True)
    )
    return {
        **scores,
        **leads,
        "lead": words,
        "confidence": confidence,
        "novel_ngrams": novel["answers"]["2"],
        "novel": novel,
        "length": _length(answers),
        "reference_length": _length(references),
        "exact_match": exact / max(len(answers), 1),
    }


def _scorer(kinds: Sequence[str]) -> Callable[[str, str], dict[str, Any]]:
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(kinds)
    return lambda reference, answer: scorer.score(_spelled(reference), _spelled(answer))


def _rouge(answers: Sequence[str], references: Sequence[str], prefix: str) -> dict[str, Any]:
    from rouge_score import scoring

    if not answers:
        zeros = {prefix + kind: 0.0 for kind in KINDS}
        return {**zeros, "confidence": dict.fromkeys(zeros, [0.0, 0.0])}
    score = _scorer(KINDS)
    found = [score(right, answer) for answer, right in zip(answers, references, strict=True)]
    aggregator = scoring.BootstrapAggregator()
    for scores in found:
        aggregator.add_scores(scores)
    # The package draws from NumPy's generator of the process, which others draw from, too.
    before = np.random.get_state()
    np.random.seed(0)
    try:
        bounds = aggregator.aggregate()
    finally:
        np.random.set_state(before)
    return {
        **{prefix + k: float(np.mean([scores[k].fmeasure for scores in found])) for k in KINDS},
        "confidence": {
            prefix + kind: [float(bounds[kind].low.fmeasure), float(bounds[kind].high.fmeasure)]
            for kind in KINDS
        },
    }


def _novel(summaries: Sequence[str], texts: Sequence[str], n: int) -> float:
    """The share of the summaries' runs of n words that their texts have not."""
    new = total = 0
    for summary, text in zip(summaries, texts, strict=True):
        runs, there = (_runs(words, n) for words in (summary, text))
        total += sum(runs.values())
        new += sum(count for run, count in runs.items() if run not in there)
    return new / max(total, 1)


def _runs(text: str, n: int) -> collections.Counter[tuple[str, ...]]:
    words = _words(text)
    return collections.Counter(zip(*(words[place:] for place in range(n))))


def _length(summaries: Sequence[str]) -> float:
    return sum(len(_words(s)) for s in summaries) / max(len(summaries), 1)
