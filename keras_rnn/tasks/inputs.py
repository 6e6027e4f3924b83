"""What `predict` was given: a table of the task's own format, or plain lines."""

import json
import os
import sys

import pipelines

_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json")


def format_of(file: str, column: str, delimiter: str = "") -> str:
    """`table`, `jsonl` or `lines`: by the suffix, else by whether the first line is a header or a JSON object.

    Arguments:
        file: a name, or `-` for standard input, which is looked at but not consumed.
        column: the column of the text, which a header or an object must have.
        delimiter: what separates columns, where the config says so.
    """
    name = file.removesuffix(".gz")
    suffix = os.path.splitext(name)[1].lower()
    if suffix in _SUFFIXES:
        return "jsonl" if suffix in _SUFFIXES[3:] else "table"
    if file.startswith("tfds:"):
        return "table"
    first = _first_line(file)
    if first.lstrip().startswith("{"):
        try:
            row = json.loads(first)
        except ValueError:
            return "lines"
        return "jsonl" if isinstance(row, dict) and column in row else "lines"
    names = {column, *column.split(",")}
    for separator in (delimiter, "\t", ","):
        header = first.split(separator) if separator else []
        if len(header) > 1 and names & {part.strip() for part in header}:
            return "table"
    return "lines"


def _first_line(file: str) -> str:
    if file == "-":
        stream = sys.stdin.buffer
        head = stream.peek(65536) if hasattr(stream, "peek") else b""
    else:
        try:
            with pipelines.open_bytes(file) as stream:
                head = stream.read(65536)
        except IsADirectoryError:
            raise pipelines.InputError("is a folder, not a file", file) from None
    return head.split(b"\n", 1)[0].decode("utf-8-sig", "replace").rstrip("\r")
