"""Small files of texts whose summary names who did what, with names that are never the same."""

import json
from pathlib import Path

import numpy as np

from keras_rnn import app

DEEDS = ("sings", "runs", "sleeps", "paints")
SETTINGS = {
    "units": 16,
    "decoder_units": 24,
    "embedding_dim": 16,
    "attention_units": 16,
    "vocabulary_size": 40,
    "min_count": 10,
    "batch_size": 32,
    "epochs": 8,
    "learning_rate": 0.015,
    "warmup_steps": 0,
    "schedule": "constant",
    "average": 0.9,
    "dropout": 0.0,
    "word_dropout": 0.0,
    "label_smoothing": 0.0,
    "max_shapes": 1,
    "max_length": 40,
    "metric": "exact_match",
    "pictures": 1,
    "jit_compile": False,
}


def name(generator: np.random.Generator) -> str:
    """One of half a million."""
    syllables = [f"{c}{v}" for c in "bdfgklmnprstvz" for v in "aeiou"]
    return "".join(generator.choice(syllables, 3)).capitalize()


def rows(number: int, seed: int = 0) -> list[dict[str, str]]:
    """`At noon NAME SINGS in NAME. NAME looks on.` and the summary `NAME SINGS`, in any order."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        who, where, other = (name(generator) for _ in range(3))
        deed = str(generator.choice(DEEDS))
        sentences = [f"At noon {who} {deed} in {where}.", f"{other} looks on."]
        text = " ".join(sentences[:: generator.choice([1, -1])])
        made.append({"text": text, "summary": f"{who} {deed}"})
    return made


def write(path: Path, records: list[dict]) -> str:
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def train(folder: Path, train: str = "", dev: str = "", **settings) -> int:
    """Trains in `folder`/w; gives the exit status."""
    train = train or write(folder / "train.jsonl", rows(640))
    dev = dev or write(folder / "dev.jsonl", rows(40, seed=1))
    settings = {**SETTINGS, **settings}
    overrides = [f"--config.{name.replace('__', '.')}={value}" for name, value in settings.items()]
    command = ["train", "--task=summarization", f"--workdir={folder / 'w'}"]
    return app.main([*command, f"--train_data={train}", f"--dev_data={dev}", *overrides])
