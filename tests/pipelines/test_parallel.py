"""Parallel text: files of lines, tables, what does not go together."""

import collections
import gzip

import pytest

import pipelines


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def pairs(files, counts=None):
    return [tuple(record.values()) for record in pipelines.read_parallel(files, counts=counts)]


def test_two_files_of_lines(tmp_path):
    source = write(tmp_path / "a.de", "ein Haus\n\nzwei\n")
    with gzip.open(tmp_path / "a.en.gz", "wt", encoding="utf-8") as stream:
        stream.write("a house\nx\ntwo\n")
    counts = collections.Counter()
    assert pairs(f"{source},{tmp_path}/a.en.gz", counts) == [
        ("ein Haus", "a house"),
        ("zwei", "two"),
    ]
    assert counts == {"pairs with an empty side, left out": 1}


def test_globs_are_paired_in_their_order(tmp_path):
    for number in (1, 2):
        write(tmp_path / f"{number}.de", f"d{number}\n")
        write(tmp_path / f"{number}.en", f"e{number}\n")
    assert pairs(f"{tmp_path}/*.de,{tmp_path}/*.en") == [("d1", "e1"), ("d2", "e2")]
    write(tmp_path / "3.de", "d3\n")
    with pytest.raises(pipelines.InputError, match="3 files of sources and 2 of targets"):
        pairs(f"{tmp_path}/*.de,{tmp_path}/*.en")


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.tsv", "ein Haus\ta house\nzwei\ttwo\n"),
        ("b.tsv", "source\ttarget\nein Haus\ta house\nzwei\ttwo\n"),
        ("c.csv", "target,source\na house,ein Haus\ntwo,zwei\n"),
        (
            "d.jsonl",
            '{"source": "ein Haus", "target": "a house"}\n{"source": "zwei", "target": "two"}\n',
        ),
    ],
)
def test_tables(tmp_path, name, text):
    assert pairs(write(tmp_path / name, text)) == [("ein Haus", "a house"), ("zwei", "two")]


def test_files_of_different_length(tmp_path):
    source, target = write(tmp_path / "a.de", "a\nb\nc\n"), write(tmp_path / "a.en", "a\nb\n")
    with pytest.raises(
        pipelines.InputError, match=r"a\.de:3: has more lines than .*a\.en, which ends after line 2"
    ):
        pairs(f"{source},{target}")


def test_what_is_no_parallel_text(tmp_path):
    alone = write(tmp_path / "a.de", "a\n")
    with pytest.raises(pipelines.InputError, match="two files, SOURCE,TARGET"):
        pairs(alone)
    with pytest.raises(pipelines.InputError, match=r"a\.tsv:2: has 1 columns"):
        pairs(write(tmp_path / "a.tsv", "a\tb\nc\n"))
