"""Sound: from files of any rate and width to one waveform, and from that to log-mel features, in graph."""

from __future__ import annotations

import io
import math
import os

import numpy as np
import tensorflow as tf

from pipelines.errors import InputError
from pipelines.files import atomic_write
from pipelines.wav import LOUDEST, RATES

# Power below that of the whole sound by this factor says nothing more: silence and the noise of a quiet room.
FLOOR = 1e-5

# How long a window of a spectrogram is, and how far the next one is away.
WINDOW_SECONDS = 0.025
FRAME_SECONDS = 0.01

# Where the bands of a spectrogram begin; what lies below is hum.
LOWEST_HERTZ = 60.0


def read_waveform(
    file: str | os.PathLike, max_seconds: float | None = None
) -> tuple[np.ndarray, int]:
    """Reads a sound file, all channels mixed into one.

    Arguments:
        file: WAV of any rate, 8, 16, 24 or 32 bits wide or in floating point, and what else
            libsndfile reads (FLAC, OGG).
        max_seconds: of a longer sound no more is read.

    Returns:
        float32[time], full scale from -1 to 1, and its rate in samples a second.

    Raises:
        InputError: no such file, not a sound, a rate out of `RATES`, samples that are no numbers
            or beyond `LOUDEST`.
    """
    import soundfile

    name = os.fspath(file)
    if not os.path.exists(name):
        raise InputError("no such file", name)
    if os.path.isdir(name):
        raise InputError("is a folder, not a sound", name)
    try:
        rate = soundfile.info(name).samplerate
        if not RATES[0] <= rate <= RATES[1]:
            limits = f"{RATES[0]:,} to {RATES[1]:,}"
            raise InputError(f"says that it has {rate:,} samples a second, not {limits}", name)
        frames = -1 if max_seconds is None else math.ceil(max_seconds * rate)
        samples, rate = soundfile.read(name, frames, dtype="float32", always_2d=True)
    except (RuntimeError, OSError) as error:  # soundfile's own error is a RuntimeError
        reason = getattr(error, "error_string", "") or str(error)
        raise InputError(f"is no sound that can be read: {reason}", name) from None
    if not (np.abs(samples) < LOUDEST).all():
        raise InputError("holds samples that are no finite numbers, or beyond all measure", name)
    return samples.mean(axis=1, dtype=np.float32), int(rate)


def write_waveform(file: str | os.PathLike, waveform: np.ndarray, rate: int) -> None:
    """Writes float32[time] as 16-bit WAV."""
    import soundfile

    sound = io.BytesIO()
    soundfile.write(sound, waveform, rate, subtype="PCM_16", format="WAV")
    with atomic_write(file, binary=True) as stream:
        stream.write(sound.getvalue())


def resample(waveform: tf.Tensor, rate: int | tf.Tensor, target_rate: int) -> tf.Tensor:
    """A waveform at another rate, in graph: its spectrum cut off, or continued with nothing.

    Arguments:
        waveform: float32[time].
        rate: its rate in samples a second; may be a tensor.
        target_rate: the rate to have.

    Returns:
        float32[⌈time · target_rate / rate⌉].

    Example:

    >>> import numpy as np
    >>> slow = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000).astype("float32")
    >>> fast = resample(slow, 8000, 16000)
    >>> fast.shape[0], bool(np.abs(fast[4000:4400:2] - slow[2000:2200]).max() < 1e-3)
    (16000, True)
    """
    rate = tf.cast(rate, tf.int32)
    waveform = tf.convert_to_tensor(waveform, tf.float32)

    def changed():
        divisor = _greatest_common_divisor(rate, target_rate)
        old, new = rate // divisor, target_rate // divisor
        time = tf.shape(waveform)[0]
        # Whole numbers of samples on both sides; the half second behind keeps the end from
        # running into the beginning.
        blocks = -(-(time + rate // 2) // old)
        padded = tf.pad(waveform, [[0, blocks * old - time]])
        spectrum = tf.signal.rfft(padded)
        bins = blocks * new // 2 + 1
        missing = tf.maximum(bins - tf.shape(spectrum)[0], 0)
        spectrum = tf.pad(spectrum, [[0, missing]])[:bins]
        scale = tf.cast(new, tf.float32) / tf.cast(old, tf.float32)
        made = tf.signal.irfft(spectrum, [blocks * new]) * scale
        seconds = tf.cast(time, tf.float64) / tf.cast(rate, tf.float64)
        return made[: tf.cast(tf.math.ceil(seconds * target_rate - 1e-6), tf.int32)]

    empty = tf.equal(tf.shape(waveform)[0], 0)
    return tf.cond((rate == target_rate) | empty, lambda: waveform, changed)


def _greatest_common_divisor(first: tf.Tensor, second: int) -> tf.Tensor:
    second = tf.constant(second)
    return tf.while_loop(lambda a, b: b > 0, lambda a, b: (b, a % b), [first, second])[0]


def log_mel(waveform: tf.Tensor, rate: int, mels: int) -> tf.Tensor:
    """The logarithm of the power in bands that are evenly wide to the ear, for each short window.

        x        waveform / its root mean square: how loud it was recorded plays no part
        P_tf     |Fourier transform of window t of x|² / Σ window²
        out_tm   log(Σ_f M_fm P_tf + FLOOR)

    A window is `WINDOW_SECONDS` long, and the next one is `FRAME_SECONDS` away.

    Arguments:
        waveform: float32[time], at `rate`; one that is shorter than a window is filled up.
        rate: samples a second.
        mels: number of bands, from `LOWEST_HERTZ` to half the rate.

    Returns:
        float32[frames, mels].
    """
    window, step = round(rate * WINDOW_SECONDS), round(rate * FRAME_SECONDS)
    size = 2 ** math.ceil(math.log2(window))
    power = tf.reduce_mean(waveform**2) if waveform.shape[0] != 0 else tf.constant(0.0)
    # The mean of nothing is no number.
    power = tf.where(tf.shape(waveform)[0] > 0, power, 0.0)
    waveform = waveform / tf.sqrt(tf.where(power > 0, power, 1.0))
    waveform = tf.pad(waveform, [[0, tf.maximum(window - tf.shape(waveform)[0], 0)]])
    spectrum = tf.signal.stft(waveform, window, step, size)
    shape = tf.signal.hann_window(window)
    power = tf.abs(spectrum) ** 2 / tf.reduce_sum(shape**2)
    bands = tf.signal.linear_to_mel_weight_matrix(mels, size // 2 + 1, rate, LOWEST_HERTZ, rate / 2)
    return tf.math.log(power @ bands + FLOOR)


def frames_of(samples: int, rate: int) -> int:
    """How many frames `log_mel` makes of so many samples."""
    window, step = round(rate * WINDOW_SECONDS), round(rate * FRAME_SECONDS)
    return 1 + max(samples - window, 0) // step
