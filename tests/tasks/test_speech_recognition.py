"""Speech recognition through the commands: touch tones learnt, asked, exported."""

import collections
import json
import math
import re
import shutil

import numpy as np
import pytest
import soundfile
import tensorflow as tf

import pipelines
from keras_rnn import app, configs
from keras_rnn.metrics import recognition_scores
from keras_rnn.run import open_run
from keras_rnn.tasks import make_task
from keras_rnn.tasks.sounds import SoundFeatures, read_sound
from tests import small_data
from tests.saved_models import ask_elsewhere, must_compile

pytestmark = pytest.mark.usefixtures("opened_once")

SETTINGS = {
    "units": 24,
    "layers": 2,
    "halvings": 2,
    "mels": 24,
    "embedding_dim": 16,
    "attention_units": 16,
    "batch_size": 16,
    "learning_rate": 0.02,
    "warmup_steps": 0,
    "schedule": "constant",
    "average": 0.9,
    "dropout": 0.0,
    "speed": 0.0,
    "vocal_tract": 0.0,
    "noise": "false",
    "frequency_masks": 0,
    "time_masks": 0,
    "label_smoothing": 0.0,
    "max_shapes": 1,
    "pictures": 1,
    "max_seconds": 4,
    "dev_beam": 2,
    "search.beam": 2,
}
HEADS = {"ctc": {"epochs": 8}, "attention": {"epochs": 18, "ctc_weight": 0.5, "jit_compile": False}}


def train(folder, data, **settings):
    command = ["train", "--task=speech_recognition", f"--workdir={folder}"]
    command += [f"--train_data={data['train']}", f"--dev_data={data['dev']}"]
    command += [f"--config.{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
    return app.main(command)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    return pipelines.write_tones(str(folder), sizes={"train": 240, "dev": 20}, longest=3)


@pytest.fixture(scope="module", params=HEADS)
def workdir(request, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "w"
    assert train(folder, data, head=request.param, **HEADS[request.param]) == 0
    return folder


def first_sounds(data, number=3) -> list[pipelines.Record]:
    return list(pipelines.read_manifest(data["dev"]))[:number]


def predict(capsys, workdir, source, *arguments, status=0) -> list[str]:
    capsys.readouterr()
    command = ["predict", f"--workdir={workdir}", f"--input={source}", *arguments]
    assert app.main(command) == status
    return capsys.readouterr().out.splitlines()


def test_it_learns_judges_answers_and_is_served(workdir, data, tmp_path, capsys):
    trained = json.loads((workdir / "metrics.json").read_text())
    assert trained["wer"] < 0.3 and trained["examples"] == 20
    capsys.readouterr()
    assert app.main(["evaluate", f"--workdir={workdir}"]) == 0
    judged = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert judged["wer"] == trained["wer"] and 0 <= judged["cer"] < 0.3

    answers = [json.loads(line) for line in predict(capsys, workdir, data["dev"])]
    references = [record["text"] for record in pipelines.read_manifest(data["dev"])]
    scores = recognition_scores([answer["transcript"] for answer in answers], references)
    assert scores["wer"] == pytest.approx(judged["wer"], abs=1e-6)
    assert answers[0]["audio"] == "dev/0000.wav" and answers[0]["score"] < 0
    assert answers[0]["text"] == references[0]

    target = tmp_path / "export"
    assert app.main(["export", f"--workdir={workdir}", f"--output={target}"]) == 0
    served = tf.saved_model.load(str(target)).signatures
    records = first_sounds(data)
    contents = [open(record["audio"], "rb").read() for record in records]
    given = {
        name: served[name](audio=tf.constant(contents))
        for name in ("serving_default", "compiled", "details")
    }
    for result in given.values():
        for row, answer in enumerate(answers[:3]):
            assert result["transcript"][row].numpy().decode() == answer["transcript"]
            assert float(result["score"][row]) == pytest.approx(answer["score"], abs=1e-3)
    waveform, rate = pipelines.read_waveform(records[1]["audio"])
    one = served["waveform"](waveform=tf.constant(waveform), rate=tf.constant(rate))
    assert one["transcript"].numpy().tolist() == [answers[1]["transcript"].encode()]
    assert float(one["score"][0]) == pytest.approx(answers[1]["score"], abs=1e-3)
    details = {name: value.numpy() for name, value in given["details"].items()}
    count = len(answers[1]["transcript"].split())
    np.testing.assert_allclose(
        one["alignment"][0, :count, :5], details["alignment"][1, :count, :5], atol=1e-3
    )
    for row, answer in enumerate(answers[:3]):
        tokens = [token.decode() for token in details["tokens"][row] if token]
        assert " ".join(tokens) == answer["transcript"]
        weights = details["alignment"][row, : len(tokens)]
        assert (weights.sum(1) > 0.99).all()
        # Each token is heard after the one before it, within the sound.
        heard = (weights * details["times"][row]).sum(1) / weights.sum(1)
        seconds = len(pipelines.read_waveform(records[row]["audio"])[0]) / 8000
        if "ctc" in str(workdir):
            assert (np.diff(heard) > 0).all() and 0 < heard[0] and heard[-1] < seconds
    elsewhere = ask_elsewhere(target, audio=contents)
    assert elsewhere["transcript"] == [answer["transcript"] for answer in answers[:3]]
    counts = must_compile(target)
    assert counts["compiled"] > 0
    assert not any(counts[name] for name in ("serving_default", "details", "waveform"))
    empty = served["serving_default"](audio=tf.constant([], tf.string))
    assert empty["transcript"].shape == [0]


def test_it_goes_on_with_the_words_of_another_run_and_learns_new_ones(
    workdir, data, tmp_path, capsys
):
    head = workdir.parent.name.rstrip("0123456789")
    records = [{"audio": r["audio"], "text": r["text"]} for r in first_sounds(data, 10)]
    records[0]["text"] += " hello"
    manifest = tmp_path / "new.jsonl"
    manifest.write_text("".join(json.dumps(record) + "\n" for record in records))
    again = {"train": manifest, "dev": data["dev"]}
    settings = {**HEADS[head], "epochs": 0, "init_from": workdir}
    assert train(tmp_path / "w", again, head=head, **settings) == 0
    out = capsys.readouterr().out
    assert re.search(rf"from {workdir}: all \d+ weights; new rows for labels hello\n", out), out
    old, new = (open_run(str(run)) for run in (workdir, tmp_path / "w"))
    assert new.task.labels == [*old.task.labels, "hello"]
    for one, other in zip(old.model.weights, new.model.weights, strict=True):
        kept = tuple(slice(size) for size in one.shape)
        np.testing.assert_array_equal(np.array(other)[kept], np.array(one), err_msg=one.path)
    before, now = (json.loads((w / "metrics.json").read_text()) for w in (workdir, tmp_path / "w"))
    # What it has not learnt yet it hardly says.
    assert now["wer"] == pytest.approx(before["wer"], abs=0.1)
    # Mels are weights' features; and a listener is no encoder of texts.
    capsys.readouterr()
    assert train(tmp_path / "mels", again, head=head, **{**settings, "mels": 20}) == 1
    assert "mels=24 (here 20); to begin with its weights add --config.mels=24" in (
        capsys.readouterr().err
    )
    text = small_data.write_tsv(tmp_path / "t.tsv", small_data.rows(9))
    command = ["train", "--task=classification", f"--workdir={tmp_path / 'c'}"]
    command += [f"--train_data={text}", f"--config.init_from={workdir}"]
    assert app.main(command) == 1
    assert (
        "speech_recognition reads sounds, classification reads texts\n" in capsys.readouterr().err
    )


def test_pictures_show_what_was_heard_and_the_gates_beneath(workdir, data):
    run = open_run(str(workdir))
    server = run.task.server(run.model)
    records = first_sounds(data, 2)
    shown = run.task.pictures(server, records)
    assert {"transcripts", "gates/0", "gates/1"} <= set(shown)
    assert shown["gates/0"].dtype == np.uint8 and (shown["gates/0"] != 255).any()
    rows = [line.split("|")[1:-1] for line in shown["transcripts"].splitlines()[2:]]
    for row, record, answer in zip(rows, records, server.answer(records), strict=True):
        given = [cell.strip().replace("\\", "") for cell in row[1:]]
        assert given == [record["text"], answer["transcript"]]
    # The gates are those of the steps that are read, whatever stands beside them.
    spectrograms = [run.task.features.spectrogram(*read_sound(record)) for record in records]
    gates, real = server.gates(spectrograms)
    assert [int(row.sum()) for row in real] == [-(-len(s) // 4) for s in spectrograms]
    alone, _ = server.gates(spectrograms[:1])
    count = int(real[0].sum())
    for name, values in gates.items():
        np.testing.assert_allclose(values[0, :count], alone[name][0, :count], atol=1e-4)
    inputs = {"features": spectrograms[0][None], "frames": np.array([len(spectrograms[0])])}
    h, _ = run.model.listen(inputs)
    np.testing.assert_allclose(alone["output"], h[:, :, : run.config.units], atol=1e-4)


def test_sounds_of_another_rate_and_width_are_heard_alike(workdir, data, tmp_path, capsys):
    # The one that is heard most surely: of others a little noise may make something else.
    lines = predict(capsys, workdir, data["dev"])
    scores = [json.loads(line)["score"] for line in lines]
    record = first_sounds(data, len(scores))[int(np.argmax(scores))]
    waveform, rate = pipelines.read_waveform(record["audio"])
    fast = pipelines.resample(waveform, rate, 44100).numpy()
    stereo = np.stack([0.2 * fast, 0.2 * fast], 1)
    soundfile.write(tmp_path / "fast.wav", stereo, 44100, subtype="PCM_24")
    soundfile.write(tmp_path / "float.wav", 0.5 * waveform, rate, subtype="FLOAT")
    shutil.copy(record["audio"], tmp_path / "slow.wav")
    (tmp_path / "list.txt").write_text("fast.wav\nslow.wav\n")
    fast, slow = map(json.loads, predict(capsys, workdir, tmp_path / "list.txt"))
    # The sounds themselves, without a list of their names.
    rows = map(json.loads, predict(capsys, workdir, tmp_path / "*.wav"))
    for row, like in zip(rows, (fast, slow, slow), strict=True):
        assert row["transcript"] == like["transcript"]
        assert row["score"] == pytest.approx(like["score"], abs=1e-3)
    assert fast["transcript"] == slow["transcript"] != ""
    assert fast["score"] == pytest.approx(slow["score"], abs=0.1)


def test_rows_that_cannot_be_heard_are_errors_in_their_places(workdir, data, tmp_path, capsys):
    shutil.copy(first_sounds(data, 1)[0]["audio"], tmp_path / "good.wav")
    (tmp_path / "broken.wav").write_bytes(b"RIFF and no more")
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 8000)
    long = np.random.default_rng(0).normal(size=5 * 8000, scale=0.1)
    soundfile.write(tmp_path / "long.wav", long, 8000)
    names = ("none.wav", "good.wav", "broken.wav", "nothing.wav", "long.wav")
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps({"audio": name}) + "\n" for name in names))
    rows = predict(capsys, workdir, manifest, "--config.search.alignments=true", status=1)
    none, good, broken, nothing, long = map(json.loads, rows)
    assert none["line"] == 1 and "none.wav: no such file" in none["error"]
    assert broken["line"] == 3 and "broken.wav: is no sound" in broken["error"]
    assert len(good["alignment"]) == len(good["tokens"]) > 0
    assert len(good["alignment"][0]) == len(good["times"])
    assert {"transcript", "score"} <= {*nothing} and {"transcript", "score"} <= {*long}
    same = predict(capsys, workdir, manifest, "--output_format=same", status=1)
    assert json.loads(same[1]) == {"audio": "good.wav", "text": good["transcript"]}
    predict(capsys, workdir, manifest, status=1)
    app.main(["predict", f"--workdir={workdir}", f"--input={manifest}"])
    assert "1 cut to 4 seconds" in capsys.readouterr().err


@pytest.fixture
def task(data):
    config = configs.task_keys("speech_recognition").config()
    task = make_task("speech_recognition", config)
    task.fit(lambda: task.read(data["train"]))
    return task


def test_what_teaches_nothing_is_left_out_and_counted(task, data, tmp_path):
    sound = first_sounds(data, 1)[0]["audio"]
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "long.wav", np.zeros(31 * 8000), 8000)
    soundfile.write(tmp_path / "short.wav", np.zeros(800), 8000)
    rows = [(sound, "1 2"), (sound, " "), ("nothing.wav", "1"), ("long.wav", "1")]
    rows += [("short.wav", "1 2 3 4")]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps({"audio": a, "text": t}) + "\n" for a, t in rows))
    counts = collections.Counter()
    examples = list(task.encode(task.read(str(manifest)), counts, training=True))
    assert dict(counts) == {
        "without text, left out": 1,
        "without sound, left out": 1,
        "longer than 30 seconds, left out": 1,
        "with less time than text, left out": 3,
    }
    # The same at three speeds: slower is longer.
    frames = [int(example["frames"]) for example in examples]
    assert len(frames) == 3 and frames[0] > frames[1] > frames[2]
    assert frames[0] == pytest.approx(frames[1] / 0.9, rel=0.05)
    counts.clear()
    judged = list(task.encode(task.read(str(manifest)), counts))
    assert len(judged) == 4
    assert dict(counts) == {"without text, left out": 1, "cut to 30 seconds": 1}


@pytest.mark.parametrize("rate", [8000, 11025])
def test_of_a_long_sound_only_the_beginning_is_resampled(rate, tmp_path, monkeypatch):
    features = SoundFeatures(None, 8000, 20, max_seconds=1.0)
    sound = np.random.default_rng(0).normal(size=20 * rate, scale=0.1).astype("float32")
    wanted = pipelines.resample(sound, rate, 8000)[:8000]
    lengths, resample = [], pipelines.resample

    def noted(waveform, *rates):
        lengths.append(len(waveform))
        return resample(waveform, *rates)

    monkeypatch.setattr(pipelines, "resample", noted)
    given = features.read(sound, rate)
    assert lengths == [int(1.5 * rate)]
    np.testing.assert_allclose(given, pipelines.log_mel(wanted, 8000, 20), atol=0.02)
    soundfile.write(tmp_path / "a.wav", sound, rate)
    read, _ = read_sound(pipelines.Record({"audio": tmp_path / "a.wav"}), 1.0)
    assert len(read) == math.ceil(1.5 * rate) and features.is_too_long(read, rate)


def test_texts_that_are_cut_are_counted(task, data, tmp_path):
    sound = first_sounds(data, 1)[0]["audio"]
    manifest = tmp_path / "m.jsonl"
    rows = [json.dumps({"audio": sound, "text": text}) + "\n" for text in ("1 2", "1")]
    manifest.write_text("".join(rows))
    task.config.max_length = 1
    counts = collections.Counter()
    examples = list(task.encode(task.read(str(manifest)), counts, training=True))
    assert {len(example["target"]) for example in examples} == {1}
    assert dict(counts) == {"with text cut to 1 tokens": 1}


def test_a_sound_that_is_not_there_ends_a_training_before_it_begins(data, tmp_path, capsys):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"audio": "gone.wav", "text": "1"}\n')
    assert train(tmp_path / "w", {"train": manifest, "dev": data["dev"]}) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"keras-rnn: {manifest}:1: {tmp_path / 'gone.wav'}: no such file"


def test_global_moments_are_those_of_all_training_frames(data, tmp_path):
    config = configs.task_keys("speech_recognition").config()
    config.normalisation = "global"
    task = make_task("speech_recognition", config)
    task.fit(lambda: iter(first_sounds(data)))
    frames = np.concatenate(
        [
            task.features.spectrogram(*pipelines.read_waveform(record["audio"]))
            for record in first_sounds(data)
        ]
    )
    task.save(str(tmp_path))
    task.load(str(tmp_path))
    mean, deviation = task.features.normalisation()
    np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-4)
    np.testing.assert_allclose(deviation, frames.std(0), rtol=1e-3)


def test_more_halvings_than_layers_are_refused_in_a_line(tmp_path, capsys):
    command = ["train", "--task=speech_recognition", f"--workdir={tmp_path / 'w'}"]
    assert app.main([*command, "--config.halvings=4"]) == 1
    assert "--config.halvings=4: it must be at most layers, 3" in capsys.readouterr().err
