"""A store to padded batches: few shapes, little padding, an order that is a pure function."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from pipelines.ahead import map_ahead
from pipelines.errors import InputError
from pipelines.store import ExampleStore

# Candidate boundaries for the search of buckets; the search is quadratic in it.
_CANDIDATES = 1024
_PREFETCHED = 4

# Where the number of padded lengths is not given. Compiling one takes about as long as training on a hundred thousand
# cells, which a length that spares 8,000 in each epoch repays within a dozen of them.
_MOST_SHAPES = 6
_CELLS_SPARED = 8000


def choose_buckets(lengths: np.ndarray, max_shapes: int = 0) -> np.ndarray:
    """Chooses the padded lengths of batches: those with the least padding.

    Every example goes to the first bucket that holds it in every column. With one column the
    choice is the best there is (over at most 1024 candidate lengths, for longer tails); with more
    it is the best chain of quantiles.

    Arguments:
        lengths: int[examples] or int[examples, columns].
        max_shapes: how many at most; 0 = up to 6, as long as each spares 8,000 cells of padding, which is about what
            compiling it costs.

    Returns:
        int64[buckets, columns], growing; the last one holds every example.

    Example:

    >>> choose_buckets(np.array([3, 3, 3, 9, 10, 10]), max_shapes=2).tolist()
    [[3], [10]]
    """
    lengths = np.maximum(np.asarray(lengths, np.int64), 1)
    lengths = lengths[:, None] if lengths.ndim == 1 else lengths
    if max_shapes < 0:
        raise InputError(f"max_shapes must be at least 0, not {max_shapes}")
    spared = 0 if max_shapes else _CELLS_SPARED
    candidates = _candidates(lengths)
    level = _first_that_holds(candidates, lengths)
    below = np.concatenate([[0], np.cumsum(np.bincount(level, minlength=len(candidates)))])
    size = candidates.sum(axis=1)
    # cost[i, j]: every example of the levels i..j padded to candidate j.
    cost = size[None, :] * (below[1:][None, :] - below[:-1][:, None])
    cost = np.where(np.arange(len(size))[:, None] <= np.arange(len(size)), cost, np.inf)
    best, choices = cost[0].astype(np.float64), []
    totals = [best[-1]]
    for more in range(1, min(max_shapes or _MOST_SHAPES, len(size))):
        # best[j]: the least cost of the levels 0..j; begin[j]: where its last bucket begins.
        options = np.concatenate([[0.0], best[:-1]])[:, None] + cost
        begin = np.argmin(options, axis=0)
        best = options[begin, np.arange(len(size))]
        choices.append(begin)
        totals.append(best[-1] + spared * more)
    chosen, last = [], len(size) - 1
    for begin in reversed(choices[: np.argmin(totals)]):
        chosen.append(last)
        if begin[last] == 0:
            break
        last = begin[last] - 1
    else:
        chosen.append(last)
    return candidates[chosen[::-1]]


def _candidates(lengths: np.ndarray) -> np.ndarray:
    if lengths.shape[1] == 1:
        unique = np.unique(lengths)
        if len(unique) <= _CANDIDATES:
            return unique[:, None]
    # Even in rank, and ever denser towards the long tail, where a boundary saves most.
    even = np.linspace(0, 1, _CANDIDATES * 3 // 4)
    tail = 1 - np.geomspace(0.3, 1 / max(len(lengths), 4), _CANDIDATES // 4)
    ranks = np.unique(np.concatenate([even, tail, [1.0]]))
    return np.unique(np.quantile(lengths, ranks, axis=0, method="higher"), axis=0)


def _first_that_holds(buckets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """int64[examples]: the first bucket that holds an example in every column."""
    columns = range(buckets.shape[1])
    return np.max([np.searchsorted(buckets[:, c], lengths[:, c]) for c in columns], axis=0)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The batches of one epoch: a bucket and a stretch of `order` for each."""

    order: np.ndarray
    buckets: np.ndarray
    starts: np.ndarray
    stops: np.ndarray


class Batches:
    """Batches of a store, padded to a finite set of shapes.

    An epoch holds every example exactly once. Which examples stand together, and in which order,
    is a pure function of (seed, epoch): a run that stopped after batch k goes on with
    `epoch(e, start_batch=k)`. What is left over in a bucket moves up to the next longer one, so
    that one batch of an epoch at most is short; it is filled up with rows that are not real.

    A batch is a dict: each sequence column [batch, bucket, *inner_shape], each scalar column
    [batch, *inner_shape], `real` bool[batch], and `index` int64[batch], the example's number in
    the store (-1 for a filler row, which repeats a real row's values).

    Arguments:
        store: the examples.
        batch_size: rows of every batch; ignored with `batch_tokens`.
        length_columns: the sequence column, or columns, that buckets are chosen for.
        max_length: longer sequences are cut and counted in `cut`; a number or one a column.
        shuffle: False keeps the order of the store within a bucket, and the buckets in order.
        seed: of the order.
        buckets: padded lengths (numbers, or tuples with several columns) instead of a choice from
            the data; none above max_length. Where the data are longer (up to max_length), one more is added.
        max_shapes: how many padded lengths to choose at most; 0 = as many as repay their compiling.
        fields: the columns to read; all by default.
        batch_tokens: a batch's rows times its padded length (of all length columns together)
            stay below this, so that short sequences come in larger batches.
        padding: column -> what it is padded with; 0 by default.

    Raises:
        InputError: no examples, or a setting that cannot be.
        ValueError: a column that is not there.
    """

    def __init__(
        self,
        store: ExampleStore,
        batch_size: int,
        length_columns: str | Sequence[str],
        max_length: int | Mapping[str, int] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        buckets: Sequence[int] | Sequence[Sequence[int]] | None = None,
        max_shapes: int = 0,
        fields: Sequence[str] | None = None,
        batch_tokens: int | None = None,
        padding: Mapping[str, float] | None = None,
    ):
        if not len(store):
            raise InputError("there are no examples", store.directory)
        if batch_size < 1 and not batch_tokens:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        names = [length_columns] if isinstance(length_columns, str) else list(length_columns)
        self.store, self.seed, self.shuffle = store, int(seed), bool(shuffle)
        self.length_columns = tuple(names)
        self.fields = tuple(store.columns if fields is None else fields)
        unknown = [n for n in (*names, *self.fields) if n not in store.columns]
        if unknown:
            raise ValueError(f"no column {unknown[0]!r}; there are {', '.join(store.columns)}")
        self._padding = dict(padding or {})
        # A column of no buckets of its own is as long as the first that has them.
        self._follow = {n: n if n in names else names[0] for n in self.fields}
        lengths = np.stack([store.lengths(name) for name in names], axis=1)
        limits = max_length if isinstance(max_length, Mapping) else dict.fromkeys(names, max_length)
        lengths, self.cut = self._cut_lengths(lengths, limits)
        self.buckets = self._all_buckets(lengths, limits, buckets, max_shapes)
        self._level = _first_that_holds(self.buckets, lengths).astype(np.int16)
        self._real_cells = int(lengths.sum())
        sizes = self.buckets.sum(axis=1)
        if batch_tokens:
            self._rows = np.maximum(batch_tokens // sizes, 1)
        else:
            self._rows = np.full(len(sizes), batch_size, np.int64)
        self._shard, self._shards = 0, 1
        self._plans: dict[int, _Plan] = {}
        self._check_followers(lengths)

    def _cut_lengths(
        self, lengths: np.ndarray, limits: Mapping[str, int | None]
    ) -> tuple[np.ndarray, dict[str, int]]:
        cut = dict.fromkeys(self.length_columns, 0)
        for place, name in enumerate(self.length_columns):
            longest = limits.get(name)
            if longest is None:
                continue
            if longest < 1:
                raise InputError(f"max_length must be at least 1, not {longest}")
            cut[name] = int(np.count_nonzero(lengths[:, place] > longest))
            lengths[:, place] = np.minimum(lengths[:, place], longest)
        return lengths, cut

    def _all_buckets(
        self,
        lengths: np.ndarray,
        limits: Mapping[str, int | None],
        buckets: Sequence[int] | Sequence[Sequence[int]] | None,
        max_shapes: int,
    ) -> np.ndarray:
        if buckets is None:
            return choose_buckets(lengths, max_shapes)
        given = np.asarray(buckets, np.int64)
        given = given[:, None] if given.ndim == 1 else given
        if given.ndim != 2 or given.shape[1] != len(self.length_columns) or given.size == 0:
            raise InputError(f"buckets need a length for each of {', '.join(self.length_columns)}")
        if (given < 1).any() or (np.diff(given, axis=0) < 0).any():
            raise InputError(f"buckets must grow from at least 1, not {given.tolist()}")
        for name, last in zip(self.length_columns, given[-1].tolist(), strict=True):
            if last > (limits.get(name) or last):
                raise InputError(
                    f"the bucket {last} is longer than max_length={limits[name]}, where {name!r} is cut"
                )
        longest = np.maximum(lengths.max(axis=0), given[-1])
        return given if (longest == given[-1]).all() else np.vstack([given, longest])

    def _check_followers(self, lengths: np.ndarray) -> None:
        for name, followed in self._follow.items():
            if self.store.columns[name].scalar or name in self.length_columns:
                continue
            whole = self.store.lengths(followed)
            wrong = np.flatnonzero(self.store.lengths(name) > whole)
            if len(wrong):
                raise ValueError(
                    f"{name!r} of example {wrong[0]} is longer than {followed!r}, which it follows"
                )

    # What there is

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The finite set: (rows, padded length of each length column)."""
        rows = self._own_rows().tolist()
        return [(n, *lengths) for n, lengths in zip(rows, self.buckets.tolist(), strict=True)]

    @property
    def element_spec(self) -> dict[str, tf.TensorSpec]:
        """What `epoch` yields; the padded lengths are None, and so are varying rows."""
        rows = self._own_rows()
        rows = int(rows[0]) if (rows == rows[0]).all() else None
        one = int(self.buckets[0, 0]) if len(self.buckets) == 1 else None
        spec = {}
        for name in self.fields:
            column = self.store.columns[name]
            time = () if column.scalar else (one if len(self.length_columns) == 1 else None,)
            spec[name] = tf.TensorSpec((rows, *time, *column.inner_shape), column.dtype, name)
        spec["real"] = tf.TensorSpec((rows,), tf.bool, "real")
        spec["index"] = tf.TensorSpec((rows,), tf.int64, "index")
        return spec

    def _own_rows(self) -> np.ndarray:
        """int64[buckets]: rows of a batch, of which a shard has its part."""
        return -(-self._rows // self._shards)

    def num_batches(self, epoch: int = 0) -> int:
        """Batches of an epoch; the same number on every shard and in every epoch."""
        return len(self._plan(epoch).buckets)

    @property
    def padding_share(self) -> float:
        """The share of epoch 0's cells (of the length columns) that hold no real element."""
        plan = self._plan(0)
        cells = int((self._rows * self.buckets.sum(axis=1))[plan.buckets].sum())
        return 1.0 - self._real_cells / cells

    def shard(self, index: int, count: int) -> Batches:
        """Every count-th row of each batch, from `index` on: together the shards hold each example once.

        A shard's batch k has the shape of every other shard's batch k; fillers make them even.
        """
        if not 0 <= index < count:
            raise ValueError(f"shard {index} of {count}")
        part = copy.copy(self)
        part._shard = self._shard + index * self._shards
        part._shards = self._shards * count
        return part

    # Epochs

    def epoch(self, epoch: int = 0, start_batch: int = 0) -> tf.data.Dataset:
        """The batches of an epoch from `start_batch` on, prefetched."""
        data = tf.data.Dataset.from_generator(
            functools.partial(self.arrays, epoch, start_batch), output_signature=self.element_spec
        )
        options = tf.data.Options()
        options.deterministic = True
        # Sharding is ours; a strategy must not shard once more.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        count = max(self.num_batches(epoch) - start_batch, 0)
        data = data.apply(tf.data.experimental.assert_cardinality(count))
        return data.with_options(options).prefetch(_PREFETCHED)

    def tensors(self, epoch: int = 0, start_batch: int = 0) -> Iterator[dict[str, tf.Tensor]]:
        """The same batches without tf.data, whose generators take longer over a batch of short texts than reading it:
        threads put them together ahead of their use.
        """
        plan = self._plan(epoch)

        def tensors_of(batch: int) -> dict[str, tf.Tensor]:
            with tf.profiler.experimental.Trace("batch"):
                arrays = self._assemble(plan, batch)
                return {name: tf.convert_to_tensor(array) for name, array in arrays.items()}

        return map_ahead(tensors_of, range(start_batch, self.num_batches(epoch)))

    def arrays(self, epoch: int = 0, start_batch: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """The same batches as NumPy arrays."""
        plan = self._plan(epoch)
        for batch in range(start_batch, self.num_batches(epoch)):
            yield self._assemble(plan, batch)

    def _assemble(self, plan: _Plan, batch: int) -> dict[str, np.ndarray]:
        bucket = plan.buckets[batch]
        members = plan.order[plan.starts[batch] : plan.stops[batch]]
        filler = members[:1]
        members = members[self._shard :: self._shards]
        rows = int(self._own_rows()[bucket])
        indices = np.concatenate([members, np.repeat(filler, rows - len(members))])
        real = np.arange(rows) < len(members)
        arrays = {}
        for name in self.fields:
            if self.store.columns[name].scalar:
                arrays[name] = self.store.scalars(name, indices)
            else:
                place = self.length_columns.index(self._follow[name])
                length = int(self.buckets[bucket, place])
                padding = self._padding.get(name, 0)
                arrays[name] = self.store.padded(name, indices, length, padding)
        arrays["real"] = real
        arrays["index"] = np.where(real, indices, -1).astype(np.int64)
        return arrays

    def _plan(self, epoch: int) -> _Plan:
        # The last one is kept: num_batches and epoch ask for the same, as do all shards.
        if epoch not in self._plans:
            self._plans.clear()
            self._plans[epoch] = self._made_plan(epoch)
        return self._plans[epoch]

    def _made_plan(self, epoch: int) -> _Plan:
        generator = np.random.default_rng([self.seed % 2**64, epoch])
        total = len(self.store)
        order = generator.permutation(total) if self.shuffle else np.arange(total)
        order = order[np.argsort(self._level[order], kind="stable")]
        ends = np.cumsum(np.bincount(self._level, minlength=len(self.buckets)))
        buckets, starts = [], []
        start = 0
        for bucket, end in enumerate(ends):
            # What did not fill a batch of the shorter buckets is still at `start`.
            count = (end - start) // self._rows[bucket]
            starts.append(start + np.arange(count) * self._rows[bucket])
            buckets.append(np.full(count, bucket))
            start += count * self._rows[bucket]
        if start < total:
            starts.append(np.array([start]))
            buckets.append(np.array([self._level[order[start:]].max()]))
        starts, buckets = np.concatenate(starts), np.concatenate(buckets)
        stops = np.append(starts[1:], total)
        if self.shuffle:
            mixed = generator.permutation(len(starts))
            starts, stops, buckets = starts[mixed], stops[mixed], buckets[mixed]
        return _Plan(order, buckets, starts, stops)
