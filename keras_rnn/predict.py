"""Prediction: answers for a stream of input, in order, in constant memory."""

import collections
import contextlib
import csv
import gzip
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

import pipelines
from keras_rnn.run import Run
from keras_rnn.tasks.inputs import delimiter_of, format_of

# Records that are answered together.
CHUNK = 256


def predict(run: Run, source: str = "", target: str = "", output_format: str = "jsonl") -> int:
    """Answers every record of the input; gives the exit status, 1 if a row could not be read.

    Arguments:
        run: an opened run.
        source: a file of the task's format or of plain lines; standard input if "".
        target: a file, written whole or not at all; standard output if "".
        output_format: `jsonl`, `text` (the answer alone) or `same` (the input's own format).
    """
    source = source or "-"
    if not target and sys.stdout is None:
        raise pipelines.InputError("is closed; name a file with --output", "standard output")
    if os.path.isdir(target):
        raise pipelines.InputError("is a folder; --output names a file", target)
    counts = collections.Counter()
    bad = 0
    rewriting = run.task.rewriting(source) if output_format == "same" else None
    records = run.task.read_input(source, counts)

    def answered() -> Iterator[tuple[Any, dict[str, Any]]]:
        nonlocal bad
        for record, answer in _answers(run, records, counts):
            if isinstance(record, pipelines.InputError):
                bad += 1
                if output_format != "jsonl":
                    print(f"keras-rnn: {record}", file=sys.stderr)
            yield record, answer

    if rewriting:
        rewriting(answered(), target or sys.stdout.buffer)
        sys.stdout.flush()
    else:
        with _opened(target) as file:
            writer = WRITERS[output_format](run, file, source)
            for number, (record, answer) in enumerate(answered(), start=1):
                writer.write(record, answer)
                if number % CHUNK == 0:
                    # Whoever reads on the other end need not wait for the end of the input.
                    file.flush()
            file.flush()
    for reason, count in counts.items():
        print(f"keras-rnn: {count:,} {reason}", file=sys.stderr)
    if bad:
        rows = "row" if bad == 1 else "rows"
        print(f"keras-rnn: {bad:,} {rows} could not be read", file=sys.stderr)
    return 1 if bad else 0


def _answers(
    run: Run, records: Iterable, counts: collections.Counter
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each record with its answer; an error with its error object."""
    server = run.task.server(run.model)
    for chunk in pipelines.in_chunks(records, CHUNK):
        good = [record for record in chunk if not isinstance(record, pipelines.InputError)]
        answers = iter(server.answer(good, counts) if good else ())
        for record in chunk:
            if isinstance(record, pipelines.InputError):
                yield record, {"error": record.message, "line": record.line}
            else:
                yield record, next(answers)


@contextlib.contextmanager
def _opened(target: str) -> Iterator[TextIO]:
    if target.lower().endswith(".gz"):
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(pipelines.atomic_write(target, binary=True))
            # Without name and time, so that the same answers make the same file.
            packed = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
            yield stack.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline="\n"))
    elif target:
        with pipelines.atomic_write(target) as file:
            yield file
    else:
        # UTF-8 and LF wherever it runs, whatever the terminal's encoding is.
        stream = getattr(sys.stdout, "buffer", None)
        if stream is None:
            yield sys.stdout
            return
        file = io.TextIOWrapper(stream, encoding="utf-8", newline="\n", write_through=False)
        try:
            yield file
        finally:
            file.detach()


class _Json:
    """One object a line: the input's fields, then the answer."""

    def __init__(self, run: Run, file: TextIO, source: str):
        self.file = file

    def write(self, record, answer):
        row = {} if isinstance(record, pipelines.InputError) else record.row
        self.file.write(json.dumps({**row, **answer}, ensure_ascii=False) + "\n")


class _Text:
    """The answer alone, one line each; an empty line for a row that could not be read."""

    def __init__(self, run: Run, file: TextIO, source: str):
        self.file, self.task = file, run.task

    def write(self, record, answer):
        text = "" if "error" in answer else self.task.as_text(answer)
        self.file.write(" ".join(text.split("\n")) + "\n")


class _Same:
    """The input's own format, with the answer in its column: JSONL, CSV or TSV; plain lines get a TSV.

    A row that could not be read keeps its place: as an object with the error in JSONL, as empty fields in a table.
    """

    def __init__(self, run: Run, file: TextIO, source: str):
        self.file, self.task = file, run.task
        data = run.config.data
        self.kind = format_of(source, self.task.input_column, data.delimiter)
        is_table = self.kind == "table"
        self.delimiter = delimiter_of(source, data.delimiter) if is_table else "\t"
        self.header = None
        self.bad_before_header = 0

    def write(self, record, answer):
        bad = "error" in answer
        if self.kind == "jsonl":
            row = answer if bad else self.task.as_row(record, answer)
            self.file.write(json.dumps(row, ensure_ascii=False) + "\n")
        elif bad and self.header is None:
            self.bad_before_header += 1
        elif bad:
            self._line([""] * len(self.header))
        else:
            row = self.task.as_row(record, answer)
            if self.header is None:
                self.header = list(row)
                for fields in [self.header, *[[""] * len(row)] * self.bad_before_header]:
                    self._line(fields)
            if row.keys() != set(self.header):
                raise record.error(
                    f"has the columns {', '.join(row)}, the first file {', '.join(self.header)}: "
                    "--output_format=same writes one table"
                )
            self._line([str(row[name]) for name in self.header])

    def _line(self, fields: list[str]):
        if self.delimiter == "\t":
            # In TSV a quote is text, unless the field needs quoting as a whole.
            fields = [
                '"' + field.replace('"', '""') + '"'
                if any(sign in field for sign in "\t\n\r")
                or (field.startswith('"') and field.endswith('"') and len(field) > 1)
                else field
                for field in fields
            ]
            self.file.write("\t".join(fields) + "\n")
        else:
            csv.writer(self.file, delimiter=self.delimiter, lineterminator="\n").writerow(fields)


WRITERS = {"jsonl": _Json, "text": _Text, "same": _Same}
