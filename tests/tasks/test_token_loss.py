"""The loss of written tokens, against NumPy."""

import numpy as np
import pytest

from keras_rnn.tasks.token_loss import token_loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_likeliest_are_those_of_numpy(smoothing):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=[3, 5, 7]).astype("float32")
    target = generator.integers(0, 7, [3, 5]).astype("int32")
    target[0] = logits[0].argmax(axis=1)
    losses, likeliest = token_loss(logits, target, smoothing)
    np.testing.assert_array_equal(likeliest, logits.argmax(axis=2) == target)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    wanted = (1 - smoothing) * np.eye(7)[target] + smoothing / 7
    np.testing.assert_allclose(losses, -(wanted * log_probabilities).sum(axis=2), rtol=1e-4)
