"""What the spelling of a word says about it, for words that no vocabulary holds: in graph."""

from __future__ import annotations

import tensorflow as tf

from pipelines.text import lowered

# The shape, how the word ends in one to four characters, and how it begins in three.
ATTRIBUTES = ("shape", "1", "2", "3", "4", "first")

# What makes a word its shape, in order: a pattern and what takes its place.
SHAPES = (
    (r"[\p{Ll}]+", "x"),
    (r"[\p{Lo}\p{Lm}\p{M}]+", "c"),
    (r"[\p{Lu}\p{Lt}]", "X"),
    ("XX+", "XX"),
    (r"[\p{N}]+", "9"),
)


def word_attributes(tokens: tf.Tensor) -> tf.Tensor:
    """The attributes of each token, as strings that name themselves.

    The shape keeps the kind of each character (`X` upper case, `x` lower case, `c` letters without
    case, `9` digits, other signs as they are), runs of one kind shortened: two for capitals, one
    for the rest. Endings and beginning are lower-cased.

    Arguments:
        tokens: string[count], valid UTF-8.

    Returns:
        string[count, 6].

    Example:

    >>> word_attributes(["Walked", "USA-2"]).numpy().tolist()[0]
    [b'shape Xx', b'1 d', b'2 ed', b'3 ked', b'4 lked', b'first wal']
    >>> word_attributes(["USA-2", "ఇంటికి"]).numpy()[:, 0].tolist()
    [b'shape XX-9', b'shape c']
    """
    tokens = tf.reshape(tf.convert_to_tensor(tokens, tf.string), [-1])
    shape = tokens
    for pattern, sign in SHAPES:
        shape = tf.strings.regex_replace(shape, pattern, sign)
    low = lowered(tokens)
    length = tf.strings.length(low, unit="UTF8_CHAR")

    def part(begin: tf.Tensor, size: int) -> tf.Tensor:
        sizes = tf.fill(tf.shape(length), size)
        return tf.strings.substr(low, begin, sizes, unit="UTF8_CHAR")

    endings = [part(tf.maximum(length - size, 0), size) for size in (1, 2, 3, 4)]
    parts = [shape, *endings, part(tf.zeros_like(length), 3)]
    named = [
        tf.strings.join([tf.constant(name + " "), part])
        for name, part in zip(ATTRIBUTES, parts, strict=True)
    ]
    return tf.stack(named, axis=1)
