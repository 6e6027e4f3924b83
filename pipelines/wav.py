"""WAV files from their bytes to a waveform, in graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Samples a second that a sound may have; a header that says anything else is broken.
RATES = (1000, 768000)

# The loudest sample, full scale being 1: some write whole numbers as floating point, but no sound is as loud as this.
LOUDEST = 1e12

# What the first two bytes of a format chunk say. An extensible one says further on which of the others it is.
_WHOLE, _FLOATING, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE


def decode_wav(
    contents: tf.Tensor, max_seconds: float | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The bytes of one WAV file, in graph.

    Arguments:
        contents: string scalar: samples of 8, 16, 24 or 32 bits, in floating point of 32 or 64, or by the A-law or
            the µ-law of telephones, of any rate and number of channels. Where the file ends before its samples do, or
            was never closed, those that are there are read. The empty string is a sound of no length.
        max_seconds: of a longer sound no more is read.

    Returns:
        float32[time], full scale from -1 to 1, channels mixed, and the rate, int32.

    Raises:
        tf.errors.InvalidArgumentError: not such a file, a rate out of `RATES`, samples that are no finite numbers or
            beyond `LOUDEST`.
    """
    empty = tf.equal(tf.strings.length(contents), 0)
    return tf.cond(
        empty, lambda: (tf.zeros([0]), tf.constant(8000)), lambda: _decode(contents, max_seconds)
    )


def _decode(contents: tf.Tensor, max_seconds: float | None) -> tuple[tf.Tensor, tf.Tensor]:
    file = tf.io.decode_raw(contents, tf.uint8)
    with _checked(_is(file, 0, b"RIFF") & _is(file, 8, b"WAVE"), "not a WAV file"):
        described, begin, end = _chunks(file)
    with _checked((described > 0) & (begin > 0), "a WAV file without a format or without samples"):
        kind, channels = _number(file, described, 2), _number(file, described + 2, 2)
        rate, frame = _number(file, described + 4, 4), _number(file, described + 12, 2)
    kind = tf.cond(kind == _EXTENSIBLE, lambda: _number(file, described + 24, 2), lambda: kind)
    with _checked((rate >= RATES[0]) & (rate <= RATES[1]), "samples a second:", rate):
        rate = tf.identity(rate)
    width = frame // tf.maximum(channels, 1)
    whole = (kind == _WHOLE) & (width >= 1) & (width <= 4)
    floating = (kind == _FLOATING) & ((width == 4) | (width == 8))
    by_law = ((kind == _A_LAW) | (kind == _MU_LAW)) & (width == 1)
    known = (whole | floating | by_law) & (frame == width * channels)
    with _checked(known, "a WAV file of another format; kind and bytes:", kind, width):
        frames = (end - begin) // tf.maximum(frame, 1)
        if max_seconds is not None:
            longest = tf.math.ceil(tf.cast(rate, tf.float64) * max_seconds)
            frames = tf.cast(tf.minimum(tf.cast(frames, tf.float64), longest), tf.int32)
    file = tf.reshape(file[begin : begin + frames * frame], [-1, width])
    samples = tf.case(
        [
            (whole, lambda: _from_whole(file, width)),
            (by_law, lambda: _from_law(file, kind == _MU_LAW)),
            (width == 4, lambda: tf.bitcast(tf.reshape(file, [-1, 4]), tf.float32)),
        ],
        default=lambda: tf.cast(tf.bitcast(tf.reshape(file, [-1, 8]), tf.float64), tf.float32),
    )
    with _checked(tf.reduce_all(tf.abs(samples) < LOUDEST), "samples that are no finite numbers"):
        return tf.reduce_mean(tf.reshape(samples, [frames, channels]), axis=1), rate


def _chunks(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where the format begins, and where the samples begin and end; 0 where there is none."""
    size = tf.size(file)
    # A recorder that never came to write the lengths has left 8 as that of the file and 0 as that of the samples.
    unclosed = _number(file, 4, 4) == 8

    def step(at, described, begin, end):
        length = _number(file, at + 4, 4)
        inside = at + 8
        is_samples = _is(file, at, b"data")
        # A recorder that was cut off leaves a length beyond the end, or 2³² - 1, which is negative here.
        beyond = (length < 0) | (length > size - inside) | (is_samples & unclosed & (length == 0))
        after = tf.where(beyond, size, inside + length)
        # Of a format, all that is asked for must be there.
        is_format = _is(file, at, b"fmt ") & (after - inside >= 16)
        is_format &= (after - inside >= 26) | (_number(file, inside, 2) != _EXTENSIBLE)
        return (
            # Chunks begin at even places.
            after + (after - inside) % 2,
            tf.where(is_format, inside, described),
            tf.where(is_samples, inside, begin),
            tf.where(is_samples, after, end),
        )

    nowhere = tf.constant(0)
    _, described, begin, end = tf.while_loop(
        lambda at, described, begin, end: (at + 8 <= size) & (begin == 0),
        step,
        [tf.constant(12), nowhere, nowhere, nowhere],
    )
    return described, begin, end


def _is(file: tf.Tensor, at: tf.Tensor, name: bytes) -> tf.Tensor:
    """Whether a chunk of that name begins here."""
    return _number(file, at, 4) == int.from_bytes(name, "little")


def _number(file: tf.Tensor, at: tf.Tensor, width: int) -> tf.Tensor:
    """The whole number in so many bytes, the lowest first."""
    parts = tf.cast(file[at : at + width], tf.int32)
    return tf.reduce_sum(tf.bitwise.left_shift(parts, 8 * tf.range(tf.size(parts))))


def _from_whole(samples: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """uint8[samples, width] -> float32[samples]: each as the highest bytes of 32 bits."""
    # Those of one byte alone have no sign.
    samples = tf.where(
        width == 1, tf.bitwise.bitwise_xor(samples, tf.constant(128, tf.uint8)), samples
    )
    wide = tf.reshape(tf.pad(samples, [[0, 0], [4 - width, 0]]), [-1, 4])
    return tf.cast(tf.bitcast(wide, tf.int32), tf.float32) * 2.0**-31


def _from_law(samples: tf.Tensor, is_mu_law: tf.Tensor) -> tf.Tensor:
    """uint8[samples, 1] -> float32[samples, 1]: each byte a sign, an exponent and a step, as ITU-T G.711 has it."""
    code = np.arange(256) ^ 0xFF
    mu_law = (
        (((2 * (code & 15) + 33) << (code >> 4 & 7)) - 33) * np.where(code & 128, -1, 1) / 2**13
    )
    code = np.arange(256) ^ 0x55
    exponent, step = code >> 4 & 7, 2 * (code & 15)
    a_law = np.where(exponent == 0, step + 1, (step + 33) << np.maximum(exponent - 1, 0))
    a_law = a_law * np.where(code & 128, 1, -1) / 2**12
    tables = (tf.constant(table, tf.float32) for table in (mu_law, a_law))
    return tf.gather(tf.where(is_mu_law, *tables), tf.cast(samples, tf.int32))


def _checked(condition: tf.Tensor, *message):
    return tf.control_dependencies([tf.debugging.Assert(condition, [*message])])
