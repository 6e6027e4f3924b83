"""The devices, of one machine or several, that train one model together."""

import json
import os
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

import pipelines

EXAMPLE = (
    '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'
)


class Replicas:
    """The replicas of a run: each has a copy of the weights and takes its rows of every batch.

    A worker is a process with one replica or several. Whatever talks to other workers is called by all of them, in the
    same order, or all wait for ever; where one is lost the others get a `tf.errors.OpError`.

    Arguments:
        strategy: of tf.distribute; the default one where none is given, or one with a single replica.
        worker, workers: this worker's number and how many there are; the first one is the chief, which alone writes.

    Attributes:
        count: replicas of all workers together.
        local: numbers of this worker's own.
        is_chief: whether this worker writes files and lines.

    Example:

    >>> replicas = Replicas()
    >>> replicas.count, replicas.is_chief, replicas.any(False, True)
    (1, True, [False, True])
    """

    def __init__(
        self, strategy: tf.distribute.Strategy | None = None, worker: int = 0, workers: int = 1
    ):
        if strategy is None or strategy.num_replicas_in_sync == 1:
            strategy = tf.distribute.get_strategy()
        self.strategy = strategy
        self.workers = workers
        self.count = self.strategy.num_replicas_in_sync
        share = self.count // workers
        self.local = range(worker * share, (worker + 1) * share)
        self.is_chief = worker == 0

    def epoch(self, batches: pipelines.Batches, epoch: int, start_batch: int = 0) -> Iterator:
        """The batches of an epoch, the rows of each dealt out to the replicas."""
        if self.count == 1:
            yield from batches.tensors(epoch, start_batch)
            return
        shards = [batches.shard(number, self.count) for number in self.local]
        parts = tuple(shard.epoch(epoch, start_batch) for shard in shards)
        for shares in tf.data.Dataset.zip(parts):
            yield self._each(shares)

    def sum(self, values):
        """The sum over all replicas of a nest of values that each has."""
        flat = tf.nest.flatten(values)
        first = self.strategy.extended.worker_devices[0]
        sums = self.strategy.extended.batch_reduce_to("SUM", [(value, first) for value in flat])
        sums = [self.strategy.experimental_local_results(total)[0] for total in sums]
        return tf.nest.pack_sequence_as(values, sums)

    def any(self, *flags: bool) -> list[bool]:
        """Of each flag whether any worker raised it."""
        if self.workers == 1:
            return list(flags)
        own = tf.constant(flags, tf.float32)
        return [total > 0 for total in self.sum(self._each([own for _ in self.local])).numpy()]

    def from_chief(self, *numbers: float) -> list[float]:
        """The chief's numbers, on every worker; what the others give does not matter."""
        if self.workers == 1:
            return list(numbers)
        own = np.array(numbers, np.float64)
        given = [tf.constant(own if number == 0 else 0 * own) for number in self.local]
        return self.sum(self._each(given)).numpy().tolist()

    def wait(self) -> None:
        """Returns when all workers have come here."""
        self.any(False)

    @staticmethod
    def lost(error: tf.errors.OpError) -> pipelines.InputError:
        """What to say where another worker is gone."""
        return pipelines.InputError(
            "another worker is lost; the same command on all of them goes on from the last checkpoint "
            f"({_reason(error)})"
        )

    def _each(self, values):
        """One value for each of this worker's replicas."""
        first = self.local[0]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: values[context.replica_id_in_sync_group - first]
        )

    def start_sum_with(self, variable: tf.Variable, value: np.ndarray) -> None:
        """Gives a variable that is summed over replicas when it is read a value."""
        for number, own in zip(self.local, self.strategy.experimental_local_results(variable)):
            own.assign(value if number == 0 else np.zeros_like(value))

    def part_seeds(self, variables: list[tf.Variable]) -> None:
        """Lets each replica draw noise of its own from states [seed, draws] that are the same on all; the first one's
        stay as they are.
        """
        for variable in variables:
            states = self.strategy.experimental_local_results(variable)
            for number, state in zip(self.local, states):
                if number:
                    seed, draws = state.numpy().tolist()
                    (seed,) = np.random.SeedSequence([seed % 2**32, number]).generate_state(1)
                    state.assign(np.array([seed % 2**31, draws], state.dtype.as_numpy_dtype))


def make_replicas(distribute: str, log: Callable[[str], None]) -> Replicas:
    """The replicas for `--config.distribute`; with multi_worker it waits for the other workers, and the chief says so.

    Raises:
        InputError: TF_CONFIG does not name the workers, or they do not come together.
    """
    if distribute == "none":
        return Replicas()
    if distribute == "mirrored":
        return Replicas(tf.distribute.MirroredStrategy())
    worker, workers = _place(os.environ.get("TF_CONFIG", ""))
    if worker == 0:
        log(f"waiting for the other {workers - 1} of {workers} workers")
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise pipelines.InputError(
            f"--config.distribute=multi_worker: the workers do not come together: {_reason(error)}"
        ) from None
    return Replicas(strategy, worker, workers)


def _reason(error: tf.errors.OpError) -> str:
    """One line of what TensorFlow says, without the name of its function."""
    first = str(error.message).strip().splitlines()[0]
    return f"{type(error).__name__}: {first.rpartition('}} ')[2][:200]}"


def _place(text: str) -> tuple[int, int]:
    """This worker's number and how many there are, of TF_CONFIG."""

    def error(what: str) -> pipelines.InputError:
        return pipelines.InputError(
            f"--config.distribute=multi_worker: TF_CONFIG {what}; it must be like {EXAMPLE}"
        )

    if not text.strip():
        raise error("is not set")
    try:
        given = json.loads(text)
    except ValueError as wrong:
        raise error(f"is not JSON ({wrong})") from None
    cluster = given.get("cluster") if isinstance(given, dict) else None
    if not isinstance(cluster, dict) or not cluster:
        raise error("has no cluster")
    if set(cluster) - {"chief", "worker"}:
        strange = ", ".join(sorted(set(cluster) - {"chief", "worker"}))
        raise error(f"has {strange} in its cluster, and only chief and worker can be there")
    jobs = [(kind, cluster[kind]) for kind in ("chief", "worker") if kind in cluster]
    for kind, addresses in jobs:
        if not isinstance(addresses, list) or not addresses:
            raise error(f"has no list of addresses for {kind}")
        for address in addresses:
            host, _, port = str(address).rpartition(":")
            if not host or not port.isdecimal():
                raise error(f"has {address!r} for {kind}, not HOST:PORT")
    task = given.get("task")
    if not isinstance(task, dict) or "type" not in task or "index" not in task:
        raise error("has no task with type and index")
    places = [(kind, index) for kind, addresses in jobs for index in range(len(addresses))]
    if len(cluster.get("chief", [])) > 1:
        raise error("names several chiefs")
    place = (task["type"], int(task["index"]) if str(task["index"]).isdecimal() else -1)
    if place not in places:
        raise error(f"has the task {task['type']} {task['index']}, which is not in its cluster")
    return places.index(place), len(places)
