"""The demonstration, cut short: every part of it runs."""

import functools
import json

import pytest

import pipelines
from keras_rnn import app, configs, demo


@pytest.fixture
def little_data(monkeypatch):
    for name in ("date_translation", "house_stories", "town_notices"):
        whole = getattr(pipelines, name)
        few = functools.partial(whole, train=64, dev=demo.QUESTIONS, test=demo.QUESTIONS)
        monkeypatch.setattr(pipelines, name, few)


@pytest.mark.usefixtures("little_data")
def test_it_trains_measures_exports_asks_and_draws(tmp_path, capsys):
    small = ["max_steps=2", "max_shapes=1", "units=8"]
    command = ["demo", f"--workdir={tmp_path / 'w'}"]
    assert app.main([*command, *(f"--config.{setting}" for setting in small)]) == 0
    shown = capsys.readouterr().out
    scores = [line for line in shown.splitlines() if line.startswith("{")]
    assert 0 <= json.loads(scores[-1])["exact_match"] < 1
    # After two steps every answer is wrong, and the right one stands beside it.
    assert shown.count("✗") == demo.QUESTIONS
    assert "tensorboard --logdir" in shown
    for number in range(1, demo.PICTURES + 1):
        assert (tmp_path / "w" / f"alignment-{number}.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("task", configs.DEMOS)
def test_its_settings_are_settings(task):
    keys = configs.task_keys(task)
    config = demo.config(task, keys)
    configs.check(config, keys)
    flat = configs.flatten(config)
    assert {name: flat[name] for name in configs.DEMOS[task].settings} == configs.DEMOS[
        task
    ].settings


@pytest.mark.usefixtures("little_data")
@pytest.mark.parametrize(
    "task, mark, picture, less",
    [
        ("question_answering", "?", "attention", "--config.hops=1"),
        pytest.param(
            "summarization", "✗", "copying", "--config.dev_beam=1", marks=pytest.mark.full
        ),
    ],
)
def test_it_asks_and_draws_what_was_looked_at(task, mark, picture, less, tmp_path, capsys):
    command = ["demo", f"--task={task}", f"--workdir={tmp_path / 'w'}", less]
    small = ["max_steps=2", "max_shapes=1", "units=4", "jit_compile=false", "pictures=0"]
    assert app.main([*command, *(f"--config.{setting}" for setting in small)]) == 0
    shown = capsys.readouterr().out
    assert mark in shown.split("The export answers:")[1]
    for number in range(1, demo.PICTURES + 1):
        assert (tmp_path / "w" / f"{picture}-{number}.png").read_bytes()[1:4] == b"PNG"


def test_another_task_is_refused_in_a_line(capsys):
    assert app.main(["demo", "--task=tagging"]) == 1
    said = capsys.readouterr().err
    assert (
        "it must be one of translation, classification, question_answering, summarization" in said
    )
