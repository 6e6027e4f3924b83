"""Tag schemes: how the tags of single tokens spell the spans of a sentence.

| scheme | first token of a span | inside | last | alone |
|---|---|---|---|---|
| BIO (IOB2) | B | I | I | B |
| IOB1 | I; B right after a span of the same label | I | I | I |
| IOBES | B | I | E | S |
| plain | no spans: each tag stands for itself (parts of speech) | | | |

A tag is a letter, a hyphen and a label (`B-PER`), or `O` outside of spans; a letter without a label
is a span of the label `_`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

SCHEMES = ("BIO", "IOB1", "IOBES", "plain")

OUTSIDE = "O"
NO_LABEL = "_"
SPAN_LETTERS = ("B", "I", "E", "S")
_LETTERS = {"BIO": tuple("OBI"), "IOB1": tuple("OBI"), "IOBES": tuple("OBIES")}

Span = tuple[str, int, int]


def detect_scheme(tags: Iterable[str] | Iterable[Sequence[str]]) -> str:
    """Names the scheme that tags are written in: one of `SCHEMES`.

    Tags that are not all of the form letter-label are plain. E or S makes them IOBES. The rest is
    IOB1 if more spans begin with I than with B after `O`, after another label or at the beginning
    of a sentence, so that a few broken sentences do not decide.

    Arguments:
        tags: the sentences' tags (read once, so a generator will do); or the set of tags alone,
            which tells IOB1 only from a label that has I and no B.

    Example:

    >>> detect_scheme([["O", "I-PER", "I-PER"], ["I-LOC", "B-LOC"]])
    'IOB1'
    >>> detect_scheme({"B-PER", "I-PER", "O"})
    'BIO'
    >>> detect_scheme([["DET", "NOUN"]])
    'plain'
    """
    letters, labels = set(), {"B": set(), "I": set()}
    begun = {"B": 0, "I": 0}
    sequences = False
    for item in tags:
        sequences = sequences or not isinstance(item, str)
        previous = OUTSIDE, ""
        for tag in [item] if isinstance(item, str) else item:
            letter, label = split_tag(tag)
            if letter not in _LETTERS["IOBES"]:
                return "plain"
            letters.add(letter)
            if letter in labels:
                labels[letter].add(label)
                if previous[1] != label:
                    begun[letter] += 1
            previous = letter, label
    if not letters:
        return "plain"
    if letters & {"E", "S"}:
        return "IOBES"
    is_iob1 = begun["I"] > begun["B"] if sequences else not labels["I"] <= labels["B"]
    return "IOB1" if is_iob1 else "BIO"


@functools.lru_cache(maxsize=4096)
def split_tag(tag: str) -> tuple[str, str]:
    """The letter and the label of a tag; ("", tag) where it is not of the form letter-label.

    >>> split_tag("B-work-of-art"), split_tag("O"), split_tag("NOUN"), split_tag("I")
    (('B', 'work-of-art'), ('O', ''), ('', 'NOUN'), ('I', '_'))
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    letter, hyphen, label = tag.partition("-")
    if letter in SPAN_LETTERS and bool(hyphen) == bool(label):
        return letter, label or NO_LABEL
    return "", tag


def spans(tags: Sequence[str], scheme: str = "BIO") -> list[Span]:
    """The spans that tags spell: (label, start, end), end exclusive, in order.

    Sequences that break their scheme are read as the shared tasks' `conlleval` reads them: B and S
    always begin a span, I and E go on with one of the same label and begin one otherwise, E and S
    end one. That reading is the same in every scheme but the plain one, which has no spans.

    Example:

    >>> spans(["B-PER", "I-PER", "O", "I-LOC", "I-PER"])
    [('PER', 0, 2), ('LOC', 3, 4), ('PER', 4, 5)]
    """
    _known(scheme)
    if scheme == "plain":
        return []
    found: list[Span] = []
    start, previous, open_label = 0, OUTSIDE, ""
    for place, tag in enumerate(itertools.chain(tags, [OUTSIDE])):
        letter, label = split_tag(tag)
        goes_on = letter in ("I", "E") and previous in ("B", "I") and label == open_label
        if not goes_on:
            if open_label:
                found.append((open_label, start, place))
            # What is no tag of any scheme lies outside of all spans.
            start, open_label = place, label if letter not in (OUTSIDE, "") else ""
        previous = letter
    return found


def convert(tags: Sequence[str], source: str, target: str) -> list[str]:
    """Spells the same spans in another scheme; a broken sequence comes out whole.

    Raises:
        ValueError: for an unknown scheme, or from or to the plain one (but plain to plain).

    Example:

    >>> convert(["I-PER", "I-PER", "B-PER", "O"], "IOB1", "IOBES")
    ['B-PER', 'E-PER', 'S-PER', 'O']
    """
    _known(source), _known(target)
    if source == target == "plain":
        return list(tags)
    if "plain" in (source, target):
        raise ValueError("plain tags have no spans; only BIO, IOB1 and IOBES can be converted")
    converted = [OUTSIDE] * len(tags)
    label_before, end_before = "", 0
    for label, start, end in spans(tags, source):
        first = inside = last = alone = "I"
        if target == "BIO" or (start == end_before and label == label_before):
            first = alone = "B"
        if target == "IOBES":
            first, last, alone = "B", "E", "S"
        letters = [alone] if end == start + 1 else [first, *[inside] * (end - start - 2), last]
        # The label as it is written: `B` stays without one, `B-_` keeps its own.
        ending = tags[start][1:]
        converted[start:end] = [letter + ending for letter in letters]
        label_before, end_before = label, end
    return converted


def tags_of(scheme: str, endings: Iterable[str]) -> list[str]:
    """The tags of spans with these labels, each as it is written after the letter.

    >>> tags_of("BIO", ["-PER", "-LOC"])
    ['B-LOC', 'I-LOC', 'B-PER', 'I-PER']
    """
    letters = "BIES" if scheme == "IOBES" else "BI"
    return [letter + ending for ending in sorted(endings) for letter in letters]


def respelled(tags: Sequence[str], source: str, target: str) -> list[str]:
    """Every tag that these can become in another scheme.

    >>> respelled(["O", "B-PER", "I-PER"], "BIO", "IOBES")
    ['O', 'B-PER', 'I-PER', 'E-PER', 'S-PER']
    """
    if source == target:
        return list(tags)
    endings = {tag[1:] for tag in tags if tag != OUTSIDE}
    return [OUTSIDE, *tags_of(target, endings)]


def check(tags: Sequence[str], scheme: str) -> list[tuple[int, str]]:
    """Where tags break their scheme: (position, what is wrong), in order; empty if nowhere.

    Example:

    >>> check(["O", "I-PER", "I-PER"], "BIO")
    [(1, "'I-PER' after 'O': in BIO a span begins with B")]
    >>> check(["NOUN"], "BIO")
    [(0, "'NOUN' is no tag of BIO (O, B-…, I-…)")]
    """
    _known(scheme)
    return [] if scheme == "plain" else list(_breaks(tags, scheme))


def _breaks(tags: Sequence[str], scheme: str) -> Iterator[tuple[int, str]]:
    before = OUTSIDE, ""
    for place, tag in enumerate(tags):
        now = split_tag(tag)
        if now[0] not in _LETTERS[scheme]:
            forms = ", ".join(x if x == OUTSIDE else f"{x}-…" for x in _LETTERS[scheme])
            yield place, f"{tag!r} is no tag of {scheme} ({forms})"
            now = OUTSIDE, ""
        elif rule := _broken_rule(before, now, scheme):
            where = f"after {tags[place - 1]!r}" if place else "at the beginning"
            yield place, f"{tag!r} {where}: in {scheme} {rule}"
        before = now
    if scheme == "IOBES" and before[0] in ("B", "I"):
        yield len(tags) - 1, f"{tags[-1]!r} at the end: in IOBES a span ends with E or S"


def _broken_rule(before: tuple[str, str], now: tuple[str, str], scheme: str) -> str:
    letter, same = now[0], before[1] == now[1]
    if scheme == "BIO":
        return "a span begins with B" if letter == "I" and not same else ""
    if scheme == "IOB1":
        only_there = "B stands only right after a span of the same label"
        return only_there if letter == "B" and not same else ""
    if before[0] in ("B", "I"):
        goes_on = letter in ("I", "E") and same
        return "" if goes_on else "a span goes on to its E"
    return "a span begins with B or S" if letter in ("I", "E") else ""


def _known(scheme: str) -> None:
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
