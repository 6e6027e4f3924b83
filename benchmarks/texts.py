"""What whole trainings read: the same files for each library, with the vocabulary already counted.

Texts are cut into words beforehand, lower case, blanks between, so that every tokenizer finds the same. Each task has
a folder of its own:

    classification    train.tsv (text, label, with a header), labels.txt
    tagging           train.conll (token, tag), labels.txt
    translation       train.source, train.target, target_words.txt

and `words.txt`, exactly as many words as there are rows in the embeddings, the frequent ones first; what the texts lack
is made up. Imports nothing but NumPy and the standard library.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np

# Ids below are padding, the unknown word, start and end.
SPECIAL = 4
PADDING, UNKNOWN, START, END = range(SPECIAL)

# Rows of the embeddings, and of the target's where there are two languages (real words, not filled up).
ROWS, TARGET_ROWS = 30_000, 8_000

# The models: what differs from the defaults of this package's tasks, in favour of what stock Keras and PyTorch have
# without much more code; and about as many padded lengths as are chosen for whole data: a race reads a part, for which
# they would be fewer.
SETTINGS = {
    "classification": {
        "max_shapes": 4,
        "embedding_dim": 300,
        "units": 128,
        "word_dropout": 0.0,
        "average": 0.0,
        "skip": False,
        "schedule": "constant",
        "learning_rate": 1e-3,
    },
    "tagging": {
        "max_shapes": 5,
        "embedding_dim": 100,
        "units": 128,
        "characters": "none",
        "attributes": False,
        "lower": False,
        "constrain": False,
        "word_dropout": 0.0,
        "average": 0.0,
        "skip": False,
        "schedule": "constant",
        "learning_rate": 1e-3,
    },
    "translation": {
        "max_shapes": 6,
        "tokenizer": "words",
        "vocabulary_size": ROWS,
        "joint_vocabulary": False,
        "tie": "target",
        "average": 0.0,
        "schedule": "constant",
        "warmup_steps": 0,
        "label_smoothing": 0.0,
        "learning_rate": 1e-3,
    },
}

# Where each task's files lie under --data.
FILES = {
    "classification": ("sentiment/train.tsv",),
    "tagging": ("slots/train.conll",),
    "translation": ("translation/train.en", "translation/train.de"),
}

_WORD = re.compile(r"[^\W\d_]+|[.,!?]")


@dataclasses.dataclass(frozen=True)
class Texts:
    """The files of a task.

    Attributes:
        task: classification, tagging or translation.
        folder: where they lie.
    """

    task: str
    folder: str

    def path(self, name: str) -> str:
        return str(pathlib.Path(self.folder) / name)

    def lines(self, name: str) -> list[str]:
        return pathlib.Path(self.path(name)).read_text(encoding="utf-8").splitlines()

    @property
    def files(self) -> list[str]:
        names = {
            "classification": ["train.tsv"],
            "tagging": ["train.conll"],
            "translation": ["train.source", "train.target"],
        }
        return [self.path(name) for name in names[self.task]]

    @property
    def words(self) -> list[str]:
        return self.lines("words.txt")

    @property
    def labels(self) -> list[str]:
        return self.lines("labels.txt")

    @property
    def target_words(self) -> list[str]:
        return self.lines("target_words.txt")

    def examples(self) -> list[tuple[list[str], list[str]]]:
        """Words of each text, and its label, its tags or the words of its translation."""
        if self.task == "classification":
            rows = (line.split("\t") for line in self.lines("train.tsv")[1:])
            return [(text.split(), [label]) for text, label in rows]
        if self.task == "translation":
            return [
                (source.split(), target.split())
                for source, target in zip(self.lines("train.source"), self.lines("train.target"))
            ]
        return read_conll(self.files[0])

    def tokens(self) -> int:
        """Words of all texts, of both languages."""
        count = sum(len(words) for words, _ in self.examples())
        if self.task == "translation":
            count += sum(len(words) for _, words in self.examples())
        return count


def read_conll(path: str) -> list[tuple[list[str], list[str]]]:
    """Tokens and tags of each sentence: first and last column, a blank line between sentences."""
    examples, words, tags = [], [], []
    for line in [*pathlib.Path(path).read_text(encoding="utf-8").splitlines(), ""]:
        if line.strip():
            columns = line.split("\t")
            words.append(columns[0])
            tags.append(columns[-1])
        elif words:
            examples.append((words, tags))
            words, tags = [], []
    return examples


def prepare(task: str, data: str, folder: pathlib.Path, most: int) -> Texts:
    """Writes the first `most` examples of the data, or generated ones where there are none, into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [pathlib.Path(data) / file for file in FILES[task]] if data else []
    if data and not all(file.exists() for file in files):
        print(f"{task}: {data} has no {' and '.join(FILES[task])}; the texts are generated")
        files = []
    examples = (_read(task, files) if files else generated(task, 2 * most))[:most]
    texts = Texts(task, str(folder))
    if task == "classification":
        rows = ["text\tlabel", *(f"{' '.join(words)}\t{label}" for words, (label,) in examples)]
        _write(folder / "train.tsv", rows)
    elif task == "tagging":
        sentences = (
            [*(f"{word}\t{tag}" for word, tag in zip(*pair, strict=True)), ""] for pair in examples
        )
        _write(folder / "train.conll", (line for sentence in sentences for line in sentence))
    else:
        for side, name in enumerate(("train.source", "train.target")):
            _write(folder / name, (" ".join(pair[side]) for pair in examples))
        counts = collections.Counter(word for _, words in examples for word in words)
        most_common = counts.most_common(TARGET_ROWS - SPECIAL)
        _write(folder / "target_words.txt", (word for word, _ in most_common))
    if task != "translation":
        labels = sorted({label for _, labels in examples for label in labels})
        _write(folder / "labels.txt", labels)
    counts = collections.Counter(word for words, _ in examples for word in words)
    words = [word for word, _ in counts.most_common(ROWS - SPECIAL)]
    words += (f"madeup{number:06d}" for number in range(ROWS - SPECIAL - len(words)))
    _write(folder / "words.txt", words)
    return texts


def _write(path: pathlib.Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _read(task: str, files: Sequence[pathlib.Path]) -> list[tuple[list[str], list[str]]]:
    def words(text: str) -> list[str]:
        return _WORD.findall(text.lower())

    if task == "tagging":
        return [([w.lower() for w in tokens], tags) for tokens, tags in read_conll(str(files[0]))]
    sides = [file.read_text(encoding="utf-8").splitlines() for file in files]
    if task == "translation":
        pairs = [(words(source), words(target)) for source, target in zip(*sides)]
        return [pair for pair in pairs if all(pair)]
    header = sides[0][0].split("\t")
    columns = header.index("text"), header.index("label")
    rows = (line.split("\t") for line in sides[0][1:])
    examples = [(words(row[columns[0]]), [row[columns[1]]]) for row in rows]
    return [example for example in examples if example[0]]


def generated(task: str, count: int, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """Sentences whose words are as frequent, and which are as long, as those of a language."""
    generator = np.random.default_rng(seed)
    ranks = np.arange(1, ROWS + 1)
    shares = (1 / ranks) / (1 / ranks).sum()
    names = np.array(_names(ROWS))
    lengths = np.exp(generator.normal(2.6, 0.55, size=count)).round().clip(3, 60).astype(int)

    def sentence(length: int) -> list[str]:
        return names[generator.choice(ROWS, size=length, p=shares)].tolist()

    tags = [f"tag{number:02d}" for number in range(40)]
    examples = []
    for length in lengths:
        words = sentence(length)
        if task == "classification":
            other = [["negative", "positive"][generator.integers(2)]]
        elif task == "tagging":
            other = [tags[number] for number in generator.integers(len(tags), size=length)]
        else:
            other = sentence(max(3, length + int(generator.integers(-2, 3))))
        examples.append((words, other))
    return examples


def _names(count: int) -> list[str]:
    """So many different words of letters alone."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [
        "".join(letters[number // 26**place % 26] for place in range(4)) for number in range(count)
    ]
