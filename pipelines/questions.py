"""Questions about a text: JSON lines or a table, and the JSON of SQuAD."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines import files as _files
from pipelines.errors import InputError
from pipelines.readers import MAX_BYTES, Record, cut_records, read_table

# The file begins with an object whose articles are its `data`; a version or a title may stand before them.
_SQUAD = re.compile(r'\s*\{\s*("\w+"\s*:\s*("[^"\\]*"|[\w.+-]+)\s*,\s*)*"data"\s*:')

_COLUMNS = {name: name for name in ("context", "question", "answer", "answer_start", "task")}


def read_questions(
    files: str,
    delimiter: str | None = None,
    max_bytes: int = MAX_BYTES,
    counts: collections.Counter | None = None,
    answers: bool = True,
    on_error: str = "raise",
    json_lines: bool = False,
) -> Iterator[Record | InputError]:
    """Reads questions, each with the text that it is about.

    A record holds `context`, `question`, `task` (the kind of question, "" where the data names none),
    `answers` (all that are accepted, a list; an empty one: the text has no answer) and `starts`
    (where they begin in the context, in characters; an empty list where the data does not say).

    JSON lines and tables have the fields `context`, `question` and `answer` (a string; in JSON also a
    list of all that are accepted), and may have `answer_start` and `task`. A `.json` file of
    `{"data": [...]}` is SQuAD's, version 1 or 2; version 2 names its questions has_answer and
    no_answer.

    Arguments:
        files: as for `expand`; `.gz` is read.
        delimiter, max_bytes: as for `read_table`. A context that is cut keeps its beginning.
        counts: takes what was cut.
        answers: False where they may be missing, as for predictions.
        on_error: "raise", or "yield" to put an `InputError` in place of a bad question and go on.
        json_lines: one JSON object a line, whatever the suffix says: for standard input.

    Raises:
        InputError: with file and line; in SQuAD's JSON the line is the number of the question.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "stories.jsonl")
    >>> with open(path, "w") as stream:
    ...     _ = stream.write('{"context": "Ada sat.", "question": "Who sat?", "answer": "Ada"}')
    >>> [record["answers"] for record in read_questions(path)]
    [['Ada']]
    """
    for file in _files.expand(files):
        if is_squad(file):
            records = _squad_records(file, answers)
        else:
            optional = {"answer_start", "task"} | (set() if answers else {"answer"})
            # Cut after the answers were looked at, for a cut answer is another one.
            records = read_table(
                file, _COLUMNS, delimiter, 2**62, None, optional, on_error, json_lines
            )
        for record in cut_records(_checked(records, answers), max_bytes, counts):
            if isinstance(record, InputError) and on_error == "raise":
                raise record
            yield record


def is_squad(file: str) -> bool:
    """Whether a file is SQuAD's JSON, by its suffix and its beginning."""
    if _files.suffix(file) != ".json":
        return False
    with _files.open_bytes(file) as stream:
        head = stream.read(4096)
    return bool(_SQUAD.match(head.decode("utf-8-sig", "replace")))


def _checked(
    records: Iterator[Record | InputError], answers: bool
) -> Iterator[Record | InputError]:
    for record in records:
        if isinstance(record, InputError):
            yield record
            continue
        try:
            yield _question(record, answers)
        except InputError as error:
            yield error


def _question(record: Record, answers: bool) -> Record:
    """A record as it was read -> one with `answers` and `starts`."""
    for field in ("context", "question", "task"):
        if not isinstance(record.get(field, ""), str):
            raise record.error(f"{field!r} is a list; a string is needed")
        if answers and field != "task" and not record[field].strip():
            raise record.error(f"the {field} is empty")
    fields = {
        "context": record["context"],
        "question": record["question"],
        "task": record.get("task", ""),
        "answers": _listed(record.get("answer", [])),
        "starts": [],
    }
    if answers and not all(answer.strip() for answer in fields["answers"]):
        raise record.error(
            'the answer is empty; "answer": [] says that the context holds no answer'
        )
    # A cell of a table may be empty, a list may not hold nothing.
    for start in _listed(record.get("answer_start") or []):
        try:
            fields["starts"].append(int(start))
        except (ValueError, TypeError, OverflowError):
            raise record.error(f"answer_start is {start!r}; a whole number is needed") from None
    # Where nothing says where an answer stands, blanks around it mean nothing.
    if not fields["starts"]:
        fields["answers"] = [answer.strip() for answer in fields["answers"]]
    if fields["starts"] and len(fields["starts"]) != len(fields["answers"]) and answers:
        raise record.error(
            f"{len(fields['starts'])} answer_start for {len(fields['answers'])} answers"
        )
    return Record(fields, record.file, record.line, record.row)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


# SQuAD


def _squad_records(file: str, answers: bool) -> Iterator[Record | InputError]:
    with _files.open_bytes(file) as stream:
        raw = stream.read()
    try:
        data = json.loads(raw.decode("utf-8-sig"))["data"]
    except UnicodeDecodeError as error:
        raise InputError(f"invalid UTF-8 at byte {error.start + 1}", file) from None
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON: {error.msg}", file, error.lineno) from None
    except RecursionError:
        raise InputError("is not JSON: nested too deep", file) from None
    except ValueError:
        raise InputError("holds a number of too many digits", file) from None
    number, whole = 0, True
    for place, paragraph in _paragraphs(data, file):
        try:
            context = _field(paragraph, "context", str, place)
            questions = _items(paragraph, "qas", place)
        except InputError as error:
            yield InputError(error.message, file, number + 1)
            whole = False
            continue
        for question in questions:
            number += 1
            try:
                fields, row = _squad_question(context, question, answers)
                yield Record(fields, file, number, row)
            except InputError as error:
                yield InputError(error.message, file, number)
    if not number and whole:
        raise InputError("holds no question", file)


def _paragraphs(data: Any, file: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The paragraphs of SQuAD's articles, each with the place where it stands."""
    try:
        for article, content in enumerate(_items({"data": data}, "data")):
            for paragraph, inner in enumerate(_items(content, "paragraphs", f"data[{article}]")):
                yield f"data[{article}].paragraphs[{paragraph}]", inner
    except InputError as error:
        raise InputError(error.message, file) from None


def _squad_question(
    context: str, question: Mapping[str, Any], answers: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a record, and its row."""
    place = f"question {question['id']!r}" if "id" in question else "question"
    fields: dict[str, Any] = {"context": context}
    fields["question"] = _field(question, "question", str, place)
    row = {**question, "context": context}
    impossible = question.get("is_impossible")
    if impossible is not None:
        fields["task"] = "no_answer" if impossible else "has_answer"
    if not answers and "answers" not in question:
        return fields, row
    given = [] if impossible else _items(question, "answers", place)
    fields["answer"] = [_field(answer, "text", str, place) for answer in given]
    starts = [answer.get("answer_start") for answer in given]
    if None not in starts:
        fields["answer_start"] = starts
    return fields, row


def _items(value: Mapping[str, Any], name: str, place: str = "") -> list[Mapping[str, Any]]:
    items = _field(value, name, list, place)
    where = f"{place}: " if place else ""
    if not all(isinstance(item, dict) for item in items):
        raise InputError(f"{where}{name!r} must be a list of objects")
    return items


def _field(value: Mapping[str, Any], name: str, kind: type, place: str) -> Any:
    found = value.get(name)
    where = f"{place}: " if place else ""
    if not isinstance(found, kind):
        word = "a string" if kind is str else "a list"
        raise InputError(f"{where}{name!r} is missing or not {word}")
    if kind is str:
        try:
            found.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(f"{where}{name!r} holds half a surrogate pair, no text") from None
    return found
