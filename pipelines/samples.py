"""Built-in data: made from a seed, nothing downloaded, the same on every machine.

(a) Which language is this? Dates, times, durations and lists in 48 languages, from the CLDR
locale data that Babel carries. (b) English sentences whose ambiguous word a later word decides.
(c) Sentences of dates, times and durations in those languages, each part tagged. (d) Journeys
of which most words say nothing, so that which tag may follow which must tell.
"""

from __future__ import annotations

import collections
import datetime
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import InputError
from pipelines.files import atomic_write, suffix

if TYPE_CHECKING:
    from babel import Locale

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

    Arguments:
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

    Arguments:
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


# What a letter of a CLDR pattern stands for.
_PARTS = {
    **dict.fromkeys("yYu", "year"),
    **dict.fromkeys("ML", "month"),
    "d": "day",
    **dict.fromkeys("Ece", "weekday"),
    **dict.fromkeys("hHKk", "hour"),
    "m": "minute",
    "s": "second",
    **dict.fromkeys("abB", "period"),
    "G": "era",
}

# A piece of a sentence: its text, and the part it is of, if any.
_Pieces = list[tuple[str, str]]


def date_tags(
    seed: int = 0, train: int = 60, dev: int = 8, test: int = 8
) -> tuple[list[dict], list[dict], list[dict]]:
    """Sentences of dates, times and durations in 48 languages, their parts tagged in BIO.

    The parts are weekday, day, month, year, era, hour, minute, second, period (AM, PM) and
    duration, and date or time where one token (16.06.92) holds several; names of countries stand
    between them. Tokens are those of the `words` tokenizer, so
    a model that is trained on them meets the same ones in raw text. Which number is the day and
    which the month is a matter of the language and of the words around. No sentence stands in two
    of the parts.

    Arguments:
        seed: another seed, other sentences.
        train, dev, test: sentences of each language.

    Returns:
        train, dev, test: each in random order, {"tokens": [...], "tags": [...]}.

    Example:

    >>> train, dev, test = date_tags(train=2, dev=1, test=1)
    >>> len(train), len(train[0]["tokens"]) == len(train[0]["tags"])
    (96, True)
    """
    from babel import Locale

    generator = np.random.default_rng(seed)
    locales = {code: Locale.parse(code) for code in LANGUAGES}
    territories = _named_everywhere([locale.territories for locale in locales.values()], (2,))
    taken: set[str] = set()
    parts: tuple[list[_Pieces], ...] = ([], [], [])
    for locale in locales.values():
        for part, wanted in zip(parts, (train, dev, test), strict=True):
            own: list[_Pieces] = []
            for _ in range(wanted * 20):
                if len(own) == wanted:
                    break
                pieces = _dated_sentence(generator, locale, territories)
                text = "".join(text for text, _ in pieces)
                if text not in taken:
                    taken.add(text)
                    own.append(pieces)
            if len(own) < wanted:
                raise InputError(f"only {len(own)} sentences of {wanted} in {locale.language!r}")
            part.extend(own)
    tagged = [_tagged(part) for part in parts]
    return tuple([part[i] for i in generator.permutation(len(part))] for part in tagged)


def _dated_sentence(
    generator: np.random.Generator, locale: Locale, territories: Sequence[str]
) -> _Pieces:
    """One to three facts, joined as the language joins a list."""
    choices = (_dated, _timed, _dated_and_timed, _lasting, _lasting)
    facts = [
        choices[generator.integers(len(choices))](generator, locale)
        for _ in range(generator.integers(1, 4))
    ]
    if len(facts) > 1 and generator.random() < 0.5:
        name = locale.territories[territories[generator.integers(len(territories))]]
        facts[generator.integers(len(facts))] = [(name, "")]
    patterns = locale.list_patterns["standard"]
    *earlier, joined = facts
    for place, fact in reversed(list(enumerate(earlier))):
        which = "end" if place == len(earlier) - 1 else "middle" if place else "start"
        joined = _filled(patterns["2" if len(facts) == 2 else which], fact, joined)
    return joined


def _dated(generator: np.random.Generator, locale: Locale) -> _Pieces:
    length = ("full", "long", "medium", "short")[generator.integers(4)]
    return _written(locale.date_formats[length].pattern, generator, locale)


def _timed(generator: np.random.Generator, locale: Locale) -> _Pieces:
    length = ("short", "medium")[generator.integers(2)]
    return _written(locale.time_formats[length].pattern, generator, locale)


def _dated_and_timed(generator: np.random.Generator, locale: Locale) -> _Pieces:
    length = ("full", "long", "medium", "short")[generator.integers(4)]
    pattern = locale.datetime_formats[length].replace("'", "")
    date = _written(locale.date_formats[length].pattern, generator, locale)
    return _filled(pattern, _timed(generator, locale), date)


def _lasting(generator: np.random.Generator, locale: Locale) -> _Pieces:
    from babel.dates import format_timedelta

    seconds, most = _UNITS[generator.integers(len(_UNITS))]
    span = datetime.timedelta(seconds=seconds * int(generator.integers(1, most + 1)))
    # Above 1, so that 24 hours are not yet a day.
    return [(format_timedelta(span, threshold=1.2, locale=locale), "duration")]


def _written(pattern: str, generator: np.random.Generator, locale: Locale) -> _Pieces:
    """A moment by a CLDR pattern, field by field."""
    from babel.dates import DateTimeFormat, tokenize_pattern

    moment = _moment(generator) + datetime.timedelta(seconds=int(generator.integers(60)))
    values = DateTimeFormat(moment, locale)
    return [
        (what, "") if kind == "chars" else (values[what[0] * what[1]], _PARTS.get(what[0], ""))
        for kind, what in tokenize_pattern(pattern)
    ]


def _filled(pattern: str, first: _Pieces, second: _Pieces) -> _Pieces:
    """The pieces in the places of {0} and {1}."""
    pieces: _Pieces = []
    for part in re.split(r"(\{[01]\})", pattern):
        pieces.extend({"{0}": first, "{1}": second}.get(part, [(part, "")]))
    return pieces


def _tagged(sentences: Sequence[_Pieces]) -> list[dict]:
    """Cuts sentences into tokens, each tagged as the part that it is of."""
    from pipelines.text import split_words

    texts = ["".join(text for text, _ in pieces) for pieces in sentences]
    if not texts:
        return []
    tokens, starts, ends = (cut.to_list() for cut in split_words(texts))
    records = []
    for pieces, *row in zip(sentences, tokens, starts, ends, strict=True):
        part_at = [place for place, (text, _) in enumerate(pieces) for _ in text.encode("utf-8")]
        tags, before = [], None
        for start, end in zip(*row[1:], strict=True):
            places = sorted({p for p in part_at[start:end] if pieces[p][1]})
            place = places[0] if places else None
            if place is None:
                tags.append("O")
            else:
                label = pieces[place][1]
                if len(places) > 1:
                    label = "date" if label in ("day", "month", "year") else "time"
                tags.append(f"{'I' if place == before else 'B'}-{label}")
            before = place
        records.append({"tokens": [token.decode("utf-8") for token in row[0]], "tags": tags})
    return records


# A railway map: the trains of each station go on to two others, the second ones far off in the list.
_STATIONS = (
    "Abbey Bridge Castle Docks East Ferry Garden Harbour Island Junction Kings Lake "
    "Market North Opera Park Quay River South Tower Union Valley West Zoo"
).split()
_NEXT_STATIONS = {
    station: [_STATIONS[(place + 1) % 24], _STATIONS[(7 * place + 5) % 24]]
    for place, station in enumerate(_STATIONS)
}
_SILENT_STOPS = ["stop", "halt", "platform", "there", "then", "next"]


def transitions(
    seed: int = 0, train: int = 300, dev: int = 100, test: int = 200
) -> tuple[list[dict], list[dict], list[dict]]:
    """Railway journeys to be tagged with their stations, of which the words name but some.

    Trains go on from each station to two others. Most stops of a journey are called by words that
    say nothing (*stop*, *halt*); the named ones are just enough for one journey alone to be
    possible on the map, so that which tag may follow which decides all others. A CRF has a weight
    for each pair of tags, and finds the journey; with softmax the encoder itself would have to learn
    which stations can be reached from either side in how many steps.

    Arguments:
        seed: another seed, other journeys on the same map.
        train, dev, test: how many journeys.

    Returns:
        train, dev, test: {"tokens": [...], "tags": [...]}.

    Example:

    >>> train, dev, test = transitions(train=1, dev=1, test=1)
    >>> [word for word, tag in zip(train[0]["tokens"], train[0]["tags"]) if word == tag] != []
    True
    """
    generator = np.random.default_rng(seed)
    stations = list(_NEXT_STATIONS)
    leads = np.array([[b in _NEXT_STATIONS[a] for b in stations] for a in stations], int)
    records = []
    for _ in range(train + dev + test):
        journey = [int(generator.integers(len(stations)))]
        for _ in range(int(generator.integers(7, 20))):
            journey.append(int(generator.choice(np.flatnonzero(leads[journey[-1]]))))
        named = np.ones(len(journey), bool)
        for place in generator.permutation(len(journey)):
            named[place] = False
            named[place] = _journeys(journey, named, leads) > 1
        tags = [stations[number] for number in journey]
        words = generator.choice(_SILENT_STOPS, size=len(journey))
        tokens = [tag if is_named else str(w) for tag, is_named, w in zip(tags, named, words)]
        records.append({"tokens": tokens, "tags": tags})
    return records[:train], records[train : train + dev], records[train + dev :]


def _journeys(journey: Sequence[int], named: np.ndarray, leads: np.ndarray) -> int:
    """How many journeys on the map call at the named stations of this one, at the same stops."""
    ways = np.ones(len(leads), int)
    for place, station in enumerate(journey):
        if place:
            ways = ways @ leads
        if named[place]:
            ways = ways * (np.arange(len(leads)) == station)
    return int(ways.sum())


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


def write_tables(
    directory: str, parts: Iterable[Iterable[Mapping[str, object]]], suffix: str
) -> dict[str, str]:
    """Writes training, dev and test records as `write_table` does; gives their files by `train`, `dev`, `test`."""
    files = {}
    for name, records in zip(("train", "dev", "test"), parts, strict=True):
        files[name] = os.path.join(directory, name + suffix)
        write_table(files[name], records)
    return files


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
