"""Time of a training step: FusedRNN under XLA against stock Keras, and PyTorch where it is installed.

    python -m benchmarks.training_step [--rounds=20]

A step is forward and backward of one recurrent layer on fixed data, gradients of inputs and weights
and no optimizer. The contenders take turns, so that a busy machine slows all of them alike, and the
fastest round of each counts. Ratios are ours by the faster of stock Keras with and without XLA; below
1 is faster. Keras's layers have their defaults, so its GRU is the reset-after form.
"""

import argparse
from collections.abc import Callable

import numpy as np

import keras_rnn
from benchmarks.racing import fastest, has_torch

# isort: split
import keras
import tensorflow as tf

# batch, time, features, units
SHAPES = [(32, 100, 128, 256), (64, 50, 300, 512), (32, 30, 128, 128)]


def keras_step(layer: keras.layers.Layer, x: np.ndarray, jit_compile: bool) -> Callable[[], object]:
    """A compiled step of a Keras layer, ours or stock."""
    inputs = tf.constant(x)
    layer(inputs)

    @tf.function(jit_compile=jit_compile)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_mean(layer(inputs) ** 2)
        weights = [weight.value for weight in layer.trainable_weights]
        return tape.gradient(loss, [inputs, *weights])

    return lambda: step(inputs)[0].numpy()


def torch_step(kind: str, x: np.ndarray, units: int) -> Callable[[], object]:
    import torch

    layer = getattr(torch.nn, kind)(x.shape[-1], units, batch_first=True)
    inputs = torch.tensor(x, requires_grad=True)

    def step():
        loss = (layer(inputs)[0] ** 2).mean()
        return torch.autograd.grad(loss, [inputs, *layer.parameters()])

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    ours = {
        "LSTM": lambda units: keras_rnn.LSTM(
            units, output_activation="tanh", return_sequences=True
        ),
        "GRU": lambda units: keras_rnn.GRU(units, return_sequences=True),
    }
    print("milliseconds a training step; batch, time, features, units")
    ratios = []
    for batch, length, features, units in SHAPES:
        x = np.random.default_rng(0).normal(size=[batch, length, features]).astype("float32")
        for kind, make in ours.items():
            stock = getattr(keras.layers, kind)
            steps = {
                "ours": keras_step(make(units), x, jit_compile=True),
                "Keras": keras_step(stock(units, return_sequences=True), x, jit_compile=False),
                "Keras XLA": keras_step(stock(units, return_sequences=True), x, jit_compile=True),
            }
            if has_torch():
                steps["PyTorch"] = torch_step(kind, x, units)
            seconds = fastest(steps, rounds)
            ratios.append(seconds["ours"] / min(seconds["Keras"], seconds["Keras XLA"]))
            times = ", ".join(f"{name} {1000 * value:.1f}" for name, value in seconds.items())
            shape = f"{batch},{length},{features},{units}"
            print(f"{kind:4} {shape:15} {times}; ratio {ratios[-1]:.2f}", flush=True)
    print(f"geometric mean of the ratios: {np.exp(np.mean(np.log(ratios))):.2f}")


if __name__ == "__main__":
    main()
