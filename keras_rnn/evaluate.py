"""Evaluation: a trained run measured on files, or on its own dev data."""

import collections
import json
import os
import sys
import tempfile
from typing import Any

from keras_rnn.examples import open_examples, write_examples
from keras_rnn.run import Run


def evaluate(run: Run, data: str = "") -> dict[str, Any]:
    """Judges the best checkpoint; prints the evaluate object as the last line and gives it.

    Arguments:
        run: an opened run.
        data: files in the task's format; the run's dev data if "".
    """
    task = run.task
    counts = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="keras_rnn_") as scratch:
        if data:
            folder = os.path.join(scratch, "examples")
            encoded = task.encode(task.read(data, counts), counts)
            store = write_examples(folder, encoded, task, counts, data)
        else:
            store = open_examples(os.path.join(run.workdir.examples, "dev"), task)
        batches = task.batches(store, training=False)
        forward = run.programs.compile(
            lambda batch: task.forward(run.model, batch, last=True), "the evaluation"
        )
        result = task.judge(forward, batches)
    for reason, count in counts.items():
        print(f"{count:,} {reason}", file=sys.stderr)
    # JSON everywhere, also where standard output has no letters beyond ASCII.
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(result, ensure_ascii=not unicode), flush=True)
    return result
