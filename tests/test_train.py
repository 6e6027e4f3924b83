"""Training through the command: files, numbers, going on, refusing, ending."""

import json
import os
import shutil
import signal
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

import pipelines
from keras_rnn import app
from keras_rnn.programs import Programs
from keras_rnn.tasks.classification import Classification
from keras_rnn.trainer import Trainer
from keras_rnn.workdir import Workdir
from tests import small_data


def command(workdir, *arguments, **settings) -> int:
    return app.main(
        [
            "train",
            "--task=classification",
            f"--workdir={workdir}",
            *arguments,
            *small_data.overrides(**settings),
        ]
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [
        f"--train_data={small_data.write_tsv(folder / 'train.tsv', small_data.rows(200))}",
        f"--dev_data={small_data.write_tsv(folder / 'dev.tsv', small_data.rows(50, seed=1))}",
    ]


# Of the run that tests look at or go on with: two shapes, and pictures.
WHOLE = {"max_shapes": 2, "pictures": 2}


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    """A finished run of three epochs."""
    workdir = tmp_path_factory.mktemp("run") / "w"
    assert command(workdir, *files, **WHOLE) == 0
    return workdir


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "w")


def state_of(workdir) -> dict:
    folder = Workdir(workdir)
    return folder.read("checkpoints", folder.index()["last"], "state.json")


def weights_of(workdir, which="last") -> dict[str, np.ndarray]:
    path = os.path.join(Workdir(workdir).checkpoint(which), "training.npz")
    with np.load(path) as values:
        return dict(values)


def test_the_workdir_holds_what_others_rely_on(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["accuracy"] == 1.0
    assert metrics["examples"] == 50
    assert set(metrics["by_label"]) == {"bad", "good"}
    facts = metrics["training"]
    assert facts["epochs"] == 3
    assert facts["steps"] == 3 * 13
    assert facts["train_examples"] == 200
    assert facts["programs"] == 2 + 2
    config = json.loads((trained / "config.json").read_text())
    assert config["task"] == "classification"
    assert config["config"]["units"] == 8 and config["config"]["data.text"] == "text"
    assert (trained / "vocabulary.txt").exists()
    assert {"dev", "train"} <= {path.name for path in (trained / "tensorboard").iterdir()}
    # Only the last and the best checkpoint are kept.
    index = json.loads((trained / "checkpoints" / "index.json").read_text())
    kept = {path.name for path in (trained / "checkpoints").iterdir()}
    assert kept == {index["last"], index["best"], "index.json"}


def test_tensorboard_has_scalars_and_attention(trained):
    found = {}
    for part in ("train", "dev"):
        for path in (trained / "tensorboard" / part).glob("*.tfevents.*"):
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                for value in event.summary.value:
                    found.setdefault((part, value.tag), []).append((event.step, value.tensor))
    for tag in ("loss", "accuracy", "learning_rate", "tokens_per_second", "gradient_norm"):
        assert [step for step, _ in found["train", tag]] == [13, 26, 39]
    assert [step for step, _ in found["dev", "accuracy"]] == [13, 26, 39]
    assert tf.make_ndarray(found["train", "learning_rate"][0][1]) == pytest.approx(0.02)
    steps = [step for step, _ in found["train", "padding_share"]]
    shares = [tf.make_ndarray(tensor) for _, tensor in found["train", "padding_share"]]
    assert steps == [13, 26, 39] and shares == pytest.approx([_padding_share(trained)] * 3)
    assert {tag for part, tag in found if part == "dev"} == {
        "accuracy",
        "loss",
        "f1_macro",
        "f1_micro",
        "labels",
        "attention/0",
        "attention/1",
        "gates/0",
        "gates/1",
    }
    spread = {tag for part, tag in found if part == "train" and "/" in tag}
    for tag in ("weights/encoder/embedding/embeddings", "gradients/encoder/embedding/embeddings"):
        assert tag in spread
        buckets = tf.make_ndarray(found["train", tag][-1][1])
        assert buckets.shape[1] == 3 and buckets[:, 2].sum() > 0
    text = tf.make_ndarray(found["dev", "labels"][-1][1]).item().decode()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert rows[0] == ["text", "right", "given", "probability"] and len(rows) == 4
    for (text, right, given, probability), row in zip(rows[2:], small_data.rows(50, seed=1)):
        assert (text, right, given) == (row["text"], row["label"], row["label"])
        assert 0.5 < float(probability.replace("\\", "")) <= 1


def _padding_share(workdir) -> float:
    """Of the run of `trained`, from its examples and the two lengths that its config allows."""
    lengths = pipelines.ExampleStore(workdir / "examples" / "train").lengths("ids")
    buckets = pipelines.choose_buckets(lengths, max_shapes=2)[:, 0]
    # Thirteen batches of 16; what does not fill the last one of a length moves up.
    short = int((lengths <= buckets[0]).sum()) // 16 if len(buckets) > 1 else 0
    cells = 16 * (short * buckets[0] + (13 - short) * buckets[-1])
    return 1 - lengths.sum() / cells


def test_tensorboard_has_the_words_and_the_settings_with_their_scores(trained):
    # In no folder that has others below it, where the projector would find the vectors but not their names.
    folder = trained / "tensorboard" / "train"
    words = (folder / "words.tsv").read_text().splitlines()
    values = tf.train.load_variable(
        tf.train.latest_checkpoint(folder), "words/.ATTRIBUTES/VARIABLE_VALUE"
    )
    assert (
        len(words) == len(values) and "words.tsv" in (folder / "projector_config.pbtxt").read_text()
    )
    weights = weights_of(trained, "best")
    (path,) = (p for p in folder.parent.iterdir() if ".tfevents." in p.name)
    tags = {
        value.tag: value
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    judged = Workdir(trained).read("metrics.json")
    assert tf.make_ndarray(tags["best/accuracy"].tensor) == pytest.approx(judged["accuracy"])
    assert "_hparams_/session_start_info" in tags
    assert any(value.shape[0] == len(words) for value in weights.values() if value.ndim == 2)


def test_start_and_end_lines(files, tmp_path, capsys):
    assert command(tmp_path / "w", *files, epochs=1) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert "CPU" in lines[0] and "float32" in lines[0] and "XLA off" in lines[0]
    assert "200 training and 50 dev examples; nothing cut" in lines[0]
    assert lines[2] == lines[-1] and lines[2].startswith("tensorboard --logdir ")
    assert lines[3].startswith("epoch 1/1: loss 0.") and "tokens/s" in lines[3]
    assert lines[-1] == f"tensorboard --logdir {tmp_path / 'w' / 'tensorboard'}"
    assert "examples/s" in lines[-3] and "real tokens/s" in lines[-3]


def test_a_finished_run_says_so_and_trains_no_further(copy, files, capsys):
    before = (copy / "checkpoints" / "index.json").read_bytes()
    assert command(copy, *files, **WHOLE) == 0
    assert "is finished: epochs=3 is reached" in capsys.readouterr().out
    assert (copy / "checkpoints" / "index.json").read_bytes() == before


def test_going_on_ends_where_one_training_would_have_ended(files, tmp_path, capsys):
    """Three epochs at once, and one, then one and a half by max_steps, then the rest: the same bits."""
    settings = {"word_dropout": 0.2, "dropout": 0.3, "average": 0.9}
    assert command(tmp_path / "once", *files, epochs=3, **settings) == 0
    assert command(tmp_path / "parts", *files, epochs=1, **settings) == 0
    assert command(tmp_path / "parts", *files, epochs=3, max_steps=20, **settings) == 0
    assert state_of(tmp_path / "parts")["batch"] == 7
    assert command(tmp_path / "parts", *files, epochs=3, **settings) == 0
    assert "going on after epoch 1, step 20" in capsys.readouterr().out
    once, parts = weights_of(tmp_path / "once"), weights_of(tmp_path / "parts")
    assert once.keys() == parts.keys()
    assert any(name.startswith("optimizer/") for name in once)
    assert any("seed" in name for name in once)
    for name, value in once.items():
        np.testing.assert_array_equal(value, parts[name], err_msg=name)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(files, tmp_path, trained):
    assert command(tmp_path / "same", *files, max_shapes=2) == 0
    assert command(tmp_path / "other", *files, max_shapes=2, seed=2) == 0
    first = weights_of(trained)
    for name, value in weights_of(tmp_path / "same").items():
        np.testing.assert_array_equal(value, first[name], err_msg=name)
    other = weights_of(tmp_path / "other")
    name = next(name for name in first if "recurrent_kernel" in name)
    assert not np.array_equal(first[name], other[name])


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"units": 9}, "units=8 (now 9)"),
        ({"data__text": "words"}, "data.text=text (now words)"),
        ({"seed": 5, "dropout": 0.2}, "dropout=0.1 (now 0.2), seed=1 (now 5)"),
    ],
)
def test_a_changed_key_is_refused_by_name(copy, files, change, expected, capsys):
    assert command(copy, *files, **{**WHOLE, **change}) == 1
    error = capsys.readouterr().err
    assert expected in error and "epochs, max_steps, learning_rate" in error


def test_other_data_is_refused(copy, files, capsys):
    assert command(copy, files[0], **WHOLE) == 1
    assert "--dev_data" in capsys.readouterr().err


def test_a_changed_learning_rate_alone_goes_on_only_where_epochs_are_left(copy, files, capsys):
    assert command(copy, *files, **WHOLE, learning_rate=0.001) == 0
    assert "raise --config.epochs" in capsys.readouterr().out
    assert command(copy, *files, **WHOLE, learning_rate=0.001, epochs=4) == 0
    assert state_of(copy)["epoch"] == 4


def test_data_files_that_changed_are_read_again_and_that_is_said(copy, files, capsys):
    """And what was best on another dev set is no measure any more."""
    path = files[1].partition("=")[2]
    before = os.stat(path)
    os.utime(path)
    folder = Workdir(copy)
    place = ("checkpoints", folder.index()["last"], "state.json")
    folder.write({**folder.read(*place), "best": 2.0}, *place)
    try:
        assert command(copy, *files, **WHOLE, epochs=4) == 0
    finally:  # it is that of other tests, too
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "the data files have changed since the last time" in capsys.readouterr().out
    assert state_of(copy)["best"] <= 1.0 and state_of(copy)["best_epoch"] == 4


def test_a_run_that_was_killed_before_its_scores_writes_them(copy, trained, files, capsys):
    (copy / "metrics.json").unlink()
    assert command(copy, *files, **WHOLE) == 0
    capsys.readouterr()
    got, wanted = (json.loads((run / "metrics.json").read_text()) for run in (copy, trained))
    facts = [scores.pop("training") for scores in (got, wanted)]
    assert got == wanted
    assert facts[0]["best_step"] == facts[1]["best_step"] and facts[0]["steps"] == 39


def test_a_finished_run_that_goes_on_may_be_killed_before_its_first_step(
    copy, files, capsys, monkeypatch
):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", killed)
        assert command(copy, *files, **WHOLE, epochs=4) == 130
    assert command(copy, *files, **WHOLE, epochs=4) == 0
    assert state_of(copy)["epoch"] == 4


def test_a_second_training_in_the_same_workdir_is_refused(copy, files, capsys):
    with Workdir(copy).locked():
        assert command(copy, *files, **WHOLE, epochs=9) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"keras-rnn: {copy}: another training is at work here")
    with Workdir(copy).locked():  # it is free again
        pass


def test_a_checkpoint_of_the_same_step_takes_the_place_of_none(copy, files, monkeypatch):
    """Whenever a file or a folder is renamed, the index names a whole checkpoint."""
    folder, seen = Workdir(copy), []
    rename, replace = os.rename, os.replace

    def watched(way):
        def watch(*paths):
            way(*paths)
            seen.append(paths)
            assert sorted(os.listdir(folder.checkpoint("last"))) == [
                "model.weights.h5",
                "state.json",
                "training.npz",
            ]

        return watch

    def interrupted(trainer, *arguments):
        for _ in range(3):
            trainer.save(better=False, finished="")
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", watched(rename))
    monkeypatch.setattr(os, "replace", watched(replace))
    monkeypatch.setattr(Trainer, "run", interrupted)
    assert command(copy, *files, **WHOLE, epochs=4) == 130
    assert len(seen) >= 6
    assert len(os.listdir(folder.checkpoints)) <= 3


def test_ctrl_c_that_a_library_turns_into_another_error(files, tmp_path, monkeypatch, capsys):
    def interrupted(task):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except KeyboardInterrupt:
            raise ValueError("could not pack a sequence") from None

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Classification, "build_model", interrupted)
    assert command(tmp_path / "w", *files) == 130
    assert capsys.readouterr().err == "keras-rnn: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            tf.errors.ResourceExhaustedError(
                None,
                None,
                "{{function_node __wrapped__SaveV2_device_/job:x/task:0}} /a/b; No space left on device",
            ),
            "keras-rnn: /a/b: cannot be written: No space left on device\n",
        ),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), "batch_size"),
        (MemoryError(), "the memory is not enough"),
    ],
)
def test_no_memory_and_no_room_are_one_line(error, expected, files, tmp_path, monkeypatch, capsys):
    def fails(task):
        raise error

    monkeypatch.setattr(Classification, "build_model", fails)
    assert command(tmp_path / "w", *files) == 1
    said = capsys.readouterr().err
    assert said.startswith("keras-rnn: ") and said.count("\n") == 1 and expected in said


def test_early_stopping_and_the_best_checkpoint(files, tmp_path):
    workdir = tmp_path / "w"
    assert command(workdir, *files, epochs=30, patience=2) == 0
    metrics = Workdir(workdir).read("metrics.json")
    facts = metrics["training"]
    assert facts["finished"] == "2 epochs brought no better dev accuracy"
    assert facts["epochs"] == facts["best_epoch"] + 2 < 30
    index = Workdir(workdir).index()
    assert index["best"] == f"step-{facts['best_step']:08d}"
    assert index["last"] == f"step-{facts['steps']:08d}"


def test_a_loss_that_is_no_number_stops_the_run(files, tmp_path, capsys, monkeypatch):
    workdir = tmp_path / "w"
    assert command(workdir, *files, epochs=1) == 0
    good = weights_of(workdir)
    capsys.readouterr()
    assert command(workdir, *files, epochs=3, learning_rate=1e38) == 1
    error = capsys.readouterr().err
    assert "step 1" in error and "step-00000013" in error and error.count("\n") == 1
    for name, value in weights_of(workdir).items():
        np.testing.assert_array_equal(value, good[name])


def test_max_compilations(files, tmp_path, capsys):
    assert command(tmp_path / "w", *files, epochs=1, max_shapes=2, max_compilations=2) == 1
    assert "--config.max_compilations=2 is used up" in capsys.readouterr().err
    assert command(tmp_path / "v", *files, epochs=1, max_shapes=2, max_compilations=5) == 0


def test_xla_counts_its_programs(files, tmp_path, capsys):
    assert command(tmp_path / "w", *files, jit_compile=True, epochs=2) == 0
    out = capsys.readouterr().out
    assert "XLA on" in out and "compiled 2 XLA programs in " in out


def test_without_a_compiler_it_goes_on_and_says_so(files, tmp_path, capsys, monkeypatch):
    real = tf.function

    def function(f=None, **options):
        if options.get("jit_compile"):
            raise tf.errors.UnimplementedError(None, None, "no XLA for DEVICE\nmore")
        return real(f, **options)

    monkeypatch.setattr(tf, "function", function)
    programs = Programs(jit_compile=True)
    assert programs.fallback == "no XLA for DEVICE" and not programs.jit_compile


def test_built_in_data(tmp_path, monkeypatch):
    monkeypatch.setattr(
        pipelines,
        "language_identification",
        lambda seed: tuple(small_data.rows(n, seed=n) for n in (60, 20, 10)),
    )
    assert command(tmp_path / "w", epochs=1) == 0
    header, first = (tmp_path / "w" / "data" / "train.tsv").read_text().splitlines()[:2]
    assert header == "text\tlabel"
    assert first == "\t".join(small_data.rows(60, seed=60)[0].values())
    assert Workdir(tmp_path / "w").read("metrics.json")["examples"] == 20


def test_a_dev_set_is_split_off_where_none_is_given(files, tmp_path):
    assert command(tmp_path / "w", files[0], epochs=1) == 0
    facts = Workdir(tmp_path / "w").read("metrics.json")
    assert facts["examples"] == 20 and facts["training"]["train_examples"] == 180


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns_and_keeps_float32_weights(precision, files, tmp_path):
    assert command(tmp_path / "w", *files, precision=precision) == 0
    assert Workdir(tmp_path / "w").read("metrics.json")["accuracy"] > 0.9
    weights = weights_of(tmp_path / "w")
    assert all(value.dtype != np.float16 for value in weights.values())
    # The loss scale and its counter are part of what training goes on from.
    optimizer = [name for name in weights if name.startswith("optimizer/")]
    model = [name for name in weights if name.startswith("model/") and "seed" not in name]
    plain = 2 * len(model) + 1
    assert len(optimizer) > plain if precision == "mixed_float16" else len(optimizer) == plain


def test_a_cell_of_ones_own(files, tmp_path, monkeypatch, capsys):
    (tmp_path / "leaky_cells.py").write_text(
        """
import keras
import keras_rnn


@keras.saving.register_keras_serializable(package="leaky")
class LeakyCell(keras_rnn.Cell):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")

    def project(self, x, dot, training=False):
        return dot(x, self.kernel)

    def step(self, projected, states, dot, memory=None):
        (a_prev,) = states
        return [0.7 * a_prev + 0.3 * keras.ops.tanh(projected + dot(a_prev, self.recurrent))], {}

    def get_config(self):
        return {**super().get_config(), "units": self.units}
"""
    )
    monkeypatch.chdir(tmp_path)
    workdir = tmp_path / "w"
    arguments = ["--import=leaky_cells", *files]
    assert command(workdir, *arguments, cell="LeakyCell", epochs=2) == 0
    assert any(name.endswith("/recurrent") for name in weights_of(workdir))
    capsys.readouterr()
    # The run remembers which module its cell comes from.
    assert app.main(["evaluate", f"--workdir={workdir}"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 50
    # But not where it has come with the run: what a stranger's folder holds is not run.
    (tmp_path / "leaky_cells.py").rename(workdir / "leaky_cells.py")
    monkeypatch.delitem(sys.modules, "leaky_cells")
    monkeypatch.chdir(workdir)
    assert app.main(["evaluate", "--workdir=."]) == 1
    assert "names the module leaky_cells of the run's own folder" in capsys.readouterr().err
    assert "leaky_cells" not in sys.modules
    monkeypatch.chdir(tmp_path)
    assert command(tmp_path / "v", *files, cell="LeakyCel") == 1
    assert "LeakyCel" in capsys.readouterr().err
    assert command(tmp_path / "v", "--import=no_such_module", *files) == 1
    assert "--import=no_such_module: there is no such module" in capsys.readouterr().err
