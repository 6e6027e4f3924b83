"""Config keys: defaults, nesting, checks, and what a workdir's config.json may hold."""

import pytest

from keras_rnn import configs


def test_every_default_passes_its_own_check():
    for task in configs.TASKS:
        keys = configs.task_keys(task)
        config = keys.config()
        configs.check(config, keys)
        assert configs.flatten(config) == {key.name: key.default for key in keys.values()}
        assert all(key.meaning for key in keys.values())


def test_keys_that_scripts_use_are_there():
    names = configs.task_keys("classification")
    for name in (
        "cell units layers bidirectional embedding_dim vectors tokenizer vocabulary_size dropout "
        "batch_size epochs max_steps learning_rate seed jit_compile precision data.text data.label "
        "data.delimiter data.multilabel_separator class_weights"
    ).split():
        assert name in names


def test_config_reads_back_and_refuses_what_it_does_not_know():
    keys = configs.task_keys("classification")
    config = keys.read({"units": 3, "data.text": "words", "learning_rate": 1})
    assert (config.units, config.data.text, config.learning_rate) == (3, "words", 1.0)
    assert config.layers == keys["layers"].default
    with pytest.raises(ValueError, match="no config key unitz; did you mean units"):
        keys.read({"unitz": 3})
    with pytest.raises(ValueError, match="units is '3', it must be of type int"):
        keys.read({"units": "3"})


def test_changed_keys_are_named():
    old, new = {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 4, "d": 5}
    assert configs.changed_keys(old, new) == ["b", "c", "d"]


def test_unknown_task_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean classification"):
        configs.task_keys("classificaton")
