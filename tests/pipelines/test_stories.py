"""The built-in stories: told again sentence by sentence, the answers come out as they stand there."""

import collections
import re

import pytest

from pipelines import house_stories
from pipelines.stories import NUMBERS


@pytest.fixture(scope="module")
def parts():
    return house_stories(seed=0, train=60, dev=10, test=10)


def retold(context):
    """Where everybody is, who has what, and where each thing has been, by the sentences alone."""
    place, holder, trail = {}, {}, collections.defaultdict(list)

    def take(person, thing):
        holder[thing] = person
        if trail[thing][-1:] != [place[person]]:
            trail[thing].append(place[person])

    for sentence in re.findall(r"[^.]+\.", context):
        sentence = sentence.strip().removesuffix(".").removesuffix(" there")
        person, rest = sentence.split(" ", 1)
        if moved := re.fullmatch(
            r"(walked to|ran to|hurried to|returned to|stepped into) the (\w+)", rest
        ):
            place[person] = moved[2]
            for thing in [thing for thing, who in holder.items() if who == person]:
                trail[thing].append(moved[2])
        elif got := re.fullmatch(r"(picked up|found|took) the (\w+)", rest):
            assert holder.get(got[2]) is None
            assert trail[got[2]][-1:] in ([], [place[person]])
            take(person, got[2])
        elif lost := re.fullmatch(r"(put down|left|set down) the (\w+)", rest):
            assert holder.pop(lost[2]) == person
        elif gave := re.fullmatch(r"(?:handed|passed|gave) (\w+) the (\w+)", rest):
            assert holder[gave[2]] == person and place[gave[1]] == place[person]
            holder[gave[2]] = gave[1]
        elif gave := re.fullmatch(r"(?:handed|passed|gave) the (\w+) to (\w+)", rest):
            assert holder[gave[1]] == person and place[gave[2]] == place[person]
            holder[gave[1]] = gave[2]
        else:
            raise AssertionError(sentence)
    return place, holder, trail


def right_answer(record):
    place, holder, trail = retold(record["context"])
    words = record["question"].removesuffix("?").split()
    match record["task"]:
        case "person":
            return place[words[2]]
        case "yes_no":
            return "yes" if place[words[1]] == words[4] else "no"
        case "holder":
            return holder[words[3]]
        case "thing":
            return trail[words[3]][-1]
        case "before":
            assert trail[words[3]].count(words[6]) == 1
            return trail[words[3]][trail[words[3]].index(words[6]) - 1]
        case "count":
            return NUMBERS[sum(who == words[4] for who in holder.values())]


def test_every_answer_follows_from_its_story(parts):
    for record in (record for part in parts for record in part):
        assert record["answer"] == right_answer(record), record


def test_parts(parts):
    assert house_stories(seed=0, train=60, dev=10, test=10) == parts
    assert house_stories(seed=1, train=60, dev=10, test=10)[0] != parts[0]
    for part, each in zip(parts, (60, 10, 10)):
        counts = collections.Counter(record["task"] for record in part)
        assert set(counts.values()) == {each} and len(counts) == 6
    asked = [(record["context"], record["question"]) for part in parts for record in part]
    assert len(set(asked)) == len(asked)
    # No answer is a good guess for all questions of its kind.
    for task in ("person", "yes_no", "holder", "thing", "before", "count"):
        answers = collections.Counter(r["answer"] for r in parts[0] if r["task"] == task)
        assert max(answers.values()) <= 0.7 * 60
