"""Built-in data: made from a seed, nothing downloaded, the same on every machine.

(a) Which language is this? Dates, times, durations and lists in 48 languages, from the CLDR
locale data that Babel carries. (b) English sentences whose ambiguous word a later word decides.
"""

from __future__ import annotations

import collections
import datetime
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from pipelines.errors import InputError
from pipelines.files import atomic_write, suffix

# At least forty, of many scripts, and no two whose strings are mostly the same (Indonesian and
# Malay, Bosnian and Croatian, Norwegian and Danish, Afrikaans and Dutch).
LANGUAGES = (
    "am ar be bg bn cs cy da de el en es et eu fa fi fr ga he hi hr hu hy is it ja ka ko lt lv nl "
    "pl pt ro ru sk sl sq sv sw ta te th tr uk ur vi zh"
).split()


def language_identification(
    seed: int = 0, train: int = 240, dev: int = 20, test: int = 20
) -> tuple[list[dict], list[dict], list[dict]]:
    """Strings and their languages, as {"text", "label"}; the label is the language's code.

    The same facts (a date, a span of time, a few countries) are written in every language, and
    what two languages write alike is left out of both. No string stands in two of the parts.

    Args:
        seed: another seed, other strings.
        train, dev, test: strings of each language.

    Returns:
        train, dev, test: each in random order, every language equally often.

    Example:

    >>> train, dev, test = language_identification(train=2, dev=1, test=1)
    >>> len(train), len({record["label"] for record in train})
    (96, 48)
    """
    from babel import Locale

    wanted = train + dev + test
    generator = np.random.default_rng(seed)
    locales = {code: Locale.parse(code) for code in LANGUAGES}
    territories = _named_everywhere([locale.territories for locale in locales.values()], (2,))
    languages = _named_everywhere([locale.languages for locale in locales.values()], (2, 3))
    texts: dict[str, dict[str, None]] = {code: {} for code in LANGUAGES}
    taken: set[str] = set()
    for drawn in range(wanted * 20):
        fact = _FACTS[drawn % len(_FACTS)](generator, territories, languages)
        written = {code: " ".join(fact(locale).split()) for code, locale in locales.items()}
        times = collections.Counter(written.values())
        for code, text in written.items():
            if times[text] > 1 or text in taken:
                # Alike now, or as another language wrote another fact before: nobody's.
                for known in texts.values():
                    known.pop(text, None)
            else:
                texts[code][text] = None
            taken.add(text)
        if min(map(len, texts.values())) >= wanted:
            break
    parts: tuple[list[dict], ...] = ([], [], [])
    for code, own in texts.items():
        if len(own) < wanted:
            raise InputError(f"only {len(own)} strings of {wanted} are of {code!r} alone")
        records = [{"text": text, "label": code} for text in own]
        records = [records[i] for i in generator.permutation(len(records))]
        parts[0].extend(records[:train])
        parts[1].extend(records[train : train + dev])
        parts[2].extend(records[train + dev : wanted])
    return tuple([part[i] for i in generator.permutation(len(part))] for part in parts)


def _named_everywhere(
    names: Sequence[Mapping[str, str]], lengths: Sequence[int]
) -> tuple[str, ...]:
    """The codes that every locale has a name for; no numbered regions, no `zxx`-like codes."""
    common = set.intersection(*(set(known) for known in names))
    unnamed = {"und", "zxx", "mul", "mis", "ZZ", "XA", "XB"}
    return tuple(sorted(c for c in common - unnamed if len(c) in lengths and c.isalpha()))


def _date(generator: np.random.Generator, *_: Sequence[str]) -> Callable:
    from babel.dates import format_date

    moment = _moment(generator)
    return lambda locale: format_date(moment, "full", locale=locale)


def _date_and_time(generator: np.random.Generator, *_: Sequence[str]) -> Callable:
    from babel.dates import format_date, format_time

    moment, length = _moment(generator), ("full", "long")[generator.integers(2)]
    return lambda locale: (
        f"{format_date(moment, length, locale=locale)} "
        f"{format_time(moment, 'short', locale=locale)}"
    )


def _duration(generator: np.random.Generator, *_: Sequence[str]) -> Callable:
    from babel.dates import format_timedelta
    from babel.lists import format_list

    first = int(generator.integers(len(_UNITS) - 1))
    spans = [
        datetime.timedelta(seconds=seconds * int(generator.integers(1, most + 1)))
        for seconds, most in (_UNITS[first], _UNITS[first + 1])
    ]
    # Above 1, so that 24 hours are not yet a day.
    return lambda locale: format_list(
        [format_timedelta(span, threshold=1.2, locale=locale) for span in spans], locale=locale
    )


def _territory_list(
    generator: np.random.Generator, territories: Sequence[str], languages: Sequence[str]
) -> Callable:
    from babel.lists import format_list

    codes = _some(generator, territories)
    return lambda locale: format_list([locale.territories[c] for c in codes], locale=locale)


def _language_list(
    generator: np.random.Generator, territories: Sequence[str], languages: Sequence[str]
) -> Callable:
    from babel.lists import format_list

    codes = _some(generator, languages)
    return lambda locale: format_list([locale.languages[c] for c in codes], locale=locale)


# Each draws one fact and gives a function that writes it in a locale.
_FACTS = (_date, _date_and_time, _duration, _territory_list, _language_list)

# Seconds of a unit, and how many of it at most.
_UNITS = ((3600 * 24 * 365, 40), (3600 * 24 * 30, 11), (3600 * 24, 29), (3600, 23), (60, 59))


def _moment(generator: np.random.Generator) -> datetime.datetime:
    minutes = int(generator.integers(60 * 365 * 24 * 60))
    return datetime.datetime(1980, 1, 1) + datetime.timedelta(minutes=minutes)


def _some(generator: np.random.Generator, codes: Sequence[str]) -> list[str]:
    chosen = generator.choice(len(codes), generator.integers(3, 6), replace=False)
    return [codes[i] for i in chosen]


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
        InputError: another suffix, a full disk, records with different fields, a line end in
            a value of a `.tsv` file (where a quote is natural text and cannot hold it for sure).
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
        if kind == ".tsv" and ("\n" in value or "\r" in value):
            raise InputError("a .tsv file holds no line ends; .csv and .jsonl do")
        if any(sign in value for sign in (delimiter, '"', "\n", "\r")) or value != value.strip():
            value = '"' + value.replace('"', '""') + '"'
        fields.append(value)
    # A row of one empty field must not look like an empty line.
    return (delimiter.join(fields) if fields != [""] else '""') + "\n"
