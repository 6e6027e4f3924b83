"""Serving by the SavedModel that this package exports. Imports TensorFlow and nothing of the package."""

import itertools
from collections.abc import Callable

import tensorflow as tf

OUTPUTS = {"classification": "label", "tagging": "tags", "translation": "output"}


def saved_model(
    task: str, export: str, sentences: list[str], batch: int, signature: str
) -> Callable[[], None]:
    """One run: the next `batch` of the sentences, from strings to strings."""
    loaded = tf.saved_model.load(export)
    answer = loaded.signatures[signature]
    starts = range(0, len(sentences) - batch + 1, batch)
    numbers = itertools.cycle(starts)

    def run() -> None:
        start = next(numbers)
        answer(text=tf.constant(sentences[start : start + batch]))[OUTPUTS[task]].numpy()

    for _ in starts:  # every shape has been seen before the race
        run()
    run.model = loaded  # its functions live as long as it does
    return run


def empty_call(task: str, sentences: list[str], batch: int) -> Callable[[], None]:
    """One run of a function that gives the next `batch` of the sentences back as they are."""
    text = [tf.TensorSpec([None], tf.string, name="text")]
    answer = tf.function(tf.identity, input_signature=text).get_concrete_function()
    numbers = itertools.cycle(range(0, len(sentences) - batch + 1, batch))

    def run() -> None:
        start = next(numbers)
        answer(tf.constant(sentences[start : start + batch])).numpy()

    run()
    return run
