"""Parallel text: records of a source and its target, from two files of lines or from tables."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Iterator

from pipelines import files as _files
from pipelines import readers as _readers
from pipelines.errors import InputError
from pipelines.readers import MAX_BYTES, Record, read_lines, read_table

_COLUMNS = {"source": "source", "target": "target"}
_TABLES = (".tsv", ".tab", ".csv", ".jsonl", ".json", ".ndjson")


def read_parallel(
    files: str,
    delimiter: str | None = None,
    max_bytes: int = MAX_BYTES,
    counts: collections.Counter | None = None,
    targets: bool = True,
    on_error: str = "raise",
    form: str = "",
) -> Iterator[Record | InputError]:
    """Reads pairs of texts, each one record {"source": text, "target": text}.

    Two names that are no tables, `SOURCE,TARGET`, are files of lines, line n of one being the
    translation of line n of the other. Each may be a glob; the files are paired in sorted order.

    Anything else is tables: `.tsv`, `.csv` or `.jsonl` with the columns source and target, or a
    `.tsv` of two columns without a header, in which a quote is a character like any other.

    Arguments:
        files: as for `expand`; `.gz` is read.
        delimiter, max_bytes: as for `read_table`.
        counts: takes what was cut, and the pairs left out because a side is empty.
        targets: False where the target may be missing, as for predictions. Then a name that is no
            table, `-` included, is a file of sources, and no line is left out, not even an empty one.
        on_error: "raise", or "yield" to put an `InputError` in place of a bad pair and go on.
        form: `table`, `columns` (two of them and no header) or `jsonl` for a file whose name does not say so, as
            standard input.

    Raises:
        InputError: with file and line; also where one side has more lines or files than the other.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "pairs.tsv")
    >>> with open(path, "w") as stream:
    ...     _ = stream.write("ein Haus\\ta house\\n")
    >>> [dict(record) for record in read_parallel(path)]
    [{'source': 'ein Haus', 'target': 'a house'}]
    """
    for record in _records(files, delimiter, max_bytes, counts, targets, on_error, form):
        if isinstance(record, InputError):
            if on_error == "raise":
                raise record
            yield record
        elif not targets or all(record[side].strip() for side in _COLUMNS):
            yield record
        elif counts is not None:
            counts["pairs with an empty side, left out"] += 1


def _records(
    files: str,
    delimiter: str | None,
    max_bytes: int,
    counts: collections.Counter | None,
    targets: bool,
    on_error: str,
    form: str,
) -> Iterator[Record | InputError]:
    """The records of all the files, those with an empty side among them."""
    if sides := two_sides(files):
        yield from _pairs_of_lines(*map(_files.expand, sides), max_bytes, counts, not targets)
        return
    named = _files.expand(files)
    for file in named:
        if targets and not form and not is_table(file):
            raise InputError(
                "parallel text is two files of lines, SOURCE,TARGET, or tables (.tsv, .csv, "
                ".jsonl) with the columns source and target",
                _files.shown(file),
            )
    for file in named:
        if not form and not is_table(file):
            yield from read_lines(file, "source", max_bytes, counts, on_error, allow_empty=True)
        elif form == "columns" or has_no_header(file, delimiter):
            pairs = _pairs_of_columns(file, delimiter)
            yield from _readers.cut_records(pairs, max_bytes, counts)
        else:
            optional = () if targets else ("target",)
            yield from read_table(
                file,
                _COLUMNS,
                delimiter,
                max_bytes,
                counts,
                optional,
                on_error,
                json_lines=form == "jsonl",
                texts=tuple(_COLUMNS),
            )


def two_sides(files: str) -> list[str]:
    """The two names of `SOURCE,TARGET`, files of lines that belong together; else nothing."""
    sides = [] if os.path.exists(files) else files.split(",")
    return sides if len(sides) == 2 and not any(map(is_table, sides)) else []


def is_table(file: str) -> bool:
    """Whether a name says that the file is a table or a data set."""
    file = file.strip()
    return file.startswith(_files.DATASET_PREFIX) or _files.suffix(file) in _TABLES


def _pairs_of_lines(
    sources: list[str],
    targets: list[str],
    max_bytes: int,
    counts: collections.Counter | None,
    allow_empty: bool,
) -> Iterator[Record | InputError]:
    if len(sources) != len(targets):
        raise InputError(
            f"{_counted(len(sources), 'file')} of sources ({sources[0]}, ...) and "
            f"{_counted(len(targets), 'file')} of targets ({targets[0]}, ...): each file of "
            "sources needs its file of targets"
        )
    for source, target in zip(sources, targets):
        # A bad line comes as an error, so that the lines after it can still be counted.
        sides = [
            read_lines(file, field, max_bytes, counts, "yield", allow_empty)
            for file, field in ((source, "source"), (target, "target"))
        ]
        for number, (left, right) in enumerate(itertools.zip_longest(*sides), start=1):
            if left is None or right is None:
                lines = [number - 1, number - 1]
                longer = 0 if right is None else 1
                lines[longer] = number + sum(1 for _ in sides[longer])
                raise InputError(
                    f"{_files.shown(source)} has {_counted(lines[0], 'line')}, "
                    f"{_files.shown(target)} has {lines[1]}; line n of one must be the "
                    "translation of line n of the other, and here one has ended",
                    _files.shown((source, target)[longer]),
                    number,
                )
            errors = [side for side in (left, right) if isinstance(side, InputError)]
            yield errors[0] if errors else Record({**left, **right}, left.file, number)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def has_no_header(file: str, delimiter: str | None = None) -> bool:
    """Whether a table is a `.tsv` that begins with a pair: two cells that name no columns."""
    if _files.suffix(file) not in (".tsv", ".tab"):
        return False
    delimiter = _readers.checked_delimiter(delimiter) or "\t"
    for _, line in _files.numbered_lines(file, "yield"):
        if isinstance(line, InputError):
            return False
        if line.strip():
            cells = [cell.strip().strip('"') for cell in line.split(delimiter)]
            return len(cells) == 2 and not set(_COLUMNS) & set(cells)
    return False


def _pairs_of_columns(file: str, delimiter: str | None) -> Iterator[Record | InputError]:
    delimiter = _readers.checked_delimiter(delimiter) or "\t"
    name = _files.shown(file)
    for number, line in _files.numbered_lines(file, "yield"):
        if isinstance(line, InputError):
            yield line
        elif line.strip() or delimiter in line:
            cells = line.split(delimiter)
            if len(cells) == 2:
                yield Record(dict(zip(_COLUMNS, cells)), name, number)
            else:
                yield InputError(
                    f"the row has {_counted(len(cells), 'field')}; a source and its target are 2",
                    name,
                    number,
                )
