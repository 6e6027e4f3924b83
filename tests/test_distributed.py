"""Several replicas: two virtual devices in one process, and two processes that talk over the loopback."""

import contextlib
import glob
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import pipelines
from keras_rnn import app
from keras_rnn.replicas import make_replicas
from keras_rnn.workdir import Workdir
from tests import small_data

ROOT = Path(__file__).resolve().parents[1]


def pairs(number: int, seed: int) -> str:
    """Lines of one to six words, and the same backwards in another language."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(number):
        words = rng.integers(8, size=int(rng.integers(1, 7))).tolist()
        source, target = (
            " ".join(f"{x}{n}" for n in w) for x, w in (("w", words), ("v", words[::-1]))
        )
        lines.append(f"{source}\t{target}\n")
    return "".join(lines)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The flags of each task's command but for its workdir.

    15 rows do not divide by two, nor 100 examples by 15. So little dropout drops nothing, but has states that move.
    """
    folder = tmp_path_factory.mktemp("data")
    small_data.write_tsv(folder / "classification.train.tsv", small_data.rows(100))
    small_data.write_tsv(folder / "classification.dev.tsv", small_data.rows(30, seed=1))
    (folder / "translation.train.tsv").write_text(pairs(100, 0), encoding="utf-8")
    (folder / "translation.dev.tsv").write_text(pairs(20, 1), encoding="utf-8")
    tasks = {}
    for task in ("classification", "translation"):
        settings = small_data.SETTINGS | {"batch_size": 15, "epochs": 2, "max_shapes": 1}
        settings |= {"dropout": 1e-9, "pictures": 0}
        if task == "translation":
            settings |= {"metric": "loss", "dev_beam": 1, "search.beam": 1}
        tasks[task] = [
            "train",
            f"--task={task}",
            f"--train_data={folder / task}.train.tsv",
            f"--dev_data={folder / task}.dev.tsv",
            *(f"--config.{name}={value}" for name, value in settings.items()),
        ]
    return tasks


def without(arguments: list[str], **settings) -> list[str]:
    """The command with other settings."""
    prefixes = tuple(f"--config.{name}=" for name in settings)
    kept = [argument for argument in arguments if not argument.startswith(prefixes)]
    return kept + [f"--config.{name}={value}" for name, value in settings.items()]


def started(folder, arguments, devices=1, config=None) -> subprocess.Popen:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    if config is not None:
        environment["TF_CONFIG"] = json.dumps(config)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.worker", str(devices), str(folder), *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def two_workers(folder, arguments) -> list[subprocess.Popen]:
    """The same command in two processes."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("localhost", 0))
        addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    return [
        started(
            folder,
            [*arguments, "--config.distribute=multi_worker"],
            config={
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": number},
            },
        )
        for number in range(2)
    ]


def ended(process: subprocess.Popen) -> tuple[str, str]:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, out + error
    # TensorFlow's own notices, before it can be told to be still.
    lines = [line for line in error.splitlines() if line and line[0] not in "WI"]
    return out, "\n".join(lines)


def weights(folder, number: int) -> dict[str, np.ndarray]:
    return dict(np.load(os.path.join(folder, f"replica-{number}.npz")))


def last(folder) -> dict[str, np.ndarray]:
    """All that the last checkpoint goes on from."""
    return dict(np.load(os.path.join(Workdir(folder / "w").checkpoint("last"), "training.npz")))


def near(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]):
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-4, err_msg=name)


def same_but_for_noise(folder, wanted: dict[str, np.ndarray]):
    """Two replicas with the same weights, those that are wanted, and each with noise of its own."""
    first, second = (weights(folder, number) for number in range(2))
    noise = [name for name in first if name.endswith("/seed_generator_state")]
    assert len(noise) >= 2
    for name, value in first.items():
        if name in noise:
            (seed, draws), (other_seed, other_draws) = value, second[name]
            assert seed != other_seed and draws == other_draws > 0
        else:
            np.testing.assert_array_equal(value, second[name], err_msg=name)
    near(first, {name: value for name, value in wanted.items() if name.startswith("model/")})


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """Of each task the folder of a workdir that one process with one device has made."""
    folders = {}
    for task, arguments in data.items():
        folders[task] = tmp_path_factory.mktemp(task)
        assert app.main([*arguments, f"--workdir={folders[task] / 'w'}"]) == 0
    return folders


def same_scores(folder, other):
    got, wanted = (Workdir(one / "w").read("metrics.json") for one in (folder, other))
    assert got["loss"] == pytest.approx(wanted["loss"], abs=1e-4)
    for name in ("examples", "steps", "best_step", "train_examples"):
        of_each = [{**facts, **facts["training"]}[name] for facts in (got, wanted)]
        assert of_each[0] == of_each[1], name


def test_one_device_ends_as_none_named_does(data, alone, tmp_path):
    arguments = without(data["classification"], distribute="mirrored")
    assert app.main([*arguments, f"--workdir={tmp_path / 'w'}"]) == 0
    got, wanted = last(tmp_path), last(alone["classification"])
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_two_devices_end_as_one_does(data, alone, tmp_path):
    """With XLA within each replica."""
    arguments = without(data["classification"], jit_compile=True, distribute="mirrored")
    out, _ = ended(started(tmp_path, [*arguments, f"--workdir={tmp_path / 'w'}"], devices=2))
    assert "XLA on" in out and "2 replicas in 1 process" in out and "XLA programs" in out
    same_but_for_noise(tmp_path, last(alone["classification"]))
    same_scores(tmp_path, alone["classification"])
    near(last(tmp_path), last(alone["classification"]))


@pytest.mark.parametrize(
    "task", ["classification", pytest.param("translation", marks=pytest.mark.full)]
)
def test_two_processes_end_as_one_does_and_the_chief_alone_writes(task, data, alone, tmp_path):
    chief, other = two_workers(tmp_path, [*data[task], f"--workdir={tmp_path / 'w'}"])
    out, _ = ended(chief)
    assert ended(other) == ("", "")
    assert "2 replicas in 2 processes" in out and "finished: epochs=2 is reached" in out
    same_but_for_noise(tmp_path, last(alone[task]))
    same_scores(tmp_path, alone[task])
    # A checkpoint of one process, sums of metrics included: either can go on with the other's.
    near(last(tmp_path), last(alone[task]))
    written = [os.path.basename(f) for f in glob.glob(f"{tmp_path}/w/tensorboard/*/*tfevents*")]
    assert len(written) == 2 and all(f".{chief.pid}." in name for name in written)


@pytest.mark.full
@pytest.mark.parametrize("victim", [0, 1])
def test_a_worker_is_killed_and_the_same_command_goes_on(victim, data, tmp_path):
    """The weights at the end are those of two workers that nobody disturbed, bit for bit, noise included."""
    arguments = without(
        data["classification"], epochs=8, patience=0, dropout=0.2, checkpoint_seconds=0.05
    )
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
    for process in two_workers(undisturbed, [*arguments, f"--workdir={undisturbed / 'w'}"]):
        ended(process)
    arguments = [*arguments, f"--workdir={disturbed / 'w'}"]
    workers = two_workers(disturbed, arguments)
    while line := workers[0].stdout.readline():
        if line.startswith("epoch 3/"):
            break
    time.sleep(0.3)
    workers[victim].kill()
    _, error = workers[1 - victim].communicate(timeout=120)
    assert workers[1 - victim].returncode == 1, error
    assert "another worker is lost; the same command on all of them goes on" in error
    assert "Traceback" not in error
    workers[victim].communicate()
    out, _ = [ended(process) for process in two_workers(disturbed, arguments)][0]
    assert "going on after epoch" in out
    for number in range(2):
        got, wanted = (weights(folder, number) for folder in (disturbed, undisturbed))
        for name, value in wanted.items():
            np.testing.assert_array_equal(got[name], value, err_msg=name)


@pytest.mark.full
def test_who_interrupts_one_worker_ends_all_of_them(data, tmp_path):
    arguments = without(data["classification"], epochs=1000, patience=0)
    workers = two_workers(tmp_path, [*arguments, f"--workdir={tmp_path / 'w'}"])
    while line := workers[0].stdout.readline():
        if line.startswith("epoch 2/"):
            break
    workers[1].send_signal(signal.SIGINT)
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [130, 130], errors
    assert all("interrupted; the same command goes on from step" in error for error in errors)


CLUSTER = {"worker": ["a:1", "b:2"]}
BAD_CONFIGS = {
    "": "TF_CONFIG is not set",
    "{worker}": "TF_CONFIG is not JSON (Expecting property name enclosed in double quotes",
    "[]": "TF_CONFIG has no cluster",
    "{}": "TF_CONFIG has no cluster",
    '{"cluster": {}}': "TF_CONFIG has no cluster",
    '{"cluster": {"ps": ["a:1"], "worker": ["b:2"]}}': "TF_CONFIG has ps in its cluster",
    '{"cluster": {"worker": "a:1"}}': "TF_CONFIG has no list of addresses for worker",
    '{"cluster": {"worker": ["a"]}}': "TF_CONFIG has 'a' for worker, not HOST:PORT",
    '{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}': "several chiefs",
    json.dumps({"cluster": CLUSTER}): "TF_CONFIG has no task with type and index",
    json.dumps(
        {"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}
    ): "TF_CONFIG has the task worker 2, which is not in its cluster",
    json.dumps(
        {"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}
    ): "TF_CONFIG has the task chief 0, which is not in its cluster",
}


@pytest.mark.parametrize("config", BAD_CONFIGS)
def test_what_is_wrong_with_tf_config_is_said_in_a_line(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(pipelines.InputError) as error:
        make_replicas("multi_worker", print)
    assert BAD_CONFIGS[config] in str(error.value)
    assert 'it must be like {"cluster": {"worker"' in str(error.value)


def test_without_tf_config_nothing_is_written(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    arguments = ["train", "--task=classification", f"--workdir={tmp_path / 'w'}"]
    assert app.main([*arguments, "--config.distribute=multi_worker"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("keras-rnn: --config.distribute=multi_worker: TF_CONFIG is not set")
    assert error.count("\n") == 1 and not (tmp_path / "w").exists()
