"""Tagging from file to SavedModel: schemes, scores, formats, exports, bad input."""

import collections
import functools
import io
import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf

import pipelines
from keras_rnn import app, configs
from keras_rnn.metrics import TagCounts
from keras_rnn.run import open_run
from keras_rnn.tasks import make_task, tagging
from keras_rnn.tasks.tag_pictures import confusion_table
from keras_rnn.tasks.tagging_server import TaggingServer
from pipelines import schemes
from tests import small_tags
from tests.saved_models import must_compile

# Words alone: half the graph, where a test asks about something else.
BARE = {"characters": "none", "attributes": "false"}
TRAIN = small_tags.sentences(120)
DEV = small_tags.sentences(40, seed=1)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bio")
    return small_tags.train_small(
        folder, small_tags.conll(TRAIN), small_tags.conll(DEV), pictures=2
    )


@pytest.fixture(scope="module")
def opened(workdir):
    """The trained run, opened once, with one server: what that compiled serves every test."""
    run = open_run(str(workdir))
    run.task.server = functools.cache(run.task.server)
    return run


@pytest.fixture
def opened_once(monkeypatch, opened):
    opened.task._places.clear()
    monkeypatch.setattr("keras_rnn.run.open_run", lambda folder, **_: opened)


@pytest.fixture(scope="module")
def exported(workdir):
    target = workdir.parent / "export"
    with pytest.MonkeyPatch.context() as patch:
        # An XLA program each: two of them and the way without one are enough.
        patch.setattr(TaggingServer, "lengths", (8, 16))
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


def test_accuracy_in_training_is_that_of_the_likeliest_tag():
    """Under a softmax; a conditional random field would have to search for the tags that it gives."""
    generator = np.random.default_rng(0)
    emissions = generator.normal(size=[4, 6, 5]).astype("float32")
    tags = generator.integers(0, 5, [4, 6]).astype("int32")
    tags[0] = emissions[0].argmax(axis=1)
    hits = tagging._is_likeliest(tf.constant(tags), tf.constant(emissions))
    np.testing.assert_array_equal(hits, emissions.argmax(axis=2) == tags)
    config = configs.task_keys("tagging").config()
    assert not make_task("tagging", config).training_metrics()
    config.crf = False
    task = make_task("tagging", config)
    shown, mask = task.training_metrics(), generator.random([4, 6]) < 0.5
    task.update_metrics(shown, {}, (hits, mask))
    wanted = (emissions.argmax(axis=2) == tags)[mask].mean()
    assert float(shown["accuracy"].result()) == pytest.approx(wanted)


def test_the_confusion_table_adds_up(workdir):
    rows = [line.split("\t") for line in (workdir / "confusion.tsv").read_text().splitlines()]
    assert rows[0][1:] == [row[0] for row in rows[1:]]
    table = np.array([[int(cell) for cell in row[1:]] for row in rows[1:]])
    result = metrics(workdir)
    assert table.sum() == result["tokens"]
    assert np.trace(table) / table.sum() == pytest.approx(result["accuracy"])


@pytest.mark.usefixtures("opened_once")
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


def test_unseen_are_tokens_whose_form_is_not_in_the_training_data(tmp_path):
    # Words that the vocabulary lowers, cuts off or leaves out for their number are seen all the same.
    tokens = ["Ada", "w1", "#", "el mar", "w1"]
    task = fitted([(tokens, ["B-X", "O", "O", "O", "O"])], min_count=2)
    task.save(str(tmp_path))
    task.load(str(tmp_path))
    tokens = ["Ada", "ada", "w1", "w2", "#", "el mar", "mar"]
    record = pipelines.Record({"tokens": tokens, "tags": ["B-X", "B-X", "O", "O", "O", "O", "O"]})
    (example,) = task.encode([record])
    assert example["unseen"].tolist() == [False, True, False, True, False, False, True]
    # Of the second row nothing counts, nor the padding of the first one.
    rows = {
        "ids": np.ones(len(tokens), np.int32),
        "tags": example["tags"],
        "unseen": example["unseen"],
    }
    batch = {n: tf.constant(np.stack([np.pad(v, (0, 2))] * 2)) for n, v in rows.items()}
    batch["real"] = tf.constant([True, False])
    outside = tf.zeros([2, len(tokens) + 2], tf.int32)

    class Once:
        def tensors(self):
            return [batch]

    result = task.judge(lambda batch: (tf.zeros(2), tf.zeros(2), outside), Once())
    assert result["tokens"] == 7
    assert result["accuracy"] == pytest.approx(5 / 7)
    assert result["accuracy_unseen"] == pytest.approx(2 / 3)


def test_transitions_are_an_image_in_tensorboard(workdir, opened):
    server = opened.task.server(opened.model)
    assert server.transitions()[0, 2] == -np.inf, "O to I-LOC is forbidden"
    image = opened.task.pictures(server, [])["transitions"]
    assert image.dtype == np.uint8 and image.shape[0] == 1 and image.shape[3] == 4
    (events,) = (workdir / "tensorboard" / "dev").iterdir()
    shown = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert {"transitions", "confusion", "tags/0", "tags/1", "gates/0", "gates/1"} <= shown


def test_confusions_are_told_in_tensorboard(opened):
    counts = TagCounts(["O", "B-LOC", "I-LOC"])
    counts.update_tags(
        np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 0, 0, 2]), np.zeros(6, bool)
    )
    rows = confusion_table(counts).splitlines()
    assert rows[2:] == ["| B-LOC | O | 2 | 66.7% |", "| O | B-LOC | 1 | 50.0% |"]


@pytest.mark.usefixtures("opened_once")
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


@pytest.mark.usefixtures("opened_once")
def test_a_file_of_other_tags_altogether_is_refused(capsys, workdir, tmp_path):
    data = tmp_path / "films.tsv"
    data.write_text("good\tpositive\n\nbad\tnegative\n")
    status, out, err = run(capsys, "evaluate", f"--workdir={workdir}", f"--data={data}")
    assert status == 1 and not out
    assert "films.tsv: none of its tags is one of the training data, the first is 'positive'" in err


@pytest.mark.usefixtures("opened_once")
def test_broken_tags_are_told_and_read_as_conlleval_reads_them(capsys, workdir, tmp_path):
    data = tmp_path / "broken.conll"
    data.write_text("w1\tO\nAda\tI-PER\nw2\tO\n")
    status, out, err = run(capsys, "evaluate", f"--workdir={workdir}", f"--data={data}")
    assert status == 0
    assert "1 tags break the scheme BIO" in err and "broken.conll:2" in err
    assert json.loads(out)["by_label"]["PER"]["support"] == 1


# Schemes


@pytest.mark.parametrize("source, model", [("IOB1", "BIO"), ("IOBES", "BIO")])
def test_answers_come_in_the_scheme_of_the_data(capsys, tmp_path, source, model):
    """Files laid out as those of CoNLL-2003; a model of BIO could not spell IOBES, so that leads."""

    def spelled(pairs):
        return [(tokens, schemes.convert(tags, "BIO", source)) for tokens, tags in pairs]

    # Two cities without a word between them: in IOB1 the second one begins with B.
    extra = [(["Ada", "Oslo", "Rome", "w1"], ["B-PER", "B-LOC", "B-LOC", "O"])] * 20
    head, dev = "-DOCSTART- -X- -X- O\n\n", spelled(DEV + extra[:1])
    dev_text = small_tags.conll(dev, " NN I-NP ").replace("\n\n", f"\n\n\n{head}", 1)
    workdir = small_tags.train_small(
        tmp_path,
        head + small_tags.conll(spelled(TRAIN + extra), " NN I-NP "),
        head + dev_text,
        model_scheme=model,
        **BARE,
    )
    result = metrics(workdir)
    assert result["training"]["scheme"] == source
    assert result["accuracy"] > 0.95
    letters = {
        tag[0] for tag in json.loads((workdir / "vocabulary.tags.json").read_text())["model_tags"]
    }
    assert letters == set("OBI" if source == "IOB1" else "OBIES")
    capsys.readouterr()
    data, target = tmp_path / "dev.conll", tmp_path / "out.conll"
    arguments = (f"--workdir={workdir}", f"--input={data}", f"--output={target}")
    status, _, _ = run(capsys, "predict", *arguments, "--output_format=same")
    assert status == 0
    answers = [record["tags"] for record in pipelines.read_tagged(str(target))]
    filled = iter([tag for answer in answers for tag in answer])
    lines = data.read_bytes().decode().split("\n")
    is_token = [len(line.split()) == 4 and not line.startswith("-DOC") for line in lines]
    # All is as it was but the last column.
    assert target.read_bytes().decode().split("\n") == [
        " ".join([*line.split()[:3], next(filled)]) if token else line
        for line, token in zip(lines, is_token, strict=True)
    ]
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


def fitted(pairs, **settings):
    """A task that knows its training data, and has no model."""
    config = configs.task_keys("tagging").config()
    config.update({**small_tags.SETTINGS, "characters": "none", "attributes": False, **settings})
    task = make_task("tagging", config)
    records = [pipelines.Record({"tokens": tokens, "tags": tags}) for tokens, tags in pairs]
    task.fit(lambda: iter(records))
    return task


@pytest.mark.parametrize("source", ["BIO", "IOB1", "IOBES"])
@pytest.mark.parametrize("model", ["BIO", "IOBES"])
def test_a_server_spells_in_the_scheme_of_the_data(source, model):
    pairs = [(tokens, schemes.convert(tags, "BIO", source)) for tokens, tags in TRAIN]
    task = fitted(pairs, model_scheme=model)
    assert task.scheme == source
    model = "IOBES" if source == "IOBES" else model
    assert task.model_scheme == model
    server = task.server(task.build_model())
    lists = {name: text.splitlines() for name, text in server.assets().items()}
    bio = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    iobes = ["O", *(f"{letter}-{label}" for label in ("LOC", "PER") for letter in "BIES")]
    assert lists["tags.txt"] == (iobes if source == "IOBES" else bio)
    assert lists["model_tags.txt"] == (iobes if model == "IOBES" else bio)
    # In the graph as the pipeline spells them: spans side by side, of one label and of two.
    spans = ["B-LOC B-LOC I-LOC B-PER O", "", "I-LOC I-LOC B-LOC", "B-PER B-LOC", "B-PER I-PER"]
    wanted = [schemes.convert(line.split(), "BIO", source) for line in spans]
    numbers = [
        [lists["model_tags.txt"].index(t) for t in schemes.convert(row, source, model)]
        for row in wanted
    ]
    names = server._names(tf.ragged.constant(numbers, tf.int32)).to_list()
    assert [[name.decode() for name in row] for row in names] == wanted


def test_parts_of_speech_from_conllu(capsys, tmp_path):
    train_text, dev_text = small_tags.conllu(TRAIN), small_tags.conllu(DEV)
    workdir = small_tags.train_small(tmp_path, train_text, dev_text, ".conllu", crf="false", **BARE)
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


@pytest.fixture(scope="module")
def feature(tmp_path_factory):
    """A run on a feature of CoNLL-U, with characters by recurrence and pretrained vectors."""
    folder = tmp_path_factory.mktemp("feature")
    vectors = folder / "vectors.txt"
    vectors.write_text("ada 1 2 3\noslo 4 5 6\nnowhere 7 8 9\n")
    return small_tags.train_small(
        folder,
        small_tags.conllu(TRAIN),
        small_tags.conllu(DEV),
        ".conllu",
        data__tag_column="Case",
        characters="rnn",
        attributes="false",
        cell="gru",
        epochs=4,
        vectors=vectors,
        vectors_size=2,
    )


def test_a_feature_of_conllu_and_characters_by_recurrence(feature):
    result = metrics(feature)
    assert sorted(result["by_label"]) == ["PROPN", "X"]
    assert result["accuracy"] > 0.9


def test_vectors_stay_as_they_were_given(feature):
    reopened = open_run(str(feature))
    features = reopened.task.features
    # The third word is neither among the first two nor in the training data.
    assert features.vectors.tokens_list[4:] == ["ada", "oslo"]
    table = reopened.model.encoder.vectors.embeddings.numpy()
    np.testing.assert_array_equal(table[1], [0, 0, 0])
    np.testing.assert_array_equal(table[4:], [[1, 2, 3], [4, 5, 6]])
    encoded = features.encode(tf.ragged.constant([["Ada", "Oslo", "nowhere"]]))
    assert encoded["vector_ids"].to_list() == [[4, 5, 1]]


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not JSON"), ('{"dimension": "3"}', "'dimension' is missing or no int")],
)
def test_damaged_facts_of_vectors_are_one_line(content, message, feature, tmp_path, capsys):
    shutil.copytree(feature, tmp_path / "w")
    (tmp_path / "w" / "vocabulary.vectors.facts.json").write_text(content)
    status, _, err = run(capsys, "evaluate", f"--workdir={tmp_path / 'w'}")
    assert status == 1 and err.count("\n") == 1
    assert "vocabulary.vectors.facts.json" in err and message in err


def test_a_feature_that_no_token_has_is_one_line(capsys, tmp_path):
    path = tmp_path / "train.conllu"
    path.write_text(small_tags.conllu(TRAIN[:5]))
    status, _, err = run(
        capsys,
        "train",
        "--task=tagging",
        f"--workdir={tmp_path / 'w'}",
        f"--train_data={path}",
        f"--dev_data={path}",
        *small_tags.overrides(data__tag_column="Cases"),
    )
    assert status == 1 and err.count("\n") == 1
    assert f"{path}: no token has a tag in 'Cases'" in err and "nearest: Case" in err


# Formats of predict


def ask(capsys, monkeypatch, text: str, workdir, *arguments):
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode())))
    monkeypatch.setattr(sys, "stdin", stdin)
    return run(capsys, "predict", f"--workdir={workdir}", *arguments)


@pytest.mark.usefixtures("opened_once")
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


@pytest.mark.usefixtures("opened_once")
def test_a_bad_object_keeps_its_place_in_the_same_format(capsys, monkeypatch, workdir, tmp_path):
    target = tmp_path / "out.jsonl"
    text = '{"id": 1, "tokens": ["Ada"]}\n{"tokens": 5}\n{"id": 3, "tokens": ["Oslo"]}\n'
    given = (f"--output={target}", "--output_format=same")
    status, _, _ = ask(capsys, monkeypatch, text, workdir, *given)
    first, bad, last = map(json.loads, target.read_text().splitlines())
    assert status == 1 and bad["line"] == 2 and "needs tokens" in bad["error"]
    assert [first, last] == [
        {"id": 1, "tokens": ["Ada"], "tags": ["B-PER"]},
        {"id": 3, "tokens": ["Oslo"], "tags": ["B-LOC"]},
    ]


@pytest.mark.usefixtures("opened_once")
def test_text_output_is_the_tags_alone(capsys, monkeypatch, workdir):
    _, out, _ = ask(capsys, monkeypatch, "Ada w1\n\nOslo\n", workdir, "--output_format=text")
    assert out == "B-PER O\n\nB-LOC\n"


@pytest.mark.usefixtures("opened_once")
def test_same_for_plain_lines_gives_columns(capsys, monkeypatch, workdir, tmp_path):
    target = tmp_path / "out.conll"
    arguments = ("--output_format=same", f"--output={target}")
    ask(capsys, monkeypatch, "Ada w1\nOslo\n", workdir, *arguments)
    assert target.read_text() == "Ada\tB-PER\nw1\tO\n\nOslo\tB-LOC\n\n"


@pytest.mark.usefixtures("opened_once")
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


def test_a_text_of_json_is_cut_at_a_character_and_counted(tmp_path):
    task = fitted(TRAIN, max_bytes=9)
    path = tmp_path / "ask.jsonl"
    path.write_text('{"text": "Ada éééé", "id": 1}\n{"text": "Ada"}\n{"tokens": ["Ada", "éééé"]}\n')
    counts = collections.Counter()
    records = list(task.read_input(str(path), counts))
    assert counts == {"cut to 9 bytes": 1}
    assert [*map(dict, records)] == [
        {"text": "Ada éé"},
        {"text": "Ada"},
        {"tokens": ["Ada", "éééé"]},
    ]
    # In a graph that is asked itself, too.
    server = TaggingServer(task, task.build_model())
    tokens, _, ends = server._cut(tf.constant(["Ada éééé"]))
    assert decoded(tokens.to_tensor("")) == [["Ada", "éé"]] and ends.to_list() == [[3, 8]]


@pytest.mark.usefixtures("opened_once")
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


@pytest.mark.usefixtures("opened_once")
def test_columns_on_standard_input_come_back(capsys, monkeypatch, workdir):
    text = small_tags.conll(DEV[:3])
    status, out, _ = ask(capsys, monkeypatch, text, workdir)
    assert status == 0
    assert [json.loads(line)["tokens"] for line in out.splitlines()] == [t for t, _ in DEV[:3]]


def without_tags(text: str, between: str, column: int) -> list[list[str]]:
    """The lines, of tokens all but one column."""
    lines = [line.split(between) for line in text.split("\n")]
    is_token = [len(line) > abs(column) and "-" not in line[0] for line in lines]
    return [
        line[:column] + line[column + 1 :] if token else line
        for line, token in zip(lines, is_token, strict=True)
    ]


@pytest.mark.usefixtures("opened_once")
@pytest.mark.parametrize("kind", ["columns", "CoNLL-U"])
def test_the_same_from_standard_input_to_standard_output(capsys, monkeypatch, workdir, kind):
    """More than the first look at standard input holds, and a bad sentence at the end."""
    marks = "# a = b\r\n-DOCSTART- -X- O\r\n\r\n"
    row, between, column = "{0}\tNN\tO\r\n", "\t", 2
    if kind == "CoNLL-U":
        marks = "# text = Ada w1 Oslo\r\n1-2\tAdaw1\t_\t_\t_\t_\t_\t_\t_\tx=1\r\n"
        row, column = "{1}\t{0}\t_\tX\t_\tCase=Nom\t0\troot\t_\t_\r\n", 3
    tokens = ["Ada", "w1", "Oslo"]
    sentence = "".join(row.format(token, place) for place, token in enumerate(tokens, start=1))
    text = "\ufeff" + f"{marks}{sentence}\r\n\r\n" * 400
    lines = text.count("\n")
    text += "Ada\tNN\tO\tO\r\n\r\n" + sentence.removesuffix("\r\n")
    status, out, err = ask(capsys, monkeypatch, text, workdir, "--output_format=same")
    assert status == 1 and f"standard input:{lines + 1}: " in err
    assert without_tags(out, between, column) == without_tags(text, between, column)
    tags = [line.strip("\r").split(between)[column] for line in out.split("\n") if "Oslo\t" in line]
    assert tags == ["B-LOC"] * 401


@pytest.mark.usefixtures("opened_once")
def test_columns_that_standard_input_lacks(capsys, monkeypatch, workdir, opened):
    monkeypatch.setitem(vars(opened.task), "_tag_column", 3)
    text = small_tags.conll(DEV[:3])
    status, out, err = ask(capsys, monkeypatch, text, workdir, "--output_format=same")
    assert status == 1 and not out
    assert "standard input:1: no column 3 for data.tag_column" in err and err.count("\n") == 1


@pytest.mark.usefixtures("opened_once")
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
    texts = tf.constant(["Ada w1 Oslo.", "", "wörk Bo Cy w2", "w1 " * 40, "w1 " * 12])
    served = exported.signatures["serving_default"](text=texts)
    assert sorted(served) == ["end", "start", "tags", "tokens"]
    assert decoded(served["tokens"])[0][:5] == ["Ada", "w1", "Oslo", ".", ""]
    assert decoded(served["tags"])[0][:3] == ["B-PER", "O", "B-LOC"]
    assert decoded(served["tags"])[1] == [""] * 40
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


def test_serving_default_holds_no_function_that_must_be_compiled(workdir, exported):
    counts = must_compile(workdir.parent / "export")
    assert counts.pop("compiled") > 0
    assert counts == dict.fromkeys(("serving_default", "details", "tokens"), 0)


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
