"""Training: the one loop of the house, for every task."""

import collections
import dataclasses
import importlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

import keras_rnn
import pipelines
from keras_rnn import configs
from keras_rnn.programs import Programs, device_name
from keras_rnn.tasks import Task, make_task
from keras_rnn.workdir import Workdir

DEV_SHARE = 0.1

# Steps after which losses are looked at: looking waits for the device.
LOOK_EVERY = 10


@dataclasses.dataclass
class Data:
    """The encoded examples of a run, and what was cut on the way."""

    train: pipelines.ExampleStore
    dev: pipelines.ExampleStore
    cut: dict[str, int]
    fixed: list[pipelines.Record]


@dataclasses.dataclass
class Run:
    """A run that has been trained: its task, its model with the best weights, its folder."""

    workdir: Workdir
    task: Task
    model: keras.Model
    config: ml_collections.ConfigDict
    programs: Programs


@dataclasses.dataclass
class State:
    """Where a run stands; it lies beside each checkpoint."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    best_step: int = 0
    epochs_without_better: int = 0
    seconds: float = 0.0


def log(line: str) -> None:
    print(line, flush=True)


# Data


def split(strata: Iterable[str], seed: int, share: float = DEV_SHARE) -> np.ndarray:
    """Which of the examples a dev set takes: bool [examples], the same share of each stratum, by a seeded draw."""
    numbers: dict[str, int] = {}
    strata = np.fromiter((numbers.setdefault(name, len(numbers)) for name in strata), np.int32)
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(strata), bool)
    grouped = np.split(
        np.argsort(strata, kind="stable"), np.cumsum(np.bincount(strata, minlength=1))[:-1]
    )
    # What rounding takes from one stratum it gives to the next, so that many small strata get their share too.
    owed = 0.0
    for name in sorted(numbers):
        members = grouped[numbers[name]]
        owed += share * len(members)
        count = min(int(round(owed)), len(members) - 1)
        owed -= count
        chosen[rng.permutation(members)[:count]] = True
    if not chosen.any():
        # A tenth is less than one example; the only one of its stratum stays in training all the same.
        several = [members for members in grouped if len(members) > 1]
        if several:
            chosen[rng.choice(max(several, key=len))] = True
    return chosen


def prepare_data(task: Task, workdir: Workdir, train_data: str, dev_data: str, seed: int) -> Data:
    """Encodes the data into the workdir, or opens what an earlier call has encoded.

    A run that goes on keeps its vocabulary, also where a data file was touched since.
    """
    if not train_data:
        files = workdir.read("data", "files.json")
        if files is None:
            os.makedirs(workdir.data, exist_ok=True)
            files = task.built_in_data(workdir.data)
            workdir.write(files, "data", "files.json")
        train_data, dev_data = files["train"], files["dev"]
    source = {
        "files": [_fingerprint(files) for files in (train_data, dev_data)],
        "config": configs.flatten(task.config),
        "seed": seed,
    }
    for name in configs.config.CONTINUABLE:
        source["config"].pop(name)
    facts = workdir.read("examples", "facts.json", default={})
    if workdir.exists():
        task.load(workdir.path, calibrated=False)
    if facts.get("source") != source:
        facts = _encode_data(task, workdir, train_data, dev_data, seed)
        facts["source"] = source
        workdir.write(facts, "examples", "facts.json")
    elif not workdir.exists():
        task.load(workdir.path, calibrated=False)
    fixed = [pipelines.Record(fields) for fields in facts["fixed"]]
    stores = [
        pipelines.ExampleStore(os.path.join(workdir.examples, name)) for name in ("train", "dev")
    ]
    return Data(*stores, facts["cut"], fixed)


def _fingerprint(files: str) -> list:
    """Names, sizes and times of files: whether they are still what was encoded."""
    if not files:
        return []
    found = []
    for file in pipelines.expand(files):
        if file == "-":
            raise pipelines.InputError("standard input cannot be trained on: it is read twice")
        if os.path.exists(file):
            stat = os.stat(file)
            found.append([os.path.abspath(file), stat.st_size, stat.st_mtime_ns])
        else:
            found.append([file])
    return found


def _encode_data(
    task: Task, workdir: Workdir, train_data: str, dev_data: str, seed: int
) -> dict[str, Any]:
    in_dev = None
    if not dev_data:
        in_dev = split((task.stratum(record) for record in task.read(train_data)), seed)
        if not in_dev.any():
            raise pipelines.InputError(
                "has too few examples to split a dev set off; give --dev_data", train_data
            )

    counts = collections.Counter()

    def train_records(counts: collections.Counter | None = None) -> Iterator[pipelines.Record]:
        for number, record in enumerate(task.read(train_data, counts)):
            if in_dev is None or not in_dev[number]:
                yield record

    fixed = []

    def dev_records() -> Iterator[pipelines.Record]:
        # What was cut of a file is counted once.
        records = task.read(dev_data, counts) if dev_data else task.read(train_data)
        for number, record in enumerate(records):
            if in_dev is None or in_dev[number]:
                if len(fixed) < task.config.pictures:
                    fixed.append(dict(record))
                yield record

    if not workdir.exists():
        task.fit(train_records)
        task.save(workdir.path)
    for name, records in (("train", train_records(counts)), ("dev", dev_records())):
        folder = os.path.join(workdir.examples, name)
        pipelines.write_store(folder, task.encode(records, counts), task.columns)
    return {"cut": dict(counts), "fixed": fixed}


# The loop


@keras.saving.register_keras_serializable(package="keras_rnn")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate by step: a rise from 0 over the warm-up, then one of four courses.

        constant        peak
        linear          peak · (1 - p)
        cosine          peak · (1 + cos πp) / 2
        inverse_sqrt    peak · sqrt(w / step)

    with p the share of the steps after the warm-up that are done, and w = max(warmup_steps, 1).

    Arguments:
        kind: the course.
        peak: the highest rate.
        warmup_steps: steps of the rise.
        total_steps: steps of the whole training.
    """

    def __init__(self, kind: str, peak: float, warmup_steps: int, total_steps: int):
        self.kind = kind
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        warmup = float(self.warmup_steps)
        rise = tf.minimum((step + 1.0) / max(warmup, 1.0), 1.0)
        share = tf.clip_by_value((step - warmup) / max(self.total_steps - warmup, 1.0), 0.0, 1.0)
        course = {
            "constant": 1.0,
            "linear": 1.0 - share,
            "cosine": 0.5 * (1.0 + tf.cos(math.pi * share)),
            "inverse_sqrt": tf.sqrt(max(warmup, 1.0) / tf.maximum(step + 1.0, max(warmup, 1.0))),
        }[self.kind]
        return self.peak * rise * course

    def get_config(self):
        return {
            "kind": self.kind,
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


def make_optimizer(
    config: ml_collections.ConfigDict, total_steps: int, model: keras.Model
) -> keras.optimizers.Optimizer:
    """Keras's optimizer with the schedule and the clipping of the config; with loss scaling where float16 needs it."""
    shared = {
        "learning_rate": Schedule(
            config.schedule, config.learning_rate, config.warmup_steps, total_steps
        ),
        "global_clipnorm": config.clip_norm or None,
        "weight_decay": config.weight_decay or None,
    }
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=0.9, nesterov=True, **shared)
    elif config.optimizer == "adamw":
        shared["weight_decay"] = config.weight_decay
        optimizer = keras.optimizers.AdamW(**shared)
    else:
        optimizer = keras.optimizers.Adam(**shared)
    # As `compile` does.
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer


class Trainer:
    """Steps, epochs, judging, checkpoints.

    A step is two compiled programs: the gradients of a batch, and their application; between them a strategy
    can reduce.
    The gradients are those of Σ weight · loss / rows, and the weights' sum travels with them, so that the sum over
    replicas divided by the sum of weights is the gradient of the mean loss, however the rows are spread.
    """

    def __init__(
        self,
        task: Task,
        model: keras.Model,
        workdir: Workdir,
        data: Data,
        programs: Programs,
    ):
        self.task, self.model, self.workdir, self.data = task, model, workdir, data
        self.config = config = task.config
        self.programs = programs
        self.state = State()
        self.train_batches = task.batches(data.train, training=True)
        self.dev_batches = task.batches(data.dev, training=False)
        self.steps_per_epoch = self.train_batches.num_batches(0)
        self.total_steps = config.epochs * self.steps_per_epoch
        if config.max_steps:
            self.total_steps = min(self.total_steps, config.max_steps)
        self.optimizer = make_optimizer(config, self.total_steps, model)
        self.variables = [variable.value for variable in model.trainable_variables]
        self.averages = []
        if config.average:
            self.averages = [tf.Variable(v, trainable=False) for v in self.variables]
        self.loss_metric = keras.metrics.Mean(name="loss")
        self.metrics = task.training_metrics()
        self.tokens = tf.Variable(0, dtype=tf.int64)
        self.examples = tf.Variable(0, dtype=tf.int64)
        # Examples, real tokens and seconds of all epochs, compilation left out.
        self.totals = np.zeros(3)
        self.gradient_step = programs.compile(self._gradients, "the gradients")
        self.apply_step = programs.compile(self._apply, "the update")
        self.forward = programs.compile(
            lambda batch: task.loss(model, batch, training=False), "the evaluation"
        )

    # Compiled

    def _gradients(self, batch):
        with tf.GradientTape() as tape:
            losses, weights, outputs = self.task.loss(self.model, batch, training=True)
            weights = tf.cast(weights, tf.float32)
            # A filler's loss is multiplied by 0, and must be a number for that.
            losses = tf.where(weights > 0, tf.cast(losses, tf.float32), 0.0)
            rows = tf.cast(tf.size(losses), tf.float32)
            weight = tf.reduce_sum(weights) / rows
            loss = tf.reduce_sum(losses * weights) / rows
            total = loss
            if self.model.losses:
                total += weight * tf.add_n([tf.cast(x, tf.float32) for x in self.model.losses])
            scaled = self.optimizer.scale_loss(total)
        gradients = tape.gradient(scaled, self.variables)
        # Dense, so that the update is one program whatever the batch's shape was.
        gradients = [
            tf.zeros_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(gradients, self.variables, strict=True)
        ]
        mean = total / tf.maximum(weight, 1e-9)
        self.loss_metric.update_state(mean, sample_weight=weight * rows)
        self.task.update_metrics(self.metrics, batch, outputs)
        self.tokens.assign_add(tf.cast(self.task.real_tokens(batch), tf.int64))
        self.examples.assign_add(tf.math.count_nonzero(batch["real"]))
        return gradients, weight, mean

    def _apply(self, gradients, weight):
        weight = tf.maximum(weight, 1e-9)
        gradients = [gradient / weight for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            norm /= tf.cast(self.optimizer.scale_loss(1.0), tf.float32)
        self.optimizer.apply(gradients)
        if self.averages:
            step = tf.cast(self.optimizer.iterations.value, tf.float32)
            # The first steps weigh little later on: the average begins as a plain one.
            decay = tf.minimum(self.config.average, (1.0 + step) / (10.0 + step))
            for average, variable in zip(self.averages, self.variables, strict=True):
                average.assign(decay * average + (1.0 - decay) * variable)
        return norm

    # Steps

    def step(self, batch) -> tuple[tf.Tensor, tf.Tensor]:
        """One update; gives the batch's mean loss and the gradients' norm."""
        gradients, weight, loss = self.gradient_step(batch)
        strategy = self.programs.strategy
        if strategy.num_replicas_in_sync > 1:
            gradients, weight = strategy.reduce("SUM", (gradients, weight), axis=None)
        norm = self.apply_step(gradients, weight)
        return loss, norm

    def run(self, callbacks: list[keras.callbacks.Callback]) -> str:
        """Trains until an end is reached; says which."""
        config, state = self.config, self.state
        self.model.stop_training = False
        callbacks = keras.callbacks.CallbackList(
            callbacks,
            model=self.model,
            epochs=config.epochs,
            steps=self.steps_per_epoch,
            verbose=0,
        )
        callbacks.on_train_begin()
        reason = self._reason()
        while not reason:
            start = time.perf_counter()
            callbacks.on_epoch_begin(state.epoch)
            logs, whole = self._epoch(callbacks)
            state.seconds += time.perf_counter() - start
            judged = self.judge()
            # Keras's list of callbacks takes plain numbers alone.
            scores = {name: value for name, value in judged.items() if isinstance(value, float)}
            logs.update({f"dev_{name}": value for name, value in scores.items()})
            self._finite(judged["loss"], "the dev loss")
            better = self._is_better(judged[self.task.metric])
            if better:
                state.best = judged[self.task.metric]
                state.best_epoch, state.best_step = state.epoch + 1, state.step
                state.epochs_without_better = 0
            elif whole:
                state.epochs_without_better += 1
            finished = state.epoch
            if whole:
                state.epoch, state.batch = state.epoch + 1, 0
            reason = self._reason()
            self.save(better, reason)
            callbacks.on_epoch_end(finished, logs)
            if self.model.stop_training and not reason:
                reason = "a callback ended it"
        callbacks.on_train_end()
        return reason

    def _reason(self) -> str:
        config, state = self.config, self.state
        if config.max_steps and state.step >= config.max_steps:
            return f"max_steps={config.max_steps} is reached"
        if state.epoch >= config.epochs:
            return f"epochs={config.epochs} is reached"
        if config.patience and state.epochs_without_better >= config.patience:
            return f"{config.patience} epochs brought no better dev {self.task.metric}"
        return ""

    def _epoch(self, callbacks) -> tuple[dict[str, float], bool]:
        """Trains to the end of the epoch or the last step; gives the epoch's logs and whether it is whole."""
        config, state = self.config, self.state
        for metric in (self.loss_metric, *self.metrics.values()):
            metric.reset_state()
        self.tokens.assign(0)
        self.examples.assign(0)
        compiling = self.programs.seconds
        start = time.perf_counter()
        losses, norms, logs = [], [], {}
        for batch in self.train_batches.epoch(state.epoch, start_batch=state.batch):
            callbacks.on_train_batch_begin(state.batch)
            loss, norm = self.step(batch)
            losses.append(loss)
            norms.append(norm)
            state.step += 1
            state.batch += 1
            at_end = bool(config.max_steps) and state.step >= config.max_steps
            if len(losses) == LOOK_EVERY or state.batch == self.steps_per_epoch or at_end:
                self._look(losses)
                logs = {"loss": float(self.loss_metric.result())}
                logs.update({n: float(metric.result()) for n, metric in self.metrics.items()})
                logs["gradient_norm"] = float(norms[-1])
                losses.clear()
                norms.clear()
            callbacks.on_train_batch_end(state.batch - 1, logs)
            if at_end or self.model.stop_training:
                break
        seconds = time.perf_counter() - start - (self.programs.seconds - compiling)
        self.totals += [int(self.examples), int(self.tokens), seconds]
        logs["learning_rate"] = float(self.optimizer.learning_rate)
        logs["examples_per_second"] = int(self.examples) / max(seconds, 1e-9)
        logs["tokens_per_second"] = int(self.tokens) / max(seconds, 1e-9)
        return logs, state.batch >= self.train_batches.num_batches(state.epoch)

    def _look(self, losses: list[tf.Tensor]) -> None:
        values = np.array([float(loss) for loss in losses])
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            step = self.state.step - len(losses) + int(bad[0]) + 1
            self._finite(values[bad[0]], "the loss", step)

    def _finite(self, value: float, what: str, step: int | None = None) -> None:
        if math.isfinite(value):
            return
        last = self.workdir.checkpoint("last")
        kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        raise pipelines.InputError(
            f"{what} became {value} at step {step or self.state.step}; {kept}; a smaller "
            "--config.learning_rate may help (the same command with it goes on from there)"
        )

    def _is_better(self, score: float) -> bool:
        if self.state.best is None:
            return True
        return score > self.state.best if self.task.higher_is_better else score < self.state.best

    def judge(self) -> dict[str, Any]:
        """The evaluate object of dev, under the averaged weights where weights are averaged."""
        with self.averaged():
            return self.task.judge(self.forward, self.dev_batches)

    def throughput(self) -> dict[str, float]:
        """Examples and real tokens a second over this call's epochs, compilation left out."""
        examples, tokens, seconds = self.totals
        seconds = max(seconds, 1e-9)
        return {
            "examples_per_second": round(examples / seconds, 1),
            "tokens_per_second": round(tokens / seconds, 1),
        }

    def averaged(self):
        """A context in which the model has the averaged weights."""
        return _Exchanged(self.variables, self.averages)

    # Checkpoints

    def _all_variables(self) -> dict[str, Any]:
        """Everything that training goes on from, by name: weights, random states, optimizer, averages."""
        named = {}
        for group, variables in (
            ("model", self.model.variables),
            ("optimizer", self.optimizer.variables),
            ("average", self.averages),
        ):
            for number, variable in enumerate(variables):
                # Keras numbers the layers of a process, so that no longer name is the same in the next.
                path = variable.path.rsplit("/", 1)[-1] if group == "model" else ""
                named[f"{group}/{number}/{path}".rstrip("/")] = variable
        return named

    def save(self, better: bool, finished: str) -> None:
        """Writes a checkpoint under a new name, renames it, then lets the index name it."""
        name = f"step-{self.state.step:08d}"
        folder = os.path.join(self.workdir.checkpoints, name)
        with pipelines.atomic_directory(folder) as new:
            with self.averaged():
                self.model.save_weights(os.path.join(new, "model.weights.h5"))
            with open(os.path.join(new, "training.npz"), "wb") as file:
                np.savez(file, **{k: np.asarray(v) for k, v in self._all_variables().items()})
            with open(os.path.join(new, "state.json"), "w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(self.state), file)
        index = self.workdir.index()
        index["last"] = name
        if better or "best" not in index:
            index["best"] = name
        index["finished"] = finished
        self.workdir.write_index(index)

    def restore(self) -> bool:
        """Goes back to the last checkpoint; False if there is none."""
        folder = self.workdir.checkpoint("last")
        if not folder:
            return False
        path = os.path.join(folder, "training.npz")
        variables = self._all_variables()
        try:
            with np.load(path, allow_pickle=False) as values:
                if set(values.files) != set(variables):
                    raise pipelines.InputError("holds the weights of another model", path)
                for name, variable in variables.items():
                    if tuple(values[name].shape) != tuple(variable.shape):
                        raise pipelines.InputError("holds the weights of another model", path)
                    variable.assign(values[name])
            with open(os.path.join(folder, "state.json"), encoding="utf-8") as file:
                self.state = State(**json.load(file))
        except (OSError, ValueError, TypeError, EOFError) as error:
            if isinstance(error, pipelines.InputError):
                raise
            raise pipelines.InputError(f"is damaged: {error}", path) from None
        return True


class _Exchanged:
    """Puts other values into variables for a while."""

    def __init__(self, variables: list[tf.Variable], values: list[tf.Variable]):
        self.variables, self.values = variables, values

    def __enter__(self):
        self.kept = [tf.identity(variable) for variable in self.variables if self.values]
        for variable, value in zip(self.variables, self.values, strict=False):
            variable.assign(value)

    def __exit__(self, *error):
        for variable, value in zip(self.variables, self.kept, strict=False):
            variable.assign(value)


# Callbacks


class Lines(keras.callbacks.Callback):
    """One line an epoch, and one a minute within long epochs: for logs and pipes."""

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
            total = self.trainer.steps_per_epoch
            log(f"  epoch {epoch}, batch {batch + 1}/{total}: loss {logs['loss']:.4f}")

    def on_epoch_end(self, epoch, logs=None):
        log(self.line(epoch, logs))

    def line(self, epoch: int, logs: dict[str, Any]) -> str:
        trainer = self.trainer
        metric = trainer.task.metric
        shown = [f"loss {logs['loss']:.4f}"]
        shown += [f"{name} {logs[name]:.4f}" for name in trainer.metrics if name in logs]
        shown += [f"dev loss {logs['dev_loss']:.4f}", f"dev {metric} {logs['dev_' + metric]:.4f}"]
        star = " (best)" if trainer.state.best_step == trainer.state.step else ""
        seconds = time.perf_counter() - self.start
        return (
            f"epoch {epoch + 1}/{trainer.config.epochs}: {', '.join(shown)}{star}, {seconds:.1f} s, "
            f"{logs['tokens_per_second']:,.0f} tokens/s"
        )


class Bar(Lines):
    """Keras's progress bar within the epoch, then the epoch's line: for a terminal."""

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        names = ["loss", "gradient_norm", *self.trainer.metrics]
        self.bar = keras.utils.Progbar(
            self.trainer.steps_per_epoch, stateful_metrics=names, unit_name="batch"
        )

    def on_train_batch_end(self, batch, logs=None):
        shown = [(n, v) for n, v in (logs or {}).items() if n in self.bar.stateful_metrics]
        # The bar's last update would end its line; the epoch's own line follows.
        if batch + 1 < self.trainer.steps_per_epoch:
            self.bar.update(batch + 1, shown, finalize=False)

    def on_epoch_end(self, epoch, logs=None):
        sys.stdout.write("\r\033[K" if sys.stdout.isatty() else "\n")
        log(self.line(epoch, logs))


class Scalars(keras.callbacks.Callback):
    """Losses, metrics, learning rate and throughput for TensorBoard, and pictures of fixed dev examples."""

    def __init__(self, trainer: Trainer, server_of: Callable[[], Any]):
        super().__init__()
        self.trainer = trainer
        self.server_of = server_of
        folder = trainer.workdir.tensorboard
        self.writers = {
            name: tf.summary.create_file_writer(os.path.join(folder, name))
            for name in ("train", "dev")
        }
        self.seen = {}

    def on_train_batch_end(self, batch, logs=None):
        if not logs or logs.get("loss") == self.seen.get("loss"):
            return
        self.seen = dict(logs)
        step = self.trainer.state.step
        with self.writers["train"].as_default(step):
            tf.summary.scalar("running/loss", logs["loss"])
            tf.summary.scalar("running/gradient_norm", logs["gradient_norm"])
            rate = float(self.trainer.optimizer.learning_rate)
            tf.summary.scalar("running/learning_rate", rate)

    def on_epoch_end(self, epoch, logs=None):
        step = self.trainer.state.step
        with self.writers["train"].as_default(step):
            for name, value in logs.items():
                if not name.startswith("dev_"):
                    tf.summary.scalar(name, value)
            tf.summary.scalar("padding_share", self.trainer.train_batches.padding_share)
        with self.writers["dev"].as_default(step):
            for name, value in logs.items():
                if name.startswith("dev_"):
                    tf.summary.scalar(name.removeprefix("dev_"), value)
            self._pictures()
        for writer in self.writers.values():
            writer.flush()

    def _pictures(self):
        trainer = self.trainer
        if not trainer.data.fixed:
            return
        with trainer.averaged():
            pictures = trainer.task.pictures(self.server_of(), trainer.data.fixed)
        for name, picture in pictures.items():
            if isinstance(picture, str):
                tf.summary.text(name, picture)
            else:
                tf.summary.image(name, picture)

    def on_train_end(self, logs=None):
        for writer in self.writers.values():
            writer.close()


# Commands


def import_modules(modules: str) -> None:
    """Imports the user's own modules, so that their cells are registered."""
    for module in filter(None, (name.strip() for name in modules.split(","))):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module.split(".")[0] and error.name != module:
                raise
            raise pipelines.InputError(
                f"--import={module}: there is no such module here or on the Python path"
            ) from None


def _describe(task_name, config, train_data, dev_data, modules) -> dict[str, Any]:
    return {
        "task": task_name,
        "train_data": train_data,
        "dev_data": dev_data,
        "import": modules,
        "config": configs.flatten(config),
        "versions": {
            "keras_rnn": keras_rnn.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
    }


def _refuse_changes(workdir: Workdir, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Raises for what cannot change in a workdir; gives the names of what changed and may."""
    for name in ("task", "train_data", "dev_data"):
        if old.get(name) != new[name]:
            raise pipelines.InputError(
                f"was made with --{name}={old.get(name)}, not {new[name] or 'without it'}; "
                "use another --workdir",
                workdir.path,
            )
    keys = configs.task_keys(new["task"])
    defaults = {key.name: key.default for key in keys.values()}
    before = {**defaults, **old.get("config", {})}
    changed = configs.changed_keys(before, new["config"])
    refused = [name for name in changed if name not in configs.config.CONTINUABLE]
    if refused:
        pairs = ", ".join(f"{n}={before.get(n)} (now {new['config'].get(n)})" for n in refused)
        free = ", ".join(configs.config.CONTINUABLE)
        raise pipelines.InputError(
            f"was made with {pairs}; to go on only {free} may change; use another --workdir",
            workdir.path,
        )
    return changed


def train(
    task_name: str,
    config: ml_collections.ConfigDict,
    workdir: str,
    train_data: str = "",
    dev_data: str = "",
    modules: str = "",
) -> dict[str, Any]:
    """Trains a task, or goes on with it, and writes everything into the workdir; gives the metrics."""
    folder = Workdir(workdir)
    facts = _describe(task_name, config, train_data, dev_data, modules)
    changed = []
    if folder.exists():
        changed = _refuse_changes(folder, folder.read("config.json"), facts)
        if folder.index().get("finished") and not _goes_on(folder, config, changed):
            return folder.read("metrics.json", default={})
    import_modules(modules)
    keras.utils.set_random_seed(config.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        task = make_task(task_name, config)
        folder.make()
        data = prepare_data(task, folder, train_data, dev_data, config.seed)
        return _train(task, folder, data, changed, facts)
    finally:
        keras.config.set_dtype_policy(policy)


def _goes_on(folder: Workdir, config: ml_collections.ConfigDict, changed: list[str]) -> bool:
    """Whether a finished run has more to do; says so if it has not."""
    state = State(**folder.read("checkpoints", folder.index()["last"], "state.json"))
    spent = state.epoch >= config.epochs
    spent |= bool(config.max_steps) and state.step >= config.max_steps
    if changed and not spent:
        return True
    reason = folder.index()["finished"]
    log(
        f"{folder.path} is finished: {reason} (epoch {state.epoch}, step {state.step}); "
        "raise --config.epochs or --config.max_steps to go on"
    )
    return False


def _train(
    task: Task, folder: Workdir, data: Data, changed: list[str], facts: dict[str, Any]
) -> dict[str, Any]:
    config = task.config
    programs = Programs(config.jit_compile, config.max_compilations)
    model = task.build_model()
    note = "" if folder.checkpoint("last") else task.initialize(model)
    trainer = Trainer(task, model, folder, data, programs)
    resumed = trainer.restore()
    # From here on this is a run: until now anything could still be wrong with what was given.
    folder.write(facts, "config.json")
    if resumed and changed:
        # Whoever changed epochs or the learning rate wants to see what comes of it.
        trainer.state.epochs_without_better = 0
    _announce(trainer, note, resumed)
    server = []

    def server_of():
        if not server:
            server.append(task.server(model))
        return server[0]

    shown = Bar if sys.stdout.isatty() else Lines
    reason = trainer.run([shown(trainer), Scalars(trainer, server_of)])
    return _conclude(trainer, reason)


def _announce(trainer: Trainer, note: str, resumed: bool) -> None:
    task, config, programs = trainer.task, trainer.config, trainer.programs
    if programs.fallback:
        log(f"XLA has no compiler here, going on without: {programs.fallback}")
    xla = "XLA on" if programs.jit_compile else "XLA off"
    parameters = trainer.model.count_params()
    cut = [f"{count:,} {reason}" for reason, count in trainer.data.cut.items()]
    log(
        f"{task.name}: {device_name()}, {config.precision}, {xla}; {parameters:,} parameters; "
        f"{len(trainer.data.train):,} training and {len(trainer.data.dev):,} dev examples"
        f"; {', '.join(cut) if cut else 'nothing cut'}"
    )
    lengths = ", ".join(str(shape[1:][0]) for shape in trainer.train_batches.shapes)
    padding = trainer.train_batches.padding_share
    log(f"batches of {config.batch_size}, padded to {lengths}; {padding:.1%} of it padding")
    if note:
        log(note)
    if resumed:
        state = trainer.state
        log(f"going on after epoch {state.epoch}, step {state.step}")


def _conclude(trainer: Trainer, reason: str) -> dict[str, Any]:
    task, folder, state, programs = trainer.task, trainer.workdir, trainer.state, trainer.programs
    best = folder.checkpoint("best")
    if not best:
        # epochs=0: the model as it was initialised.
        trainer.save(better=True, finished=reason)
        best = folder.checkpoint("best")
    load_weights(trainer.model, best)
    calibration = task.calibrate(trainer.forward, trainer.dev_batches, folder.path)
    judged = task.judge(trainer.forward, trainer.dev_batches)
    facts = {
        "finished": reason,
        "epochs": state.epoch,
        "steps": state.step,
        "best_epoch": state.best_epoch,
        "best_step": state.best_step,
        "seconds": round(state.seconds, 3),
        "programs": programs.count,
        "compile_seconds": round(programs.seconds, 3),
        "parameters": int(trainer.model.count_params()),
        "train_examples": len(trainer.data.train),
        "dev_examples": len(trainer.data.dev),
        **trainer.throughput(),
        **calibration,
    }
    metrics = {**judged, "training": facts}
    folder.write(metrics, "metrics.json")
    log(
        f"finished: {reason}; best dev {task.metric} {judged[task.metric]:.4f} "
        f"(epoch {state.best_epoch})"
    )
    log(
        f"compiled {programs.count} {programs.kind} in {programs.seconds:.1f} s; "
        f"{facts['examples_per_second']:,.0f} examples/s, "
        f"{facts['tokens_per_second']:,.0f} real tokens/s"
    )
    log(f"model {best}, scores {folder.file('metrics.json')}")
    log(f"tensorboard --logdir {folder.tensorboard}")
    return metrics


def load_weights(model: keras.Model, checkpoint: str) -> None:
    """Puts a checkpoint's weights into a model."""
    path = os.path.join(checkpoint, "model.weights.h5")
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise pipelines.InputError(f"cannot be read into this model: {error}", path) from None


def open_run(
    workdir: str,
    modules: str = "",
    change: Callable[[ml_collections.ConfigDict, configs.Keys], None] | None = None,
) -> Run:
    """Opens a trained run with its best weights."""
    folder = Workdir(workdir)
    folder.require()
    facts = folder.read("config.json")
    try:
        keys = configs.task_keys(facts["task"])
        config = keys.read(facts["config"], folder.file("config.json"))
    except (KeyError, TypeError, ValueError) as error:
        raise pipelines.InputError(f"is no config: {error}", folder.file("config.json")) from None
    if change is not None:
        change(config, keys)
    best = folder.checkpoint("best")
    if not best:
        raise pipelines.InputError("has no checkpoint yet; train it first", folder.path)
    import_modules(modules or facts.get("import", ""))
    keras.config.set_dtype_policy(config.precision)
    task = make_task(facts["task"], config)
    task.load(folder.path)
    model = task.build_model()
    load_weights(model, best)
    programs = Programs(config.jit_compile, config.max_compilations)
    return Run(folder, task, model, config, programs)
