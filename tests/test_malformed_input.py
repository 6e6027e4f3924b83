"""Malformed input of every kind to every command: one line that says what and where, status 1, nothing half-written."""

import gzip
import io
import json
import re
import shutil

import pytest
import soundfile

from keras_rnn import app
from tests import small_data, small_questions

TABLE = b"text\tlabel\n" + b"fine\tgood\npoor\tbad\n" * 10
TAGGED = b"Ada\tB-PER\nsings\tO\n\n" * 10
PAIRS = b"eins\tone\nzwei\ttwo\n" * 10
CONLLU = "".join(f"{n}\tw{n}\t_\tX\t_\t_\t0\t_\t_\t_\n" for n in (1, 2)).encode() + b"\n"
STORIES = small_questions.words(20)
SILENCE = [0.0] * 800
SPANS = small_questions.spans(20, unanswered=0.3)
SMALL = {"tokenizer": "words", "units": 4, "jit_compile": "false", "epochs": 1}

NOT_THERE = {("question_answering", "tokenizer")}


def train(task, *files, workdir="new", **settings):
    """A training command on files of the case's folder; `data__text` is the key `data.text`."""
    names = dict(zip(("train_data", "dev_data"), files, strict=False))
    flags = [f"--{flag}={name}" for flag, name in names.items()]
    small = {name: value for name, value in SMALL.items() if (task, name) not in NOT_THERE}
    keys = [
        f"--config.{name.replace('__', '.')}={value}"
        for name, value in {**small, **settings}.items()
    ]
    return ["train", f"--task={task}", f"--workdir={workdir}", *flags, *keys]


def on(file, content, message, task="classification", **settings):
    """A training file, and what is said of it."""
    return train(task, file, **settings), {file: content}, message


def summaries(file, content, message):
    """A file of summaries, for training and dev, and what is said of it."""
    flags = [f"--{name}_data={file}" for name in ("train", "dev")]
    keys = ["--config.units=4", "--config.jit_compile=false", "--config.min_count=1"]
    command = ["train", "--task=summarization", "--workdir=new", *flags, *keys]
    return command, {file: content}, message


def lines(*rows):
    """JSON lines of objects, and of what is none."""
    return "".join(
        (row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows
    ).encode()


def asked(message, *without, **fields):
    """Good stories and behind them one with other fields, or without some."""
    row = {name: value for name, value in {**STORIES[0], **fields}.items() if name not in without}
    return on("a.jsonl", lines(*STORIES, row), rf"a\.jsonl:21: {message}", "question_answering")


def squad(message, change):
    """SQuAD's JSON in which the fourth paragraph is another one."""
    data = small_questions.squad(SPANS)
    data = change(data, data["data"][0]["paragraphs"][3]) or data
    return on("a.json", json.dumps(data).encode(), message, "question_answering")


def wav(samples=SILENCE, subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, subtype=subtype, format="WAV")
    return file.getvalue()


def heard(message, sound=None, command="train", **row):
    """Good sounds and behind them the row of another, which lies in `bad.wav`; None: there is none."""
    rows = [{"audio": "good.wav", "text": "one two"}] * 12
    row = {"audio": "bad.wav", "text": "one", **row}
    row = {name: value for name, value in row.items() if value is not ...}
    files = {"good.wav": wav(), "m.jsonl": lines(*rows, row)}
    if sound is not None:
        files["bad.wav"] = sound
    if command == "evaluate":
        command = ["evaluate", "--workdir={sounds}", "--data=m.jsonl"]
    else:
        command = train("speech_recognition", "m.jsonl")
    return command, files, rf"m\.jsonl:13: {message}"


# Name: (command, files, message). {workdir}, {questions} and {sounds} in a command are copies of trained runs;
# files of the first are named, too.
CASES = {
    # The command line
    "no task": (["train", "--workdir=new"], {}, r"--task is missing"),
    "no workdir": (["train", "--task=tagging"], {}, r"--workdir is missing"),
    "no such task": (["train", "--task=taging", "--workdir=new"], {}, r"taging.*tagging"),
    "no such command": (["trian"], {}, r"trian.*train"),
    "no such flag": (["train", "--taks=tagging"], {}, r"--taks.*task"),
    "a word that is no flag": (["train", "tagging"], {}, r"'tagging' is not a flag"),
    "a flag without its value": (["train", "--task"], {}, r"--task needs a value"),
    "no such key": (train("tagging", unit=3), {}, r"unit.*units"),
    "a key twice": (
        [*train("tagging", layers=1), "--config.layers=2"],
        {},
        r"layers is given twice",
    ),
    "a word for a number": (
        train("tagging", layers="many"),
        {},
        r"layers=many: it must be a whole number",
    ),
    "a fraction for a number": (
        train("tagging", layers=1.5),
        {},
        r"layers=1.5: it must be a whole number",
    ),
    "nothing for a number": (
        train("tagging", layers=""),
        {},
        r"layers=: it must be a whole number",
    ),
    "a word for yes or no": (
        train("tagging", crf="perhaps"),
        {},
        r"crf=perhaps: it must be true or false",
    ),
    "too small a number": (train("tagging", layers=0), {}, r"layers=0.*at least 1"),
    "too large a number": (train("tagging", dropout=2), {}, r"dropout=2.*at most 0\.95"),
    "no number": (train("tagging", learning_rate="nan"), {}, r"learning_rate=nan"),
    "no such choice": (train("tagging", characters="cmm"), {}, r"characters=cmm.*cnn"),
    "no such cell": (train("tagging", cell="lstn"), {}, r"cell=lstn.*lstm"),
    "keys that do not go together": (
        train("translation", search__n_best=9),
        {},
        r"n_best=9: it must be at most search\.beam",
    ),
    "dev data alone": (
        ["train", "--task=tagging", "--workdir=new", "--dev_data=a.conll"],
        {},
        r"--dev_data is given without --train_data",
    ),
    "a module that is not there": (
        [*train("tagging"), "--import=no_such_cells"],
        {},
        r"--import=no_such_cells",
    ),
    "a module that fails": (
        [*train("tagging"), "--import=failing_cells"],
        {"failing_cells.py": b"import keras_rnn\n1 / 0\n"},
        r"--import=failing_cells.*failing_cells\.py, line 2.*division by zero",
    ),
    "a module with a mistake": (
        [*train("tagging"), "--import=misspelt_cells"],
        {"misspelt_cells.py": b"def f(:\n"},
        r"--import=misspelt_cells.*line 1",
    ),
    # Files
    "no file of that name": (train("classification", "no*.tsv"), {}, r"no\*\.tsv: no file matches"),
    "a folder for a file": (
        train("classification", "d.tsv"),
        {"d.tsv/x": b""},
        r"d\.tsv: is a folder",
    ),
    "UTF-16": on("a.tsv", TABLE.decode().encode("utf-16"), r"a\.tsv:1: .*UTF-16"),
    "Latin-1": on(
        "a.tsv", TABLE + "caf\xe9\tgood\n".encode("latin-1"), r"a\.tsv:22: invalid UTF-8"
    ),
    "no gzip": on("a.tsv.gz", TABLE, r"a\.tsv\.gz: .*gzip"),
    "half a gzip": on("a.tsv.gz", gzip.compress(TABLE * 99)[:-20], r"a\.tsv\.gz: .*gzip"),
    "blank lines alone": on("a.tsv", b"\n\n\n", r"a\.tsv: is empty"),
    "a column twice": on("a.tsv", b"text\ttext\tlabel\na\tb\tc\n", r"a\.tsv:1: .*twice"),
    "commas in a .tsv": on("a.tsv", TABLE.replace(b"\t", b","), r"a\.tsv:1: no column 'text'"),
    "an open quote": on(
        "a.csv", b'text,label\n"fine,good\n' + b"poor,bad\n" * 9, r"a\.csv:2: .*quote"
    ),
    "a missing field": on(
        "a.csv", b"text,label\nfine,good\npoor\n", r"a\.csv:3: the row has 1 field"
    ),
    "a list in JSON": on("a.jsonl", b'["fine", "good"]\n', r"a\.jsonl:1: not a JSON object"),
    "a number in JSON": on(
        "a.jsonl", b'{"text": {"a": 5}, "label": "x"}\n', r"a\.jsonl:1: 'text' is .*"
    ),
    "a field too few in JSON": on("a.jsonl", b'{"text": "a"}\n', r"a\.jsonl:1: .*'label'"),
    "half a character in JSON": on(
        "a.jsonl", b'{"text": "\\ud800", "label": "x"}\n', r"a\.jsonl:1: .*surrogate"
    ),
    "a delimiter of two letters": on(
        "a.tsv", TABLE, r"data\.delimiter must be one character", data__delimiter="ab"
    ),
    "a label of dev alone": (
        train("classification", "a.tsv", "b.tsv"),
        {"a.tsv": TABLE, "b.tsv": b"text\tlabel\nfine\tbest\n"},
        r"b\.tsv:2: the label 'best' does not occur in the training data",
    ),
    "vectors of several widths": (
        train("classification", "a.tsv", vectors="v.txt"),
        {"a.tsv": TABLE, "v.txt": b"fine 1 2 3\npoor 1 2\n"},
        r"v\.txt:2: .*",
    ),
    "vectors without numbers": (
        train("classification", "a.tsv", vectors="v.txt"),
        {"a.tsv": TABLE, "v.txt": b"fine one two\n"},
        r"v\.txt:1: .*",
    ),
    "empty vectors": (
        train("classification", "a.tsv", vectors="v.txt"),
        {"a.tsv": TABLE, "v.txt": b""},
        r"v\.txt: .*",
    ),
    "vectors of pieces": (
        train("classification", "a.tsv", vectors="v.txt", tokenizer="wordpiece"),
        {"a.tsv": TABLE, "v.txt": b"fine 1 2\n"},
        r"vectors goes with --config\.tokenizer=words",
    ),
    "too few words for pieces": (
        train("translation", "a.tsv", tokenizer="sentencepiece", vocabulary_size=5),
        {"a.tsv": PAIRS},
        r"a vocabulary of 5 here",
    ),
    # Tagged files
    "a column too many": on(
        "a.conll", TAGGED + b"Bo B-PER X Y\n", r"a\.conll:31: .*column", "tagging"
    ),
    "one column": on("a.conll", b"Ada\nsings\n\n", r"a\.conll:1: .*column", "tagging"),
    "no such tag column": on(
        "a.conll",
        TAGGED,
        r"a\.conll:1: no column 7 for data\.tag_column",
        "tagging",
        data__tag_column=7,
    ),
    "a column that is no number": on(
        "a.conll", TAGGED, r"tag_column=last one", "tagging", data__tag_column="last one"
    ),
    "nine columns of CoNLL-U": on(
        "a.conllu", CONLLU + b"1\ta\t_\tX\t_\t_\t0\t_\t_\n\n", r"a\.conllu:4: .*10", "tagging"
    ),
    "columns in a .conllu": on("a.conllu", TAGGED, r"a\.conllu:1: .*10", "tagging"),
    "a tagged file without sentences": on("a.conll", b"\n\n", r"a\.conll: .*", "tagging"),
    # Pairs
    "a line too few": (
        train("translation", "a.de,a.en"),
        {"a.de": b"eins\nzwei\n", "a.en": b"one\n"},
        r"a\.de:2: a\.de has 2 lines, a\.en has 1",
    ),
    "one side alone": (
        train("translation", "a.de"),
        {"a.de": b"eins\n"},
        r"a\.de: .*SOURCE,TARGET",
    ),
    "a field too many": on(
        "a.tsv", PAIRS + b"a\tb\tc\n", r"a\.tsv:21: the row has 3 fields", "translation"
    ),
    "a column of another name": on(
        "a.csv", b"de,en\neins,one\n", r"a\.csv:1: no column 'source'", "translation"
    ),
    "empty sides alone": on(
        "a.tsv", b"source\ttarget\neins\t\n", r"too few examples", "translation"
    ),
    # Questions
    "a question in lines of text": on(
        "a.txt", b"one\ntwo\n", r"a\.txt:1: no column 'context'", "question_answering"
    ),
    "a question that is no JSON": on(
        "a.jsonl", lines(*STORIES, "{"), r"a\.jsonl:21: not a JSON object", "question_answering"
    ),
    "no context": asked(r"no column 'context'", "context"),
    "no question": asked(r"no column 'question'", "question"),
    "no answer": asked(r"no column 'answer'", "answer"),
    "an empty context": asked(r"the context is empty", context=" "),
    "an empty question": asked(r"the question is empty", question=""),
    "an empty answer": asked(r"the answer is empty", answer=""),
    "an empty answer of two": asked(r"the answer is empty", answer=["glad", " "]),
    "an object for an answer": asked(r"'answer' is an object", answer={"text": "glad"}),
    "a start that is a word": asked(r"answer_start is 'first'", answer_start="first"),
    "starts without answers": asked(r"2 answer_start for 1 answers", answer_start=[0, 3]),
    "no answer among words": on(
        "a.jsonl",
        lines(*STORIES, {**STORIES[0], "answer": []}),
        r"a\.jsonl: 1 of \d+ questions have no answer.*spans",
        "question_answering",
        answers="words",
    ),
    "the same answer to everything": on(
        "a.jsonl",
        lines(*[{**row, "answer": "glad"} for row in STORIES]),
        r"a\.jsonl: every answer is 'glad'",
        "question_answering",
    ),
    "answers that stand nowhere": on(
        "a.jsonl",
        lines(*[{**row, "answer": "moon"} for row in STORIES]),
        r"a\.jsonl: no answer stands in its context",
        "question_answering",
        answers="spans",
    ),
    "a SQuAD file cut off": on(
        "a.json",
        json.dumps(small_questions.squad(SPANS)).encode()[:-30],
        r"a\.json:1: is not JSON",
        "question_answering",
    ),
    "a SQuAD file nested too deep": on(
        "a.json", b'{"data": ' + b"[" * 100000, r"a\.json: .*too deep", "question_answering"
    ),
    "SQuAD without data": squad(
        r"a\.json:1: no column 'context'", lambda data, part: {"version": "v2.0"}
    ),
    "data that is no list": squad(
        r"a\.json: 'data' is missing or not a list", lambda data, part: {"data": "none"}
    ),
    "data of strings": squad(
        r"a\.json: 'data' must be a list of objects", lambda data, part: {"data": ["none"]}
    ),
    "SQuAD without a question": squad(
        r"a\.json: holds no question", lambda data, part: {"data": []}
    ),
    "an article without paragraphs": squad(
        r"a\.json: data\[0\]: 'paragraphs' is missing", lambda data, part: {"data": [{}]}
    ),
    "a paragraph without a context": squad(
        r"a\.json:4: data\[0\]\.paragraphs\[3\]: 'context' is missing",
        lambda data, part: part.pop("context") and None,
    ),
    "a paragraph without questions": squad(
        r"a\.json:4: data\[0\]\.paragraphs\[3\]: 'qas' is missing",
        lambda data, part: part.update(qas=None),
    ),
    "a paragraph with an empty context": squad(
        r"a\.json:4: the context is empty", lambda data, part: part.update(context="")
    ),
    "SQuAD without answers": squad(
        r"a\.json:4: question 'q3': 'answers' is missing",
        lambda data, part: part["qas"][0].pop("answers") and None,
    ),
    "answers that are strings": squad(
        r"a\.json:4: question 'q3': 'answers' must be a list of objects",
        lambda data, part: part["qas"][0].update(answers=["attic"], is_impossible=False),
    ),
    "an answer without text": squad(
        r"a\.json:4: question 'q3': 'text' is missing",
        lambda data, part: part["qas"][0].update(answers=[{}], is_impossible=False),
    ),
    "a start that is an object": squad(
        r"a\.json:4: answer_start is {}; a whole number",
        lambda data, part: part["qas"][0].update(
            answers=[{"text": "attic", "answer_start": {}}], is_impossible=False
        ),
    ),
    "questions to measure on that lack an answer": (
        ["evaluate", "--workdir={questions}", "--data=a.jsonl"],
        {"a.jsonl": lines({"context": "a", "question": "b"})},
        r"a\.jsonl:1: no column 'answer'",
    ),
    "questions without their texts": (
        ["predict", "--workdir={questions}", "--input=a.txt", "--output=o"],
        {"a.txt": b"How is Ada?\n"},
        r"a\.txt: a question needs its text",
    ),
    "answers that are none": (
        ["evaluate", "--workdir={questions}"],
        {"q/vocabulary.answers.json": b"[]"},
        r"vocabulary\.answers\.json: 'answers' is missing or no str",
    ),
    "answers of no kind": (
        ["predict", "--workdir={questions}"],
        {
            "q/vocabulary.answers.json": b'{"answers": "songs", "vectors_dim": 0, "question_length": 9, '
            b'"sentence_length": 9}'
        },
        r"vocabulary\.answers\.json: 'answers' is 'songs', neither 'words' nor 'spans'",
    ),
    "a length that is a word": (
        ["export", "--workdir={questions}", "--output=d"],
        {
            "q/vocabulary.answers.json": b'{"answers": "words", "vectors_dim": 0, "question_length": "x", '
            b'"sentence_length": 9, "words": ["a", "b"]}'
        },
        r"vocabulary\.answers\.json: 'question_length' is missing or no int",
    ),
    "no answers": (
        ["evaluate", "--workdir={questions}"],
        {"q/vocabulary.answers.json": None},
        r"vocabulary\.answers\.json: no such file",
    ),
    # Sounds
    "a sound that is not there": heard(r"bad\.wav: no such file"),
    "a sound that is a folder": heard(r"\.: is a folder, not a sound", audio="."),
    "a sound without a name": heard(r"no sound is named", audio=" "),
    "a list of sounds": heard(r"'audio' is a list", audio=["good.wav"]),
    "a list of texts": heard(r"'text' is a list", text=["one", "two"]),
    "a row without a sound": heard(r"no column 'audio'", audio=...),
    "a row without a text": heard(r"no column 'text'", text=...),
    "a row that is no JSON": (
        train("speech_recognition", "m.jsonl"),
        {"m.jsonl": lines("good.wav")},
        r"m\.jsonl:1: not a JSON object",
    ),
    "a text named .wav": heard(r"bad\.wav: is no sound", b"I am no sound.\n"),
    "no byte of a sound": heard(r"bad\.wav: is no sound", b""),
    "half a WAV header": heard(r"bad\.wav: is no sound", wav()[:30]),
    "a broken WAV header": heard(r"bad\.wav: is no sound", wav()[:12] + b"fmt broken"),
    "a sound without channels": heard(r"bad\.wav: is no sound", wav()[:22] + b"\0\0" + wav()[24:]),
    "a sound of impossible rate": heard(
        r"bad\.wav: says that it has 2,147,483,647 samples a second",
        wav()[:24] + b"\xff\xff\xff\x7f" + wav()[28:],
    ),
    "samples that are no numbers": heard(
        r"bad\.wav: .*no finite numbers", wav([float("nan")] * 800, subtype="FLOAT")
    ),
    "samples beyond all measure": heard(
        r"bad\.wav: .*beyond all measure", wav([1e30] * 800, subtype="FLOAT")
    ),
    "a broken sound to measure on": heard(r"bad\.wav: is no sound", b"RIFF", command="evaluate"),
    "sounds of no length alone": (
        train("speech_recognition", "m.jsonl"),
        {"m.jsonl": lines(*[{"audio": "a.wav", "text": "one"}] * 9), "a.wav": wav([])},
        r"m\.jsonl: no example is left: \d without sound, left out",
    ),
    "texts that are empty": (
        train("speech_recognition", "m.jsonl"),
        {"m.jsonl": lines(*[{"audio": "a.wav", "text": " "}] * 9), "a.wav": wav()},
        r"the texts are empty",
    ),
    "a sound for a manifest": (
        train("speech_recognition", "a.wav"),
        {"a.wav": wav()},
        r"a\.wav:1: .*not a text file",
    ),
    "a rate below all hearing": (
        train("speech_recognition", sample_rate=100),
        {},
        r"sample_rate=100: it must be 0, or from 1000",
    ),
    "sounds described as none": (
        ["evaluate", "--workdir={sounds}"],
        {"s/sound.json": b'{"rate": 0, "mean": null, "deviation": null}'},
        r"sound\.json: does not describe sounds: 0 samples a second",
    ),
    "a mean of other bands": (
        ["evaluate", "--workdir={sounds}"],
        {"s/sound.json": b'{"rate": 8000, "mean": [1], "deviation": [1]}'},
        r"sound\.json: does not describe sounds: .*4 bands",
    ),
    "nothing about sounds": (
        ["predict", "--workdir={sounds}"],
        {"s/sound.json": None},
        r"sound\.json: no such file",
    ),
    # Numbers and columns that cannot be
    "a seed beyond 32 bits": (train("tagging", seed=2**32), {}, r"seed=.*at most 4294967295"),
    "a length beyond 32 bits": (train("tagging", max_length=10**30), {}, r"at most 2147483647"),
    "a rate beyond float32": (train("tagging", learning_rate=1e300), {}, r"a finite number"),
    "a group for a key": (train("tagging", data=5), {}, r"no config key data"),
    "no name of a key": ([*train("tagging"), "--config.=5"], {}, r"no config key"),
    "no name of a column": on("a.tsv", TABLE, r"a\.tsv:1: no column ''", data__text=""),
    "a quote for a delimiter": on("a.tsv", TABLE, r"delimiter must be one", data__delimiter='"'),
    "a label that is no number": on(
        "a.jsonl", b'{"text": "a", "label": NaN}\n', r"a\.jsonl:1: .*NaN is no JSON"
    ),
    "a text without end": on(
        "a.jsonl", b'{"text": Infinity, "label": "x"}\n', r"a\.jsonl:1: .*Infinity is no JSON"
    ),
    "a label that is null": on(
        "a.jsonl", b'{"text": "a", "label": null}\n', r"a\.jsonl:1: 'label' is null"
    ),
    "two objects in a line": on("a.jsonl", b"{} {}\n", r"a\.jsonl:1: not a JSON object: Extra"),
    "garbage behind a gzip": on("a.tsv.gz", gzip.compress(TABLE) + b"!", r"a\.tsv\.gz: .*gzip"),
    "UTF-16 without its mark": on("a.tsv", TABLE.decode().encode("utf-16-le"), r"a\.tsv:1: a NUL"),
    "a PDF": on("a.tsv", b"%PDF-1.4\0", r"a\.tsv:1: a NUL byte"),
    "ends of lines of old": on("a.tsv", TABLE.replace(b"\n", b"\r"), r"a\.tsv:1: no column"),
    "nothing at all": (train("classification", "/dev/null"), {}, r"/dev/null: is empty"),
    "commas for files": (train("classification", ",,"), {}, r"no file is named"),
    "standard input, read twice": (train("classification", "-"), {}, r"standard input"),
    "a workdir below a file": (
        ["train", "--task=tagging", "--workdir=a/w"],
        {"a": b""},
        r"a/w: cannot be made",
    ),
    "a name that is too long": (
        ["train", "--task=tagging", f"--workdir={'n' * 300}"],
        {},
        r"too long",
    ),
    "a module that ends the process": (
        [*train("tagging"), "--import=exiting_cells"],
        {"exiting_cells.py": b"raise SystemExit(0)\n"},
        r"--import=exiting_cells.*line 1: SystemExit",
    ),
    "a file for a module": ([*train("tagging"), "--import=a/b.py"], {}, r"--import=a/b\.py"),
    "a beginning from nowhere": (
        train("classification", "a.tsv", init_from="nowhere"),
        {"a.tsv": TABLE},
        r"init_from=nowhere: it is no folder of a train",
    ),
    "an empty tag": on("a.conll", TAGGED + b"Bo\t\n\n", r"a\.conll:31: ", "tagging"),
    "three sides": (
        train("translation", "a,b,c"),
        {"a": b"eins\n", "b": b"one\n", "c": b"un\n"},
        r"SOURCE,TARGET",
    ),
    "a NUL in a target": (
        train("translation", "a,b"),
        {"a": b"eins\nzwei\n", "b": b"one\ntw\0o\n"},
        r"b:2: a NUL byte",
    ),
    "Latin-1 in a target": (
        train("translation", "a,b"),
        {"a": b"eins\nzwei\n", "b": b"one\ntw\xffo\n"},
        r"b:2: invalid UTF-8",
    ),
    "answers of both kinds": on(
        "a.jsonl", lines(*STORIES), r"answers=both", "question_answering", answers="both"
    ),
    "a null context": asked(r"'context' is null", context=None),
    "a summary that is null": summaries(
        "a.jsonl", b'{"text": "a b", "summary": null}\n', r"a\.jsonl:1: 'summary' is null"
    ),
    "a row of summaries too long": summaries(
        "a.csv", b"text,summary\na b,a\na,b,c\n", r"a\.csv:3: the row has 3 fields"
    ),
    "no bands": (train("speech_recognition", mels=0), {}, r"mels=0.*at least"),
    "an MP3 named .wav": heard(r"bad\.wav: is no sound", b"ID3\x03" + b"\xff\xfb\x90\x44" * 99),
    "a manifest for a sound": heard(r"m\.jsonl: is no sound", audio="m.jsonl"),
    "a beam where none is": (
        ["evaluate", "--workdir={workdir}", "--config.search.beam=3"],
        {},
        r"no config key search\.beam",
    ),
    "half a gzip to answer": (
        ["predict", "--workdir={workdir}", "--input=a.txt.gz", "--output=o"],
        {"a.txt.gz": gzip.compress(b"fine\n" * 999)[:-9]},
        r"a\.txt\.gz: is not a whole gzip file",
    ),
    "an output on a full device": (
        ["predict", "--workdir={workdir}", "--input=a.txt", "--output=/dev/full"],
        {"a.txt": b"fine\n"},
        r"/dev/full: cannot be written",
    ),
    "an export onto the workdir": (
        ["export", "--workdir={workdir}", "--output={workdir}"],
        {},
        r"w: is there already and is no export",
    ),
    "an export below a file": (
        ["export", "--workdir={workdir}", "--output=a/o"],
        {"a": b""},
        r"a: ",
    ),
    # A run that is there
    "another task's run": (
        ["train", "--task=tagging", "--workdir={workdir}"],
        {},
        r"w: was made with --task=classification, not tagging",
    ),
    "another size": (
        [
            "train",
            "--task=classification",
            "--workdir={workdir}",
            "--train_data={train}",
            "--dev_data={dev}",
        ],
        {},
        r"w: was made with .*units=8 \(now 64\)",
    ),
    "no run": (["evaluate", "--workdir=nowhere"], {}, r"nowhere: does not exist"),
    "a config that is no JSON": (
        ["evaluate", "--workdir={workdir}"],
        {"w/config.json": b"{"},
        r"config\.json: is not JSON",
    ),
    "a config that is a list": (
        ["evaluate", "--workdir={workdir}"],
        {"w/config.json": b"[]"},
        r"config\.json: .*",
    ),
    "a config without a task": (
        ["evaluate", "--workdir={workdir}"],
        {"w/config.json": b"{}"},
        r"config\.json: .*task",
    ),
    "an index that is no JSON": (
        ["evaluate", "--workdir={workdir}"],
        {"w/checkpoints/index.json": b"?"},
        r"index\.json: is not JSON",
    ),
    "weights that are none": (
        ["evaluate", "--workdir={workdir}"],
        {"{best}": b"weights"},
        r"model\.weights\.h5: .*",
    ),
    "no vocabulary": (
        ["evaluate", "--workdir={workdir}"],
        {"w/vocabulary.txt": None},
        r"vocabulary\.txt",
    ),
    "too small a vocabulary": (
        ["predict", "--workdir={workdir}"],
        {"w/vocabulary.txt": b"fine\n"},
        r"vocabulary",
    ),
    "no labels": (
        ["evaluate", "--workdir={workdir}"],
        {"w/vocabulary.labels.json": None},
        r"vocabulary\.labels\.json",
    ),
    "labels that are none": (
        ["evaluate", "--workdir={workdir}"],
        {"w/vocabulary.labels.json": b"[]"},
        r"vocabulary\.labels\.json: 'labels' is missing or no list",
    ),
    "a label too many": (
        ["evaluate", "--workdir={workdir}", "--data=a.tsv"],
        {"a.tsv": b"text\tlabel\nx\tnew\n"},
        r"a\.tsv:2: the label 'new'",
    ),
    "nothing to measure on": (
        ["evaluate", "--workdir={workdir}", "--data=a.tsv"],
        {"a.tsv": b"text\tlabel\n"},
        r"a\.tsv:1: has a header but no rows",
    ),
    "a key of training": (
        ["evaluate", "--workdir={workdir}", "--config.units=9"],
        {},
        r"units belongs to training",
    ),
    "no input": (
        ["predict", "--workdir={workdir}", "--input=no.txt"],
        {},
        r"no\.txt: no such file",
    ),
    "an output in no folder": (
        ["predict", "--workdir={workdir}", "--input=a.txt", "--output=no/o.jsonl"],
        {"a.txt": b"a\n"},
        r"no/o\.jsonl: cannot be written",
    ),
    "an output that is a folder": (
        ["predict", "--workdir={workdir}", "--input=a.txt", "--output=."],
        {"a.txt": b"a\n"},
        r"\.: is a folder",
    ),
    "no such format": (
        ["predict", "--workdir={workdir}", "--output_format=xml"],
        {},
        r"output_format=xml: it must be one of jsonl, text, same",
    ),
    "an input that is UTF-16": (
        ["predict", "--workdir={workdir}", "--input=a.txt", "--output=o"],
        {"a.txt": "a\n".encode("utf-16")},
        r"a\.txt:1: .*UTF-16",
    ),
    "no folder to export to": (["export", "--workdir={workdir}"], {}, r"--output is missing"),
    "an export onto a file": (
        ["export", "--workdir={workdir}", "--output=a"],
        {"a": b"mine"},
        r"a: .*",
    ),
    "an export onto something else": (
        ["export", "--workdir={workdir}", "--output=d"],
        {"d/a": b"mine"},
        r"d: .*",
    ),
    "an export of no format": (
        ["export", "--workdir={workdir}", "--output=d", "--format=onxn"],
        {},
        r"--format=onxn.*saved_model",
    ),
    # Summaries
    "no column of summaries": summaries(
        "a.csv", b"text,title\na b,a\n", r"a\.csv:1: no column 'summary'"
    ),
    "no column of texts": summaries(
        "a.jsonl",
        b'{"body": "a b", "summary": "a"}\n',
        r"a\.jsonl:1: no column 'text'|a\.jsonl:1: .*'text'",
    ),
    "a summary that is a list": summaries(
        "a.jsonl", b'{"text": "a b", "summary": ["a"]}\n', r"a\.jsonl:1: 'summary' is a list"
    ),
    "no summary at all": summaries(
        "a.tsv", b"text\tsummary\na b\t \nc\t\n", r"a\.tsv: .*2 without summary, left out"
    ),
    "no text at all": summaries(
        "a.tsv", b"text\tsummary\n\ta\n", r"a\.tsv: .*1 without text, left out"
    ),
    "summaries longer than their texts": summaries(
        "a.tsv",
        b"text\tsummary\na\ta b\n",
        r"a\.tsv: .*1 summary longer than its text, left out",
    ),
    "more than a beam has": (
        ["train", "--task=summarization", "--workdir=new", "--config.search.n_best=9"],
        {},
        r"n_best=9: it must be at most search\.beam",
    ),
    "no such demo": (["demo", "--task=juggling"], {}, r"--task=juggling"),
    "a demo in a file": (
        ["demo", "--task=classification", "--workdir=a"],
        {"a": b""},
        r"a: .*file",
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return small_data.train_small(tmp_path_factory.mktemp("run"), epochs=0)


@pytest.fixture(scope="module")
def runs(trained, tmp_path_factory):
    """What trains a run, or gives the one that there is, by the name that cases have for it."""
    made = {"workdir": trained}

    def run(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = folder / "w"
            TRAININGS[name](folder)
        return made[name]

    return run


def train_on_stories(folder):
    data = small_questions.write(folder / "train.jsonl", STORIES)
    assert small_questions.train(folder, f"--train_data={data}", epochs=0) == 0


def train_on_sounds(folder):
    sound, manifest = folder / "a.wav", folder / "m.jsonl"
    sound.write_bytes(wav())
    manifest.write_bytes(lines(*[{"audio": "a.wav", "text": "one two"}] * 12))
    settings = {"mels": 4, "layers": 2, "epochs": 0, "workdir": folder / "w"}
    assert app.main(train("speech_recognition", manifest, **settings)) == 0


TRAININGS = {"questions": train_on_stories, "sounds": train_on_sounds}
COPIES = {"workdir": "w", "questions": "q", "sounds": "s"}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_half_written(case, trained, runs, tmp_path, capsys, monkeypatch):
    command, files, message = CASES[case]
    monkeypatch.chdir(tmp_path)
    places = {"train": trained.parent / "train.tsv", "dev": trained.parent / "dev.tsv", **COPIES}
    for name, copy in COPIES.items():
        if any(f"{{{name}}}" in part for part in command):
            shutil.copytree(runs(name), copy)
    best = json.loads((trained / "checkpoints" / "index.json").read_text())["best"]
    places["best"] = f"w/checkpoints/{best}/model.weights.h5"
    for name, content in files.items():
        path = tmp_path / name.format(**places)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if content is None else path.write_bytes(content)
    before = snapshot(tmp_path)
    capsys.readouterr()
    assert app.main([part.format(**places) for part in command]) == 1
    error = capsys.readouterr().err
    assert error.startswith("keras-rnn: ") and error.count("\n") == 1, error
    assert re.search(message, error), error
    assert not (tmp_path / "new" / "config.json").exists()
    shutil.rmtree(tmp_path / "new", ignore_errors=True)
    assert snapshot(tmp_path) == before


def snapshot(folder):
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_there_are_many():
    assert len(CASES) >= 160
