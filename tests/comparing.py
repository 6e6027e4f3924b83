"""Values and every gradient of a recurrent layer, to be compared with those of another."""

import dataclasses
from collections.abc import Sequence
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

import keras_rnn
from keras_rnn.layers import projection

MODES = ("eager", "graph", "xla")
MASKS = ("none", "right", "left", "holes", "empty rows")


def values(*shape, seed=0, scale=1.0):
    """Random normal numbers, rounded so that every precision holds them exactly."""
    drawn = np.random.default_rng(seed).normal(size=shape, scale=scale)
    return np.clip(np.round(drawn * 64), -255, 255) / 64


def make_mask(name: str, batch: int, time: int, seed: int = 0) -> np.ndarray | None:
    """A mask of the named pattern; rows differ, and at least one is real at its last step."""
    if name == "none":
        return None
    generator = np.random.default_rng(seed)
    places = np.arange(time)[None]
    lengths = generator.integers(1, max(time, 1) + 1, [batch, 1])
    lengths[0] = time
    if name == "right":
        return places < lengths
    if name == "left":
        return places >= time - lengths
    mask = generator.random([batch, time]) < 0.55
    mask[:, :1] = np.arange(batch)[:, None] % 2 == 0
    mask[: batch // 2, -1:] = True
    if name == "empty rows":
        mask[1::2] = False
    return mask


CELLS = {
    **keras_rnn.CELLS,
    "zoneout": lambda units, dtype=None: keras_rnn.ZoneoutCell(
        keras_rnn.LSTMCell(units, dtype=dtype), rates=(0.2, 0.3)
    ),
}


def make_cell(name: str, units: int, features: int, dtype="float32", seed: int = 0, **options):
    """A built cell whose weights are all random: biases and gains of 0 and 1 hide errors."""
    if name == "esn":
        options.setdefault("leaky", 0.7)
    cell = CELLS[name](units, dtype=dtype, **options)
    build_randomly(cell, features, seed)
    return cell


def build_randomly(cell, features: int, seed: int = 0):
    if not cell.built:
        cell.build((None, features))
        cell.built = True
    for number, weight in enumerate(cell.weights):
        drawn = values(*weight.shape, seed=1000 * seed + number, scale=0.5)
        centre = 1.0 if weight.name.endswith("gain") else 0.0
        weight.assign(centre + drawn)


def stock(cell, **options):
    """The layer that ours is compared with."""
    dtype = cell[0].dtype_policy if isinstance(cell, list) else cell.dtype_policy
    if isinstance(cell, list):
        cell = keras.layers.StackedRNNCells(cell, dtype=dtype)
    return keras.layers.RNN(cell, dtype=dtype, **options)


def named_weights(cell) -> dict[str, np.ndarray]:
    return {weight.name: np.asarray(weight, "float64") for weight in cell.weights}


def state_shapes(layer, batch: int) -> list[tuple[int, ...]]:
    sizes = [size for cell in cells_of(layer) for size in cell.state_sizes]
    return [(batch, size) if isinstance(size, int) else (batch, *size) for size in sizes]


def cells_of(layer):
    stacked = isinstance(layer.cell, keras.layers.StackedRNNCells)
    return list(layer.cell.cells) if stacked else [layer.cell]


@dataclasses.dataclass
class Result:
    """What a layer gives, and the gradients of a random sum of it, as float64 arrays by name."""

    values: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        gradients = {f"gradient of {name}": array for name, array in self.gradients.items()}
        return {**self.values, **gradients}


def cotangents_for(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [values(*array.shape, seed=77 + number) for number, array in enumerate(arrays)]


def differentiate(
    layer,
    x: np.ndarray,
    mask: np.ndarray | None = None,
    states: Sequence[np.ndarray] | None = None,
    mode: str = "eager",
    dynamic: bool = False,
    calls: int = 1,
    cotangents: Sequence[np.ndarray] | None = None,
    in_steps: bool = False,
    **options,
) -> Result:
    """Runs a layer `calls` times and differentiates the last result.

    However small the inputs are, they are projected before the loop, as in training, unless `in_steps`.

    Args:
        states: initial states, flat.
        mode: "eager", "graph" or "xla".
        dynamic: whether batch and time are unknown while the function is traced.
        cotangents: what the results are multiplied by; drawn from a seed by default.
        **options: passed to the layer's call.
    """
    dtype = layer.compute_dtype
    sources = [tf.constant(x, dtype), *[tf.constant(state, dtype) for state in states or []]]
    variables = [weight.value for weight in layer.trainable_variables]
    wide = tf.float64 if dtype == "float64" else tf.float32
    given = {} if mask is None else {"mask": tf.constant(mask)}

    def compute(sources, given, cotangents):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            if states is not None:
                options["initial_state"] = tf.nest.pack_sequence_as(
                    structure_of_states(layer), sources[1:]
                )
            with mock.patch.object(projection, "MOST_PRODUCTS", 10**9 if in_steps else 0):
                results = tf.nest.flatten(layer(sources[0], **given, **options))
            if cotangents is None:
                return results, []
            terms = [
                tf.reduce_sum(tf.cast(result, wide) * tf.cast(cotangent, wide))
                for result, cotangent in zip(results, cotangents, strict=True)
            ]
            total = tf.add_n(terms)
        gradients = tape.gradient(total, [*sources, *variables])
        gradients = [
            tf.zeros_like(source) if gradient is None else tf.convert_to_tensor(gradient)
            for source, gradient in zip([*sources, *variables], gradients, strict=True)
        ]
        return results, gradients

    # The shapes of the results say which cotangents to draw; a stateful layer starts anew after.
    if cotangents is None:
        shapes, _ = compute(sources, given, None)
        cotangents = cotangents_for(shapes)
        if layer.stateful:
            for variable in tf.nest.flatten(layer.states):
                variable.assign(tf.zeros_like(variable))
    cotangents = [tf.constant(cotangent) for cotangent in cotangents]
    if mode != "eager":

        def unknown(tensor):
            shape = [None, None, *tensor.shape[2:]] if tensor is sources[0] else [None]
            return tf.TensorSpec(shape + list(tensor.shape[len(shape) :]), tensor.dtype)

        signature = None
        if dynamic:
            signature = [
                [unknown(source) for source in sources],
                {name: tf.TensorSpec([None, None], tf.bool) for name in given},
                [tf.TensorSpec([None] * len(c.shape), c.dtype) for c in cotangents],
            ]
        compute = tf.function(compute, jit_compile=mode == "xla", input_signature=signature)
    for _ in range(calls):
        results, gradients = compute(sources, given, cotangents)
    names = ["x", *[f"state {i}" for i in range(len(sources) - 1)]]
    names += [weight.path for weight in layer.trainable_variables]
    return Result(
        {f"result {i}": np.asarray(result, "float64") for i, result in enumerate(results)},
        dict(zip(names, [np.asarray(g, "float64") for g in gradients], strict=True)),
    )


def structure_of_states(layer):
    """The nest that a layer wants its states in: a list, and for a stack a list of lists."""
    states = [[None] * len(cell.state_sizes) for cell in cells_of(layer)]
    return states if isinstance(layer.cell, keras.layers.StackedRNNCells) else states[0]


def assert_equal(actual: Result, expected: Result, rtol=1e-10, atol=1e-12):
    ours, theirs = list(actual.arrays().items()), list(expected.arrays().items())
    assert len(ours) == len(theirs)
    for (name, array), (_, wanted) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(array, wanted, rtol=rtol, atol=atol, err_msg=name)


EPSILON = {"float32": 2.0**-23, "bfloat16": 2.0**-8, "float16": 2.0**-11, "float64": 2.0**-52}


def root_mean_square(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(array**2)))


def assert_as_near(actual: Result, same: Result, exact: Result, dtype: str, factor=1.5):
    """The error against `exact` is at most `factor` times that of `same`, plus a rounding floor.

    Errors are root mean squares over a tensor. The floor is four roundings of its largest value:
    a tensor of a few numbers may be near the truth by luck in the one loop and not in the other.
    """
    parts = (result.arrays() for result in (actual, same, exact))
    for name, ours, theirs, wanted in zip(*_with_names(*parts), strict=True):
        assert ours.shape == theirs.shape == wanted.shape, name
        if not wanted.size:
            continue
        error, allowed = root_mean_square(ours - wanted), root_mean_square(theirs - wanted)
        floor = 4 * EPSILON[dtype] * np.abs(wanted).max()
        assert error <= factor * allowed + floor, f"{name}: error {error:.3g}, stock {allowed:.3g}"


def _with_names(first, *others):
    return list(first), list(first.values()), *[list(other.values()) for other in others]
