"""The SavedModel: its signatures, its numbers, what it holds, where it may be written."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import pipelines
from keras_rnn import app
from keras_rnn.run import open_run
from tests import small_data
from tests.saved_models import ask_elsewhere, must_compile

TEXTS = ["w1 fine w2", "", "poor", "w3 " * 700 + "fine", "w1 . w2 poor ! w5", "ünïcode 漢字 fine"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return small_data.train_small(tmp_path_factory.mktemp("run"), max_length=40, epochs=2)


@pytest.fixture(scope="module")
def exported(workdir):
    target = workdir.parent / "export"
    assert app.main(["export", f"--workdir={workdir}", f"--output={target}"]) == 0
    return target


def test_another_process_gets_the_numbers_of_the_model(workdir, exported):
    run = open_run(str(workdir))
    wanted = run.task.server(run.model).answer([pipelines.Record({"text": t}) for t in TEXTS])
    given = ask_elsewhere(exported, text=TEXTS)
    assert given["label"] == [answer["label"] for answer in wanted]
    np.testing.assert_allclose(
        given["probabilities"], [list(a["probabilities"].values()) for a in wanted], rtol=1e-5
    )
    np.testing.assert_allclose(given["probability"], np.max(given["probabilities"], axis=1))
    assert given["label"][0] == "good" and given["label"][2] == "bad"


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported))


def ask(loaded, texts, signature="serving_default"):
    given = loaded.signatures[signature](text=tf.constant(texts, tf.string))
    return {name: value.numpy() for name, value in given.items()}


def test_every_signature_gives_the_same_numbers(loaded):
    wanted = ask(loaded, TEXTS)
    for signature in ("compiled", "details"):
        given = ask(loaded, TEXTS, signature)
        np.testing.assert_array_equal(given["label"], wanted["label"])
        for name in ("probability", "probabilities"):
            np.testing.assert_allclose(given[name], wanted[name], rtol=1e-4, atol=1e-6)


def test_details_give_tokens_and_their_weights(loaded):
    details = ask(loaded, ["w1 fine", "", "poor w2 w3"], "details")
    assert details["tokens"].tolist() == [[b"w1", b"fine", b""], [b""] * 3, [b"poor", b"w2", b"w3"]]
    attention = details["attention"]
    np.testing.assert_allclose(attention.sum(1), [1, 1, 1], rtol=1e-5)
    assert attention[0, 2] == 0 and attention[1, 0] == 1
    # The word that decides has the largest weight.
    assert attention[0].argmax() == 1 and attention[2].argmax() == 0


@pytest.mark.parametrize("signature", ["serving_default", "compiled", "details"])
def test_no_rows_one_row_and_a_megabyte(loaded, signature):
    none = ask(loaded, [], signature)
    assert none["label"].shape == (0,) and none["probabilities"].shape == (0, 2)
    wide = ask(loaded, ["fine " * 200_000, "poor"], signature)
    assert wide["label"].tolist() == [b"good", b"bad"]
    np.testing.assert_allclose(wide["probabilities"].sum(1), [1, 1], rtol=1e-6)


def test_more_rows_than_a_block_of_the_compiled_function(loaded):
    rng = np.random.default_rng(0)
    texts = [row["text"] for row in small_data.rows(75, seed=9)]
    texts = [" ".join([text] * int(rng.integers(1, 5))) for text in texts]
    wanted, given = ask(loaded, texts), ask(loaded, texts, "compiled")
    np.testing.assert_array_equal(given["label"], wanted["label"])
    np.testing.assert_allclose(given["probabilities"], wanted["probabilities"], rtol=1e-4)


def test_invalid_utf8_is_answered(loaded):
    given = ask(loaded, [b"fine \xff\xfe", b"\xc3"])
    assert given["label"][0] == b"good" and np.isfinite(given["probability"]).all()


def test_serving_default_holds_no_must_compile_function(exported):
    counts = must_compile(exported)
    assert counts["serving_default"] == counts["details"] == 0 < counts["compiled"]


def test_extra_assets(exported):
    extra = exported / "assets.extra"
    assert (extra / "labels.txt").read_text() == "bad\ngood\n"
    assert json.loads((extra / "versions.json").read_text())["tensorflow"] == tf.__version__
    config = json.loads((extra / "config.json").read_text())
    assert config["task"] == "classification" and config["config"]["units"] == 8


def test_an_export_replaces_an_export_and_nothing_else(workdir, exported, tmp_path, capsys):
    command = ["export", f"--workdir={workdir}"]
    again = shutil.copytree(exported, tmp_path / "again")
    (again / "saved_model.pb").write_bytes(b"")
    assert app.main([*command, f"--output={again}"]) == 0
    assert len((again / "saved_model.pb").read_bytes()) > 1000
    capsys.readouterr()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    assert app.main([*command, f"--output={mine}"]) == 1
    assert "is no export of keras-rnn" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    assert app.main([*command, f"--output={mine / 'thesis.txt'}"]) == 1
    assert (mine / "thesis.txt").read_text() == "years"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert app.main([*command, f"--output={empty}"]) == 0
    assert (empty / "saved_model.pb").exists()


def test_a_failed_export_leaves_the_old_one(workdir, exported, tmp_path, capsys, monkeypatch):
    old = shutil.copytree(exported, tmp_path / "old")
    before = (old / "saved_model.pb").read_bytes()

    def fails(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fails)
    capsys.readouterr()
    assert app.main(["export", f"--workdir={workdir}", f"--output={old}"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert (old / "saved_model.pb").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_saved_model_cli_runs_it(exported):
    cli = shutil.which("saved_model_cli", path=str(app.os.path.dirname(sys.executable)))
    if cli is None:
        pytest.skip("saved_model_cli is not installed beside this Python")
    result = subprocess.run(
        [
            cli,
            "run",
            "--dir",
            str(exported),
            "--tag_set",
            "serve",
            "--signature_def",
            "serving_default",
            "--input_exprs",
            "text=['w1 fine', 'poor']",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert "b'good'" in result.stdout and "b'bad'" in result.stdout
