"""The examples of a run: read, split, encoded once into the workdir."""

import collections
import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

import pipelines
from keras_rnn import configs
from keras_rnn.tasks import Task
from keras_rnn.workdir import Workdir

DEV_SHARE = 0.1


@dataclasses.dataclass
class Data:
    """The encoded examples of a run.

    Attributes:
        train, dev: the examples.
        cut: what was cut on the way, and of how many examples.
        pictured: the records of dev that TensorBoard shows after each evaluation.
        changed: whether the examples are others than the last time.
        new_dev: whether those of dev are, so that earlier scores are no measure for later ones.
    """

    train: pipelines.ExampleStore
    dev: pipelines.ExampleStore
    cut: dict[str, int]
    pictured: list[pipelines.Record]
    changed: bool = False
    new_dev: bool = False


def split(strata: Iterable[str], seed: int, share: float = DEV_SHARE) -> np.ndarray:
    """Which of the examples a dev set takes: bool [examples], the same share of each stratum, by a seeded draw."""
    numbers: dict[str, int] = {}
    strata = np.fromiter((numbers.setdefault(name, len(numbers)) for name in strata), np.int32)
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(strata), bool)
    grouped = np.split(
        np.argsort(strata, kind="stable"), np.cumsum(np.bincount(strata, minlength=1))[:-1]
    )
    # What rounding takes from one stratum it gives to the next, so that many small strata get their share too.
    owed = 0.0
    for name in sorted(numbers):
        members = grouped[numbers[name]]
        owed += share * len(members)
        count = min(int(round(owed)), len(members) - 1)
        owed -= count
        chosen[rng.permutation(members)[:count]] = True
    if not chosen.any():
        # A tenth is less than one example; the only one of its stratum stays in training all the same.
        several = [members for members in grouped if len(members) > 1]
        if several:
            chosen[rng.choice(max(several, key=len))] = True
    return chosen


def prepare_data(task: Task, workdir: Workdir, train_data: str, dev_data: str, seed: int) -> Data:
    """Encodes the data into the workdir, or opens what an earlier call has encoded.

    A run that goes on keeps its vocabulary, also where a data file was touched since.
    """
    if not train_data:
        files = workdir.read("data", "files.json")
        if files is None:
            os.makedirs(workdir.data, exist_ok=True)
            files = task.built_in_data(workdir.data)
            workdir.write(files, "data", "files.json")
        # The folder may have been moved since.
        files = {
            name: os.path.join(workdir.data, os.path.basename(file)) for name, file in files.items()
        }
        train_data, dev_data = files["train"], files["dev"]
    source = {
        "files": [_fingerprint(files) for files in (train_data, dev_data)],
        "config": configs.flatten(task.config),
        "seed": seed,
    }
    for name in configs.config.CONTINUABLE:
        source["config"].pop(name)
    facts = workdir.read("examples", "facts.json", default={})
    changed = new_dev = False
    if facts.get("source") != source:
        if workdir.exists():
            task.load(workdir.path, calibrated=False)
            before = facts.get("source")
            changed = isinstance(before, dict) and before.get("files") != source["files"]
            # Without files of its own dev is a part of the training data.
            new_dev = changed and (not dev_data or before["files"][1:] != source["files"][1:])
        if facts.get("source"):
            # Should encoding end halfway, the examples are no longer those of what stands here.
            workdir.write({**facts, "source": None}, "examples", "facts.json")
        facts = _encode_data(task, workdir, train_data, dev_data, seed)
        facts["source"] = source
        workdir.write(facts, "examples", "facts.json")
    return dataclasses.replace(open_data(task, workdir), changed=changed, new_dev=new_dev)


def open_data(task: Task, workdir: Workdir) -> Data:
    """The examples that were encoded into the workdir, and what was learnt from them into the task."""
    facts = workdir.read("examples", "facts.json")
    if facts is None:
        raise pipelines.InputError(
            "has no examples; all workers need the same folder, that of the chief", workdir.path
        )
    if not isinstance(facts.get("fixed"), list) or not isinstance(facts.get("cut"), dict):
        path = workdir.file("examples", "facts.json")
        raise pipelines.InputError("is damaged: 'fixed' or 'cut' is missing", path)
    task.load(workdir.path, calibrated=False)
    pictured = [pipelines.Record(fields) for fields in facts["fixed"]]
    stores = [
        open_examples(os.path.join(workdir.examples, name), task) for name in ("train", "dev")
    ]
    return Data(*stores, facts["cut"], pictured)


def open_examples(folder: str, task: Task) -> pipelines.ExampleStore:
    """Encoded examples of a task; that their ids and labels are such as the model has is seen before XLA, which would
    pass over others in silence.
    """
    store = pipelines.ExampleStore(folder)
    if store.columns != dict(task.columns):
        path = os.path.join(folder, "store.json")
        raise pipelines.InputError("has other columns than this run: it is damaged", path)
    store.check()
    return store


def _fingerprint(files: str) -> list:
    """Names, sizes and times of files: whether they are still what was encoded."""
    if not files:
        return []
    found = []
    for file in pipelines.expand(files):
        if file == "-":
            raise pipelines.InputError("standard input cannot be trained on: it is read twice")
        if os.path.exists(file):
            stat = os.stat(file)
            found.append([os.path.abspath(file), stat.st_size, stat.st_mtime_ns])
        else:
            found.append([file])
    return found


def _encode_data(
    task: Task, workdir: Workdir, train_data: str, dev_data: str, seed: int
) -> dict[str, Any]:
    in_dev = None
    if not dev_data:
        in_dev = chosen_for_dev(task, train_data, seed)

    counts = collections.Counter()

    def train_records(counts: collections.Counter | None = None) -> Iterator[pipelines.Record]:
        for number, record in enumerate(task.read(train_data, counts)):
            if in_dev is None or not in_dev[number]:
                yield record

    fixed = []

    def dev_records() -> Iterator[pipelines.Record]:
        # What was cut of a file is counted once.
        records = task.read(dev_data, counts) if dev_data else task.read(train_data)
        for number, record in enumerate(records):
            if in_dev is None or in_dev[number]:
                if len(fixed) < task.config.pictures:
                    fixed.append(dict(record))
                yield record

    if not workdir.exists():
        task.fit(train_records)
        task.save(workdir.path)
    for name, records in (("train", train_records(counts)), ("dev", dev_records())):
        folder = os.path.join(workdir.examples, name)
        encoded = task.encode(records, counts, training=name == "train")
        files = train_data if name == "train" else dev_data or train_data
        write_examples(folder, encoded, task, counts, files)
    return {"cut": dict(counts), "fixed": fixed}


def chosen_for_dev(task: Task, train_data: str, seed: int) -> np.ndarray:
    """Which examples of the training data make the dev set, where none is given: bool [examples]."""
    in_dev = split((task.stratum(record) for record in task.read(train_data)), seed)
    if task.several_labels:
        _keep_labels(in_dev, map(task.labels_of, task.read(train_data)))
    if not in_dev.any():
        raise pipelines.InputError(
            "has too few examples to split a dev set off; give --dev_data", train_data
        )
    return in_dev


def _keep_labels(in_dev: np.ndarray, labels: Iterable[Collection[str]]) -> None:
    """Takes examples back from dev whose labels no example of training would have.

    >>> in_dev = np.array([True, False, True])
    >>> _keep_labels(in_dev, [["a", "rare"], ["a", "b"], ["b"]])
    >>> in_dev.tolist()
    [False, False, True]
    """
    known, asked = set(), {}
    for number, some in enumerate(labels):
        if in_dev[number]:
            asked[number] = some
        else:
            known.update(some)
    for number, some in asked.items():
        if not known.issuperset(some):
            in_dev[number] = False
            known.update(some)


def write_examples(
    folder: str, encoded: Iterable, task: Task, counts: Mapping[str, int], files: str
) -> pipelines.ExampleStore:
    """Writes encoded examples of files to a folder; that none is left is an `InputError` which says why."""
    store = pipelines.write_store(folder, encoded, task.columns)
    if not len(store):
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in counts.items())
        raise pipelines.InputError(
            "no example is left" + (f": {reasons}" if reasons else ""), files
        )
    return store
