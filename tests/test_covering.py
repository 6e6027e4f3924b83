"""The covering array covers."""

import itertools

from tests.covering import covering_array

FACTORS = {
    "a": range(7),
    "b": range(5),
    "c": range(4),
    **{f"d{i}": [False, True] for i in range(6)},
}


def pairs_of(cases):
    return {pair for case in cases for pair in itertools.combinations(sorted(case.items()), 2)}


def test_every_pair_occurs_in_few_cases():
    cases = covering_array(FACTORS)
    expected = {
        ((first, x), (second, y))
        for first, second in itertools.combinations(sorted(FACTORS), 2)
        for x in FACTORS[first]
        for y in FACTORS[second]
    }
    assert pairs_of(cases) == expected
    assert 35 <= len(cases) <= 45
    assert cases == covering_array(FACTORS)


def test_cases_that_make_no_sense_are_left_out():
    def allowed(case):
        return not (case["a"] == 0 and case["b"] > 1)

    cases = covering_array(FACTORS, allowed)
    assert all(allowed(case) for case in cases)
    found = {(case["a"], case["b"]) for case in cases}
    assert found == {(a, b) for a in range(7) for b in range(5) if a or b <= 1}
