"""Small tagged files whose tags a model learns in a second."""

from pathlib import Path

import numpy as np

from keras_rnn import app

SETTINGS = {
    "units": 8,
    "embedding_dim": 8,
    "character_units": 4,
    "attribute_dim": 2,
    "word_length": 6,
    "learning_rate": 0.02,
    "epochs": 6,
    "batch_size": 16,
    "max_shapes": 1,
    "dropout": 0.0,
    "average": 0.0,
    "jit_compile": False,
    "pictures": 0,
}
NAMES = ("Ada", "Bo", "Cy")
CITIES = ("Oslo", "Rome")


def sentences(number: int, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """People of one or two words, cities, and words outside; tags in BIO."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        tokens, tags = [], []
        for _ in range(int(rng.integers(1, 5))):
            kind = int(rng.integers(3))
            if kind == 0:
                length = int(rng.integers(1, 3))
                tokens += [NAMES[n] for n in rng.integers(len(NAMES), size=length)]
                tags += ["B-PER", "I-PER"][:length]
            elif kind == 1:
                tokens.append(CITIES[int(rng.integers(len(CITIES)))])
                tags.append("B-LOC")
            tokens.append(f"w{int(rng.integers(9))}")
            tags.append("O")
        made.append((tokens, tags))
    return made


def conll(pairs: list[tuple[list[str], list[str]]], between: str = "\t") -> str:
    """Columns with `between` between token and tag: more columns, if it holds them."""
    blocks = []
    for tokens, tags in pairs:
        rows = zip(tokens, tags, strict=True)
        blocks.append("".join(f"{token}{between}{tag}\n" for token, tag in rows))
    return "\n".join(blocks)


def conllu(pairs: list[tuple[list[str], list[str]]]) -> str:
    """As parts of speech: people and cities are proper nouns, the rest is X."""
    blocks = []
    for tokens, tags in pairs:
        rows = ["# text = " + " ".join(tokens)]
        for place, (token, tag) in enumerate(zip(tokens, tags, strict=True), start=1):
            speech = "X" if tag == "O" else "PROPN"
            rows.append(f"{place}\t{token}\t_\t{speech}\t_\tCase={speech}\t0\troot\t_\t_")
        blocks.append("\n".join(rows) + "\n\n")
    return "".join(blocks)


def overrides(**settings) -> list[str]:
    """`--config.K=V` for the small settings and what is given (`data__tag_column` for `data.tag_column`)."""
    settings = {**SETTINGS, **settings}
    return [f"--config.{name.replace('__', '.')}={value}" for name, value in settings.items()]


def train_small(folder: Path, train: str, dev: str, suffix: str = ".conll", **settings) -> Path:
    """Trains a small tagger in `folder`/w on the two texts; gives the workdir."""
    for name, text in (("train", train), ("dev", dev)):
        (folder / f"{name}{suffix}").write_text(text, encoding="utf-8")
    workdir = folder / "w"
    status = app.main(
        [
            "train",
            "--task=tagging",
            f"--workdir={workdir}",
            f"--train_data={folder / f'train{suffix}'}",
            f"--dev_data={folder / f'dev{suffix}'}",
            *overrides(**settings),
        ]
    )
    assert status == 0
    return workdir
