"""Files to records: CSV, TSV, JSONL, plain lines and tensorflow-datasets, read lazily."""

from __future__ import annotations

import collections
import itertools
import json
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from pipelines import files as _files
from pipelines.errors import InputError

# What one field may hold. A longer one is cut, at a character, and counted.
MAX_BYTES = 65536

# In a TSV file an opening quote is more often natural text than a field of many lines.
_LONGEST_QUOTED_IN_TSV = 2**18

# What stands within quotes.
_QUOTED = re.compile('(?:[^"]|"")*+')

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_JSON = (".jsonl", ".json", ".ndjson")
_SPELLED = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";"}


class Record(dict):
    """One example as it was read: field name -> string (or a list of strings, for many labels).

    Attributes:
        file: where it was read, for messages.
        line: the line it begins on, counted from 1 (for a data set, the example).
        row: the whole row under the file's own column names.

    Example:

    >>> record = Record({"text": "good"}, file="train.tsv", line=2)
    >>> record["text"], record.file, record.line
    ('good', 'train.tsv', 2)
    """

    def __init__(
        self,
        fields: Mapping[str, str | list[str]],
        file: str | None = None,
        line: int | None = None,
        row: Mapping[str, object] | None = None,
    ):
        super().__init__(fields)
        self.file = file
        self.line = line
        self.row = dict(fields) if row is None else row

    def error(self, message: str) -> InputError:
        """An `InputError` that names this record's file and line."""
        return InputError(message, self.file, self.line)


def read_table(
    files: str | os.PathLike | Sequence[str],
    columns: Mapping[str, str],
    delimiter: str | None = None,
    max_bytes: int = MAX_BYTES,
    counts: collections.Counter | None = None,
    optional: Collection[str] = (),
    on_error: str = "raise",
    json_lines: bool = False,
    texts: Collection[str] = (),
) -> Iterator[Record | InputError]:
    """Reads tables with a header, JSON lines and tensorflow-datasets, one record at a time.

    The suffix tells the format, `.gz` aside: `.csv`, `.tsv`, `.jsonl` (also `.json` with one
    object a line); any other name is a table whose header tells the delimiter.

    Quoting: a field in double quotes may hold delimiters, line ends and doubled quotes. In a TSV
    file quotes are natural text, and a field is quoted only if it is quoted whole.

    Arguments:
        files: as for `expand`; `-` is standard input; `tfds:NAME` or `tfds:NAME:SPLIT` reads
            tensorflow-datasets.
        columns: field -> column; several columns, comma-separated, are joined by a blank.
        delimiter: one character, or `\\t`; by default the suffix decides.
        max_bytes: longer fields are cut at a character and counted.
        counts: a `collections.Counter` that takes what was cut, by reason.
        optional: fields that may lack their column, or be null (labels, when predicting).
        on_error: "raise", or "yield" to put an `InputError` in place of a bad row and go on.
            A bad file (missing, no such column, damaged gzip) always raises.
        json_lines: one JSON object a line, whatever the suffix says: for standard input.
        texts: fields that are one text; a list of JSON is a bad row there.

    Raises:
        InputError: with file and line.

    Example:

    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "films.tsv")
    >>> with open(path, "w") as stream:
    ...     _ = stream.write('text\\tlabel\\n"Great" fun\\tpositive\\n')
    >>> [dict(record) for record in read_table(path, {"text": "text", "label": "label"})]
    [{'text': '"Great" fun', 'label': 'positive'}]
    """
    delimiter = checked_delimiter(delimiter)
    for file in _files.expand(files):
        if file.startswith(_files.DATASET_PREFIX):
            records = _dataset_records(file, columns, optional)
        elif json_lines or (delimiter is None and _files.suffix(file) in _JSON):
            records = _json_records(file, columns, optional, on_error)
        else:
            records = _table_records(file, columns, delimiter, optional, on_error)
        yield from cut_records(_texts_alone(records, texts, on_error), max_bytes, counts)


def _texts_alone(
    records: Iterable[Record | InputError], texts: Collection[str], on_error: str
) -> Iterator[Record | InputError]:
    """Puts an error in place of a record with a list where one text is needed."""
    for record in records:
        fields = {} if isinstance(record, InputError) else record
        lists = [name for name in texts if not isinstance(fields.get(name, ""), str)]
        if lists:
            record = record.error(f"{lists[0]!r} is a list; one text is needed")
            if on_error == "raise":
                raise record
        yield record


def read_lines(
    files: str | os.PathLike | Sequence[str],
    field: str = "text",
    max_bytes: int = MAX_BYTES,
    counts: collections.Counter | None = None,
    on_error: str = "raise",
    allow_empty: bool = False,
) -> Iterator[Record | InputError]:
    """Reads plain lines, each one record {field: line}; an empty line is an empty text.

    Arguments:
        files, max_bytes, counts, on_error: as for `read_table`.
        field: the name the line gets.
        allow_empty: a file without a line is no error.

    Raises:
        InputError: with file and line.
    """

    def records(file: str) -> Iterator[Record | InputError]:
        number = 0
        for number, line in _files.numbered_lines(file, on_error):
            if isinstance(line, InputError):
                yield line
            else:
                yield Record({field: line}, _files.shown(file), number)
        if not number and not allow_empty:
            raise InputError("is empty", _files.shown(file))

    for file in _files.expand(files):
        yield from cut_records(records(file), max_bytes, counts)


def cut_text(text: str, max_bytes: int) -> str:
    """The longest beginning of `text`, in whole characters, of at most `max_bytes` in UTF-8."""
    if len(text) * 4 <= max_bytes:
        return text
    raw = text.encode("utf-8")
    return text if len(raw) <= max_bytes else raw[:max_bytes].decode("utf-8", "ignore")


def cut_records(
    records: Iterable[Record | InputError], max_bytes: int, counts: collections.Counter | None
) -> Iterator[Record | InputError]:
    for record in records:
        if not isinstance(record, InputError):
            for field, value in record.items():
                if isinstance(value, str) and len(value) * 4 > max_bytes:
                    cut = cut_text(value, max_bytes)
                    if len(cut) < len(value):
                        record[field] = cut
                        if counts is not None:
                            counts[f"cut to {max_bytes} bytes"] += 1
        yield record


def checked_delimiter(delimiter: str | None) -> str | None:
    if not delimiter:
        return None
    delimiter = _SPELLED.get(delimiter, delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise InputError(f"data.delimiter must be one character or \\t, not {delimiter!r}")
    return delimiter


def _sources(
    columns: Mapping[str, str],
    present: Collection[str],
    optional: Collection[str],
    file: str,
    line: int,
) -> dict[str, list[str]]:
    """Which of the file's columns make each field."""
    sources = {}
    for field, wanted in columns.items():
        names = [wanted] if wanted in present else [name.strip() for name in wanted.split(",")]
        missing = [name for name in names if name not in present]
        if not missing:
            sources[field] = names
        elif field not in optional:
            there = ", ".join(_begun(column) for column in itertools.islice(present, 20)) or "none"
            there += ", …" if len(present) > 20 else ""
            hint = ""
            if len(present) == 1:
                hint = next((f" (is the delimiter {d!r}?)" for d in ";,\t|" if d in there), "")
                hint = hint or (" (is the delimiter '\\t'?)" if "\\t" in there else "")
            raise InputError(
                f"no column {missing[0]!r} for {field!r}; the columns are: {there}{hint}",
                file,
                line,
            )
    return sources


def _begun(name: str) -> str:
    return repr(name if len(name) <= 100 else name[:100] + "…")


# Tables


def _table_records(
    file: str,
    columns: Mapping[str, str],
    delimiter: str | None,
    optional: Collection[str],
    on_error: str,
) -> Iterator[Record | InputError]:
    name = _files.shown(file)
    lines = _files.numbered_lines(file, on_error)
    header_line = next(
        ((n, line) for n, line in lines if not isinstance(line, str) or line.strip()), None
    )
    if header_line is None:
        raise InputError("is empty; a header and rows are needed", name)
    line_number, line = header_line
    if isinstance(line, InputError):
        raise line
    delimiter = delimiter or _DELIMITERS.get(_files.suffix(file)) or ("\t" if "\t" in line else ",")
    rows = _Rows(lines, delimiter, name)
    header, line_number = rows.header(line_number, line)
    sources = _sources(columns, header, optional, name, line_number)
    for field, names in [*sources.items()]:
        for column in names:
            if header.count(column) == 1:
                continue
            if field not in optional:
                raise InputError(f"the header names the column {column!r} twice", name, line_number)
            sources.pop(field, None)
    header = _told_apart(header)
    any_row = False
    for number, row in rows.rows(len(header)):
        any_row = True
        if isinstance(row, InputError):
            if on_error == "raise":
                raise row
            yield row
            continue
        values = dict(zip(header, row, strict=True))
        fields = {field: " ".join(values[n] for n in names) for field, names in sources.items()}
        yield Record(fields, name, number, values)
    if not any_row:
        raise InputError("has a header but no rows", name, line_number)


def _told_apart(header: list[str]) -> list[str]:
    """Columns that nobody reads may share a name: numbered, from the second on, none of them is lost.

    >>> _told_apart(["note", "text", "note", "note", "note 2"])
    ['note', 'text', 'note 3', 'note 4', 'note 2']
    """
    taken, names = set(header), []
    for name in header:
        own = name
        if name in names:
            numbers = (f"{name} {number}" for number in itertools.count(2))
            own = next(new for new in numbers if new not in taken)
            taken.add(own)
        names.append(own)
    return names


class _Rows:
    """Splits numbered lines into rows of fields, quoted line ends included."""

    def __init__(self, lines: Iterator[tuple[int, str | InputError]], delimiter: str, name: str):
        self.lines = lines
        self.waiting: collections.deque[tuple[int, str | InputError]] = collections.deque()
        self.delimiter = delimiter
        self.name = name
        # In TSV files quotes are natural text, so a quote counts only round a whole field.
        self.natural = delimiter == "\t"

    def header(self, number: int, line: str) -> tuple[list[str], int]:
        fields, held = self._split(line, may_open=not self.natural)
        while held is not None:
            following = next(self.lines, None)
            if following is None or isinstance(following[1], InputError):
                raise InputError("a quote in the header is never closed", self.name, number)
            more, held = self._split(following[1], held)
            fields += more
        return [field.strip() for field in fields], number

    def rows(self, width: int) -> Iterator[tuple[int, list[str] | InputError]]:
        while (following := self._next()) is not None:
            number, line = following
            if isinstance(line, InputError):
                yield number, line
            elif line.strip() or self.delimiter in line:
                yield number, self._row(number, line, width)

    def _next(self) -> tuple[int, str | InputError] | None:
        return self.waiting.popleft() if self.waiting else next(self.lines, None)

    def _row(self, number: int, line: str, width: int) -> list[str] | InputError:
        plain = line.split(self.delimiter)
        if '"' not in line:
            return plain if len(plain) == width else self._ragged(number, plain, width)
        fields, held = self._split(line, may_open=not self.natural)
        if held is None and len(fields) == width:
            if not self._opens_a_field_of_lines(fields, width):
                return fields
            return self._joined(line, width) or fields
        if self.natural and len(plain) == width:
            return plain
        if held is None and not self.natural:
            return self._ragged(number, fields, width)
        joined = self._joined(line, width)
        if joined is not None:
            return joined
        if self.natural:
            return self._ragged(number, fields, width)
        return InputError(
            f"the quote that opens a field here is never closed, or not in a row of {width} fields, "
            "as the header has",
            self.name,
            number,
        )

    def _opens_a_field_of_lines(self, fields: list[str], width: int) -> bool:
        """Whether a row that is whole as it stands goes on: TSV, last field, and no row after."""
        if not self.natural or not fields[-1].startswith('"'):
            return False
        following = self._next()
        if following is None:
            return False
        self.waiting.appendleft(following)
        line = following[1]
        return isinstance(line, str) and len(line.split(self.delimiter)) != width

    def _joined(self, line: str, width: int) -> list[str] | None:
        """Takes following lines into a quoted field; gives them back if that makes no row."""
        taken: list[tuple[int, str | InputError]] = []
        fields, held = self._split(line)
        size, limit = len(line), _LONGEST_QUOTED_IN_TSV if self.natural else _files.LONGEST_LINE
        while held is not None and size <= limit:
            following = self._next()
            if following is None:
                break
            taken.append(following)
            line = following[1]
            if isinstance(line, InputError):
                break
            size += len(line) + 1
            more, still = self._split(line, held, may_open=not self.natural)
            if self.natural and more and len(fields) + len(more) != width:
                more, still = self._split(line, held)
            fields, held = fields + more, still
            if more and held is None and len(fields) == width:
                return fields
        self.waiting.extendleft(reversed(taken))
        return None

    def _ragged(self, number: int, fields: list[str], width: int) -> InputError:
        count = len(fields)
        return InputError(
            f"the row has {count} field{'s' if count != 1 else ''}, the header has {width}",
            self.name,
            number,
        )

    def _split(
        self, line: str, held: list[str] | None = None, may_open: bool = True
    ) -> tuple[list[str], list[str] | None]:
        """The fields that end in a line, and the lines of the one that goes on in the next; neither where what began
        with a quote turns out to be no quoted field.

        Arguments:
            line: without its end.
            held: the lines so far of the quoted field that this one goes on with.
            may_open: whether a quote that is not closed here opens a field that goes on; otherwise it is text.
        """
        fields, place = [], 0
        while True:
            text = ""
            if held is not None or line.startswith('"', place):
                start = place if held is not None else place + 1
                # A doubled quote is never taken apart to close a field.
                end = _QUOTED.match(line, start).end()
                if end == len(line) and (held is not None or may_open):
                    held = [] if held is None else held
                    held.append(line[start:end])
                    return fields, held
                closed = end < len(line)
                if self.natural:
                    closed = closed and line[end + 1 : end + 2] in ("", self.delimiter)
                if held is not None and not closed:
                    return [], None
                if closed:
                    inside = "\n".join([*(held or ()), line[start:end]])
                    text, place = inside.replace('""', '"'), end + 1
                held = None
            end = line.find(self.delimiter, place)
            fields.append(text + (line[place:] if end < 0 else line[place:end]))
            if end < 0:
                return fields, None
            place = end + 1


# JSON lines


def _json_records(
    file: str, columns: Mapping[str, str], optional: Collection[str], on_error: str
) -> Iterator[Record | InputError]:
    name = _files.shown(file)
    any_row = False
    for number, line in _files.numbered_lines(file, on_error):
        if isinstance(line, str) and not line.strip():
            continue
        any_row = True
        try:
            if isinstance(line, InputError):
                raise line
            yield _json_record(line, columns, optional, name, number)
        except InputError as error:
            if on_error == "raise":
                raise
            yield error
    if not any_row:
        raise InputError("is empty", name)


def _refuse_constant(name: str):
    raise json.JSONDecodeError(f"{name} is no JSON", name, 0)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise json.JSONDecodeError(f"{digits} is no number of 64 bits", digits, 0)
    return number


# Python would read NaN and Infinity, which other readers of our answers could not.
_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def json_object(line: str, name: str, number: int) -> dict[str, object]:
    """The JSON object of a line.

    Raises:
        InputError: for anything else, also for an object that could not be written again as UTF-8 and as JSON.
    """
    try:
        row = _STRICT.decode(line)
        if "\\u" in line:
            json.dumps(row, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        hint = "; write one object a line (jq -c '.[]')" if line.lstrip().startswith("[") else ""
        place = f"{error.msg} at character {error.colno}"
        raise InputError(f"not a JSON object: {place}{hint}", name, number) from None
    except RecursionError:
        raise InputError("not a JSON object: nested too deep", name, number) from None
    except UnicodeEncodeError:
        raise InputError("holds half a surrogate pair, no text", name, number) from None
    except ValueError:
        raise InputError("holds a number of too many digits", name, number) from None
    if not isinstance(row, dict):
        kind = "a list" if isinstance(row, list) else type(row).__name__
        raise InputError(
            f"not a JSON object but {kind}; write one object a line, for example "
            '{"text": "...", "label": "..."}',
            name,
            number,
        )
    return row


def _json_record(
    line: str, columns: Mapping[str, str], optional: Collection[str], name: str, number: int
) -> Record:
    row = json_object(line, name, number)
    fields: dict[str, str | list[str]] = {}
    for field, names in _sources(columns, row, optional, name, number).items():
        if field in optional and None in (row[column] for column in names):
            continue
        values = [_json_value(row[column], column, name, number) for column in names]
        if len(values) == 1:
            fields[field] = values[0]
        else:
            parts = itertools.chain.from_iterable([v] if isinstance(v, str) else v for v in values)
            fields[field] = " ".join(parts)
    return Record(fields, name, number, row)


def _json_value(value: object, column: str, name: str, number: int) -> str | list[str]:
    if isinstance(value, list):
        items = [_json_value(item, column, name, number) for item in value]
        if not all(isinstance(item, str) for item in items):
            raise InputError(f"{column!r} holds lists in a list; strings are needed", name, number)
        return items
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        kind = "null" if value is None else "an object"
        raise InputError(f"{column!r} is {kind}; a string is needed", name, number)
    if "\x00" in value:
        raise InputError(f"{column!r} holds a NUL character", name, number)
    return value


# tensorflow-datasets


def _dataset_records(
    source: str, columns: Mapping[str, str], optional: Collection[str]
) -> Iterator[Record]:
    try:
        import tensorflow_datasets
    except ImportError:
        raise InputError(
            "needs tensorflow-datasets; install it with: pip install 'keras-rnn[tfds]'", source
        ) from None
    name, _, split = source.removeprefix(_files.DATASET_PREFIX).partition(":")
    try:
        data, info = tensorflow_datasets.load(name, split=split or "train", with_info=True)
    except Exception as error:  # its errors are many; each is the user's name, split or network
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"cannot be loaded: {reason[0]}", source) from error
    features = info.features
    sources = _sources(columns, list(features), optional, source, None)
    number = 0
    for number, example in enumerate(tensorflow_datasets.as_numpy(data), start=1):
        row = {c: _dataset_value(example[c], features[c], c, source, number) for c in example}
        fields = {
            field: row[names[0]] if len(names) == 1 else " ".join(str(row[n]) for n in names)
            for field, names in sources.items()
        }
        for field, value in fields.items():
            if value is None:
                raise InputError(f"{columns[field]!r} is neither text nor label", source, number)
        yield Record(fields, source, number, row)
    if not number:
        raise InputError("has no examples", source)


def _dataset_value(value: object, feature: object, column: str, source: str, number: int):
    if hasattr(feature, "int2str"):
        # Examples without a label carry -1, as in the test splits of GLUE.
        return feature.int2str(int(value)) if int(value) >= 0 else ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{column!r} is not UTF-8", source, number) from None
    if getattr(value, "shape", None) == () and value.dtype.kind in "iufb":
        return str(value.item()).lower() if value.dtype.kind == "b" else str(value.item())
    return None
