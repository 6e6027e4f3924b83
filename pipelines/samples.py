"""Built-in data: made from a seed, nothing downloaded, the same on every machine.

(a) Which language is this? Dates, times, durations and lists in 46 languages, from the CLDR
locale data that Babel carries. (b) English sentences whose ambiguous word a later word decides.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from pipelines.errors import InputError
from pipelines.files import atomic_write, suffix

# Related languages are here, but no two whose strings are mostly the same (Indonesian and Malay,
# Bosnian and Croatian, the two Norwegians and Danish).
LANGUAGES = (
    "af am ar az be bg bn ca cs cy da de el en es et eu fa fi fr ga gu he hi hr hu hy is it ja ka "
    "kn ko lt lv mk ml nl pl pt ro ru sk sl sq sv sw ta te th tr uk ur vi zh"
).split()


def language_identification(
    seed: int = 0, train: int = 240, dev: int = 20, test: int = 20
) -> tuple[list[dict], list[dict], list[dict]]:
    """Strings and their languages, as {"text", "label"}; the label is the language's code.

    A string that two languages share is left out, and no string stands in two of the parts.

    Args:
        seed: another seed, other strings.
        train, dev, test: strings of each language.

    Returns:
        train, dev, test: each in random order, every language equally often.

    Example:

    >>> train, dev, test = language_identification(train=2, dev=1, test=1)
    >>> len(train), len({record["label"] for record in train}) >= 40
    (110, True)
    """
    wanted = train + dev + test
    # Each language draws from its own generator, so that one more changes nothing for the others.
    drawn = {
        code: _Locale(code, np.random.default_rng([seed, place])).strings(wanted * 5 // 4 + 20)
        for place, code in enumerate(LANGUAGES)
    }
    languages_of: dict[str, int] = {}
    for texts in drawn.values():
        for text in texts:
            languages_of[text] = languages_of.get(text, 0) + 1
    parts: tuple[list[dict], ...] = ([], [], [])
    for code, texts in drawn.items():
        own = [text for text in texts if languages_of[text] == 1][:wanted]
        if len(own) < wanted:
            raise InputError(f"only {len(own)} strings of {wanted} are of {code!r} alone")
        for part, begin, end in zip(
            parts, (0, train, train + dev), (train, train + dev, wanted), strict=True
        ):
            part.extend({"text": text, "label": code} for text in own[begin:end])
    generator = np.random.default_rng([seed, len(LANGUAGES)])
    return tuple([part[i] for i in generator.permutation(len(part))] for part in parts)


class _Locale:
    """One language's strings, drawn from its CLDR data."""

    def __init__(self, code: str, generator: np.random.Generator):
        from babel import Locale

        self.locale = Locale.parse(code)
        self.generator = generator
        # The names that are words: no codes, no numbered regions.
        self.territories = _names(self.locale.territories, lambda c: len(c) == 2 and c.isalpha())
        self.languages = _names(self.locale.languages, lambda c: len(c) in (2, 3) and c.isalpha())
        self.makers: list[Callable[[], str]] = [
            self.date,
            self.date_and_time,
            self.duration,
            self.territory_list,
            self.language_list,
        ]

    def strings(self, count: int) -> list[str]:
        """`count` different strings, as many of each kind as the draw gives."""
        texts: dict[str, None] = {}
        for _ in range(count * 20):
            maker = self.makers[self.generator.integers(len(self.makers))]
            texts[" ".join(maker().split())] = None
            if len(texts) == count:
                break
        return list(texts)

    def moment(self) -> datetime.datetime:
        minutes = int(self.generator.integers(60 * 365 * 24 * 60))
        return datetime.datetime(1980, 1, 1) + datetime.timedelta(minutes=minutes)

    def date(self) -> str:
        from babel.dates import format_date

        length = ("full", "long")[self.generator.integers(2)]
        return format_date(self.moment(), length, locale=self.locale)

    def date_and_time(self) -> str:
        from babel.dates import format_date, format_time

        moment = self.moment()
        day = format_date(moment, ("full", "long")[self.generator.integers(2)], locale=self.locale)
        return f"{day} {format_time(moment, 'short', locale=self.locale)}"

    def duration(self) -> str:
        from babel.dates import format_timedelta

        units = ((3600 * 24 * 365, 40), (3600 * 24 * 30, 11), (3600 * 24, 29), (3600, 23), (60, 59))
        first = int(self.generator.integers(len(units) - 1))
        parts = []
        for seconds, most in (units[first], units[first + 1]):
            span = datetime.timedelta(seconds=seconds * int(self.generator.integers(1, most + 1)))
            parts.append(format_timedelta(span, threshold=1.2, locale=self.locale))
        return self.joined(parts)

    def territory_list(self) -> str:
        return self.joined(self.some(self.territories))

    def language_list(self) -> str:
        return self.joined(self.some(self.languages))

    def some(self, names: Sequence[str]) -> list[str]:
        chosen = self.generator.choice(len(names), self.generator.integers(2, 5), replace=False)
        return [names[i] for i in chosen]

    def joined(self, parts: Sequence[str]) -> str:
        from babel.lists import format_list

        return format_list(list(parts), locale=self.locale)


def _names(names: Mapping[str, str], wanted: Callable[[str], bool]) -> list[str]:
    return [names[code] for code in sorted(names) if wanted(code)]


# The ambiguous word, what makes it a thing, what makes it a person's name.
_SENSES = {
    "Teddy": (["bears"], ["Roosevelt", "Kennedy"]),
    "Rose": (["bushes", "gardens"], ["Tyler", "Parker"]),
    "Olive": (["trees", "groves"], ["Schreiner", "Parker"]),
    "Ginger": (["biscuits", "cakes"], ["Rogers", "Baker"]),
    "Amber": (["beads", "necklaces"], ["Riley", "Tyler"]),
    "Pearl": (["earrings", "necklaces"], ["Buck", "Bailey"]),
    "Ruby": (["rings", "earrings"], ["Bridges", "Riley"]),
    "Ivy": (["leaves", "gardens"], ["Baker", "Compton"]),
    "Jack": (["hammers", "knives"], ["London", "Kennedy"]),
    "Will": (["forms", "writers"], ["Rogers", "Smith"]),
    "Mark": (["sheets", "books"], ["Twain", "Smith"]),
    "Bill": (["payments", "boards"], ["Bailey", "Clinton"]),
}
_BEGINNINGS = (
    [],
    ["He", "said", ","],
    ["She", "told", "us", "that"],
    ["I", "read", "that"],
    ["We", "all", "know", "that"],
    ["In", "the", "end"],
    ["Yesterday", "they", "wrote", "that"],
    ["My", "friend", "thinks", "that"],
)
_THINGS = (
    ["are", "on", "sale"],
    ["were", "sold", "in", "the", "market"],
    ["are", "rather", "cheap"],
    ["have", "become", "hard", "to", "find"],
    ["were", "left", "in", "the", "garden"],
    ["cost", "a", "lot", "this", "year"],
)
_PERSONS = (
    ["was", "a", "great", "President"],
    ["was", "born", "in", "a", "small", "town"],
    ["wrote", "a", "famous", "book"],
    ["has", "come", "to", "dinner"],
    ["was", "on", "the", "radio"],
    ["sings", "better", "than", "anyone"],
)


def teddy(seed: int = 0, pairs: int = 500) -> list[dict]:
    """Sentences whose ambiguous word is a thing or a person, which a later word decides.

    Sentences come in pairs, one after the other, that are the same up to and with the ambiguous
    word and give it different tags. So a tagger that reads forwards only is right about it half
    the time, whatever it learns; the word after it decides. (Split the list at an even place, and
    the parts keep their pairs.)

    Args:
        seed: another seed, other sentences.
        pairs: how many pairs.

    Returns:
        {"tokens": [...], "tags": [...]}; the ambiguous word is "person" or "thing", every other
        word "other".

    Example:

    >>> first, second = teddy(seed=1, pairs=1)
    >>> where = [tag != "other" for tag in first["tags"]].index(True)
    >>> first["tokens"][: where + 1] == second["tokens"][: where + 1]
    True
    >>> sorted([first["tags"][where], second["tags"][where]])
    ['person', 'thing']
    """
    generator = np.random.default_rng(seed)

    def one_of(choices: Sequence):
        return choices[generator.integers(len(choices))]

    words = list(_SENSES)
    records = []
    for _ in range(pairs):
        beginning, word = one_of(_BEGINNINGS), one_of(words)
        things, names = _SENSES[word]
        both = [
            ("thing", [one_of(things), *one_of(_THINGS)]),
            ("person", [one_of(names), *one_of(_PERSONS)]),
        ]
        if generator.integers(2):
            both.reverse()
        for tag, rest in both:
            tokens = [*beginning, word, *rest, "."]
            tags = ["other"] * len(tokens)
            tags[len(beginning)] = tag
            records.append({"tokens": tokens, "tags": tags})
    return records


def write_table(path: str | os.PathLike, records: Iterable[Mapping[str, object]]) -> None:
    """Writes records in the format that the suffix names, as `read_table` reads them.

    `.csv` and `.tsv` with a header (values are strings), `.jsonl` (values are what JSON holds),
    `.conll` (each value a list; one line a token, its columns in the order of the keys, a blank
    line after each record). The file appears when it is whole.

    Raises:
        InputError: another suffix, a full disk, records with different fields.
    """
    path = os.fspath(path)
    if suffix(path) not in (".csv", ".tsv", ".jsonl", ".conll") or path.endswith(".gz"):
        raise InputError("must end in .csv, .tsv, .jsonl or .conll to be written", path)
    kind = suffix(path)
    with atomic_write(path) as stream:
        header: list[str] | None = None
        for record in records:
            if kind == ".jsonl":
                stream.write(json.dumps(dict(record), ensure_ascii=False) + "\n")
                continue
            if header is None:
                header = list(record)
                if kind != ".conll":
                    stream.write(_row(header, kind))
            elif list(record) != header:
                raise InputError(f"a record has {list(record)}, the first one {header}", path)
            if kind == ".conll":
                rows = zip(*record.values(), strict=True)
                stream.writelines("\t".join(row) + "\n" for row in rows)
                stream.write("\n")
            else:
                stream.write(_row([str(value) for value in record.values()], kind))


def _row(values: Sequence[str], kind: str) -> str:
    delimiter = "\t" if kind == ".tsv" else ","
    fields = []
    for value in values:
        if any(sign in value for sign in (delimiter, '"', "\n", "\r")) or value != value.strip():
            value = '"' + value.replace('"', '""') + '"'
        fields.append(value)
    # A row of one empty field must not look like an empty line.
    return (delimiter.join(fields) if fields != [""] else '""') + "\n"
