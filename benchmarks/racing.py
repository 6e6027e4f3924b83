"""The referee: contestants in processes of their own take turns, and the fastest run of each counts.

A machine is never quiet; turn by turn a disturbance hits all of them alike, and a minimum forgets it. A contestant
whose turn it is not is stopped (SIGSTOP): no thread of it spins on a core that another needs.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]

# The Python of each library that is not installed beside this package; `make bench` makes them.
PYTHONS = {
    library: ROOT / f".venv-{library}" / "bin" / "python" for library in ("torch", "jax", "onnx")
}

# Contestants that share a GPU take of its memory what they need, not all of it.
SHARING = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

# A turn is as many runs as fit into this, and at least one.
TURN_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a contestant runs: `module:function`, its arguments, and the library whose Python runs it."""

    function: str
    arguments: Mapping[str, Any]
    library: str = ""


class Contestant:
    """One process. It keeps its libraries loaded from race to race.

    Arguments:
        library: whose Python runs it.
        settings: environment variables of its own.
    """

    def __init__(self, library: str = "", settings: Mapping[str, str] | None = None):
        self._process = subprocess.Popen(
            [python_of(library), "-m", "benchmarks.contestant"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if "BENCH_VERBOSE" not in os.environ else None,
            text=True,
            env={**SHARING, **os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(settings or {})},
        )
        self._stop()

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def ask(self, **question: Any) -> dict[str, Any]:
        """Lets it run until it has answered."""
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"error": f"the process ended with status {self._process.wait()}"}
        self._stop()
        return json.loads(line)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Referee:
    """Keeps a process for each name and races them.

    Attributes:
        facts: of the last race: by name what a contestant said beside its times.
    """

    def __init__(self, rounds: int):
        self.rounds = rounds
        self.facts: dict[str, dict[str, Any]] = {}
        self._contestants: dict[str, Contestant] = {}
        self._missing: set[str] = set()

    def race(self, entries: Mapping[str, Entry], rounds: int = 0) -> dict[str, list[float]]:
        """Seconds of every run of each that can take part; why one cannot is said."""
        turns, seconds, self.facts = {}, {}, {}
        for name, entry in entries.items():
            if not has(entry.library):
                self._miss(name, entry.library)
                continue
            if name not in self._contestants:
                self._contestants[name] = Contestant(entry.library)
            arguments = dict(entry.arguments)
            answer = self._contestants[name].ask(prepare=entry.function, arguments=arguments)
            if "error" not in answer:
                answer = self._contestants[name].ask(run=1)
            if "error" in answer:
                print(f"  {name} takes no part: {answer['error'].splitlines()[0][:150]}")
                self._dismiss(name)
                continue
            turns[name] = max(1, min(100, int(TURN_SECONDS / answer["seconds"][0])))
            seconds[name] = answer.pop("seconds")
            self.facts[name] = answer
        for _ in range(rounds or self.rounds):
            for name, times in turns.items():
                seconds[name] += self._contestants[name].ask(run=times)["seconds"]
        return seconds

    def _miss(self, name: str, library: str) -> None:
        if library not in self._missing:
            print(f"  {name} takes no part: no {library} here, which `make bench` installs")
        self._missing.add(library)

    def _dismiss(self, name: str) -> None:
        self._contestants.pop(name).close()

    def close(self) -> None:
        for name in [*self._contestants]:
            self._dismiss(name)


@contextlib.contextmanager
def referee(rounds: int) -> Iterator[Referee]:
    """A referee whose contestants go home at the end."""
    one = Referee(rounds)
    try:
        yield one
    finally:
        one.close()


def has(library: str) -> bool:
    """Whether there is a Python that has this library; "" is this package's own."""
    return not library or python_of(library) is not None


@functools.cache
def python_of(library: str) -> str | None:
    if not library:
        return sys.executable
    if PYTHONS[library].exists():
        return str(PYTHONS[library])
    module = {"onnx": "onnxruntime"}.get(library, library)
    command = [sys.executable, "-c", f"import {module}"]
    there = subprocess.run(command, capture_output=True, check=False).returncode == 0
    return sys.executable if there else None


def fastest(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: min(runs) for name, runs in seconds.items()}
