"""Translation through the commands: a small task learnt, asked, exported."""

import io
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from keras_rnn import app
from keras_rnn.examples import open_examples
from keras_rnn.run import open_run
from tests.saved_models import ask_elsewhere, must_compile

pytestmark = pytest.mark.usefixtures("opened_once")

WORDS = dict(
    zip(
        "eins zwei drei vier fünf sechs".split(), "one two three four five six".split(), strict=True
    )
)
SETTINGS = {
    "tokenizer": "words",
    "units": 24,
    "embedding_dim": 16,
    "attention_units": 16,
    "batch_size": 32,
    "epochs": 6,
    "learning_rate": 0.02,
    "jit_compile": False,
    "dropout": 0.0,
    "warmup_steps": 0,
    "label_smoothing": 0.0,
    "average": 0.0,
    "max_shapes": 1,
    "max_length": 12,
    "pictures": 2,
    "joint_vocabulary": False,
    "tie": "target",
}


def sentences(number: int, seed: int) -> list[tuple[str, str]]:
    generator = np.random.default_rng(seed)
    german = [" ".join(generator.choice([*WORDS], generator.integers(1, 5))) for _ in range(number)]
    return [(text, " ".join(WORDS[word] for word in text.split())) for text in german]


def write(folder, name, pairs) -> str:
    for side, suffix in enumerate(("de", "en")):
        text = "".join(f"{pair[side]}\n" for pair in pairs)
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
    return f"{folder}/{name}.de,{folder}/{name}.en"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translation")
    arguments = [
        "train",
        "--task=translation",
        f"--workdir={folder / 'w'}",
        f"--train_data={write(folder, 'train', sentences(1500, 0))}",
        f"--dev_data={write(folder, 'dev', sentences(40, 1))}",
        *(f"--config.{name}={value}" for name, value in SETTINGS.items()),
    ]
    assert app.main(arguments) == 0
    return folder / "w"


def answers(workdir, tmp_path, capsys, text, *arguments) -> list[str]:
    (tmp_path / "in.txt").write_text(text, encoding="utf-8")
    capsys.readouterr()
    command = ["predict", f"--workdir={workdir}", f"--input={tmp_path / 'in.txt'}", *arguments]
    assert app.main(command) == 0
    return capsys.readouterr().out.splitlines()


def test_it_learns_and_judges(workdir, capsys):
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert metrics["exact_match"] > 0.9 and metrics["bleu"] > 90
    assert metrics["examples"] == 40 and metrics["perplexity"] == pytest.approx(
        np.exp(metrics["loss"])
    )
    capsys.readouterr()
    assert app.main(["evaluate", f"--workdir={workdir}"]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["bleu"] == metrics["bleu"] and "bleu_signature" in again and "chrf" in again


def test_as_many_lines_out_as_in(workdir, tmp_path, capsys):
    text = "eins drei\n\nsechs\n" + "zwei " * 50 + "\n"
    for kind in ("text", "same"):
        lines = answers(workdir, tmp_path, capsys, text, f"--output_format={kind}")
        assert len(lines) == 4 and lines[:3] == ["one three", "", "six"]


def test_n_best_and_alignment(workdir, tmp_path, capsys):
    settings = ["--config.search.n_best=3", "--config.search.alignments=true"]
    (line,) = answers(workdir, tmp_path, capsys, "vier eins\n", *settings)
    answer = json.loads(line)
    assert answer["translation"] == "four one" == answer["n_best"][0]["translation"]
    scores = [entry["score"] for entry in answer["n_best"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    assert answer["source_tokens"] == ["vier", "eins", "[END]"]
    assert answer["target_tokens"] == ["four", "one", "[END]"]
    np.testing.assert_allclose(np.sum(answer["alignment"], axis=1), 1, atol=1e-4)


def test_given_targets_are_scored(workdir, tmp_path, capsys):
    """The search's own answer is worth what the search said; a wrong one is worth less."""
    (line,) = answers(workdir, tmp_path, capsys, "vier eins\n", "--config.search.length_penalty=0")
    found = json.loads(line)
    rows = [("vier eins", "four one"), ("vier eins", "four two"), ("vier eins", "")]
    table = tmp_path / "pairs.tsv"
    table.write_text("".join(f"{source}\t{target}\n" for source, target in rows))
    capsys.readouterr()
    command = ["predict", f"--workdir={workdir}", f"--input={table}", "--config.search.forced=true"]
    assert app.main(command) == 0
    scored = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["translation"] for answer in scored] == [target for _, target in rows]
    assert scored[0]["score"] == pytest.approx(found["score"], abs=1e-4)
    assert scored[0]["score"] > max(scored[1]["score"], scored[2]["score"]) + 1


def test_a_pair_without_its_target_is_answered_by_an_error(workdir, tmp_path, capsys):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"source": "eins", "target": "one"}\n{"source": "zwei"}\n')
    command = ["predict", f"--workdir={workdir}", f"--input={pairs}", "--config.search.forced=true"]
    app.main(command)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["translation"] == "one"
    assert second["error"].startswith("no target")


@pytest.mark.parametrize(
    "keys, message",
    [
        (["bridge=copied"], "--config.bidirectional=false"),
        (["bridge=copied", "bidirectional=false", "decoder_layers=2"], "as decoder_layers"),
        (["bridge=zero", "attention=none"], "would never see the source"),
        (["attention=luong_dot"], "--config.bidirectional=false"),
        (["coverage=true", "attention=luong_general"], "goes with --config.attention"),
        (["search.length_penalty=nan"], "it must be a finite number"),
        (["search.max_length=100000000"], "it must be at most"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(keys, message, tmp_path, capsys):
    command = ["train", "--task=translation", f"--workdir={tmp_path / 'w'}"]
    assert app.main([*command, *(f"--config.{key}" for key in keys)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_pairs_are_scored_from_standard_input(workdir, capsys, monkeypatch):
    text = '{"source": "eins", "target": "one"}\n{"source": ["eins"], "target": "one"}\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode()))))
    assert app.main(["predict", f"--workdir={workdir}", "--config.search.forced=true"]) == 1
    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert good["score"] < 0 and good["translation"] == "one"
    assert "is a list" in bad["error"]


def test_rows_keep_their_places_in_the_format_of_the_input(workdir, tmp_path, capsys):
    given = {
        "with_header.tsv": ("source\ttarget\neins\nzwei\t\n", "source\ttarget\n\t\nzwei\ttwo\n"),
        "without.tsv": ("eins\told\ndrei vier\told\n", "eins\tone\ndrei vier\tthree four\n"),
        "texts.jsonl": (
            '{"source": ["eins"]}\n{"source": "zwei"}\n',
            None,
        ),
    }
    for name, (text, expected) in given.items():
        (tmp_path / name).write_text(text)
        command = ["predict", f"--workdir={workdir}", f"--input={tmp_path / name}"]
        app.main([*command, "--output_format=same"])
        out = capsys.readouterr().out
        assert expected is None or out == expected
    bad, good = map(json.loads, out.splitlines())
    assert bad["line"] == 1 and good["target"] == "two"


def test_two_columns_on_standard_input(workdir, capsys, monkeypatch):
    for text, out in (("eins\told\nzwei\told\n", ["one", "two"]), ("eins\t", ["one"])):
        stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode())))
        monkeypatch.setattr("sys.stdin", stdin)
        assert app.main(["predict", f"--workdir={workdir}", "--output_format=text"]) == 0
        assert capsys.readouterr().out.splitlines() == out


def test_what_is_cut_is_said(workdir, tmp_path, capsys):
    (tmp_path / "long.txt").write_text("eins\n" + "eins " * 500 + "\n")
    app.main(["predict", f"--workdir={workdir}", f"--input={tmp_path / 'long.txt'}"])
    assert re.fullmatch(r"keras-rnn: 1 cut to \d+ tokens\n", capsys.readouterr().err)


def test_two_files_of_lines_are_an_input_too(workdir, tmp_path, capsys):
    (tmp_path / "a.de").write_text("eins\nzwei\n")
    (tmp_path / "a.en").write_text("one\n\n")
    files = f"{tmp_path / 'a.de'},{tmp_path / 'a.en'}"
    app.main(["predict", f"--workdir={workdir}", f"--input={files}", "--output_format=same"])
    assert capsys.readouterr().out == "one\ntwo\n"


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\ufeff\u200b"], ids=ascii)
def test_a_blank_text_looks_at_nothing(workdir, tmp_path, capsys, blank):
    (answer,) = answers(workdir, tmp_path, capsys, f"{blank}\n", "--config.search.alignments=true")
    answer = json.loads(answer)
    assert answer["translation"] == "" and answer["target_tokens"] == []


def test_no_example_is_left(tmp_path, capsys):
    (tmp_path / "a.de").write_text("eins " * 9 + "\n")
    (tmp_path / "a.en").write_text("one " * 9 + "\n")
    files = f"{tmp_path / 'a.de'},{tmp_path / 'a.en'}"
    command = ["train", "--task=translation", f"--train_data={files}", f"--dev_data={files}"]
    command += [f"--workdir={tmp_path / 'w'}", "--config.tokenizer=words", "--config.max_length=3"]
    assert app.main(command) == 1
    assert "no example is left: 1 longer than 3 tokens, left out" in capsys.readouterr().err


def test_an_unknown_word_is_copied(workdir, tmp_path, capsys):
    """Whatever the model makes of a word it never saw, [UNK] is not what a reader gets."""
    (line,) = answers(workdir, tmp_path, capsys, "Xanthippe\n", "--output_format=text")
    assert "[UNK]" not in line


def test_the_export_answers_as_the_model_does(workdir, tmp_path, capsys):
    texts = ["drei vier", "", "sechs", "fünf eins zwei"]
    lines = answers(workdir, tmp_path, capsys, "".join(f"{text}\n" for text in texts))
    wanted = [json.loads(line) for line in lines]
    assert app.main(["export", f"--workdir={workdir}", f"--output={tmp_path / 'export'}"]) == 0
    functions = tf.saved_model.load(str(tmp_path / "export")).signatures
    for name in ("serving_default", "compiled", "details"):
        given = functions[name](text=tf.constant(texts))
        output = [text.decode() for text in given["output"].numpy()]
        assert output == [answer["translation"] for answer in wanted]
        np.testing.assert_allclose(given["score"], [a["score"] for a in wanted], atol=1e-4)
        assert functions[name](text=tf.constant([], tf.string))["output"].shape == (0,)
    elsewhere = ask_elsewhere(tmp_path / "export", text=texts)
    assert elsewhere["output"] == [answer["translation"] for answer in wanted]
    counts = must_compile(tmp_path / "export")
    assert counts["serving_default"] == counts["details"] == 0 < counts["compiled"]


def test_accuracy_in_training_is_that_of_the_likeliest_token(workdir):
    run = open_run(str(workdir))
    store = open_examples(f"{run.workdir.examples}/dev", run.task)
    right, metrics = [], run.task.training_metrics()
    for batch in run.task.batches(store, training=False).tensors():
        *_, outputs = run.task.loss(run.model, batch, training=False)
        run.task.update_metrics(metrics, batch, outputs)
        target = batch["target"].numpy()
        logits = run.model({"ids": batch["ids"], "target": batch["target"]}).numpy()
        real = (target != 0) & batch["real"].numpy()[:, None]
        right += (logits.argmax(axis=2) == target)[real].tolist()
    assert len(right) > 100 and np.mean(right) > 0.8
    assert float(metrics["accuracy"].result()) == pytest.approx(np.mean(right))


def test_settings_that_do_not_go_together(tmp_path, capsys):
    for setting in (["joint_vocabulary=false"], ["search.n_best=9"], ["attention=luong_dot"]):
        arguments = [f"--config.{part}" for part in setting]
        status = app.main(
            ["train", "--task=translation", f"--workdir={tmp_path / 'w'}", *arguments]
        )
        assert status == 1
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
