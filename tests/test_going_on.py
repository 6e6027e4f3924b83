"""Every task goes on in the middle of an epoch, and ends with the bits of the undisturbed training."""

import json
import os
import signal

import numpy as np
import pytest

import pipelines
from keras_rnn import app
from keras_rnn.trainer import Trainer
from keras_rnn.workdir import Workdir
from tests import small_data, small_questions, small_summaries, small_tags
from tests.tasks import test_speech_recognition, test_translation

FULL = pytest.mark.full

# Noise of every kind, so that its states are part of what must be kept.
NOISE = {"dropout": 0.2, "recurrent_dropout": 0.2, "average": 0.9, "pictures": 0, "epochs": 3}


def written(folder, name, text) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def conll(folder):
    return [
        written(folder, name, small_tags.conll(small_tags.sentences(number, seed=number)))
        for name, number in (("train", 50), ("dev", 10))
    ]


def questions(records):
    def files(folder):
        return [
            small_questions.write(folder / f"{name}.jsonl", records(number, number))
            for name, number in (("train", 50), ("dev", 10))
        ]

    return files


def summaries(folder):
    return [
        small_summaries.write(folder / f"{name}.jsonl", small_summaries.rows(number, number))
        for name, number in (("train", 50), ("dev", 10))
    ]


def pairs(folder):
    return [
        test_translation.write(folder, name, test_translation.sentences(number, number))
        for name, number in (("train", 50), ("dev", 10))
    ]


def tones(folder):
    found = pipelines.write_tones(str(folder), sizes={"train": 50, "dev": 5}, longest=2)
    return [found["train"], found["dev"]]


# Task, small settings, files; more noise where a task has some of its own.
HEARD = {**test_speech_recognition.SETTINGS, "noise": True, "vocal_tract": 0.1, "time_masks": 1}
TASKS = {
    "tagging": ("tagging", {**small_tags.SETTINGS, "word_dropout": 0.1}, conll),
    "translation": ("translation", test_translation.SETTINGS, pairs),
    "words": ("question_answering", small_questions.SETTINGS, questions(small_questions.words)),
    "spans": ("question_answering", small_questions.SETTINGS, questions(small_questions.spans)),
    "summarization": ("summarization", {**small_summaries.SETTINGS, "min_count": 1}, summaries),
    "ctc": ("speech_recognition", {**HEARD, "head": "ctc"}, tones),
    "attention": ("speech_recognition", {**HEARD, "head": "attention"}, tones),
}


def trained(workdir, task, files, **settings) -> int:
    command = ["train", f"--task={task}", f"--workdir={workdir}"]
    command += [f"--{name}_data={file}" for name, file in zip(("train", "dev"), files, strict=True)]
    return app.main([*command, *(f"--config.{n}={v}" for n, v in settings.items())])


def ends(workdir) -> tuple[dict, dict]:
    """Everything that a training goes on from, and the scores."""
    folder = Workdir(workdir)
    with np.load(os.path.join(folder.checkpoint("last"), "training.npz")) as values:
        return dict(values), json.loads((workdir / "metrics.json").read_text())


def asked_to_end(monkeypatch, step, number=signal.SIGINT):
    """Has the signal come while a step is being made."""
    make = Trainer.step

    def made(trainer, batches):
        if trainer.state.step == step - 1:
            os.kill(os.getpid(), number)
        return make(trainer, batches)

    monkeypatch.setattr(Trainer, "step", made)


# Each trains three times, half a minute: one, and the others in `make test-all`.
@pytest.mark.parametrize(
    "name",
    [name if name == "tagging" else pytest.param(name, marks=FULL) for name in TASKS],
)
def test_in_two_parts_it_is_the_same_training(name, tmp_path, capsys, monkeypatch):
    task, settings, make_files = TASKS[name]
    files = make_files(tmp_path)
    # Seven batches an epoch; the first part ends after the second batch of the second.
    settings = {**settings, **NOISE, "batch_size": 8, "jit_compile": False}
    assert trained(tmp_path / "once", task, files, **settings) == 0
    with monkeypatch.context() as patch:
        asked_to_end(patch, 9, signal.SIGTERM if name == "tagging" else signal.SIGINT)
        assert trained(tmp_path / "parts", task, files, **settings) == 130
    error = capsys.readouterr().err
    assert error == "keras-rnn: interrupted; the same command goes on from step 9\n"
    assert trained(tmp_path / "parts", task, files, **settings) == 0
    assert "going on after epoch 1, step 9\n" in capsys.readouterr().out
    (once, scores), (parts, judged) = (ends(tmp_path / workdir) for workdir in ("once", "parts"))
    assert once.keys() == parts.keys() and any("seed" in name for name in once)
    for variable, value in once.items():
        np.testing.assert_array_equal(value, parts[variable], err_msg=variable)
    assert scores["training"]["steps"] == judged["training"]["steps"] == 21
    for facts in (scores, judged):
        facts.pop("training")
    assert scores == judged


def test_patience_is_counted_on(tmp_path, capsys, monkeypatch):
    """The third evaluation without a better score ends it, also where the training was ended between them."""
    files = [
        small_data.write_tsv(tmp_path / f"{name}.tsv", small_data.rows(number, seed=number))
        for name, number in (("train", 120), ("dev", 20))
    ]
    settings = small_data.SETTINGS | {"epochs": 30, "patience": 3, "learning_rate": 0.05}
    assert trained(tmp_path / "once", "classification", files, **settings) == 0
    assert "finished: 3 epochs brought no better dev accuracy" in capsys.readouterr().out
    once, scores = ends(tmp_path / "once")
    # In the midst of the last epoch but one: one evaluation has been without a better score.
    with monkeypatch.context() as patch:
        asked_to_end(patch, scores["training"]["steps"] - 12)
        assert trained(tmp_path / "parts", "classification", files, **settings) == 130
    state = Workdir(tmp_path / "parts")
    state = state.read("checkpoints", state.index()["last"], "state.json")
    assert state["batch"] == 4 and state["judged_without_better"] == 1
    assert trained(tmp_path / "parts", "classification", files, **settings) == 0
    parts, judged = ends(tmp_path / "parts")
    for variable, value in once.items():
        np.testing.assert_array_equal(value, parts[variable], err_msg=variable)
    for fact in ("finished", "epochs", "steps", "best_epoch", "best_step"):
        assert judged["training"][fact] == scores["training"][fact], fact
