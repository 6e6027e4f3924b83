"""Serving by TorchScript: a scripted, frozen model, and a dictionary before it."""

import itertools
from collections.abc import Callable

import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks import torch_models
from benchmarks.texts import SPECIAL, UNKNOWN, Texts
from benchmarks.torch_device import DEVICE


def script(
    task: str, folder: str, sentences: list[str], batch: int, beam: int = 5, longest: int = 20
) -> Callable[[], None]:
    """One run: the next `batch` of the sentences, from strings to strings."""
    texts = Texts(task, folder)
    torch.manual_seed(0)
    words = {word: SPECIAL + number for number, word in enumerate(texts.words)}
    rows = SPECIAL + len(words)
    if task == "translation":
        names = ["", "?", "", "", *texts.target_words]
        model = torch_models.Translator(rows, len(names))
    else:
        names = texts.labels
        kind = {"classification": torch_models.Classifier, "tagging": torch_models.Tagger}[task]
        model = kind(rows, len(names))
    kept = {"classification": [], "tagging": ["decode"], "translation": ["search"]}[task]
    scripted = torch.jit.freeze(torch.jit.script(model.eval().to(DEVICE)), preserved_attrs=kept)
    starts = range(0, len(sentences) - batch + 1, batch)
    numbers = itertools.cycle(starts)

    @torch.inference_mode()
    def run() -> None:
        start = next(numbers)
        cut = [sentence.split() for sentence in sentences[start : start + batch]]
        ids = [torch.tensor([words.get(word, UNKNOWN) for word in row]) for row in cut]
        ids = pad_sequence(ids, batch_first=True).to(DEVICE)
        if task == "classification":
            probabilities = torch.softmax(scripted(ids), 1).cpu()
            [(names[number], row) for number, row in zip(probabilities.argmax(1), probabilities)]
        elif task == "tagging":
            tags = scripted.decode(ids).tolist()
            [[names[tag] for tag in row[: len(c)]] for row, c in zip(tags, cut)]
        else:
            found = scripted.search(ids, beam, longest).tolist()
            [" ".join(filter(None, (names[number] for number in row))) for row in found]

    for _ in starts:  # every shape has been seen before the race
        run()
    return run
