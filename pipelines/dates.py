"""Built-in data: dates as people write them in 48 languages, and as ISO 8601 writes them."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines.samples import LANGUAGES

if TYPE_CHECKING:
    from babel import Locale

_FIRST, _LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)

_LENGTHS = ("full", "long", "medium", "short")
_SKELETONS = ("yMMMMEEEEd", "yMMMMd", "yMMMEd", "yMMMd", "yMEd", "yMd")

# Forms beside those of CLDR, in its notation; `ddd` is the day as an ordinal number.
_FREE = {
    "am": ["EEEE፣ d MMMM y", "MMMM d፣ y"],
    "ar": ["EEEE d MMMM y", "d MMMM، y"],
    "be": ["d MMMM y", "d MMMM y 'года'"],
    "bg": ["d MMMM y", "d MMMM y 'година'"],
    "bn": ["d MMMM y"],
    "cs": ["EEEE, d. MMMM y"],
    "cy": ["EEEE d MMMM y"],
    "da": ["'den' d. MMMM y", "d MMMM y"],
    "de": ["'am' d. MMMM y", "'den' d. MMMM y", "EEEE, 'den' d. MMMM y", "EEE, d. MMMM y"],
    "el": ["EEEE, d MMMM y"],
    "en": [
        "d MMMM y",
        "d MMM y",
        "d-MMM-y",
        "ddd MMMM y",
        "ddd 'of' MMMM, y",
        "'the' ddd 'of' MMMM y",
        "MMMM ddd, y",
        "MMM ddd y",
        "EEEE d MMMM y",
        "EEEE, 'the' ddd 'of' MMMM y",
        "EEE MMM d y",
    ],
    "es": ["d 'de' MMMM 'del' y", "d MMMM y", "'el' d 'de' MMMM 'de' y", "EEEE d 'de' MMMM y"],
    "et": ["d. MMMM y. 'a'.", "EEEE d. MMMM y"],
    "fa": ["EEEE، d MMMM y"],
    "fi": ["EEEE d. MMMM y"],
    "fr": ["ddd MMMM y", "'le' ddd MMMM y", "'le' EEEE ddd MMMM y", "EEEE ddd MMMM y"],
    "he": ["d MMMM y", "d לMMMM y", "ה-d בMMMM y"],
    "hi": ["d MMMM, y", "EEEE d MMMM y"],
    "hr": ["d. MMMM y", "EEEE d. MMMM y."],
    "hu": ["y. MMMM d., EEE", "y MMMM d"],
    "hy": ["d MMMM y", "y թ. MMMM d"],
    "is": ["'þann' d. MMMM y", "EEEE d. MMMM y"],
    "it": ["ddd MMMM y", "EEEE ddd MMMM y", "EEEE, d MMMM y"],
    "ja": ["y 年 M 月 d 日", "y年M月d日 EEEE"],
    "ka": ["d MMMM y", "y წლის d MMMM"],
    "ko": ["y년M월d일", "y년 M월 d일 (EEEE)"],
    "lt": ["y 'metų' MMMM d 'd'.", "y MMMM d"],
    "lv": ["d. MMMM y", "y. 'g'. d. MMMM"],
    "nl": ["'op' d MMMM y", "EEE d MMMM y", "d-MMM-y"],
    "pl": ["d MMMM y 'r'.", "d MMMM y 'roku'", "EEEE, d MMMM y 'r'."],
    "pt": ["ddd 'de' MMMM 'de' y", "d MMMM y", "'em' d 'de' MMMM 'de' y"],
    "ro": ["EEEE d MMMM y", "'pe' d MMMM y"],
    "ru": ["d MMMM y", "d MMMM y 'года'", "EEEE, d MMMM y 'года'"],
    "sk": ["EEEE, d. MMMM y"],
    "sl": ["EEEE d. MMMM y"],
    "sq": ["'më' d MMMM y"],
    "sv": ["'den' d MMMM y", "EEEE 'den' d MMMM y"],
    "sw": ["'tarehe' d MMMM y"],
    "ta": ["d MMMM y", "EEEE, d MMMM y"],
    "te": ["d MMMM y", "MMMM d, y"],
    "th": ["d MMMM y", "วันที่ d MMMM y"],
    "tr": ["d MMMM y, EEEE"],
    "uk": ["d MMMM y", "d MMMM y 'року'"],
    "ur": ["d MMMM y", "EEEE d MMMM y"],
    "vi": ["'ngày' d 'tháng' M 'năm' y", "EEEE, 'ngày' d 'tháng' M 'năm' y", "d 'tháng' M y"],
    "zh": ["y年M月d号", "y 年 M 月 d 日", "y年M月d日 EEEE", "y年M月d日（EEEE）"],
}

# What makes a number a month.
_MONTH_SIGNS = ("月", "월", "tháng")
# Where a shortened month takes a point that CLDR leaves out.
_POINTED = "el en es et hr it nl".split()
# Where the capitals of Python are not those that people write.
_WITHOUT_CAPITALS = "el ka tr".split()
_COMMAS = re.compile("[,،፣]")
_BETWEEN_NUMBERS = re.compile(r"(?<=\d)\W+(?=\d)")
# Marks of direction, which nobody types.
_INVISIBLE = dict.fromkeys(map(ord, "\u200e\u200f"))


def date_translation(
    seed: int = 0, train: int = 20000, dev: int = 500, test: int = 500
) -> tuple[list[dict], list[dict], list[dict]]:
    """Dates as people write them in 48 languages, and their ISO 8601 form: {"source", "target"}.

    The forms are those of CLDR, from `full` to `short`, and freer ones, with and without weekday,
    comma, point, capitals. Years have four digits. Of numbers alone there is only what has one
    reading in all the languages: the year stands first, or the day is above 12. So with the names
    of months: `listopada` is November in Polish and October in Croatian, and stands only beside
    a weekday. No source stands for two dates, or in two of the parts.

    Arguments:
        seed: another seed, other dates.
        train, dev, test: how many.

    Returns:
        train, dev, test: each in random order, every language and every day of 1900 to 2099 as
            likely as another.

    Example:

    >>> train, dev, test = date_translation(train=40, dev=2, test=2)
    >>> sorted(train[0]), len(train[0]["target"])
    (['source', 'target'], 10)
    """
    generator = np.random.default_rng(seed)
    languages = _languages()
    wanted = train + dev + test
    found: dict[str, str] = {}
    of_two_dates: set[str] = set()
    while len(found) < wanted:
        day = int(generator.integers((_LAST - _FIRST).days + 1))
        date = _FIRST + datetime.timedelta(days=day)
        source = _written(generator, date, languages[generator.integers(len(languages))])
        target = date.isoformat()
        if source in of_two_dates:
            continue
        if found.setdefault(source, target) != target:
            of_two_dates.add(source)
            del found[source]
    records = [{"source": source, "target": target} for source, target in found.items()]
    records = [records[i] for i in generator.permutation(wanted)]
    return records[:train], records[train : train + dev], records[train + dev :]


@dataclasses.dataclass(frozen=True)
class _Form:
    """A CLDR pattern, taken apart into literal text and fields."""

    pieces: Sequence[tuple[str, str | tuple[str, int]]]

    @classmethod
    def of(cls, pattern: str) -> _Form:
        from babel.dates import tokenize_pattern

        # Two digits of a year could be another year's.
        return cls(tuple(tokenize_pattern(pattern.replace("yy", "y"))))

    @property
    def fields(self) -> dict[str, int]:
        """Letter -> how often it is repeated, in the order of the form."""
        return dict(what for kind, what in self.pieces if kind == "field")

    @property
    def numeric(self) -> bool:
        """Whether nothing but its place makes a number the month."""
        literals = "".join(what for kind, what in self.pieces if kind == "chars")
        return self.fields["M"] < 3 and not any(sign in literals for sign in _MONTH_SIGNS)

    def has_one_reading(self, date: datetime.date, language: _Language) -> bool:
        fields = self.fields
        if not self.numeric:
            doubtful = (fields["M"], date.month) in language.doubtful_months
            return not doubtful or fields.get("E", 0) > 3
        return date.day > 12 or next(letter for letter in fields if letter in "yMd") == "y"


@dataclasses.dataclass(frozen=True)
class _Language:
    """What is read once of a locale: its forms and names, as plain lists."""

    code: str
    months: dict[int, Sequence[str]]
    weekdays: dict[tuple[str, int], Sequence[str]]
    era: str
    spelled: Sequence[_Form]
    numeric: Sequence[_Form]
    # (repeated letters, month) of names that are another month's in another language.
    doubtful_months: Collection[tuple[int, int]]


def _languages() -> list[_Language]:
    from babel import Locale

    locales = [Locale.parse(code) for code in LANGUAGES]
    months = {locale.language: _months(locale) for locale in locales}
    meant = collections.defaultdict(set)
    for widths in months.values():
        for names in widths.values():
            for month, name in enumerate(names, start=1):
                meant[_bare(name)].add(month)
    return [_language(locale, months[locale.language], meant) for locale in locales]


def _months(locale: Locale) -> dict[int, Sequence[str]]:
    widths = {3: locale.months["format"]["abbreviated"], 4: locale.months["format"]["wide"]}
    return {width: [names[month] for month in range(1, 13)] for width, names in widths.items()}


def _bare(name: str) -> str:
    return name.casefold().replace(".", "")


def _language(
    locale: Locale, months: dict[int, Sequence[str]], meant: dict[str, set[int]]
) -> _Language:
    code = locale.language
    patterns = [locale.date_formats[length].pattern for length in _LENGTHS]
    skeletons = locale.datetime_skeletons
    patterns += [skeletons[name].pattern for name in _SKELETONS if name in skeletons]
    forms = [_Form.of(pattern) for pattern in [*patterns, *_FREE.get(code, ()), "y-MM-dd"]]
    forms = list(dict.fromkeys(forms))
    weekdays = {
        (letter, width): [locale.days[context][name][day] for day in range(7)]
        for letter, context in (("E", "format"), ("c", "stand-alone"))
        for width, name in ((3, "abbreviated"), (4, "wide"))
    }
    return _Language(
        code=code,
        months=months,
        weekdays=weekdays,
        era=locale.eras["abbreviated"][1],
        spelled=[form for form in forms if not form.numeric],
        numeric=[form for form in forms if form.numeric],
        doubtful_months={
            (width, month)
            for width, names in months.items()
            for month, name in enumerate(names, start=1)
            if len(meant[_bare(name)]) > 1
        },
    )


def _written(generator: np.random.Generator, date: datetime.date, language: _Language) -> str:
    """The date in one of the language's forms, with the small liberties that people take."""

    def chance(probability: float) -> bool:
        return generator.random() < probability

    groups = [language.numeric, language.spelled]
    for forms in groups if chance(0.15) else reversed(groups):
        possible = [form for form in forms if form.has_one_reading(date, language)]
        if possible:
            break
    form = possible[generator.integers(len(possible))]
    two_digits, point = chance(0.1), "." if language.code in _POINTED and chance(0.4) else ""
    text = "".join(
        what if kind == "chars" else _field(*what, date, language, two_digits, point)
        for kind, what in form.pieces
    )
    text = " ".join(text.translate(_INVISIBLE).split())
    if form.numeric:
        if chance(0.25):
            separators = [".", "/", "-", ". ", " / "]
            text = _BETWEEN_NUMBERS.sub(separators[generator.integers(len(separators))], text)
    else:
        if chance(0.15):
            text = _COMMAS.sub("", text)
        if chance(0.15):
            text = text.replace(".", "")
        elif chance(0.05):
            text = text.replace(". ", ".")
    if chance(0.05):
        blanks = [place for place, sign in enumerate(text) if sign == " "]
        if blanks:
            place = blanks[generator.integers(len(blanks))]
            text = text[:place] + " " + text[place:]
    if chance(0.15):
        return text.lower()
    if language.code in _WITHOUT_CAPITALS:
        return text
    if chance(0.05):
        return text.upper()
    return text[0].upper() + text[1:] if chance(0.2) else text


def _field(
    letter: str,
    width: int,
    date: datetime.date,
    language: _Language,
    two_digits: bool,
    point: str,
) -> str:
    if letter == "y":
        return str(date.year)
    if letter == "M" and width > 2:
        name, whole = (language.months[w][date.month - 1] for w in (width, 4))
        return name + point if width == 3 and len(name) < len(whole) else name
    if letter == "M":
        return f"{date.month:0{width}}"
    if letter in "Ec":
        return language.weekdays[letter, max(width, 3)][date.weekday()]
    if letter == "G":
        return language.era
    if width > 2:
        return f"{date.day}{_ordinal_ending(date.day, language.code)}"
    return f"{date.day:0{2 if two_digits else width}}"


def _ordinal_ending(day: int, code: str) -> str:
    if code == "en":
        return {1: "st", 2: "nd", 3: "rd"}.get(0 if 10 < day < 20 else day % 10, "th")
    # The Romance languages count only the first of a month.
    return {"fr": "er", "it": "º", "pt": "º"}.get(code, "") if day == 1 else ""
