"""Time and memory of a training step as time, batch and units grow, with and without `rematerialize`.

    python -m benchmarks.growth [--rounds=3] [--quick]

An LSTM in FusedRNN under XLA; a step is forward and backward, gradients of inputs and weights. With
`rematerialize=True` backward computes stretches of about √time steps again, instead of finding all states and products
kept. Each row is a process of its own; its memory is the most that it has had, less what it had after the same step on
16 time steps. What lies beyond the inputs, the outputs and the gradients of both is what `rematerialize` is about. Time
is the minimum of the rounds. On a GPU it is that one's memory that is looked at.
"""

import argparse
import dataclasses

import numpy as np

from benchmarks import racing, results
from benchmarks.shapes import Problem

# By what grows: sizes; the others stay.
BASE = Problem("lstm", batch=16, time=256, features=128, units=128)
GROWING = {
    "time": (64, 256, 1024, 4096, 16384),
    "batch": (1, 8, 64, 512),
    "units": (32, 128, 512, 1024),
}
KINDS = {"all kept": None, "rematerialize=True": True}

# What must train within 4 GiB.
LARGE = Problem("lstm", batch=32, time=16384, features=256, units=256)

# Bytes; what is less drowns in what a process needs besides.
LEAST = 50 * 2**20

FLOAT = 4
MIB, GIB = 2**20, 2**30


@dataclasses.dataclass(frozen=True)
class Measured:
    """One step.

    Attributes:
        seconds: of the fastest.
        memory: bytes, less what the process had before.
        peak: bytes of the whole process.
        beyond: bytes of `memory` beyond inputs, outputs and their gradients.
    """

    seconds: float
    memory: int
    peak: int
    beyond: int


def measure(problem: Problem, rematerialize: bool | None, rounds: int) -> Measured | None:
    """A step in a process of its own; None where it fails."""
    contestant = racing.Contestant()

    def ask(**question):
        answer = contestant.ask(**question)
        if "error" in answer:
            raise RuntimeError(answer["error"].splitlines()[0][:150])
        return answer

    def prepare(problem):
        arguments = {**problem.arguments(), "rematerialize": rematerialize}
        return ask(prepare="benchmarks.keras_layers:ours", arguments=arguments)

    try:
        before = prepare(dataclasses.replace(problem, time=16))["peak"]
        prepare(problem)
        seconds, turn = [], 1
        for _ in range(rounds):
            answer = ask(run=turn)
            seconds += answer["seconds"]
            turn = max(1, min(100, int(racing.TURN_SECONDS / min(seconds))))
    except RuntimeError as error:
        print(f"  {problem.name} takes no part: {error}")
        return None
    finally:
        contestant.close()
    memory = answer["peak"] - before
    steps = problem.batch * (problem.time - 16)
    outside = 2 * FLOAT * steps * (problem.features + problem.units)
    return Measured(min(seconds), memory, answer["peak"], memory - outside)


def exponent(sizes: list[int], values: list[float]) -> float:
    """The a of value ~ size^a, between the last two; the first ones are small beside what is always there."""
    (x, y), (a, b) = np.log(sizes[-2:]), np.log(np.maximum(values[-2:], 1e-9))
    return float((b - a) / (y - x))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each step")
    parser.add_argument("--quick", action="store_true", help="time up to 1024; writes nothing")
    options = parser.parse_args()
    growing = {"time": (256, 1024)} if options.quick else GROWING
    found = {}
    for axis, sizes in growing.items():
        for size in sizes:
            problem = dataclasses.replace(BASE, **{axis: size})
            if axis == "units":
                problem = dataclasses.replace(problem, features=size)
            for kind, rematerialize in KINDS.items():
                measured = measure(problem, rematerialize, options.rounds)
                if measured:
                    found[axis, size, kind] = (problem, measured)
                    print(f"{problem.name}, {kind}: {_said(measured)}", flush=True)
    if options.quick:
        return
    measured = measure(LARGE, True, 1)
    if measured:
        found["large", LARGE.time, "rematerialize=True"] = (LARGE, measured)
        print(f"{LARGE.name}, rematerialize=True: {_said(measured)}", flush=True)
    report(found)


def _said(measured: Measured) -> str:
    return (
        f"{1e3 * measured.seconds:.1f} ms, {measured.memory / MIB:.0f} MiB, "
        f"{measured.beyond / MIB:.0f} beyond inputs and outputs, {measured.peak / GIB:.2f} GiB in all"
    )


def report(found) -> None:
    whose = "GPU" if results.gpu() else "process"
    header = ["batch, time, features, units", "kept", "ms", "ms a step and row"]
    header += ["MiB", "MiB beyond inputs, outputs, gradients", f"GiB of the {whose}"]
    rows, summary = [], []
    for (_, _, kind), (problem, measured) in found.items():
        sizes = f"{problem.batch},{problem.time},{problem.features},{problem.units}"
        milliseconds = 1e3 * measured.seconds
        rows.append(
            [sizes, kind, milliseconds, milliseconds / problem.time / problem.batch]
            + [measured.memory / MIB, measured.beyond / MIB, measured.peak / GIB]
        )
    for axis in GROWING:
        for kind in KINDS:
            sizes, seconds, beyond = _series(found, axis, kind)
            if len(sizes) > 1:
                line = f"{kind}, {axis} from {sizes[-2]} to {sizes[-1]}: time grows as {axis}^"
                line += f"{exponent(sizes, seconds):.2f}"
                if min(beyond[-2:]) >= LEAST:
                    power = exponent(sizes, beyond)
                    line += f", memory beyond inputs and outputs as {axis}^{power:.2f}"
                summary.append(line)
    for axis, size, kind in found:
        if axis == "large":
            peak = found[axis, size, kind][1].peak / GIB
            summary.append(
                f"{LARGE.time} steps of {LARGE.batch} x {LARGE.units} units with {kind}: {peak:.2f} GiB"
                + ("" if results.gpu() else ", the process and TensorFlow included")
            )
    note = __doc__.split("\n\n")[2].replace("\n", " ")
    results.write("growth", "Growth", note, header, rows, summary, figure=_draw(found))


def _series(found, axis: str, kind: str) -> tuple[list[int], list[float], list[float]]:
    sizes = [size for a, size, k in found if (a, k) == (axis, kind)]
    measured = [found[axis, size, kind][1] for size in sizes]
    return sizes, [m.seconds for m in measured], [float(m.beyond) for m in measured]


def _draw(found):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, len(GROWING), sharey="row")
    for column, axis in enumerate(GROWING):
        for kind in KINDS:
            sizes, seconds, beyond = _series(found, axis, kind)
            axes[0, column].plot(sizes, [1e3 * s for s in seconds], "o-", label=kind)
            axes[1, column].plot(sizes, [max(b / MIB, 1) for b in beyond], "o-", label=kind)
        axes[1, column].set_xlabel(axis)
        for row in axes[:, column]:
            row.set_xscale("log", base=2)
            row.set_yscale("log")
            row.grid(alpha=0.3)
    axes[0, 0].set_ylabel("ms")
    axes[1, 0].set_ylabel("MiB beyond inputs and outputs")
    axes[0, 0].legend()
    return figure


if __name__ == "__main__":
    main()
