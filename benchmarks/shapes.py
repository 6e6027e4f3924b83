"""What the contestants are given: sizes, inputs, lengths; the same for each library."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Problem:
    """One recurrent layer and its data.

    Attributes:
        cell: the cell's name, e.g. "lstm"; each library knows it by its own.
        batch, time, features, units: the sizes.
        training: forward and backward, gradients of inputs and weights; else forward alone.
        bidirectional: two layers, one backwards, side by side.
        masked: rows have the lengths of sentences, the longest `time`.
        seed: of data and weights.
    """

    cell: str
    batch: int
    time: int
    features: int
    units: int
    training: bool = True
    bidirectional: bool = False
    masked: bool = False
    seed: int = 0

    def inputs(self) -> np.ndarray:
        """[batch, time, features], standard normal."""
        generator = np.random.default_rng(self.seed)
        return generator.normal(size=[self.batch, self.time, self.features]).astype("float32")

    def lengths(self) -> np.ndarray:
        """[batch], log-normal as those of sentences are, half of them below 0.4 · time; one row is full."""
        generator = np.random.default_rng(self.seed + 1)
        lengths = np.exp(generator.normal(np.log(0.4 * self.time), 0.6, size=self.batch))
        lengths = np.clip(lengths.round(), 1, self.time).astype("int64")
        lengths[0] = self.time
        return lengths

    def mask(self) -> np.ndarray:
        """bool[batch, time]."""
        return np.arange(self.time) < self.lengths()[:, None]

    @property
    def name(self) -> str:
        words = [self.cell, f"{self.batch},{self.time},{self.features},{self.units}"]
        words += ["both directions"] * self.bidirectional + ["masked"] * self.masked
        return " ".join([*words, "training" if self.training else "inference"])

    def arguments(self) -> dict[str, object]:
        return dataclasses.asdict(self)
