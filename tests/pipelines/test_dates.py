"""Dates: the same every time, every language, each source with one reading and in one part."""

import collections
import datetime
import re

import pytest
from babel import Locale

from pipelines import date_translation, read_parallel, write_table
from pipelines.samples import LANGUAGES


@pytest.fixture(scope="module")
def parts():
    return date_translation(seed=0)


@pytest.fixture(scope="module")
def records(parts):
    return [record for part in parts for record in part]


def test_the_same_for_a_seed():
    sizes = {"train": 300, "dev": 20, "test": 10}
    parts = date_translation(seed=1, **sizes)
    assert [len(part) for part in parts] == [300, 20, 10]
    assert date_translation(seed=1, **sizes) == parts
    assert date_translation(seed=2, **sizes) != parts


def test_each_source_stands_once(parts, records):
    assert [len(part) for part in parts] == [20000, 500, 500]
    assert len({record["source"] for record in records}) == 21000


def test_the_target_is_the_date_of_the_source(records):
    for record in records:
        date = datetime.date.fromisoformat(record["target"])
        numbers = [int(number) for number in re.findall(r"\d+", record["source"])]
        assert date.year in numbers and date.day in numbers, record
    years = [int(record["target"][:4]) for record in records]
    assert min(years) == 1900 and max(years) == 2099
    months = collections.Counter(record["target"][5:7] for record in records)
    assert len(months) == 12 and min(months.values()) > 0.8 * max(months.values())


def test_each_language_occurs(records):
    """By the names of its months or weekdays; each language has a 48th of the sources."""
    found = collections.Counter()
    sources = [record["source"].casefold() for record in records]
    for code in LANGUAGES:
        locale = Locale.parse(code)
        names = [*locale.days["format"]["wide"].values()]
        if code not in ("ja", "ko", "zh", "vi"):
            names += locale.months["format"]["wide"].values()
        pattern = re.compile("|".join(re.escape(name.casefold()) for name in names))
        found[code] = sum(pattern.search(source) is not None for source in sources)
    assert min(found.values()) > 20, found
    assert all(found[code] < 2000 for code in LANGUAGES), found


def test_numbers_alone_have_one_reading(records):
    """Whatever language reads them: by its own short pattern, they are this date or none."""
    orders = {
        tuple(re.sub(r"[^yMd]|(.)(?=\1)", "", Locale.parse(code).date_formats["short"].pattern))
        for code in LANGUAGES
    }
    assert orders == {("d", "M", "y"), ("M", "d", "y"), ("y", "M", "d")}
    numeric = [record for record in records if re.fullmatch(r"\d+(\W+\d+){2}\W*", record["source"])]
    assert len(numeric) > 1000
    for record in numeric:
        numbers = re.findall(r"\d+", record["source"])
        readings = set()
        for order in orders:
            value = dict(zip(order, numbers))
            if len(value["y"]) == 4 and int(value["M"]) <= 12 and int(value["d"]) <= 31:
                readings.add(f"{value['y']}-{value['M']:0>2}-{value['d']:0>2}")
        assert readings == {record["target"]}
    assert {record["source"][4] for record in numeric} >= {"-", "/", "."}


def test_names_of_months_have_one_reading(records):
    """October in Croatian, November in Polish: a weekday tells."""
    with_weekday = 0
    for record in records:
        words = re.findall(r"\w+", record["source"].casefold())
        assert not {"lis", "srp", "lip"} & {*words}, record
        if "listopada" in words:
            with_weekday += 1
            croatian = re.search("jelja|jak|rak|rijeda|vrtak|petak|subota", words[0])
            assert not words[0].isdecimal() and record["target"][5:7] == (
                "10" if croatian else "11"
            )
    assert with_weekday > 5


def test_forms(records):
    """One in each of many languages, as it is written there."""
    target_of = {
        re.sub(" +", " ", record["source"].casefold()): record["target"] for record in records
    }
    forms = [
        r"the \d+(st|nd|rd|th) of [a-z]+ \d{4}",
        r"[a-z]+ \d+(st|nd|rd|th), \d{4}",
        r"(saturday|sunday), [a-z]+ \d+, \d{4}",
        r"\d+ de mayo de \d{4}",
        r"le 1er [a-zéû]+ \d{4}",
        r"den \d+\. (januar|märz|mai|juni|juli) \d{4}",
        r"lauantai \d+\. toukokuuta \d{4}",
        r"\d+ мая \d{4} года",
        r"\d+ (ene|abr|ago|dic)\. \d{4}",
        r"\d+ (ene|abr|ago|dic) \d{4}",
        r"\d{4}年\d+月\d+日[月火水木金土日]曜日",
        r"\d{4}년 \d+월 \d+일",
        r"ngày \d+ tháng \d+ năm \d{4}",
        r"\d+ กุมภาพันธ์ \d{4}",
    ]
    for form in forms:
        assert any(re.fullmatch(form, source) for source in target_of), form
    months = "january february march april may june july august september october november december"
    read = 0
    for source, target in target_of.items():
        match = re.fullmatch(r"([a-z]+) (\d+)(?:st|nd|rd|th)?,? (\d{4})", source)
        if match is not None and match.group(1) in months.split():
            month = months.split().index(match.group(1)) + 1
            assert target == f"{match.group(3)}-{month:02}-{int(match.group(2)):02}"
            read += 1
    assert read > 20
    sources = [record["source"] for record in records]
    assert any(source.isupper() for source in sources)
    assert any("  " in source for source in sources)
    assert all(source == source.strip() and source for source in sources)
    # Invisible marks of direction and blanks of other widths are nothing that people type.
    assert not re.search("[\u200e\u200f\u00a0\u202f\t\n]", "".join(sources))


def test_the_weekday_is_that_of_the_date(records):
    names = [*Locale.parse("en").days["format"]["wide"].items()]
    seen = 0
    for record in records:
        for day, name in names:
            if name.casefold() in record["source"].casefold():
                assert datetime.date.fromisoformat(record["target"]).weekday() == day
                seen += 1
    assert seen > 20


def test_as_a_file(tmp_path):
    train, _, _ = date_translation(train=200, dev=1, test=1)
    write_table(tmp_path / "train.tsv", train)
    assert [dict(record) for record in read_parallel(str(tmp_path / "train.tsv"))] == train
