"""When the inputs of a cell are multiplied by its kernel: those of all time steps at once, or each in its own step."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from keras_rnn.cells.cell import Cell
from keras_rnn.scans import Step, only_cpus, product

# The most products of two numbers in all time steps, and numbers of the kernel, which each step reads anew.
MOST_PRODUCTS = 25_000_000
LARGEST_KERNEL = 65_536

# Time steps where their number is not known.
USUAL_TIME = 32


def project(cell: Cell, x: tf.Tensor, training: bool) -> Any:
    """The projection of all time steps, x [time, batch, ...]: each stands alone, so they can stand in the batch."""
    time, batch = (n if s is None else s for n, s in zip(tf.unstack(tf.shape(x)[:2]), x.shape))
    rows = tf.reshape(x, [time * batch, 1, *x.shape[2:]])
    return tf.nest.map_structure(
        lambda leaf: tf.reshape(leaf, [time, batch, *leaf.shape[2:]]),
        cell.project(rows, product, training=training),
    )


def step_that_projects(cell: Cell) -> Step:
    """The cell's step, of the inputs themselves: x [batch, features]. For inference, where nothing is drawn."""

    def step(x, states, dot, memory=None):
        def dot_of_one_step(operand, *rest, **options):
            return dot(tf.squeeze(operand, 1), *rest, **options)[:, None]

        projected = cell.project(x[:, None], dot_of_one_step, training=False)
        projected = tf.nest.map_structure(lambda leaf: tf.squeeze(leaf, 1), projected)
        return cell.step(projected, states, dot, memory)

    return step


def projecting_in_steps_pays(cell: Cell, x: tf.Tensor) -> bool:
    """Whether `step_that_projects` is the faster one for inference of x [time, batch, features]: on a CPU, if small.

    One product of all time steps is shared among the cores, which wait for each other longer than small ones take.
    """
    if cell.input_kernel is None or not only_cpus():
        return False
    time, rows = x.shape[:2]
    if rows is None:
        return False
    kernel = math.prod(cell.input_kernel.shape)
    products = (USUAL_TIME if time is None else time) * rows * kernel
    return kernel <= LARGEST_KERNEL and products <= MOST_PRODUCTS
