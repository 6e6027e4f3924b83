"""The precision that models are built for."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def building_in(precision: str) -> Iterator[None]:
    """Within, layers are made for a precision, "mixed_bfloat16" say; afterwards Keras's own setting is what it was."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
