"""Manifests: tables that name a sound in each row, and its text."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Iterator, Sequence

from pipelines.errors import InputError
from pipelines.files import STANDARD_INPUT, expand
from pipelines.readers import MAX_BYTES, Record, read_lines, read_table


def read_manifest(
    files: str | os.PathLike | Sequence[str],
    audio: str = "audio",
    text: str = "text",
    delimiter: str | None = None,
    max_bytes: int = MAX_BYTES,
    counts: collections.Counter | None = None,
    texts: bool = True,
    on_error: str = "raise",
    form: str = "table",
) -> Iterator[Record | InputError]:
    """Reads tables (JSONL, CSV, TSV) with a sound's file and its text, one record at a time.

    A name is relative to the folder of the manifest that holds it; on standard input, to the folder
    of the process. The record's `audio` is the file as it can be opened, its `row` what was read.

    Arguments:
        files, delimiter, max_bytes, counts, on_error: as for `read_table`.
        audio, text: the columns.
        texts: False: the texts may be missing.
        form: "table", "jsonl" for JSON lines whatever the suffix says, or "lines": each line
            is the name of a sound, relative to the file's folder or to that of the process.

    Raises:
        InputError: with file and line. A sound that is not there is noticed where it is opened.

    Example:

    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "train.jsonl")
    >>> with open(path, "w") as stream:
    ...     _ = stream.write('{"audio": "a.wav", "text": "one two"}')
    >>> [record] = read_manifest(path)
    >>> record["audio"] == os.path.join(os.path.dirname(path), "a.wav"), record.row["audio"]
    (True, 'a.wav')
    """
    for file in expand(files):
        folder = "" if file == STANDARD_INPUT else os.path.dirname(file)
        if form == "lines":
            options = {"max_bytes": max_bytes, "counts": counts, "on_error": on_error}
            records = read_lines(file, "audio", allow_empty=True, **options)
        else:
            records = read_table(
                file,
                {"audio": audio, "text": text},
                delimiter=delimiter,
                max_bytes=max_bytes,
                counts=counts,
                optional=() if texts else ("text",),
                on_error=on_error,
                json_lines=form == "jsonl",
            )
        for record in _located(records, folder, either=form == "lines"):
            if isinstance(record, InputError) and on_error == "raise":
                raise record
            yield record


def _located(
    records: Iterable[Record | InputError], folder: str, either: bool
) -> Iterator[Record | InputError]:
    for record in records:
        if isinstance(record, InputError):
            yield record
            continue
        listed = [name for name, value in record.items() if isinstance(value, list)]
        if listed:
            record = record.error(f"{listed[0]!r} is a list; a string is needed")
        elif not record["audio"].strip():
            record = record.error("no sound is named")
        else:
            name = os.path.expanduser(record["audio"].strip())
            here = os.path.join(folder, name)
            if either and not os.path.exists(here) and os.path.exists(name):
                here = name
            record["audio"] = here
        yield record
