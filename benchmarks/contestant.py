"""A contestant's process: it prepares what it is told to, and runs it when it is told to.

`benchmarks.racing` starts it, in the Python environment of its library, and talks to it by lines of JSON:

    {"prepare": "module:function", "arguments": {...}}   the function's result is called, once, and then ready
    {"run": times}                                       so many runs, after one that is not timed

It answers {"seconds": [...]}, one number a run (of `prepare` one: how long it took until it was ready, the first run
included), with what the function's `facts` say, or {"error": message}.
"""

import importlib
import json
import os
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
                answer = {"seconds": [time.perf_counter() - start], **getattr(run, "facts", {})}
            else:
                answer = {"seconds": _times(run, asked["run"])}
        except Exception as error:  # a contestant that cannot take part says why
            answer = {"error": f"{type(error).__name__}: {error}"}
        _say(answers, answer)


def _prepared(name: str, arguments: dict[str, Any]) -> Any:
    module, function = name.split(":")
    return getattr(importlib.import_module(module), function)(**arguments)


def _times(run: Any, times: int) -> list[float]:
    run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
