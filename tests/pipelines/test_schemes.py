"""Tag schemes: round trips through every scheme, broken sequences as conlleval reads them, what breaks a scheme."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import detect_scheme
from pipelines.schemes import check, convert, spans, split_tag

WITH_SPANS = ["BIO", "IOB1", "IOBES"]


@st.composite
def span_lists(draw):
    """Spans over a sentence, and its length: (label, start, end), in order, some side by side."""
    found, place = [], 0
    for gap, length, label in draw(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["PER", "a-b", "_x"])),
            max_size=6,
        )
    ):
        found.append((label, place + gap, place + gap + length))
        place += gap + length
    return found, place + draw(st.integers(0, 2))


def bio(found, length):
    tags = ["O"] * length
    for label, start, end in found:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


@given(case=span_lists(), source=st.sampled_from(WITH_SPANS), target=st.sampled_from(WITH_SPANS))
def test_round_trips(case, source, target):
    found, length = case
    tags = convert(bio(found, length), "BIO", source)
    assert spans(tags, source) == found
    assert check(tags, source) == []
    there = convert(tags, source, target)
    assert spans(there, target) == found and check(there, target) == []
    assert convert(there, target, source) == tags


def test_every_short_sequence_against_its_definition():
    """All sequences of three tags: check against the schemes' written rules, spans against conlleval's.

    conlleval: a chunk ends before a token if the letters say so or the label changes, and begins likewise.
    """
    tags = ["O", *(f"{letter}-{label}" for letter in "BIES" for label in "XY")]
    for sequence in itertools.product(tags, repeat=3):
        found, start = [], None
        previous = ("O", "")
        for place, tag in enumerate([*sequence, "O"]):
            letter, _, label = tag.partition("-")
            ends = previous[0] in ("E", "S") or (
                previous[0] in ("B", "I") and (letter in ("B", "S", "O") or label != previous[1])
            )
            if start is not None and ends:
                found.append((previous[1], start, place))
                start = None
            begins = letter in ("B", "S") or (
                letter in ("I", "E") and (previous[0] in ("O", "E", "S") or label != previous[1])
            )
            if begins:
                start = place
            previous = letter, label
        assert spans(sequence) == found, sequence
        for scheme in WITH_SPANS:
            # A sequence keeps its scheme exactly if the scheme would write its spans that way.
            keeps = list(sequence) == convert(sequence, scheme, scheme)
            assert (check(sequence, scheme) == []) == keeps, (sequence, scheme)


def test_spans_are_those_of_seqeval():
    # It comes without a wheel, and so not with the test tools.
    entities = pytest.importorskip("seqeval.metrics.sequence_labeling")
    for sequence in itertools.product(["O", "B-X", "I-X", "I-Y", "E-X", "S-Y"], repeat=4):
        theirs = [
            (label, start, end + 1) for label, start, end in entities.get_entities(list(sequence))
        ]
        assert spans(sequence) == theirs


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ([["B-X", "I-X", "O"], ["O"]], "BIO"),
        ([["I-X", "B-X", "O"], ["I-Y"]], "IOB1"),
        ([["B-X", "I-X", "E-X"]], "IOBES"),
        ([["S-X", "O"]], "IOBES"),
        ([["NOUN", "O"]], "plain"),
        ([["B-X", "NOUN"]], "plain"),
        ([["X-ray"]], "plain"),
        ([["B-"]], "plain"),
        ([["O"]], "BIO"),
        ([[]], "plain"),
        ([["B", "I", "O"]], "BIO"),
        # One broken sentence of three does not make it another scheme.
        ([["B-X", "I-X"], ["I-X", "O"], ["B-Y"]], "BIO"),
        ({"B-X", "I-X", "O"}, "BIO"),
        ({"B-X": 3, "O": 9}, "BIO"),
        ({"I-X", "O"}, "IOB1"),
        ({"I-X", "I-Y", "B-Y", "O"}, "IOB1"),
        ({"NN", "VBZ"}, "plain"),
    ],
)
def test_detection(tags, scheme):
    assert detect_scheme(tags) == scheme
    if not isinstance(tags, (set, dict)):
        assert detect_scheme(iter(tags)) == scheme


@given(st.lists(span_lists(), min_size=1, max_size=5), st.sampled_from(WITH_SPANS))
def test_detection_of_what_was_written(cases, scheme):
    sentences = [convert(bio(*case), "BIO", scheme) for case in cases]
    if any(tag != "O" for sentence in sentences for tag in sentence):
        assert detect_scheme(sentences) == scheme


def test_labels():
    assert split_tag("B-work-of-art") == ("B", "work-of-art")
    assert split_tag("B") == ("B", "_")
    assert split_tag("O-X") == ("", "O-X")
    assert spans(["B", "I", "O"]) == [("_", 0, 2)]
    assert convert(["B", "I", "O", "B"], "BIO", "IOBES") == ["B", "E", "O", "S"]
    assert convert(["B-_", "O"], "BIO", "IOBES") == ["S-_", "O"]


def test_what_breaks_a_scheme_is_said():
    assert check(["I-X", "O", "B-Y", "I-X"], "BIO") == [
        (0, "'I-X' at the beginning: in BIO a span begins with B"),
        (3, "'I-X' after 'B-Y': in BIO a span begins with B"),
    ]
    assert check(["O", "B-X"], "IOB1") == [
        (1, "'B-X' after 'O': in IOB1 B stands only right after a span of the same label")
    ]
    assert check(["B-X"], "IOBES") == [(0, "'B-X' at the end: in IOBES a span ends with E or S")]
    assert check(["B-X", "NOUN"], "BIO") == [(1, "'NOUN' is no tag of BIO (O, B-…, I-…)")]
    assert check(["NOUN", "B-X"], "plain") == []
    assert check([], "BIO") == []


def test_plain_tags():
    assert spans(["NOUN", "B-X"], "plain") == []
    assert convert(["NOUN", "DET"], "plain", "plain") == ["NOUN", "DET"]
    with pytest.raises(ValueError, match="plain tags have no spans"):
        convert(["B-X"], "BIO", "plain")
    with pytest.raises(
        ValueError, match="scheme must be one of BIO, IOB1, IOBES, plain, got 'BILOU'"
    ):
        spans(["B-X"], "BILOU")
