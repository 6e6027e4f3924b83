"""The built-in notices: what the summary says stands in the text, and what does not belong to it stands there too."""

import re

import pytest

from pipelines import town_notices

FORMS = (
    r"(?P<a>\w+ \w+) is mayor of (?P<b>\w+)",
    r"(?P<a>\w+ \w+) buys (?P<b>\w+) (?P<c>\w+) for (?P<d>[\d,]+) crowns",
    r"(?P<a>\w+ \w+) wins (?P<b>\w+) with (?P<c>[\d,]+) points",
    r"Road from (?P<a>\w+) to (?P<b>\w+) closed on (?P<c>\w+)",
    r"New (?P<a>\w+) for (?P<b>\w+)",
    r"(?P<a>\w+) lost in (?P<b>\w+)",
)


@pytest.fixture(scope="module")
def parts():
    return town_notices(train=600, dev=50, test=50)


def test_every_fact_of_a_summary_stands_in_one_sentence_of_its_text(parts):
    seen = set()
    for record in [*parts[0], *parts[1], *parts[2]]:
        form = next(form for form in FORMS if re.fullmatch(form, record["summary"]))
        seen.add(form)
        facts = [fact.lower() for fact in re.fullmatch(form, record["summary"]).groups()]
        sentences = [sentence.lower() for sentence in re.findall(r"[^.]+\.", record["text"])]
        telling = [s for s in sentences if all(fact in s for fact in facts)]
        assert len(telling) == 1 and 2 <= len(sentences) <= 5
    assert len(seen) == len(FORMS)


def test_names_have_to_be_copied_and_chosen(parts):
    train, _, test = parts
    known = {word.strip(".,") for record in train for word in record["text"].split()}
    unseen = [
        record for record in test if any(word not in known for word in record["summary"].split())
    ]
    assert len(unseen) > 0.7 * len(test)
    # Another name, town or number stands beside the right one more often than not.
    others = [
        record
        for record in test
        if re.search(
            r"[A-Z0-9]", " ".join(set(record["text"].split()) - {*record["summary"].split()})
        )
    ]
    assert len(others) > 0.9 * len(test)


def test_a_seed_is_a_seed(parts):
    again, other = town_notices(train=600, dev=50, test=50), town_notices(seed=1, train=5)
    assert again == parts
    assert other[0] != parts[0][:5]
