"""Compiled functions, with a count of what was compiled and what it cost."""

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

import pipelines


class Programs:
    """Compiles functions and counts the programs: one for each function and each set of input shapes.

    Arguments:
        jit_compile: compile with XLA; where the device has no compiler, without, and `fallback` says why.
        limit: fail when more programs than this are compiled; 0 = no limit.
        strategy: the tf.distribute strategy whose replicas run the functions.

    Attributes:
        count, seconds: programs compiled so far and what their first calls cost.
    """

    def __init__(
        self, jit_compile: bool, limit: int = 0, strategy: tf.distribute.Strategy | None = None
    ):
        self.strategy = strategy or tf.distribute.get_strategy()
        self.limit = limit
        self.count = 0
        self.seconds = 0.0
        self.fallback = _why_no_compiler() if jit_compile else ""
        self.jit_compile = jit_compile and not self.fallback

    @property
    def kind(self) -> str:
        return "XLA programs" if self.jit_compile else "graphs (without XLA)"

    def compile(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function, compiled once for each set of shapes that it is called with."""
        # A function of its own for each set of shapes, so that with and without XLA are counted alike.
        compiled = {}

        def call(*arguments):
            signature = tuple(
                (tuple(leaf.shape), leaf.dtype) for leaf in tf.nest.flatten(arguments)
            )
            if signature in compiled:
                return self.strategy.run(compiled[signature], args=arguments)
            if self.limit and self.count >= self.limit:
                shapes = ", ".join(str(list(shape)) for shape, _ in signature[:4])
                raise pipelines.InputError(
                    f"--config.max_compilations={self.limit} is used up: {name} would be compiled "
                    f"for the shapes {shapes}"
                )
            start = time.perf_counter()
            program = tf.function(
                lambda *inputs: function(*inputs), jit_compile=self.jit_compile, autograph=False
            )
            result = self.strategy.run(program, args=arguments)
            for leaf in tf.nest.flatten(result)[:1]:
                leaf.numpy()
            compiled[signature] = program
            self.count += 1
            self.seconds += time.perf_counter() - start
            return result

        return call


def _why_no_compiler() -> str:
    """Compiles a trifle where the work will run; the reason if that fails."""
    try:
        tf.function(lambda x: x * x + 1.0, jit_compile=True)(tf.constant(2.0)).numpy()
    except (tf.errors.OpError, ValueError, NotImplementedError) as error:
        return str(getattr(error, "message", error)).strip().splitlines()[0]
    return ""


def device_name() -> str:
    """The device that work is placed on, for people."""
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        physical = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(physical[0])
        return f"{len(gpus)} x {details.get('device_name', 'GPU')}"
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return f"CPU ({threads or _cores()} cores)"


def _cores() -> int:
    import os

    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
