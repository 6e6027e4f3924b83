"""The demonstration: train on built-in data, measure, ask, export, and use the export."""

import os
import tempfile

import ml_collections
import tensorflow as tf

import pipelines
from keras_rnn import configs, evaluate, export, train
from keras_rnn.reports import log
from keras_rnn.run import open_run

QUESTIONS = 12


def config(keys: configs.Keys) -> ml_collections.ConfigDict:
    """The config of the demonstration: a small network over characters."""
    settings = keys.config()
    with settings.unlocked():
        settings.update(
            tokenizer="characters",
            embedding_dim=32,
            units=64,
            epochs=8,
            batch_size=64,
            schedule="constant",
            average=0.0,
            max_shapes=3,
            dropout=0.1,
            word_dropout=0.0,
        )
    return settings


def demo(settings: ml_collections.ConfigDict, workdir: str = "") -> None:
    """Trains language identification and shows what came of it."""
    workdir = workdir or tempfile.mkdtemp(prefix="keras_rnn_demo_")
    log("Which language is it? Training on dates, times and lists of names from Babel's CLDR data.")
    train.train("classification", settings, workdir)
    run = open_run(workdir)
    test = run.workdir.read("data", "files.json")["test"]
    log(f"\nOn the test data, {test}:")
    evaluate.evaluate(run, test)
    target = os.path.join(run.workdir.path, "export")
    export.export(run, target)
    log("\nThe export answers (right answer first):")
    records = list(run.task.read(test))
    step = max(len(records) // QUESTIONS, 1)
    asked = records[::step][:QUESTIONS]
    answers = tf.saved_model.load(target).signatures["serving_default"](
        text=tf.constant([record["text"] for record in asked])
    )
    given = zip(answers["label"].numpy(), answers["probability"].numpy(), strict=True)
    for record, (label, probability) in zip(asked, given, strict=True):
        label = label.decode("utf-8")
        mark = "" if label == record["label"] else "  ✗"
        text = pipelines.cut_text(record["text"].replace("\n", " "), 60)
        log(f"  {record['label']:>4} {label:>4} {probability:.2f}  {text}{mark}")
    log(f"\ntensorboard --logdir {run.workdir.tensorboard}")
