"""The optimizer of a run, and its learning rate by step."""

import math

import keras
import ml_collections
import tensorflow as tf

from keras_rnn.registration import register


@register
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate by step: a rise from 0 over the warm-up, then one of four courses.

        constant        peak
        linear          peak · (1 - p)
        cosine          peak · (1 + cos πp) / 2
        inverse_sqrt    peak · sqrt(w / step)

    with p the share of the steps after the warm-up that are done, and w = max(warmup_steps, 1).

    Arguments:
        kind: the course.
        peak: the highest rate.
        warmup_steps: steps of the rise.
        total_steps: steps of the whole training.
    """

    def __init__(self, kind: str, peak: float, warmup_steps: int, total_steps: int):
        self.kind = kind
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        warmup = float(self.warmup_steps)
        rise = tf.minimum((step + 1.0) / max(warmup, 1.0), 1.0)
        share = tf.clip_by_value((step - warmup) / max(self.total_steps - warmup, 1.0), 0.0, 1.0)
        course = {
            "constant": 1.0,
            "linear": 1.0 - share,
            "cosine": 0.5 * (1.0 + tf.cos(math.pi * share)),
            "inverse_sqrt": tf.sqrt(max(warmup, 1.0) / tf.maximum(step + 1.0, max(warmup, 1.0))),
        }[self.kind]
        return self.peak * rise * course

    def get_config(self):
        return {
            "kind": self.kind,
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


# Slices that a sum is made of, and from how many elements on.
_SLICES, _LARGE = 16, 1 << 16


def global_norm(gradients: list[tf.Tensor]) -> tf.Tensor:
    """The Euclidean norm of all elements of the gradients together, float32[].

    >>> float(global_norm([tf.constant([3.0, 0.0]), tf.constant([[4.0]])]))
    5.0
    """
    return tf.sqrt(tf.add_n([_sum_of_squares(tf.cast(g, tf.float32)) for g in gradients]))


def _sum_of_squares(tensor: tf.Tensor) -> tf.Tensor:
    flat = tf.reshape(tensor, [-1])
    size = flat.shape[0]
    if size < _LARGE:
        return tf.reduce_sum(flat * flat)
    # XLA sums on one core of a CPU; slices are added to each other on all of them.
    whole = size - size % _SLICES
    slices = tf.unstack(tf.reshape(flat[:whole], [_SLICES, -1]))
    rest = flat[whole:]
    return tf.reduce_sum(tf.add_n([s * s for s in slices])) + tf.reduce_sum(rest * rest)


def make_optimizer(
    config: ml_collections.ConfigDict, total_steps: int, model: keras.Model
) -> keras.optimizers.Optimizer:
    """Keras's optimizer with the schedule of the config; with loss scaling where float16 needs it."""
    shared = {
        "learning_rate": Schedule(
            config.schedule, config.learning_rate, config.warmup_steps, total_steps
        ),
        "weight_decay": config.weight_decay or None,
    }
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=0.9, nesterov=True, **shared)
    elif config.optimizer == "adamw":
        shared["weight_decay"] = config.weight_decay
        optimizer = keras.optimizers.AdamW(**shared)
    else:
        optimizer = keras.optimizers.Adam(**shared)
    # As `compile` does.
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer
