"""The loss of written tokens."""

import tensorflow as tf


def token_loss(
    logits: tf.Tensor, target: tf.Tensor, smoothing: float = 0.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """The cross entropy of each token, and whether it is the likeliest.

    Arguments:
        logits: float32 [batch, time, tokens].
        target: int32 [batch, time], the right tokens.
        smoothing: the share of the target that all tokens have together.

    Returns:
        float32 [batch, time] and bool [batch, time].

    >>> loss, likeliest = token_loss(tf.constant([[[2.0, 0.0], [0.0, 2.0]]]), tf.constant([[0, 0]]))
    >>> loss.numpy().astype(float).round(3).tolist(), likeliest.numpy().tolist()
    ([[0.127, 2.127]], [[True, False]])
    """
    token = tf.range(logits.shape[-1])
    right = tf.reduce_sum(tf.where(token == target[:, :, None], logits, 0.0), axis=2)
    losses = tf.reduce_logsumexp(logits, axis=2) - right
    if smoothing:
        losses += smoothing * (right - tf.reduce_mean(logits, axis=2))
    return losses, right >= tf.reduce_max(logits, axis=2)
