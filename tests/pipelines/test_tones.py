"""Touch tones: the right frequencies, and files that hold them."""

import numpy as np

import pipelines
from pipelines.tones import HIGH, LOW, PAIRS


def test_each_key_is_its_pair_of_tones():
    for number, (key, pair) in enumerate(PAIRS.items()):
        sound = pipelines.dial([key], np.random.default_rng(number))
        spectrum = np.abs(np.fft.rfft(sound, 8000))

        def loudest(group, spectrum=spectrum):
            near = [spectrum[int(0.98 * f) : int(1.02 * f) + 1].max() for f in group]
            return group[int(np.argmax(near))]

        assert (loudest(LOW), loudest(HIGH)) == pair
    assert PAIRS["5"] == (770, 1336) and PAIRS["#"] == (941, 1477)


def test_files_hold_what_is_said_and_come_again(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files = pipelines.write_tones(str(tmp_path / name), seed=3, sizes={"train": 4, "dev": 2})
    records = list(pipelines.read_manifest(files["train"]))
    assert len(records) == 4 and set(files) == {"train", "dev"}
    for record in records:
        keys = record["text"].split()
        waveform, rate = pipelines.read_waveform(record["audio"])
        assert rate == 8000 and {*keys} <= {*PAIRS}
        assert 0.11 * len(keys) < len(waveform) / rate < 0.25 + 0.39 * len(keys)
        again = record["audio"].replace("/b/", "/a/")
        assert open(again, "rb").read() == open(record["audio"], "rb").read()
