"""Built-in data for summarization: notices of a small country's towns, with names that nobody bears, from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BEGINNINGS = tuple("b br d f g gr h k l m n p r s st t tr v w z".split())
_VOWELS = tuple("a e i o u au ei".split())
_ENDINGS = tuple("l n r s k nd rt lm x".split())
_OF_TOWNS = ("berg", "by", "ford", "haven", "mouth", "stead", "wick")

# What happened: ways to tell it, and what is to be said of it.
_EVENTS = (
    (
        (
            "{name} has been elected mayor of {town}.",
            "The people of {town} have chosen {name} as their mayor.",
            "As mayor, {town} gets {name}.",
        ),
        "{name} is mayor of {town}",
    ),
    (
        (
            "{name} has bought the {house} of {town} for {number} crowns.",
            "For {number} crowns the {house} of {town} went to {name}.",
            "The {house} of {town} now belongs to {name}, who paid {number} crowns.",
        ),
        "{name} buys {town} {house} for {number} crowns",
    ),
    (
        (
            "{name} won the {contest} of {town} with {number} points.",
            "With {number} points the {contest} of {town} went to {name}.",
            "Nobody beat {name}, who had {number} points, in the {contest} of {town}.",
        ),
        "{name} wins {contest} with {number} points",
    ),
    (
        (
            "The road from {town} to {place} will be closed on {day}.",
            "On {day} nobody can drive from {town} to {place}.",
            "From {town} to {place} there will be no way on {day}, as the road is mended.",
        ),
        "Road from {town} to {place} closed on {day}",
    ),
    (
        (
            "In {town} a new {house} will open on {day}.",
            "On {day} a {house} opens in {town}, a new one.",
            "{town} will have a new {house} from {day} on.",
        ),
        "New {house} for {town}",
    ),
    (
        (
            "A {animal} of {name} has run away in {town}.",
            "{name} has lost a {animal} in {town}.",
            "In {town} {name} is looking for a {animal}.",
        ),
        "{animal} lost in {town}",
    ),
)

# What is said beside it, and is not to be repeated.
_ASIDES = (
    "About {number} people were there.",
    "It was {number} years ago that {town} saw the like.",
    "{name} of {town} took the pictures.",
    "Our reporter {name} was told so on {day}.",
    "Before that, {name} made a speech of {number} words.",
    "It rained from {day} to {other_day}.",
    "The band of {town} played.",
    "Nobody asked {name}.",
    "Letters go to {name}, {town}.",
)
_DRAWN = {
    "house": "mill bakery tavern school library theatre".split(),
    "contest": "regatta marathon cup derby".split(),
    "animal": "goat parrot donkey tortoise".split(),
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
}


def town_notices(
    seed: int = 0, train: int = 4000, dev: int = 200, test: int = 200
) -> tuple[list[dict], list[dict], list[dict]]:
    """Notices of two to five sentences, as {"text", "summary"}: one sentence tells an event, the others are beside it.

    The summary says the event in few words. Its names and numbers have to be copied, for they are made anew for each
    notice, and of the several that a notice has the right ones.

    Arguments:
        seed: another seed, other notices.
        train, dev, test: how many.

    Example:

    >>> train, _, _ = town_notices(train=1, dev=0, test=0)
    >>> sorted(train[0])
    ['summary', 'text']
    """
    generator = np.random.default_rng(seed)
    sizes = (train, dev, test)
    return tuple([_notice(generator) for _ in range(size)] for size in sizes)


def _notice(generator: np.random.Generator) -> dict[str, str]:
    tellings, summary = _EVENTS[generator.integers(len(_EVENTS))]
    facts = _facts(generator)
    chosen = generator.permutation(len(_ASIDES))[: generator.integers(1, 5)]
    sentences = [_ASIDES[number].format(**_facts(generator)) for number in chosen]
    place = generator.integers(len(sentences) + 1)
    sentences.insert(place, _drawn(generator, tellings).format(**facts))
    return {"text": " ".join(sentences), "summary": _capital(summary.format(**facts))}


def _facts(generator: np.random.Generator) -> dict[str, str]:
    days = generator.permutation(_DRAWN["day"])
    return {
        **{kind: _drawn(generator, words) for kind, words in _DRAWN.items()},
        "name": f"{_word(generator)} {_word(generator)}{_word(generator).lower()}",
        "town": _word(generator) + _drawn(generator, _OF_TOWNS),
        "place": _word(generator) + _drawn(generator, _OF_TOWNS),
        "number": f"{generator.integers(11, 9999):,}",
        "day": str(days[0]),
        "other_day": str(days[1]),
    }


def _word(generator: np.random.Generator) -> str:
    parts = (_BEGINNINGS, _VOWELS, _ENDINGS)
    return _capital("".join(_drawn(generator, part) for part in parts))


def _drawn(generator: np.random.Generator, options: Sequence[str]) -> str:
    return str(options[generator.integers(len(options))])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
