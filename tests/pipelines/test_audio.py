"""Sounds: files of any width and rate, resampling, spectrograms."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf

import pipelines


def sine(hertz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize(
    "subtype, step",
    [
        ("PCM_U8", 2**-7),
        ("PCM_16", 2**-15),
        ("PCM_24", 2**-23),
        ("PCM_32", 2**-24),
        ("FLOAT", 2**-24),
        ("DOUBLE", 2**-24),
    ],
)
def test_every_width_is_read_and_channels_are_mixed(subtype, step, tmp_path):
    left, right = 0.5 * sine(440, 11025), 0.25 * sine(100, 11025)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), 11025, subtype=subtype)
    waveform, rate = pipelines.read_waveform(tmp_path / "a.wav")
    assert rate == 11025 and waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, (left + right) / 2, atol=step)


def test_what_is_no_sound_says_so(tmp_path):
    good = tmp_path / "good.wav"
    soundfile.write(good, sine(440, 8000), 8000)
    (tmp_path / "broken.wav").write_bytes(b"RIFX" + good.read_bytes()[4:40])
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "nan.wav", np.full(9, np.nan), 8000, subtype="FLOAT")
    for name, message in {
        "none.wav": "no such file",
        "broken.wav": "is no sound",
        "empty.wav": "is no sound",
        "nan.wav": "no finite numbers",
        "": "is a folder",
    }.items():
        with pytest.raises(pipelines.InputError, match=message):
            pipelines.read_waveform(tmp_path / name)
    soundfile.write(tmp_path / "short.wav", np.zeros(0), 8000)
    assert len(pipelines.read_waveform(tmp_path / "short.wav")[0]) == 0


def test_a_rate_that_cannot_be_is_refused_before_anything_is_resampled(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(440, 8000), 8000)
    good = (tmp_path / "a.wav").read_bytes()
    for rate in (1, 2**31 - 1):
        rates = rate.to_bytes(4, "little") + (2 * rate).to_bytes(4, "little")
        (tmp_path / "b.wav").write_bytes(good[:24] + rates + good[32:])
        with pytest.raises(pipelines.InputError, match=f"{rate:,} samples a second"):
            pipelines.read_waveform(tmp_path / "b.wav")
        with pytest.raises(tf.errors.InvalidArgumentError, match="samples a second"):
            tf.function(pipelines.decode_wav)(tf.constant((tmp_path / "b.wav").read_bytes()))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_a_sine_stays_that_sine_at_another_rate(rate):
    """Away from the ends, where a spectrum that is cut off rings."""
    made = pipelines.resample(sine(1000, rate), rate, 8000).numpy()
    assert made.shape == (4000,)
    np.testing.assert_allclose(made[500:3500], sine(1000, 8000)[500:3500], atol=2e-3)


def test_what_the_lower_rate_cannot_hold_is_gone():
    made = pipelines.resample(sine(6000, 16000), 16000, 8000).numpy()
    assert np.abs(made[500:3500]).max() < 2e-3
    assert pipelines.resample(tf.zeros([0]), 16000, 8000).shape == [0]


def plain_log_mel(x: np.ndarray, rate: int, mels: int) -> np.ndarray:
    """The equations, window by window and band by band."""
    window, step, size = rate * 25 // 1000, rate // 100, 256
    x = x / np.sqrt(np.mean(x**2))
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    hertz = np.arange(1, size // 2 + 1) * rate / size

    def mel(f):
        return 1127.0 * np.log(1.0 + f / 700.0)

    edges = np.linspace(mel(60.0), mel(rate / 2), mels + 2)
    rows = []
    for begin in range(0, len(x) - window + 1, step):
        power = np.abs(np.fft.rfft(x[begin : begin + window] * shape, size)) ** 2
        power = power[1:] / np.sum(shape**2)
        bands = []
        for low, middle, high in zip(edges, edges[1:], edges[2:]):
            rising = (mel(hertz) - low) / (middle - low)
            falling = (high - mel(hertz)) / (high - middle)
            bands.append(np.sum(power * np.maximum(0, np.minimum(rising, falling))))
        rows.append(np.log(np.array(bands) + 1e-5))
    return np.array(rows)


def test_log_mel_is_its_equations():
    x = np.random.default_rng(0).normal(size=1500) + 3 * sine(700, 8000, 1500 / 8000)
    made = pipelines.log_mel(tf.constant(x, tf.float32), 8000, 20).numpy()
    np.testing.assert_allclose(made, plain_log_mel(x, 8000, 20), atol=1e-3)
    assert len(made) == pipelines.frames_of(1500, 8000)


def test_the_level_plays_no_part_and_nothing_is_one_frame():
    x = tf.constant(sine(700, 8000), tf.float32)
    louder = pipelines.log_mel(100.0 * x, 8000, 20)
    np.testing.assert_allclose(louder, pipelines.log_mel(x, 8000, 20), atol=1e-3)
    silence = np.full([1, 20], np.log(1e-5))
    for samples in (0, 1, 200):
        found = pipelines.log_mel(tf.zeros([samples]), 8000, 20)
        np.testing.assert_allclose(found, silence, atol=1e-4)
        assert pipelines.frames_of(samples, 8000) == 1


def test_a_sound_that_cannot_be_written_is_an_input_error():
    with pytest.raises(pipelines.InputError, match="/dev/full: cannot be written: No space left"):
        pipelines.write_waveform("/dev/full", np.zeros(100_000, "float32"), 8000)
