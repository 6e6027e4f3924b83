"""Tagging from file to SavedModel: schemes, scores, formats, exports, bad input."""

import io
import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_rnn import app, configs
from keras_rnn.run import open_run
from keras_rnn.tasks import make_task
from tests import small_tags

TRAIN = small_tags.sentences(120)
DEV = small_tags.sentences(40, seed=1)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bio")
    return small_tags.train_small(folder, small_tags.conll(TRAIN), small_tags.conll(DEV))


@pytest.fixture(scope="module")
def exported(workdir):
    target = workdir.parent / "export"
    assert app.main(["export", f"--workdir={workdir}", f"--output={target}"]) == 0
    return tf.saved_model.load(str(target))


@pytest.fixture(autouse=True)
def nothing_pending(capsys, workdir):
    capsys.readouterr()


def run(capsys, *arguments) -> tuple[int, str, str]:
    status = app.main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def metrics(workdir) -> dict:
    return json.loads((workdir / "metrics.json").read_text())


def decoded(tensor) -> list[list[str]]:
    return [[cell.decode() for cell in row] for row in tensor.numpy()]


# Scores


def test_a_small_tagger_learns(workdir):
    result = metrics(workdir)
    assert result["f1"] > 0.95 and result["accuracy"] > 0.95
    assert sorted(result["by_label"]) == ["LOC", "PER"]
    spans = sum(tag.startswith("B") for _, tags in DEV for tag in tags)
    assert sum(label["support"] for label in result["by_label"].values()) == spans
    assert result["tokens"] == sum(len(tokens) for tokens, _ in DEV)
    assert result["training"]["scheme"] == "BIO"


def test_evaluate_agrees_with_predict(capsys, workdir):
    data = workdir.parent / "dev.conll"
    _, out, _ = run(capsys, "evaluate", f"--workdir={workdir}", f"--data={data}")
    result = json.loads(out.splitlines()[-1])
    _, out, _ = run(capsys, "predict", f"--workdir={workdir}", f"--input={data}")
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["tokens"] for answer in answers] == [tokens for tokens, _ in DEV]
    right = [
        given == wanted
        for answer, (_, tags) in zip(answers, DEV, strict=True)
        for given, wanted in zip(answer["tags"], tags, strict=True)
    ]
    assert result["accuracy"] == pytest.approx(np.mean(right))
    probabilities = [p for answer in answers for p in answer["probabilities"]]
    assert min(probabilities) > 0 and max(probabilities) <= 1 + 1e-6


def test_the_confusion_table_adds_up(workdir):
    rows = [line.split("\t") for line in (workdir / "confusion.tsv").read_text().splitlines()]
    assert rows[0][1:] == [row[0] for row in rows[1:]]
    table = np.array([[int(cell) for cell in row[1:]] for row in rows[1:]])
    result = metrics(workdir)
    assert table.sum() == result["tokens"]
    assert np.trace(table) / table.sum() == pytest.approx(result["accuracy"])


def test_tokens_that_training_did_not_have_are_judged_apart(capsys, workdir, tmp_path):
    data = tmp_path / "new.conll"
    data.write_text("Ada B-PER\nw1 O\nzzz O\nyyy B-LOC\n")
    _, out, _ = run(capsys, "predict", f"--workdir={workdir}", f"--input={data}")
    given = json.loads(out)["tags"]
    _, out, _ = run(capsys, "evaluate", f"--workdir={workdir}", f"--data={data}")
    result = json.loads(out)
    wanted = ["B-PER", "O", "O", "B-LOC"]
    right = [g == w for g, w in zip(given, wanted, strict=True)]
    assert result["accuracy_unseen"] == pytest.approx(np.mean(right[2:]))
    assert result["accuracy"] == pytest.approx(np.mean(right))


def test_tags_that_training_did_not_have_count_as_errors(capsys, workdir, tmp_path):
    data = tmp_path / "new.conll"
    data.write_text("Ada\tB-PER\nw1\tO\n\nw1\tO\nOslo\tB-GPE\n")
    status, out, err = run(capsys, "evaluate", f"--workdir={workdir}", f"--data={data}")
    result = json.loads(out)
    assert status == 0
    assert "1 tags that the training data lack, counted as errors" in err
    assert "new.conll:5" in err
    assert result["by_label"]["[unseen]"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert np.isfinite(result["loss"])


def test_broken_tags_are_told_and_read_as_conlleval_reads_them(capsys, workdir, tmp_path):
    data = tmp_path / "broken.conll"
    data.write_text("w1\tO\nAda\tI-PER\nw2\tO\n")
    status, out, err = run(capsys, "evaluate", f"--workdir={workdir}", f"--data={data}")
    assert status == 0
    assert "1 tags break the scheme BIO" in err and "broken.conll:2" in err
    assert json.loads(out)["by_label"]["PER"]["support"] == 1


# Schemes


@pytest.mark.parametrize("source, model", [("IOB1", "BIO"), ("IOBES", "IOBES"), ("IOB1", "IOBES")])
def test_answers_come_in_the_scheme_of_the_data(capsys, tmp_path, source, model):
    from pipelines import schemes

    def spelled(pairs):
        return [(tokens, schemes.convert(tags, "BIO", source)) for tokens, tags in pairs]

    # Two people without a word between them: in IOB1 the second one begins with B.
    extra = [(["Ada", "Oslo", "Rome", "w1"], ["B-PER", "B-LOC", "B-LOC", "O"])] * 20
    dev = spelled(DEV + extra[:1])
    workdir = small_tags.train_small(
        tmp_path,
        "-DOCSTART- -X- -X- O\n\n" + small_tags.conll(spelled(TRAIN + extra), " NN I-NP "),
        small_tags.conll(dev, " NN I-NP "),
        model_scheme=model,
        epochs=8,
    )
    result = metrics(workdir)
    assert result["training"]["scheme"] == source
    assert result["accuracy"] > 0.95
    capsys.readouterr()
    data = tmp_path / "dev.conll"
    _, out, _ = run(capsys, "predict", f"--workdir={workdir}", f"--input={data}")
    answers = [json.loads(line)["tags"] for line in out.splitlines()]
    right = [
        given == wanted
        for answer, (_, tags) in zip(answers, dev, strict=True)
        for given, wanted in zip(answer, tags, strict=True)
    ]
    assert np.mean(right) == pytest.approx(result["accuracy"])
    for answer in answers:
        assert schemes.check(answer, source) == []
    if source == "IOB1":
        assert answers[-1] == ["I-PER", "I-LOC", "B-LOC", "O"]


def test_parts_of_speech_from_conllu(capsys, tmp_path):
    train_text, dev_text = small_tags.conllu(TRAIN), small_tags.conllu(DEV)
    workdir = small_tags.train_small(tmp_path, train_text, dev_text, ".conllu", crf="false")
    result = metrics(workdir)
    assert result["training"]["scheme"] == "plain"
    assert result["accuracy"] > 0.95 and result["f1"] == pytest.approx(result["accuracy"])
    assert sorted(result["by_label"]) == ["PROPN", "X"]
    capsys.readouterr()
    # The same file comes back, its answers in their column.
    unlabelled = tmp_path / "in.conllu"
    unlabelled.write_text(dev_text.replace("\tX\t", "\t_\t").replace("\tPROPN\t", "\t_\t"))
    target = tmp_path / "out.conllu"
    status, _, _ = run(
        capsys,
        "predict",
        f"--workdir={workdir}",
        f"--input={unlabelled}",
        f"--output={target}",
        "--output_format=same",
    )
    assert status == 0
    wanted, got = dev_text.splitlines(), target.read_text().splitlines()
    assert len(got) == len(wanted)
    same = [a == b for a, b in zip(got, wanted, strict=True)]
    assert np.mean(same) > 0.95


def test_a_feature_of_conllu_and_characters_by_recurrence(tmp_path):
    workdir = small_tags.train_small(
        tmp_path,
        small_tags.conllu(TRAIN),
        small_tags.conllu(DEV),
        ".conllu",
        data__tag_column="Case",
        characters="rnn",
        attributes="false",
        cell="gru",
        layers=2,
        epochs=4,
    )
    result = metrics(workdir)
    assert sorted(result["by_label"]) == ["PROPN", "X"]
    assert result["accuracy"] > 0.9


def test_vectors_stay_as_they_were_given(tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("ada 1 2 3\noslo 4 5 6\nnowhere 7 8 9\n")
    workdir = small_tags.train_small(
        tmp_path,
        small_tags.conll(TRAIN),
        small_tags.conll(DEV),
        vectors=vectors,
        vectors_size=2,
        epochs=1,
    )
    opened = open_run(str(workdir))
    features = opened.task.features
    # The third word is neither among the first two nor in the training data.
    assert features.vectors.tokens_list[4:] == ["ada", "oslo"]
    table = opened.model.encoder.vectors.embeddings.numpy()
    np.testing.assert_array_equal(table[1], [0, 0, 0])
    np.testing.assert_array_equal(table[4:], [[1, 2, 3], [4, 5, 6]])
    encoded = features.encode(tf.ragged.constant([["Ada", "Oslo", "nowhere"]]))
    assert encoded["vector_ids"].to_list() == [[4, 5, 1]]


# Formats of predict


def ask(capsys, monkeypatch, text: str, workdir, *arguments):
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode())))
    monkeypatch.setattr(sys, "stdin", stdin)
    return run(capsys, "predict", f"--workdir={workdir}", *arguments)


def test_plain_text_gives_offsets_in_bytes(capsys, monkeypatch, workdir):
    status, out, _ = ask(capsys, monkeypatch, "Ada wörk, Oslo.\n\n", workdir)
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and len(answers) == 2
    raw = answers[0]["text"].encode()
    places = zip(answers[0]["start"], answers[0]["end"], strict=True)
    assert [raw[a:b].decode() for a, b in places] == answers[0]["tokens"]
    assert answers[0]["tokens"] == ["Ada", "wörk", ",", "Oslo", "."]
    assert answers[0]["tags"][0] == "B-PER" and answers[0]["tags"][3] == "B-LOC"
    assert answers[1]["tokens"] == [] and answers[1]["tags"] == []


def test_text_output_is_the_tags_alone(capsys, monkeypatch, workdir):
    _, out, _ = ask(capsys, monkeypatch, "Ada w1\n\nOslo\n", workdir, "--output_format=text")
    assert out == "B-PER O\n\nB-LOC\n"


def test_same_for_plain_lines_gives_columns(capsys, monkeypatch, workdir, tmp_path):
    target = tmp_path / "out.conll"
    arguments = ("--output_format=same", f"--output={target}")
    ask(capsys, monkeypatch, "Ada w1\nOslo\n", workdir, *arguments)
    assert target.read_text() == "Ada\tB-PER\nw1\tO\n\nOslo\tB-LOC\n\n"


def test_json_lines_with_tokens_or_text(capsys, monkeypatch, workdir):
    rows = [
        {"id": 1, "tokens": ["Ada", "w1"]},
        {"text": "Oslo w2"},
        {"tokens": [3]},
        {"tokens": []},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    status, out, _ = ask(capsys, monkeypatch, text, workdir)
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert answers[0]["id"] == 1 and answers[0]["tags"] == ["B-PER", "O"]
    assert answers[1]["tags"] == ["B-LOC", "O"] and answers[1]["start"] == [0, 5]
    assert answers[2]["line"] == 3 and "tokens" in answers[2]["error"]
    assert answers[3]["tags"] == []


def test_same_adds_a_column_and_keeps_every_byte_else(capsys, workdir, tmp_path):
    source = tmp_path / "in.conll"
    source.write_bytes(b"# a = b\r\nAda\r\nw1\r\n\r\n\r\n-DOCSTART-\r\n\r\nOslo")
    target = tmp_path / "out.conll"
    arguments = (f"--workdir={workdir}", f"--input={source}", f"--output={target}")
    status, _, _ = run(capsys, "predict", *arguments, "--output_format=same")
    assert status == 0
    got = target.read_bytes()
    for line in (b"# a = b\r\n", b"Ada\tB-PER\r\n", b"w1\tO\r\n\r\n\r\n-DOCSTART-"):
        assert line in got
    assert got.endswith(b"Oslo\tB-LOC")


def test_columns_on_standard_input_come_back(capsys, monkeypatch, workdir):
    text = small_tags.conll(DEV[:3])
    status, out, _ = ask(capsys, monkeypatch, text, workdir)
    assert status == 0
    assert [json.loads(line)["tokens"] for line in out.splitlines()] == [t for t, _ in DEV[:3]]


def test_a_sentence_of_ten_thousand_tokens(capsys, workdir, tmp_path):
    tokens = ["Ada", "w1"] * 5000
    data = tmp_path / "long.conll"
    data.write_text("".join(f"{token}\t{'O' if token == 'w1' else 'B-PER'}\n" for token in tokens))
    _, out, _ = run(capsys, "predict", f"--workdir={workdir}", f"--input={data}")
    answer = json.loads(out)
    assert answer["tokens"] == tokens
    assert np.mean([tag == "B-PER" for tag in answer["tags"][::2]]) > 0.99
    _, out, _ = run(capsys, "evaluate", f"--workdir={workdir}", f"--data={data}")
    assert json.loads(out)["tokens"] == 10_000


# SavedModel


def test_signatures_agree(exported):
    texts = tf.constant(["Ada w1 Oslo.", "", "wörk Bo Cy w2", "w1 " * 140])
    served = exported.signatures["serving_default"](text=texts)
    assert sorted(served) == ["end", "start", "tags", "tokens"]
    assert decoded(served["tokens"])[0][:5] == ["Ada", "w1", "Oslo", ".", ""]
    assert decoded(served["tags"])[0][:3] == ["B-PER", "O", "B-LOC"]
    assert decoded(served["tags"])[1] == [""] * 140
    assert served["start"][2, :4].numpy().tolist() == [0, 6, 9, 12]
    assert served["end"][2, :4].numpy().tolist() == [5, 8, 11, 14]
    assert served["start"].dtype == tf.int32
    compiled = exported.signatures["compiled"](text=texts)
    details = exported.signatures["details"](text=texts)
    for name, value in served.items():
        np.testing.assert_array_equal(value, compiled[name])
        np.testing.assert_array_equal(value, details[name])
    real = (served["tags"] != "").numpy()
    marginals = details["marginals"].numpy()
    np.testing.assert_allclose(marginals.sum(2), real, atol=1e-4)
    np.testing.assert_array_equal(details["best_tags"][:, 0], served["tags"])
    assert (np.diff(details["best_scores"].numpy(), axis=1) <= 1e-4).all()


def test_tokens_may_have_holes(exported):
    tokens = tf.constant([["Ada", "", "w1"], ["", "", ""], ["Oslo", "w2", ""]])
    result = exported.signatures["tokens"](tokens=tokens)
    assert decoded(result["tags"]) == [["B-PER", "", "O"], ["", "", ""], ["B-LOC", "O", ""]]
    np.testing.assert_array_equal(result["probabilities"].numpy() > 0, tokens.numpy() != b"")


@pytest.mark.parametrize("name", ["serving_default", "compiled", "details"])
def test_no_texts_and_empty_texts(exported, name):
    signature = exported.signatures[name]
    assert signature(text=tf.constant([], tf.string))["tags"].shape[0] == 0
    assert signature(text=tf.constant(["", " "]))["tags"].shape == (2, 0)


def test_serving_default_holds_no_function_that_must_be_compiled(exported):
    graph = exported.signatures["serving_default"].graph.as_graph_def()
    for function in graph.library.function:
        assert not function.attr["_XlaMustCompile"].b


# Bad input

GOOD = small_tags.conll(TRAIN[:5])
LINES = GOOD.count("\n")
CASES = {
    "too many columns": ("t.conll", GOOD + "\nw1\tO\nw2\tO\tx\n", f"t.conll:{LINES + 3}: "),
    "too few columns": ("t.conll", GOOD + "\nw1\tO\nw2\n", f"t.conll:{LINES + 3}: "),
    "an empty file": ("t.conll", "", "t.conll: "),
    "columns called CoNLL-U": ("t.conllu", GOOD, "t.conllu:1: "),
    "one tag": ("t.conll", "a\tO\nb\tO\n\nc\tO\n", "t.conll: every token has the tag 'O'"),
    "CoNLL-U called columns": ("t.conll", small_tags.conllu(TRAIN[:5]), "t.conll:"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_training_files(capsys, tmp_path, case):
    name, content, wanted = CASES[case]
    path = tmp_path / name
    path.write_text(content)
    status, _, err = run(
        capsys,
        "train",
        "--task=tagging",
        f"--workdir={tmp_path / 'w'}",
        f"--train_data={path}",
        f"--dev_data={path}",
        *small_tags.overrides(epochs=1),
    )
    assert status == 1
    assert err.count("\n") == 1 and wanted in err


def test_a_column_that_is_none(capsys, tmp_path):
    path = tmp_path / "t.conll"
    path.write_text(GOOD)
    for key in ("data.token_column", "data.tag_column"):
        status, _, err = run(
            capsys,
            "train",
            "--task=tagging",
            f"--workdir={tmp_path / 'w'}",
            f"--train_data={path}",
            f"--config.{key}=seven",
        )
        assert status == 1 and err.count("\n") == 1


def test_built_in_data_is_tagged(tmp_path):
    task = make_task("tagging", configs.task_keys("tagging").config())
    files = task.built_in_data(str(tmp_path))
    records = list(task.read(files["train"]))
    assert len(records) > 1000
    task.fit(lambda: iter(records))
    assert task.scheme == "BIO" and "O" in task.tags
