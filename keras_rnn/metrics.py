"""Scores of answers. Labels are counted batch by batch, so that memory does not grow with the data."""

import collections
import re
import string
from collections.abc import Sequence
from typing import Any

import numpy as np


class LabelCounts:
    """Counts what was predicted against what is right; gives accuracy, precision, recall and F1.

    For each label: precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN), each 0 where
    nothing is divided by nothing. `f1_micro` is the F1 of the summed counts; `f1_macro` the mean F1 of the labels that
    occur, as right answers or as predictions. A text may have one label or any number; `accuracy` asks for exactly
    the right ones.

    Arguments:
        labels: the names.

    Example:
        >>> counts = LabelCounts(["a", "b"])
        >>> counts.update(right=np.eye(2, dtype=bool)[[0, 0, 1]], predicted=np.eye(2, dtype=bool)[[0, 1, 1]])
        >>> counts.result()["by_label"]["a"]["recall"]
        0.5
    """

    def __init__(self, labels: Sequence[str]):
        self.labels = list(labels)
        self.both = np.zeros(len(labels), np.int64)
        self.right = np.zeros(len(labels), np.int64)
        self.predicted = np.zeros(len(labels), np.int64)
        self.examples = 0
        self.exact = 0

    def update(self, right: np.ndarray, predicted: np.ndarray) -> None:
        """Adds texts: bool [texts, labels] each."""
        self.both += (right & predicted).sum(0)
        self.right += right.sum(0)
        self.predicted += predicted.sum(0)
        self.examples += len(right)
        self.exact += int((right == predicted).all(1).sum())

    def result(self) -> dict[str, Any]:
        """`accuracy`, `f1_macro`, `f1_micro`, `by_label`, `examples`."""
        f1 = _share(2 * self.both, self.right + self.predicted)
        occur = (self.right + self.predicted) > 0
        precision = _share(self.both, self.predicted)
        recall = _share(self.both, self.right)
        micro = _share(2 * self.both.sum(), self.right.sum() + self.predicted.sum())
        return {
            "accuracy": float(_share(self.exact, self.examples)),
            "f1_macro": float(f1[occur].mean()) if occur.any() else 0.0,
            "f1_micro": float(micro),
            "by_label": {
                label: {
                    "precision": float(precision[number]),
                    "recall": float(recall[number]),
                    "f1": float(f1[number]),
                    "support": int(self.right[number]),
                }
                for number, label in enumerate(self.labels)
            },
            "examples": self.examples,
        }


def _share(part, whole):
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


def negative_log_likelihood(
    logits: np.ndarray, right: np.ndarray, temperature: float, multilabel: bool
) -> np.ndarray:
    """-log p(right answer) of each text, [texts]; `right` is bool [texts, labels].

    One label: the softmax of logits / temperature. Several: each label's sigmoid, the mean over the labels.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    if multilabel:
        return np.mean(np.logaddexp(0.0, np.where(right, -scaled, scaled)), axis=1)
    highest = scaled.max(axis=1, keepdims=True)
    log_sum = highest[:, 0] + np.log(np.exp(scaled - highest).sum(axis=1))
    return log_sum - (scaled * right).sum(axis=1)


def fit_temperature(logits: np.ndarray, right: np.ndarray, multilabel: bool) -> float:
    """The temperature from 0.05 to 20 under which held-out answers are likeliest (Guo et al. 2017).

    The right answer counts as right with probability (n + 1) / (n + 2) for n texts, as in Platt 1999, so that a few
    texts without a mistake do not make the model certain of everything. The cost is convex in 1 / temperature, so
    that a golden-section search finds its lowest point.
    """
    doubt = 1.0 / (len(logits) + 2)
    others = (~right).sum(axis=1, keepdims=True)
    shares = np.where(right, 1.0 - doubt, doubt / np.maximum(others, 1))

    def cost(inverse):
        scaled = np.asarray(logits, np.float64) * inverse
        if multilabel:
            target = np.where(right, 1.0 - doubt, doubt)
            return np.mean(np.logaddexp(0.0, scaled) - target * scaled)
        scaled -= scaled.max(axis=1, keepdims=True)
        log_probabilities = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -np.mean((shares * log_probabilities).sum(axis=1))

    low, high = np.log(1 / 20), np.log(20.0)
    ratio = (np.sqrt(5) - 1) / 2
    left, right_end = high - ratio * (high - low), low + ratio * (high - low)
    cost_left, cost_right = cost(np.exp(left)), cost(np.exp(right_end))
    for _ in range(40):
        if cost_left <= cost_right:
            high, right_end, cost_right = right_end, left, cost_left
            left = high - ratio * (high - low)
            cost_left = cost(np.exp(left))
        else:
            low, left, cost_left = left, right_end, cost_right
            right_end = low + ratio * (high - low)
            cost_right = cost(np.exp(right_end))
    return float(1 / np.exp((low + high) / 2))


class TagCounts:
    """Counts tags and spans of predicted sequences against the right ones.

    `accuracy` is the share of right tags, `accuracy_unseen` that of tokens that the training data did not hold (None
    where there are none). `precision`, `recall` and `f1` are those of spans, over all labels together; a span is
    right if its label and both its ends are; without any they are 0. Where tags spell no spans, each token counts as
    one.

    Arguments:
        tags: the names of the tags.

    Attributes:
        confusion: int64 [tags, tags], right tag by predicted tag.

    Example:
        >>> counts = TagCounts(["O", "B-X"])
        >>> counts.update_tags(np.array([0, 1, 1]), np.array([0, 1, 0]), unseen=np.array([False, True, True]))
        >>> counts.update_spans([("X", 1, 2), ("X", 2, 3)], [("X", 1, 2)])
        >>> result = counts.result()
        >>> result["accuracy_unseen"], result["precision"], result["recall"]
        (0.5, 1.0, 0.5)
    """

    def __init__(self, tags: Sequence[str]):
        self.tags = list(tags)
        self.confusion = np.zeros((len(tags), len(tags)), np.int64)
        self.unseen = np.zeros(2, np.int64)
        self.spans: dict[str, list[int]] | None = None  # until it is known that the tags spell any

    def update_tags(self, right: np.ndarray, predicted: np.ndarray, unseen: np.ndarray) -> None:
        """Adds tokens: the numbers of their tags, and which of them training did not see."""
        number = len(self.tags)
        cells = np.bincount(right * number + predicted, minlength=number * number)
        self.confusion += cells.reshape(number, number)
        self.unseen += [(right == predicted)[unseen].sum(), unseen.sum()]

    def update_spans(
        self, right: Sequence[tuple[str, int, int]], predicted: Sequence[tuple[str, int, int]]
    ) -> None:
        """Adds the spans (label, start, end) of a sentence."""
        both = set(right) & set(predicted)
        self.spans = self.spans or {}
        for place, found in enumerate((both, right, predicted)):
            for label, _, _ in found:
                self.spans.setdefault(label, [0, 0, 0])[place] += 1

    def result(self) -> dict[str, Any]:
        """`accuracy`, `accuracy_unseen`, `precision`, `recall`, `f1`, `by_label`, `tokens`."""
        labels, both, right, predicted = self._spans()
        tokens = int(self.confusion.sum())
        precision, recall = _share(both, predicted), _share(both, right)
        f1 = _share(2 * both, right + predicted)
        unseen = float(_share(*self.unseen)) if self.unseen[1] else None
        return {
            "accuracy": float(_share(np.trace(self.confusion), tokens)),
            "accuracy_unseen": unseen,
            "precision": float(_share(both.sum(), predicted.sum())),
            "recall": float(_share(both.sum(), right.sum())),
            "f1": float(_share(2 * both.sum(), right.sum() + predicted.sum())),
            "by_label": {
                label: {
                    "precision": float(precision[number]),
                    "recall": float(recall[number]),
                    "f1": float(f1[number]),
                    "support": int(right[number]),
                }
                for number, label in enumerate(labels)
            },
            "tokens": tokens,
        }

    def table(self) -> list[list[str | int]]:
        """The confusions with a row of names above and a column of names before: right tag by predicted tag."""
        rows = [
            [tag, *numbers] for tag, numbers in zip(self.tags, self.confusion.tolist(), strict=True)
        ]
        return [["right \\ predicted", *self.tags], *rows]

    def confusions(self, number: int) -> list[tuple[str, str, int, float]]:
        """The commonest errors: right tag, predicted tag, how often, and the share of the right tag's tokens."""
        wrong = self.confusion * (1 - np.eye(len(self.tags), dtype=np.int64))
        found = []
        for cell in np.argsort(-wrong, axis=None, kind="stable")[:number].tolist():
            right, predicted = divmod(cell, len(self.tags))
            if times := int(wrong[right, predicted]):
                share = times / int(self.confusion[right].sum())
                found.append((self.tags[right], self.tags[predicted], times, share))
        return found

    def _spans(self) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
        if self.spans is not None:
            labels = sorted(self.spans)
            counts = np.array([self.spans[label] for label in labels], np.int64).reshape(-1, 3)
            return labels, counts[:, 0], counts[:, 1], counts[:, 2]
        right, predicted = self.confusion.sum(1), self.confusion.sum(0)
        occur = (right + predicted) > 0
        labels = [tag for tag, occurs in zip(self.tags, occur, strict=True) if occurs]
        return labels, np.diagonal(self.confusion)[occur], right[occur], predicted[occur]


def translation_scores(answers: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """BLEU and chrF of sacrebleu, from 0 to 100, and the share of answers that are the very reference.

    >>> scores = translation_scores(["the house is small", "yes"], ["the house is small", "no"])
    >>> scores["exact_match"], scores["bleu_signature"].split("|")[-2]
    (0.5, 'smooth:exp')
    """
    from sacrebleu.metrics import BLEU, CHRF

    bleu = BLEU()
    score = bleu.corpus_score(answers, [references]).score
    exact = sum(answer == right for answer, right in zip(answers, references, strict=True))
    return {
        "bleu": float(score),
        "bleu_signature": str(bleu.get_signature()),
        "chrf": float(CHRF().corpus_score(answers, [references]).score),
        "exact_match": exact / max(len(answers), 1),
    }


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized_answer(text: str) -> str:
    """An answer as SQuAD compares it: lower case, no punctuation, no articles, single blanks.

    >>> normalized_answer("The  Eiffel-Tower!")
    'eiffeltower'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def answer_f1(answer: str, right: str) -> float:
    """F1 of the words that two answers have in common, after SQuAD's normalisation; of no words: whether both are so.

    >>> round(answer_f1("in the city of Paris", "Paris"), 3)
    0.4
    """
    given, wanted = normalized_answer(answer).split(), normalized_answer(right).split()
    if not given or not wanted:
        return float(given == wanted)
    both = sum((collections.Counter(given) & collections.Counter(wanted)).values())
    return 2 * both / (len(given) + len(wanted))


class AnswerScores:
    """Scores answers against those that are accepted, over all questions and by their kind.

    With `spans` the two scores of SQuAD (Rajpurkar et al. 2016), each for the accepted answer that suits best:
    `exact_match` after normalisation, and `f1` of words. Else `accuracy`: whether it is the very answer.

    Arguments:
        spans: whether the answers are spans of a text.

    Example:
        >>> scores = AnswerScores(spans=True)
        >>> scores.update("the cat", ["Cat", "a black cat"], "who")
        >>> scores.update("yes", [], "")
        >>> result = scores.result()
        >>> result["exact_match"], result["by_kind"]["who"]["examples"]
        (0.5, 1)
    """

    def __init__(self, spans: bool):
        self.spans = spans
        self.total = _Sums()
        self.by_kind: dict[str, _Sums] = collections.defaultdict(_Sums)

    def update(self, answer: str, accepted: Sequence[str], kind: str = "") -> None:
        """Adds an answer; none accepted: the right answer is "", that there is none."""
        accepted = accepted or [""]
        if self.spans:
            given = normalized_answer(answer)
            scores = {
                "exact_match": float(any(normalized_answer(right) == given for right in accepted)),
                "f1": max(answer_f1(answer, right) for right in accepted),
            }
        else:
            scores = {"accuracy": float(answer in accepted)}
        for sums in [self.total] + ([self.by_kind[kind]] if kind else []):
            sums.update(scores)

    def result(self) -> dict[str, Any]:
        """The scores, `examples`, and the same in `by_kind`."""
        kinds = sorted(self.by_kind.items())
        return {**self.total.result(), "by_kind": {kind: sums.result() for kind, sums in kinds}}


class _Sums:
    def __init__(self):
        self.sums: dict[str, float] = collections.defaultdict(float)
        self.examples = 0

    def update(self, scores: dict[str, float]) -> None:
        self.examples += 1
        for name, score in scores.items():
            self.sums[name] += score

    def result(self) -> dict[str, Any]:
        means = {name: total / self.examples for name, total in self.sums.items()}
        return {**means, "examples": self.examples}


def recognition_scores(answers: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Word and character error rate: edits that make the reference of the answer, a share of the references' length.

    >>> scores = recognition_scores(["one too", "three"], ["one two", "three"])
    >>> round(scores["wer"], 3), round(scores["cer"], 3), scores["exact_match"]
    (0.333, 0.083, 0.5)
    """
    import jiwer

    answers, references = (
        [" ".join(text.split()) for text in side] for side in (answers, references)
    )
    exact = sum(answer == right for answer, right in zip(answers, references, strict=True))
    return {
        "wer": float(jiwer.wer(references, answers)),
        "cer": float(jiwer.cer(references, answers)),
        "exact_match": exact / max(len(answers), 1),
    }
