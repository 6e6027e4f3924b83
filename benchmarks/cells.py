"""One recurrent layer: this package's under XLA against stock Keras, PyTorch, JAX, and the matrix products alone.

    python -m benchmarks.cells [--rounds=20] [--only=lstm] [--quick]
    python -m benchmarks.cells --import=my_cells [--cell=MyCell]       a cell of yours, against keras.layers.RNN(cell)

Training is forward and backward, gradients of inputs and weights, no optimizer; inference is forward alone.
Ratios are ours by the faster of stock Keras with XLA and without, and by PyTorch; below 1 is faster. Keras has no cell
with the lecture's LSTM, which is raced against its own. The floor is the layer's matrix products and nothing else, each
recurrent one after the other.
"""

import argparse
import ast
import importlib.util
import itertools
import pathlib
from collections.abc import Mapping

from benchmarks import racing, results
from benchmarks.racing import Entry
from benchmarks.shapes import Problem

# batch, time, features, units
SHAPES = [
    (1, 20, 64, 64),
    (8, 40, 100, 128),
    (32, 30, 128, 128),
    (16, 400, 128, 256),
    (32, 100, 128, 256),
    (64, 50, 300, 512),
]
# Those that a GPU has something to do with.
GPU_SHAPES = [(8, 40, 100, 128), (32, 100, 128, 256), (64, 50, 300, 512)]
CUSTOM = ["layer norm lstm", "peephole lstm", "nas", "LeakyCell"]
CUSTOM_SHAPES = [(8, 40, 100, 128), (32, 50, 128, 256)]
LEAKY = str(racing.ROOT / "benchmarks" / "leaky_cell.py")


def standard_problems(shapes) -> list[Problem]:
    """Both equations, both directions, masks, training and inference; not all of all."""
    problems = []
    for shape, training in itertools.product(shapes, (True, False)):
        for cell in ("lstm", "gru"):
            problems.append(Problem(cell, *shape, training=training))
        if shape != shapes[0]:
            problems.append(Problem("lstm", *shape, training, masked=True))
            problems.append(Problem("gru", *shape, training, bidirectional=True, masked=True))
            problems.append(Problem("lecture lstm", *shape, training))
            problems.append(Problem("lecture gru", *shape, training))
    return problems


def standard_entries(problem: Problem) -> dict[str, Entry]:
    given = problem.arguments()
    entries = {
        "ours": _ours(given),
        "Keras": Entry("benchmarks.stock_layers:stock", {**given, "jit_compile": False}),
        "Keras XLA": Entry("benchmarks.stock_layers:stock", {**given, "jit_compile": True}),
        "floor": Entry("benchmarks.torch_layers:floor", given, "torch"),
    }
    if not problem.cell.startswith("lecture"):
        entries["PyTorch"] = Entry("benchmarks.torch_layers:layer", given, "torch")
        entries["JAX"] = Entry("benchmarks.jax_layers:layer", given, "jax")
    return entries


def _ours(given: dict[str, object]) -> Entry:
    """On a GPU with a few steps to an iteration of the loop, as whoever trains there for long has it."""
    return Entry("benchmarks.keras_layers:ours", {**given, "unroll": 4 if results.gpu() else 1})


def custom_entries(problem: Problem, file: str, known: bool) -> dict[str, Entry]:
    given = {**problem.arguments(), "file": file}
    entries = {
        "ours": _ours(given),
        "Keras": Entry("benchmarks.keras_layers:loop", {**given, "jit_compile": False}),
        "Keras XLA": Entry("benchmarks.keras_layers:loop", {**given, "jit_compile": True}),
    }
    if known:
        given, function = problem.arguments(), "benchmarks.torch_layers:loop"
        entries["PyTorch"] = Entry(function, {**given, "compiled": False}, "torch")
        entries["PyTorch compiled"] = Entry(function, {**given, "compiled": True}, "torch")
    return entries


def race(problems, entries_of, rounds: int) -> list[tuple[Problem, dict[str, float]]]:
    found = []
    with racing.referee(rounds) as referee:
        for problem in problems:
            seconds = racing.fastest(referee.race(entries_of(problem)))
            found.append((problem, seconds))
            times = ", ".join(f"{name} {1e3 * value:.2f}" for name, value in seconds.items())
            shares = ", ".join(f"{k} {v:.2f}" for k, v in results.ratios_of(seconds).items())
            print(f"{problem.name}: {times} ms; {shares}", flush=True)
    return found


def report(name: str, title: str, note: str, found) -> None:
    contestants = list(dict.fromkeys(who for _, seconds in found for who in seconds))
    others = [
        k for k in ("Keras", "PyTorch", "floor") if any(k in results.ratios_of(s) for _, s in found)
    ]
    header = ["cell; batch, time, features, units", *(f"{who}, ms" for who in contestants)]
    header += [f"ours / {other}" for other in others]
    rows, ratios = [], {other: {} for other in others}
    for problem, seconds in found:
        shares = results.ratios_of(seconds)
        missing = float("nan")
        rows.append(
            [problem.name]
            + [1e3 * seconds.get(who, missing) for who in contestants]
            + [shares.get(other, missing) for other in others]
        )
        for other, share in shares.items():
            ratios[other][problem.name] = share
    summary = [f"ours / {other}: {summary_of(shares)}" for other, shares in ratios.items()]
    drawn = {f"by {other}": by_row for other, by_row in ratios.items()}
    results.write(name, title, note, header, rows, summary, drawn)


def summary_of(shares: Mapping[str, float]) -> str:
    """The geometric mean of ratios by problem, that of training and inference where there are both, and the bounds."""
    of_kind = {
        kind: [share for name, share in shares.items() if name.endswith(kind)]
        for kind in ("training", "inference")
    }
    means = [f"{kind} {results.geometric_mean(part):.2f}" for kind, part in of_kind.items()]
    shown = f"geometric mean {results.geometric_mean([*shares.values()]):.2f}"
    if all(of_kind.values()):
        shown += f" ({', '.join(means)})"
    return f"{shown}, {min(shares.values()):.2f} to {max(shares.values()):.2f}"


def module_file(name: str) -> str | None:
    """The file of `my_cells.py`, `my_cells` or `package.my_cells`, found from here as Python would find it."""
    if name.endswith(".py"):
        path = pathlib.Path(name)
    else:
        path = pathlib.Path(*name.split(".")).with_suffix(".py")
        if not path.exists():
            try:
                spec = importlib.util.find_spec(name)
            except ImportError:  # of a package on the way
                spec = None
            path = pathlib.Path(spec.origin if spec and spec.origin else path)
    return str(path.resolve()) if path.is_file() else None


def user_cells(file: str) -> list[str]:
    """The classes of a module whose base is a cell, by its text: the module is run by the contestants alone."""
    tree = ast.parse(pathlib.Path(file).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return [c.name for c in classes if any("Cell" in ast.unparse(base) for base in c.bases)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="turns of each contestant")
    parser.add_argument("--only", default="", help="rows whose name contains this; writes nothing")
    parser.add_argument(
        "--quick", action="store_true", help="the smallest shapes alone; writes nothing"
    )
    parser.add_argument(
        "--import", dest="file", default="", help="a module, or its file, with a cell of yours"
    )
    parser.add_argument("--cell", default="", help="its class; by default every cell of the file")
    options = parser.parse_args()
    if options.file:
        file = module_file(options.file)
        if file is None:
            parser.error(f"--import={options.file}: no such file, and no such module")
        names = [options.cell] if options.cell else user_cells(file)
        if not names:
            parser.error(f"{file}: no class whose base is a cell")
        shapes = CUSTOM_SHAPES[:1] if options.quick else [*CUSTOM_SHAPES, (64, 50, 300, 512)]
        problems = [Problem(name, *shape) for name in names for shape in shapes]
        race(problems, lambda problem: custom_entries(problem, file, False), options.rounds)
        return
    shapes = GPU_SHAPES if results.gpu() else SHAPES
    kept = [p for p in standard_problems(shapes) if options.only in p.name]
    custom = [Problem(cell, *s) for cell in CUSTOM for s in CUSTOM_SHAPES]
    custom = [p for p in custom if options.only in p.name]
    if options.quick:
        kept = [p for p in kept if (p.batch, p.time) in ((1, 20), (8, 40))]
        custom = [p for p in custom if p.batch == 8]
    found = race(kept, standard_entries, options.rounds)
    found_custom = race(
        custom,
        lambda p: custom_entries(p, LEAKY if p.cell == "LeakyCell" else "", True),
        options.rounds,
    )
    if options.only or options.quick:
        return
    note = __doc__.split("\n\n")[2].replace("\n", " ")
    if results.gpu():
        note += "On a GPU ours have `unroll=4`."
    report("cells", "Standard cells", note, found)
    report("custom_cells", "Custom cells", note, found_custom)


if __name__ == "__main__":
    main()
