"""Built-in data: dates as people write them, and the same dates as ISO 8601 writes them."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import numpy as np

from pipelines.samples import LANGUAGES

if TYPE_CHECKING:
    from babel import Locale

_FIRST, _LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
_ENGLISH = (
    "{ordinal} {month} {year}",
    "the {ordinal} of {month} {year}",
    "{month} {ordinal}, {year}",
    "{month} {day} {year}",
)


def date_translation(
    seed: int = 0, train: int = 20000, dev: int = 500, test: int = 500
) -> tuple[list[dict], list[dict], list[dict]]:
    """Dates of 48 languages in CLDR's forms and some more, with their ISO 8601 form, as {"source", "target"}.

    Years have four digits. A form of numbers alone is there only where it has one reading: the year first, or a day
    above 12. No source stands in two of the parts, or for two dates.

    Arguments:
        seed: another seed, other dates.
        train, dev, test: how many.

    Returns:
        train, dev, test: each in random order, every language as likely as another.

    Example:

    >>> train, dev, test = date_translation(train=40, dev=2, test=2)
    >>> sorted(train[0]), len(train[0]["target"])
    (['source', 'target'], 10)
    """
    from babel import Locale

    generator = np.random.default_rng(seed)
    locales = [Locale.parse(code) for code in LANGUAGES]
    wanted = train + dev + test
    found: dict[str, str] = {}
    two_readings = set()
    days = (_LAST - _FIRST).days + 1
    while len(found) < wanted:
        date = _FIRST + datetime.timedelta(days=int(generator.integers(days)))
        text = _written(generator, date, locales[generator.integers(len(locales))])
        if text is None or text in two_readings:
            continue
        if found.setdefault(text, date.isoformat()) != date.isoformat():
            two_readings.add(text)
            del found[text]
    records = [{"source": source, "target": target} for source, target in found.items()]
    records = [records[i] for i in generator.permutation(wanted)]
    return records[:train], records[train : train + dev], records[train + dev :]


def _written(generator: np.random.Generator, date: datetime.date, locale: Locale) -> str | None:
    """A form of the date, or None for one that could be another date's."""
    from babel.dates import format_date

    draw = generator.random()
    if draw < 0.05:
        text = f"{date.year}{'-/.'[generator.integers(3)]}{date.month}-{date.day}"
        text = text.replace("-", text[4])
    elif locale.language == "en" and draw < 0.5:
        pattern = _ENGLISH[generator.integers(len(_ENGLISH))]
        text = pattern.format(
            ordinal=_ordinal(date.day),
            day=date.day,
            year=date.year,
            month=format_date(date, ("MMM", "MMMM")[generator.integers(2)], locale=locale),
        )
    else:
        length = ("full", "long", "medium")[generator.integers(3)]
        text = format_date(date, length, locale=locale)
    if str(date.year) not in text:
        return None
    if not any(sign.isalpha() for sign in text):
        if not text.startswith(str(date.year)) and date.day <= 12:
            return None
    return _with_noise(generator, text)


def _ordinal(day: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(0 if 10 < day < 20 else day % 10, "th")
    return f"{day}{ending}"


def _with_noise(generator: np.random.Generator, text: str) -> str:
    """Sometimes in other cases, without commas, with a blank too many."""
    draw = generator.random()
    if draw < 0.1:
        return text.lower()
    if draw < 0.15:
        return text.upper()
    if draw < 0.25:
        return text.replace(",", "")
    if draw < 0.3:
        return text.replace(" ", "  ", 1)
    return text
