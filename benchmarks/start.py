"""What stands before the first result: imports, the first step, and what is compiled on the way.

    python -m benchmarks.start [--rounds=5] [--quick]

Imports are those of fresh processes, in turn: this package against TensorFlow with Keras. The first step is that of an
LSTM layer, from its construction to its gradients, tracing and compiling included, in a process that has compiled
another one before. The programs are those of a training of two epochs on batches of several padded lengths: how many
were compiled in the first epoch and in the second, against the number of these lengths, and how long a second process
takes that finds the first one's programs in TensorFlow's cache.
"""

import argparse
import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks import racing, results
from benchmarks.shapes import Problem
from benchmarks.texts import prepare

# By name, what Python is told to run.
IMPORTS = {
    "keras_rnn": ["-c", "import keras_rnn"],
    "TensorFlow with Keras": ["-c", "import tensorflow, keras; keras.layers.LSTM"],
    "keras-rnn train --help": ["-m", "keras_rnn", "train", "--help"],
}
LAYERS = {
    "ours": ("benchmarks.keras_layers:ours", {}),
    "Keras": ("benchmarks.stock_layers:stock", {"jit_compile": False}),
    "Keras XLA": ("benchmarks.stock_layers:stock", {"jit_compile": True}),
}
FIRST = Problem("lstm", batch=32, time=100, features=128, units=256)
EXAMPLES = 640


def imports(rounds: int) -> dict[str, float]:
    """Seconds of a process that imports and ends, the fastest of each."""
    seconds = dict.fromkeys(IMPORTS, float("inf"))
    # The very first of all reads the disk.
    for number in range(rounds + 1):
        for name, arguments in IMPORTS.items():
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments],
                cwd=racing.ROOT,
                check=True,
                capture_output=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
            if number:
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def first_steps(rounds: int) -> dict[str, float]:
    """Seconds from a layer's construction to its first gradients, the fastest of several processes."""
    seconds = dict.fromkeys(LAYERS, float("inf"))
    small = dataclasses.replace(FIRST, batch=2, time=8, units=16)
    for _ in range(rounds):
        for name, (function, more) in LAYERS.items():
            contestant = racing.Contestant()
            contestant.ask(prepare=function, arguments={**small.arguments(), **more})
            answer = contestant.ask(prepare=function, arguments={**FIRST.arguments(), **more})
            contestant.close()
            if "error" in answer:
                raise RuntimeError(f"{name}: {answer['error']}")
            seconds[name] = min(seconds[name], *answer["seconds"])
    return seconds


def programs(data: str) -> dict[str, dict]:
    """Facts of two epochs of training in a process that compiles everything, and in one that finds it in the cache."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        cache = pathlib.Path(scratch) / "xla"
        texts = prepare("classification", data, pathlib.Path(scratch) / "texts", EXAMPLES)
        settings = {"TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={cache}"}
        arguments = {"task": texts.task, "folder": texts.folder}
        for name in ("nothing in the cache", "again, from the cache"):
            contestant = racing.Contestant(settings=settings)
            first = contestant.ask(prepare="benchmarks.our_training:training", arguments=arguments)
            second = contestant.ask(run=1)
            contestant.close()
            for answer in (first, second):
                if "error" in answer:
                    raise RuntimeError(answer["error"])
            found[name] = {
                "lengths": first["shapes"],
                "batches": first["batches"],
                "programs, epoch 1": first["programs"],
                "programs, epoch 2": second["programs"] - first["programs"],
                "files in the cache": len([*cache.rglob("*.pb")]),
                "seconds of compiling": first["compile_seconds"],
            }
            print(
                f"{name}: " + ", ".join(f"{k} {v:.3g}" for k, v in found[name].items()), flush=True
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="", help="a folder with sentiment")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each kind")
    parser.add_argument("--quick", action="store_true", help="one round; writes nothing")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    imported = imports(rounds)
    print("; ".join(f"{name} {value:.2f} s" for name, value in imported.items()), flush=True)
    stepped = first_steps(min(rounds, 3))
    print("; ".join(f"{name} {value:.2f} s" for name, value in stepped.items()), flush=True)
    compiled = programs(options.data)
    if not options.quick:
        report(imported, stepped, compiled)


def report(imported, stepped, compiled) -> None:
    ours, others = (imported[name] for name in ("keras_rnn", "TensorFlow with Keras"))
    cold, warm = compiled.values()
    cached = warm["seconds of compiling"] / cold["seconds of compiling"]
    summary = [
        f"import: {ours / others:.2f} of TensorFlow with Keras",
        f"first step: {results.ratios_of(stepped)['Keras']:.2f} of the faster of stock Keras's",
        f"{cold['programs, epoch 1']} programs for {cold['lengths']} padded lengths in the first epoch, "
        f"{cold['programs, epoch 2']} in the second",
        f"compiling takes {cached:.2f} of the time where the cache has the programs",
    ]
    rows = [[f"import, {name}", value] for name, value in imported.items()]
    rows += [[f"first step, {name}", value] for name, value in stepped.items()]
    rows += [
        [f"{fact}, {name}", value]
        for name, facts in compiled.items()
        for fact, value in facts.items()
    ]
    note = __doc__.split("\n\n")[2].replace("\n", " ")
    results.write("start", "Start", note, ["what", "seconds or number"], rows, summary)


if __name__ == "__main__":
    main()
