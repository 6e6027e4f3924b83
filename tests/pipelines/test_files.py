"""Which files are meant, strict lines, and files that appear only when they are whole."""

import errno
import gzip
import io
import os
import subprocess
import sys

import pytest

from pipelines import (
    InputError,
    atomic_directory,
    atomic_write,
    beginning,
    expand,
    files,
    numbered_lines,
    open_bytes,
    remove_parts,
)


def listing(folder):
    return sorted(os.listdir(folder))


def failing_with(number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


def test_expand_takes_names_globs_and_lists(tmp_path):
    for name in ("b.tsv", "a.tsv", "c.csv", "d,e.tsv", "f[1].tsv"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.tsv").mkdir()
    here = str(tmp_path)
    assert expand(f"{here}/c.csv,{here}/[ab].tsv") == [
        f"{here}/c.csv",
        f"{here}/a.tsv",
        f"{here}/b.tsv",
    ]
    assert expand([f"{here}/b.tsv", f"{here}/a.tsv"]) == [f"{here}/b.tsv", f"{here}/a.tsv"]
    assert expand(f"{here}/d,e.tsv") == [f"{here}/d,e.tsv"]
    assert expand(f"{here}/f[1].tsv") == [f"{here}/f[1].tsv"]
    assert expand(tmp_path / "a.tsv") == [f"{here}/a.tsv"]
    assert f"{here}/folder.tsv" not in expand(f"{here}/*.tsv")
    assert expand("-") == ["-"]
    assert expand("tfds:glue/sst2:validation") == ["tfds:glue/sst2:validation"]


@pytest.mark.parametrize("pattern", ["nothing.tsv", "no*.tsv", "", " , ", "{folder}"])
def test_expand_names_what_is_missing(tmp_path, pattern):
    pattern = pattern.replace("{folder}", str(tmp_path))
    with pytest.raises(InputError) as caught:
        expand(pattern)
    assert pattern.strip(" ,") in str(caught.value)


def test_lines_drop_the_mark_and_both_line_ends(tmp_path):
    raw = b"\xef\xbb\xbfone\r\n\xef\xbb\xbftwo\n\nthr\xc3\xa9e\xe2\x80\xa8still three"
    wanted = [(1, "one"), (2, "\ufefftwo"), (3, ""), (4, "thrée\u2028still three")]
    (tmp_path / "plain.txt").write_bytes(raw)
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(raw))
    assert list(numbered_lines(str(tmp_path / "plain.txt"))) == wanted
    assert list(numbered_lines(str(tmp_path / "packed.txt.gz"))) == wanted


@pytest.mark.parametrize(
    ("raw", "line", "word"),
    [
        (b"good\nb\xffad\n", 2, "byte 2 of the line is 0xff"),
        (b"good\n\nha\x00lf\n", 3, "NUL"),
        (b"cut off \xe2\x82", 1, "invalid UTF-8"),
        ("text".encode("utf-16"), 1, "UTF-16"),
        (gzip.compress(b"text", mtime=0), 1, ".gz"),
    ],
)
def test_bad_bytes_name_file_and_line(tmp_path, raw, line, word):
    file = str(tmp_path / "bad.txt")
    with open(file, "wb") as stream:
        stream.write(raw)
    with pytest.raises(InputError, match="^" + file.replace(".", r"\.") + f":{line}: ") as caught:
        list(numbered_lines(file))
    assert word in str(caught.value)


def test_a_bad_line_can_be_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LONGEST_LINE", 10)
    (tmp_path / "a.txt").write_bytes(b"one\n\xff\ntwo\n" + b"x" * 35 + b"\nlast")
    lines = list(numbered_lines(str(tmp_path / "a.txt"), on_error="yield"))
    assert [(n, line) for n, line in lines if isinstance(line, str)] == [
        (1, "one"),
        (3, "two"),
        (5, "last"),
    ]
    assert [n for n, line in lines if isinstance(line, InputError)] == [2, 4]


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_gzip(tmp_path, damage):
    raw = bytearray(gzip.compress(os.urandom(5000).hex().encode()))
    if damage == "cut":
        raw = raw[:-200]
    else:
        raw[len(raw) // 2] ^= 0xFF
    file = str(tmp_path / "a.txt.gz")
    with open(file, "wb") as stream:
        stream.write(raw)
    with pytest.raises(InputError, match="not a whole gzip file"):
        list(numbered_lines(file))


def test_atomic_write_replaces_only_when_whole(tmp_path):
    path = tmp_path / "file.txt"
    with atomic_write(path) as stream:
        stream.write("old")
        assert not path.exists()
    with pytest.raises(KeyError):
        with atomic_write(path) as stream:
            stream.write("half")
            stream.flush()
            raise KeyError("something else went wrong")
    assert path.read_text() == "old"
    with atomic_write(path, binary=True) as stream:
        stream.write(b"new")
    assert path.read_text() == "new"
    assert listing(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_atomic_write_on_a_full_disk(tmp_path, monkeypatch, call):
    path = tmp_path / "file.txt"
    path.write_text("old")
    monkeypatch.setattr(os, call, failing_with(errno.ENOSPC))
    with pytest.raises(InputError, match="No space left on device; what stood there is unchanged"):
        with atomic_write(path) as stream:
            stream.write("new")
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["file.txt"]


def test_atomic_write_says_where_it_cannot(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        with atomic_write(tmp_path / "missing" / "file.txt"):
            pass


def test_atomic_directory_replaces_only_when_whole(tmp_path):
    path = tmp_path / "folder"
    with atomic_directory(path) as part:
        with open(os.path.join(part, "a"), "w") as stream:
            stream.write("old")
        assert not path.exists()
    with pytest.raises(KeyError):
        with atomic_directory(path) as part:
            with open(os.path.join(part, "b"), "w") as stream:
                stream.write("half")
            raise KeyError("something else went wrong")
    assert listing(path) == ["a"]
    with atomic_directory(path) as part:
        os.makedirs(os.path.join(part, "inner"))
        with open(os.path.join(part, "inner", "c"), "w") as stream:
            stream.write("new")
    assert listing(path) == ["inner"]
    assert listing(tmp_path) == ["folder"]


def test_atomic_directory_comes_back_when_the_rename_fails(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").write_text("old")
    rename, calls = os.rename, []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(InputError, match="No space left"):
        with atomic_directory(path) as part:
            open(os.path.join(part, "new"), "w").close()
    assert listing(path) == ["old"]
    assert listing(tmp_path) == ["folder"]


def test_a_store_on_a_disk_that_fills_up(tmp_path):
    """A real limit on what may be written, in a process of its own."""
    code = """
import resource, sys
import numpy as np
from pipelines import Column, InputError, write_store
columns = {"text": Column()}
write_store(sys.argv[1], [{"text": [1, 2]}], columns)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_store(sys.argv[1], ({"text": np.arange(1000)} for _ in range(5000)), columns)
except InputError as error:
    print(error)
"""
    folder = str(tmp_path / "store")
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, cwd=os.getcwd()
    )
    assert done.stdout.strip() == (
        f"{folder}: cannot be written: File too large; what stood there is unchanged"
    ), done.stderr
    assert listing(tmp_path) == ["store"]
    assert os.path.getsize(os.path.join(folder, "text.values")) == 8


def test_a_device_or_a_pipe_is_written_into_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(pipe) as stream:
        stream.write("to whoever reads\n")
    assert os.read(reader, 100) == b"to whoever reads\n"
    os.close(reader)
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    with (
        pytest.raises(InputError, match="full: cannot be written: No space left"),
        atomic_write(link) as stream,
    ):
        stream.write("nowhere")
    assert sorted(os.listdir(tmp_path)) == ["full", "pipe"]
    assert pipe.is_fifo() and link.is_char_device()


def test_what_a_killed_process_left_is_removed(tmp_path):
    code = (
        "import os, pipelines\n"
        "with pipelines.atomic_directory('inner/store') as folder:\n"
        "    with pipelines.atomic_write('inner/list.txt') as stream:\n"
        "        os._exit(0)\n"
    )
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / ".mine.part").write_text("kept")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=with_this_path())
    assert len(os.listdir(tmp_path / "inner")) == 3
    remove_parts(tmp_path)
    assert os.listdir(tmp_path / "inner") == [".mine.part"]


def test_what_a_process_is_writing_stays(tmp_path):
    with atomic_write(tmp_path / "answers.txt") as stream:
        remove_parts(tmp_path)
        stream.write("all")
    assert (tmp_path / "answers.txt").read_text() == "all"


def with_this_path():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_what_was_looked_at_of_standard_input_is_read_again(monkeypatch):
    """Also where it comes in pieces, the first line not at once."""

    class Pieces(io.RawIOBase):
        pieces = [b"a lo", b"ng first line\nsecond\n", b"third", b""]

        def readable(self):
            return True

        def readinto(self, buffer):
            piece = self.pieces.pop(0) if self.pieces else b""
            buffer[: len(piece)] = piece
            return len(piece)

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Pieces())))
    for _ in range(2):
        assert beginning("-").startswith(b"a long first line\nsecond\n")
    with open_bytes("-") as stream:
        assert stream.read() == b"a long first line\nsecond\nthird"


def test_the_first_line_of_a_file_is_whole_however_long(tmp_path):
    path = tmp_path / "long.txt"
    path.write_bytes(b"x" * 100_000 + b"\nmore\n")
    assert beginning(str(path)) == b"x" * 100_000 + b"\n"
    path.write_bytes(b"short\n" + b"y" * 100_000)
    assert beginning(str(path)) == b"short\n" + b"y" * (2**16 - 6)
