"""Tables, JSON lines, plain lines and data sets: what is read, and what is said of bad input."""

import collections
import csv
import gzip
import io
import json
import sys
import types

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines import InputError, Record, cut_text, read_lines, read_table, write_table

TEXT_AND_LABEL = {"text": "text", "label": "label"}

# Text as files can hold it: no NUL, no lone surrogates; CRLF in a field reads as LF.
texts = st.text(
    st.one_of(
        st.sampled_from('",\t\n;\\ a"'),
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"),
    ),
    max_size=20,
)


def written(folder, name, text):
    path = folder / name
    raw = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return str(path)


def rows(records):
    return [dict(record) for record in records]


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'id,text,label\n1,"good, ""very"" good",pos\n2,plain 5\'6" one,neg\n'),
        ("a.tsv", 'label\ttext\npos\tgood, "very" good\nneg\tplain 5\'6" one'),
        ("a.txt", 'label\ttext\npos\tgood, "very" good\nneg\tplain 5\'6" one\n\n'),
        (
            "a.jsonl",
            '{"text": "good, \\"very\\" good", "label": "pos"}\n\n'
            '{"label": "neg", "text": "plain 5\'6\\" one", "other": [1, {}]}\n',
        ),
    ],
)
def test_formats(tmp_path, packed, end, mark, name, text):
    file = written(tmp_path, name + packed, mark + text.replace("\n", end))
    records = list(read_table(file, TEXT_AND_LABEL))
    assert rows(records) == [
        {"text": 'good, "very" good', "label": "pos"},
        {"text": "plain 5'6\" one", "label": "neg"},
    ]
    assert all(record.file == file for record in records)
    assert records[0].line == (1 if "json" in name else 2)


def test_natural_quotes_in_a_tsv_file(tmp_path):
    lines = [
        '"Quoted whole"\ta',
        '"Great" film\tb',
        'half a "quote\tc',
        '"begins with one\td',
        'ends with one"\te',
        '"a ""doubled"" one"\tf',
        '"\tg',
        '""\th',
        '"first half\tsecond half"',
    ]
    file = written(tmp_path, "a.tsv", "\n".join(["text\tlabel", *lines]))
    assert [(record["text"], record["label"]) for record in read_table(file, TEXT_AND_LABEL)] == [
        ("Quoted whole", "a"),
        ('"Great" film', "b"),
        ('half a "quote', "c"),
        ('"begins with one', "d"),
        ('ends with one"', "e"),
        ('a "doubled" one', "f"),
        ('"', "g"),
        ("", "h"),
        ('"first half', 'second half"'),
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_quoted_line_ends_keep_the_line_numbers(tmp_path, name):
    delimiter = "," if name == "a.csv" else "\t"
    text = 'text,label\n"one\n\ntwo ""three""\r\nfour",a\nnext,b\n'.replace(",", delimiter)
    records = list(read_table(written(tmp_path, name, text), TEXT_AND_LABEL))
    assert [(record["text"], record["label"], record.line) for record in records] == [
        ('one\n\ntwo "three"\nfour', "a", 2),
        ("next", "b", 6),
    ]


def test_a_tsv_row_that_lacks_a_field_takes_none_of_the_next(tmp_path):
    lines = ["id\ttext\tlabel", '1\t"Great" fun', '2\t"Good" one\tpos', '3\t"so\nso"\tneg']
    file = written(tmp_path, "a.tsv", "\n".join(lines))
    missing, *records = read_table(file, TEXT_AND_LABEL, on_error="yield")
    assert str(missing) == f"{file}:2: the row has 2 fields, the header has 3"
    assert [(record["text"], record.line) for record in records] == [
        ('"Good" one', 3),
        ("so\nso", 4),
    ]


def test_quotes_before_a_csv_field_of_several_lines(tmp_path):
    file = written(tmp_path, "a.csv", 'size,text,label\n5" pipe,"two\nlines",pos\n6",x,neg\n')
    records = list(read_table(file, TEXT_AND_LABEL))
    assert [(record["text"], record.line) for record in records] == [("two\nlines", 2), ("x", 4)]


def test_answers_that_nobody_asked_for_may_be_null_or_stand_twice(tmp_path):
    file = written(tmp_path, "a.jsonl", '{"text": "fine", "label": null}\n')
    with pytest.raises(InputError, match="'label' is null; a string is needed"):
        list(read_table(file, TEXT_AND_LABEL))
    (record,) = read_table(file, TEXT_AND_LABEL, optional=("label",))
    assert record == {"text": "fine"} and record.row["label"] is None
    file = written(tmp_path, "a.csv", "text,label,label\nfine,a,b\n")
    (record,) = read_table(file, TEXT_AND_LABEL, optional=("label",))
    assert record == {"text": "fine"} and [*record.row.values()] == ["fine", "a", "b"]


def test_a_long_header_is_named_in_part(tmp_path):
    file = written(tmp_path, "a.csv", ",".join(f"{number:0200}" for number in range(1000)) + "\n")
    with pytest.raises(InputError, match="no column 'text'") as caught:
        list(read_table(file, TEXT_AND_LABEL))
    assert len(str(caught.value)) < 3000


def test_a_last_tsv_field_of_several_lines(tmp_path):
    """It is one only where the line after it is no row by itself."""
    text = 'label\ttext\na\t"one\ntwo"\nb\t"natural\nc\tends"\nd\t"last'
    records = list(read_table(written(tmp_path, "a.tsv", text), TEXT_AND_LABEL))
    assert [(record["label"], record["text"]) for record in records] == [
        ("a", "one\ntwo"),
        ("b", '"natural'),
        ("c", 'ends"'),
        ("d", '"last'),
    ]


@given(table=st.lists(st.tuples(texts, texts), min_size=1, max_size=8))
def test_csv_agrees_with_the_standard_library(tmp_path_factory, table):
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([("text", "label"), *table])
    file = written(tmp_path_factory.mktemp("csv"), "a.csv", stream.getvalue())
    read = [(record["text"], record["label"]) for record in read_table(file, TEXT_AND_LABEL)]
    assert read == table


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
@example(table=[("", '"\n')])
@given(table=st.lists(st.tuples(texts, texts), min_size=1, max_size=8))
def test_what_is_written_is_read(tmp_path_factory, name, table):
    file = str(tmp_path_factory.mktemp("table") / name)
    records = [{"text": text, "label": label} for text, label in table]
    if name == "a.tsv":
        records = [{k: v.replace("\n", " ") for k, v in record.items()} for record in records]
    write_table(file, records)
    assert rows(read_table(file, TEXT_AND_LABEL)) == records


def test_columns_that_nobody_reads_may_share_a_name(tmp_path):
    file = written(tmp_path, "a.csv", "note,text,label,note\none,two,a,three\n")
    (record,) = read_table(file, TEXT_AND_LABEL)
    assert dict(record.row) == {"note": "one", "text": "two", "label": "a", "note 2": "three"}


def test_columns_join_and_delimiters_are_settings(tmp_path):
    file = written(tmp_path, "a.csv", 'title;body;"a,b"\nHot;"x;y";1\n')
    columns = {"text": "title, body", "label": "a,b"}
    record = next(read_table(file, columns, delimiter=";"))
    assert record == {"text": "Hot x;y", "label": "1"}
    assert record.row == {"title": "Hot", "body": "x;y", "a,b": "1"}
    piped = written(tmp_path, "b.csv", "text|label\na,b|1\n")
    assert rows(read_table(piped, TEXT_AND_LABEL, delimiter="|")) == [{"text": "a,b", "label": "1"}]
    tabbed = written(tmp_path, "c.csv", "text\tlabel\na,b\t1\n")
    for spelled in ("\t", "\\t", "tab"):
        assert rows(read_table(tabbed, TEXT_AND_LABEL, delimiter=spelled)) == [
            {"text": "a,b", "label": "1"}
        ]
    with pytest.raises(InputError, match="data.delimiter must be one character"):
        list(read_table(tabbed, TEXT_AND_LABEL, delimiter="::"))


def test_json_values(tmp_path):
    lines = [
        {"text": "a", "label": 1},
        {"text": 2.5, "label": True},
        {"text": ["x", "y"], "label": ["red", "blue"]},
        {"text": "b", "label": []},
    ]
    file = written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines)))
    assert [record["label"] for record in read_table(file, TEXT_AND_LABEL)] == [
        "1",
        "true",
        ["red", "blue"],
        [],
    ]
    assert [record["text"] for record in read_table(file, TEXT_AND_LABEL)][1:3] == [
        "2.5",
        ["x", "y"],
    ]


def test_several_files_one_after_another(tmp_path):
    first = written(tmp_path, "1.csv", "text,label\na,x\n")
    written(tmp_path, "2.csv.gz", "label,text\ny,b\n")
    other = written(tmp_path, "3.jsonl", '{"text": "c", "label": "z"}\n')
    read = read_table(f"{tmp_path}/*.csv*,{other}", TEXT_AND_LABEL)
    assert [(r["text"], r["label"]) for r in read] == [("a", "x"), ("b", "y"), ("c", "z")]
    assert next(read_table(first, TEXT_AND_LABEL)).file == first


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        ("a.csv", "", None, "is empty"),
        ("a.csv", "\n  \n", None, "is empty"),
        ("a.jsonl", "\n\n", None, "is empty"),
        ("a.csv", "text,label\n", 1, "no rows"),
        (
            "a.csv",
            "words,label\na,b\n",
            1,
            "no column 'text' for 'text'; the columns are: 'words', 'label'",
        ),
        ("a.csv", "text;label\na;b\n", 1, "is the delimiter ';'?"),
        ("a.csv", "text\tlabel\na\tb\n", 1, "is the delimiter '\\t'?"),
        ("a.csv", "text,text,label\na,b,c\n", 1, "'text' twice"),
        ("a.csv", "text,label\na,b\nc\n", 3, "the row has 1 field, the header has 2"),
        ("a.tsv", "text\tlabel\na\tb\tc\n", 2, "the row has 3 fields, the header has 2"),
        ("a.tsv", 'text\tlabel\n"a\n', 2, "the row has 1 field"),
        ("a.csv", 'text,label\na,b\n"never closed,b\nc,d\n', 3, "never closed"),
        ("a.csv", 'text,"label\na,b\n', 1, "in the header is never closed"),
        ("a.csv", "text,label\na,b\nc\x00,d\n", 3, "NUL"),
        ("a.csv", b"text,label\nna\xefve,b\n", 2, "invalid UTF-8"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n{"text": "a"}\n', 2, "no column 'label'"),
        ("a.jsonl", '{"text": "a", \n', 1, "not a JSON object"),
        ("a.jsonl", "plain text\n", 1, "not a JSON object"),
        ("a.json", '[{"text": "a", "label": "b"}]\n', 1, "one object a line"),
        ("a.json", '[\n{"text": "a", "label": "b"}]\n', 1, "one object a line"),
        ("a.jsonl", '"a"\n', 1, "not a JSON object but str"),
        ("a.jsonl", '{"text": null, "label": "b"}\n', 1, "'text' is null"),
        ("a.jsonl", '{"text": {"a": 1}, "label": "b"}\n', 1, "'text' is an object"),
        ("a.jsonl", '{"text": "\\ud800", "label": "b"}\n', 1, "surrogate"),
        ("a.jsonl", '{"text": "a\\u0000b", "label": "b"}\n', 1, "NUL"),
        ("a.jsonl", "[" * 100_000 + "\n", 1, "nested too deep"),
    ],
)
def test_bad_input_names_file_and_line(tmp_path, name, text, line, said):
    file = written(tmp_path, name, text)
    with pytest.raises(InputError) as caught:
        list(read_table(file, TEXT_AND_LABEL))
    message = str(caught.value)
    assert message.startswith(f"{file}: " if line is None else f"{file}:{line}: ")
    assert said in message
    assert "\n" not in message


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match="^nowhere.tsv: no such file$"):
        list(read_table("nowhere.tsv", TEXT_AND_LABEL))


def test_bad_rows_can_be_passed_over(tmp_path):
    raw = b'text,label\na,1\nragged\n\xff,2\n"open,3\nb,4\n'
    read = list(read_table(written(tmp_path, "a.csv", raw), TEXT_AND_LABEL, on_error="yield"))
    assert [(type(item), item.line) for item in read] == [
        (Record, 2),
        (InputError, 3),
        (InputError, 4),
        (InputError, 5),
        (Record, 6),
    ]
    assert read[-1] == {"text": "b", "label": "4"}
    file = written(tmp_path, "a.jsonl", '{"text": "a"}\nno\n{"text": "b"}\n')
    read = list(read_table(file, {"text": "text"}, on_error="yield"))
    assert [type(item) for item in read] == [Record, InputError, Record]


def test_optional_columns_may_be_missing(tmp_path):
    for name, text in (("a.csv", "text\na\n"), ("a.jsonl", '{"text": "a"}\n')):
        file = written(tmp_path, name, text)
        assert rows(read_table(file, TEXT_AND_LABEL, optional=["label"])) == [{"text": "a"}]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt.gz"])
def test_a_megabyte_is_cut_and_counted(tmp_path, name):
    long = "é" * 600_000
    records = [{"text": long, "label": "x"}, {"text": "short", "label": "y"}]
    if name.endswith(".gz"):
        file = written(tmp_path, name, f"text,label\n{long},x\nshort,y\n")
    else:
        file = str(tmp_path / name)
        write_table(file, records)
    counts = collections.Counter()
    read = list(read_table(file, TEXT_AND_LABEL, max_bytes=1001, counts=counts))
    assert [record["text"] for record in read] == ["é" * 500, "short"]
    assert [record["label"] for record in read] == ["x", "y"]
    assert counts == {"cut to 1001 bytes": 1}


@given(text=st.text(st.characters(exclude_categories=["Cs"])), size=st.integers(0, 40))
def test_cut_text_is_the_longest_whole_beginning(text, size):
    cut = cut_text(text, size)
    assert text.startswith(cut)
    assert len(cut.encode()) <= size
    if cut != text:
        assert len(text[: len(cut) + 1].encode()) > size


def test_plain_lines(tmp_path, monkeypatch):
    file = written(tmp_path, "a.txt", 'one, two\n\n"three\t\n')
    records = list(read_lines(file))
    assert rows(records) == [{"text": "one, two"}, {"text": ""}, {"text": '"three\t'}]
    assert [record.line for record in records] == [1, 2, 3]
    empty = written(tmp_path, "empty.txt", "")
    with pytest.raises(InputError, match="empty.txt: is empty"):
        list(read_lines(empty))
    assert list(read_lines(empty, allow_empty=True)) == []
    counts = collections.Counter()
    assert next(read_lines(file, field="x", max_bytes=3, counts=counts)) == {"x": "one"}
    assert counts == {"cut to 3 bytes": 1}
    stdin = types.SimpleNamespace(buffer=io.BytesIO(b"typed\n\xff\nmore"))
    monkeypatch.setattr(sys, "stdin", stdin)
    read = list(read_lines("-", on_error="yield"))
    assert [dict(read[0]), dict(read[2])] == [{"text": "typed"}, {"text": "more"}]
    assert str(read[1]).startswith("standard input:2: invalid UTF-8")


def test_reading_is_lazy(tmp_path):
    file = written(tmp_path, "a.csv", "text,label\na,b\nragged\n")
    records = read_table(file, TEXT_AND_LABEL)
    assert next(records) == {"text": "a", "label": "b"}
    with pytest.raises(InputError):
        next(records)


def test_a_data_set_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=r"tfds:films: needs tensorflow-datasets; .*\[tfds\]"):
        list(read_table("tfds:films", TEXT_AND_LABEL))


def test_a_data_set(monkeypatch):
    """The calls that are made of tensorflow-datasets, answered here."""
    import numpy as np

    class Labels:
        def int2str(self, number):
            return ["bad", "good"][number]

    features = {"sentence": object(), "label": Labels(), "stars": object()}
    examples = [
        {"sentence": "naïve".encode(), "label": np.int64(1), "stars": np.int32(4)},
        {"sentence": b"dull", "label": np.int64(-1), "stars": np.int32(1)},
    ]
    asked = []

    def load(name, split, with_info):
        asked.append((name, split))
        if name == "missing":
            raise ValueError("Dataset missing not found.\nHere is a list")
        return examples, types.SimpleNamespace(features=features)

    package = types.SimpleNamespace(load=load, as_numpy=iter)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", package)
    columns = {"text": "sentence,stars", "label": "label"}
    records = list(read_table("tfds:glue/sst2:validation", columns))
    assert rows(records) == [{"text": "naïve 4", "label": "good"}, {"text": "dull 1", "label": ""}]
    assert [record.line for record in records] == [1, 2]
    next(read_table("tfds:films", columns))
    assert asked == [("glue/sst2", "validation"), ("films", "train")]
    with pytest.raises(InputError, match="cannot be loaded: Dataset missing not found.$"):
        list(read_table("tfds:missing", columns))
    with pytest.raises(InputError, match="no column 'text'.*'sentence', 'label', 'stars'"):
        list(read_table("tfds:films", {"text": "text"}))
