"""One sentence, and batches of them, through the exported model: from strings to strings.

    python -m benchmarks.serving [--data=FOLDER] [--rounds=10] [--quick]

The models are those of the race of training, with random weights: a classifier, a tagger whose field is searched for
the best tags, and a translator that searches with a beam of 5 for 20 tokens, which random weights hardly ever end
before. Ours is the SavedModel, by its signatures `serving_default` and `compiled`; the others are the same classifier
and tagger exported to ONNX Runtime, and the same models in TorchScript. An empty call is one of a TensorFlow function
that gives the strings back: no SavedModel can answer sooner. The median and the 99th percentile of all calls, whose
sentences have the lengths of the data.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks import racing, results
from benchmarks.racing import Entry
from benchmarks.texts import SETTINGS, Texts, prepare

EXAMPLES, BATCHES = 2000, (1, 32)
LONGEST = 20

# Sentences that are asked for.
ASKED = 128


def export(texts: Texts, scratch: pathlib.Path) -> dict[str, str]:
    """The task's model, untrained, as a SavedModel and, where it can be had, for ONNX Runtime: folder by format."""
    settings = dict(SETTINGS[texts.task])
    if texts.task == "translation":
        settings |= {"search.beam": 5, "search.max_length": LONGEST, "search.min_length": LONGEST}
    run, files = scratch / "run", ",".join(texts.files)
    command = [sys.executable, "-m", "keras_rnn"]
    train = [f"--task={texts.task}", f"--train_data={files}", "--config.epochs=0"]
    train += [f"--config.{name}={value}" for name, value in settings.items()]
    _call([*command, "train", f"--workdir={run}", *train])
    formats = ["saved_model"] + ["onnx"] * (texts.task != "translation")
    folders = {}
    for form in formats:
        folder = str(scratch / form)
        try:
            _call(
                [*command, "export", f"--workdir={run}", f"--output={folder}", f"--format={form}"]
            )
            folders[form] = folder
        except subprocess.CalledProcessError as error:
            print(f"  no export to {form}: {error.stderr.strip().splitlines()[-1]}")
    return folders


def _call(command: list[str]) -> None:
    subprocess.run(command, cwd=racing.ROOT, check=True, capture_output=True, text=True)


def entries(texts: Texts, exports: dict[str, str], batch: int) -> dict[str, Entry]:
    given = {"task": texts.task, "sentences": sentences(texts), "batch": batch}
    found = {}
    for signature in ("serving_default", "compiled"):
        arguments = {**given, "export": exports["saved_model"], "signature": signature}
        found[signature] = Entry("benchmarks.our_serving:saved_model", arguments)
    found["empty call"] = Entry("benchmarks.our_serving:empty_call", given)
    if "onnx" in exports:
        arguments = {**given, "export": exports["onnx"]}
        found["ONNX Runtime"] = Entry("benchmarks.onnx_serving:session", arguments, "onnx")
    arguments = {**given, "folder": texts.folder, "longest": LONGEST}
    found["TorchScript"] = Entry("benchmarks.torch_serving:script", arguments, "torch")
    return found


def sentences(texts: Texts) -> list[str]:
    return [" ".join(words) for words, _ in texts.examples()[:ASKED]]


def percentiles(seconds: dict[str, list[float]]) -> dict[str, tuple[float, float]]:
    """Milliseconds that half of the calls, and 99 of 100, stay below."""
    return {
        name: tuple(1e3 * np.percentile(runs, (50, 99)).astype(float))
        for name, runs in seconds.items()
    }


def shares(times: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Our time by that of the fastest other, for each signature and percentile."""
    others = [times[name] for name in ("ONNX Runtime", "TorchScript") if name in times]
    ours = [name for name in ("serving_default", "compiled") if name in times]
    if not others:
        return {}
    return {
        f"{name} p{percent}": times[name][place] / min(other[place] for other in others)
        for name in ours
        for place, percent in enumerate((50, 99))
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="", help="a folder with sentiment, slots and translation")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each contestant")
    parser.add_argument("--quick", action="store_true", help="the classifier alone; writes nothing")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as scratch, racing.referee(options.rounds) as referee:
        for task in ("classification", "tagging", "translation")[: 1 if options.quick else 3]:
            folder = pathlib.Path(scratch) / task
            texts = prepare(task, options.data, folder / "texts", EXAMPLES)
            exports = export(texts, folder)
            for batch in BATCHES:
                times = percentiles(referee.race(entries(texts, exports, batch)))
                what = "beam 5" if task == "translation" else task
                found[f"{what}, {batch} at a time"] = times
                said = ", ".join(
                    f"{name} {p50:.2f} / {p99:.2f}" for name, (p50, p99) in times.items()
                )
                shared = ", ".join(f"{name} {share:.2f}" for name, share in shares(times).items())
                print(
                    f"{what}, {batch} at a time: {said} ms (p50 / p99); by the faster other: {shared}",
                    flush=True,
                )
    if not options.quick:
        report(found)


def report(found: dict[str, dict[str, tuple[float, float]]]) -> None:
    contestants = list(dict.fromkeys(name for times in found.values() for name in times))
    kinds = list(dict.fromkeys(kind for times in found.values() for kind in shares(times)))
    missing = (float("nan"), float("nan"))
    rows, ratios = [], {kind: {} for kind in kinds}
    for what, times in found.items():
        row = [what]
        for name in contestants:
            row += times.get(name, missing)
        rows.append(row + [shares(times).get(kind, float("nan")) for kind in kinds])
        for kind, share in shares(times).items():
            ratios[kind][what] = share
    header = ["what"]
    header += [f"{name} p{percent}, ms" for name in contestants for percent in (50, 99)]
    header += [f"{kind} / the fastest other" for kind in kinds]
    summary = [
        f"{kind} / the fastest other: geometric mean {results.geometric_mean([*by_row.values()]):.2f}, "
        f"{min(by_row.values()):.2f} to {max(by_row.values()):.2f}"
        for kind, by_row in ratios.items()
    ]
    note = __doc__.split("\n\n")[2].replace("\n", " ")
    results.write(
        "serving", "Serving", note, header, rows, summary, ratios, other="the fastest other"
    )


if __name__ == "__main__":
    main()
