"""WAV files in graph: what they may hold, and what is refused."""

import struct

import numpy as np
import pytest
import soundfile
import tensorflow as tf

import pipelines

DECODE = tf.function(pipelines.decode_wav, input_signature=[tf.TensorSpec([], tf.string)])


def noise(frames: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, [frames, channels])


def wav(kind: int, channels: int, bits: int, samples: bytes, rate: int = 8000) -> bytes:
    """A file as the format's description has it."""
    frame = channels * bits // 8
    described = struct.pack("<HHIIHH", kind, channels, rate, rate * frame % 2**32, frame, bits)
    chunks = b"fmt " + struct.pack("<I", len(described)) + described
    chunks += b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]


@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("rate, channels", [(8000, 1), (44100, 2), (16000, 3)])
def test_bytes_in_graph_are_those_of_the_file(form, subtype, rate, channels, tmp_path):
    file = tmp_path / "a.wav"
    soundfile.write(file, noise(101, channels), rate, subtype=subtype, format=form)
    waveform, found = DECODE(file.read_bytes())
    expected, _ = pipelines.read_waveform(file)
    assert int(found) == rate and waveform.dtype == tf.float32
    np.testing.assert_allclose(waveform, expected, atol=1e-6)


def test_the_lowest_and_the_highest_samples():
    waveform, _ = DECODE(wav(1, 1, 16, struct.pack("<4h", -32768, -1, 0, 32767)))
    assert waveform.numpy().tolist() == [-1.0, -(2.0**-15), 0.0, 32767 / 32768]
    assert DECODE(wav(1, 1, 8, bytes([0, 128, 255])))[0].numpy().tolist() == [-1.0, 0.0, 127 / 128]


def test_nothing_is_a_sound_of_no_length():
    assert DECODE(b"")[0].shape == [0]
    assert DECODE(wav(1, 2, 16, b""))[0].shape == [0]


def test_other_chunks_are_passed_over():
    plain = wav(1, 1, 16, struct.pack("<2h", 16384, -16384))
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    for place in (12, 36):
        waveform, _ = DECODE(plain[:place] + odd + plain[place:] + odd)
        assert waveform.numpy().tolist() == [0.5, -0.5]


@pytest.mark.parametrize("length", [0xFFFFFFFF, 1000])
def test_of_a_recording_that_was_cut_off_the_whole_samples_are_read(length):
    plain = wav(1, 1, 16, struct.pack("<2h", 16384, -16384))
    cut = plain[:40] + struct.pack("<I", length) + plain[44:] + b"\1"
    assert DECODE(cut)[0].numpy().tolist() == [0.5, -0.5]


def test_every_byte_of_the_laws_is_heard_as_in_training(tmp_path):
    for kind in (6, 7):
        (tmp_path / "a.wav").write_bytes(wav(kind, 1, 8, bytes(range(256))))
        expected, _ = pipelines.read_waveform(tmp_path / "a.wav")
        given, _ = DECODE((tmp_path / "a.wav").read_bytes())
        assert given.numpy().tolist() == expected.tolist() and len(given) == 256


@pytest.mark.parametrize("length, of_samples", [(8, 0), (8, 2**32 - 1), (36, 0)])
def test_a_recording_that_was_not_closed_is_heard_as_in_training(length, of_samples, tmp_path):
    plain = wav(1, 1, 16, noise(100, 1).tobytes())
    open_yet = b"RIFF" + struct.pack("<I", length) + plain[8:40] + struct.pack("<I", of_samples)
    (tmp_path / "a.wav").write_bytes(open_yet + plain[44:])
    expected, _ = pipelines.read_waveform(tmp_path / "a.wav")
    given, _ = DECODE((tmp_path / "a.wav").read_bytes())
    assert given.numpy().tolist() == expected.tolist() and len(given) == (400 if length == 8 else 0)


def test_no_more_seconds_are_read_than_asked_for(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1000, 2), 8000)
    whole, _ = pipelines.read_waveform(tmp_path / "a.wav")
    for seconds, count in ((0.1, 800), (0.01251, 101), (1e9, 1000)):
        read, _ = pipelines.read_waveform(tmp_path / "a.wav", seconds)
        decoded, _ = pipelines.decode_wav((tmp_path / "a.wav").read_bytes(), seconds)
        assert read.tolist() == whole[:count].tolist()
        np.testing.assert_allclose(decoded, read, atol=1e-6)


GOOD = wav(1, 1, 16, bytes(8))


@pytest.mark.parametrize(
    "broken, message",
    [
        (b"R", "not a WAV file"),
        (b"OggS" + GOOD[4:], "not a WAV file"),
        (GOOD[:8] + b"AVI " + GOOD[12:], "not a WAV file"),
        (GOOD[:12], "without a format"),
        (GOOD[:36], "without samples"),
        (GOOD[:12] + GOOD[36:], "without a format"),
        (wav(2, 1, 8, bytes(8)), "another format"),
        (wav(7, 1, 16, bytes(8)), "another format"),
        (wav(1, 0, 16, bytes(8)), "another format"),
        (wav(3, 1, 16, bytes(8)), "another format"),
        (wav(1, 1, 64, bytes(8)), "another format"),
        (wav(3, 1, 32, np.float32([0, np.nan]).tobytes()), "no finite numbers"),
        (wav(1, 1, 16, bytes(8), rate=1), "samples a second"),
        (wav(1, 1, 16, bytes(8), rate=2**32 - 1), "samples a second"),
    ],
)
def test_what_is_no_sound_says_so(broken, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        DECODE(broken)


def test_no_beginning_of_a_file_is_too_short_to_be_refused():
    for end in range(1, len(GOOD) - 8):
        try:
            assert len(DECODE(GOOD[:end])[0]) == 0
        except tf.errors.InvalidArgumentError:
            pass
