"""Batches that hold each element once, however often it stands in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipelines.batching import Batches


class DistinctBatches(Batches):
    """Batches whose elements repeat, each of them given once beside.

    What costs much for each element, reading a sentence say, need be done once for each that differs. A batch has two
    arrays more for it:

        which         int32[batch, bucket], the number of each element
        distinct_C    [distinct, *inner_shape] for each column C; which[b, t] is the row of C[b, t]

    Row 0 is padding. There are so many rows that no batch of the bucket has more, and the elements' own number at most:
    the set of shapes stays as small as it was.

    Arguments:
        store, **options: those of `Batches`.
        distinct: columns of one length that together make up an element.

    Example:

    >>> import tempfile
    >>> from pipelines.store import Column, write_store
    >>> examples = [{"ids": [[4, 5], [6, 7]]}, {"ids": [[6, 7]]}]
    >>> store = write_store(tempfile.mkdtemp() + "/s", examples, {"ids": Column(inner_shape=(2,))})
    >>> batches = DistinctBatches(store, ["ids"], batch_size=2, length_columns="ids", max_shapes=1)
    >>> batch = next(batches.arrays())
    >>> batch["distinct_ids"].tolist(), batch["which"].tolist()
    ([[0, 0], [4, 5], [6, 7]], [[1, 2], [2, 0]])
    """

    def __init__(self, store, distinct: Sequence[str], **options):
        super().__init__(store, **options)
        self.distinct = tuple(distinct)
        # How many an element's row of numbers has, column after column.
        self._widths = [store.columns[name].elements for name in self.distinct]
        self._most = self._most_distinct()

    def _most_distinct(self) -> list[int]:
        """For each bucket, how many distinct elements its examples and all shorter ones have, padding among them."""
        found, most = np.zeros([1, sum(self._widths)], np.int64), []
        unread = np.zeros(0, np.int64)
        sizes = zip(self._rows.tolist(), self.buckets[:, 0].tolist(), strict=True)
        for level, (rows, length) in enumerate(sizes):
            unread = np.concatenate([unread, np.flatnonzero(self._level == level)])
            limit = rows * length + 1
            # Where so many differ it is of no use, and need not be known.
            while len(unread) and len(found) < limit:
                few, unread = unread[:rows], unread[rows:]
                found = np.unique(np.concatenate([found, self._elements(few, length)]), axis=0)
            most.append(min(len(found), limit))
        return most

    def _elements(self, indices: np.ndarray, length: int) -> np.ndarray:
        """The elements of examples, each as a row of numbers."""
        columns = [
            self.store.padded(name, indices, length).reshape(len(indices) * length, -1)
            for name in self.distinct
        ]
        return np.concatenate(columns, axis=1)

    @property
    def element_spec(self):
        spec = super().element_spec
        for name in self.distinct:
            column = self.store.columns[name]
            spec[f"distinct_{name}"] = tf.TensorSpec((None, *column.inner_shape), column.dtype)
        spec["which"] = tf.TensorSpec(spec[self.distinct[0]].shape[:2], tf.int32)
        return spec

    def _assemble(self, plan, batch):
        arrays = super()._assemble(plan, batch)
        rows, length = arrays[self.distinct[0]].shape[:2]
        elements = [arrays[name].reshape(rows * length, -1) for name in self.distinct]
        elements = np.concatenate(elements, axis=1)
        # Padding, all 0, comes first: no number is below it.
        elements = np.concatenate([np.zeros_like(elements[:1]), elements])
        found, which = np.unique(elements, axis=0, return_inverse=True)
        missing = self._most[plan.buckets[batch]] - len(found)
        found = np.pad(found, [[0, missing], [0, 0]])
        parts = np.split(found, np.cumsum(self._widths)[:-1], axis=1)
        for name, part in zip(self.distinct, parts, strict=True):
            column = self.store.columns[name]
            arrays[f"distinct_{name}"] = part.reshape(-1, *column.inner_shape).astype(column.dtype)
        arrays["which"] = which.reshape(-1)[1:].reshape(rows, length).astype(np.int32)
        return arrays
