"""Items worked on ahead: in their order, few at a time, errors in their places."""

import threading
import time

import pytest

from pipelines import map_ahead
from pipelines.ahead import THREADS


def test_results_come_in_order_and_few_items_are_read_in_advance():
    read, threads = [], set()

    def items():
        for number in range(50):
            read.append(number)
            yield number

    def square(number):
        threads.add(threading.get_ident())
        time.sleep(0.002 * (number % 3))  # some take longer than those after them
        return number**2

    for place, result in enumerate(map_ahead(square, items())):
        assert result == place**2
        assert len(read) <= place + THREADS + 1
    assert place == 49
    assert len(threads) == THREADS and threading.get_ident() not in threads


@pytest.mark.parametrize("where", ["function", "items"])
def test_an_error_comes_where_its_item_stands(where):
    def items():
        yield from range(5)
        if where == "items":
            raise ValueError("the sixth")
        yield from (5, 6, 7)

    def work(number):
        if number == 5:
            raise ValueError("the sixth")
        return number

    seen = []
    with pytest.raises(ValueError, match="the sixth"):
        for result in map_ahead(work, items()):
            seen.append(result)
    assert seen == [0, 1, 2, 3, 4]


def test_who_stops_early_leaves_nothing_running():
    before = threading.active_count()
    results = map_ahead(abs, range(100))
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before
