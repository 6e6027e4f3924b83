"""Compiled functions, with a count of what was compiled and what it cost."""

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

import pipelines
from keras_rnn.replicas import Replicas


class Programs:
    """Compiles functions and counts the programs: one for each function and each set of input shapes.

    Arguments:
        jit_compile: compile with XLA; where the device has no compiler, without, and `fallback` says why.
        limit: fail when more programs than this are compiled; 0 = no limit.
        replicas: those that train together; a single one where none are given.

    Attributes:
        count, seconds: programs compiled so far and what their first calls cost.
    """

    def __init__(self, jit_compile: bool, limit: int = 0, replicas: Replicas | None = None):
        self.replicas = replicas or Replicas()
        self.limit = limit
        self.count = 0
        self.seconds = 0.0
        self.fallback = _why_no_compiler() if jit_compile else ""
        self.jit_compile = jit_compile and not self.fallback

    @property
    def kind(self) -> str:
        return "XLA programs" if self.jit_compile else "graphs (without XLA)"

    def compile(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function, compiled once for each set of shapes that it is called with, on one device."""
        return self._counted(name, lambda: self._program(function))

    def compile_for_each(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The same, run by each replica on its own values; it gives as many results."""
        return self._counted(name, lambda: self._for_each(function))

    def compile_for_all(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The same, run once for the variables of all of this worker's replicas.

        XLA keeps to one device, and knows nothing of others to add up with: here it is left out where there are.
        """
        return self._counted(name, lambda: self._program(function, len(self.replicas.local) == 1))

    def _program(self, function, jit_compile=True):
        return tf.function(
            lambda *inputs: function(*inputs),
            jit_compile=self.jit_compile and jit_compile,
            autograph=False,
        )

    def _for_each(self, function):
        strategy = self.replicas.strategy
        # TensorFlow would put a compiled function around all replicas; hidden in another it stays within each. Its
        # weights are those of the replica that traces it.
        programs = {number: self._program(function) for number in self.replicas.local}

        def run_own(*inputs):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return programs[int(replica)](*inputs)

        return lambda *inputs: strategy.run(run_own, args=inputs)

    def _counted(self, name: str, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        # A function of its own for each set of shapes, so that with and without XLA are counted alike.
        compiled = {}
        first_of = self.replicas.strategy.experimental_local_results

        def call(*arguments):
            leaves = [first_of(leaf)[0] for leaf in tf.nest.flatten(arguments)]
            signature = tuple((tuple(leaf.shape), leaf.dtype) for leaf in leaves)
            if signature in compiled:
                return compiled[signature](*arguments)
            if self.limit and self.count >= self.limit:
                shapes = ", ".join(str(list(shape)) for shape, _ in signature[:4])
                raise pipelines.InputError(
                    f"--config.max_compilations={self.limit} is used up: {name} would be compiled "
                    f"for the shapes {shapes}"
                )
            start = time.perf_counter()
            program = make()
            result = program(*arguments)
            for leaf in tf.nest.flatten(result)[:1]:
                first_of(leaf)[0].numpy()
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
