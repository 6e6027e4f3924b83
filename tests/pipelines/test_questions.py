"""Questions from JSON lines, tables and SQuAD's JSON; what is wrong is said with file and line."""

import collections
import gzip
import json

import pytest

from pipelines import InputError, is_squad, read_questions

SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Rivers",
            "paragraphs": [
                {
                    "context": "Die Elbe fließt nach Hamburg.",
                    "qas": [
                        {
                            "id": "a1",
                            "question": "Where to?",
                            "is_impossible": False,
                            "answers": [
                                {"text": "Hamburg", "answer_start": 21},
                                {"text": "nach Hamburg", "answer_start": 16},
                            ],
                        },
                        {
                            "id": "a2",
                            "question": "When?",
                            "is_impossible": True,
                            "answers": [],
                            "plausible_answers": [{"text": "Elbe", "answer_start": 4}],
                        },
                    ],
                }
            ],
        }
    ],
}


def write(folder, name, content):
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_json_lines_and_tables(tmp_path):
    rows = [
        {"context": "Ada sat.", "question": "Who?", "answer": "Ada", "task": "who"},
        {
            "context": "Ada sat.",
            "question": "Who?",
            "answer": ["Ada", "she"],
            "answer_start": [0, 3],
        },
        {"context": "Ada sat.", "question": "Why?", "answer": []},
        {"context": "1 2", "question": "First?", "answer": 1},
    ]
    path = write(tmp_path, "q.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    records = list(read_questions(path))
    assert [record["answers"] for record in records] == [["Ada"], ["Ada", "she"], [], ["1"]]
    assert [record["starts"] for record in records] == [[], [0, 3], [], []]
    assert [record["task"] for record in records] == ["who", "", "", ""]
    assert records[2].line == 3 and records[1].row == rows[1]
    table = write(tmp_path, "q.tsv", "context\tquestion\tanswer\nAda sat.\tWho?\tAda\n")
    (record,) = read_questions(table)
    assert dict(record) == dict(records[0]) | {"task": ""}


@pytest.mark.parametrize("zipped", [False, True])
def test_squad(tmp_path, zipped):
    path = write(tmp_path, "dev.json", SQUAD)
    if zipped:
        path += ".gz"
        with gzip.open(path, "wt", encoding="utf-8") as stream:
            json.dump(SQUAD, stream)
    assert is_squad(path)
    first, second = read_questions(path)
    assert first["answers"] == ["Hamburg", "nach Hamburg"] and first["starts"] == [21, 16]
    assert all(
        first["context"][start:].startswith(answer)
        for answer, start in zip(first["answers"], first["starts"])
    )
    assert second["answers"] == [] and second["starts"] == []
    assert (first["task"], second["task"]) == ("has_answer", "no_answer")
    paragraph = SQUAD["data"][0]["paragraphs"][0]
    assert first.row == {**paragraph["qas"][0], "context": paragraph["context"]}
    assert second.line == 2


def test_squad_of_version_one_and_json_lines_called_json(tmp_path):
    article = json.loads(json.dumps(SQUAD["data"][0]))
    question = article["paragraphs"][0]["qas"][0]
    del question["is_impossible"]
    article["paragraphs"][0]["qas"] = [question]
    (record,) = read_questions(write(tmp_path, "v1.json", {"data": [article], "version": "1.1"}))
    assert record["task"] == "" and record["answers"] == ["Hamburg", "nach Hamburg"]
    lines = write(tmp_path, "l.json", '{"context": "a", "question": "b", "answer": "a"}\n')
    assert not is_squad(lines)
    assert [record["answers"] for record in read_questions(lines)] == [["a"]]


GOOD = '{"context": "a b", "question": "c", "answer": "a"}\n'
BAD = {
    "an empty answer": (
        "q.jsonl",
        GOOD + '{"context": "a", "question": "c", "answer": " "}\n',
        "q.jsonl:2: the answer is empty",
    ),
    "no answer": (
        "q.jsonl",
        GOOD + '{"context": "a", "question": "c"}\n',
        "q.jsonl:2: no column 'answer'",
    ),
    "an answer of null": (
        "q.jsonl",
        GOOD + '{"context": "a", "question": "c", "answer": null}\n',
        "q.jsonl:2: 'answer' is null",
    ),
    "no context": (
        "q.jsonl",
        GOOD + '{"question": "c", "answer": "a"}\n',
        "q.jsonl:2: no column 'context'",
    ),
    "a blank question": (
        "q.jsonl",
        GOOD + '{"context": "a", "question": "", "answer": "a"}\n',
        "q.jsonl:2: the question is empty",
    ),
    "a list for a context": (
        "q.jsonl",
        GOOD + '{"context": ["a", "b"], "question": "c", "answer": "a"}\n',
        "q.jsonl:2: 'context' is a list",
    ),
    "a start that is no number": (
        "q.jsonl",
        '{"context": "a", "question": "c", "answer": "a", "answer_start": "x"}\n',
        "q.jsonl:1: answer_start is 'x'",
    ),
    "more starts than answers": (
        "q.jsonl",
        '{"context": "a", "question": "c", "answer": "a", "answer_start": [0, 1]}\n',
        "q.jsonl:1: 2 answer_start for 1 answers",
    ),
    "broken SQuAD": ("q.json", '{"data": [\n{"paragraphs": ]', "q.json:2: is not JSON"),
    "SQuAD without paragraphs": (
        "q.json",
        '{"data": [{"title": "x"}]}',
        "q.json: data[0]: 'paragraphs' is missing or not a list",
    ),
    "SQuAD without a question": ("q.json", '{"data": []}', "q.json: holds no question"),
    "SQuAD without answers": (
        "q.json",
        '{"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "i7", "question": "b"}]}]}]}',
        "q.json:1: question 'i7': 'answers' is missing",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_with_its_place(case, tmp_path):
    name, content, expected = BAD[case]
    path = write(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        list(read_questions(path))
    assert expected in str(caught.value)


def test_bad_questions_keep_their_place_and_answers_may_be_missing(tmp_path):
    content = GOOD + '{"context": "a"}\n' + '{"context": "", "question": "c"}\n'
    path = write(tmp_path, "q.jsonl", content)
    first, second, third = read_questions(path, answers=False, on_error="yield")
    assert isinstance(second, InputError) and second.line == 2
    assert first["answers"] == ["a"] and third["answers"] == []


def test_a_bad_paragraph_is_one_error_and_the_others_are_read(tmp_path):
    content = json.loads(json.dumps(SQUAD))
    paragraphs = content["data"][0]["paragraphs"]
    content["data"][0]["paragraphs"] = [{"qas": []}, *paragraphs, {"context": "a", "qas": ["b"]}]
    # A title stands before the articles.
    path = write(tmp_path, "q.json", {"title": "x", "size": 1.5, "data": content["data"]})
    first, second, third, fourth = read_questions(path, on_error="yield")
    assert first.message == "data[0].paragraphs[0]: 'context' is missing or not a string"
    assert (second.row["id"], third.row["id"]) == ("a1", "a2")
    assert (fourth.line, fourth.message) == (
        3,
        "data[0].paragraphs[2]: 'qas' must be a list of objects",
    )
    paragraphs[0]["context"] = "half \ud800"
    with pytest.raises(InputError, match="q.json:1: .*half a surrogate pair"):
        list(
            read_questions(
                write(tmp_path, "q.json", json.dumps({"data": [{"paragraphs": paragraphs}]}))
            )
        )


def test_long_contexts_are_cut_and_counted(tmp_path):
    row = {"context": "ü" * 50, "question": "c", "answer": "x" * 40}
    counts = collections.Counter()
    path = write(tmp_path, "q.jsonl", json.dumps(row))
    (record,) = read_questions(path, max_bytes=21, counts=counts)
    assert record["context"] == "ü" * 10 and record["answers"] == ["x" * 40]
    assert counts == {"cut to 21 bytes": 1}
