"""Whole trainings in PyTorch: a DataLoader whose batches have texts of about one length, packed rows, fused Adam.

With `sparse` the gradient of the source's embeddings has the rows that a batch uses alone, and SparseAdam leaves the
others as they are: less work, and another algorithm than Adam's.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from benchmarks import torch_models
from benchmarks.texts import END, SPECIAL, UNKNOWN, Texts
from benchmarks.torch_device import DEVICE

BATCH = {"classification": 32, "tagging": 32, "translation": 64}
CLIP = {"classification": 1.0, "tagging": 5.0, "translation": 1.0}

# Batches that are sorted by length together.
POOL = 50


class Examples(Dataset):
    """The examples of a file, as ids."""

    def __init__(self, texts: Texts, words: dict[str, int], others: dict[str, int]):
        end = [END] if texts.task == "translation" else []
        self.pairs = [
            tuple(
                torch.tensor([ids.get(word, UNKNOWN) for word in side] + end)
                for side, ids in zip(pair, (words, others))
            )
            for pair in texts.examples()
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int):
        return self.pairs[number]


class LikeLengths:
    """Numbers of the examples of each batch: shuffled, and sorted by length within a pool of batches."""

    def __init__(self, examples: Examples, batch: int, seed: int):
        self.lengths = np.array([len(words) for words, _ in examples.pairs])
        self.batch, self.generator = batch, np.random.default_rng(seed)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.generator.permutation(len(self.lengths))
        batches = []
        for start in range(0, len(order), self.batch * POOL):
            pool = order[start : start + self.batch * POOL]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[i : i + self.batch].tolist() for i in range(0, len(pool), self.batch)]
        self.generator.shuffle(batches)
        return iter(batches)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch)


def padded(pairs):
    return [pad_sequence(side, batch_first=True) for side in zip(*pairs)]


def training(
    task: str, folder: str, seed: int = 0, crf: bool = True, sparse: bool = False
) -> Callable[[], None]:
    """One run: the files read and encoded, then an epoch of steps."""
    texts = Texts(task, folder)
    torch.manual_seed(seed)
    words = {word: SPECIAL + number for number, word in enumerate(texts.words)}
    if task == "translation":
        others = {word: SPECIAL + number for number, word in enumerate(texts.target_words)}
        model = torch_models.Translator(SPECIAL + len(words), SPECIAL + len(others), sparse=sparse)
        embedding = model.source_embedding
    else:
        others = {label: number for number, label in enumerate(texts.labels)}
        options = {} if task == "classification" else {"crf": crf}
        kind = {"classification": torch_models.Classifier, "tagging": torch_models.Tagger}[task]
        model = kind(SPECIAL + len(words), len(others), sparse=sparse, **options)
        embedding = model.embedding
    model.to(DEVICE)
    dense = [p for p in model.parameters() if not (sparse and p is embedding.weight)]
    optimizers = [torch.optim.Adam(dense, 1e-3, fused=True)]
    if sparse:
        optimizers.append(torch.optim.SparseAdam([embedding.weight], 1e-3))

    def run() -> None:
        examples = Examples(texts, words, others)
        sampler = LikeLengths(examples, BATCH[task], seed)
        model.train()
        loader = DataLoader(
            examples, batch_sampler=sampler, collate_fn=padded, pin_memory=DEVICE == "cuda"
        )
        for ids, other in loader:
            ids, other = (side.to(DEVICE, non_blocking=True) for side in (ids, other))
            loss = model.loss(ids, other)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(dense, CLIP[task])
            for optimizer in optimizers:
                optimizer.step()
        loss.item()

    return run
