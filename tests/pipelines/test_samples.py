"""Built-in data: the same every time, no test string in training, senses that a later word decides."""

import collections
import re

import pytest

from pipelines import (
    InputError,
    language_identification,
    read_table,
    samples,
    teddy,
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
