"""Which examples a dev set takes."""

import numpy as np

from keras_rnn.examples import split


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
