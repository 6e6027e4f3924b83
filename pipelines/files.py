"""Files as bytes and lines: which ones are meant, reading them strictly, writing them whole."""

from __future__ import annotations

import contextlib
import errno
import glob
import gzip
import io
import os
import re
import secrets
import shutil
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from pipelines.errors import InputError

STANDARD_INPUT = "-"
DATASET_PREFIX = "tfds:"

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# A physical line above this is no line of text; reading on would only fill the memory.
LONGEST_LINE = 64 * 2**20

# As much of a file as tells its format.
_AT_HAND = 2**16

# What `_new_name` makes.
_PART = re.compile(r"\..+\.(\d+)-[0-9a-f]{8}\.part")

_UNREADABLE = (EOFError, zlib.error, gzip.BadGzipFile)
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def expand(patterns: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str]:
    """Names the files that a comma-separated list of names and globs stands for.

    The matches of a glob are sorted; the order of the patterns is kept. `-` (standard input) and
    `tfds:NAME` pass through. A name that exists as it stands is taken as it stands, whatever
    commas or brackets it holds.

    Raises:
        InputError: a name without a file, a glob without a match, a folder, or nothing at all.
    """
    if isinstance(patterns, (str, os.PathLike)):
        whole = os.fspath(patterns)
        patterns = [whole] if os.path.exists(whole) else whole.split(",")
    files: list[str] = []
    for pattern in (os.fspath(pattern).strip() for pattern in patterns):
        if not pattern:
            continue
        if pattern == STANDARD_INPUT or pattern.startswith(DATASET_PREFIX):
            files.append(pattern)
            continue
        name = os.path.expanduser(pattern)
        if os.path.isdir(name):
            raise InputError(f"is a folder; name its files, for example {name.rstrip('/')}/*", name)
        if os.path.exists(name):
            _refuse_pipe(name)
            files.append(name)
            continue
        if not glob.has_magic(name):
            raise InputError("no such file", name)
        matches = sorted(m for m in glob.glob(name, recursive=True) if not os.path.isdir(m))
        if not matches:
            raise InputError("no file matches this pattern", name)
        files.extend(matches)
    if not files:
        raise InputError("no file is named")
    return files


def _refuse_pipe(name: str) -> None:
    if stat.S_ISFIFO(os.stat(name).st_mode):
        raise InputError(
            "is a pipe, and a file is read more than once; write it to one, or give it to predict's standard input",
            name,
        )


def without_gz(file: str) -> str:
    """The name without a closing `.gz`, so that its own suffix shows."""
    return file[:-3] if file.lower().endswith(".gz") else file


def suffix(file: str) -> str:
    """The lower-case suffix that tells the format, `.gz` aside."""
    return os.path.splitext(without_gz(file))[1].lower()


@contextlib.contextmanager
def open_bytes(file: str) -> Iterator[IO[bytes]]:
    """Opens a file, a `.gz` file or standard input (`-`) for reading bytes.

    Raises:
        InputError: the file cannot be opened, or it is compressed and damaged.
    """
    if file == STANDARD_INPUT:
        yield _standard_input()
        return
    try:
        stream = gzip.open(file, "rb") if without_gz(file) != file else open(file, "rb")
    except FileNotFoundError:
        raise InputError("no such file", file) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file) from error
    with stream:
        try:
            yield stream
        except _UNREADABLE as error:
            raise InputError(f"is not a whole gzip file: {error}", file) from error
        except OSError as error:
            # Only what reading this stream raised; a writer inside the block speaks for itself.
            if error.errno in (errno.EISDIR, errno.EIO, errno.EINVAL) and error.filename is None:
                raise InputError(f"cannot be read: {error.strerror}", file) from error
            raise


def _standard_input() -> IO[bytes]:
    if sys.stdin is None:
        raise InputError("is closed; name a file", shown(STANDARD_INPUT))
    return sys.stdin.buffer


def beginning(file: str) -> bytes:
    """The first line of a file, whole, and what else is at hand of its first 64 KiB.

    Standard input keeps it for whoever reads next.

    Raises:
        InputError: as for `open_bytes`.
    """
    if file != STANDARD_INPUT and os.path.exists(file):
        _refuse_pipe(file)
    with open_bytes(file) as stream:
        looked_at = getattr(stream, "raw", None)
        if isinstance(looked_at, _Rejoined) and looked_at.head:  # and nothing was read since
            return looked_at.head
        head = stream.readline(LONGEST_LINE)
        if head.endswith(b"\n") and len(head) < _AT_HAND:
            more = stream.read1 if file == STANDARD_INPUT else stream.read
            head += more(_AT_HAND - len(head))
    if file == STANDARD_INPUT:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_Rejoined(head, sys.stdin)))
    return head


class _Rejoined(io.RawIOBase):
    """What was read of standard input to look at it, and then the rest."""

    def __init__(self, head: bytes, stream: IO[str]):
        self.head = head
        self.stream = stream  # kept whole: without it, its buffer would be closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self.head:
            return self.stream.buffer.readinto1(buffer)
        size = min(len(buffer), len(self.head))
        buffer[:size], self.head = self.head[:size], self.head[size:]
        return size


def shown(file: str) -> str:
    """The name of a file as messages show it."""
    return "standard input" if file == STANDARD_INPUT else file


def numbered_lines(file: str, on_error: str = "raise") -> Iterator[tuple[int, str | InputError]]:
    """Yields (line number from 1, line without its end) of strictly decoded UTF-8.

    A byte-order mark is dropped; LF and CRLF both end a line.

    Arguments:
        file: a name, with `.gz` for compressed files, or `-`.
        on_error: "raise", or "yield" to put an `InputError` in place of a bad line and go on.

    Raises:
        InputError: invalid UTF-8, a NUL byte, a line above `LONGEST_LINE`, another encoding.
    """
    for number, line, _ in numbered_raw_lines(file, on_error):
        yield number, line


def numbered_raw_lines(
    file: str, on_error: str = "raise"
) -> Iterator[tuple[int, str | InputError, bytes]]:
    """As `numbered_lines`, with the bytes of the line, byte-order mark and line end included.

    Of a line above `LONGEST_LINE` only the beginning is kept.
    """
    name = shown(file)
    with open_bytes(file) as stream:
        number = 0
        while True:
            raw = stream.readline(LONGEST_LINE + 1)
            if not raw:
                return
            number += 1
            line: str | InputError
            if number == 1:
                _refuse_other_encodings(raw, name)
            if len(raw) > LONGEST_LINE:
                rest = raw
                while rest and not rest.endswith(b"\n"):
                    rest = stream.readline(LONGEST_LINE)
                limit = LONGEST_LINE // 2**20
                line = InputError(f"the line is longer than {limit} MiB", name, number)
            else:
                text = raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw
                line = _decoded(text, name, number)
            if isinstance(line, InputError) and on_error == "raise":
                raise line
            yield number, line, raw


def _refuse_other_encodings(head: bytes, name: str) -> None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("is UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)", name, 1)
    if head.startswith(b"\x1f\x8b"):
        raise InputError("is compressed by gzip; its name must end in .gz", name, 1)


def _decoded(raw: bytes, name: str, number: int) -> str | InputError:
    if b"\x00" in raw:
        place = raw.index(b"\x00") + 1
        return InputError(f"a NUL byte (byte {place} of the line); not a text file?", name, number)
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        value = raw[error.start]
        return InputError(
            f"invalid UTF-8 (byte {error.start + 1} of the line is 0x{value:02x}); "
            "convert the file to UTF-8",
            name,
            number,
        )


def _new_name(path: str) -> str:
    folder, base = os.path.split(path)
    return os.path.join(folder, f".{base}.{os.getpid()}-{secrets.token_hex(4)}.part")


def remove_parts(folder: str | os.PathLike) -> None:
    """Removes what killed processes left half-written in a folder and below it."""
    for parent, folders, names in os.walk(folder):
        for name in filter(_is_left, names):
            os.remove(os.path.join(parent, name))
        for name in filter(_is_left, list(folders)):
            folders.remove(name)
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)


def _is_left(name: str) -> bool:
    """Whether a file or folder of this name is half-written, by a process that is no more."""
    part = _PART.fullmatch(name)
    if part is None:
        return False
    try:
        os.kill(int(part[1]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # another user's
        pass
    return False


def _cannot_write(path: str, error: OSError) -> InputError:
    kept = "; what stood there is unchanged" if os.path.lexists(path) else ""
    return InputError(f"cannot be written: {error.strerror or error}{kept}", path)


def _flush_folder(folder: str) -> None:
    # A rename is on the disk only once its folder is; some file systems cannot do this.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, binary: bool = False) -> Iterator[IO]:
    """Opens a new file that takes the place of `path` only when it is written whole.

    Text is UTF-8 with LF. On any error, a full disk included, the new file is removed and what
    stood at `path` stays as it was. A device or a pipe (`/dev/null`, `/dev/stdout`) is written into.

    Raises:
        InputError: the file cannot be written.
    """
    if _is_stream(path):
        with _written_into(path, binary) as stream:
            yield stream
        return
    path = os.path.realpath(path)
    part = _new_name(path)
    try:
        stream = _opened(part, "x", binary)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with stream:
            yield stream
            try:
                stream.flush()
                os.fsync(stream.fileno())
            except OSError as error:
                raise _cannot_write(path, error) from error
        os.replace(part, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(part)
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise _cannot_write(path, error) from error
        raise
    _flush_folder(os.path.dirname(path))


def _opened(path: str | os.PathLike, mode: str, binary: bool) -> IO:
    if binary:
        return open(path, mode + "b")
    return open(path, mode, encoding="utf-8", newline="\n")


def _is_stream(path: str | os.PathLike) -> bool:
    """Whether something stands at `path` that no file may take the place of."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


@contextlib.contextmanager
def _written_into(path: str | os.PathLike, binary: bool) -> Iterator[IO]:
    try:
        with _opened(path, "w", binary) as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno not in (*_DISK_ERRORS, errno.ENXIO, errno.EACCES, errno.EPERM):
            raise
        raise InputError(f"cannot be written: {error.strerror}", path) from error


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike) -> Iterator[str]:
    """Gives a new, empty folder that takes the place of `path` only when the block ends well.

    On any error the new folder is removed and what stood at `path` stays as it was.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    path = os.path.realpath(path)
    part = _new_name(path)
    try:
        os.makedirs(part)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        yield part
        _flush_tree(part)
        _exchange(part, path)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise _cannot_write(path, error) from error
        raise
    _flush_folder(os.path.dirname(path))


def _flush_tree(folder: str) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _flush_folder(parent)


def _exchange(part: str, path: str) -> None:
    # No portable call exchanges two folders, so the old one steps aside and comes back on error.
    if not os.path.lexists(path):
        os.rename(part, path)
        return
    aside = _new_name(path)
    os.rename(path, aside)
    try:
        os.rename(part, path)
    except BaseException:
        os.rename(aside, path)
        raise
    if os.path.isdir(aside):
        shutil.rmtree(aside, ignore_errors=True)
    else:
        os.remove(aside)
