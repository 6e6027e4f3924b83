"""Batches: every example once, few shapes, an order that can be found again, padding that is padding."""

import itertools

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from pipelines import Batches, Column, InputError, choose_buckets, write_store  # noqa: E402

lengths_of_examples = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def store_of(folder, lengths, others=None):
    """Example i holds i + 1 at every place, so that a row tells whose it is."""
    columns = {"text": Column(), "label": Column(scalar=True)}
    if others is not None:
        columns["target"] = Column()

    def examples():
        for i, length in enumerate(lengths):
            one = {"text": np.full(length, i + 1), "label": np.int32(i + 1)}
            if others is not None:
                one["target"] = np.full(others[i], -i - 1)
            yield one

    return write_store(folder / "store", examples(), columns)


def padded_cells(buckets, lengths):
    return sum(min(int(b) for b in buckets if b >= length) for length in lengths)


@settings(max_examples=60)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=40), most=st.integers(1, 4))
def test_buckets_are_the_best_there_are(lengths, most):
    buckets = choose_buckets(np.array(lengths), most)[:, 0]
    assert len(buckets) <= most
    assert (np.diff(buckets) > 0).all()
    unique, longest = sorted(set(lengths)), max(lengths)
    every = itertools.chain.from_iterable(
        itertools.combinations(unique, n) for n in range(1, most + 1)
    )
    best = min(padded_cells(choice, lengths) for choice in every if longest in choice)
    assert padded_cells(buckets, lengths) == best


def test_what_is_empty_has_a_place_all_the_same():
    assert choose_buckets(np.array([0, 0]), 1).tolist() == [[1]]


def test_buckets_of_many_lengths():
    generator = np.random.default_rng(0)
    lengths = generator.lognormal(3, 1, 100_000).astype(int) + 1
    buckets = choose_buckets(lengths)[:, 0]
    assert len(buckets) == 6
    assert buckets[-1] == lengths.max()
    cells = padded_cells_of_many(buckets, lengths)
    # Evenly filled buckets are what one would write by hand.
    by_rank = np.quantile(lengths, np.arange(1, 7) / 6, method="higher")
    assert cells < 0.5 * padded_cells_of_many(by_rank, lengths)
    # No single boundary can be moved to the better.
    for place in range(5):
        for step in (-1, 1):
            moved = buckets.copy()
            moved[place] += step
            assert padded_cells_of_many(moved, lengths) >= cells
    pairs = np.stack([lengths, np.maximum(lengths + generator.integers(-2, 3, 100_000), 1)], 1)
    chosen = choose_buckets(pairs)
    assert len(chosen) <= 6
    assert (chosen[-1] == pairs.max(axis=0)).all()
    held = (pairs[:, None, :] <= chosen[None]).all(axis=2)
    assert held.any(axis=1).all()
    cells = chosen.sum(axis=1)[held.argmax(axis=1)].sum()
    # Two columns that nearly agree cost little more than twice the one.
    assert cells < 2.4 * padded_cells_of_many(buckets, lengths)


@pytest.mark.parametrize("examples", [1, 300, 3_000, 30_000, 300_000])
def test_so_many_buckets_as_repay_their_compiling(examples):
    """At 8,000 cells for each, no other number of them costs less."""
    lengths = np.random.default_rng(1).lognormal(2, 0.8, examples).astype(int) + 1
    every = [choose_buckets(lengths, most)[:, 0] for most in range(1, 7)]
    costs = [padded_cells_of_many(few, lengths) + 8000 * len(few) for few in every]
    chosen = choose_buckets(lengths)[:, 0]
    assert chosen.tolist() == every[np.argmin(costs)].tolist()
    assert len(chosen) == {1: 1, 300: 2, 3_000: 4, 30_000: 6, 300_000: 6}[examples]


def padded_cells_of_many(buckets, lengths):
    return int(buckets[np.searchsorted(buckets, lengths)].sum())


@settings(max_examples=60)
@given(
    lengths=lengths_of_examples,
    size=st.integers(1, 9),
    most=st.integers(1, 6),
    shuffle=st.booleans(),
    tokens=st.one_of(st.none(), st.integers(1, 200)),
    longest=st.one_of(st.none(), st.integers(1, 40)),
    epoch=st.integers(0, 3),
)
def test_every_example_once(tmp_path_factory, lengths, size, most, shuffle, tokens, longest, epoch):
    store = store_of(tmp_path_factory.mktemp("batches"), lengths)
    batches = Batches(
        store, size, "text", longest, shuffle, seed=3, max_shapes=most, batch_tokens=tokens
    )
    assert len(batches.shapes) <= most
    seen, real_cells, cells, short = [], 0, 0, 0
    for batch in batches.arrays(epoch):
        assert batch["text"].shape in batches.shapes
        if tokens:
            assert batch["text"].size <= tokens or len(batch["text"]) == 1
        else:
            assert len(batch["text"]) == size
        for row, label, real, index in zip(
            batch["text"], batch["label"], batch["real"], batch["index"], strict=True
        ):
            kept = min(lengths[label - 1], longest or 40)
            assert row.tolist() == [label] * kept + [0] * (len(row) - kept)
            assert index == (label - 1 if real else -1)
            seen += [index] if real else []
            real_cells += kept if real else 0
        cells += batch["text"].size
        short += not batch["real"].all()
    assert sorted(seen) == list(range(len(lengths)))
    assert short <= 1
    assert batches.cut == {"text": sum(length > (longest or 40) for length in lengths)}
    if epoch == 0:
        assert batches.padding_share == pytest.approx(1 - real_cells / cells)


@settings(max_examples=40)
@given(
    lengths=lengths_of_examples,
    size=st.integers(1, 5),
    count=st.integers(1, 4),
    shuffle=st.booleans(),
)
def test_shards_share_each_batch(tmp_path_factory, lengths, size, count, shuffle):
    """Batch for batch the shards have one shape, and together the rows of the whole, each once."""
    store = store_of(tmp_path_factory.mktemp("shards"), lengths)
    batches = Batches(store, size, "text", max_shapes=6, shuffle=shuffle, seed=1)
    shards = [batches.shard(index, count) for index in range(count)]
    assert {shard.num_batches(2) for shard in shards} == {batches.num_batches(2)}
    seen = []
    for whole, *parts in zip(batches.arrays(2), *(s.arrays(2) for s in shards), strict=True):
        rows, length = whole["text"].shape
        shape = (-(-rows // count), length)
        assert {part["text"].shape for part in parts} == {shape} and shape in shards[0].shapes
        indices = [part["index"][part["real"]] for part in parts]
        assert sorted(np.concatenate(indices)) == sorted(whole["index"][whole["real"]])
        # No shard has two rows more than another.
        assert max(map(len, indices)) - min(map(len, indices)) <= 1
        seen += np.concatenate(indices).tolist()
    assert sorted(seen) == list(range(len(lengths)))


def test_shards_of_shards(tmp_path):
    batches = Batches(store_of(tmp_path, [1] * 23), 2, "text")
    parts = [batches.shard(i, 2).shard(j, 3) for i in range(2) for j in range(3)]
    seen = [i for part in parts for b in part.arrays() for i in b["index"][b["real"]]]
    assert sorted(seen) == list(range(23))


def test_the_order_is_a_function_of_seed_and_epoch(tmp_path):
    store = store_of(tmp_path, np.random.default_rng(0).integers(1, 30, 200))

    def order(seed, epoch, start=0):
        batches = Batches(store, 8, "text", max_shapes=6, shuffle=True, seed=seed)
        return [batch["index"].tolist() for batch in batches.arrays(epoch, start)]

    whole = order(5, 2)
    assert order(5, 2) == whole
    assert order(5, 2, start=7) == whole[7:]
    assert order(5, 3) != whole
    assert order(6, 2) != whole
    # Company changes from epoch to epoch, not only the order of the batches.
    assert {frozenset(batch) for batch in order(5, 3)}.isdisjoint(map(frozenset, whole))


def test_tf_data_gives_the_same(tmp_path):
    store = store_of(tmp_path, np.random.default_rng(0).integers(1, 30, 100))
    batches = Batches(store, 8, "text", max_shapes=6, shuffle=True, seed=5)
    for start in (0, 5):
        data = batches.epoch(1, start)
        assert data.element_spec == batches.element_spec
        assert int(data.cardinality()) == batches.num_batches(1) - start
        for _ in range(2):
            for wanted, got in zip(batches.arrays(1, start), data, strict=True):
                assert got.keys() == wanted.keys()
                for name, value in wanted.items():
                    np.testing.assert_array_equal(got[name], value)
                    assert got[name].dtype == batches.element_spec[name].dtype
    assert list(batches.epoch(1, 99)) == []


def test_tensors_are_the_same(tmp_path):
    store = store_of(tmp_path, np.random.default_rng(0).integers(1, 30, 100))
    batches = Batches(store, 8, "text", max_shapes=6, shuffle=True, seed=5)
    for start in (0, 5):
        wanted = list(batches.arrays(1, start))
        tensors = list(batches.tensors(1, start))
        for array, tensor in zip(wanted, tensors, strict=True):
            assert array.keys() == tensor.keys()
            for name, spec in batches.element_spec.items():
                assert tensor[name].dtype == spec.dtype
                np.testing.assert_array_equal(tensor[name], array[name])
    assert list(batches.tensors(1, 99)) == []


def test_one_compilation_a_shape(tmp_path):
    """What the finite set of shapes is for: short batches and later epochs trace nothing new."""
    store = store_of(tmp_path, np.random.default_rng(0).integers(1, 30, 101))
    batches = Batches(store, 8, "text", shuffle=True, max_shapes=3)
    traced = []

    @tf.function
    def step(text):
        traced.append(text.shape.as_list())
        return tf.reduce_sum(text)

    for epoch in range(3):
        for batch in batches.arrays(epoch):
            step(tf.constant(batch["text"]))
    assert sorted(map(tuple, traced)) == sorted(batches.shapes)
    assert len(traced) == 3


def test_without_shuffling_the_buckets_come_in_order(tmp_path):
    batches = Batches(store_of(tmp_path, [5, 1, 5, 1, 1, 5]), 2, "text", max_shapes=2)
    order = [batch["index"].tolist() for batch in batches.arrays()]
    assert order == [[1, 3], [4, 0], [2, 5]]
    assert [batch["text"].shape for batch in batches.arrays()] == [(2, 1), (2, 5), (2, 5)]


def test_a_short_last_batch_takes_the_shortest_shape_that_holds_it(tmp_path):
    batches = Batches(store_of(tmp_path, [9, 9, 2, 2, 2]), 2, "text", max_shapes=2)
    last = list(batches.arrays())[-1]
    assert [batch["text"].shape[1] for batch in batches.arrays()] == [2, 9, 9]
    assert last["real"].tolist() == [True, False]
    assert last["index"].tolist() == [1, -1]
    # A filler row repeats a real one: nothing in it can become NaN.
    assert (last["text"][1] == last["text"][0]).all()


def test_pairs(tmp_path):
    generator = np.random.default_rng(0)
    source = generator.integers(1, 30, 300)
    target = np.maximum(source + generator.integers(-3, 4, 300), 1)
    store = store_of(tmp_path, source, target)
    batches = Batches(store, 8, ["text", "target"], max_shapes=4, shuffle=True)
    seen = []
    for batch in batches.arrays():
        assert (8, batch["text"].shape[1], batch["target"].shape[1]) in batches.shapes
        for i, text, other in zip(batch["index"], batch["text"], batch["target"], strict=True):
            if i >= 0:
                seen.append(i)
                assert (text[: source[i]] == i + 1).all() and not text[source[i] :].any()
                assert (other[: target[i]] == -i - 1).all() and not other[target[i] :].any()
    assert sorted(seen) == list(range(300))
    assert len(batches.shapes) <= 4
    assert batches.padding_share < 0.35
    cut = Batches(store, 8, ["text", "target"], max_length={"target": 10}, max_shapes=4)
    assert cut.cut == {"text": 0, "target": int((target > 10).sum())}
    assert cut.shapes[-1] == (8, source.max(), 10)


def test_given_buckets_get_one_more_where_the_data_are_longer(tmp_path):
    store = store_of(tmp_path, [3, 8, 20])
    assert Batches(store, 2, "text", buckets=[4, 10]).shapes == [(2, 4), (2, 10), (2, 20)]
    assert Batches(store, 2, "text", 12, buckets=[4, 10]).shapes == [(2, 4), (2, 10), (2, 12)]
    assert Batches(store, 2, "text", 10, buckets=[4, 10]).shapes == [(2, 4), (2, 10)]
    train = Batches(store_of(tmp_path, [5, 40]), 2, "text", max_shapes=2)
    assert Batches(store, 2, "text", buckets=train.buckets).shapes == train.shapes


def test_columns_that_follow(tmp_path):
    columns = {"words": Column(), "letters": Column("int16", (2,)), "tags": Column("int8")}
    examples = [
        {"words": [1] * n, "letters": np.full((n, 2), 5), "tags": [2] * n} for n in (1, 3, 4)
    ]
    store = write_store(tmp_path / "s", examples, columns)
    batches = Batches(store, 3, "words", max_shapes=1, padding={"tags": -1})
    (batch,) = batches.arrays()
    assert batch["tags"].tolist() == [[2, -1, -1, -1], [2, 2, 2, -1], [2, 2, 2, 2]]
    assert batch["letters"].shape == (3, 4, 2)
    assert batch["letters"][0].tolist() == [[5, 5], [0, 0], [0, 0], [0, 0]]
    assert batches.element_spec["letters"] == tf.TensorSpec((3, 4, 2), tf.int16, "letters")
    only = Batches(store, 3, "words", fields=["tags"])
    assert next(only.arrays()).keys() == {"tags", "real", "index"}


def test_what_cannot_be(tmp_path):
    store = store_of(tmp_path, [1, 2])
    for settings_, said in [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"max_length": 0}, "max_length must be at least 1"),
        ({"max_shapes": -1}, "max_shapes must be at least 0"),
        ({"buckets": [5, 3]}, "buckets must grow"),
        ({"buckets": []}, "buckets need a length"),
        (
            {"buckets": [4, 64], "max_length": 50},
            "the bucket 64 is longer than max_length=50, where 'text'",
        ),
    ]:
        with pytest.raises(InputError, match=said):
            Batches(store, **{"batch_size": 2, "length_columns": "text", **settings_})
    with pytest.raises(ValueError, match="no column 'words'; there are text, label"):
        Batches(store, 2, "words")
    with pytest.raises(InputError, match="there are no examples"):
        Batches(write_store(tmp_path / "empty", [], {"text": Column()}), 2, "text")
    columns = {"a": Column(), "b": Column()}
    uneven = write_store(tmp_path / "uneven", [{"a": [1], "b": [1, 2]}], columns)
    with pytest.raises(ValueError, match="'b' of example 0 is longer than 'a'"):
        Batches(uneven, 2, "a")
