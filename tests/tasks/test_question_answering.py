"""Question answering through the commands, both kinds of answers, on data that is learnt in seconds."""

import collections
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import pipelines
from keras_rnn import app, configs
from keras_rnn.examples import open_examples
from keras_rnn.run import open_run
from keras_rnn.tasks import make_task
from tests import small_data, small_questions
from tests.saved_models import ask_elsewhere, must_compile

pytestmark = pytest.mark.usefixtures("opened_once")


def predictions(capsys, *arguments):
    capsys.readouterr()
    status = app.main(["predict", *arguments])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# Few and large steps.
FAST = {"batch_size": 32, "learning_rate": 0.02}


def run_of(folder, train, dev, **settings):
    assert (
        small_questions.train(folder, f"--train_data={train}", f"--dev_data={dev}", **settings) == 0
    )
    return folder / "w"


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    train = small_questions.write(folder / "train.jsonl", small_questions.words(400))
    dev = small_questions.write(folder / "dev.jsonl", small_questions.words(60, seed=1))
    return run_of(folder, train, dev, epochs=8, max_length=16, **FAST)


@pytest.fixture(scope="module")
def spans(tmp_path_factory):
    """Trained on JSON lines, judged on SQuAD's JSON."""
    folder = tmp_path_factory.mktemp("spans")
    records = small_questions.spans(400, unanswered=0.2)
    train = small_questions.write(folder / "train.jsonl", records)
    dev = folder / "dev.json"
    dev.write_text(json.dumps(small_questions.squad(small_questions.spans(60, 1, 0.2))))
    return run_of(folder, train, dev, epochs=6, **FAST)


@pytest.fixture(scope="module")
def exported(words, spans):
    for workdir in (words, spans):
        target = workdir.parent / "export"
        assert app.main(["export", f"--workdir={workdir}", f"--output={target}"]) == 0
    return {"words": words.parent / "export", "spans": spans.parent / "export"}


@pytest.fixture(scope="module")
def signatures(exported):
    """Of each export, loaded once."""
    return {kind: tf.saved_model.load(str(path)).signatures for kind, path in exported.items()}


def test_words_are_learnt_and_scored_by_kind(words, capsys):
    metrics = json.loads((words / "metrics.json").read_text())
    assert metrics["accuracy"] >= 0.95
    assert set(metrics["by_kind"]) == set(small_questions.PEOPLE)
    kinds = metrics["by_kind"].values()
    assert sum(kind["examples"] for kind in kinds) == metrics["examples"] == 60
    total = sum(kind["accuracy"] * kind["examples"] for kind in kinds)
    assert total / 60 == pytest.approx(metrics["accuracy"])
    status, answers = predictions(
        capsys, f"--workdir={words}", f"--input={words.parent / 'dev.jsonl'}"
    )
    right = [record["answer"] for record in small_questions.words(60, seed=1)]
    share = np.mean([answer["answer"] == word for answer, word in zip(answers, right)])
    assert status == 0 and share == pytest.approx(metrics["accuracy"])
    for answer in answers:
        # The fields of the input pass through.
        assert 1 / 3 <= answer["score"] <= 1 and answer["task"]
        if answer["answer"] in answer["context"]:
            assert answer["start"] == answer["context"].rindex(answer["answer"])
            assert answer["end"] == answer["start"] + len(answer["answer"])


def test_spans_are_learnt_and_stand_where_they_say(spans, capsys):
    metrics = json.loads((spans / "metrics.json").read_text())
    assert metrics["f1"] >= 0.95 and metrics["exact_match"] >= 0.95
    assert set(metrics["by_kind"]) == {"has_answer", "no_answer"}
    records = small_questions.spans(60, 1, 0.2)
    path = small_questions.write(spans.parent / "ask.jsonl", records)
    _, answers = predictions(capsys, f"--workdir={spans}", f"--input={path}")
    exact = [
        answer["answer"] == (record["answer"] or "") for answer, record in zip(answers, records)
    ]
    assert np.mean(exact) == pytest.approx(metrics["exact_match"])
    for answer in answers:
        if answer["answer"]:
            assert answer["context"][answer["start"] : answer["end"]] == answer["answer"]
        else:
            assert answer["start"] == answer["end"] == -1
    assert any(answer["answer"] == "big garage" for answer in answers)
    assert any(answer["answer"] == "" for answer in answers)
    # The objects tell what they are where the name does not.
    unnamed = small_questions.write(spans.parent / "ask.txt", records)
    assert predictions(capsys, f"--workdir={spans}", f"--input={unnamed}")[1] == answers


def test_squads_own_format_of_answers(spans, capsys, tmp_path):
    source, target = spans.parent / "dev.json", tmp_path / "answers.json"
    command = ["predict", f"--workdir={spans}", f"--input={source}", "--output_format=same"]
    assert app.main([*command, f"--output={target}"]) == 0
    found = json.loads(target.read_text())
    _, answers = predictions(capsys, f"--workdir={spans}", f"--input={source}")
    assert found == {answer["id"]: answer["answer"] for answer in answers} and len(found) == 60


def ask(function, contexts, questions):
    given = function(context=tf.constant(contexts), question=tf.constant(questions))
    return {name: value.numpy() for name, value in given.items()}


@pytest.mark.parametrize("kind", ["words", "spans"])
def test_the_export_answers_as_the_model_does(kind, exported, signatures, words, spans):
    records = [*getattr(small_questions, kind)(40, seed=3)]
    records += [{"context": "", "question": ""}, {"context": "Ada is sad. " * 60, "question": "?"}]
    run = open_run(str({"words": words, "spans": spans}[kind]))
    wanted = run.task.server(run.model).answer([pipelines.Record(record) for record in records])
    texts = [[record[name] for record in records] for name in ("context", "question")]
    for signature in ("serving_default", "compiled", "details"):
        given = ask(signatures[kind][signature], *texts)
        assert [text.decode() for text in given["answer"]] == [a["answer"] for a in wanted]
        np.testing.assert_allclose(given["score"], [a["score"] for a in wanted], rtol=1e-4)
        for record, answer, start, end in zip(records, wanted, given["start"], given["end"]):
            raw = record["context"].encode()
            if answer["start"] >= 0:
                assert raw[start:end].decode() == answer["answer"]
            else:
                assert start == end == -1
    none = ask(signatures[kind]["serving_default"], np.zeros([0], "S1"), np.zeros([0], "S1"))
    assert none["answer"].shape == none["start"].shape == (0,)
    elsewhere = ask_elsewhere(exported[kind], context=texts[0], question=texts[1])
    assert elsewhere["answer"] == [answer["answer"] for answer in wanted]
    counts = must_compile(exported[kind])
    assert counts["serving_default"] == counts["details"] == 0 < counts["compiled"]


def test_details_of_a_story(signatures):
    contexts = ["Ada sleeps. Bruno sleeps.  Dev sleeps!", "Chiara sleeps."]
    given = ask(signatures["words"]["details"], contexts, ["How is Ada?"] * 2)
    assert [text.decode() for text in given["sentences"][0]] == [
        "Ada sleeps.",
        "Bruno sleeps.",
        "Dev sleeps!",
    ]
    assert given["sentences"][1].tolist() == [b"Chiara sleeps.", b"", b""]
    hops, attention = given["hops"], given["attention"]
    assert hops.shape == (2, 2, 3) and (hops[1, :, 1:] == 0).all()
    # Spread over three words each, of the mean of the hops.
    np.testing.assert_allclose(attention[0], np.repeat(hops[0].mean(0) / 3, 3), rtol=1e-5)
    assert [token.decode() for token in given["tokens"][1]] == ["Chiara", "sleeps", "."] + [""] * 6


def test_details_of_a_text(signatures):
    (record, *_) = small_questions.spans(1, seed=4)
    given = ask(signatures["spans"]["details"], [record["context"]], [record["question"]])
    tokens = [token.decode() for token in given["tokens"][0]]
    assert tokens[int(given["start_probabilities"].argmax())] in record["answer"]
    mean = (given["start_probabilities"] + given["end_probabilities"]) / 2
    np.testing.assert_allclose(given["attention"], mean, rtol=1e-6)
    assert "".join(tokens) == record["context"].replace(" ", "")
    assert given["attention"].sum() <= 1 + 1e-5


def test_evaluate_ends_with_the_scores(words, spans, capsys):
    for workdir in (words, spans):
        capsys.readouterr()
        assert app.main(["evaluate", f"--workdir={workdir}"]) == 0
        given = json.loads(capsys.readouterr().out.splitlines()[-1])
        metrics = json.loads((workdir / "metrics.json").read_text())
        assert given == {name: value for name, value in metrics.items() if name != "training"}


def test_an_answer_that_training_never_saw_counts_as_wrong(words, tmp_path, capsys):
    records = small_questions.words(9, seed=5)
    records.append({**records[0], "answer": "perhaps"})
    path = small_questions.write(tmp_path / "test.jsonl", records)
    capsys.readouterr()
    assert app.main(["evaluate", f"--workdir={words}", f"--data={path}"]) == 0
    captured = capsys.readouterr()
    scores = json.loads(captured.out)
    assert scores["examples"] == 10 and scores["accuracy"] <= 0.9
    assert "1 answers that training never saw, counted as wrong" in captured.err


def test_predict_keeps_the_place_of_what_it_cannot_read(words, capsys, tmp_path):
    path = tmp_path / "ask.jsonl"
    path.write_text(
        '{"context": "Ada is glad.", "question": "How is Ada?", "id": 7}\n'
        '{"context": "Ada is glad."}\n'
        '{"context": "Dev is tired. Dev is angry.", "question": "How is Dev?"}\n'
    )
    status, answers = predictions(capsys, f"--workdir={words}", f"--input={path}")
    assert status == 1 and [answer.get("answer") for answer in answers] == ["glad", None, "angry"]
    assert (answers[2]["start"], answers[2]["end"]) == (21, 26)
    assert answers[0]["id"] == 7 and answers[1]["line"] == 2
    assert "no column 'question'" in answers[1]["error"]
    (tmp_path / "ask.txt").write_text("How is Ada?\n")
    assert app.main(["predict", f"--workdir={words}", f"--input={tmp_path / 'ask.txt'}"]) == 1
    assert "a question needs its text" in capsys.readouterr().err


def test_predict_counts_the_questions_it_cuts(words, capsys, tmp_path):
    path = tmp_path / "ask.jsonl"
    question = "How is Ada? " * 40
    path.write_text(json.dumps({"context": "Ada is glad.", "question": question}) + "\n")
    assert app.main(["predict", f"--workdir={words}", f"--input={path}"]) == 0
    assert "1 questions cut to 16 tokens" in capsys.readouterr().err


def test_blanks_around_a_word_are_none_of_it(tmp_path):
    records = [row("a b", "glad"), row("a b", " glad "), row("a b", "sad")]
    task, path = task_of(records, tmp_path, answers="words")
    answers = [int(example["label"]) for example in task.encode(task.read(path))]
    assert answers[0] == answers[1] != answers[2]


def task_of(records, tmp_path, **settings):
    keys = configs.task_keys("question_answering")
    flat = {**configs.flatten(keys.config()), **settings}
    task = make_task("question_answering", keys.read(flat))
    path = small_questions.write(tmp_path / "records.jsonl", records)
    task.fit(lambda: task.read(path))
    return task, path


def row(context, answer, **more):
    return {"context": context, "question": "q", "answer": answer, **more}


@pytest.mark.parametrize(
    "kind, records",
    [
        ("words", [row("a b.", "a"), row("b c.", "b")] * 5),
        ("words", [row("a b.", "yes"), row("b c.", "no")]),
        ("spans", [row("a b.", "a"), row("b c.", "b")]),
        ("spans", [row("a b.", "a", answer_start=0), row("b c.", "b", answer_start=0)] * 5),
        ("spans", [row("a b.", "a"), row("b c.", [])] * 5),
    ],
)
def test_which_kind_of_answers(kind, records, tmp_path):
    assert task_of(records, tmp_path)[0].reading.kind == kind


def test_where_answers_stand(tmp_path):
    records = [
        row("Für die Maus. Die Mausefalle", "Maus"),
        # Within a word only; the token that holds it is taken.
        row("Für die Mausefalle", "falle"),
        # The place that the file names, if off by one; not the first.
        row("der Hut, der Stock, der Hut.", "Hut", answer_start=23),
        row("a b c", ["z", "b c"]),
    ]
    task, path = task_of(records, tmp_path, answers="spans")
    found = [(int(e["first"]), int(e["last"])) for e in task.encode(task.read(path))]
    assert found == [(2, 2), (2, 2), (7, 7), (1, 2)]


def test_answers_that_are_not_in_their_context_are_left_out_and_counted(tmp_path):
    records = [row("a b", "a", question="q w e"), row("a b", "z"), row("a b " * 20 + "c", "c")]
    task, path = task_of(records, tmp_path, answers="spans", max_length=10)
    task.reading.features.question_length = 2
    counts = collections.Counter()
    examples = list(task.encode(task.read(path), counts, training=True))
    assert len(examples) == 1 and counts == {
        "cut to 10 tokens": 1,
        "questions cut to 2 tokens": 1,
        "whose answer does not stand in the context that is read, left out": 2,
    }
    # Those of dev stay, and count as wrong.
    judged = list(task.encode(task.read(path)))
    assert [int(example["first"]) for example in judged] == [0, -2, -2]


BAD = {
    "an empty answer": (
        [row("a b", "a"), row("a b", "")],
        {},
        "train.jsonl:2: the answer is empty",
    ),
    "one answer": ([row("a b", "a")] * 9, {}, "train.jsonl: every answer is 'a'"),
    "no answer stands there": (
        [row("a b", "x"), row("a b", "y")],
        {"answers": "spans"},
        "train.jsonl: no answer stands in its context",
    ),
    "words and none": (
        [row("a b", "x"), row("a b", "y"), row("a b", [])],
        {"answers": "words"},
        "questions have no answer, which goes with --config.answers=spans alone",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_training_files(case, tmp_path, capsys):
    records, settings, expected = BAD[case]
    train = small_questions.write(tmp_path / "train.jsonl", records)
    assert small_questions.train(tmp_path, f"--train_data={train}", **settings) == 1
    captured = capsys.readouterr()
    assert expected in captured.err and captured.err.count("\n") == 1


def test_vectors_stand_beside_the_learnt_ones(tmp_path):
    (tmp_path / "vectors.txt").write_text("Ada 1 0 0\nis 0 1 0\nnever 0 0 1\n")
    records = small_questions.words(20)
    task, _ = task_of(records, tmp_path, vectors=str(tmp_path / "vectors.txt"))
    model = task.build_model()
    assert task.initialize(model).startswith("3 vectors of size 3")
    features = task.reading.features
    encoded = features.pad(features.encode(tf.constant([["Ada is. Dev never.", "never Ada"]])))
    table = model.encoder.vectors.embeddings.numpy()
    np.testing.assert_array_equal(
        table[encoded["question_vector_ids"][0, :2]], [[0, 0, 1], [1, 0, 0]]
    )
    np.testing.assert_array_equal(
        table[encoded["vector_ids"][0, 0]], [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    )
    task.save(str(tmp_path))
    again = make_task("question_answering", task.config)
    again.load(str(tmp_path))
    for name, value in again.reading.features.pad(
        again.reading.features.encode(tf.constant([["Ada is. Dev never.", "never Ada"]]))
    ).items():
        np.testing.assert_array_equal(value, encoded[name])
    assert again.reading.labels == ["angry", "glad", "tired"]


@pytest.mark.parametrize("kind", ["words", "spans"])
def test_accuracy_in_training_is_that_of_the_likeliest(kind, words, spans):
    run = open_run(str({"words": words, "spans": spans}[kind]))
    store = open_examples(f"{run.workdir.examples}/dev", run.task)
    right, total = 0.0, 0
    metrics = run.task.training_metrics()
    for batch in run.task.batches(store, training=False).tensors():
        *_, outputs = run.task.loss(run.model, batch, training=False)
        run.task.update_metrics(metrics, batch, outputs)
        for row in np.flatnonzero(batch["real"]):
            if kind == "words":
                right += bool(np.argmax(outputs[row]) == batch["label"][row])
            else:
                pairs = zip(outputs, ("first", "last"), strict=True)
                right += all(
                    np.argmax(part[row]) == int(batch[name][row]) + 1 for part, name in pairs
                )
            total += 1
    assert total == 60 and float(metrics["accuracy"].result()) == pytest.approx(right / total)
    assert right / total > 0.9


def begun_with(parent, folder, name, records, **settings):
    """A run that begins with the weights of `parent` and learns nothing."""
    train = small_questions.write(folder / f"{name}.jsonl", records)
    data = [f"--{part}_data={train}" for part in ("train", "dev")]
    settings = {"epochs": 0, "init_from": parent, **settings}
    (folder / name).mkdir()
    status = small_questions.train(folder / name, *data, **settings)
    return status, folder / name / "w"


@pytest.mark.parametrize("kind", ["words", "spans"])
def test_it_begins_where_another_run_ended(kind, words, spans, tmp_path, capsys):
    parent = {"words": words, "spans": spans}[kind]
    records = small_questions.words(60, seed=1)
    if kind == "spans":
        records = small_questions.spans(60, 1, 0.2)
    limits = {"max_length": 16} if kind == "words" else {}
    status, workdir = begun_with(parent, tmp_path, "same", records, **limits)
    out = capsys.readouterr().out
    assert status == 0 and re.search(rf"from {parent}: all \d+ weights\n", out), out
    before, now = (json.loads((run / "metrics.json").read_text()) for run in (parent, workdir))
    assert now["loss"] == pytest.approx(before["loss"], rel=1e-4)
    name = {"words": "accuracy", "spans": "f1"}[kind]
    assert now[name] == before[name] > 0.9


def test_old_answers_keep_their_weights_and_readers_of_spans_what_they_share(
    words, spans, tmp_path, capsys
):
    records = small_questions.words(60)
    for record in records:
        record["answer"] = {"angry": "cheerful"}.get(record["answer"], record["answer"])
    status, workdir = begun_with(words, tmp_path, "new", records)
    shown = "weights; new rows for labels cheerful; left out: labels angry\n"
    assert status == 0 and shown in capsys.readouterr().out
    old, new = (open_run(str(run)) for run in (words, workdir))
    kernels = [np.array(run.model.logits.kernel) for run in (old, new)]
    assert (old.task.labels, new.task.labels) == (
        ["angry", "glad", "tired"],
        ["cheerful", "glad", "tired"],
    )
    np.testing.assert_array_equal(kernels[1][:, 1:], kernels[0][:, 1:])
    assert not np.isclose(kernels[1][:, 0], kernels[0][:, 0]).any()
    # Where every question has an answer there are no weights for "nowhere", and later there are some again.
    status, sure = begun_with(spans, tmp_path, "sure", small_questions.spans(60))
    said = capsys.readouterr().out
    sure = open_run(str(sure))
    assert status == 0 and f"all {len(sure.model.weights)} weights\n" in said
    assert len(sure.model.weights) == len(open_run(str(spans)).model.weights) - 2
    status, unsure = begun_with(
        sure.workdir.path, tmp_path, "unsure", small_questions.spans(60, unanswered=0.5)
    )
    said = capsys.readouterr().out
    count = len(open_run(str(unsure)).model.weights)
    assert status == 0 and f"{count - 2} of {count} weights\n" in said


def test_what_cannot_begin_with_what_is_said(words, spans, tmp_path, capsys):
    status, _ = begun_with(spans, tmp_path, "kinds", small_questions.words(60))
    error = capsys.readouterr().err
    assert status == 1 and error.endswith(f"{spans}: its answers are spans, not words\n")
    status, _ = begun_with(words, tmp_path, "hops", small_questions.words(60), hops=3)
    assert status == 1 and "hops=2 (here 3); to begin" in capsys.readouterr().err


def test_a_classifier_reads_on_with_the_encoder_of_a_reader(words, spans, tmp_path, capsys):
    """The reader of stories has its texts read by one, and that of spans its questions."""
    shared = {"cell": "gru", "units": 12, "embedding_dim": 12, "lower": True}
    for parent in (words, spans):
        folder = tmp_path / parent.parent.name
        folder.mkdir()
        small_data.train_small(folder, epochs=0, init_from=parent, skip=False, **shared)
        assert "the encoder of its question_answering, 7 of " in capsys.readouterr().out
        old, new = (open_run(str(run)).model for run in (parent, folder / "w"))
        pairs = zip(old.encoder.weights, new.encoder.weights, strict=True)
        assert all(np.array_equal(*map(np.array, pair)) for pair in pairs)


def test_built_in_data_is_trained_on_and_drawn(tmp_path):
    settings = {"max_steps": 2, "pictures": 1, "max_length": 2500, "hops": 1}
    assert small_questions.train(tmp_path, **settings) == 0
    run = open_run(str(tmp_path / "w"))
    record = next(iter(run.task.read(str(tmp_path / "w" / "data" / "dev.jsonl"))))
    server = run.task.server(run.model)
    pictures = run.task.pictures(server, [record])
    assert list(pictures) == ["answers", "attention/0", "gates/0"]
    for name in ("attention/0", "gates/0"):
        assert pictures[name].dtype == np.uint8 and (pictures[name] != 255).any()
    (answer,) = server.answer([record])
    cells = [cell.strip() for cell in pictures["answers"].splitlines()[2].split("|")[1:-1]]
    question = record["question"].replace(".", "\\.")
    assert cells[:3] == [question, record["answers"][0], answer["answer"]]
    assert json.loads((tmp_path / "w" / "metrics.json").read_text())["examples"] == 600
    keras.backend.clear_session()
