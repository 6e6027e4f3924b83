"""Encoded examples in a folder: written once, read at random, never held in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from pipelines.errors import InputError
from pipelines.files import atomic_directory

_FACTS = "store.json"
_VERSION = 2
# Elements that are compared with their bounds at a time.
_CHECKED = 2**20
# Bytes that writing gathers before they go to the file.
_BUFFER = 2**20


@dataclasses.dataclass(frozen=True)
class Column:
    """What one column of a store holds for each example.

    Arguments:
        dtype: a NumPy number type, "int32" for ids.
        inner_shape: the shape of one element; [length, *inner_shape] is an example's array.
        scalar: whether each example has one element without a length (a label, a vector of
            labels): its array is [*inner_shape], a batch [batch, *inner_shape].
        bounds: the smallest and the largest number that it may hold, for `ExampleStore.check`; XLA takes another one
            for the nearest that is allowed, or for none, and says nothing.
    """

    dtype: str = "int32"
    inner_shape: tuple[int, ...] = ()
    scalar: bool = False
    bounds: tuple[float, float] | None = None

    def __post_init__(self):
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        object.__setattr__(self, "inner_shape", tuple(int(n) for n in self.inner_shape))
        if self.bounds is not None:
            object.__setattr__(self, "bounds", tuple(self.bounds))

    @classmethod
    def of_ids(
        cls, size: int, inner_shape: tuple[int, ...] = (), scalar: bool = False, least: int = 0
    ) -> Column:
        """Numbers below `size`, as a table of so many rows has them."""
        return cls("int32", inner_shape, scalar, (least, size - 1))

    @property
    def elements(self) -> int:
        """Numbers in one element."""
        return int(np.prod(self.inner_shape, dtype=np.int64))


class ExampleStore:
    """A folder of encoded examples, mapped into memory and read at any place.

    `store.json` says what is there; each column has `COLUMN.values` (the raw numbers of all
    examples, one after another) and, unless it is scalar, `COLUMN.ends` (int64, the place where
    each example ends).

    Arguments:
        directory: a folder that `write_store` wrote.

    Raises:
        InputError: the folder is no store, or a file has not the size it should have.

    Example:

    >>> import tempfile
    >>> folder = os.path.join(tempfile.mkdtemp(), "train")
    >>> examples = [{"text": [4, 5, 6], "label": 1}, {"text": [7], "label": 0}]
    >>> store = write_store(folder, examples, {"text": Column(), "label": Column(scalar=True)})
    >>> len(store), store[0]["text"].tolist(), int(store[0]["label"])
    (2, [4, 5, 6], 1)
    >>> store.padded("text", np.array([1, 0]), 3).tolist()
    [[7, 0, 0], [4, 5, 6]]
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = os.fspath(directory)
        file = os.path.join(self.directory, _FACTS)
        try:
            with open(file, encoding="utf-8") as stream:
                described = json.load(stream)
            if described["version"] != _VERSION:
                raise InputError(f"is a store of version {described['version']}", file)
            self._length = int(described["examples"])
            self.columns = {n: Column(**column) for n, column in described["columns"].items()}
        except (FileNotFoundError, NotADirectoryError):
            raise InputError("no such file", file) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("does not describe a store of examples", file) from error
        self._values: dict[str, np.ndarray] = {}
        self._ends: dict[str, np.ndarray] = {}
        for name, column in self.columns.items():
            if column.scalar:
                elements = self._length
            else:
                ends = _mapped(self._file(name, "ends"), "int64", (self._length,))
                self._ends[name] = ends
                elements = int(ends[-1]) if self._length else 0
            shape = (elements, *column.inner_shape)
            self._values[name] = _mapped(self._file(name, "values"), column.dtype, shape)

    def _file(self, name: str, what: str) -> str:
        return os.path.join(self.directory, f"{name}.{what}")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not -self._length <= index < self._length:
            raise IndexError(f"example {index} of {self._length}")
        index %= self._length
        example = {}
        for name, column in self.columns.items():
            if column.scalar:
                example[name] = np.array(self._values[name][index])
            else:
                start, end = self._places(name, np.array([index]))
                example[name] = np.array(self._values[name][start[0] : end[0]])
        return example

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[index] for index in range(self._length))

    def lengths(self, column: str) -> np.ndarray:
        """int64[examples]: how many elements each example has in this column."""
        if self.columns[column].scalar:
            return np.ones(self._length, np.int64)
        lengths = np.diff(self._ends[column], prepend=0)
        if (lengths < 0).any():
            raise InputError("does not rise: the store is damaged", self._file(column, "ends"))
        return lengths

    def scalars(self, column: str, indices: np.ndarray) -> np.ndarray:
        """[batch, *inner_shape] of a scalar column."""
        return self._values[column][indices]

    def padded(
        self, column: str, indices: np.ndarray, length: int, padding: float = 0
    ) -> np.ndarray:
        """[batch, length, *inner_shape]: the examples cut to `length` or padded at the right."""
        values = self._values[column]
        starts, ends = self._places(column, np.asarray(indices, np.int64))
        places = starts[:, None] + np.arange(length)
        real = places < ends[:, None]
        if not len(values):
            shape = (len(starts), length, *values.shape[1:])
            return np.full(shape, padding, values.dtype)
        taken = np.asarray(values[np.minimum(places, len(values) - 1)])
        taken[~real] = padding
        return taken

    def text(self, index: int, column: str) -> str:
        """What a sequence of bytes spells in UTF-8."""
        # Of this column alone: the others may be large.
        (start,), (end,) = self._places(column, np.array([index]))
        try:
            return self._values[column][start:end].tobytes().decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged(column, f"example {index} is no UTF-8") from None

    def check(self) -> None:
        """Raises an `InputError` for the first number that leaves the bounds of its column."""
        for name, column in self.columns.items():
            if column.bounds is None:
                continue
            least, most = column.bounds
            for start in range(0, len(self._values[name]), _CHECKED):
                part = self._values[name][start : start + _CHECKED]
                # Of what is no number neither holds.
                if least <= part.min() and part.max() <= most:
                    continue
                row, *place = np.argwhere(~((part >= least) & (part <= most)))[0]
                number = start + int(row)
                if not column.scalar:
                    number = int(np.searchsorted(self._ends[name], number, side="right"))
                found = part[(row, *place)]
                what = f"example {number} holds {found}, which is not from {least} to {most}"
                raise self.damaged(name, what)

    def damaged(self, column: str, what: str) -> InputError:
        """The error to raise for what a column's file holds."""
        return InputError(f"{what}: the store is damaged", self._file(column, "values"))

    def _places(self, column: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ends = self._ends[column]
        starts = np.where(indices > 0, ends[np.maximum(indices, 1) - 1], 0)
        return starts, np.asarray(ends[indices])


def write_store(
    directory: str | os.PathLike,
    examples: Iterable[Mapping[str, np.ndarray]],
    columns: Mapping[str, Column],
) -> ExampleStore:
    """Writes examples as they come into a new folder and gives the store, open.

    The folder takes the place of `directory` only when everything is written, so a full disk or
    an error in `examples` leaves what stood there.

    Arguments:
        directory: the folder to make or replace.
        examples: each has an array for each column: [length, *inner_shape], or [*inner_shape]
            for a scalar column.
        columns: name -> `Column`.

    Raises:
        InputError: the disk is full.
        ValueError: an example does not fit the columns.
    """
    columns = dict(columns)
    count = 0
    with atomic_directory(directory) as folder, contextlib.ExitStack() as stack:
        writers = {name: _Writer(folder, name, c, stack) for name, c in columns.items()}
        for count, example in enumerate(examples, start=1):  # noqa: B007
            if example.keys() != columns.keys():
                given, wanted = sorted(example), sorted(columns)
                raise ValueError(f"example {count} has the columns {given}, not {wanted}")
            for name, writer in writers.items():
                writer.add(example[name], count)
        for writer in writers.values():
            writer.flush()
        with open(os.path.join(folder, _FACTS), "w", encoding="utf-8") as stream:
            described = {
                "version": _VERSION,
                "examples": count,
                "columns": {name: dataclasses.asdict(c) for name, c in columns.items()},
            }
            json.dump(described, stream, indent=2)
            stream.write("\n")
        # Closed before the folder is flushed and renamed.
        stack.close()
    return ExampleStore(directory)


class _Writer:
    """One column on its way to the disk, by plain writes: a full disk would kill a mapped one."""

    def __init__(self, folder: str, name: str, column: Column, stack: contextlib.ExitStack):
        self.name, self.column = name, column
        self.dtype = np.dtype(column.dtype)
        path = os.path.join(folder, name)
        self.values = stack.enter_context(open(f"{path}.values", "xb", buffering=_BUFFER))
        self.ends = None
        if not column.scalar:
            self.ends = stack.enter_context(open(f"{path}.ends", "xb", buffering=_BUFFER))
        self.end = 0

    def add(self, value: np.ndarray, number: int) -> None:
        array = np.asarray(value)
        if array.dtype != self.dtype:
            if array.size and not np.can_cast(array.dtype, self.dtype, "same_kind"):
                raise ValueError(
                    f"{self.name!r} of example {number} is {array.dtype}, not {self.dtype}"
                )
            array = array.astype(self.dtype)
        inner = self.column.inner_shape
        if self.column.scalar:
            right = array.shape == inner
        else:
            right = array.ndim == len(inner) + 1 and array.shape[1:] == inner
        if not right and array.size == 0 and not self.column.scalar:
            array, right = array.reshape(0, *inner), True
        if not right:
            wanted = inner if self.column.scalar else ("length", *inner)
            hint = "" if array.ndim or self.column.scalar else "; Column(scalar=True) has no length"
            raise ValueError(
                f"{self.name!r} of example {number} has the shape {array.shape}, not {wanted}{hint}"
            )
        self.values.write(array.tobytes())
        if self.ends is not None:
            self.end += len(array)
            self.ends.write(self.end.to_bytes(8, "little", signed=True))

    def flush(self) -> None:
        self.values.flush()
        if self.ends is not None:
            self.ends.flush()


def _mapped(file: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    kind = np.dtype(dtype).newbyteorder("<")
    wanted = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    try:
        size = os.path.getsize(file)
    except OSError:
        raise InputError("no such file", file) from None
    if size != wanted:
        raise InputError(f"has {size} bytes, not {wanted}: the store is damaged", file)
    if not wanted:
        return np.zeros(shape, kind)
    return np.memmap(file, kind, "r", shape=shape)
