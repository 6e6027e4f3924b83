"""Whole training: from the files to updated weights, an epoch a run, input pipeline and optimizer included.

    python -m benchmarks.training [--data=FOLDER] [--rounds=3] [--only=tagging] [--quick]

Sentences are classified (a bidirectional LSTM of 128 units, pooled by attention, embeddings of 300), tagged (the same
under a conditional random field, and once under a softmax, embeddings of 100) and translated (GRUs of 256 units,
additive attention), in batches of 32, 32 and 64, with 30,000 rows of embeddings, dropout, clipped gradients and Adam. A
run reads the files, encodes them and trains for an epoch; the vocabulary and the compilation come before. Ours are this
package's readers, batches and trainer; Keras's are its own layers, `tf.data` with padded batches and `fit`; PyTorch's a
DataLoader with batches of about one length, packed rows and fused Adam. SparseAdam leaves the embeddings that a batch
does not use as they are: it is shown, and counts in no ratio, for it is another algorithm. Tokens are those of the
files.
"""

import argparse
import pathlib
import tempfile

from benchmarks import racing, results
from benchmarks.racing import Entry
from benchmarks.texts import prepare

EXAMPLES = {"classification": 4096, "tagging": 4096, "translation": 1024}
RACES = {
    "classification": ("classification", {}),
    "tagging": ("tagging", {}),
    "tagging, softmax": ("tagging", {"crf": False}),
    "translation": ("translation", {}),
}
SPARSE = "SparseAdam of PyTorch"


def entries(task: str, folder: str, options: dict[str, bool]) -> dict[str, Entry]:
    given = {"task": task, "folder": folder, **options}
    return {
        "ours": Entry("benchmarks.our_training:training", given),
        "Keras": Entry("benchmarks.keras_training:training", given),
        "PyTorch": Entry("benchmarks.torch_training:training", given, "torch"),
        SPARSE: Entry("benchmarks.torch_training:training", {**given, "sparse": True}, "torch"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="", help="a folder with sentiment, slots and translation")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each contestant")
    parser.add_argument("--only", default="", help="races whose name has this; writes nothing")
    parser.add_argument("--quick", action="store_true", help="few sentences; writes nothing")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as scratch, racing.referee(options.rounds) as referee:
        for name, (task, more) in RACES.items():
            if options.only not in name:
                continue
            most = 128 if options.quick else EXAMPLES[task]
            texts = prepare(task, options.data, pathlib.Path(scratch) / task, most)
            seconds = racing.fastest(referee.race(entries(task, texts.folder, more)))
            speeds = {who: texts.tokens() / value for who, value in seconds.items()}
            found[name] = (seconds, speeds)
            said = ", ".join(f"{who} {speed:,.0f}" for who, speed in speeds.items())
            shares = ", ".join(f"{k} {v:.2f}" for k, v in results.ratios_of(seconds).items())
            print(f"{name}: {said} tokens a second; our time by {shares}", flush=True)
    if not options.only and not options.quick:
        report(found, options.data)


def report(found, data: str) -> None:
    contestants = list(dict.fromkeys(who for _, speeds in found.values() for who in speeds))
    others = [o for o in ("Keras", "PyTorch") if any(o in s for s, _ in found.values())]
    missing = float("nan")
    rows, ratios = [], {other: {} for other in others}
    for name, (seconds, speeds) in found.items():
        shares = results.ratios_of(seconds)
        rows.append(
            [name]
            + [speeds.get(who, missing) for who in contestants]
            + [shares.get(other, missing) for other in others]
        )
        for other, share in shares.items():
            ratios[other][name] = share
    header = ["task", *(f"{who}, tokens a second" for who in contestants)]
    header += [f"our time / {other}" for other in others]
    summary = [
        f"our time / {other}: " + ", ".join(f"{name} {share:.2f}" for name, share in by_row.items())
        for other, by_row in ratios.items()
    ]
    fields = ("tagging", "tagging, softmax")
    if all("ours" in found[name][0] for name in fields):
        with_field, without = (found[name][0]["ours"] for name in fields)
        summary.append(f"the conditional random field costs us {with_field / without - 1:+.0%}")
    where = (
        "The data are SST-2, SNIPS slots and Multi30k." if data else "The sentences are generated."
    )
    note = __doc__.split("\n\n")[2].replace("\n", " ") + " " + where
    drawn = {f"by {other}": by_row for other, by_row in ratios.items()}
    results.write("training", "Whole training", note, header, rows, summary, drawn)


if __name__ == "__main__":
    main()
