"""The demonstration: train on built-in data, measure, export, ask the export, and look inside."""

import os
import tempfile
from collections.abc import Sequence

import ml_collections
import tensorflow as tf

import pipelines
from keras_rnn import configs, evaluate, export, train
from keras_rnn.reports import log
from keras_rnn.run import Run, open_run

QUESTIONS = 12
PICTURES = 3


def config(task: str, keys: configs.Keys) -> ml_collections.ConfigDict:
    """The config of a task's demonstration."""
    settings = keys.config()
    with settings.unlocked():
        for name, value in configs.DEMOS[task].settings.items():
            *groups, last = name.split(".")
            inner = settings
            for group in groups:
                inner = inner[group]
            inner[last] = value
    return settings


def demo(task: str, settings: ml_collections.ConfigDict, workdir: str = "") -> None:
    """Trains a task on its built-in data and shows what came of it."""
    shown = configs.DEMOS[task]
    workdir = workdir or tempfile.mkdtemp(prefix="keras_rnn_demo_")
    log(shown.about)
    train.train(task, settings, workdir)
    run = open_run(workdir)
    test = run.workdir.read("data", "files.json")["test"]
    log(f"\nOn the test data, {test}:")
    evaluate.evaluate(run, test)
    target = os.path.join(run.workdir.path, "export")
    export.export(run, target)
    records = list(run.task.read(test))
    records = records[:: max(len(records) // QUESTIONS, 1)][:QUESTIONS]
    log("\nThe export answers:")
    _ask(shown, records, target)
    if run.task.drawn:
        _draw(run, records[:PICTURES])
    log(f"\ntensorboard --logdir {run.workdir.tensorboard}")


def _ask(shown: configs.Demo, records: Sequence[pipelines.Record], export_folder: str) -> None:
    """Prints the export's answer to each record, the right one behind a wrong one."""
    answer = tf.saved_model.load(export_folder).signatures["serving_default"]
    read = tf.io.read_file if shown.files else tf.constant
    inputs = {
        name: tf.stack([read(record[field]) for record in records])
        for name, field in shown.inputs.items()
    }
    given = [label.decode("utf-8") for label in answer(**inputs)[shown.given].numpy()]
    width = max(10, *map(len, given))
    for record, label in zip(records, given, strict=True):
        right = record[shown.right]
        right = right if isinstance(right, list) else [right]
        wrong = "" if label in right else f"   ✗ {' or '.join(right)}"
        text = record[shown.shown]
        text = os.path.basename(text) if shown.files else " ".join(text.split())
        log(f"  {label:<{width}}   {pipelines.cut_text(text, 60)}{wrong}")


def _draw(run: Run, records: Sequence[pipelines.Record]) -> None:
    """Draws what the model looked at for some answers."""
    server = run.task.server(run.model)
    for number, answer in enumerate(server.explain(records), start=1):
        figure = run.task.draw(answer, pipelines.cut_text(run.task.as_text(answer), 60))
        if figure is not None:
            path = run.workdir.file(f"{run.task.drawn}-{number}.png")
            figure.savefig(path, dpi=150)
            log(f"{'What it looked at: ' if number == 1 else ' ' * 19}{path}")
