"""A workdir in which one file is damaged, gone, or edited by hand: one line names the file, and nothing is changed."""

import json
import re
import shutil

import pytest

from keras_rnn import app
from tests import small_data
from tests.test_malformed_input import snapshot

FOLDER = object()


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


def updated(**facts):
    """The JSON object with other facts; `...` takes one out."""

    def change(content):
        changed = {**json.loads(content), **facts}
        return json.dumps({n: v for n, v in changed.items() if v is not ...}).encode()

    return change


def set_to(key, value):
    """config.json with another value of a key."""

    def change(content):
        facts = json.loads(content)
        facts["config"][key] = value
        return json.dumps(facts).encode()

    return change


# Name: (command, file, what becomes of it, message); CHECKPOINT in a file's name is the run's only one.
DAMAGE = {
    "a string for a number": (
        "evaluate",
        "config.json",
        set_to("units", "8"),
        r"units is '8'.*int",
    ),
    "null for a number": ("predict", "config.json", set_to("units", None), r"units is None.*int"),
    "a fraction for a number": (
        "export",
        "config.json",
        set_to("layers", 1.5),
        r"layers is 1\.5.*int",
    ),
    "less than nothing": ("evaluate", "config.json", set_to("units", -1), r"units=-1.*at least 1"),
    "no finite number": (
        "evaluate",
        "config.json",
        set_to("dropout", float("inf")),
        r"dropout=inf: it must be a finite number",
    ),
    "no such choice": (
        "evaluate",
        "config.json",
        set_to("precision", "float8"),
        r"precision=float8: it must be one of",
    ),
    "no such key": ("evaluate", "config.json", set_to("unit", 3), r"unit; did you mean units"),
    "no such task": (
        "evaluate",
        "config.json",
        updated(task="juggling"),
        r"'juggling', it must be",
    ),
    "a number for the task": (
        "evaluate",
        "config.json",
        updated(task=5),
        r"'task' is missing or no",
    ),
    "a list of keys": (
        "evaluate",
        "config.json",
        updated(config=[1]),
        r"'config' is missing or no",
    ),
    "a number to import": (
        "predict",
        "config.json",
        updated(**{"import": 5}),
        r"'import' is missing",
    ),
    "a config of another encoding": ("evaluate", "config.json", b"\xff\xfe{\0}\0", r"is not JSON"),
    "a config nested too deep": ("evaluate", "config.json", b"[" * 100_000, r"nested too deep"),
    "a folder for the config": ("evaluate", "config.json", FOLDER, r"Is a directory"),
    "a list for the config": ("train", "config.json", b"[]", r"must hold one JSON object"),
    "a number for all keys": (
        "train",
        "config.json",
        updated(config=5),
        r"'config' is missing or no",
    ),
    "scores that are a list": ("train", "metrics.json", b"[]", r"must hold one JSON object"),
    "scores that are no JSON": ("train", "metrics.json", b"{", r"is not JSON"),
    "an index that is a list": ("evaluate", "checkpoints/index.json", b"[]", r"one JSON object"),
    "a number for a checkpoint": (
        "evaluate",
        "checkpoints/index.json",
        updated(best=5),
        r"'best' names no checkpoint",
    ),
    "a checkpoint outside": (
        "evaluate",
        "checkpoints/index.json",
        updated(best="../../x"),
        r"'best' names no checkpoint",
    ),
    "no last checkpoint": (
        "train",
        "checkpoints/index.json",
        updated(last=...),
        r"'last' names no checkpoint",
    ),
    "a checkpoint that is gone": (
        "train",
        "CHECKPOINT",
        None,
        r"checkpoints/index\.json: names the checkpoint step-00000013, which is not there",
    ),
    "no state": ("train", "CHECKPOINT/state.json", None, r"cannot be read: No such file"),
    "a state that is a list": ("train", "CHECKPOINT/state.json", b"[]", r"is damaged"),
    "a word for a step": (
        "train",
        "CHECKPOINT/state.json",
        updated(step="many"),
        r"step is 'many'",
    ),
    "a state with more": ("train", "CHECKPOINT/state.json", updated(steps=3), r"'steps'"),
    "no weights to go on from": (
        "train",
        "CHECKPOINT/training.npz",
        None,
        r"is damaged: .*No such",
    ),
    "no byte of weights": ("train", "CHECKPOINT/training.npz", b"", r"is damaged"),
    "words for weights": ("train", "CHECKPOINT/training.npz", b"weights", r"is damaged"),
    "half of the weights": ("train", "CHECKPOINT/training.npz", cut, r"is damaged"),
    "a wrong byte in weights": ("train", "CHECKPOINT/training.npz", flipped, r"is damaged"),
    "half of the best weights": ("evaluate", "CHECKPOINT/model.weights.h5", cut, r"cannot be read"),
    "no best weights": ("export", "CHECKPOINT/model.weights.h5", None, r"cannot be read"),
    "a folder for weights": ("evaluate", "CHECKPOINT/model.weights.h5", FOLDER, r"cannot be read"),
    "examples that say nothing": ("train", "examples/train/store.json", b"{", r"does not describe"),
    "examples cut off": (
        "train",
        "examples/train/ids.values",
        lambda c: c[:-4],
        r"store is damaged",
    ),
    "an example that ends before it begins": (
        "train",
        "examples/train/ids.ends",
        lambda c: c[:8] + (10**9).to_bytes(8, "little") + c[16:],
        r"does not rise: the store is damaged",
    ),
    "an id that no word has": (
        "train",
        "examples/dev/ids.values",
        lambda c: c[:8] + (60).to_bytes(4, "little") + c[12:],
        r"example \d+ holds 60, which is not from 0 to \d\d: the store is damaged",
    ),
    "a label that is none": (
        "evaluate",
        "examples/dev/label.values",
        lambda c: c[:-4] + (2).to_bytes(4, "little"),
        r"example 49 holds 2, which is not from 0 to 1: the store is damaged",
    ),
    "a negative label": (
        "train",
        "examples/train/label.values",
        lambda c: b"\xff" * 4 + c[4:],
        r"example 0 holds -1, which is not from 0 to 1: the store is damaged",
    ),
    "columns of another run": (
        "train",
        "examples/train/store.json",
        lambda c: c.replace(b'"bounds"', b'"inner_shape": [1], "bounds"', 1),
        r"store\.json: has other columns than this run",
    ),
    "no examples": ("train", "examples/train", None, r"store\.json: no such file"),
    "examples without their facts": (
        "train",
        "examples/facts.json",
        updated(fixed=...),
        r"'fixed' or 'cut' is missing",
    ),
    "no dev examples": ("evaluate", "examples/dev", None, r"store\.json: no such file"),
    "a word that is no UTF-8": (
        "evaluate",
        "vocabulary.txt",
        lambda c: c + b"\xff\n",
        r"invalid UTF",
    ),
    "a word twice": ("evaluate", "vocabulary.txt", lambda c: c + c, r"holds '\[PAD\]' twice"),
    "a size of another vocabulary": (
        "evaluate",
        "vocabulary.json",
        updated(size=9),
        r"speaks of 9",
    ),
    "no kind of word": (
        "predict",
        "vocabulary.json",
        updated(kind="letters"),
        r"does not describe",
    ),
    "a list for the vocabulary": ("predict", "vocabulary.json", b"[]", r"does not describe"),
    "numbers for labels": (
        "predict",
        "vocabulary.labels.json",
        updated(labels=[1, 2]),
        r"'labels' is missing or no list\[str\]",
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return small_data.train_small(tmp_path_factory.mktemp("run"), epochs=1)


@pytest.mark.parametrize("case", DAMAGE)
def test_one_line_names_the_file(case, trained, tmp_path, capsys, monkeypatch):
    command, name, change, message = DAMAGE[case]
    monkeypatch.chdir(tmp_path)
    workdir = shutil.copytree(trained, tmp_path / "w")
    damaged = workdir / name.replace("CHECKPOINT", "checkpoints/step-00000013")
    content = damaged.read_bytes() if callable(change) else change
    if damaged.is_dir():
        shutil.rmtree(damaged)
    else:
        damaged.unlink()
    if content is FOLDER:
        damaged.mkdir()
    elif content is not None:
        damaged.write_bytes(change(content) if callable(change) else content)
    before = snapshot(tmp_path)
    arguments = {
        "train": [
            "--task=classification",
            *(f"--{data}_data={trained.parent / data}.tsv" for data in ("train", "dev")),
            *small_data.overrides(epochs=2),
        ],
        "export": ["--output=exported"],
    }
    capsys.readouterr()
    assert app.main([command, "--workdir=w", *arguments.get(command, [])]) == 1
    error = capsys.readouterr().err
    assert error.startswith("keras-rnn: ") and error.count("\n") == 1, error
    assert damaged.name in error and re.search(message, error), error
    assert snapshot(tmp_path) == before


def test_there_are_many():
    assert len(DAMAGE) >= 40
