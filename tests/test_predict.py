"""Prediction and evaluation: formats, order, bad rows, streams."""

import collections
import io
import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from keras_rnn import app, predict
from tests import small_data

pytestmark = pytest.mark.usefixtures("opened_once")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return small_data.train_small(tmp_path_factory.mktemp("run"))


@pytest.fixture(autouse=True)
def nothing_pending(capsys, workdir):
    capsys.readouterr()


def ask(capsys, monkeypatch, text: str | bytes, workdir, *arguments):
    """Status, output lines and error of a predict that reads standard input."""
    raw = text.encode() if isinstance(text, str) else text
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(raw)))
    monkeypatch.setattr(sys, "stdin", stdin)
    status = app.main(["predict", f"--workdir={workdir}", *arguments])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err


def test_plain_lines_give_one_object_each(capsys, monkeypatch, workdir):
    status, lines, error = ask(capsys, monkeypatch, "w1 fine w2\n\npoor\n", workdir)
    answers = [json.loads(line) for line in lines]
    assert (status, error) == (0, "")
    assert [answer["text"] for answer in answers] == ["w1 fine w2", "", "poor"]
    assert [answers[0]["label"], answers[2]["label"]] == ["good", "bad"]
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["probability"] == max(answer["probabilities"].values())
        assert answer["probabilities"][answer["label"]] == answer["probability"]


def test_no_input_gives_no_output(capsys, monkeypatch, workdir):
    assert ask(capsys, monkeypatch, "", workdir) == (0, [], "")


def test_an_object_longer_than_what_is_at_hand_is_still_an_object(capsys, monkeypatch, workdir):
    rows = [{"id": 7, "text": "fine w1 " * 20_000}, {"id": 8, "text": "poor"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    status, lines, _ = ask(capsys, monkeypatch, text, workdir)
    answers = [json.loads(line) for line in lines]
    assert status == 0
    assert [(answer["id"], answer["label"]) for answer in answers] == [(7, "good"), (8, "bad")]


def test_an_object_that_could_not_be_written_again_is_an_error_in_its_place(
    capsys, monkeypatch, workdir
):
    rows = [
        r'{"text": "fine", "title": "\ud83d"}',
        '{"text": "fine", "n": 1e999}',
        '{"text": ["fine", "w1"]}',
        '{"text": "fine"}',
    ]
    status, lines, _ = ask(capsys, monkeypatch, "\n".join(rows), workdir)
    first, second, third, last = map(json.loads, lines)
    assert status == 1
    assert first == {"error": "holds half a surrogate pair, no text", "line": 1}
    assert "1e999 is no number" in second["error"]
    assert third == {"error": "'text' is a list; one text is needed", "line": 3}
    assert last["label"] == "good"


@pytest.mark.parametrize(("name", "option"), [("stdin", "input"), ("stdout", "output")])
def test_a_closed_stream_is_said_in_a_line(name, option, capsys, monkeypatch, workdir):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"fine\n")))
    monkeypatch.setattr(sys, name, None)
    assert app.main(["predict", f"--workdir={workdir}"]) == 1
    assert f"standard {option}: is closed; name a file" in capsys.readouterr().err


def test_jsonl_on_standard_input_passes_fields_through(capsys, monkeypatch, workdir):
    rows = [{"id": 7, "text": "fine", "more": [1, {"a": None}]}, {"id": 8, "text": "poor w1"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    status, lines, _ = ask(capsys, monkeypatch, text, workdir)
    answers = [json.loads(line) for line in lines]
    assert status == 0
    assert answers[0]["id"] == 7 and answers[0]["more"] == [1, {"a": None}]
    assert [answer["label"] for answer in answers] == ["good", "bad"]


def test_a_table_on_standard_input_is_seen_by_its_header(capsys, monkeypatch, workdir):
    status, lines, _ = ask(capsys, monkeypatch, "id\ttext\n1\tfine w3\n", workdir)
    (answer,) = map(json.loads, lines)
    assert status == 0 and answer["id"] == "1" and answer["label"] == "good"


def test_text_output_is_the_label_alone(capsys, monkeypatch, workdir):
    status, lines, _ = ask(
        capsys, monkeypatch, "fine\npoor\nfine w1\n", workdir, "--output_format=text"
    )
    assert (status, lines) == (0, ["good", "bad", "good"])


def test_same_format_puts_the_label_into_its_column(capsys, workdir, tmp_path):
    tsv = tmp_path / "in.tsv"
    tsv.write_text('id\tlabel\ttext\n1\tbad\tfine "so" w1\n2\t\tpoor\n', encoding="utf-8")
    arguments = ["predict", f"--workdir={workdir}", "--output_format=same"]
    target = tmp_path / "out.tsv"
    assert app.main([*arguments, f"--input={tsv}", f"--output={target}"]) == 0
    assert target.read_text() == 'id\tlabel\ttext\n1\tgood\tfine "so" w1\n2\tbad\tpoor\n'

    csv = tmp_path / "in.csv"
    csv.write_text('text,id\n"fine, w1\nw2",1\n"say ""poor""",2\n', encoding="utf-8")
    assert app.main([*arguments, f"--input={csv}"]) == 0
    assert capsys.readouterr().out == (
        'text,id,label\n"fine, w1\nw2",1,good\n"say ""poor""",2,bad\n'
    )

    jsonl = tmp_path / "in.jsonl"
    jsonl.write_text('{"n": 1.5, "text": "fine"}\n', encoding="utf-8")
    assert app.main([*arguments, f"--input={jsonl}"]) == 0
    assert json.loads(capsys.readouterr().out) == {"n": 1.5, "text": "fine", "label": "good"}


def test_bad_rows_become_errors_and_the_run_goes_on(capsys, monkeypatch, workdir):
    text = b"fine\nca\xff\npoor\n"
    status, lines, error = ask(capsys, monkeypatch, text, workdir)
    answers = [json.loads(line) for line in lines]
    assert status == 1
    assert [answer.get("label") for answer in answers] == ["good", None, "bad"]
    assert answers[1]["line"] == 2 and "UTF-8" in answers[1]["error"]
    assert "1 row could not be read" in error


def test_bad_rows_of_jsonl(capsys, monkeypatch, workdir):
    text = '{"text": "fine"}\n{"text": \n{"no": "text"}\n{"text": "poor"}\n'
    status, lines, _ = ask(capsys, monkeypatch, text, workdir)
    answers = [json.loads(line) for line in lines]
    assert status == 1
    assert [answer.get("line") for answer in answers] == [None, 2, 3, None]
    assert "text" in answers[2]["error"]


def test_order_is_kept_over_many_chunks(capsys, monkeypatch, workdir):
    rng = np.random.default_rng(0)
    words = [("poor", "fine")[n] for n in rng.integers(2, size=3 * predict.CHUNK + 5)]
    texts = [f"w{n} {word}" * (n % 3 + 1) for n, word in enumerate(words)]
    status, lines, _ = ask(capsys, monkeypatch, "\n".join(texts) + "\n", workdir)
    answers = [json.loads(line) for line in lines]
    assert status == 0
    assert [answer["text"] for answer in answers] == texts
    wanted = [{"poor": "bad", "fine": "good"}[word] for word in words]
    right = sum(a["label"] == w for a, w in zip(answers, wanted, strict=True))
    assert right > 0.95 * len(words)


def test_answers_do_not_depend_on_their_neighbours(capsys, monkeypatch, workdir):
    _, alone, _ = ask(capsys, monkeypatch, "w1 fine\n", workdir)
    _, among, _ = ask(capsys, monkeypatch, "w1 fine\n" + "w2 poor " * 60 + "\n", workdir)
    first, second = json.loads(alone[0]), json.loads(among[0])
    assert first["probability"] == pytest.approx(second["probability"], rel=1e-5)


def test_records_are_read_as_they_are_asked_for(workdir):
    """Answers come while input is still being read: nothing waits for the end."""
    from keras_rnn.run import open_run

    run = open_run(str(workdir))
    read = []

    def records():
        for number, record in enumerate(run.task.read(str(workdir.parent / "train.tsv"))):
            read.append(number)
            yield record

    records_again = (record for _ in range(4) for record in records())
    answers = predict._answers(run, records_again, collections.Counter())
    next(answers)
    assert len(read) <= predict.CHUNK


def test_an_output_that_cannot_be_written_is_one_line(capsys, monkeypatch, workdir, tmp_path):
    status, _, error = ask(
        capsys, monkeypatch, "fine\n", workdir, f"--output={tmp_path / 'no' / 'file'}"
    )
    assert status == 1 and error.count("\n") == 1 and "cannot be written" in error


def test_evaluate_ends_with_one_json_line(capsys, workdir):
    assert app.main(["evaluate", f"--workdir={workdir}"]) == 0
    dev = json.loads(capsys.readouterr().out.splitlines()[-1])
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert dev == {name: value for name, value in metrics.items() if name != "training"}
    data = workdir.parent / "dev.tsv"
    assert app.main(["evaluate", f"--workdir={workdir}", f"--data={data}"]) == 0
    assert json.loads(capsys.readouterr().out) == dev
    assert dev["examples"] == 50
    assert sum(scores["support"] for scores in dev["by_label"].values()) == 50


def test_evaluate_agrees_with_predict(capsys, workdir):
    data = workdir.parent / "train.tsv"
    app.main(["evaluate", f"--workdir={workdir}", f"--data={data}"])
    result = json.loads(capsys.readouterr().out)
    app.main(["predict", f"--workdir={workdir}", f"--input={data}"])
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = small_data.rows(200)
    right = [a["label"] == row["label"] for a, row in zip(answers, rows, strict=True)]
    assert result["accuracy"] == pytest.approx(np.mean(right))
    loss = -np.mean(
        [np.log(a["probabilities"][row["label"]]) for a, row in zip(answers, rows, strict=True)]
    )
    assert result["loss"] == pytest.approx(loss, rel=1e-4, abs=1e-6)


PREDICT = """
import resource, sys
from keras_rnn.app import main
status = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(used, file=sys.stderr)
sys.exit(status)
"""


def test_a_reader_that_goes_away_ends_it_without_a_word(workdir, tmp_path):
    """`| head`: more answers than a pipe holds, of which two are read."""
    source = tmp_path / "many.txt"
    source.write_text("w1 fine and some more words\n" * 5000)
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_rnn", "predict", f"--workdir={workdir}", f"--input={source}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.stdout.close()
    assert [line["label"] for line in lines] == ["good", "good"]
    assert process.stderr.read() == b"" and process.wait() == 1


def test_memory_does_not_grow_with_the_input(workdir, tmp_path):
    """Twenty thousand long lines from a pipe take no more than two thousand, and none is missing."""
    used = []
    for number in (2_000, 20_000):
        process = subprocess.Popen(
            [sys.executable, "-c", PREDICT, "predict", f"--workdir={workdir}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

        def write(stream=process.stdin, number=number):
            for line in range(number):
                stream.write(f"w{line} {'fine' if line % 3 else 'poor'} {'x' * 3800}\n".encode())
            stream.close()

        writer = threading.Thread(target=write)
        writer.start()
        for line, answer in enumerate(process.stdout):
            answer = json.loads(answer)
            assert answer["text"].startswith(f"w{line} ")
            assert answer["label"] == ("good" if line % 3 else "bad")
        writer.join()
        assert line == number - 1
        used.append(int(process.stderr.read()) / 1024)
        assert process.wait() == 0
    # MiB; the larger input alone has sixty-five more.
    assert used[1] - used[0] < 40
