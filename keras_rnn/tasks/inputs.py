"""What `predict` was given: a table of the task's own format, or plain lines."""

import collections
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import tensorflow as tf

import pipelines

_TABLES = (".csv", ".tsv", ".tab")
_JSON = (".jsonl", ".ndjson", ".json")
_TAGGED = (
    ".conllu",
    ".conll-u",
    ".conll",
    ".iob",
    ".iob1",
    ".iob2",
    ".bio",
    ".bioes",
    ".iobes",
    ".tsv",
    ".tab",
    ".col",
)


def format_of(file: str, column: str, delimiter: str = "") -> str:
    """`table`, `jsonl` or `lines`: by the suffix, else by whether the first line is a header or a JSON object.

    Arguments:
        file: as for `pipelines.expand`: the first one tells. Standard input, `-`, is looked at but not consumed.
        column: the column of the text, which a header or an object must have.
        delimiter: what separates columns, where the config says so.
    """
    file = pipelines.expand(file)[0]
    suffix = pipelines.suffix(file)
    if suffix in _TABLES:
        return "table"
    if suffix in _JSON:
        return "jsonl"
    if file.startswith("tfds:"):
        return "table"
    first, *more = _first_lines(file) or [""]
    if first.lstrip().startswith("{"):
        try:
            row = json.loads(first)
        except ValueError:
            return "lines"
        return "jsonl" if isinstance(row, dict) else "lines"
    names = {column, *column.split(",")}
    for separator in (delimiter, "\t", ","):
        header = first.split(separator) if separator else []
        named = names & {part.strip().strip('"') for part in header}
        # A sentence may well end in ", text"; a header has rows below it.
        if len(header) > 1 and named and (not more or separator in more[0]):
            return "table"
    return "lines"


def delimiter_of(file: str, delimiter: str = "") -> str:
    """What separates the columns of a table: as the config says, else as the suffix or the header does."""
    if delimiter:
        return pipelines.checked_delimiter(delimiter)
    file = pipelines.expand(file)[0]
    if file.startswith("tfds:"):
        return "\t"
    suffix = pipelines.suffix(file)
    if suffix in _TABLES:
        return "," if suffix == ".csv" else "\t"
    return "\t" if "\t" in "".join(_first_lines(file)[:1]) else ","


def tagged_format_of(file: str, tags: Collection[str]) -> str:
    """`conllu`, `columns`, `jsonl` or `lines`: by the suffix, else by how the file begins.

    Arguments:
        file: a name, or `-` for standard input, which is looked at but not consumed.
        tags: those of the training data; columns are only those of a tagged file if the last one holds tags.
    """
    suffix = pipelines.suffix(file)
    if suffix in _JSON:
        return "jsonl"
    if suffix in _TAGGED:
        return "conllu" if suffix in _TAGGED[:2] else "columns"
    lines = [line for line in _head(file).split("\n") if not line.startswith("#")]
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("{"):
        return "jsonl"
    # The last line may be cut.
    rows = [line.split() for line in lines[:-1] if line.strip()]
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths == {1}:
        return "lines"
    if widths == {10} and "\t" in first and first[:1].isdigit():
        return "conllu"
    return "columns" if 2 * sum(row[-1] in tags for row in rows) > len(rows) else "lines"


def has_two_columns(file: str) -> bool:
    """Whether each line that a file without a telling name begins with is two texts and a tab between them."""
    lines = _head(file).split("\n")
    # The last line may be cut.
    whole = [line for line in lines[:-1] or lines if line.strip()]
    return bool(whole) and all(line.count("\t") == 1 for line in whole)


def read_texts(
    task: Any, file: str, counts: collections.Counter | None
) -> Iterator[pipelines.Record | pipelines.InputError]:
    """A table as a task reads it, without its answers, or plain lines, each of them a text."""
    config = task.config
    kind = format_of(file, config.data.text, config.data.delimiter)
    if kind != "lines":
        return task.read(file, counts, False, "yield", json_lines=kind == "jsonl")
    return pipelines.read_lines(
        file, max_bytes=config.max_bytes, counts=counts, on_error="yield", allow_empty=True
    )


def read_tagged_json(file: str) -> Iterator[pipelines.Record | pipelines.InputError]:
    """JSON lines with `tokens`, a list of strings, or else `text`."""
    name = pipelines.shown(file)
    for number, line in pipelines.numbered_lines(file, on_error="yield"):
        if isinstance(line, pipelines.InputError):
            yield line
            continue
        if not line.strip():
            continue
        try:
            row = pipelines.json_object(line, name, number)
        except pipelines.InputError as error:
            yield error
            continue
        tokens = row.get("tokens")
        is_list = isinstance(tokens, list) and all(isinstance(t, str) and t for t in tokens)
        if is_list:
            yield pipelines.Record({"tokens": tokens}, name, number, row)
        elif tokens is None and isinstance(row.get("text"), str):
            yield pipelines.Record({"text": row["text"]}, name, number, row)
        else:
            yield pipelines.InputError(
                "the object needs tokens, a list of strings that are not empty, or text, a string",
                name,
                number,
            )


def count_cut(features: Any, texts: Sequence[str], counts: collections.Counter) -> None:
    """Counts the texts of which a model reads the beginning alone."""
    cut = int(features.too_long(tf.constant(texts, tf.string)))
    if cut:
        counts[f"cut to {features.max_length} tokens"] += cut


def _first_lines(file: str) -> list[str]:
    """The first lines of a file that are not empty, without one that may be cut; the very first is whole."""
    lines = _head(file).split("\n")
    whole = [line for line in lines[:-1] if line.strip()]
    return whole or [line for line in lines if line.strip()]


def _head(file: str) -> str:
    try:
        head = pipelines.beginning(file)
    except IsADirectoryError:
        raise pipelines.InputError("is a folder, not a file", file) from None
    return head.decode("utf-8-sig", "replace").replace("\r\n", "\n")
