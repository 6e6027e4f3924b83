"""Pretrained word vectors in text form, read only where the vocabulary asks for them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from pipelines.errors import InputError
from pipelines.files import BYTE_ORDER_MARK, open_bytes

# A header that speaks of more is none of vectors.
LARGEST_DIMENSION = 2**20

_HEADER = re.compile(rb"\s*\d+\s+\d+\s*$")


def read_vectors(file: str | os.PathLike, tokens: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Reads GloVe or word2vec text vectors, plain or `.gz`, for the tokens of a vocabulary.

    The file streams by: the memory holds one row a token. A token that is not in the file takes
    the vector of its lower-cased form, where there is one. Of a word that stands twice the first
    row counts.

    Arguments:
        file: a word and its numbers on each line, blanks between; a first line with two numbers
            (word2vec: words, dimension) is understood.
        tokens: the vocabulary, in the order of its ids.

    Returns:
        vectors: float32[tokens, dimension], zero where nothing was found.
        found: bool[tokens].

    Raises:
        InputError: with the line, where a row has not as many numbers as the first one, or
            something else than numbers.
    """
    file = os.fspath(file)
    exact: dict[bytes, int] = {}
    lowered: dict[bytes, list[int]] = {}
    for place, token in enumerate(tokens):
        exact.setdefault(token.encode("utf-8"), place)
        if token.lower() != token:
            lowered.setdefault(token.lower().encode("utf-8"), []).append(place)
    vectors: np.ndarray | None = None
    found = np.zeros(len(tokens), bool)
    fallen_back = np.zeros(len(tokens), bool)
    for number, dimension, word, *numbers in _rows(file):
        if len(numbers) != dimension:
            raise InputError(
                f"the row has {len(numbers)} numbers, the first one {dimension}", file, number
            )
        if number <= 2 and len(word.split()) > 1 and _is_number(word.split()[-1]):
            raise InputError(
                f"the row has more numbers than the {dimension} of the header", file, number
            )
        if vectors is None:
            vectors = np.zeros((len(tokens), dimension), np.float32)
        place = exact.get(word)
        followers = lowered.get(word, ())
        if place is None and not followers:
            continue
        row = _row(numbers, file, number)
        if place is not None and (not found[place] or fallen_back[place]):
            vectors[place], found[place], fallen_back[place] = row, True, False
        for place in followers:
            if not found[place]:
                vectors[place], found[place], fallen_back[place] = row, True, True
    if vectors is None:
        raise InputError("holds no vectors", file)
    return vectors, found


def vector_words(file: str | os.PathLike, size: int, wanted: Collection[str] = ()) -> list[str]:
    """The words of a file of vectors, each once: the first `size`, and of the others those that are wanted.

    Arguments:
        file: as for `read_vectors`.
        size: such files begin with the frequent words.
        wanted: words to keep wherever they stand.

    Raises:
        InputError: the file holds no vectors; what is wrong within a row, `read_vectors` finds.
    """
    file = os.fspath(file)
    words: dict[str, None] = {}
    for rows, (_, _, word, *_) in enumerate(_rows(file)):
        name = word.decode("utf-8", "replace")
        if rows < size or name in wanted:
            words[name] = None
    if not words:
        raise InputError("holds no vectors", file)
    return list(words)


def vectors_dimension(file: str | os.PathLike) -> int:
    """How many numbers a vector of the file has, by its first row.

    Raises:
        InputError: the file holds no vectors.
    """
    file = os.fspath(file)
    for _, dimension, *_ in _rows(file):
        return dimension
    raise InputError("holds no vectors", file)


def _rows(file: str) -> Iterator[tuple[int | bytes, ...]]:
    """Of each row the number of its line, how many numbers it should have, its word and its numbers."""
    dimension = 0
    with open_bytes(file) as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            line = line.strip(b" \t\r\n")
            if not line:
                continue
            if number == 1 and _HEADER.match(line):
                dimension = int(line.split()[1])
                if not 1 <= dimension <= LARGEST_DIMENSION:
                    raise InputError(f"the header speaks of {dimension} numbers a word", file, 1)
                continue
            dimension = dimension or _dimension(line, file, number)
            # From the right, because some GloVe words hold blanks themselves.
            yield number, dimension, *line.replace(b"\t", b" ").rsplit(b" ", dimension)


def _dimension(line: bytes, file: str, number: int) -> int:
    numbers = 0
    for part in reversed(line.split()[1:]):
        if not _is_number(part):
            break
        numbers += 1
    if not numbers:
        raise InputError(
            "is not vectors as text: a word and its numbers on each line, blanks between",
            file,
            number,
        )
    return numbers


def _is_number(part: bytes) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def _row(parts: list[bytes], file: str, number: int) -> np.ndarray:
    try:
        row = np.array(parts, dtype=np.float64).astype(np.float32)
    except ValueError:
        wrong = next((part for part in parts if not _is_number(part)), b"")
        shown = wrong.decode("utf-8", "replace")
        raise InputError(f"{shown!r} is no number; is a number missing?", file, number) from None
    if not np.isfinite(row).all():
        raise InputError("a number is not finite", file, number)
    return row
