"""Sounds to the spectrograms that a recognizer reads, texts to the ids that it writes."""

import functools
import json
import os
from collections.abc import Iterator

import ml_collections
import numpy as np
import tensorflow as tf

import pipelines

SOUND_FILE = "sound.json"

# Read of a sound beyond where it is cut: so it is known to be longer, and resampling rings only beyond the cut.
SECONDS_BEHIND = 0.5


class SoundFeatures(tf.Module):
    """The tokenizer, and how a waveform becomes a spectrogram.

    Arguments:
        tokenizer: of the texts.
        rate: samples a second that sounds are brought to.
        mels: bands of a spectrogram.
        max_seconds: of a longer sound the rest is cut.
        mean, deviation: of each band over the training data; None where each sound is normalised by itself.
    """

    def __init__(
        self,
        tokenizer: pipelines.Tokenizer,
        rate: int,
        mels: int,
        max_seconds: float,
        mean: list[float] | None = None,
        deviation: list[float] | None = None,
    ):
        super().__init__()
        self.tokenizer, self.rate, self.mels = tokenizer, rate, mels
        self.max_samples = max(int(rate * max_seconds), 1)
        self.read_seconds = max_seconds + SECONDS_BEHIND
        self.max_frames = pipelines.frames_of(self.max_samples, rate)
        # Behind a function: a module would wrap the lists.
        self.normalisation = lambda: (mean, deviation)

    @classmethod
    def fit(
        cls, config: ml_collections.ConfigDict, records, given: "SoundFeatures | None" = None
    ) -> "SoundFeatures":
        """Learns vocabulary, rate and, where they are global, mean and deviation; `records()` reads the data anew.

        All but new words and characters are as they are `given`.
        """
        if given is not None and given.tokenizer.kind not in ("words", "characters"):
            return given._with(config, given.tokenizer)
        tokenizer = pipelines.train_tokenizer(
            config.tokenizer,
            (record["text"] for record in records()),
            config.vocabulary_size,
            lower=config.lower,
            min_count=config.min_count,
        )
        if given is not None:
            return given._with(config, given.tokenizer.extended(tokenizer))
        rate = config.sample_rate
        if not rate:
            first = next(records(), None)
            rate = read_sound(first, config.max_seconds)[1] if first is not None else 8000
        features = cls(tokenizer, rate, config.mels, config.max_seconds)
        if config.normalisation == "utterance":
            return features
        frames = (
            features.spectrogram(*read_sound(record, config.max_seconds)) for record in records()
        )
        return cls(tokenizer, rate, config.mels, config.max_seconds, *_moments(frames))

    def _with(
        self, config: ml_collections.ConfigDict, tokenizer: pipelines.Tokenizer
    ) -> "SoundFeatures":
        """The same with another tokenizer."""
        facts = self.rate, self.mels, config.max_seconds
        return SoundFeatures(tokenizer, *facts, *self.normalisation())

    @classmethod
    def load(cls, config: ml_collections.ConfigDict, directory: str) -> "SoundFeatures":
        """Reads what `save` wrote."""
        path = os.path.join(directory, SOUND_FILE)
        try:
            with open(path, encoding="utf-8") as file:
                sound = json.load(file)
            rate, moments = sound["rate"], (sound["mean"], sound["deviation"])
            if not pipelines.RATES[0] <= rate <= pipelines.RATES[1]:
                raise TypeError(f"{rate} samples a second")
            if any(part is not None and len(part) != config.mels for part in moments):
                raise TypeError(f"mean and deviation are not of {config.mels} bands")
            facts = rate, config.mels, config.max_seconds
            return cls(pipelines.load_tokenizer(directory), *facts, *moments)
        except FileNotFoundError:
            raise pipelines.InputError("no such file; the workdir is not whole", path) from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise pipelines.InputError(f"does not describe sounds: {error}", path) from None

    def save(self, directory: str) -> None:
        """Writes the vocabulary, `vocabulary*`, and rate and moments, `sound.json`."""
        self.tokenizer.save(directory)
        mean, deviation = self.normalisation()
        with pipelines.atomic_write(os.path.join(directory, SOUND_FILE)) as file:
            json.dump({"rate": self.rate, "mean": mean, "deviation": deviation}, file)
            file.write("\n")

    # In graph

    def read(self, waveform: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        """A waveform float32[time] at any rate -> its spectrogram, float32[frames, mels]."""
        # A sound of hours is not resampled for its first seconds.
        longest = tf.cast(tf.cast(rate, tf.float64) * self.read_seconds, tf.int64)
        waveform = pipelines.resample(waveform[:longest], rate, self.rate)[: self.max_samples]
        return pipelines.log_mel(waveform, self.rate, self.mels)

    def read_wavs(self, contents: tf.Tensor) -> tf.RaggedTensor:
        """The bytes of WAV files, string[batch] -> float32[batch, (frames), mels]."""
        return tf.map_fn(
            lambda content: self.read(*pipelines.decode_wav(content, self.read_seconds)),
            contents,
            fn_output_signature=tf.RaggedTensorSpec([None, self.mels], ragged_rank=0),
        )

    # In Python

    def spectrogram(self, waveform: np.ndarray, rate: int, speed: float = 1.0) -> np.ndarray:
        """The same of an array; faster than it was by a factor `speed`, and so higher."""
        return self._read(tf.constant(waveform), tf.constant(round(rate * speed))).numpy()

    @functools.cached_property
    def _read(self):
        signature = [tf.TensorSpec([None]), tf.TensorSpec([], tf.int32)]
        return tf.function(self.read, input_signature=signature, autograph=False)

    def is_too_long(self, waveform: np.ndarray, rate: int) -> bool:
        """Whether the end of a sound is cut."""
        return len(waveform) * self.rate > self.max_samples * rate


def read_sound(
    record: pipelines.Record, max_seconds: float | None = None
) -> tuple[np.ndarray, int]:
    """The waveform that a record names, and its rate; an InputError says in which line the name stands.

    A sound of more seconds is read a little further than these, no more.
    """
    longest = None if max_seconds is None else max_seconds + SECONDS_BEHIND
    try:
        return pipelines.read_waveform(record["audio"], longest)
    except pipelines.InputError as error:
        raise record.error(f"{record['audio']}: {error.message}") from None


def _moments(spectrograms: Iterator[np.ndarray]) -> tuple[list[float], list[float]]:
    """Mean and deviation of each band."""
    count, total, squares = 0, 0.0, 0.0
    for frames in spectrograms:
        frames = frames.astype(np.float64)
        count += len(frames)
        total, squares = total + frames.sum(0), squares + (frames**2).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 1e-6))
    return mean.tolist(), deviation.tolist()
