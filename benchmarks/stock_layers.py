"""Stock Keras's recurrent layers, in a process that has nothing of this package: no memory kept, no flags of XLA."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from benchmarks.shapes import Problem

# Keras has no LSTM without the tanh of its output: the nearest is what it is measured by.
STOCK = {
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "lecture lstm": keras.layers.LSTM,
    "lecture gru": lambda units, **kwargs: keras.layers.GRU(units, reset_after=False, **kwargs),
}


def stock(jit_compile: bool, **sizes) -> Callable[[], None]:
    """Keras's own layer."""
    problem = Problem(**sizes)
    # On a GPU Keras's own layers run cuDNN's kernels, which XLA cannot compile.
    layer = STOCK[problem.cell](
        problem.units, return_sequences=True, use_cudnn=False if jit_compile else "auto"
    )
    layer = keras.layers.Bidirectional(layer) if problem.bidirectional else layer
    return runs(layer, problem, jit_compile)


def runs(layer: keras.layers.Layer, problem: Problem, jit_compile: bool) -> Callable[[], None]:
    """One run of the layer: forward, and backward if the problem says so."""
    inputs = tf.constant(problem.inputs())
    mask = tf.constant(problem.mask()) if problem.masked else None
    layer.build(inputs.shape)

    @tf.function(jit_compile=jit_compile)
    def infer(inputs, mask):
        return layer(inputs, mask=mask)

    @tf.function(jit_compile=jit_compile)
    def train(inputs, mask):
        weights = [weight.value for weight in layer.trainable_weights]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([inputs, *weights])
            loss = tf.reduce_mean(layer(inputs, mask=mask, training=True) ** 2)
        return tape.gradient(loss, [inputs, *weights])

    step = train if problem.training else infer
    return Run(lambda: step(inputs, mask))


class Run:
    """One run of a step, to its end."""

    def __init__(self, step: Callable[[], Any]):
        self._step = step
        self._gpu = bool(tf.config.list_logical_devices("GPU"))

    def __call__(self) -> None:
        results = self._step()
        if self._gpu:  # nothing is fetched: PyTorch need not fetch it either
            tf.test.experimental.sync_devices()
        else:
            tf.nest.flatten(results)[-1].numpy()

    @property
    def facts(self) -> dict[str, int]:
        """The most bytes that a GPU has had in memory, instead of the process."""
        if not self._gpu:
            return {}
        return {"peak": tf.config.experimental.get_memory_info("GPU:0")["peak"]}
