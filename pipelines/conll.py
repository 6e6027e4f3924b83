"""Tagged sentences: CoNLL columns and CoNLL-U, read to records and written back byte for byte.

CoNLL columns: one token a line, its columns separated by a tab, or by blanks where the first token
of the file has no tab; blank lines between sentences. A no-break space is part of a token.

- A line whose token is `-DOCSTART-` ends a sentence and is no token.
- A line that begins with `#` before the first token of a sentence is a comment, unless it looks
  like a token: it has as many columns as the file's tokens, and neither begins like `# key =` nor
  (columns separated by blanks) has `=` in its last column.
- Every token has as many columns as the first one of its file.

CoNLL-U: ten columns separated by tabs, `#` lines are comments; multiword ranges (`1-2`) and empty
nodes (`1.1`) are no tokens.

Reading and rewriting go through the same blocks of lines, so they agree on what a sentence is.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import difflib
import gzip
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from pipelines import files as _files
from pipelines.errors import InputError
from pipelines.readers import Record

_DOCUMENT = "-DOCSTART-"
_COMMENT = re.compile(r"# +[^ \t=]+ *=")
_BLANKS = re.compile(r"[^ \t]+")
_CONLLU = (".conllu", ".conll-u")
_NOT_COLUMNS = (".csv", ".jsonl", ".json", ".ndjson")

_FORM, _FEATURES = 1, 5
_CONLLU_COLUMNS = {"upos": 3, "xpos": 4}
_SHOWN_FEATURES = 8
_CONLLU_ID = re.compile(r"([1-9][0-9]*)(-[0-9]+)?(\.[0-9]+)?|0\.[0-9]+")

# A longer sentence is none: the blank lines are missing, and all of the file would be read for one.
_MOST_TOKENS = 100_000

Files = str | os.PathLike | Sequence[str]


def read_tagged(
    files: Files,
    token_column: int | str = 0,
    tag_column: int | str = -1,
    counts: collections.Counter | None = None,
    on_error: str = "raise",
    tags: bool = True,
    width: int | None = None,
) -> Iterator[Record | InputError]:
    """Reads tagged sentences; the suffix tells the format of each file.

    `.conllu` (also `.conllu.gz`) is CoNLL-U, any other name has CoNLL columns.

    Arguments:
        files: as for `expand`.
        token_column: for columns, the number of the tokens' column, from 0; negative from the end.
        tag_column: for columns, the number of the tags' column. For CoNLL-U, `upos`, `xpos` or the
            name of a feature (`Case`); -1 is `upos`.
        counts: a `collections.Counter` that takes what was passed over, by reason.
        on_error: "raise", or "yield" to put one `InputError` in place of a bad sentence and go on.
        tags: whether the tags are read; without them a column or an annotation may be missing.
        width: how many columns the training files had, so that a file with one column less is
            known to lack the tags.

    Yields:
        Records {"tokens": [...], "tags": [...]}, with the line of their first token.

    Raises:
        InputError: with file and line.

    Example:

    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "train.conll")
    >>> with open(path, "w") as stream:
    ...     _ = stream.write("-DOCSTART- O\\n\\nJohn B-PER\\nslept O\\n")
    >>> [(dict(record), record.line) for record in read_tagged(path)]
    [({'tokens': ['John', 'slept'], 'tags': ['B-PER', 'O']}, 3)]
    """
    for file in _files.expand(files):
        if is_conllu(file):
            yield from read_conllu(file, _conllu_tag(tag_column), counts, on_error, tags)
        else:
            columns = (_number("token_column", token_column), _number("tag_column", tag_column))
            yield from read_conll(file, *columns, counts, on_error, tags, width)


def read_conll(
    files: Files,
    token_column: int = 0,
    tag_column: int = -1,
    counts: collections.Counter | None = None,
    on_error: str = "raise",
    tags: bool = True,
    width: int | None = None,
) -> Iterator[Record | InputError]:
    """Reads CoNLL columns; arguments and records as those of `read_tagged`."""
    for file in _files.expand(files):
        layout = _Columns(file, token_column, tag_column, tags, width)
        yield from _records(layout, counts, on_error, tags)


def read_conllu(
    files: Files,
    tag: str = "upos",
    counts: collections.Counter | None = None,
    on_error: str = "raise",
    tags: bool = True,
) -> Iterator[Record | InputError]:
    """Reads CoNLL-U; arguments and records as those of `read_tagged`, `tag` its `tag_column`.

    A token without the feature has the tag `_`.
    """
    for file in _files.expand(files):
        yield from _records(_Conllu(file, tag, tags), counts, on_error, tags)


def rewrite(
    file: str | os.PathLike,
    tags: Iterable[Sequence[str] | None],
    output: str | os.PathLike | IO[bytes],
    token_column: int | str = 0,
    tag_column: int | str = -1,
    width: int | None = None,
) -> None:
    """Writes a file of tagged sentences again with other tags, all else untouched byte for byte.

    The tags replace those in the file, or come in as a new column where it has none. Sentences pass
    through one by one, so `tags` may be a generator that reads the same file.

    Arguments:
        file: as one of those that `read_tagged` reads.
        tags: for each sentence that `read_tagged(..., on_error="yield")` gives its tags, or None to
            leave the sentence as it is (a bad one, for example).
        output: a name (compressed if it ends in `.gz`; the file appears when it is whole) or a
            stream of bytes.
        token_column, tag_column, width: as for `read_tagged`.

    Raises:
        InputError: what `read_tagged` raises, for a sentence that is not left as it is.
        ValueError: too few or too many sentences or tags, or a tag that the file cannot hold.
    """
    file = os.fspath(file)
    layout: _Layout
    if is_conllu(file):
        layout = _Conllu(file, _conllu_tag(tag_column), tagged=False)
    else:
        columns = (_number("token_column", token_column), _number("tag_column", tag_column))
        layout = _Columns(file, *columns, tagged=False, width=width)
    name, remaining = _files.shown(file), iter(tags)
    with _output(output) as stream:
        for block in layout.blocks():
            if not block.tokens and block.error is None:
                stream.writelines(line.raw for line in block.lines)
                continue
            try:
                new = next(remaining)
            except StopIteration:
                raise ValueError(f"{name}:{block.line}: there are no tags for it") from None
            if new is None:
                if any(len(line.raw) > _files.LONGEST_LINE for line in block.lines):
                    raise block.error  # It was not kept whole.
            else:
                if block.error is not None:
                    raise block.error
                if len(new) != len(block.tokens):
                    raise ValueError(
                        f"{name}:{block.line}: {len(block.tokens)} tokens, but {len(new)} tags"
                    )
                for line, tag in zip(block.tokens, new, strict=True):
                    line.retag(layout, tag)
            stream.writelines(line.raw for line in block.lines)
        for _ in remaining:
            raise ValueError(f"{name}: there are tags for more sentences than it has")


def is_conllu(file: str | os.PathLike) -> bool:
    """Whether the name of a file says that it is CoNLL-U.

    >>> is_conllu("dev.conllu.gz"), is_conllu("dev.conll")
    (True, False)
    """
    return _files.suffix(os.fspath(file)) in _CONLLU


def column_count(file: str | os.PathLike) -> int:
    """How many columns the tokens of a file have: the `width` of `read_tagged` and `rewrite`."""
    file = os.fspath(file)
    if is_conllu(file):
        return 10
    layout = _Columns(file, 0, -1, tagged=False, width=None)
    for block in layout.blocks():
        if block.tokens:
            break
    return layout.width


# Lines and blocks


@dataclasses.dataclass(slots=True)
class _Line:
    """A line of a file: its number, its text without the end, all its bytes."""

    number: int
    text: str
    raw: bytes

    def retag(self, layout: _Layout, tag: str) -> None:
        text = layout.retagged(self.text, tag)
        old, new = self.text.encode("utf-8"), text.encode("utf-8")
        head = len(_files.BYTE_ORDER_MARK) if self.raw.startswith(_files.BYTE_ORDER_MARK) else 0
        head = head if self.number == 1 else 0
        self.raw = self.raw[:head] + new + self.raw[head + len(old) :]


@dataclasses.dataclass(slots=True)
class _Block:
    """Lines that belong together: at most one sentence, with what stands before and after it."""

    lines: list[_Line] = dataclasses.field(default_factory=list)
    tokens: list[_Line] = dataclasses.field(default_factory=list)
    fields: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    error: InputError | None = None

    @property
    def line(self) -> int:
        """The line it begins on: that of its first token, or of what is wrong with it."""
        if self.tokens or self.error is None:
            return (self.tokens or self.lines)[0].number
        return self.error.line or self.lines[0].number


class _Layout:
    """How lines make sentences. A subclass says what one line is.

    Attributes:
        name: of the file, for messages.
        passed: what was passed over, by reason.
    """

    def __init__(self, file: str):
        self.file = os.fspath(file)
        self.name = _files.shown(self.file)
        self.passed: collections.Counter = collections.Counter()

    def blocks(self) -> Iterator[_Block]:
        """Every line of the file, in order, in blocks of at most one sentence."""
        block, number = _Block(), 0
        for number, line, raw in self._lines():
            if len(block.lines) > _MOST_TOKENS:
                raise block.error or InputError(
                    f"a sentence of more than {_MOST_TOKENS:,} tokens; are the blank lines between sentences missing?",
                    self.name,
                    block.line,
                )
            if isinstance(line, InputError):
                block.lines.append(_Line(number, "", raw))
                block.error = block.error or line
                continue
            here = _Line(number, line, raw)
            block.lines.append(here)
            if not line.strip(" \t"):
                yield block
                block = _Block()
            elif self.ends_a_sentence(line):
                # It belongs to what comes next, not to the sentence before it.
                block.lines.pop()
                if block.lines:
                    yield block
                yield _Block([here])
                block = _Block()
                self.passed[f"{_DOCUMENT} lines passed over"] += 1
            elif block.error is None:
                try:
                    token = self.token(here, first=not block.tokens)
                except InputError as error:
                    block.error = error
                    continue
                if token is not None:
                    block.tokens.append(here)
                    block.fields.append(token)
        if block.lines:
            yield block
        if not number:
            raise InputError("is empty", self.name)

    def _lines(self) -> Iterator[tuple[int, str | InputError, bytes]]:
        return _files.numbered_raw_lines(self.file, on_error="yield")

    def ends_a_sentence(self, line: str) -> bool:
        """Whether a line that is no token ends the sentence before it."""
        return False

    def token(self, line: _Line, first: bool) -> tuple[str, str] | None:
        """Token and tag of a line; None for a line that is no token. `first`: none came before."""
        raise NotImplementedError

    def retagged(self, line: str, tag: str) -> str:
        """The line of a token with another tag."""
        raise NotImplementedError

    def finished(self, seen: collections.Counter) -> None:
        """Says what only the whole file can tell; `seen`: its tags."""

    def error(self, message: str, line: _Line | None = None) -> InputError:
        return InputError(message, self.name, None if line is None else line.number)


def _records(
    layout: _Layout, counts: collections.Counter | None, on_error: str, tags: bool
) -> Iterator[Record | InputError]:
    seen: collections.Counter = collections.Counter()
    any_sentence = False
    for block in layout.blocks():
        if block.error is not None:
            if on_error == "raise":
                raise block.error
            any_sentence = True
            yield block.error
        elif block.tokens:
            any_sentence = True
            fields = {"tokens": [token for token, _ in block.fields]}
            if tags:
                fields["tags"] = [tag for _, tag in block.fields]
                seen.update(fields["tags"])
            yield Record(fields, layout.name, block.line)
    if not any_sentence:
        raise layout.error("has no sentences")
    if tags and seen:
        layout.finished(seen)
    if counts is not None:
        counts.update(layout.passed)


class _Columns(_Layout):
    """CoNLL columns. The first token that is no doubtful `#` line gives separator and width."""

    def __init__(
        self, file: str, token_column: int, tag_column: int, tagged: bool, width: int | None
    ):
        super().__init__(file)
        if _files.suffix(self.file) in _NOT_COLUMNS:
            raise self.error("is no file of CoNLL columns; .conll, .txt, .tsv or .conllu are read")
        self.wanted = token_column, tag_column
        self.tagged = tagged
        self.expected = width
        self.separator: str | None = None
        self.width = 0

    def _lines(self):
        # The first token may stand after many lines that may be comments or not.
        waiting: list = []
        for item in super()._lines():
            if self.width:
                yield item
                continue
            waiting.append(item)
            line = item[1]
            if isinstance(line, InputError) or not line.strip(" \t"):
                continue
            if not line.startswith("#") and not self.ends_a_sentence(line):
                self._measure(_Line(item[0], line, item[2]))
                yield from waiting
                waiting = []
        for item in waiting:  # Nothing but comments; or every token begins with #.
            line = item[1]
            doubtful = isinstance(line, str) and line.startswith("#") and not self.width
            if doubtful and not line.startswith("# ") and "=" not in line:
                self._measure(_Line(item[0], line, item[2]))
        yield from waiting

    def _measure(self, line: _Line) -> None:
        self.separator = "\t" if "\t" in line.text.strip(" \t") else " "
        values = self._split(line.text)
        self.width = len(values)
        token_column, tag_column = self.wanted
        numbered = token_column == 0 and self.width == 10 and self.separator == "\t"
        if numbered and _CONLLU_ID.fullmatch(values[0]):
            raise self.error(
                "looks like CoNLL-U (ten columns, the first one numbers): name it .conllu, or set "
                "data.token_column=1 and data.tag_column",
                line,
            )
        # A file without tags has one column less than the one that was trained on.
        full = self.expected or self.width
        lacks_tags = not self.tagged and self.width in (1, full - 1)
        full = self.width + 1 if lacks_tags else self.width
        self.tag_place = self._place("tag", tag_column, full, line)
        token_place = self._place("token", token_column, full, line)
        self.adds = lacks_tags
        if token_place == self.tag_place:
            if self.width == 1:
                raise self.error("has one column; a column of tokens and one of tags needed", line)
            raise self.error(
                f"the tokens and the tags cannot both be column {token_place}; set "
                "data.token_column and data.tag_column",
                line,
            )
        self.token_place = token_place - (lacks_tags and self.tag_place < token_place)

    def _place(self, what: str, column: int, width: int, line: _Line) -> int:
        place = column + width if column < 0 else column
        if not 0 <= place < width:
            raise self.error(
                f"no column {column} for data.{what}_column; there are {width}, numbered from 0",
                line,
            )
        return place

    def _split(self, text: str) -> list[str]:
        return text.split("\t") if self.separator == "\t" else _BLANKS.findall(text)

    def ends_a_sentence(self, line: str) -> bool:
        return line.startswith(_DOCUMENT) and (_BLANKS.match(line) or [""])[0] == _DOCUMENT

    def token(self, line: _Line, first: bool) -> tuple[str, str] | None:
        values = self._split(line.text)
        fits = len(values) == self.width
        if line.text.startswith("#") and first:
            key = _COMMENT.match(line.text) is not None
            key = key or (self.separator == " " and len(values) > 1 and "=" in values[-1])
            if not fits or key:
                return None
        if not fits:
            by = "tabs" if self.separator == "\t" else "blanks"
            hint = ""
            if "\t" in line.text and self.separator != "\t":
                hint = ", and here is a tab"
            raise self.error(
                f"the token has {len(values)} columns (separated by {by}{hint}), the first one of "
                f"the file {self.width}",
                line,
            )
        token = values[self.token_place]
        if not token:
            raise self.error(f"the token (column {self.token_place}) is empty", line)
        tag = "" if self.adds else values[self.tag_place]
        if self.tagged and not tag:
            raise self.error(f"the tag (column {self.tag_place}) is empty", line)
        return token, tag

    def retagged(self, line: str, tag: str) -> str:
        if not tag or "\t" in tag or "\n" in tag or (self.separator == " " and " " in tag):
            raise ValueError(f"{self.name}: its columns cannot hold the tag {tag!r}")
        if self.separator == "\t":
            values = line.split("\t")
            values[self.tag_place : self.tag_place + (not self.adds)] = [tag]
            return "\t".join(values)
        places = [match.span() for match in _BLANKS.finditer(line)]
        if not self.adds:
            start, end = places[self.tag_place]
            return line[:start] + tag + line[end:]
        # One column alone shows no separator; a tab is safe with every token.
        between = "\t" if self.width == 1 else " "
        if self.tag_place < self.width:
            start = places[self.tag_place][0]
            return line[:start] + tag + between + line[start:]
        end = places[-1][1]
        return line[:end] + between + tag + line[end:]


class _Conllu(_Layout):
    """CoNLL-U, the tag from UPOS, XPOS or one feature."""

    def __init__(self, file: str, tag: str, tagged: bool):
        super().__init__(file)
        self.tag = tag
        self.tagged = tagged
        self.features: set[str] = set()

    def token(self, line: _Line, first: bool) -> tuple[str, str] | None:
        if line.text.startswith("#"):
            return None
        values = line.text.split("\t")
        if len(values) != 10:
            raise self.error(
                f"a token of CoNLL-U has 10 columns separated by tabs, this one {len(values)} "
                "(CoNLL columns are read from a file that is not called .conllu)",
                line,
            )
        number = _CONLLU_ID.fullmatch(values[0])
        if number is None:
            raise self.error(
                f"the first column is {values[0]!r}; CoNLL-U has a number, a range (1-2) or an "
                "empty node (1.1) there",
                line,
            )
        if "-" in values[0] or "." in values[0]:
            kind = "multiword ranges" if "-" in values[0] else "empty nodes"
            self.passed[f"{kind} passed over"] += 1
            return None
        if not values[_FORM]:
            raise self.error("the token (FORM) is empty", line)
        return values[_FORM], self._tag_of(values) if self.tagged else ""

    def _tag_of(self, values: list[str]) -> str:
        if self.tag in _CONLLU_COLUMNS:
            return values[_CONLLU_COLUMNS[self.tag]] or "_"
        features = dict(_features(values[_FEATURES]))
        self.features.update(features)
        return features.get(self.tag, "_")

    def retagged(self, line: str, tag: str) -> str:
        is_feature = self.tag not in _CONLLU_COLUMNS
        if not tag or any(sign in tag for sign in ("\t\n|" if is_feature else "\t\n")):
            raise ValueError(f"{self.name}: CoNLL-U cannot hold the tag {tag!r}")
        values = line.split("\t")
        if is_feature:
            values[_FEATURES] = _with_feature(values[_FEATURES], self.tag, tag)
        else:
            values[_CONLLU_COLUMNS[self.tag]] = tag
        return "\t".join(values)

    def finished(self, seen: collections.Counter) -> None:
        if set(seen) != {"_"}:
            return
        known = ", ".join(_CONLLU_COLUMNS)
        near = difflib.get_close_matches(self.tag, self.features, n=_SHOWN_FEATURES, cutoff=0.0)
        here = f", of those in this file nearest: {', '.join(near)}" if near else ""
        raise self.error(
            f"no token has a tag in {self.tag!r}; data.tag_column is {known} or a feature{here}"
        )


def _features(field: str) -> list[tuple[str, str]]:
    pairs = [] if field in ("_", "") else [pair.partition("=") for pair in field.split("|")]
    return [(name, value) for name, _, value in pairs]


def _with_feature(field: str, name: str, value: str) -> str:
    features = _features(field)
    if dict(features).get(name, "_") == value:
        return field
    names = [known for known, _ in features]
    if value == "_":
        features = [pair for pair in features if pair[0] != name]
    elif name in names:
        features[names.index(name)] = (name, value)
    else:
        # CoNLL-U sorts features by name, without regard to case.
        after = [k for k, known in enumerate(names) if known.lower() > name.lower()]
        features.insert(after[0] if after else len(features), (name, value))
    return "|".join(f"{known}={own}" for known, own in features) or "_"


def _conllu_tag(column: int | str) -> str:
    text = str(column).strip()
    if text.lower() in _CONLLU_COLUMNS:
        return text.lower()
    by_number = {"-1": "upos", **{str(place): name for name, place in _CONLLU_COLUMNS.items()}}
    if text in by_number:
        return by_number[text]
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*(\[[a-z0-9]+\])?", text):
        raise InputError(
            f"data.tag_column={column} is nothing that CoNLL-U has; upos, xpos or the name of a "
            "feature (Case) is"
        )
    return text


def _number(key: str, column: int | str) -> int:
    try:
        return int(column)
    except ValueError:
        raise InputError(
            f"data.{key}={column} must be the number of a column (0 the first, -1 the last); names "
            "go with files called .conllu"
        ) from None


@contextlib.contextmanager
def _output(output: str | os.PathLike | IO[bytes]) -> Iterator[IO[bytes]]:
    if not isinstance(output, (str, os.PathLike)):
        yield output
        return
    with _files.atomic_write(output, binary=True) as stream:
        if os.fspath(output).lower().endswith(".gz"):
            # Without name and time, so that the same tags make the same file.
            with gzip.GzipFile(fileobj=stream, mode="wb", filename="", mtime=0) as packed:
                yield packed
        else:
            yield stream
