"""Pretrained word vectors in text form, read only where the vocabulary asks for them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence

import numpy as np

from pipelines.errors import InputError
from pipelines.files import open_bytes

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
    dimension = 0
    with open_bytes(file) as stream:
        for number, line in enumerate(stream, start=1):
            line = line.strip(b" \t\r\n")
            if not line:
                continue
            if number == 1 and _HEADER.match(line):
                dimension = int(line.split()[1])
                continue
            dimension = dimension or _dimension(line, file, number)
            # From the right, because some GloVe words hold blanks themselves.
            parts = line.replace(b"\t", b" ").rsplit(b" ", dimension)
            if len(parts) != dimension + 1:
                raise InputError(
                    f"the row has {len(parts) - 1} numbers, the first one {dimension}", file, number
                )
            if number <= 2 and len(parts[0].split()) > 1 and _is_number(parts[0].split()[-1]):
                raise InputError(
                    f"the row has more numbers than the {dimension} of the header", file, number
                )
            if vectors is None:
                vectors = np.zeros((len(tokens), dimension), np.float32)
            place = exact.get(parts[0])
            followers = lowered.get(parts[0], ())
            if place is None and not followers:
                continue
            row = _row(parts[1:], file, number)
            if place is not None and (not found[place] or fallen_back[place]):
                vectors[place], found[place], fallen_back[place] = row, True, False
            for place in followers:
                if not found[place]:
                    vectors[place], found[place], fallen_back[place] = row, True, True
    if vectors is None:
        raise InputError("holds no vectors", file)
    return vectors, found


def vector_words(
    file: str | os.PathLike, size: int, wanted: Collection[str] = ()
) -> tuple[list[str], int]:
    """The words of a file of vectors: the first `size`, and of the others those that are wanted.

    Arguments:
        file: as for `read_vectors`.
        size: such files begin with the frequent words.
        wanted: words to keep wherever they stand.

    Returns:
        the words, each once, in the file's order, and the dimension.

    Raises:
        InputError: the file holds no vectors; what is wrong within a row, `read_vectors` finds.
    """
    file = os.fspath(file)
    words: dict[str, None] = {}
    dimension = rows = 0
    with open_bytes(file) as stream:
        for number, line in enumerate(stream, start=1):
            line = line.strip(b" \t\r\n")
            if not line:
                continue
            if number == 1 and _HEADER.match(line):
                dimension = int(line.split()[1])
                continue
            dimension = dimension or _dimension(line, file, number)
            word = line.replace(b"\t", b" ").rsplit(b" ", dimension)[0].decode("utf-8", "replace")
            rows += 1
            if rows <= size or word in wanted:
                words[word] = None
    if not words:
        raise InputError("holds no vectors", file)
    return list(words), dimension


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
