"""What a training shows in a terminal, in TensorBoard, and of its steps' cost."""

import glob
import os
import pty
import re
import sys
import threading
import types

import pytest
import tensorflow as tf

from keras_rnn import app, reports
from keras_rnn.profiler import Profiler
from tests import small_data


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [
        f"--train_data={small_data.write_tsv(folder / 'train.tsv', small_data.rows(320))}",
        f"--dev_data={small_data.write_tsv(folder / 'dev.tsv', small_data.rows(30, seed=1))}",
    ]


def command(workdir, files, **settings) -> int:
    settings = small_data.overrides(**settings)
    return app.main(["train", "--task=classification", f"--workdir={workdir}", *files, *settings])


def in_terminal(monkeypatch, work) -> str:
    """What `work()` writes to a terminal of 200 columns."""
    master, slave = pty.openpty()
    pieces = []

    def read():
        try:
            while piece := os.read(master, 65536):
                pieces.append(piece)
        except OSError:  # Linux: the other side is closed.
            pass

    reader = threading.Thread(target=read)
    reader.start()
    monkeypatch.setenv("COLUMNS", "200")
    with open(slave, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        work()
        monkeypatch.undo()
    reader.join()
    os.close(master)
    return b"".join(pieces).decode("utf-8")


def test_the_bar_in_a_terminal(files, tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "BAR_INTERVAL", 0.0)
    shown = in_terminal(monkeypatch, lambda: command(tmp_path / "w", files, epochs=2, pictures=0))
    bars = [part.split("\r")[0] for part in shown.split("\r\x1b[K") if "━" in part or "─" in part]
    assert len(bars) == 2 * 20
    form = r"epoch (\d)/2 (━*)─* (\d+)/20, (\d+):(\d\d) left(.*)"
    read = [re.fullmatch(form, bar).groups() for bar in bars]
    assert [(int(epoch), int(batch)) for epoch, _, batch, *_ in read] == [
        (epoch, batch) for epoch in (1, 2) for batch in range(1, 21)
    ]
    for epoch, done, batch, minutes, seconds, figures in read:
        assert len(done) == int(batch)
        # Losses are looked at every ten steps; until then there is nothing to show.
        assert bool(figures) == (int(batch) >= 10)
        if figures:
            # The best score on dev stands there as soon as there is one.
            best = "" if epoch == "1" else r"best dev accuracy \d\.\d{4}, "
            wanted = rf": loss \d\.\d{{4}}, accuracy \d\.\d{{4}}, {best}[\d,]+ tokens/s"
            assert re.fullmatch(wanted, figures)
        if int(batch) == 20:
            assert (minutes, seconds) == ("0", "00")
    lines = [line.split("\x1b[K")[-1] for line in shown.splitlines()]
    assert sum(line.startswith("epoch 2/2: loss") for line in lines) == 1


def test_the_time_that_is_left(monkeypatch):
    """Two of ten batches in 6 s, of which 4 s were compilation: eight more take 8 s."""
    trainer = types.SimpleNamespace(
        state=types.SimpleNamespace(epoch=0, batch=0, best=None),
        config=types.SimpleNamespace(epochs=3),
        programs=types.SimpleNamespace(seconds=1.0),
        batches_per_epoch=10,
        metrics={},
        tokens=500,
    )
    clock = iter([100.0, 106.0, 106.0, 106.0])
    monkeypatch.setattr(reports.time, "perf_counter", lambda: next(clock))
    bar = reports.Bar(trainer)
    bar.on_epoch_begin(0)
    trainer.programs.seconds = 5.0
    assert bar.bar(2) == "epoch 1/3 ━━━━──────────────── 2/10, 0:08 left"
    bar.figures = bar._figures({"loss": 0.25})
    assert bar.bar(10) == f"epoch 1/3 {'━' * 20} 10/10, 0:00 left: loss 0.2500, 250 tokens/s"


def test_what_ends_a_training_stands_on_a_line_of_its_own(capsys):
    reports.Bar(types.SimpleNamespace()).on_train_end()
    assert capsys.readouterr().out == "\r\x1b[K"


def test_a_line_between_evaluations_has_loss_metrics_and_the_best_score(monkeypatch, capsys):
    trainer = types.SimpleNamespace(
        state=types.SimpleNamespace(epoch=1, best=0.75),
        task=types.SimpleNamespace(metric="f1"),
        batches_per_epoch=10,
        metrics={"accuracy": None},
    )
    clock = iter([0.0, 59.0, 61.0, 100.0])
    monkeypatch.setattr(reports.time, "perf_counter", lambda: next(clock))
    lines = reports.Lines(trainer, interval=60.0)
    lines.on_epoch_begin(1)
    for batch in range(3):
        lines.on_train_batch_end(batch, {"loss": 0.5, "gradient_norm": 2.0, "accuracy": 0.25})
    assert capsys.readouterr().out == (
        "  epoch 2, batch 2/10: loss 0.5000, accuracy 0.2500, best dev f1 0.7500\n"
    )


def tags(workdir) -> dict[str, list[int]]:
    """The steps at which each thing was shown, those at the end aside."""
    found = {}
    for path in glob.glob(f"{workdir}/tensorboard/*/*.tfevents.*"):
        for event in tf.compat.v1.train.summary_iterator(path):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    return found


def test_pictures_come_last_and_before_as_often_as_they_are_cheap(files, tmp_path, monkeypatch):
    """With nothing to spend the last of four evaluations has them, with all there is to spend each."""
    names = []
    for share, steps in ((0.0, [80]), (1e9, [20, 40, 60, 80])):
        monkeypatch.setattr(reports, "SHOWING_SHARE", share)
        workdir = tmp_path / str(share)
        assert command(workdir, files, epochs=4, pictures=1) == 0
        shown = tags(workdir)
        assert set(shown["loss"]) == {20, 40, 60, 80}
        for name in ("attention/0", "gates/0", "weights/logits/kernel", "gradients/logits/kernel"):
            assert shown[name] == steps, name
        names.append(set(shown))
    # Whatever other models the process has had.
    assert names[0] == names[1]


def test_some_steps_are_profiled(files, tmp_path, capsys):
    assert command(tmp_path / "w", files, profile_steps=3, pictures=0) == 0
    out = capsys.readouterr().out
    first, last, folder = re.search(r"profiled steps (\d+) to (\d+): (.*)", out).groups()
    assert int(last) == int(first) + 2 and int(first) > 10
    (trace,) = glob.glob(f"{folder}/*/*.xplane.pb")
    assert folder == f"{tmp_path}/w/tensorboard/plugins/profile"
    content = open(trace, "rb").read()
    assert content.count(b"step_num") >= 1 and b"train" in content
    # It changes nothing of the training, and may be asked of one that goes on.
    assert command(tmp_path / "w", files, epochs=4, pictures=0) == 0
    assert "profiled steps" not in capsys.readouterr().out


def test_too_few_steps_to_profile_are_said(files, tmp_path, capsys):
    assert command(tmp_path / "w", files, profile_steps=3, max_steps=5, pictures=0) == 0
    out = capsys.readouterr().out
    assert "profiled nothing: there were no 10 steps in a row that compiled nothing\n" in out
    assert not glob.glob(f"{tmp_path}/w/tensorboard/plugins/**/*.pb", recursive=True)


def test_a_profile_waits_until_nothing_is_compiled(monkeypatch):
    """Compiled in steps 1 and 5: ten quiet steps later, at the 16th, it begins."""
    calls = []
    profiler = types.SimpleNamespace(
        start=lambda folder: calls.append(("start", trainer.state.step)),
        stop=lambda: calls.append(("stop", trainer.state.step)),
        Trace=tf.profiler.experimental.Trace,
    )
    monkeypatch.setattr(tf.profiler, "experimental", profiler)
    trainer = types.SimpleNamespace(
        state=types.SimpleNamespace(step=0),
        programs=types.SimpleNamespace(count=0),
        workdir=types.SimpleNamespace(tensorboard=""),
    )
    callback = Profiler(trainer, 2)
    for step in range(1, 30):
        callback.on_train_batch_begin(step)
        trainer.programs.count += step in (1, 5)
        trainer.state.step += 1
        callback.on_train_batch_end(step)
    assert calls == [("start", 15), ("stop", 17)]


def test_the_start_line_says_what_was_not_read_as_it_is(files, tmp_path, capsys):
    rows = [
        {"text": text, "label": label} for text, label in (("a b c d", "x"), ("", "y"), (" ", "x"))
    ]
    data = small_data.write_tsv(tmp_path / "odd.tsv", rows * 2)
    flags = [f"--train_data={data}", f"--dev_data={data}"]
    assert command(tmp_path / "w", flags, epochs=0, max_length=3) == 0
    first = capsys.readouterr().out.splitlines()[0]
    # Both files count.
    assert first.endswith("; 8 empty (read as an unknown word), 4 cut to 3 tokens")
