"""The profiler of TensorFlow around some steps of a training."""

import keras
import tensorflow as tf

from keras_rnn.reports import log
from keras_rnn.trainer import Trainer

# Steps without a compilation after which most shapes have had theirs.
SETTLED = 10


class Profiler(keras.callbacks.Callback):
    """Profiles so many steps, as soon as a few in a row have compiled nothing, into the run's TensorBoard folder."""

    def __init__(self, trainer: Trainer, steps: int):
        super().__init__()
        self.trainer, self.steps = trainer, steps
        self.settled, self.programs = 0, 0
        self.first = self.last = 0
        self.trace = None

    def on_train_batch_begin(self, batch, logs=None):
        if self.last:
            return
        step = self.trainer.state.step + 1
        if not self.first:
            same = self.trainer.programs.count == self.programs
            self.settled = self.settled + 1 if same else 0
            self.programs = self.trainer.programs.count
            if self.settled < SETTLED:
                return
            tf.profiler.experimental.start(self.trainer.workdir.tensorboard)
            self.first = step
        # By this mark the profile tells its steps apart.
        self.trace = tf.profiler.experimental.Trace("train", step_num=step, _r=1)
        self.trace.__enter__()

    def on_train_batch_end(self, batch, logs=None):
        if self.trace is None:
            return
        self.trace.__exit__(None, None, None)
        self.trace = None
        if self.trainer.state.step - self.first + 1 == self.steps:
            self._stop()

    def on_train_end(self, logs=None):
        if self.first and not self.last:
            self._stop()
        if self.first:
            folder = self.trainer.workdir.file("tensorboard", "plugins", "profile")
            log(f"profiled steps {self.first} to {self.last}: {folder}")
        else:
            log(f"profiled nothing: there were no {SETTLED} steps in a row that compiled nothing")

    def _stop(self):
        tf.profiler.experimental.stop()
        self.last = self.trainer.state.step
