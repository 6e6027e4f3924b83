"""Stock Keras's recurrent layers, in a process that has nothing of this package: no memory kept, no flags of XLA."""

from collections.abc import Callable

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
    layer = STOCK[problem.cell](problem.units, return_sequences=True)
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

    def run() -> None:
        tf.nest.flatten(step(inputs, mask))[-1].numpy()

    return run
