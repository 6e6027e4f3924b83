"""Trainings that are killed, interrupted and started again, in processes of their own."""

import functools
import glob
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_rnn.events import drop_later
from keras_rnn.workdir import Workdir
from tests import small_data

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    "batch_size": 8,
    "patience": 0,
    "average": 0.9,
    "checkpoint_seconds": 0.05,
    "dropout": 0.2,
    "pictures": 1,
    "max_shapes": 2,
}


def started(workdir, files, epochs) -> subprocess.Popen:
    arguments = ["--task=classification", f"--workdir={workdir}", *files]
    overrides = small_data.overrides(**SETTINGS, epochs=epochs)
    return subprocess.Popen(
        [sys.executable, "-m", "keras_rnn", "train", *arguments, *overrides],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def scalars(workdir) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """The points of each curve in the order in which they were written."""
    found = {}
    for path in sorted(glob.glob(os.path.join(workdir, "tensorboard", "*", "*tfevents*"))):
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    name = (os.path.basename(os.path.dirname(path)), value.tag)
                    number = float(tf.make_ndarray(value.tensor))
                    found.setdefault(name, []).append((event.step, number))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [
        f"--train_data={small_data.write_tsv(folder / 'train.tsv', small_data.rows(400))}",
        f"--dev_data={small_data.write_tsv(folder / 'dev.tsv', small_data.rows(50, seed=1))}",
    ]


@pytest.fixture(scope="module")
def undisturbed(files, tmp_path_factory):
    """The run of so many epochs that nobody disturbs."""

    @functools.cache
    def run(epochs):
        workdir = tmp_path_factory.mktemp("undisturbed") / "w"
        process = started(workdir, files, epochs)
        out, error = process.communicate()
        assert process.returncode == 0, out + error
        return workdir

    return run


def same_end(workdir, undisturbed):
    runs = [Workdir(workdir), Workdir(undisturbed)]
    for which in ("last", "best"):
        ends = [dict(np.load(os.path.join(run.checkpoint(which), "training.npz"))) for run in runs]
        assert ends[0].keys() == ends[1].keys()
        for name, value in ends[0].items():
            np.testing.assert_array_equal(value, ends[1][name], err_msg=name)
    facts = [run.read("metrics.json") for run in runs]
    assert facts[0]["loss"] == facts[1]["loss"]
    assert facts[0]["training"]["best_step"] == facts[1]["training"]["best_step"]
    got, wanted = (scalars(run.path) for run in runs)
    for name, points in wanted.items():
        if name[1].endswith("_per_second"):
            continue
        # Whoever is interrupted shows where; the rest is there once, and the same.
        assert set(points) <= set(got[name]), name
        steps = [step for step, _ in got[name]]
        assert steps == sorted(set(steps)), name


@pytest.mark.parametrize(
    ("kills", "how", "epochs"),
    [
        (1, signal.SIGKILL, 12),
        pytest.param(1, signal.SIGINT, 12, marks=pytest.mark.full),
        pytest.param(50, signal.SIGKILL, 400, marks=pytest.mark.full),
    ],
)
def test_ended_at_any_moment_it_goes_on(kills, how, epochs, files, undisturbed, tmp_path):
    generator = random.Random(kills)
    workdir = tmp_path / "w"
    killed = 0
    for _ in range(kills):
        process = started(workdir, files, epochs)
        lines = []
        # Its first line comes before the first compilation.
        while line := process.stdout.readline():
            lines.append(line)
            if line.startswith("batches of"):
                break
        time.sleep(generator.uniform(1.0, 5.0))
        process.send_signal(how)
        _, error = process.communicate()
        # A signal may come when all is done and the interpreter ends.
        if process.returncode == 0 or Workdir(str(workdir)).read("metrics.json", default={}):
            break
        assert process.returncode == (130 if how == signal.SIGINT else -how), error
        killed += 1
        if how == signal.SIGINT:
            assert "the same command goes on from step" in error and error.count("\n") == 1
    if epochs > 12:  # so many that no machine comes to the end before
        assert killed == kills
    process = started(workdir, files, epochs)
    out, error = process.communicate()
    assert process.returncode == 0, out + error
    same_end(workdir, undisturbed(epochs))
    assert not list(workdir.rglob("*.part"))


# Before which file of a workdir, when it is opened for writing or renamed, a training is killed: the vocabulary, the
# examples, a checkpoint, the index that names it, the scores.
MOMENTS = (
    "vocabulary.json",
    "examples/.train",
    "examples/facts.json",
    "training.npz",
    "checkpoints/step-00000020",
    "checkpoints/index.json",
    "calibration.json",
    "metrics.json",
)

KILLER = """
import os, signal, sys
wanted = os.environ["KILLED_BEFORE"]
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & os.O_WRONLY:
        path = arguments[0]
    elif event == "os.rename":
        path = os.fspath(arguments[1])
    else:
        return
    if wanted in path:
        os.kill(os.getpid(), signal.SIGKILL)
if wanted:
    sys.addaudithook(watch)
from keras_rnn.app import main
sys.exit(main())
"""


@pytest.mark.full
def test_killed_while_it_writes(files, undisturbed, tmp_path):
    workdir = tmp_path / "w"
    settings = small_data.overrides(**SETTINGS, epochs=12)
    command = ["train", "--task=classification", f"--workdir={workdir}", *files, *settings]
    for moment in (*MOMENTS, ""):
        done = subprocess.run(
            [sys.executable, "-c", KILLER, *command],
            cwd=ROOT,
            env={**os.environ, "KILLED_BEFORE": moment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == (-signal.SIGKILL if moment else 0), (moment, done.stderr)
    same_end(workdir, undisturbed(12))
    assert not list(workdir.rglob("*.part"))


def test_points_after_a_step_are_dropped_and_a_torn_end_does_not_matter(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path / "train"))
    with writer.as_default():
        for step in range(1, 8):
            tf.summary.scalar("loss", float(step), step)
    writer.close()
    (path,) = glob.glob(str(tmp_path / "train" / "*"))
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[:-5])
    drop_later(str(tmp_path), 4)
    os.makedirs(tmp_path / "tensorboard")
    os.rename(tmp_path / "train", tmp_path / "tensorboard" / "train")
    assert scalars(tmp_path) == {("train", "loss"): [(n, float(n)) for n in (1, 2, 3, 4)]}
    before = json.dumps(sorted(os.listdir(tmp_path / "tensorboard" / "train")))
    drop_later(str(tmp_path), 9)
    assert json.dumps(sorted(os.listdir(tmp_path / "tensorboard" / "train"))) == before
