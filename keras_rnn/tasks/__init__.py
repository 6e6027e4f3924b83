"""Tasks: what differs between one job and the next; train, evaluate, predict, export are the same for all."""

import importlib

import ml_collections

from keras_rnn.tasks.task import Server, Task


def make_task(name: str, config: ml_collections.ConfigDict) -> Task:
    """The task of that name: the class that `TASK` names in keras_rnn/tasks/NAME.py."""
    return importlib.import_module(f"keras_rnn.tasks.{name}").TASK(config)


__all__ = ["Server", "Task", "make_task"]
