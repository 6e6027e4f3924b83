"""Malformed input of every kind to every command: one line that says what and where, status 1, nothing half-written."""

import gzip
import json
import re
import shutil

import pytest

from keras_rnn import app
from tests import small_data

TABLE = b"text\tlabel\n" + b"fine\tgood\npoor\tbad\n" * 10
TAGGED = b"Ada\tB-PER\nsings\tO\n\n" * 10
PAIRS = b"eins\tone\nzwei\ttwo\n" * 10
CONLLU = "".join(f"{n}\tw{n}\t_\tX\t_\t_\t0\t_\t_\t_\n" for n in (1, 2)).encode() + b"\n"
SMALL = {"tokenizer": "words", "units": 4, "jit_compile": "false", "epochs": 1}


def train(task, *files, **settings):
    """A training command on files of the case's folder; `data__text` is the key `data.text`."""
    names = dict(zip(("train_data", "dev_data"), files, strict=False))
    flags = [f"--{flag}={name}" for flag, name in names.items()]
    keys = [
        f"--config.{name.replace('__', '.')}={value}"
        for name, value in {**SMALL, **settings}.items()
    ]
    return ["train", f"--task={task}", "--workdir=new", *flags, *keys]


def on(file, content, message, task="classification", **settings):
    """A training file, and what is said of it."""
    return train(task, file, **settings), {file: content}, message


def summaries(file, content, message):
    """A file of summaries, for training and dev, and what is said of it."""
    flags = [f"--{name}_data={file}" for name in ("train", "dev")]
    keys = ["--config.units=4", "--config.jit_compile=false", "--config.min_count=1"]
    command = ["train", "--task=summarization", "--workdir=new", *flags, *keys]
    return command, {file: content}, message


# Name: (command, files, message). {workdir} in a command is a copy of a trained run, of which files are named too.
CASES = {
    # The command line
    "no task": (["train", "--workdir=new"], {}, r"--task is missing"),
    "no workdir": (["train", "--task=tagging"], {}, r"--workdir is missing"),
    "no such task": (["train", "--task=taging", "--workdir=new"], {}, r"taging.*tagging"),
    "no such command": (["trian"], {}, r"trian.*train"),
    "no such flag": (["train", "--taks=tagging"], {}, r"--taks.*task"),
    "a word that is no flag": (["train", "tagging"], {}, r"'tagging' is not a flag"),
    "a flag without its value": (["train", "--task"], {}, r"--task needs a value"),
    "no such key": (train("tagging", unit=3), {}, r"unit.*units"),
    "a key twice": (
        [*train("tagging", layers=1), "--config.layers=2"],
        {},
        r"layers is given twice",
    ),
    "a word for a number": (
        train("tagging", layers="many"),
        {},
        r"layers=many: it must be a whole number",
    ),
    "a fraction for a number": (
        train("tagging", layers=1.5),
        {},
        r"layers=1.5: it must be a whole number",
    ),
    "nothing for a number": (
        train("tagging", layers=""),
        {},
        r"layers=: it must be a whole number",
    ),
    "a word for yes or no": (
        train("tagging", crf="perhaps"),
        {},
        r"crf=perhaps: it must be true or false",
    ),
    "too small a number": (train("tagging", layers=0), {}, r"layers=0.*at least 1"),
    "too large a number": (train("tagging", dropout=2), {}, r"dropout=2.*at most 0\.95"),
    "no number": (train("tagging", learning_rate="nan"), {}, r"learning_rate=nan"),
    "no such choice": (train("tagging", characters="cmm"), {}, r"characters=cmm.*cnn"),
    "no such cell": (train("tagging", cell="lstn"), {}, r"cell=lstn.*lstm"),
    "keys that do not go together": (
        train("translation", search__n_best=9),
        {},
        r"n_best=9: it must be at most search\.beam",
    ),
    "dev data alone": (
        ["train", "--task=tagging", "--workdir=new", "--dev_data=a.conll"],
        {},
        r"--dev_data is given without --train_data",
    ),
    "a module that is not there": (
        [*train("tagging"), "--import=no_such_cells"],
        {},
        r"--import=no_such_cells",
    ),
    "a module that fails": (
        [*train("tagging"), "--import=failing_cells"],
        {"failing_cells.py": b"import keras_rnn\n1 / 0\n"},
        r"--import=failing_cells.*failing_cells\.py, line 2.*division by zero",
    ),
    "a module with a mistake": (
        [*train("tagging"), "--import=misspelt_cells"],
        {"misspelt_cells.py": b"def f(:\n"},
        r"--import=misspelt_cells.*line 1",
    ),
    # Files
    "no file of that name": (train("classification", "no*.tsv"), {}, r"no\*\.tsv: no file matches"),
    "a folder for a file": (
        train("classification", "d.tsv"),
        {"d.tsv/x": b""},
        r"d\.tsv: is a folder",
    ),
    "UTF-16": on("a.tsv", TABLE.decode().encode("utf-16"), r"a\.tsv:1: .*UTF-16"),
    "Latin-1": on(
        "a.tsv", TABLE + "caf\xe9\tgood\n".encode("latin-1"), r"a\.tsv:22: invalid UTF-8"
    ),
    "no gzip": on("a.tsv.gz", TABLE, r"a\.tsv\.gz: .*gzip"),
    "half a gzip": on("a.tsv.gz", gzip.compress(TABLE * 99)[:-20], r"a\.tsv\.gz: .*gzip"),
    "blank lines alone": on("a.tsv", b"\n\n\n", r"a\.tsv: is empty"),
    "a column twice": on("a.tsv", b"text\ttext\tlabel\na\tb\tc\n", r"a\.tsv:1: .*twice"),
    "commas in a .tsv": on("a.tsv", TABLE.replace(b"\t", b","), r"a\.tsv:1: no column 'text'"),
    "an open quote": on(
        "a.csv", b'text,label\n"fine,good\n' + b"poor,bad\n" * 9, r"a\.csv:2: .*quote"
    ),
    "a missing field": on(
        "a.csv", b"text,label\nfine,good\npoor\n", r"a\.csv:3: the row has 1 field"
    ),
    "a list in JSON": on("a.jsonl", b'["fine", "good"]\n', r"a\.jsonl:1: not a JSON object"),
    "a number in JSON": on(
        "a.jsonl", b'{"text": {"a": 5}, "label": "x"}\n', r"a\.jsonl:1: 'text' is .*"
    ),
    "a field too few in JSON": on("a.jsonl", b'{"text": "a"}\n', r"a\.jsonl:1: .*'label'"),
    "half a character in JSON": on(
        "a.jsonl", b'{"text": "\\ud800", "label": "x"}\n', r"a\.jsonl:1: .*surrogate"
    ),
    "a delimiter of two letters": on(
        "a.tsv", TABLE, r"data\.delimiter must be one character", data__delimiter="ab"
    ),
    "a label of dev alone": (
        train("classification", "a.tsv", "b.tsv"),
        {"a.tsv": TABLE, "b.tsv": b"text\tlabel\nfine\tbest\n"},
        r"b\.tsv:2: the label 'best' does not occur in the training data",
    ),
    "vectors of several widths": (
        train("classification", "a.tsv", vectors="v.txt"),
        {"a.tsv": TABLE, "v.txt": b"fine 1 2 3\npoor 1 2\n"},
        r"v\.txt:2: .*",
    ),
    "vectors without numbers": (
        train("classification", "a.tsv", vectors="v.txt"),
        {"a.tsv": TABLE, "v.txt": b"fine one two\n"},
        r"v\.txt:1: .*",
    ),
    "empty vectors": (
        train("classification", "a.tsv", vectors="v.txt"),
        {"a.tsv": TABLE, "v.txt": b""},
        r"v\.txt: .*",
    ),
    "vectors of pieces": (
        train("classification", "a.tsv", vectors="v.txt", tokenizer="wordpiece"),
        {"a.tsv": TABLE, "v.txt": b"fine 1 2\n"},
        r"vectors goes with --config\.tokenizer=words",
    ),
    "too few words for pieces": (
        train("translation", "a.tsv", tokenizer="sentencepiece", vocabulary_size=5),
        {"a.tsv": PAIRS},
        r"a vocabulary of 5 here",
    ),
    # Tagged files
    "a column too many": on(
        "a.conll", TAGGED + b"Bo B-PER X Y\n", r"a\.conll:31: .*column", "tagging"
    ),
    "one column": on("a.conll", b"Ada\nsings\n\n", r"a\.conll:1: .*column", "tagging"),
    "no such tag column": on(
        "a.conll",
        TAGGED,
        r"a\.conll:1: no column 7 for data\.tag_column",
        "tagging",
        data__tag_column=7,
    ),
    "a column that is no number": on(
        "a.conll", TAGGED, r"tag_column=last one", "tagging", data__tag_column="last one"
    ),
    "nine columns of CoNLL-U": on(
        "a.conllu", CONLLU + b"1\ta\t_\tX\t_\t_\t0\t_\t_\n\n", r"a\.conllu:4: .*10", "tagging"
    ),
    "columns in a .conllu": on("a.conllu", TAGGED, r"a\.conllu:1: .*10", "tagging"),
    "a tagged file without sentences": on("a.conll", b"\n\n", r"a\.conll: .*", "tagging"),
    # Pairs
    "a line too few": (
        train("translation", "a.de,a.en"),
        {"a.de": b"eins\nzwei\n", "a.en": b"one\n"},
        r"a\.de:2: a\.de has 2 lines, a\.en has 1",
    ),
    "one side alone": (
        train("translation", "a.de"),
        {"a.de": b"eins\n"},
        r"a\.de: .*SOURCE,TARGET",
    ),
    "a field too many": on(
        "a.tsv", PAIRS + b"a\tb\tc\n", r"a\.tsv:21: the row has 3 fields", "translation"
    ),
    "a column of another name": on(
        "a.csv", b"de,en\neins,one\n", r"a\.csv:1: no column 'source'", "translation"
    ),
    "empty sides alone": on(
        "a.tsv", b"source\ttarget\neins\t\n", r"too few examples", "translation"
    ),
    # A run that is there
    "another task's run": (
        ["train", "--task=tagging", "--workdir={workdir}"],
        {},
        r"w: was made with --task=classification, not tagging",
    ),
    "another size": (
        [
            "train",
            "--task=classification",
            "--workdir={workdir}",
            "--train_data={train}",
            "--dev_data={dev}",
        ],
        {},
        r"w: was made with .*units=8 \(now 64\)",
    ),
    "no run": (["evaluate", "--workdir=nowhere"], {}, r"nowhere: does not exist"),
    "a config that is no JSON": (
        ["evaluate", "--workdir={workdir}"],
        {"w/config.json": b"{"},
        r"config\.json: is not JSON",
    ),
    "a config that is a list": (
        ["evaluate", "--workdir={workdir}"],
        {"w/config.json": b"[]"},
        r"config\.json: .*",
    ),
    "a config without a task": (
        ["evaluate", "--workdir={workdir}"],
        {"w/config.json": b"{}"},
        r"config\.json: .*task",
    ),
    "an index that is no JSON": (
        ["evaluate", "--workdir={workdir}"],
        {"w/checkpoints/index.json": b"?"},
        r"index\.json: is not JSON",
    ),
    "weights that are none": (
        ["evaluate", "--workdir={workdir}"],
        {"{best}": b"weights"},
        r"model\.weights\.h5: .*",
    ),
    "no vocabulary": (
        ["evaluate", "--workdir={workdir}"],
        {"w/vocabulary.txt": None},
        r"vocabulary\.txt",
    ),
    "too small a vocabulary": (
        ["predict", "--workdir={workdir}"],
        {"w/vocabulary.txt": b"fine\n"},
        r"vocabulary",
    ),
    "no labels": (
        ["evaluate", "--workdir={workdir}"],
        {"w/vocabulary.labels.json": None},
        r"vocabulary\.labels\.json",
    ),
    "labels that are none": (
        ["evaluate", "--workdir={workdir}"],
        {"w/vocabulary.labels.json": b"[]"},
        r"w: its vocabulary or its labels are damaged",
    ),
    "a label too many": (
        ["evaluate", "--workdir={workdir}", "--data=a.tsv"],
        {"a.tsv": b"text\tlabel\nx\tnew\n"},
        r"a\.tsv:2: the label 'new'",
    ),
    "nothing to measure on": (
        ["evaluate", "--workdir={workdir}", "--data=a.tsv"],
        {"a.tsv": b"text\tlabel\n"},
        r"a\.tsv:1: has a header but no rows",
    ),
    "a key of training": (
        ["evaluate", "--workdir={workdir}", "--config.units=9"],
        {},
        r"units belongs to training",
    ),
    "no input": (
        ["predict", "--workdir={workdir}", "--input=no.txt"],
        {},
        r"no\.txt: no such file",
    ),
    "an output in no folder": (
        ["predict", "--workdir={workdir}", "--input=a.txt", "--output=no/o.jsonl"],
        {"a.txt": b"a\n"},
        r"no/o\.jsonl: cannot be written",
    ),
    "an output that is a folder": (
        ["predict", "--workdir={workdir}", "--input=a.txt", "--output=."],
        {"a.txt": b"a\n"},
        r"\.: is a folder",
    ),
    "no such format": (
        ["predict", "--workdir={workdir}", "--output_format=xml"],
        {},
        r"output_format=xml: one of jsonl, text, same",
    ),
    "an input that is UTF-16": (
        ["predict", "--workdir={workdir}", "--input=a.txt", "--output=o"],
        {"a.txt": "a\n".encode("utf-16")},
        r"a\.txt:1: .*UTF-16",
    ),
    "no folder to export to": (["export", "--workdir={workdir}"], {}, r"--output is missing"),
    "an export onto a file": (
        ["export", "--workdir={workdir}", "--output=a"],
        {"a": b"mine"},
        r"a: .*",
    ),
    "an export onto something else": (
        ["export", "--workdir={workdir}", "--output=d"],
        {"d/a": b"mine"},
        r"d: .*",
    ),
    "an export of no format": (
        ["export", "--workdir={workdir}", "--output=d", "--format=onxn"],
        {},
        r"--format=onxn.*saved_model",
    ),
    # Summaries
    "no column of summaries": summaries(
        "a.csv", b"text,title\na b,a\n", r"a\.csv:1: no column 'summary'"
    ),
    "no column of texts": summaries(
        "a.jsonl",
        b'{"body": "a b", "summary": "a"}\n',
        r"a\.jsonl:1: no column 'text'|a\.jsonl:1: .*'text'",
    ),
    "a summary that is a list": summaries(
        "a.jsonl", b'{"text": "a b", "summary": ["a"]}\n', r"a\.jsonl:1: 'summary' is a list"
    ),
    "no summary at all": summaries(
        "a.tsv", b"text\tsummary\na b\t \nc\t\n", r"a\.tsv: .*2 without summary, left out"
    ),
    "no text at all": summaries(
        "a.tsv", b"text\tsummary\n\ta\n", r"a\.tsv: .*1 without text, left out"
    ),
    "summaries longer than their texts": summaries(
        "a.tsv",
        b"text\tsummary\na\ta b\n",
        r"a\.tsv: .*1 summary longer than its text, left out",
    ),
    "more than a beam has": (
        ["train", "--task=summarization", "--workdir=new", "--config.search.n_best=9"],
        {},
        r"n_best=9: it must be at most search\.beam",
    ),
    "no such demo": (["demo", "--task=juggling"], {}, r"--task=juggling"),
    "a demo in a file": (
        ["demo", "--task=classification", "--workdir=a"],
        {"a": b""},
        r"a: .*file",
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return small_data.train_small(tmp_path_factory.mktemp("run"), epochs=1)


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_half_written(case, trained, tmp_path, capsys, monkeypatch):
    command, files, message = CASES[case]
    monkeypatch.chdir(tmp_path)
    places = {
        "workdir": "w",
        "train": trained.parent / "train.tsv",
        "dev": trained.parent / "dev.tsv",
    }
    if any("{workdir}" in part for part in command):
        shutil.copytree(trained, "w")
        best = json.loads((trained / "checkpoints" / "index.json").read_text())["best"]
        places["best"] = f"w/checkpoints/{best}/model.weights.h5"
    for name, content in files.items():
        path = tmp_path / name.format(**places)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if content is None else path.write_bytes(content)
    before = snapshot(tmp_path)
    capsys.readouterr()
    assert app.main([part.format(**places) for part in command]) == 1
    error = capsys.readouterr().err
    assert error.startswith("keras-rnn: ") and error.count("\n") == 1, error
    assert re.search(message, error), error
    assert not (tmp_path / "new" / "config.json").exists()
    shutil.rmtree(tmp_path / "new", ignore_errors=True)
    assert snapshot(tmp_path) == before


def snapshot(folder):
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_there_are_many():
    assert len(CASES) >= 60
