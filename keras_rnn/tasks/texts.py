"""Texts as tasks hand them about: as arrays, by their lengths, blank or not."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import pipelines
from pipelines.text import BLANK_ONLY


def row_arrays(ragged: tf.RaggedTensor) -> list[np.ndarray]:
    """The rows of a ragged tensor as arrays.

    >>> [row.tolist() for row in row_arrays(tf.ragged.constant([[1, 2], [], [3]]))]
    [[1, 2], [], [3]]
    """
    return np.split(ragged.values.numpy(), ragged.row_splits.numpy()[1:-1])


def is_blank(texts: tf.Tensor) -> tf.Tensor:
    """Which texts, string [batch], hold nothing that a tokenizer makes a token of: bool [batch].

    >>> is_blank(tf.constant(["", " \\n", "\u00a0\u200b", "a "])).numpy().tolist()
    [True, True, True, False]
    """
    return tf.strings.regex_full_match(texts, BLANK_ONLY)


def by_length(
    inputs: Sequence,
    size: int,
    answer: Callable[[list], Iterable[dict[str, Any]]],
    length: Callable[[Any], int] = len,
) -> list[dict[str, Any]]:
    """The answers to texts or sounds, in their order; asked about are `size` of like length together: less padding.

    >>> by_length(["aaa", "a", "bb"], 2, lambda texts: [{text: len(texts)} for text in texts])
    [{'aaa': 1}, {'a': 2}, {'bb': 2}]
    """
    answers = [{}] * len(inputs)
    order = sorted(range(len(inputs)), key=lambda number: length(inputs[number]))
    for numbers in pipelines.in_chunks(order, size):
        given = answer([inputs[number] for number in numbers])
        for number, found in zip(numbers, given, strict=True):
            answers[number] = found
    return answers
