"""Dates: deterministic, each with one reading, no source in two parts."""

import datetime

from pipelines import date_translation


def test_each_source_has_one_date_and_one_place():
    parts = date_translation(seed=1, train=3000, dev=100, test=100)
    assert [len(part) for part in parts] == [3000, 100, 100]
    assert parts == date_translation(seed=1, train=3000, dev=100, test=100)
    assert parts != date_translation(seed=2, train=3000, dev=100, test=100)
    records = [record for part in parts for record in part]
    assert len({record["source"] for record in records}) == 3200
    for record in records:
        date = datetime.date.fromisoformat(record["target"])
        assert str(date.year) in record["source"]
        if not any(sign.isalpha() for sign in record["source"]):
            assert record["source"].startswith(str(date.year)) or date.day > 12


def test_many_scripts_and_forms():
    train, _, _ = date_translation(train=5000, dev=1, test=1)
    written = "\n".join(record["source"] for record in train)
    for part in ("th of ", "3rd", "年", "января", "Sunday", "février", "กุมภาพันธ์"):
        assert part in written
