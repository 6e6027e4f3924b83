"""Covering arrays: few cases in which every pair of settings occurs."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Case = dict[str, Any]


def covering_array(
    factors: Mapping[str, Sequence[Any]], allowed: Callable[[Case], bool] = lambda case: True
) -> list[Case]:
    """Greedy pairwise covering: every two values of two factors meet in some case.

    Deterministic: the same factors give the same cases. Each case is grown from the first pair not
    yet covered, factor by factor, with the value that covers most of what is left.

    Args:
        factors: name -> values.
        allowed: whether a whole case makes sense; pairs that occur in no allowed case are left out.
    """
    names = list(factors)
    choices = {name: list(range(len(values))) for name, values in factors.items()}

    def whole(indices: Mapping[str, int]) -> Case:
        return {name: factors[name][indices[name]] for name in names}

    left = {
        ((first, i), (second, j)): None
        for first, second in itertools.combinations(names, 2)
        for i in choices[first]
        for j in choices[second]
    }
    cases = []
    while left:
        (first, i), (second, j) = next(iter(left))
        grown = _grow(
            {first: i, second: j}, names, choices, left, lambda case: allowed(whole(case))
        )
        if grown is None:
            del left[((first, i), (second, j))]
            continue
        for pair in itertools.combinations([(name, grown[name]) for name in names], 2):
            left.pop(pair, None)
        cases.append(whole(grown))
    return cases


def _grow(start, names, choices, left, allowed):
    """The case that extends `start`, or None where none is allowed; the best value first."""
    missing = [name for name in names if name not in start]
    if not missing:
        return start if allowed(start) else None
    name = missing[0]

    def gain(value):
        pairs = (
            ((name, value), (other, chosen))
            if names.index(name) < names.index(other)
            else ((other, chosen), (name, value))
            for other, chosen in start.items()
        )
        return sum(pair in left for pair in pairs)

    # Ties go to another value each time, so that cases do not all end alike.
    turned = (
        choices[name][len(left) % len(choices[name]) :]
        + choices[name][: len(left) % len(choices[name])]
    )
    for value in sorted(turned, key=gain, reverse=True):
        grown = _grow({**start, name: value}, names, choices, left, allowed)
        if grown is not None:
            return grown
    return None


def name_of(case: Case) -> str:
    """A short name for a case, for pytest."""
    parts = []
    for name, value in case.items():
        if value is True:
            parts.append(name)
        elif value is not False:
            parts.append(str(value))
    return " ".join(parts)
