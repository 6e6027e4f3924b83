"""Small classification files whose label a model learns in a second."""

import json
from pathlib import Path

import numpy as np

from keras_rnn import app

LABELS = ("bad", "good")
SETTINGS = {
    "units": 8,
    "embedding_dim": 8,
    "attention_units": 4,
    "learning_rate": 0.02,
    "epochs": 3,
    "batch_size": 16,
    "max_shapes": 1,
    "dropout": 0.1,
    "word_dropout": 0.0,
    "average": 0.0,
    "schedule": "constant",
    "patience": 5,
    "jit_compile": False,
    "pictures": 0,
}


def rows(number: int, seed: int = 0) -> list[dict[str, str]]:
    """Texts of 1 to 9 words; those with `fine` are good, those with `poor` bad."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        label = int(rng.integers(2))
        words = [f"w{n}" for n in rng.integers(20, size=int(rng.integers(1, 9)))]
        words.insert(int(rng.integers(len(words) + 1)), ("poor", "fine")[label])
        made.append({"text": " ".join(words), "label": LABELS[label]})
    return made


def write_tsv(path: Path, records: list[dict[str, str]]) -> str:
    lines = ["text\tlabel", *(f"{record['text']}\t{record['label']}" for record in records)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def write_jsonl(path: Path, records: list[dict]) -> str:
    path.write_text(
        "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records),
        encoding="utf-8",
    )
    return str(path)


def overrides(**settings) -> list[str]:
    """`--config.K=V` for the small settings and what is given (`data__text` for `data.text`)."""
    settings = {**SETTINGS, **settings}
    return [f"--config.{name.replace('__', '.')}={value}" for name, value in settings.items()]


def train_small(folder: Path, train: str = "", dev: str = "", **settings) -> Path:
    """Trains a small classifier in `folder`/w; gives the workdir."""
    train = train or write_tsv(folder / "train.tsv", rows(200))
    dev = dev or write_tsv(folder / "dev.tsv", rows(50, seed=1))
    workdir = folder / "w"
    status = app.main(
        [
            "train",
            "--task=classification",
            f"--workdir={workdir}",
            f"--train_data={train}",
            f"--dev_data={dev}",
            *overrides(**settings),
        ]
    )
    assert status == 0
    return workdir
