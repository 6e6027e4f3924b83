"""Summarization through the commands: names copied that no vocabulary has, asked, exported."""

import collections
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from keras_rnn import app, configs, rouge
from keras_rnn.tasks import make_task
from tests import small_summaries
from tests.saved_models import ask_elsewhere, must_compile

pytestmark = pytest.mark.usefixtures("opened_once")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("summaries")
    assert small_summaries.train(folder) == 0
    return folder / "w"


def predict(capsys, workdir, source, *arguments, status=0) -> list[str]:
    capsys.readouterr()
    command = ["predict", f"--workdir={workdir}", f"--input={source}", *arguments]
    assert app.main(command) == status
    return capsys.readouterr().out.splitlines()


def test_names_that_training_never_saw_are_copied(workdir, capsys):
    trained = json.loads((workdir / "metrics.json").read_text())
    assert trained["exact_match"] >= 0.9 and trained["rougeL"] > 0.95 > trained["lead_rougeL"]
    words = (workdir / "vocabulary.txt").read_text().splitlines()
    assert "sings" in words
    answers = [json.loads(line) for line in predict(capsys, workdir, workdir.parent / "dev.jsonl")]
    right = [answer["summary"] for answer in small_summaries.rows(40, seed=1)]
    given = [answer["summary"] for answer in answers]
    assert np.mean([a == b for a, b in zip(given, right)]) == trained["exact_match"]
    unknown = [text.split()[0] for text in right if text.split()[0].lower() not in words]
    assert len(unknown) == 40
    assert not any("[UNK]" in text for text in given)
    assert all(answer["score"] < 0 for answer in answers)


def test_scores_say_what_the_beginning_of_the_text_is_worth(workdir, capsys):
    assert app.main(["evaluate", f"--workdir={workdir}"]) == 0
    judged = json.loads(capsys.readouterr().out.splitlines()[-1])
    trained = json.loads((workdir / "metrics.json").read_text())
    assert {name: trained[name] for name in judged} == judged
    for kind in ("rouge1", "rouge2", "rougeL"):
        for name in (kind, "lead_" + kind):
            low, high = judged["confidence"][name]
            assert low - 1e-9 <= judged[name] <= high + 1e-9
    # "At noon NAME SINGS" or "NAME looks on. At noon NAME SINGS".
    assert judged["lead"] in (4, 7)
    assert judged["length"] == pytest.approx(2, abs=0.2) and judged["reference_length"] == 2
    assert judged["novel"]["references"] == {"1": 0, "2": 0, "3": 0}
    assert judged["novel_ngrams"] == judged["novel"]["answers"]["2"] < 0.2


def test_the_line_of_an_evaluation_shows_the_lead_beside(tmp_path, capsys):
    assert small_summaries.train(tmp_path, metric="rougeL", max_steps=2, pictures=0) == 0
    shown = capsys.readouterr().out
    assert re.search(r"dev rougeL 0\.\d{4}, lead_rougeL 0\.\d{4}", shown)


def test_what_is_served_is_what_is_predicted(workdir, tmp_path, capsys):
    target = tmp_path / "export"
    beam = ["--config.search.n_best=2"]
    assert app.main(["export", f"--workdir={workdir}", f"--output={target}", *beam]) == 0
    served = tf.saved_model.load(str(target)).signatures
    texts = [record["text"] for record in small_summaries.rows(6, seed=5)]
    texts += ["", "Ein Bär – für 5 €.", "\u2003\u200b"]
    (tmp_path / "t.txt").write_text("".join(f"{text}\n" for text in texts))
    arguments = [*beam, "--config.search.alignments=true"]
    answers = [
        json.loads(line) for line in predict(capsys, workdir, tmp_path / "t.txt", *arguments)
    ]
    given = {
        name: {part: value.numpy() for part, value in served[name](text=tf.constant(texts)).items()}
        for name in ("serving_default", "compiled", "details")
    }
    for result in given.values():
        for row, answer in enumerate(answers):
            assert result["output"][row].decode() == answer["summary"]
            assert result["score"][row] == pytest.approx(answer["score"], abs=1e-3)
    assert answers[6]["summary"] == answers[8]["summary"] == "" and answers[6]["score"] == 0
    details = given["details"]
    for row, answer in enumerate(answers[:6]):
        assert len(answer["n_best"]) == 2
        assert [n["summary"] for n in answer["n_best"]] == [
            text.decode() for text in details["outputs"][row]
        ]
        assert answer["n_best"][0]["summary"] == answer["summary"] != answer["n_best"][1]["summary"]
        who, deed = answer["summary"].split()
        assert answer["target_tokens"] == [who, deed, "[END]"]
        alignment, copied = np.array(answer["alignment"]), answer["copied"]
        np.testing.assert_allclose(alignment.sum(1), 1, rtol=1e-4)
        # A name can only be copied, and from where it stands; the end cannot be.
        assert copied[0] == pytest.approx(1) and copied[2] == pytest.approx(0)
        assert answer["source_tokens"][alignment[0].argmax()] == who
    elsewhere = ask_elsewhere(target, text=texts)
    assert elsewhere["output"] == [answer["summary"] for answer in answers]
    counts = must_compile(target)
    assert counts["serving_default"] == counts["details"] == 0 < counts["compiled"]
    nothing = served["serving_default"](text=tf.constant([], tf.string))
    assert nothing["output"].shape == [0]


def test_it_begins_where_another_run_ended(workdir, tmp_path, capsys):
    train = str(workdir.parent / "dev.jsonl")
    settings = {"epochs": 0, "init_from": workdir, "max_shapes": 1}
    assert small_summaries.train(tmp_path, train, train, **settings) == 0
    out = capsys.readouterr().out
    assert re.search(rf"from {workdir}: all \d+ weights\n", out), out
    before, now = (json.loads((w / "metrics.json").read_text()) for w in (workdir, tmp_path / "w"))
    assert now["loss"] == pytest.approx(before["loss"], rel=1e-4)
    assert now["exact_match"] == before["exact_match"]


def test_a_summary_hangs_on_no_neighbour(workdir, tmp_path, capsys):
    texts = [record["text"] for record in small_summaries.rows(3, seed=7)]
    long = " ".join(texts * 2)
    (tmp_path / "together.txt").write_text("\n".join([*texts, long]) + "\n")
    (tmp_path / "alone.txt").write_text(texts[0] + "\n")
    together = json.loads(predict(capsys, workdir, tmp_path / "together.txt")[0])
    alone = json.loads(predict(capsys, workdir, tmp_path / "alone.txt")[0])
    assert together["summary"] == alone["summary"]
    assert together["score"] == pytest.approx(alone["score"], abs=1e-4)


def test_files_of_every_form_are_answered(workdir, tmp_path, capsys):
    rows = small_summaries.rows(2, seed=9)
    texts = [row["text"] for row in rows]
    right = [row["summary"] for row in rows]
    (tmp_path / "a.csv").write_text(
        "number,text\n" + "".join(f'{n},"{text}"\n' for n, text in enumerate(texts))
    )
    given = [json.loads(line) for line in predict(capsys, workdir, tmp_path / "a.csv")]
    assert [answer["number"] for answer in given] == ["0", "1"]
    assert [answer["summary"] for answer in given] == right
    same = predict(capsys, workdir, tmp_path / "a.csv", "--output_format=same")
    assert same[0] == "number,text,summary" and same[1].endswith(f",{right[0]}")
    small_summaries.write(tmp_path / "b.jsonl", [{"text": texts[0]}, {"texts": 1}])
    rows = predict(capsys, workdir, tmp_path / "b.jsonl", "--output_format=text", status=1)
    assert rows[0] == right[0]


def encoded(tmp_path, rows, training, **settings):
    """The examples of rows, and what was counted."""
    config = configs.task_keys("summarization").config()
    with config.unlocked():
        config.update({"min_count": 1, "max_length": 6, **settings})
    task = make_task("summarization", config)
    file = small_summaries.write(tmp_path / "data.jsonl", rows)
    task.fit(lambda: task.read(file))
    counts = collections.Counter()
    return task, list(task.encode(task.read(file), counts, training)), dict(counts)


FLAWED = [
    {"text": "a b c d e", "summary": "b c"},
    {"text": " ", "summary": "b"},
    {"text": "a b", "summary": "\t"},
    {"text": "a b", "summary": "a b c"},
    {"text": "a b c d e f g h", "summary": "h a"},
]


def test_of_many_texts_few_are_kept_for_the_lead(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(rouge, "SOUGHT", 2)
    monkeypatch.setattr(rouge, "best_lead", lambda *texts: asked.append(texts) or 1)
    rows = [{"text": f"a b {n}", "summary": f"b {n} " * n} for n in range(1, 8)]
    task, *_ = encoded(tmp_path, [*rows[:3], FLAWED[1], *rows[3:]], training=False)
    assert asked == [(("a b 1", "a b 4", "a b 7"), tuple(f"b {n} " * n for n in (1, 4, 7)))]
    assert task.longest == 14


def test_what_teaches_nothing_is_left_out_and_counted(tmp_path):
    _, examples, counts = encoded(tmp_path, FLAWED, training=True)
    assert len(examples) == 2
    flaws = {"without text, left out": 1, "without summary, left out": 1}
    assert counts == {
        **flaws,
        "summary longer than its text, left out": 1,
        "cut to 6 words": 1,
    }
    _, examples, counts = encoded(tmp_path, FLAWED, training=False)
    assert len(examples) == 3 and counts == {**flaws, "cut to 6 words": 1}


def test_ids_beyond_the_vocabulary_are_first_places_in_the_text(tmp_path):
    rows = [{"text": "the Zug and the zug of Ada", "summary": "Zug : Ada , Bob"}]
    rows += [{"text": "the one : the two", "summary": "the :"}] * 2
    task, examples, _ = encoded(tmp_path, rows, training=True, min_count=4, max_length=400)
    words = task.features.tokenizer.tokens_list
    the, colon, size = words.index("the"), words.index(":"), len(words)
    assert size == 6
    assert examples[0]["ids"].tolist() == [
        the,
        size + 1,
        size + 2,
        the,
        size + 1,
        size + 5,
        size + 6,
    ]
    # The comma and Bob are nowhere.
    assert examples[0]["target"].tolist() == [size + 1, colon, size + 6, 1, 1, 3]
    text = tf.constant([rows[0]["text"]])
    made = task.features.decode(text, tf.constant([[size + 1, colon, size + 6, 0, 0]]))
    assert made.numpy()[0].decode() == "Zug: Ada"


def test_words_are_written_as_summaries_write_them(tmp_path):
    rows = [{"text": "apple sold ( n't )", "summary": "Apple sold"}] * 2
    rows += [{"text": "a US bank, ( the bank does n't )", "summary": "bank does n't ( US )"}]
    task, _, _ = encoded(tmp_path, rows, training=True, max_length=400)
    words = task.features.tokenizer.tokens_list
    assert task.features.spellings[words.index("apple")] == "Apple"
    ids = [words.index(word) for word in "apple does n't ( us ) .".split() if word in words]
    made = task.features.decode(tf.constant(["apple"]), tf.constant([ids]))
    assert made.numpy()[0].decode() == "Apple doesn't (US)"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"search__n_best": 9}, "n_best=9: it must be at most search.beam, 5"),
        ({"coverage": False}, "coverage_weight=0.1 goes with --config.coverage=true"),
    ],
)
def test_keys_that_do_not_go_together(tmp_path, capsys, settings, message):
    assert small_summaries.train(tmp_path, coverage_weight=0.1, **settings) == 1
    assert message in capsys.readouterr().err
