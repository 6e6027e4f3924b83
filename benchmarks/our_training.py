"""Whole trainings by this package: its readers, its store, its batches, the steps of its trainer."""

import itertools
import tempfile
from collections.abc import Callable

import keras

import pipelines
from benchmarks.texts import SETTINGS, Texts
from keras_rnn import configs
from keras_rnn.examples import Data, write_examples
from keras_rnn.programs import Programs
from keras_rnn.tasks import make_task
from keras_rnn.trainer import Trainer
from keras_rnn.workdir import Workdir


def training(task: str, folder: str, seed: int = 0, crf: bool = True) -> Callable[[], None]:
    """One run: the files read and encoded, then an epoch of steps."""
    texts = Texts(task, folder)
    config = configs.task_keys(task).config()
    config.update(SETTINGS[task])
    if task == "tagging":
        config.crf = crf
    keras.utils.set_random_seed(seed)
    job = make_task(task, config)
    files = ",".join(texts.files)
    job.fit(lambda: itertools.chain(job.read(files), _whole_vocabulary(texts)))
    workdir = Workdir(tempfile.mkdtemp(prefix="training-"))
    model = job.build_model()
    programs = Programs(config.jit_compile)
    epochs = itertools.count()

    def store() -> pipelines.ExampleStore:
        encoded = job.encode(job.read(files), training=True)
        return write_examples(workdir.file("train"), encoded, job, {}, files)

    few = store()
    trainer = Trainer(job, model, workdir, Data(few, few, {}, []), programs)

    def run() -> None:
        batches = job.batches(store(), training=True)
        for number, batch in enumerate(trainer.replicas.epoch(batches, next(epochs))):
            losses, _ = trainer.step([batch])
            if number % 10 == 0:
                losses[0].numpy()
        losses[0].numpy()
        run.facts = {
            "programs": programs.count,
            "compile_seconds": programs.seconds,
            "shapes": len(batches.shapes),
            "batches": batches.num_batches(),
        }

    return run


def _whole_vocabulary(texts: Texts):
    """Records with every word of the vocabulary, so that the embeddings have all their rows."""
    words, other = texts.words, texts.examples()[0][1]
    for start in range(0, len(words), 100):
        some = words[start : start + 100]
        if texts.task == "classification":
            yield pipelines.Record({"text": " ".join(some), "label": other[0]})
        elif texts.task == "tagging":
            yield pipelines.Record({"tokens": some, "tags": [other[0]] * len(some)})
        else:
            yield pipelines.Record({"source": " ".join(some), "target": other[0]})
