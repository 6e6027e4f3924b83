"""Each piece of bad input: one line with file and line, status 1, no traceback, nothing half-written."""

import contextlib
import json
import re
import resource
import shutil

import pytest

from keras_rnn import app
from keras_rnn.workdir import Workdir
from tests import small_data

GOOD = b"text\tlabel\n" + b"fine\tgood\npoor\tbad\n" * 10


def train(folder, *arguments, **settings):
    return app.main(
        [
            "train",
            "--task=classification",
            f"--workdir={folder / 'w'}",
            *arguments,
            *small_data.overrides(**{"epochs": 1, **settings}),
        ]
    )


CASES = {
    "a label that is a list": (
        "train.jsonl",
        b'{"text": "a", "label": "x"}\n{"text": "b", "label": ["x", "y"]}\n',
        "train.jsonl:2: the label is a list",
    ),
    "an empty file": ("train.tsv", b"", "train.tsv: is empty"),
    "a header alone": ("train.tsv", b"text\tlabel\n", "train.tsv:1: has a header but no rows"),
    "another column": (
        "train.tsv",
        b"sentence\tlabel\na\tb\n",
        "train.tsv:1: no column 'text' for 'text'; the columns are: 'sentence', 'label'",
    ),
    "one class": (
        "train.tsv",
        b"text\tlabel\na\tx\nb\tx\nc\tx\n",
        "train.tsv: every row has the label 'x'",
    ),
    "an empty label": ("train.tsv", GOOD + b"w1\t \n", "train.tsv:22: the label is empty"),
    "invalid UTF-8": ("train.tsv", GOOD + b"ca\xff\tgood\n", "train.tsv:22: invalid UTF-8"),
    "a NUL byte": ("train.tsv", GOOD + b"a\0b\tgood\n", "train.tsv:22: a NUL byte"),
    "a ragged row": ("train.tsv", GOOD + b"a\tb\tc\n", "train.tsv:22: the row has 3 fields"),
    "no JSON": ("train.jsonl", b"{'text': 1}\n", "train.jsonl:1: not a JSON object"),
    "one example": ("train.tsv", b"text\tlabel\na\tx\n", "train.tsv: has too few examples"),
    "one of each": ("train.tsv", b"text\tlabel\na\tx\nb\ty\n", "train.tsv: has too few examples"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_training_files(case, tmp_path, capsys):
    name, content, expected = CASES[case]
    path = tmp_path / name
    path.write_bytes(content)
    assert train(tmp_path, f"--train_data={path}") == 1
    captured = capsys.readouterr()
    assert expected in captured.err and captured.err.count("\n") == 1
    # The mended file may be given next: no config of a run that never began is in the way.
    assert not Workdir(tmp_path / "w").exists()


def test_a_missing_file(tmp_path, capsys):
    assert train(tmp_path, f"--train_data={tmp_path / 'no.tsv'}") == 1
    error = capsys.readouterr().err
    assert "no.tsv" in error and error.count("\n") == 1


def test_a_missing_vectors_file(tmp_path, capsys):
    path = tmp_path / "train.tsv"
    path.write_bytes(GOOD)
    assert train(tmp_path, f"--train_data={path}", vectors=tmp_path / "no.txt.gz") == 1
    assert "no.txt.gz" in capsys.readouterr().err
    assert not Workdir(tmp_path / "w").exists()


def test_a_dev_label_that_training_never_saw(tmp_path, capsys):
    (tmp_path / "train.tsv").write_bytes(GOOD)
    (tmp_path / "dev.tsv").write_bytes(b"text\tlabel\nfine\tgood\nw1\tsplendid\n")
    arguments = [f"--train_data={tmp_path / 'train.tsv'}", f"--dev_data={tmp_path / 'dev.tsv'}"]
    assert train(tmp_path, *arguments) == 1
    error = capsys.readouterr().err
    assert "dev.tsv:3: the label 'splendid' does not occur in the training data" in error
    assert "'bad', 'good'" in error


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return small_data.train_small(tmp_path_factory.mktemp("run"), epochs=1)


def test_evaluate_names_file_and_line_of_an_unseen_label(workdir, tmp_path, capsys):
    path = tmp_path / "test.jsonl"
    path.write_text('{"text": "fine", "label": "good"}\n{"text": "x", "label": "new"}\n')
    capsys.readouterr()
    assert app.main(["evaluate", f"--workdir={workdir}", f"--data={path}"]) == 1
    assert "test.jsonl:2: the label 'new'" in capsys.readouterr().err


def test_a_line_of_a_megabyte_is_cut_and_counted(tmp_path, capsys):
    path = tmp_path / "train.tsv"
    path.write_bytes(GOOD + b"poor " * 200_000 + b"\tbad\n")
    assert train(tmp_path, f"--train_data={path}", max_length=50) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith("1 cut to 100000 bytes, 1 cut to 50 tokens")


def test_a_broken_config_and_a_foreign_checkpoint(workdir, tmp_path, capsys):
    copy = shutil.copytree(workdir, tmp_path / "w")
    capsys.readouterr()
    (copy / "config.json").write_text("{")
    assert app.main(["evaluate", f"--workdir={copy}"]) == 1
    assert "config.json: is not JSON" in capsys.readouterr().err
    config = json.loads((workdir / "config.json").read_text())
    config["config"]["units"] = 9
    (copy / "config.json").write_text(json.dumps(config))
    assert app.main(["evaluate", f"--workdir={copy}"]) == 1
    error = capsys.readouterr().err
    assert "model.weights.h5: cannot be read into this model" in error and error.count("\n") == 1
    config["task"] = "juggling"
    (copy / "config.json").write_text(json.dumps(config))
    assert app.main(["evaluate", f"--workdir={copy}"]) == 1
    assert "juggling" in capsys.readouterr().err
    (copy / "config.json").unlink()
    assert app.main(["evaluate", f"--workdir={copy}"]) == 1
    assert "has no config.json" in capsys.readouterr().err


@contextlib.contextmanager
def files_below(size):
    """No file may grow beyond so many bytes: what a full disk is for those who may not mount a small one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(workdir, tmp_path, capsys):
    copy = shutil.copytree(workdir, tmp_path / "w")
    before = {path: path.read_bytes() for path in checkpoint_files(copy)}
    arguments = [f"--{name}_data={workdir.parent / name}.tsv" for name in ("train", "dev")]
    capsys.readouterr()
    with files_below(20_000):  # less than the weights have
        assert train(tmp_path, *arguments, epochs=2) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(
        r"keras-rnn: .*step-00000013.*: cannot be written: File too large.*\n", error
    )
    assert {path: path.read_bytes() for path in checkpoint_files(copy)} == before
    assert train(tmp_path, *arguments, epochs=2) == 0
    assert Workdir(copy).index()["last"] == "step-00000026"


def checkpoint_files(workdir):
    return [path for path in (workdir / "checkpoints").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("size", "what"),
    [(100, "vocabulary.txt"), (1500, "examples/train"), (9000, r"tfevents\S*")],
)
def test_a_disk_that_is_full_from_the_start(size, what, workdir, tmp_path, capsys):
    arguments = [f"--{name}_data={workdir.parent / name}.tsv" for name in ("train", "dev")]
    with files_below(size):
        assert train(tmp_path, *arguments) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(rf"keras-rnn: .*{what}: cannot be written: File too large\n", error)
    assert not list(tmp_path.rglob("*.part"))
    assert not Workdir(tmp_path / "w").index()


def test_workdir_that_is_a_file(tmp_path, capsys):
    (tmp_path / "w").write_text("")
    (tmp_path / "train.tsv").write_bytes(GOOD)
    assert train(tmp_path, f"--train_data={tmp_path / 'train.tsv'}") == 1
    assert "is a file; --workdir names a folder" in capsys.readouterr().err
