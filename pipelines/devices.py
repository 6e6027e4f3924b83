"""Texts are the CPU's work."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tensorflow as tf

Given = ParamSpec("Given")
Result = TypeVar("Result")


def on_cpu(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function, its operations on the CPU, also where there is a GPU.

    Strings are there anyhow. Left to itself TensorFlow takes the ids and lengths between two operations on strings to
    the GPU and back, and one of its kernels there refuses what it takes on a CPU.

    >>> on_cpu(tf.strings.length)(["six", "seven"]).numpy().tolist()
    [3, 5]
    """

    @functools.wraps(function)
    def placed(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with tf.device("CPU:0"):
            return function(*args, **kwargs)

    return placed
