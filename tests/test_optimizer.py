"""The learning rate by step."""

import keras
import numpy as np
import pytest

from keras_rnn.optimizer import Schedule


@pytest.mark.parametrize(
    "kind, warmup, expected",
    [
        ("constant", 0, [1.0, 1.0, 1.0]),
        ("constant", 4, [0.25, 1.0, 1.0]),
        ("linear", 0, [1.0, 0.5, 0.0]),
        ("linear", 20, [0.05, 0.625, 0.0]),
        ("cosine", 0, [1.0, 0.5, 0.0]),
        ("cosine", 20, [0.05, (1 + np.cos(0.375 * np.pi)) / 2, 0.0]),
        ("inverse_sqrt", 4, [0.25, (4 / 51) ** 0.5, (4 / 101) ** 0.5]),
    ],
)
def test_schedules(kind, warmup, expected):
    schedule = Schedule(kind, 2.0, warmup, 100)
    got = [float(schedule(step)) / 2 for step in (0, 50, 100)]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert float(again(50)) == float(schedule(50))
