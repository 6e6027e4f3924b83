"""What README.md and then docs/serving.md tell a reader to type works: commands in order, then Python blocks."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The second goes on in the folder that the first leaves.
PAGES = [ROOT / "README.md", ROOT / "docs" / "serving.md"]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
# So small that the commands take seconds; the reader's own run has the defaults.
SMALL = ["--config.epochs=1", "--config.units=8", "--config.embedding_dim=8"]
PROGRAMS = {
    "keras-rnn": ["-m", "keras_rnn"],
    "python": [],
    "saved_model_cli": ["-m", "tensorflow.python.tools.saved_model_cli"],
}
ROWS = [("a warm and funny film", "1"), ("dull , slow and far too long", "0")] * 20


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The lines that call keras-rnn or what it exported, continued lines joined."""
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    lines = [line.partition("  #")[0].strip() for line in lines]
    called = ("keras-rnn ", "client.py", "saved_model_cli ")
    return [line for line in lines if any(name in line for name in called) and line[:3] != "pip"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reader's folder: train.tsv and dev.tsv, then whatever the README's commands leave there."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("train.tsv", "dev.tsv"):
        with open(folder / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t").writerows([("text", "label"), *ROWS])
    return folder


@pytest.fixture(scope="module")
def outputs(folder):
    """Standard output of each command, run in order."""
    outputs = {}
    for command in commands():
        if command.endswith("keras-rnn demo"):
            continue  # Takes two minutes; its parts have their own tests.
        before, _, called = command.rpartition(" | ")
        assert not before or before.startswith("echo "), command
        given = shlex.split(before)[1:]
        program, *arguments = shlex.split(called)
        program = PROGRAMS[program]
        arguments += SMALL if arguments[0] == "train" else []
        run = subprocess.run(
            [sys.executable, *program, *arguments],
            input=" ".join(given) + "\n",
            cwd=folder,
            env={**_environment(), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"
        outputs[command] = run.stdout
    return outputs


def _environment() -> dict[str, str]:
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def test_commands(outputs):
    trained, *_ = [command for command in outputs if "keras-rnn train" in command]
    asked, *_ = [command for command in outputs if "keras-rnn predict" in command]
    assert "--task=classification" in trained
    (client,) = [command for command in outputs if "client.py" in command]
    for command in (asked, client):
        assert '"label": "1"' in outputs[command] or '"label": "0"' in outputs[command]


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_block(number, folder, outputs, monkeypatch, forgets_registered_classes):
    block = blocks("python")[number].replace("train=20000", "train=200")
    monkeypatch.chdir(folder)
    if "saved_model.load" in block and "import keras_rnn" not in block:
        # As the README says: another process, which knows nothing of this package.
        check = block + "\nimport sys\nassert 'keras_rnn' not in sys.modules\n"
        subprocess.run([sys.executable, "-c", check], check=True, env=_environment())
    else:
        exec(compile(block, f"block {number}", "exec"), {"__name__": "readme"})  # noqa: S102
