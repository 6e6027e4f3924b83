"""What a race found, for people: a table and a plot in `benchmarks/results/`, and the numbers as JSON."""

import datetime
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import racing

FOLDER = racing.ROOT / "benchmarks" / "results"


def geometric_mean(ratios: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(ratios)))) if len(ratios) else float("nan")


def ratios_of(seconds: Mapping[str, float]) -> dict[str, float]:
    """Our time by that of Keras (the faster one), of PyTorch (the faster one), of the floor."""
    found = {}
    for other in ("Keras", "PyTorch", "floor"):
        times = [value for name, value in seconds.items() if name.startswith(other)]
        if times and "ours" in seconds:
            found[other] = seconds["ours"] / min(times)
    return found


def machine() -> dict[str, str]:
    """What a reader has to know of the machine and of the libraries."""
    facts = {
        "machine": ", ".join([*filter(None, [gpu()]), _processor(), f"{os.cpu_count()} cores"]),
        "date": f"{datetime.date.today():%Y-%m-%d}",
        "python": platform.python_version(),
    }
    for name in ("tensorflow", "keras"):
        facts[name] = importlib.metadata.version(name)
    for library, module in (("torch", "torch"), ("jax", "jax"), ("onnx", "onnxruntime")):
        if python := racing.python_of(library):
            command = [python, "-c", f"import {module}; print({module}.__version__)"]
            facts[module] = subprocess.run(
                command, capture_output=True, text=True, check=False
            ).stdout.strip()
    return facts


@functools.cache
def gpu() -> str:
    """The GPU that TensorFlow sees, if it sees one."""
    name = (
        "import keras_rnn, tensorflow as tf; gpus = tf.config.list_physical_devices('GPU');"
        "print(*[tf.config.experimental.get_device_details(gpu).get('device_name') for gpu in gpus])"
    )
    found = subprocess.run(
        [sys.executable, "-c", name], cwd=racing.ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def _processor() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write(
    name: str,
    title: str,
    note: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    summary: Sequence[str],
    ratios: Mapping[str, Mapping[str, float]] | None = None,
    figure: Any = None,
    other: str = "the other",
) -> None:
    """Writes NAME.md, NAME.json and, where there are ratios or a figure, NAME.png; and the page that names all.

    Where there is a GPU they are NAME_gpu.md and so on, beside those of a CPU.

    Arguments:
        header, rows: of the table.
        summary: lines above the table: what the ratios come to.
        ratios: by label and row: our time as a share of another's; drawn where no figure is given.
        figure: of matplotlib.
        other: whose time ours is a share of, as the drawing says it.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    facts = machine()
    if gpu():
        name, title = f"{name}_gpu", f"{title} on a GPU"
    lines = [f"# {title}", "", note, ""]
    lines += [", ".join(f"{key} {value}" for key, value in facts.items()), ""]
    lines += [f"- {line}" for line in summary] + [""] * bool(summary)
    if ratios and figure is None:
        figure = draw(ratios, title, other)
    if figure is not None:
        lines += [f"![{title}]({name}.png)", ""]
    lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    text = "\n".join(lines) + "\n"
    (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
    data = {
        "title": title,
        "facts": facts,
        "header": list(header),
        "rows": [list(row) for row in rows],
    }
    data["summary"] = list(summary)
    content = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    (FOLDER / f"{name}.json").write_text(content, encoding="utf-8")
    if figure is not None:
        figure.savefig(FOLDER / f"{name}.png", dpi=120, bbox_inches="tight")
    _write_index()
    print("\n".join(summary))
    print(f"{FOLDER / name}.md")


def _write_index() -> None:
    """README.md: each race with what it came to."""
    lines = [
        "# Races",
        "",
        "Written by the races themselves, `make bench`; how to read them: BUILD.md, Speed.",
        "",
    ]
    for file in sorted(FOLDER.glob("*.json")):
        data = json.loads(file.read_text(encoding="utf-8"))
        facts = data["facts"]
        lines += [f"## [{data['title']}]({file.stem}.md)", ""]
        lines += [f"{facts['date']}, {facts['machine']}", ""]
        lines += [f"- {line}" for line in data["summary"]] + [""]
    (FOLDER / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:,.0f}"
    return str(value)


def draw(ratios: Mapping[str, Mapping[str, float]], title: str, other: str = "the other"):
    """The picture of the ratios: a row each, a mark for each label."""
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys(row for found in ratios.values() for row in found))
    figure = Figure(figsize=(9, 2.4 + 0.24 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, found) in enumerate(ratios.items()):
        places = [rows.index(row) for row in found]
        axes.plot([*found.values()], places, "os^Dv"[number % 5], label=name)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(f"our time as a share of {other}'s; left of 1 we are faster")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=4)
    return figure
