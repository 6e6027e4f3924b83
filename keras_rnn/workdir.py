"""The folder of a run: which file lies where, and what was done there so far."""

import contextlib
import fcntl
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pipelines
from keras_rnn import configs

CONFIG = "config.json"

# Tells a run's folder from others until there is a config.json.
MARK = ".keras_rnn"

# A checkpoint's name.
_CHECKPOINT = re.compile(r"step-\d{8,}(-\d+)?")


class Workdir:
    """A run's folder.

        .keras_rnn      tells that it is one
        config.json     task, data files, config, versions
        vocabulary*     what was learnt from the training data before training
        examples/       the encoded examples, and a few dev records as they were read
        checkpoints/    one folder a checkpoint; index.json names the last and the best
        tensorboard/    event files, one folder each for train and dev
        metrics.json    the evaluate object for dev, and facts of the training
        data/           built-in data

    Each file is written under a new name and renamed when it is whole.

    Arguments:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str):
        self.path = os.path.abspath(os.path.expanduser(path))
        self.checkpoints = os.path.join(self.path, "checkpoints")
        self.examples = os.path.join(self.path, "examples")
        self.tensorboard = os.path.join(self.path, "tensorboard")
        self.data = os.path.join(self.path, "data")

    def file(self, *names: str) -> str:
        return os.path.join(self.path, *names)

    def exists(self) -> bool:
        """Whether a run began here."""
        return os.path.exists(self.file(CONFIG))

    def make(self, with_data: bool = False) -> None:
        """Makes the folder.

        Arguments:
            with_data: whether built-in data will be written into it.

        Raises:
            InputError: it cannot be made, or it is none of a run and holds what a run would write over.
        """
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise pipelines.InputError("is a file; --workdir names a folder", self.path)
        try:
            os.makedirs(self.path, exist_ok=True)
        except OSError as error:
            raise pipelines.InputError(f"cannot be made: {error.strerror}", self.path) from None
        if self.exists() or os.path.exists(self.file(MARK)):
            return
        written = [self.checkpoints, self.examples, self.tensorboard]
        for folder in [*written, self.data] if with_data else written:
            if os.path.lexists(folder):
                raise pipelines.InputError(
                    f"is no folder of a run, and has {os.path.basename(folder)}, which a run would write over; "
                    "use another --workdir",
                    self.path,
                )
        with pipelines.atomic_write(self.file(MARK)) as file:
            file.write(
                "A run of keras_rnn: its files are written, and removed, by keras-rnn train.\n"
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Within the context no other process trains here; a killed one leaves no lock behind.

        Raises:
            InputError: where one does.
        """
        folder = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise pipelines.InputError(
                    "another training is at work here; wait for its end or use another --workdir",
                    self.path,
                ) from None
            except OSError:  # a file system that knows no locks
                pass
            yield
        finally:
            os.close(folder)

    def require(self) -> None:
        if not self.exists():
            what = "has no config.json" if os.path.isdir(self.path) else "does not exist"
            raise pipelines.InputError(f"{what}; --workdir names the folder of a train", self.path)

    def read(self, *names: str, default: Any = None) -> Any:
        """The object in a JSON file of the run; `default` where it is missing."""
        path = self.file(*names)
        try:
            with open(path, encoding="utf-8") as file:
                value = json.load(file)
        except FileNotFoundError:
            return default
        except RecursionError:
            raise pipelines.InputError("is not JSON (nested too deep)", path) from None
        except ValueError as error:
            raise pipelines.InputError(f"is not JSON ({error})", path) from None
        if not isinstance(value, dict):
            raise pipelines.InputError("is damaged: it must hold one JSON object", path)
        return value

    def facts(self) -> dict[str, Any]:
        """What config.json holds: `task`, `train_data`, `dev_data`, `import` and `config`, of their types."""
        facts = {"train_data": "", "dev_data": "", "import": "", **self.read(CONFIG)}
        for name in ("task", "train_data", "dev_data", "import"):
            if not isinstance(facts.get(name), str):
                message = f"is damaged: {name!r} is missing or no string"
                raise pipelines.InputError(message, self.file(CONFIG))
        if facts["task"] not in configs.TASKS:
            tasks = ", ".join(configs.TASKS)
            message = f"is damaged: 'task' is {facts['task']!r}, it must be one of {tasks}"
            raise pipelines.InputError(message, self.file(CONFIG))
        if not isinstance(facts.get("config"), dict):
            message = "is damaged: 'config' is missing or no object"
            raise pipelines.InputError(message, self.file(CONFIG))
        return facts

    def write(self, value: Any, *names: str) -> None:
        path = self.file(*names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with pipelines.atomic_write(path) as file:
            json.dump(value, file, ensure_ascii=False, indent=1)
            file.write("\n")

    # Checkpoints

    def index(self) -> dict[str, Any]:
        """`last` and `best`, names of checkpoints, and `finished`, why the run ended, if it did."""
        index = self.read("checkpoints", "index.json", default={})
        path = self.file("checkpoints", "index.json")
        for which in ("last", "best"):
            name = index.get(which)
            if index and not (isinstance(name, str) and os.path.basename(name) == name != ""):
                raise pipelines.InputError(f"is damaged: {which!r} names no checkpoint", path)
        return index

    def write_index(self, index: dict[str, Any]) -> None:
        """Writes the index, then removes the checkpoints that it does not name."""
        self.write(index, "checkpoints", "index.json")
        kept = {index.get("last"), index.get("best")}
        for name in filter(_CHECKPOINT.fullmatch, os.listdir(self.checkpoints)):
            if name not in kept:
                shutil.rmtree(os.path.join(self.checkpoints, name), ignore_errors=True)

    def new_checkpoint(self, step: int) -> str:
        """A folder for a checkpoint of a step, where none is: one that is there may be the last good one."""
        name = folder = os.path.join(self.checkpoints, f"step-{step:08d}")
        for number in itertools.count(2):
            if not os.path.lexists(folder):
                return folder
            folder = f"{name}-{number}"

    def checkpoint(self, which: str) -> str:
        """The folder of the `last` or the `best` checkpoint; "" if there is none."""
        name = self.index().get(which, "")
        if not name:
            return ""
        folder = os.path.join(self.checkpoints, name)
        if not os.path.isdir(folder):
            path = self.file("checkpoints", "index.json")
            raise pipelines.InputError(f"names the checkpoint {name}, which is not there", path)
        return folder
