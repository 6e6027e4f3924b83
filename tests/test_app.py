"""The command line: what is typed, what is answered, and how mistakes end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pipelines
from keras_rnn import app, configs

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "keras_rnn", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        **kwargs,
    )


def error_of(capsys, *arguments) -> str:
    """The one line that a mistake ends with."""
    assert app.main(list(arguments)) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("keras-rnn: ") and captured.err.count("\n") == 1
    return captured.err.strip()


def test_help_imports_no_tensorflow():
    code = (
        "import sys; sys.argv = ['keras-rnn', 'train', '--task=classification', '--help']\n"
        "from keras_rnn.app import main; assert main() == 0\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for key in configs.task_keys("classification").values():
        assert f"--config.{key.name}=" in result.stdout
        assert key.meaning.split()[0] in result.stdout


def test_module_and_usage():
    result = run("--help")
    assert result.returncode == 0
    for command in ("train", "evaluate", "predict", "export", "demo"):
        assert f"keras-rnn {command}" in result.stdout
    assert run().returncode == 1


def test_help_of_a_demonstration_has_its_settings(capsys):
    assert app.main(["demo", "--task=classification", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, value in configs.DEMOS["classification"].settings.items():
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        assert any(f"--config.{name}={shown}" in line for line in lines)
    assert any("--config.pooling=attention" in line for line in lines)


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "export", "demo"])
def test_help_of_each_command_names_its_flags(command, capsys):
    assert app.main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    for flag in app.FLAGS[command]:
        assert f"--{flag}=" in shown
    assert ("--config.search.KEY=VALUE" in shown) == (command in ("evaluate", "predict", "export"))


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["trian"], "there is no command trian; did you mean train?"),
        (["train", "--tsk=classification"], "did you mean task?"),
        (["train", "--workdir=w"], "--task is missing"),
        (["train", "--task=clasification", "--workdir=w"], "did you mean classification?"),
        (["train", "--task=classification"], "--workdir is missing"),
        (["train", "--task=classification", "--workdir=w", "stray"], "'stray' is not a flag"),
        (["train", "--task=classification", "--workdir"], "--workdir needs a value"),
        (
            ["train", "--task=classification", "--workdir=w", "--config.unit=3"],
            "there is no config key unit; did you mean units?",
        ),
        (
            ["train", "--task=classification", "--workdir=w", "--config.txet=3"],
            "did you mean data.text?",
        ),
        (
            ["train", "--task=classification", "--workdir=w", "--config.units=many"],
            "--config.units=many: it must be a whole number",
        ),
        (
            ["train", "--task=classification", "--workdir=w", "--config.dropout=lots"],
            "--config.dropout=lots: it must be a number",
        ),
        (
            ["train", "--task=classification", "--workdir=w", "--config.lower=perhaps"],
            "--config.lower=perhaps: it must be true or false",
        ),
        (
            ["train", "--task=classification", "--workdir=w", "--config.units=0"],
            "--config.units=0: it must be at least 1",
        ),
        (
            ["train", "--task=classification", "--workdir=w", "--config.dropout=1.5"],
            "it must be at most 0.95",
        ),
        (
            ["train", "--task=classification", "--workdir=w", "--config.pooling=maximum"],
            "it must be one of attention, self_attention, max, mean, last; did you mean max?",
        ),
        (
            ["train", "--task=classification", "--workdir=w", "--dev_data=d.tsv"],
            "--dev_data is given without --train_data",
        ),
        (["predict", "--workdir=w", "--output_format=xml"], "one of jsonl, text, same"),
        (["export", "--workdir=w"], "--output is missing"),
        (["evaluate", "--workdir=/no/such/folder"], "/no/such/folder: does not exist"),
    ],
)
def test_a_mistake_is_one_line(arguments, expected, capsys):
    assert expected in error_of(capsys, *arguments)


def test_values_after_a_blank_are_read_too():
    typed, overrides = app._split(
        "train", ["--task", "classification", "--config.units", "3", "--workdir=w"]
    )
    assert typed == ["--task=classification", "--workdir=w"]
    assert overrides == {"units": "3"}


def test_overrides_keep_the_type_of_the_key():
    keys = configs.task_keys("classification")
    config = keys.config()
    app.override(
        config,
        keys,
        {"learning_rate": "1", "bidirectional": "false", "data.text": "a,b", "units": "7"},
    )
    assert config.learning_rate == 1.0 and isinstance(config.learning_rate, float)
    assert config.bidirectional is False
    assert config.data.text == "a,b"
    assert config.units == 7


def test_keys_of_training_cannot_change_afterwards():
    keys = configs.task_keys("classification")
    config = keys.config()
    app.override(config, keys, {"jit_compile": "false"}, live_only=True)
    assert config.jit_compile is False
    with pytest.raises(app.UsageError, match="belongs to training"):
        app.override(config, keys, {"units": "3"}, live_only=True)


def test_an_interrupted_command_says_so(monkeypatch, capsys):
    def stopped(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "_run", stopped)
    assert app.main(["predict"]) == 130
    assert capsys.readouterr().err == "keras-rnn: interrupted\n"


def test_sigterm_ends_a_command_in_order(monkeypatch, tmp_path):
    """Nothing half-written stays, and whoever called finds its own handler again."""
    before = signal.getsignal(signal.SIGTERM)

    def ended(arguments):
        with pipelines.atomic_write(tmp_path / "answers.jsonl") as file:
            file.write("half")
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(app, "_run", ended)
    with pytest.raises(SystemExit) as end:
        app.main(["predict"])
    assert end.value.code == 143 and not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before
