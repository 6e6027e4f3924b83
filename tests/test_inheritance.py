"""Runs that begin with the weights of another one."""

import json
import shutil

import numpy as np
import pytest

from keras_rnn import app
from keras_rnn.run import open_run
from keras_rnn.workdir import Workdir
from tests import small_data, small_tags


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return small_data.train_small(tmp_path_factory.mktemp("classifier"), pictures=0, epochs=5)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    texts = (small_tags.conll(small_tags.sentences(n, seed=n)) for n in (120, 30))
    return small_tags.train_small(tmp_path_factory.mktemp("tagger"), *texts, epochs=2)


def classify(workdir, parent, train="", **settings) -> int:
    """Trains a classifier in `workdir` that begins with `parent`."""
    files = [parent.parent / name for name in ("train.tsv", "dev.tsv")]
    if train:
        files = [train, train]
    data = [f"--{name}_data={file}" for name, file in zip(("train", "dev"), files, strict=True)]
    settings = {"epochs": 0, "pictures": 0, **settings}
    overrides = small_data.overrides(init_from=str(parent), **settings)
    return app.main(["train", "--task=classification", f"--workdir={workdir}", *data, *overrides])


def scores(workdir) -> dict:
    return json.loads((workdir / "metrics.json").read_text())


def weights(workdir) -> list[np.ndarray]:
    return [np.array(weight) for weight in open_run(str(workdir)).model.weights]


def test_it_begins_where_the_other_one_ended(classifier, tmp_path, capsys):
    workdir = tmp_path / "w"
    assert classify(workdir, classifier) == 0
    count = len(weights(classifier))
    assert f"from {classifier}: all {count} weights\n" in capsys.readouterr().out
    before, now = scores(classifier), scores(workdir)
    assert before["accuracy"] == now["accuracy"] == 1.0
    assert before["loss"] == pytest.approx(now["loss"], rel=1e-6) and before["loss"] < 0.1
    for old, new in zip(weights(classifier), weights(workdir), strict=True):
        np.testing.assert_array_equal(new, old)
    assert (workdir / "vocabulary.txt").read_text() == (classifier / "vocabulary.txt").read_text()
    # The optimizer and the best score are those of a new run.
    folder = Workdir(workdir)
    state = folder.read("checkpoints", folder.index()["last"], "state.json")
    assert state["step"] == 0 and state["best"] is None and folder.index()["finished"]
    with np.load(folder.checkpoint("last") + "/training.npz") as values:
        assert values["optimizer/0"] == 0 and not values["optimizer/3"].any()


def test_old_labels_keep_their_weights_and_new_ones_get_some(classifier, tmp_path, capsys):
    """`bad` is gone, `fair` is new, and the words are those of the old run."""
    rows = [
        {**row, "label": {"bad": "fair"}.get(row["label"], "good")} for row in small_data.rows(40)
    ]
    rows[0]["text"] += " unheard"
    train = small_data.write_tsv(tmp_path / "new.tsv", rows)
    assert classify(tmp_path / "w", classifier, train) == 0
    out = capsys.readouterr().out
    assert " weights; new rows for labels fair; left out: labels bad\n" in out
    old, new = (open_run(str(workdir)) for workdir in (classifier, tmp_path / "w"))
    assert (old.task.labels, new.task.labels) == (["bad", "good"], ["fair", "good"])
    assert "unheard" not in new.task.features.tokenizer.tokens_list
    layers = [run.model.logits for run in (old, new)]
    kernels, biases = ([np.array(getattr(x, name)) for x in layers] for name in ("kernel", "bias"))
    np.testing.assert_array_equal(kernels[1][:, 1], kernels[0][:, 1])
    assert not np.isclose(kernels[1][:, 0], kernels[0][:, 0]).any()
    assert biases[1][1] == biases[0][1] != 0 and biases[1][0] == 0


def test_tags_keep_their_transitions_by_name(tagger, tmp_path, capsys):
    """Cities become rivers, so that LOC leaves and RIV stands in another place among the tags."""
    text = small_tags.conll(small_tags.sentences(60)).replace("B-LOC", "B-RIV")
    text = text.replace("B-RIV", "B-LOC", 1).replace("I-PER", "B-ORG", 1)
    folder = tmp_path / "new"
    folder.mkdir()
    settings = {"init_from": str(tagger), "epochs": 0}
    workdir = small_tags.train_small(folder, text, text, **settings)
    assert "new rows for labels B-ORG, I-ORG, B-RIV, I-RIV\n" in capsys.readouterr().out
    old, new = (open_run(str(workdir)) for workdir in (tagger, workdir))
    tags = old.task.model_tags
    assert tags == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert new.task.model_tags == [*tags[:3], "B-ORG", "I-ORG", *tags[3:], "B-RIV", "I-RIV"]
    place = [new.task.model_tags.index(tag) for tag in tags]
    before, now = (run.model.output_layer for run in (old, new))
    transitions = np.array(now.transitions)
    np.testing.assert_array_equal(transitions[np.ix_(place, place)], np.array(before.transitions))
    np.testing.assert_array_equal(np.array(now.kernel)[:, place], np.array(before.kernel))
    for name in ("bias", "start", "end"):
        weight = np.array(getattr(now, name))
        np.testing.assert_array_equal(weight[place], np.array(getattr(before, name)))
        assert not np.delete(weight, place).any()


def test_a_tagger_of_the_same_tags_scores_the_same(tagger, tmp_path, capsys):
    text = (tagger.parent / "train.conll").read_text(), (tagger.parent / "dev.conll").read_text()
    workdir = small_tags.train_small(tmp_path, *text, init_from=str(tagger), epochs=0)
    before, now = scores(tagger), scores(workdir)
    assert before["loss"] == pytest.approx(now["loss"], rel=1e-6)
    assert before["by_label"] == now["by_label"] and before["f1"] == now["f1"] > 0.5


def test_a_classifier_takes_a_taggers_encoder(tagger, tmp_path, capsys):
    """What only the tagger reads of a word has no rows in the classifier's kernels; all others are the same."""
    train = small_data.write_tsv(
        tmp_path / "t.tsv", [{"text": f"{n} w1", "label": n} for n in small_tags.NAMES]
    )
    settings = {"characters": True, "character_units": 4, "word_length": 6, "lower": True}
    assert classify(tmp_path / "w", tagger, train, **settings) == 0
    out = capsys.readouterr().out
    count = f"12 of {len(weights(tmp_path / 'w'))} weights"
    assert f"from {tagger}: the encoder of its tagging, {count}; " in out
    assert "left out: what it reads of a word's attributes\n" in out
    old, new = (open_run(str(workdir)) for workdir in (tagger, tmp_path / "w"))
    assert new.task.features.tokenizer.tokens_list == old.task.features.words.tokens_list
    assert new.task.features.alphabet.tokens_list == old.task.features.alphabet.tokens_list
    before, now = (run.model.encoder for run in (old, new))
    for name in ("embedding", "characters"):
        pairs = zip(before.parts[name].weights, now.parts[name].weights, strict=True)
        assert all(np.array_equal(*map(np.array, pair)) for pair in pairs)
    width = 8 + 3 * 4
    assert now.width == width < before.width
    kernels = 0
    for one, other in zip(before.stack.weights, now.stack.weights, strict=True):
        rows = width if one.path.endswith("/kernel") else None
        np.testing.assert_array_equal(np.array(other), np.array(one)[:rows])
        kernels += rows is not None
    assert kernels == 2


def test_without_characters_of_its_own_a_classifier_leaves_them_out(tagger, tmp_path, capsys):
    train = small_data.write_tsv(
        tmp_path / "t.tsv", [{"text": f"{n} w1", "label": n} for n in small_tags.NAMES]
    )
    assert classify(tmp_path / "w", tagger, train, lower=True) == 0
    out = capsys.readouterr().out
    assert "left out: what it reads of a word's characters, attributes\n" in out
    old, new = (open_run(str(workdir)).model.encoder for workdir in (tagger, tmp_path / "w"))
    kernels = [np.array(encoder.stack.weights[0]) for encoder in (old, new)]
    np.testing.assert_array_equal(kernels[1], kernels[0][:8])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"units": 9},
            "trained with units=8 (here 9); to begin with its weights add --config.units=8\n",
        ),
        (
            {"cell": "gru", "lower": True, "skip": False},
            "cell=lstm (here gru), lower=false (here true), skip=true (here false); "
            "to begin with its weights add --config.cell=lstm --config.lower=false --config.skip=true\n",
        ),
    ],
)
def test_what_must_agree_is_named(classifier, settings, expected, tmp_path, capsys):
    assert classify(tmp_path / "w", classifier, **settings) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"keras-rnn: --config.init_from={classifier}: it was ")
    assert error.endswith(expected) and error.count("\n") == 1
    assert not (tmp_path / "w").exists()


def damaged(parent, folder, what) -> None:
    shutil.copytree(parent, folder)
    if what == "weights":
        path = f"{Workdir(folder).checkpoint('best')}/model.weights.h5"
        with open(path, "r+b") as file:
            file.truncate(1000)
    elif what == "no weights":
        shutil.rmtree(folder / "checkpoints")
    elif what == "vocabulary":
        (folder / "vocabulary.txt").write_text("[PAD]\n")
    elif what == "labels":
        (folder / "vocabulary.labels.json").write_text("{}")
    elif what == "cell":
        config = (folder / "config.json").read_text()
        (folder / "config.json").write_text(config.replace('"lstm"', '"MyCell"'))
    elif what == "import":
        config = (folder / "config.json").read_text()
        config = config.replace('"lstm"', '"MyCell"').replace(
            '"import": ""', '"import": "no_cells"'
        )
        (folder / "config.json").write_text(config)
    else:
        (folder / "config.json").unlink()


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("no run", "there is no config.json"),
        ("weights", "model.weights.h5: cannot be read into this model"),
        ("no weights", "has no checkpoint yet"),
        ("vocabulary", "vocabulary"),
        (
            "labels",
            "vocabulary.labels.json: 'labels' is missing or no list[str]; the workdir is damaged",
        ),
        ("cell", "--config.cell=MyCell: it must be one of"),
        ("import", "--import=no_cells: there is no such module"),
    ],
)
def test_a_run_that_cannot_be_read_is_one_line(classifier, what, expected, tmp_path, capsys):
    parent = tmp_path / "damaged"
    damaged(classifier, parent, what)
    for name in ("train.tsv", "dev.tsv"):
        shutil.copy(classifier.parent / name, tmp_path / name)
    assert classify(tmp_path / "w", parent) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"keras-rnn: --config.init_from={parent}: ") and expected in error
    assert error.count("\n") == 1 and not (tmp_path / "w").exists()


def test_going_on_reads_nothing_of_the_other_run(classifier, tmp_path, capsys):
    """Interrupted after its first step, with the other run gone: as the undisturbed training, bit for bit."""
    parent = tmp_path / "parent"
    shutil.copytree(classifier, parent)
    for name in ("train.tsv", "dev.tsv"):
        shutil.copy(classifier.parent / name, tmp_path / name)
    assert classify(tmp_path / "once", parent, epochs=2) == 0
    assert classify(tmp_path / "parts", parent, epochs=0) == 0
    shutil.rmtree(parent)
    capsys.readouterr()
    assert classify(tmp_path / "parts", parent, epochs=2) == 0
    out = capsys.readouterr().out
    assert "going on after epoch 0, step 0\n" in out and "weights" not in out
    for one, other in zip(weights(tmp_path / "once"), weights(tmp_path / "parts"), strict=True):
        np.testing.assert_array_equal(other, one)
    moved = zip(weights(classifier), weights(tmp_path / "once"), strict=True)
    assert all((old != new).any() for old, new in moved)


def test_a_translator_and_the_encoder_of_a_translator(tmp_path, capsys):
    folder, shared = tmp_path / "a", {"units": 8, "embedding_dim": 6, "max_shapes": 1}
    folder.mkdir()
    small = {**shared, "batch_size": 16, "attention_units": 4, "vocabulary_size": 60}
    small |= {"tokenizer": "words", "average": 0.0, "jit_compile": False, "pictures": 0}
    pairs = folder / "pairs.tsv"
    pairs.write_text("".join(f"eins w{n % 7}\tone w{n % 7}\n" for n in range(40)))
    data = [f"--train_data={pairs}", f"--dev_data={pairs}"]

    def translate(workdir, **settings) -> int:
        flags = [f"--config.{name}={value}" for name, value in {**small, **settings}.items()]
        return app.main(["train", "--task=translation", f"--workdir={workdir}", *data, *flags])

    assert translate(folder / "w", epochs=2) == 0
    capsys.readouterr()
    assert translate(tmp_path / "same", epochs=0, init_from=folder / "w") == 0
    assert f"w: all {len(weights(folder / 'w'))} weights\n" in capsys.readouterr().out
    assert scores(tmp_path / "same")["loss"] == pytest.approx(
        scores(folder / "w")["loss"], rel=1e-6
    )
    assert translate(tmp_path / "v", epochs=0, init_from=folder / "w", tie="target") == 1
    assert "tie=all (here target)" in capsys.readouterr().err
    rows = [{"text": f"eins w{n}", "label": str(n % 2)} for n in range(7)]
    train = small_data.write_tsv(tmp_path / "t.tsv", rows)
    assert classify(tmp_path / "c", folder / "w", train, **shared, cell="gru") == 0
    count = f"7 of {len(weights(tmp_path / 'c'))} weights"
    assert f"the encoder of its translation, {count}\n" in capsys.readouterr().out
    old, new = (open_run(str(run)) for run in (folder / "w", tmp_path / "c"))
    assert new.task.features.tokenizer.tokens_list == old.task.features.source.tokens_list
    pairs = zip(old.model.encoder.weights, new.model.encoder.weights, strict=True)
    assert all(np.array_equal(*map(np.array, pair)) for pair in pairs)
