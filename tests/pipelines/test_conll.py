"""CoNLL columns and CoNLL-U: what is read, what is said of bad files, and files written back byte for byte."""

import collections
import gzip
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import (
    InputError,
    column_count,
    is_conllu,
    read_conll,
    read_conllu,
    read_tagged,
    rewrite,
)

# A folder with real corpora, for whoever has one: KERAS_RNN_TEST_DATA=~/corpora pytest ...
DATA = os.environ.get("KERAS_RNN_TEST_DATA")
REAL_FILES = sorted(p for p in Path(DATA or ".").rglob("*.conll*") if DATA and "gz" not in p.suffix)


def written(folder, name, text):
    path = folder / name
    raw = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return str(path)


def rewritten(file, tags, **settings):
    stream = io.BytesIO()
    rewrite(file, tags, stream, **settings)
    return stream.getvalue()


def sentences(file, **settings):
    return [dict(record) for record in read_tagged(file, **settings)]


COLUMNS = """-DOCSTART- -X- -X- O

# id = 7
EU NNP I-NP I-ORG
rejects VBZ I-VP O

# O O O
3 CD I-NP O
# NN I-NP O


New\u00a0York NNP I-NP I-LOC
"""


@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("last", ["", "no end", "blank lines"])
@pytest.mark.parametrize("name", ["a.conll", "a.txt.gz"])
def test_columns(tmp_path, separator, end, mark, last, name):
    text = "\n".join(
        line if line.startswith("# id") else line.replace(" ", separator)
        for line in COLUMNS.split("\n")
    )
    text = {"": text, "no end": text[:-1], "blank lines": text + "\n \n"}[last]
    text = mark + text.replace("\n", end)
    file = written(tmp_path, name, text)
    records = list(read_conll(file))
    assert [dict(record) for record in records] == [
        {"tokens": ["EU", "rejects"], "tags": ["I-ORG", "O"]},
        {"tokens": ["#", "3", "#"], "tags": ["O", "O", "O"]},
        {"tokens": ["New\u00a0York"], "tags": ["I-LOC"]},
    ]
    assert [record.line for record in records] == [4, 7, 12]
    assert {record.file for record in records} == {file}
    assert [r["tags"] for r in read_conll(file, tag_column=1)][2] == ["NNP"]
    assert column_count(file) == 4
    # The same tags give the same bytes; others change nothing but the tags.
    assert rewritten(file, [record["tags"] for record in records]) == text.encode()
    others = [["X"] * len(record["tokens"]) for record in records]
    changed = rewritten(file, others).decode()
    assert len(changed.split("\n")) == len(text.split("\n"))
    assert f"rejects VBZ I-VP X{end}".replace(" ", separator) in changed
    assert changed.startswith(f"{mark}-DOCSTART- -X- -X- O".replace(" ", separator))


def test_comments_and_tokens_that_look_like_them(tmp_path):
    text = (
        "# a comment of six words here\n# id 3f3b domain=en\n# key = O\n"
        "# _ _ O\n#tag _ _ B-X\n\n#1 _ _ O\nhe _ _ O\n"
    )
    assert sentences(written(tmp_path, "a.conll", text)) == [
        {"tokens": ["#", "#tag"], "tags": ["O", "B-X"]},
        {"tokens": ["#1", "he"], "tags": ["O", "O"]},
    ]
    # In the middle of a sentence a short # line is a broken token, never lost.
    file = written(tmp_path, "b.conll", "a O\n# three words now\nb O\n")
    with pytest.raises(InputError, match=r"b.conll:2: the token has 4 columns .* file 2"):
        sentences(file)
    only_signs = written(tmp_path, "c.conll", "# about numbers\n#\tO\n##\tO\n")
    assert sentences(only_signs) == [{"tokens": ["#", "##"], "tags": ["O", "O"]}]
    with pytest.raises(InputError, match="d.conll: has no sentences"):
        sentences(written(tmp_path, "d.conll", "# nothing here\n\n# at all\n"))


def test_separators(tmp_path):
    aligned = "John    B-PER  \nof      O\n"
    file = written(tmp_path, "a.conll", aligned)
    assert sentences(file) == [{"tokens": ["John", "of"], "tags": ["B-PER", "O"]}]
    assert rewritten(file, [["O", "O"]]).decode() == "John    O  \nof      O\n"
    with_blanks = written(tmp_path, "b.conll", "New York\tB-LOC\n\u3000\tO\n")
    assert sentences(with_blanks) == [{"tokens": ["New York", "\u3000"], "tags": ["B-LOC", "O"]}]


def test_document_marks_end_sentences(tmp_path):
    text = "a O\n-DOCSTART- O\nb O\n\n-DOCSTART-\n-DOCSTART-ed O\n"
    file = written(tmp_path, "a.conll", text)
    counts = collections.Counter()
    assert [r["tokens"] for r in read_conll(file, counts=counts)] == [
        ["a"],
        ["b"],
        ["-DOCSTART-ed"],
    ]
    assert counts == {"-DOCSTART- lines passed over": 2}
    assert rewritten(file, [["X"], ["Y"], ["Z"]]).decode() == (
        "a X\n-DOCSTART- O\nb Y\n\n-DOCSTART-\n-DOCSTART-ed Z\n"
    )


def test_without_tags(tmp_path):
    """A column is added where there is none, and where the training files had one more."""
    one = written(tmp_path, "one.conll", "# text = A b\nA\nb\r\n\nc")
    assert sentences(one, tags=False) == [{"tokens": ["A", "b"]}, {"tokens": ["c"]}]
    added = rewritten(one, [["X", "Y"], ["Z"]])
    assert added == b"# text = A b\nA\tX\nb\tY\r\n\nc\tZ"
    three = written(tmp_path, "three.conll", "A DT 1\nb NN 2\n")
    assert rewritten(three, [["X", "Y"]], width=4) == b"A DT 1 X\nb NN 2 Y\n"
    assert rewritten(three, [["X", "Y"]], width=3) == b"A DT X\nb NN Y\n"
    # Tags first, tokens last.
    two = written(tmp_path, "two.conll", "1\tA\n2\tb\n")
    settings = {"token_column": -1, "tag_column": 0, "width": 3}
    assert sentences(two, tags=False, **settings) == [{"tokens": ["A", "b"]}]
    assert rewritten(two, [["X", "Y"]], **settings) == b"X\t1\tA\nY\t2\tb\n"
    with pytest.raises(InputError, match="one.conll:2: has one column; a column of tokens and one"):
        sentences(one)


CONLLU = """# text = Vámonos al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tV\tMood=Imp|Number=Plur\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\tCase=Acc|Number=Plur\t1\tobj\t_\t_
2.1\tempty\t_\tX\t_\t_\t_\t_\t1:dep\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\tDefinite=Def\t5\tdet\t_\t_
5\tel mar\tmar\tNOUN\tN\tabc=1|Number=Sing|PronType=Art\t1\tobl\t_\tSpaceAfter=No

"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.conllu", "a.conllu.gz"])
def test_conllu(tmp_path, end, name):
    text = CONLLU.replace("\n", end)
    file = written(tmp_path, name, text)
    counts = collections.Counter()
    (record,) = read_tagged(file, counts=counts)
    assert record == {
        "tokens": ["Vamos", "nos", "a", "el", "el mar"],
        "tags": ["VERB", "PRON", "ADP", "DET", "NOUN"],
    }
    assert record.line == 3
    assert counts == {"multiword ranges passed over": 2, "empty nodes passed over": 1}
    by_feature = {}
    for tag in ("upos", "xpos", "Number", "Case"):
        (again,) = read_tagged(file, tag_column=tag)
        by_feature[tag] = again["tags"]
        assert rewritten(file, [again["tags"]], tag_column=tag) == text.encode()
    assert by_feature["xpos"] == ["V", "_", "_", "_", "N"]
    assert by_feature["Number"] == ["Plur", "Plur", "_", "_", "Sing"]
    assert by_feature["Case"] == ["_", "Acc", "_", "_", "_"]
    assert list(read_conllu(file, "xpos"))[0]["tags"] == by_feature["xpos"]


def test_conllu_features_are_replaced_added_and_taken_away(tmp_path):
    file = written(tmp_path, "a.conllu", CONLLU)
    changed = rewritten(file, [["Sing", "_", "Plur", "Dual", "_"]], tag_column="Number").decode()
    features = [line.split("\t")[5] for line in changed.split("\n") if "\t" in line]
    assert features == [
        "_",
        "Mood=Imp|Number=Sing",
        "Case=Acc",
        "_",
        "_",
        "Number=Plur",
        "Definite=Def|Number=Dual",
        "abc=1|PronType=Art",
    ]
    other_columns = [line.split("\t")[:5] for line in changed.split("\n")]
    assert other_columns == [line.split("\t")[:5] for line in CONLLU.split("\n")]


def test_conllu_reads_as_the_conllu_library_reads(tmp_path):
    import conllu

    (theirs,) = conllu.parse(CONLLU)
    words = [token for token in theirs if isinstance(token["id"], int)]
    (ours,) = read_tagged(written(tmp_path, "a.conllu", CONLLU))
    assert ours["tokens"] == [token["form"] for token in words]
    assert ours["tags"] == [token["upos"] for token in words]


BAD = {
    "too few columns": ("a.conll", "a\tO\nb\n", "a.conll:2: the token has 1 columns"),
    "tab among blanks": ("a.conll", "a O\nb c\tO\n", "a.conll:2: .* and here is a tab"),
    "empty": ("a.conll", "", "a.conll: is empty"),
    "blank": ("a.conll", "\n\n", "a.conll: has no sentences"),
    "empty tag": ("a.conll", "a\tO\nb\t\n", r"a.conll:2: the tag \(column 1\) is empty"),
    "empty token": ("a.conll", "a\tO\n\tO\n", r"a.conll:2: the token \(column 0\) is empty"),
    "CoNLL-U by another name": ("a.conll", CONLLU, "a.conll:2: looks like CoNLL-U"),
    "columns called CoNLL-U": ("a.conllu", "a\tO\n", "a.conllu:1: .* 10 columns .* this one 2"),
    "not numbered": (
        "a.conllu",
        "\t".join("abcdefghij") + "\n",
        "a.conllu:1: the first column is 'a'",
    ),
    "invalid UTF-8": ("a.conll", b"a\tO\n\xff\tO\n", "a.conll:2: invalid UTF-8"),
    "a table": ("a.csv", "text,label\n", "a.csv: is no file of CoNLL columns"),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_files(tmp_path, case):
    name, text, message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        list(read_tagged(written(tmp_path, name, text)))
    assert "\n" not in str(caught.value)


def test_bad_settings(tmp_path):
    file = written(tmp_path, "a.conll", "a b O\n")
    with pytest.raises(InputError, match="a.conll:1: no column 3 for data.tag_column; there are 3"):
        sentences(file, tag_column=3)
    with pytest.raises(InputError, match="tokens and the tags cannot both be column 2"):
        sentences(file, token_column=2)
    with pytest.raises(InputError, match="data.tag_column=upos must be the number of a column"):
        sentences(file, tag_column="upos")
    file = written(tmp_path, "a.conllu", CONLLU)
    with pytest.raises(InputError, match="data.tag_column=7 is nothing that CoNLL-U has"):
        sentences(file, tag_column="7")
    nearest = "no token has a tag in 'PronTyp'; .* nearest: PronType, .*Case"
    with pytest.raises(InputError, match=f"a.conllu: {nearest}"):
        sentences(file, tag_column="PronTyp")
    bare = written(tmp_path, "b.conllu", "1\ta\t_\t_\t_\t_\t_\t_\t_\t_\n")
    with pytest.raises(
        InputError, match="b.conllu: no token has a tag in 'xpos'; .* or a feature$"
    ):
        sentences(bare, tag_column="xpos")


def test_going_on_after_a_bad_sentence(tmp_path):
    raw = b"a O\nb\nc\n\nd O\n\xff O\n\ne O\n\nf O\n"
    file = written(tmp_path, "a.conll", raw)
    given = list(read_tagged(file, on_error="yield"))
    assert [isinstance(item, InputError) for item in given] == [True, True, False, False]
    assert [item.line for item in given] == [2, 6, 8, 10]
    # What cannot be read stays as it is.
    assert rewritten(file, [None, None, ["X"], None]) == raw.replace(b"e O", b"e X")
    with pytest.raises(InputError, match="a.conll:2: the token has 1"):
        rewritten(file, [["X"] * 3, None, None, None])


def test_rewriting_counts(tmp_path):
    file = written(tmp_path, "a.conll", "a O\nb O\n\nc O\n")
    with pytest.raises(ValueError, match="a.conll:1: 2 tokens, but 1 tags"):
        rewritten(file, [["X"], ["X"]])
    with pytest.raises(ValueError, match="a.conll:4: there are no tags for it"):
        rewritten(file, [["X", "X"]])
    with pytest.raises(ValueError, match="tags for more sentences than it has"):
        rewritten(file, [["X", "X"], ["X"], ["X"]])
    with pytest.raises(ValueError, match="cannot hold the tag 'X Y'"):
        rewritten(file, [["X Y", "X"], ["X"]])


def test_rewriting_to_files(tmp_path):
    file = written(tmp_path, "a.conll.gz", "a O\n")
    for name in ("b.conll", "b.conll.gz"):
        rewrite(file, [["X"]], tmp_path / name)
    assert (tmp_path / "b.conll").read_bytes() == b"a X\n"
    assert gzip.decompress((tmp_path / "b.conll.gz").read_bytes()) == b"a X\n"
    # A file that fails half way leaves nothing, and itself may be the output.
    with pytest.raises(ValueError):
        rewrite(file, [], tmp_path / "c.conll")
    assert not (tmp_path / "c.conll").exists()
    rewrite(file, [["Y"]], file)
    assert sentences(file) == [{"tokens": ["a"], "tags": ["Y"]}]


def test_a_long_sentence(tmp_path):
    tokens = [f"w{k}" for k in range(10_000)]
    file = written(tmp_path, "a.conll", "".join(f"{token}\tO\n" for token in tokens))
    assert sentences(file) == [{"tokens": tokens, "tags": ["O"] * 10_000}]


def test_a_file_without_blank_lines_is_no_sentence(tmp_path):
    file = written(tmp_path, "a.conll", "# id = 1\n" + "w O\n" * 99_999 + "\n" + "w O\n" * 100_002)
    records = read_tagged(file, on_error="yield")
    assert len(next(records)["tokens"]) == 99_999
    with pytest.raises(InputError) as caught:
        next(records)
    assert str(caught.value) == (
        f"{file}:100002: a sentence of more than 100,000 tokens; are the blank lines between sentences missing?"
    )
    # What is wrong with a line says more.
    file = written(tmp_path, "b.conll", "w O\nw\n" + "w O\n" * 100_000)
    with pytest.raises(InputError, match="b.conll:2: the token has 1"):
        next(read_tagged(file))


def test_is_conllu():
    assert is_conllu("a.conllu") and is_conllu("A.CONLLU.GZ") and not is_conllu("a.conll")


fields = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00\n\r\t "),
    min_size=1,
    max_size=5,
)
# A token that begins with # may be a comment; its own tests say when.
tokens = fields.filter(lambda text: text[0] not in "#-\ufeff")
tables = st.lists(
    st.lists(st.tuples(tokens, fields), min_size=1, max_size=4), min_size=1, max_size=4
)


@given(
    table=tables,
    separator=st.sampled_from(["\t", " ", "   "]),
    end=st.sampled_from(["\n", "\r\n"]),
    between=st.sampled_from(["\n", "\n\n", "\n-DOCSTART- -X-\n\n", "\n \t\n# id = 1\n"]),
    whole=st.booleans(),
)
def test_round_trip(tmp_path_factory, table, separator, end, between, whole):
    text = between.join(
        "".join(f"{token}{separator}{tag}\n" for token, tag in sentence) for sentence in table
    ).replace("\n", end)
    raw = (text if whole else text.removesuffix(end)).encode()
    file = written(tmp_path_factory.getbasetemp(), "round.conll", raw)
    records = list(read_conll(file))
    assert [list(zip(r["tokens"], r["tags"])) for r in records] == table
    assert rewritten(file, [record["tags"] for record in records]) == raw
    swapped = rewritten(file, [[f"<{tag}" for tag in record["tags"]] for record in records])
    again = written(tmp_path_factory.getbasetemp(), "again.conll", swapped)
    assert [[tag[1:] for tag in r["tags"]] for r in read_conll(again)] == [
        record["tags"] for record in records
    ]
    assert rewritten(again, [record["tags"] for record in records]) == raw


@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_real_files(path):
    """Sentences and tokens as plain counting finds them; rewritten byte for byte."""
    raw = path.read_bytes()
    records = list(read_tagged(path))
    blocks = [block for block in raw.decode().split("\n\n") if block.strip()]
    assert len(records) == len(blocks)
    rows = [line for line in raw.decode().split("\n") if line and line[0] != "#"]
    if is_conllu(path):
        rows = [row for row in rows if row.split("\t")[0].isdecimal()]
    else:
        rows = [line for line in raw.decode().split("\n") if line]
    assert sum(len(record["tokens"]) for record in records) == len(rows)
    columns = ["upos", "xpos"] if is_conllu(path) and path.stem == "dev" else [-1]
    for tag_column in columns:
        found = [record["tags"] for record in read_tagged(path, tag_column=tag_column)]
        assert rewritten(path, found, tag_column=tag_column) == raw
