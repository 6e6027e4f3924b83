"""Scores of classifiers, counted batch by batch so that memory does not grow with the data."""

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
