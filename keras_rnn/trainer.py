"""The training loop: the one of the house, for every task."""

import dataclasses
import io
import json
import math
import os
import time
import zipfile
import zlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn.examples import Data
from keras_rnn.interruption import Interrupted, Interruption
from keras_rnn.optimizer import global_norm, make_optimizer
from keras_rnn.programs import Programs
from keras_rnn.tasks import Task
from keras_rnn.workdir import Workdir

# What NumPy lets through of a damaged archive.
_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError)

# Steps after which losses are looked at: looking waits for the device.
LOOK_EVERY = 10

# Elements that stand for a weight, or its gradient, in a histogram; up to twice as many where they do not divide.
SAMPLE = 50_000


@dataclasses.dataclass
class State:
    """Where a run stands; it lies beside each checkpoint."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    best_step: int = 0
    judged_step: int = 0
    judged_without_better: int = 0
    gradient_norm: float = 0.0
    seconds: float = 0.0


def read_state(checkpoint: str) -> State:
    """The state that lies in a checkpoint's folder."""
    path = os.path.join(checkpoint, "state.json")
    try:
        with open(path, encoding="utf-8") as file:
            state = State(**json.load(file))
    except OSError as error:
        raise pipelines.InputError(f"cannot be read: {error.strerror}", path) from None
    except (ValueError, TypeError) as error:
        raise pipelines.InputError(f"is damaged: {error}", path) from None
    for field in dataclasses.fields(State):
        value = getattr(state, field.name)
        wanted = (float, int) if field.name in ("best", "gradient_norm", "seconds") else int
        if (
            isinstance(value, bool)
            or not isinstance(value, wanted)
            and (value, field.default) != (None, None)
        ):
            raise pipelines.InputError(f"is damaged: {field.name} is {value!r}", path)
    return state


class Trainer:
    """Steps, epochs, judging, checkpoints.

    A step is one compiled program, or two where gradients are added up between them, those of several batches or of
    several replicas: the gradients of a batch, and the update.
    The gradients are those of Σ weight · loss / batch_size, and the weights' sum travels with them, so that the sum
    over batches and replicas divided by the sum of weights is the gradient of the mean loss, however the rows are
    spread.

    With several workers each runs this loop over its rows of the same batches. The chief judges and writes; its scores
    go to all, so that all decide alike. Model and trainer are made in the strategy's scope.
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
        self.programs, self.replicas = programs, programs.replicas
        self.state = State()
        self.train_batches = task.batches(data.train, training=True)
        self.dev_batches = task.batches(data.dev, training=False)
        self.batches_per_epoch = self.train_batches.num_batches(0)
        self.total_steps = config.epochs * -(-self.batches_per_epoch // config.accumulate)
        if config.max_steps:
            self.total_steps = min(self.total_steps, config.max_steps)
        self.optimizer = make_optimizer(config, self.total_steps, model)
        self._part_seeds()
        self.variables = [variable.value for variable in model.trainable_variables]
        self.averages = []
        if config.average:
            self.averages = [tf.Variable(v, trainable=False) for v in self.variables]
        self.loss_metric = keras.metrics.Mean(name="loss")
        self.metrics = task.training_metrics()
        self.tokens, self.examples = _count(), _count()
        # Examples, real tokens and seconds of all epochs, compilation left out.
        self.totals = np.zeros(3)
        self.gradient_step = programs.compile_for_each(self._gradients, "the gradients")
        self.add_step = programs.compile_for_each(_sum, "the sum of gradients")
        # Not compiled: XLA knows nothing of other replicas.
        self.reduce_step = tf.function(self.replicas.sum, autograph=False)
        self.apply_step = programs.compile_for_all(self._apply, "the update")
        self.whole_step = programs.compile(self._update, "a step")
        self.forward = self._forward(last=False)
        self.interruption = Interruption()
        # What all workers know of: that one was asked to end, that a checkpoint is due.
        self.ending = self.due = False
        self.saved_at = time.monotonic()
        # Some elements of each of the last step's, to be shown.
        self.gradients: list[tf.Tensor] = []
        # Why training ends with the evaluation that is being shown; "" while it goes on.
        self.reason = ""

    # Compiled

    def _forward(self, last: bool):
        return self.programs.compile(
            lambda batch: self.task.forward(self.model, batch, last), "the evaluation"
        )

    def last_forward(self):
        """The evaluation for the scores that are kept."""
        return self._forward(last=True) if self.task.searches else self.forward

    def _gradients(self, batch):
        with tf.GradientTape() as tape:
            losses, weights, outputs = self.task.loss(self.model, batch, training=True)
            weights = tf.cast(weights, tf.float32)
            # A filler's loss is multiplied by 0, and must be a number for that.
            losses = tf.where(weights > 0, tf.cast(losses, tf.float32), 0.0)
            # The same number for every batch, so that sums of several weigh each unit alike.
            rows = float(self.config.batch_size)
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
        share = mean = 1.0 / tf.maximum(weight, 1e-9)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            mean /= tf.cast(self.optimizer.scale_loss(1.0), tf.float32)
        norm = mean * global_norm(gradients)
        shown = [mean * sample(gradient) for gradient in gradients]
        # Clipped here and not by Keras's optimizer, which would go through all gradients once more for their norm.
        if self.config.clip_norm:
            # No number where the norm is none, as in Keras's: the next loss tells of it.
            share *= tf.minimum(1.0, self.config.clip_norm / norm) + (norm - norm)
        self.optimizer.apply([share * gradient for gradient in gradients])
        if self.averages:
            step = tf.cast(self.optimizer.iterations.value, tf.float32)
            # The first steps weigh little later on: the average begins as a plain one.
            decay = tf.minimum(self.config.average, (1.0 + step) / (10.0 + step))
            for average, variable in zip(self.averages, self.variables, strict=True):
                average.assign(decay * average + (1.0 - decay) * variable)
        return norm, shown

    def _update(self, batch):
        gradients, weight, mean = self._gradients(batch)
        return mean, *self._apply(gradients, weight)

    # Steps

    def step(self, batches: list) -> tuple[list[tf.Tensor], tf.Tensor]:
        """One update on all of the batches; gives the mean loss of each and the norm of the gradients.

        The mean losses of several replicas are averaged, which is near the mean and shows what is no number.
        """
        if self.replicas.count == self.config.accumulate == 1:
            loss, norm, self.gradients = self.whole_step(batches[0])
            return [loss], norm
        gradients, weight, loss = self.gradient_step(batches[0])
        losses = [loss]
        for batch in batches[1:]:
            *more, loss = self.gradient_step(batch)
            gradients, weight = self.add_step((gradients, weight), tuple(more))
            losses.append(loss)
        if self.replicas.count > 1:
            sums = self.reduce_step((gradients, weight, losses))
            gradients, weight = sums[:2]
            losses = [loss / self.replicas.count for loss in sums[2]]
        norm, self.gradients = self.apply_step(gradients, weight)
        return losses, norm

    def run(self, callbacks: list[keras.callbacks.Callback]) -> str:
        """Trains until an end is reached; says which.

        Raises:
            Interrupted: after Ctrl-C, with a checkpoint of the step that it came in.
        """
        self.model.stop_training = False
        callbacks = keras.callbacks.CallbackList(
            callbacks,
            model=self.model,
            epochs=self.config.epochs,
            steps=self.batches_per_epoch,
            verbose=0,
        )
        callbacks.on_train_begin()
        with self.interruption:
            try:
                reason = self._run(callbacks)
            except Interrupted:
                self.save(better=False, finished="")
                raise Interrupted(
                    f"interrupted; the same command goes on from step {self.state.step}"
                ) from None
            finally:
                callbacks.on_train_end()
        return reason

    def _run(self, callbacks) -> str:
        state = self.state
        reason = "" if self._is_unjudged() else self._reason()
        if reason and state.step:
            # An interrupted run that was told to end sooner, and has passed that end.
            self.save(better=False, finished=reason)
        while not reason:
            start = time.perf_counter()
            callbacks.on_epoch_begin(state.epoch)
            logs, whole = self._epoch(callbacks)
            state.seconds += time.perf_counter() - start
            if self.ending:
                raise Interrupted
            judged = self.judge()
            state.judged_step = state.step
            # Keras's list of callbacks takes plain numbers alone.
            scores = {name: value for name, value in judged.items() if isinstance(value, float)}
            logs.update({f"dev_{name}": value for name, value in scores.items()})
            self._finite(judged["loss"], "the dev loss")
            better = self._is_better(judged[self.task.metric])
            if better:
                state.best = judged[self.task.metric]
                state.best_epoch, state.best_step = state.epoch + 1, state.step
                state.judged_without_better = 0
            else:
                state.judged_without_better += 1
            for metric in self._metrics():
                metric.reset_state()
            finished = state.epoch
            if whole:
                state.epoch, state.batch = state.epoch + 1, 0
            self.reason = reason = self._reason()
            # Report before saving: whatever follows the last checkpoint is reported again after a resume.
            callbacks.on_epoch_end(finished, logs)
            self.save(better, reason)
            if self.model.stop_training and not reason:
                reason = "a callback ended it"
            self._agree()
            if not reason and self.ending:
                raise Interrupted
        return reason

    def _agree(self) -> None:
        """Tells all workers what one of them was asked for, or finds due by its clock."""
        self.ending, self.due = self.replicas.any(self.interruption.asked, self._is_due())

    def _metrics(self) -> list[keras.metrics.Metric]:
        return [self.loss_metric, *self.metrics.values()]

    def _reason(self) -> str:
        config, state = self.config, self.state
        if config.max_steps and state.step >= config.max_steps:
            return f"max_steps={config.max_steps} is reached"
        if state.epoch >= config.epochs:
            return f"epochs={config.epochs} is reached"
        if config.patience and state.judged_without_better >= config.patience:
            times = "evaluations" if config.evaluate_every else "epochs"
            return f"{config.patience} {times} brought no better dev {self.task.metric}"
        return ""

    def _is_unjudged(self) -> bool:
        """Whether an evaluation is to follow the last step and has not been: it may have been interrupted."""
        config, state = self.config, self.state
        if state.step == state.judged_step:
            return False
        return (
            state.batch >= self.train_batches.num_batches(state.epoch)
            or bool(config.max_steps)
            and state.step >= config.max_steps
            or bool(config.evaluate_every)
            and state.step % config.evaluate_every == 0
        )

    def _epoch(self, callbacks) -> tuple[dict[str, float], bool]:
        """Trains to the end of the epoch, the next evaluation or the last step; gives the logs since it began, and
        whether the epoch is whole.
        """
        config, state = self.config, self.state
        for count in (self.tokens, self.examples):
            count.assign(0)
        compiling = self.programs.seconds
        start = time.perf_counter()
        last = self.train_batches.num_batches(state.epoch)
        losses, logs = [], {}
        first = last if self._is_unjudged() else state.batch
        batches = self.replicas.epoch(self.train_batches, state.epoch, start_batch=first)
        for group in pipelines.in_chunks(batches, config.accumulate):
            callbacks.on_train_batch_begin(state.batch)
            group_losses, norm = self.step(group)
            losses.append(group_losses)
            state.step += 1
            state.batch += len(group)
            # By the number of the step: a run that goes on looks, and shows, where an undisturbed one does.
            looking = state.step % LOOK_EVERY == 0 or self._is_unjudged()
            if looking or self.replicas.workers == 1:
                self._agree()
            at_end = self._is_unjudged() or self.ending
            if looking or at_end:
                self._look(losses)
                state.gradient_norm = float(norm)
                # The update that such gradients made is in no loss yet. Loss scaling passes over them.
                if not isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
                    self._finite(state.gradient_norm, "the norm of the gradients")
                logs = self._running()
                losses.clear()
            callbacks.on_train_batch_end(state.batch - 1, logs)
            if at_end or self.model.stop_training:
                break
            if not losses and self.due:
                self.save(better=False, finished="")
        logs.update(self._running())
        seconds = time.perf_counter() - start - (self.programs.seconds - compiling)
        examples, tokens = (int(count.numpy()) for count in (self.examples, self.tokens))
        self.totals += [examples, tokens, seconds]
        logs["learning_rate"] = float(self.optimizer.learning_rate)
        logs["examples_per_second"] = examples / max(seconds, 1e-9)
        logs["tokens_per_second"] = tokens / max(seconds, 1e-9)
        return logs, state.batch >= last

    def _running(self) -> dict[str, float]:
        """Loss and metrics of the training batches since the last evaluation, and the last gradients' norm."""
        return {
            "gradient_norm": self.state.gradient_norm,
            "loss": float(self.loss_metric.result()),
            **{name: float(metric.result()) for name, metric in self.metrics.items()},
        }

    def _is_due(self) -> bool:
        """Whether it is time for a checkpoint between evaluations."""
        seconds = self.config.checkpoint_seconds
        return bool(seconds) and time.monotonic() - self.saved_at >= seconds

    def _look(self, losses: list[list[tf.Tensor]]) -> None:
        """Raises for a loss of the last steps that is no number."""
        for number, group in enumerate(losses):
            for loss in group:
                self._finite(float(loss), "the loss", self.state.step - len(losses) + number + 1)

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
        """The evaluate object of dev, under the averaged weights where weights are averaged.

        The chief judges, and the other workers wait for its loss and score.
        """

        def forward(batch):
            if self.replicas.workers == 1:
                self.interruption.check()
            return self.forward(batch)

        names = ("loss", self.task.metric)
        judged = dict.fromkeys(names, 0.0)
        if self.replicas.is_chief:
            with self.averaged():
                judged = self.task.judge(forward, self.dev_batches)
        shared = self.replicas.from_chief(*(judged[name] for name in names))
        return {**judged, **dict(zip(names, shared, strict=True))}

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
        """Everything that training goes on from, by name: weights, random states, optimizer, averages, sums."""
        named = {}
        for group, variables in (
            ("model", self.model.variables),
            ("optimizer", self.optimizer.variables),
            ("average", self.averages),
            ("metric", [v for metric in self._metrics() for v in metric.variables]),
        ):
            for number, variable in enumerate(variables):
                # Keras numbers the layers of a process, so that no longer name is the same in the next.
                path = variable.path.rsplit("/", 1)[-1] if group == "model" else ""
                named[f"{group}/{number}/{path}".rstrip("/")] = variable
        return named

    def save(self, better: bool, finished: str) -> None:
        """Writes a checkpoint under a new name, renames it, then lets the index name it."""
        # Some are sums over all workers, who read them together.
        values = {name: variable.numpy() for name, variable in self._all_variables().items()}
        if self.replicas.is_chief:
            self._write(values, better, finished)
        self.saved_at = time.monotonic()

    def _write(self, values: dict[str, np.ndarray], better: bool, finished: str) -> None:
        folder = self.workdir.new_checkpoint(self.state.step)
        with pipelines.atomic_directory(folder) as new:
            weights = _InMemory()
            with self.averaged():
                self.model.save_weights(weights)
            with open(os.path.join(new, "model.weights.h5"), "wb") as file:
                file.write(weights.getbuffer())
            with open(os.path.join(new, "training.npz"), "wb") as file:
                np.savez(file, **values)
            with open(os.path.join(new, "state.json"), "w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(self.state), file)
        index = self.workdir.index()
        index["last"] = os.path.basename(folder)
        if better or "best" not in index:
            index["best"] = index["last"]
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
                    value = values[name]
                    if tuple(value.shape) != tuple(variable.shape):
                        raise pipelines.InputError("holds the weights of another model", path)
                    if name.startswith("metric/"):
                        self.replicas.start_sum_with(variable.value, value)
                    else:
                        variable.assign(value)
        except (OSError, ValueError, TypeError, EOFError, *_DAMAGED) as error:
            if isinstance(error, pipelines.InputError):
                raise
            raise pipelines.InputError(f"is damaged: {error}", path) from None
        self.state = read_state(folder)
        self._part_seeds()
        return True

    def _part_seeds(self) -> None:
        """A checkpoint has the first replica's states of noise; the others' follow from them."""
        states = [v.value for v in self.model.variables if v.path.endswith("/seed_generator_state")]
        self.replicas.part_seeds(states)


def sample(values: tf.Tensor) -> tf.Tensor:
    """So many of the values, evenly spread, that counting them takes no time.

    >>> sample(tf.range(10.0)).shape[0], sample(tf.zeros([3, 100_000])).shape[0]
    (10, 50000)
    """
    flat = tf.reshape(values, [-1])
    return flat[:: max(1, flat.shape[0] // SAMPLE)]


def _count() -> tf.Variable:
    """A number that each replica adds to; reading it gives the sum."""
    return tf.Variable(
        0,
        dtype=tf.int64,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
    )


def _sum(one, other):
    return tf.nest.map_structure(tf.add, one, other)


class _InMemory(io.BytesIO):
    """Where HDF5 writes to: a disk that fills up under it may end the process, not only the writing."""

    def __str__(self):
        return "in memory.weights.h5"  # Keras looks at the name's end.


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
