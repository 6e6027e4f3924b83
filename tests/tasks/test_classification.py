"""The classification task: what its settings do, each trained through the command in a second or two."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
import pipelines
from keras_rnn import app, configs
from keras_rnn.run import open_run
from keras_rnn.tasks import make_task
from keras_rnn.tasks.task import known_cell
from tests import small_data


def metrics_of(workdir):
    return json.loads((workdir / "metrics.json").read_text())


def predictions(capsys, workdir, texts):
    path = workdir.parent / "ask.txt"
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    capsys.readouterr()
    assert app.main(["predict", f"--workdir={workdir}", f"--input={path}"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


CHOICES = {
    "gru, two layers, max": {"cell": "gru", "layers": 2, "pooling": "max", "skip": False},
    "forwards only, last": {"bidirectional": False, "pooling": "last"},
    "self_attention with penalty": {"pooling": "self_attention", "attention_penalty": 0.1},
    "mean of a layer-norm LSTM, recurrent dropout": {
        "pooling": "mean",
        "cell": "layer_norm_lstm",
        "recurrent_dropout": 0.1,
    },
    "words with characters": {"characters": True, "character_units": 4, "word_length": 6},
    "hierarchical": {"hierarchical": True, "sentence_length": 4},
    "hierarchical with vectors": {"hierarchical": True, "vectors": "VECTORS"},
    "characters": {"tokenizer": "characters", "learning_rate": 0.03, "epochs": 6},
    "label smoothing, word dropout, averages, cosine": {
        "label_smoothing": 0.1,
        "word_dropout": 0.1,
        "average": 0.8,
        "schedule": "cosine",
        "warmup_steps": 5,
        "optimizer": "adamw",
        "weight_decay": 0.01,
    },
}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_learns_predicts_and_exports(choice, tmp_path, capsys):
    settings = {"epochs": 4, **CHOICES[choice]}
    if "vectors" in settings:
        settings["vectors"] = tmp_path / "vectors.txt"
        settings["vectors"].write_text("fine 1.0 0.0\npoor -1.0 0.0\nw1 0.0 0.5\n")
    workdir = small_data.train_small(tmp_path, **settings)
    assert metrics_of(workdir)["accuracy"] >= 0.8
    answers = predictions(capsys, workdir, ["w1 fine w2", "w4 poor", ""])
    assert [answer["label"] for answer in answers[:2]] == ["good", "bad"]
    run = open_run(str(workdir))
    server = run.task.server(run.model)
    (explained,) = server.explain([pipelines.Record({"text": "w1 fine w2"})])
    assert explained["probability"] == pytest.approx(answers[0]["probability"], rel=1e-4)
    assert len(explained["tokens"]) == len(explained["attention"])
    assert sum(explained["attention"]) == pytest.approx(1, abs=1e-5)
    assert "".join(explained["tokens"]).replace(" ", "") == "w1finew2"


@pytest.mark.parametrize("tokenizer", ["wordpiece", "sentencepiece"])
def test_tokenizers_of_tensorflow_text(tokenizer, tmp_path, capsys):
    workdir = small_data.train_small(
        tmp_path, tokenizer=tokenizer, vocabulary_size=60, epochs=4, word_dropout=0.0
    )
    answers = predictions(capsys, workdir, ["w1 fine w2", "w4 poor"])
    assert [answer["label"] for answer in answers] == ["good", "bad"]
    target = tmp_path / "export"
    assert app.main(["export", f"--workdir={workdir}", f"--output={target}"]) == 0
    given = tf.saved_model.load(str(target)).signatures["serving_default"](
        text=tf.constant(["w1 fine w2", "w4 poor"])
    )
    assert given["label"].numpy().tolist() == [b"good", b"bad"]
    np.testing.assert_allclose(
        given["probability"].numpy(), [a["probability"] for a in answers], rtol=1e-5
    )


def multilabel_rows(number, seed=0):
    """The words a, b, c each bring their label; some rows have none."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(number):
        labels = [name for name in "abc" if rng.random() < 0.4]
        words = [f"w{n}" for n in rng.integers(9, size=3)] + labels
        rows.append({"text": " ".join(rng.permutation(words)), "labels": labels})
    return rows


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_several_labels(weights, tmp_path, capsys):
    train_file = small_data.write_jsonl(tmp_path / "train.jsonl", multilabel_rows(300))
    lines = ["text,labels"] + [
        f"{row['text']},{'|'.join(row['labels'])}" for row in multilabel_rows(60, seed=1)
    ]
    (tmp_path / "dev.csv").write_text("\n".join(lines) + "\n")
    workdir = small_data.train_small(
        tmp_path,
        train_file,
        str(tmp_path / "dev.csv"),
        data__label="labels",
        data__multilabel_separator="|",
        class_weights=weights,
        epochs=8,
    )
    metrics = metrics_of(workdir)
    assert metrics["f1_micro"] > 0.95 and metrics["accuracy"] > 0.9
    assert set(metrics["by_label"]) == {"a", "b", "c"}
    answers = predictions(capsys, workdir, ["w1 a c", "w2 w3", "b"])
    assert [answer["label"] for answer in answers] == [["a", "c"], [], ["b"]]
    for answer in answers:
        given = [
            p if name in answer["label"] else 1 - p for name, p in answer["probabilities"].items()
        ]
        assert answer["probability"] == pytest.approx(np.prod(given), rel=1e-5)
    # In a table the labels are joined as the input joined them; JSON keeps a list.
    arguments = ["predict", f"--workdir={workdir}", "--output_format=same"]
    assert app.main([*arguments, f"--input={tmp_path / 'dev.csv'}"]) == 0
    assert "|" in capsys.readouterr().out
    target = tmp_path / "export"
    assert app.main(["export", f"--workdir={workdir}", f"--output={target}"]) == 0
    given = tf.saved_model.load(str(target)).signatures["serving_default"](
        text=tf.constant(["w1 a c", "w2 w3", "b"])
    )
    assert given["label"].numpy().tolist() == [b"a|c", b"", b"b"]


def task_of(records, tmp_path, **settings):
    keys = configs.task_keys("classification")
    config = keys.config()
    flat = {**configs.flatten(config), **settings}
    config = keys.read(flat)
    task = make_task("classification", config)
    path = small_data.write_jsonl(tmp_path / "records.jsonl", records)
    task.fit(lambda: task.read(path))
    return task, path


def test_labels_may_be_numbers_or_booleans(tmp_path):
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}, {"text": "c", "label": True}]
    task, path = task_of(rows, tmp_path)
    assert task.labels == ["0", "1", "true"]
    assert [int(example["label"]) for example in task.encode(task.read(path))] == [1, 0, 2]


def test_balanced_weights(tmp_path):
    rows = [{"text": "w", "label": label} for label in "aaaaaabbbc"]
    task, path = task_of(rows, tmp_path, class_weights="balanced")
    np.testing.assert_allclose(task._label_weights, [10 / 18, 10 / 9, 10 / 3], rtol=1e-6)
    assert task.metric == "f1_macro"
    plain, _ = task_of(rows, tmp_path)
    assert plain.metric == "accuracy" and plain._label_weights.tolist() == [1, 1, 1]
    # The loss of a batch is the weighted mean.
    batch = {
        "ids": tf.constant([[5], [5]]),
        "label": tf.constant([0, 2]),
        "real": tf.constant([True, True]),
        "index": tf.constant([0, 1]),
    }
    model = lambda batch, training: tf.constant([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])  # noqa: E731
    losses, weights, _ = task.loss(model, batch, training=True)
    log_sum = np.log(np.e + 2)
    np.testing.assert_allclose(losses, [log_sum - 1, log_sum], rtol=1e-6)
    np.testing.assert_allclose(weights, [10 / 18, 10 / 3], rtol=1e-6)


def test_columns_may_be_joined_and_named(tmp_path):
    rows = [{"title": "a", "body": "b c", "kind": "x"}, {"title": "d", "body": "e", "kind": "y"}]
    task, path = task_of(rows, tmp_path, **{"data.text": "title,body", "data.label": "kind"})
    assert [record["text"] for record in task.read(path)] == ["a b c", "d e"]
    assert task.labels == ["x", "y"]


def test_save_and_load(tmp_path):
    rows = [{"text": "Größe \\ n", "label": "a\nb"}, {"text": "x", "label": "漢"}]
    task, path = task_of(rows, tmp_path, characters=True)
    task.save(str(tmp_path))
    again = make_task("classification", task.config)
    again.load(str(tmp_path))
    assert again.labels == task.labels and again.label_counts == task.label_counts
    for ours, theirs in zip(
        task.encode(task.read(path)), again.encode(again.read(path)), strict=True
    ):
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_vectors_also_for_words_that_training_never_saw(tmp_path):
    rows = [{"text": " ".join(f"w{n}" for n in range(20)), "label": label} for label in "ab"]
    rng = np.random.default_rng(0)
    vectors = {f"w{n}": rng.normal(size=6) for n in (3, 30, 5, 40, 7)}
    lines = [word + " " + " ".join(f"{x:.6f}" for x in values) for word, values in vectors.items()]
    (tmp_path / "vectors.txt").write_text("\n".join(lines) + "\n")
    settings = {
        "vectors": str(tmp_path / "vectors.txt"),
        "vectors_size": 2,
        "vectors_trainable": False,
    }
    task, _ = task_of(rows, tmp_path, **settings)
    model = task.build_model()
    note = task.initialize(model)
    # The file's first two words, and of the others those that the data has.
    assert task.features.vectors.tokens_list[4:] == ["w3", "w30", "w5", "w7"]
    assert note.startswith("4 vectors of size 6") and note.endswith("know 15% of the vocabulary")
    table = model.encoder.vectors.embeddings.numpy()
    features = task.features.pad(task.features.encode(tf.constant(["w30 W5 w40 w2"])))
    looked_up = table[features["vector_ids"][0]]
    np.testing.assert_allclose(looked_up[0], vectors["w30"], atol=1e-6)
    np.testing.assert_allclose(looked_up[1], vectors["w5"], atol=1e-6)
    assert not looked_up[2:].any()
    assert all("vectors" not in weight.path for weight in model.trainable_variables)
    task.save(str(tmp_path))
    again = make_task("classification", task.config)
    again.load(str(tmp_path))
    np.testing.assert_array_equal(
        again.features.pad(again.features.encode(tf.constant(["w30 W5 w40 w2"])))["vector_ids"],
        features["vector_ids"],
    )


def test_combinations_that_make_no_sense_are_refused(tmp_path):
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    with pytest.raises(pipelines.InputError, match="goes with --config.tokenizer=words"):
        task_of(rows, tmp_path, characters=True, tokenizer="characters")
    with pytest.raises(pipelines.InputError, match="do not go together"):
        task_of(rows, tmp_path, characters=True, hierarchical=True)


def test_models_survive_keras_saving(tmp_path):
    rows = [{"text": "a b . c", "label": "x"}, {"text": "b ! a", "label": "y"}]
    for settings in ({"characters": True, "layers": 2}, {"hierarchical": True}):
        task, _ = task_of(rows, tmp_path, units=3, embedding_dim=4, attention_units=2, **settings)
        model = task.build_model()
        features = task.features.pad(task.features.encode(tf.constant(["a b . c", "b"])))
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(again(features), model(features), rtol=1e-6)


def test_two_cells_of_one_name_are_told_apart_by_their_packages(forgets_registered_classes):
    for package in ("aa", "bb"):

        @keras.saving.register_keras_serializable(package=package)
        class Twin(keras_rnn.SimpleRNNCell):
            pass

    with pytest.raises(pipelines.InputError, match="several.*; give one of aa>Twin, bb>Twin"):
        known_cell("Twin")
    known_cell("aa>Twin")
    with pytest.raises(pipelines.InputError, match="--config.cell=Twim: .*did you mean Twin"):
        known_cell("Twim")
