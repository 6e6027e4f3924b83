"""A contestant's process: it prepares what it is told to, and runs it when it is told to.

`benchmarks.racing` starts it, in the Python environment of its library, and talks to it by lines of JSON:

    {"prepare": "module:function", "arguments": {...}}   the function's result is called, once, and then ready
    {"run": times}                                       so many runs; short ones after one that is not timed

It answers {"seconds": [...]}, one number a run (of `prepare` one: how long it took until it was ready, the first run
included), with the most bytes that it has had in memory, "peak", and what the run's `facts` say, or {"error": message}.
"""

import importlib
import json
import os
import resource
import sys
import time
from typing import Any, TextIO


def main() -> None:
    # Whatever a library prints goes to standard error: standard output speaks the protocol.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "prepare" in asked:
                start = time.perf_counter()
                run = None  # what it held is free before the next is made
                run = _prepared(asked["prepare"], asked["arguments"])
                run()
                answer = {"seconds": [time.perf_counter() - start]}
            else:
                answer = {"seconds": _times(run, asked["run"])}
            answer |= {"peak": _peak(), **getattr(run, "facts", {})}
        except Exception as error:  # a contestant that cannot take part says why
            answer = {"error": f"{type(error).__name__}: {error}"}
        _say(answers, answer)


def _prepared(name: str, arguments: dict[str, Any]) -> Any:
    module, function = name.split(":")
    return getattr(importlib.import_module(module), function)(**arguments)


def _times(run: Any, times: int) -> list[float]:
    # Whoever was stopped has lost its caches; a run that fills a whole turn does not feel it.
    if times > 1:
        run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def _peak() -> int:
    """Bytes: the most that this process has had in memory."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
