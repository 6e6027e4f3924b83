"""Serving by ONNX Runtime: this package's own export to it, encoded by the client that comes with the export."""

import importlib.util
import itertools
import pathlib
from collections.abc import Callable

import numpy as np
import onnxruntime


def session(task: str, export: str, sentences: list[str], batch: int) -> Callable[[], None]:
    """One run: the next `batch` of the sentences, from strings to strings."""
    folder = pathlib.Path(export)
    spec = importlib.util.spec_from_file_location("encoding", folder / "encoding.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    encoding = module.Encoding(folder)
    names = encoding.rules["labels" if task == "classification" else "tags"]
    model = onnxruntime.InferenceSession(folder / "model.onnx")
    places = {output.name: number for number, output in enumerate(model.get_outputs())}
    starts = range(0, len(sentences) - batch + 1, batch)
    numbers = itertools.cycle(starts)

    def run() -> None:
        start = next(numbers)
        rows = [
            encoding.features(encoding.tokens(sentence))["ids"][0]
            for sentence in sentences[start : start + batch]
        ]
        ids = np.zeros([batch, max(map(len, rows))], np.int32)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
        found = model.run(None, {"ids": ids})
        if task == "classification":
            probabilities = found[places["probabilities"]]
            [names[number] for number in probabilities.argmax(1)]
        else:
            tags = found[places["tags"]]
            [[names[tag] for tag in found[: len(row)]] for found, row in zip(tags, rows)]

    for _ in starts:  # every shape has been seen before the race
        run()
    return run
