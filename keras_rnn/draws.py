"""Random draws: fast under XLA, and the same bits with it and without.

Keras leaves the choice of the algorithm to TensorFlow. XLA on a CPU then takes 0.2 µs a number, sixty times as long as
where Philox is named (400,000 of them on two cores).
"""

import keras
import tensorflow as tf


def uniform(
    shape: tf.Tensor | list[int | tf.Tensor] | tuple[int | tf.Tensor, ...],
    seeds: keras.random.SeedGenerator,
    minval: float = 0.0,
    maxval: float = 1.0,
) -> tf.Tensor:
    """Fresh float32 numbers from minval to maxval; those in [0, 1) are the same with and without XLA.

    >>> numbers = uniform([2, 3], keras.random.SeedGenerator(0))
    >>> numbers.shape.as_list(), bool(tf.reduce_all((numbers >= 0) & (numbers < 1)))
    ([2, 3], True)
    """
    numbers = uniform_of(shape, tf.cast(seeds.next(), tf.int32))
    return minval + (maxval - minval) * numbers if (minval, maxval) != (0.0, 1.0) else numbers


def uniform_of(
    shape: tf.Tensor | list[int | tf.Tensor] | tuple[int | tf.Tensor, ...], seed: tf.Tensor
) -> tf.Tensor:
    """The float32 numbers in [0, 1) of a seed, int32 [2]: multiples of 2^-24, the same with and without XLA.

    >>> same = uniform_of([3], tf.constant([1, 2])) == uniform_of([3], tf.constant([1, 2]))
    >>> bool(tf.reduce_all(same))
    True
    """
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    # Only the bits are the same with and without XLA: each makes floats of other bits of them.
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2**-24


def kept(
    shape: tf.Tensor | list[int | tf.Tensor] | tuple[int | tf.Tensor, ...],
    rate: float,
    seeds: keras.random.SeedGenerator,
) -> tf.Tensor:
    """What a fresh dropout keeps, bool: False with probability `rate`."""
    return uniform(shape, seeds) >= rate
