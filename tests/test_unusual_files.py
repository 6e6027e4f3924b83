"""Files as some users have them: dollars, pipes, other delimiters, compressed answers, huge numbers, data put back."""

import gzip
import io
import json
import os
import sys

import numpy as np
import pytest

import pipelines
from keras_rnn import app, configs, pictures
from keras_rnn.cells import registered_cells
from keras_rnn.evaluate import evaluate
from keras_rnn.examples import chosen_for_dev
from keras_rnn.run import open_run
from keras_rnn.tasks import make_task
from keras_rnn.tasks.inputs import format_of, read_tagged_json
from keras_rnn.workdir import Workdir
from tests import small_data


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return small_data.train_small(tmp_path_factory.mktemp("run"), epochs=1)


def run(capsys, *arguments):
    status = app.main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_dollars_are_drawn_as_they_are():
    figure = pictures.draw_attention([0.5, 0.5], ["$_$", "x"], "from $5 to $10")
    assert pictures.to_pixels(figure).std() > 0
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert [text.replace(r"\$", "$") for text in shown] == ["$_$", "x"]


@pytest.mark.parametrize("read", [pipelines.expand, pipelines.beginning])
def test_a_pipe_is_refused_before_it_is_read(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(pipelines.InputError, match="is a pipe, and a file is read more than once"):
        read(str(tmp_path / "pipe"))


def test_answers_are_compressed_where_the_name_says_so(trained, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("good film\nbad film\n")
    options = [f"--workdir={trained}", f"--input={tmp_path / 'in.txt'}"]
    assert run(capsys, "predict", *options, f"--output={tmp_path / 'o.jsonl.gz'}")[0] == 0
    status, plain, _ = run(capsys, "predict", *options)
    assert status == 0 and gzip.open(tmp_path / "o.jsonl.gz", "rt").read() == plain
    assert len(plain.splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ","), ("a.tsv", "\t"), ("a.txt", ","), ("b.txt", "\t")]
)
def test_a_table_is_written_with_its_own_delimiter(name, separator, trained, tmp_path, capsys):
    (tmp_path / name).write_text(f"id{separator}text\n1{separator}good film\n")
    options = [f"--workdir={trained}", f"--input={tmp_path / name}", "--output_format=same"]
    status, out, _ = run(capsys, "predict", *options)
    header, row = out.splitlines()
    assert status == 0 and header.split(separator) == ["id", "text", "label"]
    assert row.split(separator)[:2] == ["1", "good film"]


def test_tables_of_other_columns_do_not_make_one(trained, tmp_path, capsys):
    (tmp_path / "a.csv").write_text("id,text\n1,good\n")
    (tmp_path / "b.csv").write_text("text\nbad\n")
    files = f"--input={tmp_path / 'a.csv'},{tmp_path / 'b.csv'}"
    status, _, err = run(capsys, "predict", f"--workdir={trained}", files, "--output_format=same")
    assert status == 1
    assert "b.csv:2: has the columns text, label, the first file id, text, label" in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a", "n": ' + "1" * 5000 + "}", "holds a number of too many digits"),
        ('{"sentence": "good"}', "no column 'text'"),
    ],
)
def test_json_that_cannot_be_read_is_an_error_object(line, message, trained, tmp_path, capsys):
    # A suffix says that it is JSON; without one an object does that can be read.
    file = tmp_path / ("in.jsonl" if "digits" in message else "in")
    file.write_text(line + "\n")
    status, out, _ = run(capsys, "predict", f"--workdir={trained}", f"--input={file}")
    assert status == 1 and message in json.loads(out)["error"]


@pytest.mark.parametrize("header", ["", "2 3\n"])
def test_vectors_with_a_byte_order_mark(header, tmp_path):
    file = tmp_path / "v.txt"
    file.write_text(f"\ufeff{header}the 1 2 3\nof 4 5 6\n", encoding="utf-8")
    assert pipelines.vector_words(file, 5) == ["the", "of"]
    assert pipelines.vectors_dimension(file) == 3
    rows, found = pipelines.read_vectors(file, ["of", "the"])
    np.testing.assert_array_equal(rows, [[4, 5, 6], [1, 2, 3]])
    assert found.all()


def test_a_header_of_vectors_that_nobody_has(tmp_path):
    (tmp_path / "v.txt").write_text("9 99999999999999999999\nthe 1 2\n")
    with pytest.raises(pipelines.InputError, match="speaks of 99999999999999999999 numbers a word"):
        pipelines.vectors_dimension(tmp_path / "v.txt")


def test_arguments_that_no_command_can_mean(capsys):
    status, _, err = run(capsys, "train", "--task=tagging", "--train_data=caf\udce9.tsv")
    assert status == 1 and "holds bytes that are no UTF-8" in err
    status, _, err = run(capsys, "predict", "--workdir=a", "--workdir=b")
    assert (status, err) == (1, "keras-rnn: --workdir is given twice\n")


def test_a_cell_around_a_cell_is_no_cell_of_a_command(capsys):
    assert not registered_cells("ZoneoutCell") and not registered_cells("AttentionCell")
    assert registered_cells("GRUCell")


def test_a_plain_tag_that_training_lacks_is_an_error_and_no_span(tmp_path):
    from keras_rnn import configs

    config = configs.task_keys("tagging").config()
    with config.unlocked():
        config.scheme = "plain"
    # One sentence, of which nothing occurs twice: its words' shapes and endings neither.
    for name, text in (("t", "Hi\tX\nyou\tB-y\n?\tX\n\n"), ("d", "Hi\tX\nyou\tB-z\n\n")):
        (tmp_path / f"{name}.conll").write_text(text)
    task = make_task("tagging", config)
    task.fit(lambda: task.read(str(tmp_path / "t.conll")))
    [example] = task.encode(task.read(str(tmp_path / "d.conll")))
    assert example["tags"].tolist() == [task.model_tags.index("X"), len(task.model_tags)]
    assert task.features.spelling.size > 4


def test_data_that_were_withdrawn_are_not_trained_on(tmp_path, capsys):
    """Other files that cannot be encoded, then the old ones put back with the times that they had."""
    files = {name: tmp_path / f"{name}.tsv" for name in ("train", "dev")}
    rows = {"train": "good film\ty\nbad film\tn\n" * 10, "dev": "good\ty\nbad\tn\n" * 3}
    for name, file in files.items():
        file.write_text("text\tlabel\n" + rows[name])
    command = ["train", "--task=classification", f"--workdir={tmp_path / 'w'}"]
    command += [f"--{name}_data={file}" for name, file in files.items()]
    small = ["jit_compile=false", "units=4", "pictures=0"]
    command += [f"--config.{setting}" for setting in small]
    assert run(capsys, *command, "--config.epochs=1")[0] == 0
    kept = {file: (file.read_text(), os.stat(file)) for file in files.values()}
    files["train"].write_text("text\tlabel\n" + "good film\ty\nbad film\tn\n" * 2)
    files["dev"].write_text("text\tlabel\ngood\tnew\n")
    status, _, err = run(capsys, *command, "--config.epochs=2")
    assert status == 1 and "'new' does not occur in the training data" in err
    for file, (text, before) in kept.items():
        file.write_text(text)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(capsys, *command, "--config.epochs=2")[0] == 0
    assert len(pipelines.ExampleStore(str(tmp_path / "w" / "examples" / "train"))) == 20


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        ('"id","text"\n"1","good"\n', "table"),
        ('\n"id"\t"text"\n1\tgood\n', "table"),
        ("id,text", "table"),
        ("id,text\n1", "table"),  # all that a pipe holds so far
        ("I got it, text\nbad film\n", "lines"),
        ("this, text of mine\nbad film, was it\n", "lines"),
    ],
)
def test_a_header_is_known_by_its_names_and_the_rows_below_it(beginning, kind, tmp_path):
    (tmp_path / "in.txt").write_text(beginning)
    assert format_of(str(tmp_path / "in.txt"), "text") == kind


def test_sounds_of_every_kind_that_is_read_are_heard_by_their_names(tmp_path):
    config = configs.task_keys("speech_recognition").config()
    files = [tmp_path / f"a{suffix}" for suffix in (".WAV", ".mp3", ".aiff")]
    for file in files:
        file.write_bytes(b"no sound")
    rows = make_task("speech_recognition", config).read_input(",".join(map(str, files)))
    for file, error in zip(files, rows, strict=True):
        assert str(error).startswith(f"{file}: is ") and str(error).count(file.name) == 1


def test_a_label_that_is_rare_among_several_stays_in_training():
    rows = [pipelines.Record({"text": "", "label": ["common", f"rare {n}"]}) for n in range(30)]
    rows += [pipelines.Record({"text": "", "label": ["common"]}) for n in range(30)]
    config = configs.task_keys("classification").config()
    config.data.multilabel_separator = "|"
    task = make_task("classification", config)
    task.read = lambda files, counts=None: iter(rows)
    in_dev = chosen_for_dev(task, "rows", 0)
    assert in_dev.any() and not in_dev[:30].any()


@pytest.mark.parametrize("name", ["checkpoints", "data"])
def test_a_folder_of_something_else_is_no_workdir(name, tmp_path, capsys):
    (tmp_path / name).mkdir()
    (tmp_path / name / "train.tsv").write_text("mine")
    status, _, errors = run(capsys, "train", "--task=classification", f"--workdir={tmp_path}")
    assert status == 1 and f"is no folder of a run, and has {name}" in errors
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name / "train.tsv").read_text() == "mine"


def test_the_data_of_a_run_may_lie_in_its_folder(tmp_path):
    (tmp_path / "data").mkdir()
    Workdir(tmp_path).make()
    assert sorted(os.listdir(tmp_path)) == [".keras_rnn", "data"]
    (tmp_path / "examples").mkdir()  # what a run leaves that was killed before its config.json
    Workdir(tmp_path).make()


def test_only_checkpoints_are_removed_among_the_checkpoints(tmp_path):
    folder = Workdir(tmp_path)
    for name in ("step-00000001", "step-00000001-2", "step-00000002", "step-00000001-kept", "mine"):
        os.makedirs(os.path.join(folder.checkpoints, name))
    folder.write_index({"last": "step-00000002", "best": "step-00000002"})
    kept = ["index.json", "mine", "step-00000001-kept", "step-00000002"]
    assert sorted(os.listdir(folder.checkpoints)) == kept


def test_scores_are_json_where_nothing_beyond_ascii_can_be_shown(trained, monkeypatch):
    opened = open_run(str(trained))
    monkeypatch.setattr(opened.task, "judge", lambda *given: {"für": 1.0})
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", shown)
    evaluate(opened)
    assert json.loads(shown.buffer.getvalue()) == {"für": 1.0}


def test_a_file_that_lies_here_takes_no_librarys_place(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    assert run(capsys, "evaluate", "--workdir=none")[0] == 1
    assert sys.path.index(str(tmp_path)) == len(sys.path) - 1


def test_a_bad_object_on_standard_input_is_told_by_that_name(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": 1}\n')))
    (error,) = read_tagged_json("-")
    assert str(error).startswith("standard input:1: the object needs tokens")
