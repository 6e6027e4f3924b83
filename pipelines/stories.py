"""Built-in data for question answering: little stories of people, places and things, from a seed.

After the manner of the bAbI tasks (Weston et al. 2015), with words of our own: a simulated house, of
which each sentence tells one event. Each question names its kind, by the facts that it needs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PEOPLE = ("Ada", "Bruno", "Chiara", "Dev", "Eun", "Farid")
PLACES = ("attic", "cellar", "garage", "library", "pantry", "porch", "workshop")
THINGS = ("candle", "hammer", "kettle", "ladder", "map", "umbrella")
NUMBERS = ("none", "one", "two", "three", "four", "five", "six")

_MOVES = ("walked to", "ran to", "hurried to", "returned to", "stepped into")
_TAKES = ("picked up", "found", "took")
_DROPS = ("put down", "left", "set down")
_GIVES = ("handed", "passed", "gave")

# Tries until a story has a question of the kind that is wanted.
_MOST_TRIES = 1000


def house_stories(
    seed: int = 0, train: int = 1500, dev: int = 100, test: int = 100
) -> tuple[list[dict], list[dict], list[dict]]:
    """Stories with a question each, as {"context", "question", "answer", "task"}.

    | task | question | facts |
    |---|---|---|
    | person | Where is Ada? | 1 |
    | yes_no | Is Ada in the attic? | 1 |
    | holder | Who has the map? | 1 |
    | thing | Where is the map? | 2: who had it last, and where they were |
    | before | Where was the map before the attic? | 3 |
    | count | How many things does Ada carry? | as many as she took and lost |

    Arguments:
        seed: another seed, other stories.
        train, dev, test: stories of each task.

    Returns:
        train, dev, test: each in random order; no story with its question stands twice.

    Example:

    >>> train, dev, test = house_stories(train=2, dev=1, test=1)
    >>> len(train), sorted({record["task"] for record in train})
    (12, ['before', 'count', 'holder', 'person', 'thing', 'yes_no'])
    """
    generator = np.random.default_rng(seed)
    parts: tuple[list[dict], ...] = ([], [], [])
    taken: set[tuple[str, str]] = set()
    for task, ask in _QUESTIONS.items():
        records = []
        while len(records) < train + dev + test:
            record = {**_story(generator, ask), "task": task}
            key = (record["context"], record["question"])
            if key not in taken:
                taken.add(key)
                records.append(record)
        parts[0].extend(records[:train])
        parts[1].extend(records[train : train + dev])
        parts[2].extend(records[train + dev :])
    return tuple([part[i] for i in generator.permutation(len(part))] for part in parts)


class _House:
    """Who is where and who has what, and the sentences that told it."""

    def __init__(self, generator: np.random.Generator):
        self.generator = generator
        self.sentences: list[str] = []
        self.place: dict[str, str] = {}
        self.holder: dict[str, str] = {}
        # The places where each thing has been, as far as was told, the last one now.
        self.trail: dict[str, list[str]] = {}

    def draw(self, options) -> str:
        options = sorted(options)
        return options[self.generator.integers(len(options))]

    def held_by(self, person: str) -> list[str]:
        return [thing for thing, holder in self.holder.items() if holder == person]

    def happen(self) -> None:
        """Tells one event; at times it cannot be, and nothing is told."""
        events = (self._move, self._move, self._take, self._take, self._drop, self._give)
        event = events[self.generator.integers(len(events))]
        sentence = event(self.draw(PEOPLE))
        if sentence:
            self.sentences.append(sentence)

    def _move(self, person: str) -> str:
        place = self.draw({*PLACES} - {self.place.get(person)})
        self.place[person] = place
        for thing in self.held_by(person):
            self.trail[thing].append(place)
        return f"{person} {self.draw(_MOVES)} the {place}."

    def _take(self, person: str) -> str:
        here = self.place.get(person)
        # What nobody has spoken of may be anywhere; what was put down is where it lies.
        free = [t for t in THINGS if t not in self.holder and self.trail.get(t, [here])[-1] == here]
        if here is None or not free:
            return ""
        thing = self.draw(free)
        self.holder[thing] = person
        self.trail.setdefault(thing, [here])
        return f"{person} {self.draw(_TAKES)} the {thing}{self.draw(('', ' there'))}."

    def _drop(self, person: str) -> str:
        if not self.held_by(person):
            return ""
        thing = self.draw(self.held_by(person))
        del self.holder[thing]
        return f"{person} {self.draw(_DROPS)} the {thing}{self.draw(('', ' there'))}."

    def _give(self, person: str) -> str:
        near = [other for other, place in self.place.items() if place == self.place.get(person)]
        near = [other for other in near if other != person]
        if not near or not self.held_by(person):
            return ""
        thing, other = self.draw(self.held_by(person)), self.draw(near)
        self.holder[thing] = other
        verb = self.draw(_GIVES)
        if self.generator.integers(2):
            return f"{person} {verb} {other} the {thing}."
        return f"{person} {verb} the {thing} to {other}."


def _person(house: _House) -> tuple[str, str]:
    person = house.draw(house.place)
    return f"Where is {person}?", house.place[person]


def _yes_no(house: _House) -> tuple[str, str]:
    person, answer = house.draw(house.place), house.draw(("yes", "no"))
    here = house.place[person]
    place = here if answer == "yes" else house.draw({*PLACES} - {here})
    return f"Is {person} in the {place}?", answer


def _holder(house: _House) -> tuple[str, str]:
    thing = house.draw(house.holder)
    return f"Who has the {thing}?", house.holder[thing]


def _thing(house: _House) -> tuple[str, str]:
    thing = house.draw(house.trail)
    return f"Where is the {thing}?", house.trail[thing][-1]


def _before(house: _House) -> tuple[str, str]:
    # A place where it has been once: before which visit would not be said.
    travelled = [
        thing
        for thing, trail in house.trail.items()
        if len(trail) > 1 and trail.count(trail[-1]) == 1
    ]
    thing = house.draw(travelled)
    earlier, last = house.trail[thing][-2:]
    return f"Where was the {thing} before the {last}?", earlier


def _count(house: _House) -> tuple[str, str]:
    # Who carries something more often than not: else nearly all answers are "none".
    busy = {*house.holder.values()} if house.generator.integers(4) else {*house.place}
    person = house.draw(busy)
    return f"How many things does {person} carry?", NUMBERS[len(house.held_by(person))]


_QUESTIONS: dict[str, Callable[[_House], tuple[str, str]]] = {
    "person": _person,
    "yes_no": _yes_no,
    "holder": _holder,
    "thing": _thing,
    "before": _before,
    "count": _count,
}


def _story(
    generator: np.random.Generator, ask: Callable[[_House], tuple[str, str]]
) -> dict[str, str]:
    for _ in range(_MOST_TRIES):
        house = _House(generator)
        wanted = int(generator.integers(3, 13))
        while len(house.sentences) < wanted:
            house.happen()
        try:
            question, answer = ask(house)
        except (IndexError, ValueError):
            continue  # Nobody has anything, nothing has travelled.
        return {"context": " ".join(house.sentences), "question": question, "answer": answer}
    raise RuntimeError("no story has such a question")
