"""Parallel text: records of a source and its target."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator

from pipelines import files as _files
from pipelines.errors import InputError
from pipelines.readers import MAX_BYTES, Record, read_lines, read_table

_TABLES = (".tsv", ".csv", ".jsonl", ".ndjson", ".json")


def read_parallel(
    files: str,
    delimiter: str | None = None,
    max_bytes: int = MAX_BYTES,
    counts: collections.Counter | None = None,
) -> Iterator[Record]:
    """Reads pairs of texts, as {"source", "target"}; pairs with an empty side are left out and counted.

    Arguments:
        files: `SOURCE,TARGET`, two files whose lines belong together (`.gz` and globs are read; of globs the files are
            paired in their order); or tables with the columns source and target (`.tsv`, `.csv`, `.jsonl`; a `.tsv` of
            two columns needs no header).
        delimiter, max_bytes, counts: as for `read_table`.

    Raises:
        InputError: with file and line; among others where one side has more lines or files than the other.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "pairs.tsv")
    >>> with open(path, "w") as stream:
    ...     _ = stream.write("ein Haus\\ta house\\n")
    >>> [dict(record) for record in read_parallel(path)]
    [{'source': 'ein Haus', 'target': 'a house'}]
    """
    for record in _pairs(files, delimiter, max_bytes, counts):
        if record["source"].strip() and record["target"].strip():
            yield record
        elif counts is not None:
            counts["pairs with an empty side, left out"] += 1


def _pairs(files, delimiter, max_bytes, counts) -> Iterator[Record]:
    sides = files.split(",")
    tables = [side for side in sides if _files.suffix(side) in _TABLES or side.startswith("tfds:")]
    if len(sides) == 2 and not tables:
        yield from _of_lines(*map(_files.expand, sides), max_bytes, counts)
        return
    if len(tables) < len(sides):
        raise InputError(
            "parallel text is two files, SOURCE,TARGET, or tables (.tsv, .csv, .jsonl) with the columns source and "
            "target",
            files,
        )
    for file in _files.expand(files):
        if _files.suffix(file) == ".tsv" and delimiter is None and _has_no_header(file):
            yield from _of_columns(file, max_bytes, counts)
        else:
            columns = {"source": "source", "target": "target"}
            yield from read_table(file, columns, delimiter, max_bytes, counts)


def _of_lines(sources: list[str], targets: list[str], max_bytes, counts) -> Iterator[Record]:
    if len(sources) != len(targets):
        raise InputError(
            f"{len(sources)} files of sources and {len(targets)} of targets do not go together",
            sources[0],
        )
    for source, target in zip(sources, targets, strict=True):
        sides = [
            read_lines(file, field, max_bytes, counts)
            for file, field in ((source, "source"), (target, "target"))
        ]
        for number, (left, right) in enumerate(itertools.zip_longest(*sides), start=1):
            if left is None or right is None:
                longer, shorter = (source, target) if right is None else (target, source)
                raise InputError(
                    f"has more lines than {_files.shown(shorter)}, which ends after line {number - 1}; line n of one "
                    "must be the translation of line n of the other",
                    _files.shown(longer),
                    number,
                )
            yield Record({**left, **right}, _files.shown(source), number)


def _has_no_header(file: str) -> bool:
    """Whether the first line is a pair and no header."""
    for _, line in _files.numbered_lines(file):
        fields = [field.strip() for field in line.split("\t")]
        return len(fields) == 2 and {*fields} != {"source", "target"}
    return False


def _of_columns(file: str, max_bytes, counts) -> Iterator[Record]:
    for record in read_lines(file, "pair", 2 * max_bytes, counts):
        fields = record["pair"].split("\t")
        if len(fields) != 2:
            raise record.error(f"has {len(fields)} columns; a source, a tab and its target are two")
        yield Record(dict(zip(("source", "target"), fields, strict=True)), record.file, record.line)
