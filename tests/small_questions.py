"""Small files of questions, of both kinds, that a model learns in seconds."""

import json
from pathlib import Path

import numpy as np

from keras_rnn import app

PEOPLE = ("Ada", "Bruno", "Chiara", "Dev")
MOODS = ("tired", "glad", "angry")
PLACES = ("attic", "cellar", "big garage")
SETTINGS = {
    "units": 12,
    "embedding_dim": 12,
    "hops": 2,
    "epochs": 4,
    "batch_size": 16,
    "learning_rate": 0.01,
    "warmup_steps": 0,
    "schedule": "constant",
    "max_shapes": 1,
    "dropout": 0.0,
    "max_length": 32,
    "jit_compile": False,
    "pictures": 0,
}


def words(number: int, seed: int = 0) -> list[dict]:
    """How somebody was last said to be; the task is the person."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        told = [
            (str(rng.choice(PEOPLE)), str(rng.choice(MOODS))) for _ in range(rng.integers(1, 4))
        ]
        asked = told[rng.integers(len(told))][0]
        made.append(
            {
                "context": " ".join(f"{name} is {mood}." for name, mood in told),
                "question": f"How is {asked}?",
                "answer": dict(told)[asked],
                "task": asked,
            }
        )
    return made


def spans(number: int, seed: int = 0, unanswered: float = 0.0) -> list[dict]:
    """Where a person went; for some nothing is said."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        *told, missing = (str(name) for name in rng.permutation(PEOPLE)[:3])
        places = [str(place) for place in rng.choice(PLACES, 2)]
        sentences = [
            f"{name} ging – für 5 € – to the {place}." for name, place in zip(told, places)
        ]
        row = {"context": " ".join(sentences), "question": f"Where did {told[0]} go?"}
        if rng.random() < unanswered:
            made.append({**row, "question": f"Where did {missing} go?", "answer": []})
        else:
            start = row["context"].index(places[0])
            made.append({**row, "answer": places[0], "answer_start": start})
    return made


def squad(records: list[dict]) -> dict:
    """The same as SQuAD's JSON, version 2."""
    paragraphs = []
    for number, record in enumerate(records):
        answers = []
        if record["answer"]:
            answers = [{"text": record["answer"], "answer_start": record["answer_start"]}]
        question = {
            "id": f"q{number}",
            "question": record["question"],
            "is_impossible": not answers,
            "answers": answers,
        }
        paragraphs.append({"context": record["context"], "qas": [question]})
    return {"version": "v2.0", "data": [{"title": "people", "paragraphs": paragraphs}]}


def write(path: Path, records: list[dict]) -> str:
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def train(folder: Path, *arguments: str, **settings) -> int:
    settings = {**SETTINGS, **settings}
    overrides = [f"--config.{name.replace('__', '.')}={value}" for name, value in settings.items()]
    command = ["train", "--task=question_answering", f"--workdir={folder / 'w'}"]
    return app.main([*command, *arguments, *overrides])
