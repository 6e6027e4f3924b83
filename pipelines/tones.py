"""Touch-tone telephony: keys as pairs of tones (ITU-T Q.23), as a telephone line brings them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.audio import write_waveform
from pipelines.samples import write_table

RATE = 8000
LOW = (697, 770, 852, 941)
HIGH = (1209, 1336, 1477)
KEYS = ("123", "456", "789", "*0#")
PAIRS = {
    key: (low, high)
    for low, row in zip(LOW, KEYS, strict=True)
    for high, key in zip(HIGH, row, strict=True)
}


def dial(keys: Sequence[str], generator: np.random.Generator) -> np.ndarray:
    """The sound of keys that somebody presses, float32[time] at 8 kHz.

    Each key sounds 60 to 140 ms, after a gap of 50 to 250 ms. Both frequencies are off by up to
    1.5 % (Q.23 permits 1.8 %), one tone is up to 4 dB louder than the other, a key up to 12 dB
    softer than the loudest, and noise stands 5 to 25 dB below it.

    Arguments:
        keys: of `PAIRS`.
        generator: draws all of that.

    Example:

    >>> waveform = dial("42", np.random.default_rng(0))
    >>> 0.27 < len(waveform) / 8000 < 1.05, waveform.dtype
    (True, dtype('float32'))
    """

    def gap() -> np.ndarray:
        return np.zeros(int(RATE * generator.uniform(0.05, 0.25)))

    pieces = [gap()]
    for key in keys:
        time = np.arange(int(RATE * generator.uniform(0.06, 0.14))) / RATE
        level = 10 ** (generator.uniform(-12, 0) / 20)
        twist = 10 ** (generator.uniform(-4, 4) / 40)
        tone = np.zeros(len(time))
        for frequency, part in zip(PAIRS[key], (twist, 1 / twist), strict=True):
            frequency *= 1 + generator.uniform(-0.015, 0.015)
            tone += part * np.sin(2 * np.pi * (frequency * time + generator.random()))
        pieces += [level * tone, gap()]
    waveform = np.concatenate(pieces)
    noise = 10 ** (-generator.uniform(5, 25) / 20)
    waveform += noise * generator.standard_normal(len(waveform))
    # The level of the whole line.
    loudest = 10 ** (generator.uniform(-30, -1) / 20)
    return (waveform * loudest / np.abs(waveform).max()).astype(np.float32)


def write_tones(
    directory: str, seed: int = 0, sizes: Mapping[str, int] | None = None, longest: int = 8
) -> dict[str, str]:
    """Writes dialled numbers as WAV files with a manifest for each part.

    Arguments:
        directory: gets `train.jsonl` and so on, and a folder of sounds for each.
        seed: another seed, other numbers.
        sizes: sounds of each part; by default train 800, dev 100 and test 100.
        longest: most keys of a number.

    Returns:
        The manifest of each part. A text has its keys with blanks between, `4 2 #`.
    """
    generator = np.random.default_rng(seed)
    manifests = {}
    for part, size in (sizes or {"train": 800, "dev": 100, "test": 100}).items():
        os.makedirs(os.path.join(directory, part), exist_ok=True)
        records = []
        for number in range(size):
            keys = generator.choice([*PAIRS], generator.integers(1, longest + 1))
            name = f"{part}/{number:04d}.wav"
            write_waveform(os.path.join(directory, name), dial(keys, generator), RATE)
            records.append({"audio": name, "text": " ".join(keys)})
        manifests[part] = os.path.join(directory, f"{part}.jsonl")
        write_table(manifests[part], records)
    return manifests
