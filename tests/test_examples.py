"""Which examples a dev set takes."""

import os

import numpy as np
import pytest

from keras_rnn import configs
from keras_rnn.examples import prepare_data, split
from keras_rnn.tasks import make_task
from keras_rnn.workdir import Workdir
from tests import small_data


def test_split_takes_a_tenth_of_each_stratum_by_a_seed():
    strata = ["a"] * 100 + ["b"] * 50 + ["c"] * 10 + ["d"]
    chosen = split(strata, seed=3)
    counts = {s: int(chosen[np.array(strata) == s].sum()) for s in "abcd"}
    assert counts == {"a": 10, "b": 5, "c": 1, "d": 0}
    np.testing.assert_array_equal(chosen, split(strata, seed=3))
    assert (chosen != split(strata, seed=4)).any()
    # Many small strata share the tenth.
    many = split([str(n // 3) for n in range(300)], seed=0)
    assert many.sum() == 30
    assert split(["a", "b", "b"], seed=0).tolist() in ([0, 1, 0], [0, 0, 1])
    # The only example of a label stays in training.
    assert split(["a", "b"], seed=0).sum() == split(["a"], seed=0).sum() == 0


@pytest.mark.parametrize(
    ("touched", "own_dev", "changed", "new_dev"),
    [
        ("train.tsv", True, True, False),
        ("dev.tsv", True, True, True),
        ("train.tsv", False, True, True),
        ("", True, False, False),
    ],
)
def test_what_changed_since_the_last_time(touched, own_dev, changed, new_dev, tmp_path):
    files = {
        name: small_data.write_tsv(tmp_path / name, small_data.rows(20))
        for name in ("train.tsv", "dev.tsv")
    }
    folder = Workdir(tmp_path / "run")
    folder.make()
    task = make_task("classification", configs.task_keys("classification").config())
    given = files["train.tsv"], files["dev.tsv"] if own_dev else "", 0
    prepare_data(task, folder, *given)
    folder.write({}, "config.json")
    if touched:
        os.utime(files[touched], (1, 1))
    data = prepare_data(task, folder, *given)
    assert (data.changed, data.new_dev) == (changed, new_dev)
