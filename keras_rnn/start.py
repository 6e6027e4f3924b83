"""The first import of TensorFlow and Keras: without their notices, and with the right backend."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def import_quietly():
    """Imports TensorFlow and Keras, unless they are there already.

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
