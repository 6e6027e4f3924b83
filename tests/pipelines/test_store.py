"""A store gives back what was written, at any place, and is there only when it is whole."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import Column, ExampleStore, InputError, write_store

COLUMNS = {
    "text": Column(),
    "letters": Column("int16", (2,)),
    "label": Column(scalar=True),
    "labels": Column("float32", (3,), scalar=True),
}

example = st.builds(
    lambda text, letters, label, labels: {
        "text": np.array(text, np.int32),
        "letters": np.array(letters, np.int16).reshape(-1, 2),
        "label": np.int32(label),
        "labels": np.array(labels, np.float32),
    },
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=4),
    st.integers(0, 9),
    st.tuples(*[st.floats(0, 1, width=32)] * 3),
)


@settings(max_examples=40)
@given(examples=st.lists(example, max_size=6), data=st.data())
def test_round_trip(tmp_path_factory, examples, data):
    folder = tmp_path_factory.mktemp("store") / "train"
    write_store(folder, iter(examples), COLUMNS)
    store = ExampleStore(folder)
    assert len(store) == len(examples)
    assert store.columns == COLUMNS
    for wanted, got in zip(examples, store, strict=True):
        for name, column in COLUMNS.items():
            assert got[name].dtype == column.dtype
            np.testing.assert_array_equal(got[name], wanted[name])
    lengths = [len(one["text"]) for one in examples]
    assert store.lengths("text").tolist() == lengths
    assert store.lengths("label").tolist() == [1] * len(examples)
    if examples:
        some = st.lists(st.integers(0, len(examples) - 1), min_size=1, max_size=5)
        indices = np.array(data.draw(some))
        length = data.draw(st.integers(1, 8))
        padded = store.padded("text", indices, length, padding=-7)
        for index, row in zip(indices, padded, strict=True):
            kept = examples[index]["text"][:length].tolist()
            assert row.tolist() == kept + [-7] * (length - len(kept))
        letters = store.padded("letters", indices, length)
        assert letters.shape == (len(indices), length, 2)
        for index, rows in zip(indices, letters, strict=True):
            kept = examples[index]["letters"][:length]
            np.testing.assert_array_equal(rows[: len(kept)], kept)
            assert not rows[len(kept) :].any()
        np.testing.assert_array_equal(
            store.scalars("labels", indices), np.stack([examples[i]["labels"] for i in indices])
        )


def test_places(tmp_path):
    store = write_store(tmp_path / "s", [{"a": [i] * i} for i in range(4)], {"a": Column()})
    assert store[-1]["a"].tolist() == [3, 3, 3]
    for wrong in (4, -5):
        with pytest.raises(IndexError):
            store[wrong]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (Column(), 3, r"shape \(\).*Column\(scalar=True\)"),
        (Column(), [[1, 2]], r"shape \(1, 2\)"),
        (Column(scalar=True), [3], r"shape \(1,\), not \(\)"),
        (Column(inner_shape=(2,)), [[1, 2, 3]], r"shape \(1, 3\)"),
        (Column(), [1.5], "is float64, not int32"),
        (Column(), ["a"], "not int32"),
    ],
)
def test_an_example_that_does_not_fit(tmp_path, column, value, said):
    folder = tmp_path / "s"
    with pytest.raises(ValueError, match=said):
        write_store(folder, [{"a": value}], {"a": column})
    with pytest.raises(ValueError, match="has the columns"):
        write_store(folder, [{"b": value}], {"a": column})
    assert os.listdir(tmp_path) == []


def test_an_error_while_writing_leaves_the_old_store(tmp_path):
    folder = tmp_path / "s"
    write_store(folder, [{"a": [1, 2]}], {"a": Column()})

    def examples():
        yield {"a": [3]}
        raise InputError("a bad row", "train.tsv", 2)

    with pytest.raises(InputError, match="^train.tsv:2: a bad row$"):
        write_store(folder, examples(), {"a": Column()})
    assert ExampleStore(folder)[0]["a"].tolist() == [1, 2]
    assert os.listdir(tmp_path) == ["s"]


def test_damage_is_named(tmp_path):
    folder = tmp_path / "s"
    with pytest.raises(InputError, match="store.json: no such file"):
        ExampleStore(folder)
    write_store(folder, [{"a": [1, 2]}], {"a": Column()})
    with open(folder / "a.values", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(InputError, match="a.values: has 9 bytes, not 8: the store is damaged"):
        ExampleStore(folder)
    os.remove(folder / "a.ends")
    with pytest.raises(InputError, match="a.ends: no such file"):
        ExampleStore(folder)
    (folder / "store.json").write_text("[]")
    with pytest.raises(InputError, match="does not describe a store"):
        ExampleStore(folder)


def test_numbers_outside_of_their_bounds_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.store._CHECKED", 2)  # so that there are several parts
    columns = {
        "ids": Column.of_ids(5, (2,)),
        "label": Column.of_ids(3, scalar=True, least=-1),
        "share": Column("float32", (2,), scalar=True, bounds=(0, 1)),
    }
    examples = [
        {"ids": [[1, 2]] * length, "label": label, "share": [0.0, 1.0]}
        for length, label in ((1, -1), (2, 2), (3, 0))
    ]
    write_store(tmp_path / "s", examples, columns)
    store = ExampleStore(tmp_path / "s")
    assert store.columns == columns
    store.check()
    for name, place, value, shown in (
        ("ids", 7, 5, "example 2 holds 5, which is not from 0 to 4"),
        ("ids", 0, -1, "example 0 holds -1, which is not from 0 to 4"),
        ("label", 1, 3, "example 1 holds 3, which is not from -1 to 2"),
        ("label", 2, -2, "example 2 holds -2, which is not from -1 to 2"),
        ("share", 3, 1.5, "example 1 holds 1.5, which is not from 0 to 1"),
        ("share", 4, np.nan, "example 2 holds nan, which is not from 0 to 1"),
    ):
        file = tmp_path / "s" / f"{name}.values"
        whole = file.read_bytes()
        values = np.frombuffer(whole, columns[name].dtype).copy()
        values[place] = value
        file.write_bytes(values.tobytes())
        with pytest.raises(InputError) as error:
            ExampleStore(tmp_path / "s").check()
        assert str(error.value) == f"{file}: {shown}: the store is damaged"
        file.write_bytes(whole)


def test_bytes_that_are_no_text_are_named(tmp_path):
    texts = [np.frombuffer(text.encode(), np.uint8) for text in ("für", "")]
    store = write_store(tmp_path / "s", [{"a": text} for text in texts], {"a": Column("uint8")})
    assert [store.text(number, "a") for number in (0, 1)] == ["für", ""]
    (tmp_path / "s" / "a.values").write_bytes(b"f\xbc\xc3r")
    with pytest.raises(InputError, match=r"a\.values: example 0 is no UTF-8: the store is damaged"):
        ExampleStore(tmp_path / "s").text(0, "a")
