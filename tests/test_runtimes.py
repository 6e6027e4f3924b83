"""Exports for other runtimes: their clients, which know no TensorFlow, answer as the model does."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from keras_rnn import app
from tests import small_data, small_tags

NEEDED = {"tflite": ("ai_edge_litert",), "onnx": ("onnxruntime", "tf2onnx")}
FORMATS = [
    pytest.param(
        form,
        marks=pytest.mark.skipif(
            not all(map(importlib.util.find_spec, modules)), reason=f"needs {', '.join(modules)}"
        ),
    )
    for form, modules in NEEDED.items()
]
# Of the training data and not; in other scripts, with marks inside words, blanks of every kind, one word and none.
TEXTS = [
    "w1 fine w3",
    "poor W1 unheard-of, isn't it? (3.5 km)",
    "",
    "Ada Bo went to Oslo!",
    "Straße İstanbul 東京 नमस्ते \u00a0 e\u0301",
    "w2",
    "fine " * 30,
]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return small_data.train_small(tmp_path_factory.mktemp("classifier"), characters=True)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    train, dev = (
        small_tags.conll(small_tags.sentences(n, seed)) for n, seed in ((150, 0), (30, 1))
    )
    return small_tags.train_small(folder, train, dev)


def predicted(workdir, folder, capsys) -> list[dict]:
    (folder / "ask.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    capsys.readouterr()
    assert app.main(["predict", f"--workdir={workdir}", f"--input={folder / 'ask.jsonl'}"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def exported(workdir, folder, form):
    command = ["export", f"--workdir={workdir}", f"--output={folder / form}", f"--format={form}"]
    assert app.main(command) == 0
    return folder / form


def asked(folder) -> list[dict]:
    """What the export's client answers, in a process of its own that TensorFlow is kept out of."""
    program = (
        "import runpy, sys; sys.modules['tensorflow'] = sys.modules['keras_rnn'] = None; "
        "sys.argv = ['client.py']; sys.path.insert(0, '.'); "
        "runpy.run_path('client.py', run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        input="".join(f"{text}\n" for text in TEXTS),
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("form", FORMATS)
def test_a_classifiers_client(form, classifier, tmp_path, capsys):
    wanted = predicted(classifier, tmp_path, capsys)
    given = asked(exported(classifier, tmp_path, form))
    for one, other in zip(given, wanted, strict=True):
        assert one["label"] == other["label"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.parametrize("form", FORMATS)
def test_a_taggers_client(form, tagger, tmp_path, capsys):
    wanted = predicted(tagger, tmp_path, capsys)
    given = asked(exported(tagger, tmp_path, form))
    assert any(tag != "O" for answer in given for tag in answer["tags"])
    for one, other in zip(given, wanted, strict=True):
        assert (one["tokens"], one["tags"]) == (other["tokens"], other["tags"])
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, NEEDED["onnx"])), reason="needs onnxruntime and tf2onnx"
)
def test_an_onnx_batch_is_its_rows(tagger, tmp_path, monkeypatch):
    import onnxruntime

    folder = exported(tagger, tmp_path, "onnx")
    monkeypatch.syspath_prepend(folder)
    from encoding import Encoding

    encoding = Encoding(folder)
    rows = [encoding.features(encoding.tokens(text)) for text in TEXTS if text]
    longest = max(row["ids"].shape[1] for row in rows)
    batch = {
        name: np.concatenate(
            [
                np.pad(
                    row[name],
                    [(0, 0), (0, longest - row[name].shape[1])] + [(0, 0)] * (row[name].ndim - 2),
                )
                for row in rows
            ]
        )
        for name in rows[0]
    }
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    together = session.run(["tags", "probabilities"], batch)
    for number, row in enumerate(rows):
        length = row["ids"].shape[1]
        for one, many in zip(session.run(["tags", "probabilities"], row), together, strict=True):
            np.testing.assert_allclose(many[number, :length], one[0], atol=1e-5)


def test_one_export_takes_the_place_of_another_whole(classifier, tmp_path):
    if not importlib.util.find_spec("ai_edge_litert"):
        pytest.skip("needs ai_edge_litert")
    folder = exported(classifier, tmp_path, "tflite")
    app.main(["export", f"--workdir={classifier}", f"--output={folder}"])
    names = {path.name for path in folder.iterdir()}
    assert "saved_model.pb" in names and not names & {"model.tflite", "client.py", "encoding.json"}


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"tokenizer": "wordpiece", "vocabulary_size": 60},
            "--config.tokenizer=wordpiece stands in the way",
        ),
        (
            {"hierarchical": True, "sentence_length": 4},
            "--config.hierarchical=true stands in the way",
        ),
    ],
)
def test_what_stands_in_the_way_is_named(settings, message, tmp_path, capsys):
    workdir = small_data.train_small(tmp_path, epochs=0, **settings)
    command = ["export", f"--workdir={workdir}", f"--output={tmp_path / 'e'}", "--format=tflite"]
    capsys.readouterr()
    assert app.main(command) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "e").exists()
