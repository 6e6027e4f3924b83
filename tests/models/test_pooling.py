"""Pooling against the definitions in NumPy, under masks."""

import numpy as np
import pytest

from keras_rnn.models.pooling import KINDS, Pooling

RNG = np.random.default_rng(0)
H = RNG.normal(size=(4, 5, 6)).astype("float32")
# Right padding, a hole, left padding, nothing at all.
MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], bool)


def pooled(kind, mask=MASK, **options):
    vector, weights = Pooling(kind, units=3, rows=2, **options)(H, mask=mask, return_weights=True)
    return vector.numpy(), weights.numpy()


def test_max():
    vector, weights = pooled("max")
    for row in range(3):
        np.testing.assert_allclose(vector[row], H[row][MASK[row]].max(0))
        first = np.where(MASK[row][:, None], H[row], -np.inf).argmax(0)
        np.testing.assert_allclose(weights[row], np.bincount(first, minlength=5) / 6, rtol=1e-6)
    assert not vector[3].any() and not weights[3].any()


def test_mean():
    vector, weights = pooled("mean")
    for row in range(3):
        np.testing.assert_allclose(vector[row], H[row][MASK[row]].mean(0), rtol=1e-5)
        np.testing.assert_allclose(weights[row], MASK[row] / MASK[row].sum(), rtol=1e-6)
    assert not vector[3].any() and not weights[3].any()


def test_last():
    vector, weights = pooled("last", bidirectional=False)
    for row, last in enumerate([2, 3, 4]):
        np.testing.assert_array_equal(vector[row], H[row, last])
        assert weights[row].argmax() == last and weights[row].sum() == 1
    both, weights = pooled("last", bidirectional=True)
    for row, (first, last) in enumerate([(0, 2), (0, 3), (2, 4)]):
        np.testing.assert_array_equal(both[row, :3], H[row, last, :3])
        np.testing.assert_array_equal(both[row, 3:], H[row, first, 3:])
        assert weights[row, first] == weights[row, last] == 0.5
    assert not both[3].any() and not weights[3].any()


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing_and_weights_sum_to_one(kind):
    layer = Pooling(kind, units=3, rows=2)
    vector, weights = layer(H, mask=MASK, return_weights=True)
    wider = np.concatenate([H, np.full((4, 3, 6), 7.0, "float32")], 1)
    wider_mask = np.concatenate([MASK, np.zeros((4, 3), bool)], 1)
    again, wider_weights = layer(wider, mask=wider_mask, return_weights=True)
    np.testing.assert_allclose(vector, again, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights, wider_weights[:, :5], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights.numpy()[:3].sum(1), [1, 1, 1], rtol=1e-5)
    assert not np.asarray(weights)[~MASK].any()


def test_unknown_kind():
    with pytest.raises(ValueError, match="must be one of attention"):
        Pooling("median")
