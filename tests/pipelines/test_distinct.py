"""Batches that hold each element once: what they say is what stands in the store."""

import numpy as np
import pytest

from pipelines import Column, DistinctBatches, write_store


def store_of(folder, examples, words=3):
    """Sentences of as many numbers as `words`, and with each a second column that differs by one."""
    columns = {name: Column(inner_shape=(words,)) for name in ("ids", "vector_ids")}
    rows = ({"ids": ids, "vector_ids": np.asarray(ids) + 1} for ids in examples)
    return write_store(folder / "store", rows, columns)


def few_sentences(examples, seed=0, kinds=5):
    generator = np.random.default_rng(seed)
    sentences = generator.integers(1, 9, [kinds, 3])
    lengths = generator.integers(1, 12, examples)
    return [sentences[generator.integers(kinds, size=length)] for length in lengths]


@pytest.mark.parametrize("shards", [1, 2])
def test_elements_put_back_are_the_batch(shards, tmp_path):
    store = store_of(tmp_path, few_sentences(50))
    options = {"batch_size": 8, "length_columns": "ids", "max_shapes": 3, "shuffle": True}
    batches = DistinctBatches(store, ["ids", "vector_ids"], **options)
    shapes = set()
    for shard in [batches.shard(number, shards) for number in range(shards)]:
        for batch in shard.epoch(1):
            which = batch["which"].numpy()
            for name in ("ids", "vector_ids"):
                distinct = batch[f"distinct_{name}"].numpy()
                np.testing.assert_array_equal(distinct[which], batch[name])
                assert distinct.dtype == np.int32 and not distinct[0].any()
            shapes.add((which.shape[1], len(distinct)))
            # Each once: what is filled up is padding.
            real = distinct[distinct.any(axis=1)]
            assert len(np.unique(real, axis=0)) == len(real) <= 5
    assert len(shapes) == len(batches.buckets) == 3


def test_where_all_differ_there_are_no_more_rows_than_elements(tmp_path):
    generator = np.random.default_rng(0)
    examples = [generator.integers(1, 1000, [length, 3]) for length in (1, 2, 2, 2, 4, 4, 4, 4)]
    batches = DistinctBatches(
        store_of(tmp_path, examples), ["ids"], batch_size=2, length_columns="ids", buckets=[2, 4]
    )
    rows = {batch["ids"].shape[1]: len(batch["distinct_ids"]) for batch in batches.arrays()}
    # Two rows of two and of four, and padding.
    assert rows == {2: 5, 4: 9}
    for batch in batches.arrays():
        np.testing.assert_array_equal(batch["distinct_ids"][batch["which"]], batch["ids"])
