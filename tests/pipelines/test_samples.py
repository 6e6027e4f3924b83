"""Built-in data: the same every time, no test string in training, senses that a later word decides."""

import collections
import re

import pytest

from pipelines import (
    InputError,
    date_tags,
    language_identification,
    read_table,
    read_tagged,
    samples,
    schemes,
    teddy,
    transitions,
    write_table,
)


@pytest.fixture(scope="module")
def languages():
    return language_identification(seed=0)


def test_languages(languages):
    train, dev, test = languages
    assert language_identification(seed=0) == languages
    assert language_identification(seed=1)[0] != train
    labels = {record["label"] for record in train}
    assert len(labels) >= 40
    for part, each in zip(languages, (240, 20, 20), strict=True):
        counts = collections.Counter(record["label"] for record in part)
        assert set(counts) == labels and set(counts.values()) == {each}
    texts = [record["text"] for part in languages for record in part]
    # No string twice: not in two languages, not in two parts.
    assert len(set(texts)) == len(texts)
    assert all(text == text.strip() and text for text in texts)
    german = [record["text"] for record in train if record["label"] == "de"]
    assert any("Stunden und" in text for text in german)
    assert any("tag, " in text and "20" in text for text in german)
    # In random order, not language by language.
    assert len({record["label"] for record in train[:100]}) > 20


def test_what_two_languages_write_alike_is_in_neither(monkeypatch):
    """British and American English write dates and lists apart, spans of time alike."""
    monkeypatch.setattr(samples, "LANGUAGES", ["en", "en_GB"])
    train, _, _ = language_identification(seed=2, train=150, dev=1, test=1)
    assert len(train) == 300
    span = re.compile(r"\d+ [a-z]+ and \d+ [a-z]+")
    assert not [record for record in train if span.fullmatch(record["text"])]
    monkeypatch.setattr(samples, "LANGUAGES", ["en", "en_US"])
    with pytest.raises(InputError, match="only 0 strings of 152 are of 'en' alone"):
        language_identification(train=150, dev=1, test=1)


def test_teddy():
    records = teddy(seed=0, pairs=300)
    assert teddy(seed=0, pairs=300) == records
    assert teddy(seed=1, pairs=300) != records
    assert len(records) == 600
    senses_of_next = collections.defaultdict(set)
    firsts = collections.Counter()
    for first, second in zip(records[::2], records[1::2], strict=True):
        (where,) = [i for i, tag in enumerate(first["tags"]) if tag != "other"]
        # The same words up to and with the ambiguous one, with both senses: reading forwards, a
        # tagger sees the same and is right once.
        assert first["tokens"][: where + 1] == second["tokens"][: where + 1]
        assert {first["tags"][where], second["tags"][where]} == {"person", "thing"}
        firsts[first["tags"][where]] += 1
        for record in (first, second):
            assert len(record["tokens"]) == len(record["tags"])
            assert [tag for tag in record["tags"] if tag != "other"] == [record["tags"][where]]
            senses_of_next[record["tokens"][where + 1]].add(record["tags"][where])
    # The word after it decides, without exception.
    assert all(len(senses) == 1 for senses in senses_of_next.values())
    assert min(firsts.values()) > 100
    assert any("Teddy" in record["tokens"] for record in records)


def test_conll(tmp_path):
    path = tmp_path / "a.conll"
    write_table(
        path, [{"tokens": ["a", "b"], "tags": ["x", "y"]}, {"tokens": ["c"], "tags": ["z"]}]
    )
    assert path.read_text() == "a\tx\nb\ty\n\nc\tz\n\n"


def test_tables_that_cannot_be_written(tmp_path):
    path = tmp_path / "a.tsv"
    write_table(path, [{"text": "old", "label": "x"}])
    for name, records, said in [
        ("a.xml", [], "must end in"),
        ("a.tsv", [{"a": "b"}, {"c": "d"}], "a record has"),
        ("a.tsv", [{"a": "two\nlines"}], "holds no line ends"),
    ]:
        with pytest.raises(InputError, match=said):
            write_table(tmp_path / name, records)
    assert [dict(r) for r in read_table(str(path), {"text": "text"})] == [{"text": "old"}]


def test_date_tags():
    parts = date_tags(seed=0, train=12, dev=3, test=3)
    assert date_tags(seed=0, train=12, dev=3, test=3) == parts
    assert date_tags(seed=1, train=12, dev=3, test=3) != parts
    assert [len(part) for part in parts] == [48 * 12, 48 * 3, 48 * 3]
    records = [record for part in parts for record in part]
    texts = [" ".join(record["tokens"]) for record in records]
    assert len(set(texts)) > 0.99 * len(texts)  # Blanks between tokens may make two texts one.
    for record in records:
        assert record["tokens"] and all(record["tokens"])
        assert len(record["tokens"]) == len(record["tags"])
        assert schemes.check(record["tags"], "BIO") == []
    assert schemes.detect_scheme(record["tags"] for record in records) == "BIO"
    labels = {tag[2:] for record in records for tag in record["tags"]} - {""}
    assert labels == set(
        "weekday day month year era hour minute second period duration date time".split()
    )
    values = collections.defaultdict(set)
    for record in records:
        for label, start, end in schemes.spans(record["tags"]):
            values[label].add(" ".join(record["tokens"][start:end]))
    assert values["month"] & {"January", "February", "March", "October", "December"}
    assert values["month"] & {"janvier", "février", "mars", "juillet", "décembre"}
    assert {"PM", "AM"} <= values["period"]
    assert any(duration.endswith("Stunden") for duration in values["duration"])
    western = [int(year) for year in values["year"] if year.isdecimal() and len(year) == 4]
    assert western and min(western) >= 1980 and max(western) < 2600  # The Buddhist era counts on.
    assert all(int(minute) < 60 for minute in values["minute"] if minute.isdecimal())


def test_transitions():
    """Two tags may follow each; the words that tell leave one sequence of tags alone possible."""
    parts = transitions(seed=0)
    assert transitions(seed=0) == parts and transitions(seed=1) != parts
    assert [len(part) for part in parts] == [300, 100, 200]
    records = [record for part in parts for record in part]
    following = collections.defaultdict(set)
    for record in records:
        for left, right in zip(record["tags"], record["tags"][1:]):
            following[left].add(right)
    assert len(following) == 24 and all(len(tags) == 2 for tags in following.values())
    silent = 0
    for record in records:
        assert 8 <= len(record["tokens"]) == len(record["tags"]) <= 20
        journeys = [[station] for station in following]
        for place, token in enumerate(record["tokens"]):
            if place:
                journeys = [[*j, station] for j in journeys for station in following[j[-1]]]
            if token in following:
                journeys = [journey for journey in journeys if journey[-1] == token]
            silent += token not in following
        assert journeys == [record["tags"]]
    assert silent > 0.4 * sum(len(record["tokens"]) for record in records)


def test_tagged_samples_as_files(tmp_path):
    records = [*date_tags(train=1, dev=0, test=0)[0], *transitions(train=5)[0]]
    write_table(tmp_path / "train.conll", records)
    assert [dict(record) for record in read_tagged(tmp_path / "train.conll")] == records
