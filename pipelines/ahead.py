"""Work on the next items while those before them are used."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items that are worked on at once, each in a thread: TensorFlow's kernels let other threads run.
THREADS = 2


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function(item)` for each item, in their order; threads work on the next ones meanwhile.

    The items themselves are read by the caller's thread, a few in advance. An error comes where its item stands,
    whether the function raises it or the items do.

    Example:

    >>> list(map_ahead(len, ["a", "be", "see"]))
    [1, 2, 3]
    """
    failure = None
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        try:
            for item in _until_failure(items):
                if isinstance(item, _Failure):
                    failure = item.error
                    break
                waiting.append(pool.submit(function, item))
                if len(waiting) > THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
    if failure is not None:
        raise failure


class _Failure:
    """What reading the next item raised."""

    def __init__(self, error: Exception):
        self.error = error


def _until_failure(items: Iterable[Item]) -> Iterator[Item | _Failure]:
    try:
        yield from items
    except Exception as error:
        yield _Failure(error)
