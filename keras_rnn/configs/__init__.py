"""What every task can be told, without TensorFlow, so that `--help` answers at once."""

from keras_rnn.configs.config import (
    TASKS,
    Key,
    Keys,
    changed_keys,
    check,
    flatten,
    nearest,
    task_keys,
)
from keras_rnn.configs.demos import DEMOS, Demo

__all__ = [
    "DEMOS",
    "TASKS",
    "Demo",
    "Key",
    "Keys",
    "changed_keys",
    "check",
    "flatten",
    "nearest",
    "task_keys",
]
