"""The first import of TensorFlow and Keras: without their notices, with the right backend, and set up for loops."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Iterator

# Compiled for a CPU, a loop otherwise copies whatever it carries twice a step, unless the new plainly comes after the
# last use of the old. With this analysis XLA puts the one after the other where it can, and copies nothing.
LIVE_RANGES = "--xla_cpu_copy_insertion_use_region_analysis=true"

# Compiled for a GPU, the kernels of a step are launched together, as one graph, if there are as many of them as this
# (XLA's default is 5) and none of them is a copy, which XLA otherwise makes of each slice that is read or written.
ONE_GRAPH = (
    "--xla_gpu_graph_min_graph_size=2",
    "--xla_disable_hlo_passes=fusion-dynamic-memcpy-rewriter",
)


def import_quietly():
    """Imports TensorFlow and Keras, unless they are there already; sets up memory and compiler for loops over time.

    Raises:
        ImportError: when Keras is set to another backend than TensorFlow.
    """
    # Importing Keras for a backend that is not installed would fail in words of its own.
    _refuse_other_backend(os.environ.get("KERAS_BACKEND"))
    if "keras" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _standard_error_held_back():
            import keras
            import tensorflow  # noqa: F401
    import keras

    _refuse_other_backend(keras.backend.backend())
    keep_memory()
    compile_loops_well()


def compile_loops_well():
    """Sets the flags of XLA that loops gain from, each unless the environment says something of it already.

    XLA reads its flags when it first compiles something. A flag that it does not know would end the process; these
    are known to the versions of TensorFlow that this package goes with.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if flags and not flags.lstrip().startswith("-"):
        return  # the name of a file of flags
    missing = [flag for flag in (LIVE_RANGES, *ONE_GRAPH) if flag.split("=")[0] not in flags]
    if missing:
        os.environ["XLA_FLAGS"] = " ".join([flags, *missing]).strip()


@functools.cache
def keep_memory():
    """Lets the process keep the memory that one step frees, for the next step.

    glibc hands blocks from 32 MB on back to the system as soon as they are free, and each page of the next step's is
    cleared once more: up to a third of the time of a step over long sequences. Where the environment says how malloc
    should behave (MALLOC_..., GLIBC_TUNABLES), or another library does the allocation, nothing is changed.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    trim_threshold, mmap_max = -1, -4  # their numbers in malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)


def _refuse_other_backend(name: str | None):
    if name not in (None, "", "tensorflow"):
        raise ImportError(
            f"keras_rnn needs Keras's tensorflow backend, but Keras is set to {name}: "
            "set the environment variable KERAS_BACKEND=tensorflow."
        )


@contextlib.contextmanager
def _standard_error_held_back() -> Iterator[None]:
    """Libraries write their notices to the file descriptor, past Python. Errors still come, as exceptions."""
    try:
        kept = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
