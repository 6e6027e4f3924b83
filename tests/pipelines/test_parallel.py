"""Parallel text: files of lines, tables, and what is said of sides that do not go together."""

import collections
import gzip
import io
import sys
import types

import pytest

from pipelines import InputError, Record, read_parallel

PAIRS = [("ein Haus", "a house"), ("zwei", "two")]


def written(folder, name, text):
    path = folder / name
    raw = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return str(path)


def pairs(files, **options):
    return [tuple(record.values()) for record in read_parallel(files, **options)]


def test_two_files_of_lines(tmp_path):
    source = written(tmp_path, "a.de", "ein Haus\r\n\nzwei\n\t\ndrei")
    target = written(tmp_path, "a.en.gz", "\ufeffa house\nx\ntwo\n\n \n")
    counts = collections.Counter()
    records = list(read_parallel(f"{source}, {target}", counts=counts))
    assert [dict(record) for record in records] == [
        {"source": "ein Haus", "target": "a house"},
        {"source": "zwei", "target": "two"},
    ]
    assert [(record.file, record.line) for record in records] == [(source, 1), (source, 3)]
    assert counts == {"pairs with an empty side, left out": 3}
    assert len(pairs(f"{source},{target}", targets=False)) == 5


def test_globs_are_paired_in_sorted_order(tmp_path):
    for number in (2, 1):
        written(tmp_path, f"train.{number}.de", f"d{number}\n")
        written(tmp_path, f"train.{number}.en", f"e{number}\n")
    both = f"{tmp_path}/train.*.de,{tmp_path}/train.*.en"
    assert pairs(both) == [("d1", "e1"), ("d2", "e2")]
    written(tmp_path, "train.3.de", "d3\n")
    with pytest.raises(InputError, match="^3 files of sources .* and 2 files of targets .*needs"):
        pairs(both)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "ein Haus\ta house\nzwei\ttwo\n"),
        ("a.tsv", "\n\nein Haus\ta house\n\nzwei\ttwo"),
        ("a.tsv", "source\ttarget\nein Haus\ta house\nzwei\ttwo\n"),
        ("a.tsv", "target\tsource\na house\tein Haus\ntwo\tzwei\n"),
        ("a.tsv", "id\tsource\ttarget\n1\tein Haus\ta house\n2\tzwei\ttwo\n"),
        ("a.csv", 'target,source\n"a house",ein Haus\ntwo,zwei\n'),
        (
            "a.jsonl",
            '{"source": "ein Haus", "target": "a house"}\n{"target": "two", "source": "zwei"}\n',
        ),
    ],
)
def test_tables(tmp_path, packed, name, text):
    file = written(tmp_path, name + packed, text)
    assert pairs(file) == PAIRS
    # Two tables are one after the other, no pair of files.
    assert pairs(f"{file},{file}") == PAIRS * 2


def test_quotes_without_a_header_are_text(tmp_path):
    file = written(tmp_path, "a.tsv", '"Ja"\t"Yes"\n"\tx\n')
    assert pairs(file) == [('"Ja"', '"Yes"'), ('"', "x")]


def test_a_header_with_one_wrong_name_is_no_pair(tmp_path):
    file = written(tmp_path, "a.tsv", "source\tfoo\na\tb\n")
    with pytest.raises(InputError, match="no column 'target'"):
        pairs(file)


@pytest.mark.parametrize("longer", ["source", "target"])
def test_files_of_different_length(tmp_path, longer):
    # Bad lines after the end of the other file are lines nevertheless.
    long, short = (
        written(tmp_path, "long", b"a\nb\nc\n\xff\ne\n"),
        written(tmp_path, "short", "a\nb"),
    )
    files, lengths = ((long, short), (5, 2)) if longer == "source" else ((short, long), (2, 5))
    read = read_parallel(",".join(files))
    assert [dict(next(read)), dict(next(read))] == [{"source": s, "target": s} for s in "ab"]
    with pytest.raises(InputError) as caught:
        next(read)
    assert str(caught.value) == (
        f"{long}:3: {files[0]} has {lengths[0]} lines, {files[1]} has {lengths[1]}; line n of one "
        "must be the translation of line n of the other, and here one has ended"
    )


@pytest.mark.parametrize(
    ("names", "texts", "said"),
    [
        (["a.de"], ["a\n"], "a.de: parallel text is two files of lines, SOURCE,TARGET, or tables"),
        (["a.de", "b.tsv"], ["a\n", "a\tb\n"], "a.de: parallel text is two files of lines"),
        (["a.de", "a.en"], ["", "a\n"], "a.de: is empty"),
        (["a.de", "a.en"], ["a\n", ""], "a.en: is empty"),
        (["a.de", "a.en"], ["a\nb\n", b"a\n\xff\n"], "a.en:2: invalid UTF-8"),
        (["a.tsv"], [""], "a.tsv: is empty"),
        (["a.tsv"], ["source\ttarget\n"], "a.tsv:1: has a header but no rows"),
        (["a.tsv"], ["a\tb\nc\n"], "a.tsv:2: the row has 1 field; a source and its target are 2"),
        (["a.tsv"], ["a\tb\nc\td\te\n"], "a.tsv:2: the row has 3 fields; a source and"),
        (["a.tsv"], [b"a\tb\n\xe9\td\n"], "a.tsv:2: invalid UTF-8"),
        (["a.tsv"], ["a\tb\tc\n"], "a.tsv:1: no column 'source' for 'source'; the columns are"),
        (["a.csv"], ["a,b\n"], "a.csv:1: no column 'source' for 'source'; the columns are"),
        (["a.jsonl"], ['{"source": "a"}\n'], "a.jsonl:1: no column 'target'"),
        (["a.jsonl"], ['{"source": ["a"], "target": "b"}\n'], "a.jsonl:1: 'source' is a list; one"),
    ],
)
def test_bad_input_names_file_and_line(tmp_path, names, texts, said):
    files = [written(tmp_path, name, text) for name, text in zip(names, texts)]
    with pytest.raises(InputError) as caught:
        pairs(",".join(files))
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(said)


def test_bad_pairs_can_be_passed_over(tmp_path):
    written(tmp_path, "a.de", b"a\n\xff\nc\nd\n")
    written(tmp_path, "a.en", b"a\nb\n\xff\nd\n")
    written(tmp_path, "a.tsv", b"a\tb\n\xff\tb\nalone\nc\td\n")
    for files, lines in [("{0}/a.de,{0}/a.en", [2, 3]), ("{0}/a.tsv", [2, 3])]:
        read = list(read_parallel(files.format(tmp_path), on_error="yield"))
        assert [type(item) for item in read] == [Record, InputError, InputError, Record]
        assert [item.line for item in read[1:3]] == lines


def test_long_texts_are_cut_and_counted(tmp_path):
    long = "é" * 600
    written(tmp_path, "a.de", f"{long}\nb\n")
    written(tmp_path, "a.en", f"a\n{long}\n")
    written(tmp_path, "a.tsv", f"{long}\ta\nb\t{long}\n")
    for files in ("{0}/a.de,{0}/a.en", "{0}/a.tsv"):
        counts = collections.Counter()
        read = pairs(files.format(tmp_path), max_bytes=101, counts=counts)
        assert read == [("é" * 50, "a"), ("b", "é" * 50)]
        assert counts == {"cut to 101 bytes": 2}


def test_sources_alone(tmp_path, monkeypatch):
    """For predictions: as many records as lines, empty ones too."""
    plain = written(tmp_path, "a.txt", "one\n\nthree, 3\n")
    counts = collections.Counter()
    read = list(read_parallel(plain, counts=counts, targets=False))
    assert [dict(record) for record in read] == [
        {"source": "one"},
        {"source": ""},
        {"source": "three, 3"},
    ]
    assert [record.line for record in read] == [1, 2, 3] and not counts
    table = written(tmp_path, "a.csv", "id,source\n1,one\n2,\n")
    assert pairs(table, targets=False) == [("one",), ("",)]
    tabbed = written(tmp_path, "a.tsv", "one\t\n\ttwo\n")
    assert pairs(tabbed, targets=False) == [("one", ""), ("", "two")]
    assert pairs(written(tmp_path, "empty.txt", ""), targets=False) == []
    monkeypatch.setattr(
        sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b"typed\n\xff\n\nmore"))
    )
    read = list(read_parallel("-", targets=False, on_error="yield"))
    assert [dict(read[place]) for place in (0, 2, 3)] == [
        {"source": "typed"},
        {"source": ""},
        {"source": "more"},
    ]
    assert str(read[1]).startswith("standard input:2: invalid UTF-8")
