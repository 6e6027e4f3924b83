"""What a training says while it goes on: lines, a bar, TensorBoard."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

import pipelines
from keras_rnn.events import drop_later
from keras_rnn.trainer import Trainer, sample

# Words that the projector gets.
PROJECTED_WORDS = 10_000

# Share of the training's time that histograms and pictures may take.
SHOWING_SHARE = 0.02

# Seconds that they are taken to need before they have been made once: the first time functions are traced for them.
SHOWING_SECONDS = 5.0

# Seconds between two drawings of the bar, and its width.
BAR_INTERVAL = 0.1
BAR_WIDTH = 20


def log(line: str) -> None:
    print(line, flush=True)


class Lines(keras.callbacks.Callback):
    """One line an evaluation, which is an epoch's end by default, and one a minute between: for logs and pipes."""

    def __init__(self, trainer: Trainer, interval: float = 60.0):
        super().__init__()
        self.trainer, self.interval = trainer, interval

    def on_epoch_begin(self, epoch, logs=None):
        self.start = self.last = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if now - self.last > self.interval and logs:
            self.last = now
            epoch = self.trainer.state.epoch + 1
            total = self.trainer.batches_per_epoch
            log(f"  epoch {epoch}, batch {batch + 1}/{total}: {self.figures_of(logs)}")

    def on_epoch_end(self, epoch, logs=None):
        log(self.line(epoch, logs))

    def figures_of(self, logs: dict[str, float]) -> str:
        """Loss and metrics of the batches so far, and the best score on dev as soon as there is one."""
        trainer = self.trainer
        shown = [f"{name} {logs[name]:.4f}" for name in ("loss", *trainer.metrics) if name in logs]
        if trainer.state.best is not None:
            shown.append(f"best dev {trainer.task.metric} {trainer.state.best:.4f}")
        return ", ".join(shown)

    def line(self, epoch: int, logs: dict[str, Any]) -> str:
        trainer = self.trainer
        metric = trainer.task.metric
        shown = [f"loss {logs['loss']:.4f}"]
        shown += [f"{name} {logs[name]:.4f}" for name in trainer.metrics if name in logs]
        shown += [f"dev loss {logs['dev_loss']:.4f}", f"dev {metric} {logs['dev_' + metric]:.4f}"]
        shown += [f"{name} {logs['dev_' + name]:.4f}" for name in trainer.task.beside]
        star = " (best)" if trainer.state.best_step == trainer.state.step else ""
        seconds = time.perf_counter() - self.start
        # The epoch is done, or the evaluation stands in its midst.
        batch = f", batch {trainer.state.batch}" if trainer.state.batch else ""
        return (
            f"epoch {epoch + 1}/{trainer.config.epochs}{batch}: {', '.join(shown)}{star}, {seconds:.1f} s, "
            f"{logs['tokens_per_second']:,.0f} tokens/s"
        )


class Bar(Lines):
    """A bar within the epoch, with the time that is left of it, then the epoch's line: for a terminal."""

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self.first = self.trainer.state.batch
        self.compiled = self.trainer.programs.seconds
        self.drawn = 0.0
        self.known, self.figures = {}, ""

    def on_train_batch_end(self, batch, logs=None):
        if logs != self.known:
            # New ones: the device has been waited for, and its tokens may be asked for.
            self.known, self.figures = logs, self._figures(logs)
        now = time.perf_counter()
        if now - self.drawn >= BAR_INTERVAL:
            self.drawn = now
            columns = shutil.get_terminal_size().columns - 1
            sys.stdout.write(f"\r\033[K{self.bar(batch + 1)[:columns]}")
            sys.stdout.flush()

    def on_epoch_end(self, epoch, logs=None):
        sys.stdout.write("\r\033[K")
        log(self.line(epoch, logs))

    def on_train_end(self, logs=None):
        # Whatever ended the epoch before its end is told on a line of its own.
        sys.stdout.write("\r\033[K")
        sys.stdout.flush()

    def bar(self, batch: int) -> str:
        """The bar after so many batches of the epoch."""
        trainer = self.trainer
        total = trainer.batches_per_epoch
        done = min(BAR_WIDTH, BAR_WIDTH * batch // total)
        left = self._seconds() / max(batch - self.first, 1) * max(total - batch, 0)
        return (
            f"epoch {trainer.state.epoch + 1}/{trainer.config.epochs} {'━' * done}{'─' * (BAR_WIDTH - done)} "
            f"{batch}/{total}, {_clock(left)} left{self.figures}"
        )

    def _seconds(self) -> float:
        """Since the epoch or its part began, without those of compilation."""
        compiling = self.trainer.programs.seconds - self.compiled
        return time.perf_counter() - self.start - compiling

    def _figures(self, logs: dict[str, float]) -> str:
        speed = int(self.trainer.tokens) / max(self._seconds(), 1e-9)
        return f": {self.figures_of(logs)}, {speed:,.0f} tokens/s"


class Board(keras.callbacks.Callback):
    """What TensorBoard shows: losses, metrics, learning rate and throughput, the spread of weights and gradients, and
    pictures of fixed dev examples.

    Curves have a point for each evaluation. The rest takes longer to make, and comes at the last, and before it as
    often as costs no more than `SHOWING_SHARE` of the time.
    """

    def __init__(self, trainer: Trainer, server_of: Callable[[], Any]):
        super().__init__()
        self.trainer = trainer
        self.server_of = server_of
        folder = trainer.workdir.tensorboard
        drop_later(folder, trainer.state.step)
        self.writers = {
            name: tf.summary.create_file_writer(os.path.join(folder, name))
            for name in ("train", "dev")
        }
        self.seen = {}
        self.began = time.perf_counter()
        # Seconds that histograms and pictures have taken, and those that they are taken to need once more.
        self.showing, self.needed = 0.0, SHOWING_SECONDS

    def on_train_batch_end(self, batch, logs=None):
        if not logs or logs.get("loss") == self.seen.get("loss"):
            return
        self.seen = dict(logs)
        step = self.trainer.state.step
        with self.writers["train"].as_default(step):
            _scalar("running/loss", logs["loss"])
            _scalar("running/gradient_norm", logs["gradient_norm"])
            rate = float(self.trainer.optimizer.learning_rate)
            tf.summary.scalar("running/learning_rate", rate)
        # A checkpoint may follow, and whoever goes on from it does not show this again.
        self.writers["train"].flush()

    def on_epoch_end(self, epoch, logs=None):
        step = self.trainer.state.step
        with self.writers["train"].as_default(step):
            for name, value in logs.items():
                if not name.startswith("dev_"):
                    _scalar(name, value)
            tf.summary.scalar("padding_share", self.trainer.train_batches.padding_share)
        with self.writers["dev"].as_default(step):
            for name, value in logs.items():
                if name.startswith("dev_"):
                    _scalar(name.removeprefix("dev_"), value)
        if self._is_affordable() or self.trainer.reason:
            start = time.perf_counter()
            with self.writers["train"].as_default(step):
                self._histograms()
            with self.writers["dev"].as_default(step):
                self._pictures()
            self.needed = time.perf_counter() - start
            self.showing += self.needed
        for writer in self.writers.values():
            writer.flush()

    def _is_affordable(self) -> bool:
        """Whether histograms and pictures, those of now and of the last evaluation counted, take but their share of
        the time.
        """
        expected = self.showing + 2 * self.needed
        return expected <= SHOWING_SHARE * (time.perf_counter() - self.began)

    def _histograms(self):
        trainer = self.trainer
        for number, variable in enumerate(trainer.model.trainable_variables):
            # Without the model's own name, which counts the models of a process.
            name = variable.path.partition("/")[2]
            tf.summary.histogram(f"weights/{name}", sample(variable.value))
            if trainer.gradients:
                tf.summary.histogram(f"gradients/{name}", trainer.gradients[number])

    def _pictures(self):
        trainer = self.trainer
        if not trainer.data.pictured:
            return
        with trainer.averaged():
            pictures = trainer.task.pictures(self.server_of(), trainer.data.pictured)
        for name, picture in pictures.items():
            if isinstance(picture, str):
                tf.summary.text(name, picture)
            else:
                tf.summary.image(name, picture)

    def on_train_end(self, logs=None):
        for writer in self.writers.values():
            writer.close()


def _clock(seconds: float) -> str:
    """As 0:07, 12:34 or 1:02:03.

    >>> _clock(7.2), _clock(3723)
    ('0:07', '1:02:03')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def show_result(
    folder: str, name: str, config: Mapping[str, Any], scores: Mapping[str, Any], step: int
) -> None:
    """The settings of a finished run with its scores, for TensorBoard's page that compares runs by their names."""
    for file in os.listdir(folder):
        if ".tfevents." in file:  # of an earlier end
            os.remove(os.path.join(folder, file))
    writer = tf.summary.create_file_writer(folder)
    with writer.as_default(step):
        hparams.hparams(dict(config), trial_id=name)
        for metric, score in scores.items():
            if isinstance(score, float):
                _scalar(f"best/{metric}", score)
    writer.close()


def show_words(folder: str, vectors: tf.Tensor, words: Sequence[str]) -> None:
    """The vectors of words for TensorBoard's projector.

    In a folder below which there is no other: there the projector would find the vectors without their words.
    """
    count = min(len(words), PROJECTED_WORDS)
    for name in os.listdir(folder):
        if name.startswith("words."):
            os.remove(os.path.join(folder, name))
    # Saved, not only written: the projector takes the latest checkpoint of the folder.
    saved = tf.train.Checkpoint(words=tf.Variable(vectors[:count]))
    saved.save(os.path.join(folder, "words.ckpt"))
    with pipelines.atomic_write(os.path.join(folder, "words.tsv")) as file:
        # A line each; the reader has no way to write one that is empty.
        for word in words[:count]:
            file.write((" ".join(word.split()) or repr(word)) + "\n")
    with pipelines.atomic_write(os.path.join(folder, "projector_config.pbtxt")) as file:
        file.write(
            "embeddings {\n"
            '  tensor_name: "words/.ATTRIBUTES/VARIABLE_VALUE"\n'
            '  metadata_path: "words.tsv"\n'
            "}\n"
        )


def _scalar(name: str, value: Any) -> None:
    # As float32 first: TensorFlow refuses a Python number that is too large for it.
    tf.summary.scalar(name, np.asarray(value, np.float64).astype(np.float32))
