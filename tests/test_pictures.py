"""Pictures hold the numbers and words that they were given."""

import html.parser
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_rnn import pictures
from keras_rnn.pictures import (
    alignment_html,
    attention_html,
    document_attention_html,
    draw_alignment,
    draw_attention,
    draw_gates,
    draw_story,
    draw_transitions,
    to_pixels,
)

WORDS = ["Teddy", "bears", "are", "on", "sale"]


def labels(axis_labels):
    return [label.get_text() for label in axis_labels]


def image_of(axis):
    (image,) = axis.get_images()
    return np.ma.filled(image.get_array(), np.nan)


class Elements(html.parser.HTMLParser):
    """Collects elements and text, and fails on a tag that is closed wrongly."""

    def __init__(self, fragment):
        super().__init__()
        self.open, self.elements, self.text = [], [], []
        self.feed(fragment)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.text.append(data.strip())

    def inks(self, tag):
        found = [
            re.search(r"background:rgba\([^)]*, ([\d.]+)\)", attributes.get("style", ""))
            for name, attributes in self.elements
            if name == tag
        ]
        return [float(match.group(1)) for match in found if match]


def test_gates_show_real_words_only():
    gate = np.random.default_rng(0).random([8, 3])
    candidate = np.tanh(np.random.default_rng(1).normal(size=[8, 3]))
    figure = draw_gates({"gamma_u": gate, "c_tilde": candidate}, WORDS, title="LSTM")
    first, second = figure.axes[:2]
    np.testing.assert_array_equal(image_of(first), gate[:5].T)
    np.testing.assert_array_equal(image_of(second), candidate[:5].T)
    assert first.get_images()[0].get_clim() == (0, 1)
    assert second.get_images()[0].get_clim() == (-1, 1)
    assert labels(second.get_xticklabels()) == WORDS
    assert first.get_title(loc="left") == "gamma_u" and figure.get_suptitle() == "LSTM"


def test_gates_of_texts_stand_under_their_words(monkeypatch):
    """A text of two sentences, three and one words long, and one without a word: what is drawn are the real places."""
    drawn = []
    monkeypatch.setattr(
        pictures, "draw_gates", lambda gates, words: drawn.append((gates, words)) or Figure()
    )
    gates = {"z": np.arange(2 * 2 * 4 * 5.0).reshape(2, 2, 4, 5)}
    real = np.zeros([2, 2, 4], bool)
    real[0, 0, :3] = real[0, 1, 0] = True
    shown = pictures.gates_pictures(gates, real, [["a", "b", "c", "d"], []], words=3)
    assert list(shown) == ["gates/0"] and shown["gates/0"].ndim == 4
    ((values, words),) = drawn
    assert words == ["a", "b", "c"]
    np.testing.assert_array_equal(values["z"], gates["z"][0].reshape(8, 5)[[0, 1, 2, 4]])


def test_only_some_columns_of_gates_have_a_word():
    figure = draw_gates({"z": np.ones([4, 2])}, ["0.0", "", "0.2", ""])
    axis = figure.axes[0]
    assert labels(axis.get_xticklabels()) == ["0.0", "0.2"] and list(axis.get_xticks()) == [0, 2]


def test_gates_of_a_state_without_bounds_are_not_clipped():
    figure = draw_gates({"c": [[-3.0, 1.0]]}, ["word"])
    assert figure.axes[0].get_images()[0].get_clim() == (-3, 3)


def test_attention_as_bars_and_as_rows():
    weights = [0.1, 0.2, 0.3, 0.4, 0.0, 0.0]
    axis = draw_attention(weights, WORDS).axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in axis.patches], weights[:5])
    assert labels(axis.get_xticklabels()) == WORDS
    many = np.linspace(0, 1, 2 * pictures.WORDS_A_LINE + 5)
    axes = draw_attention(many, [f"w{n}" for n in range(len(many))]).axes
    heights = [[bar.get_height() for bar in axis.patches] for axis in axes]
    assert [len(line) for line in heights] == [pictures.WORDS_A_LINE] * 2 + [5]
    np.testing.assert_allclose(np.concatenate(heights), many)
    assert len({(axis.get_ylim(), axis.get_xlim()) for axis in axes}) == 1
    assert labels(axes[2].get_xticklabels())[0] == f"w{2 * pictures.WORDS_A_LINE}"
    rows = np.random.default_rng(0).random([3, 7])
    axis = draw_attention(rows, WORDS).axes[0]
    np.testing.assert_array_equal(image_of(axis), rows[:, :5])
    assert labels(axis.get_yticklabels()) == ["1", "2", "3"]


def test_alignment_shows_target_by_source():
    weights = np.random.default_rng(0).random([4, 6])
    axis = draw_alignment(weights, WORDS, ["Bären", "sind", "im"]).axes[0]
    np.testing.assert_array_equal(image_of(axis), weights[:3, :5])
    assert labels(axis.get_xticklabels()) == WORDS
    assert labels(axis.get_yticklabels()) == ["Bären", "sind", "im"]


def test_transitions_with_start_end_and_forbidden_ones():
    scores = np.array([[1.0, -np.inf], [-2.0, -1e9]])
    axis = draw_transitions(scores, ["O", "I"], start=[0.5, -1.0], end=[3.0, 4.0]).axes[0]
    shown = image_of(axis)
    expected = [[0.5, -1, np.nan], [1, np.nan, 3], [-2, np.nan, 4]]
    np.testing.assert_array_equal(shown, expected)
    assert axis.get_images()[0].get_clim() == (-4, 4)
    assert labels(axis.get_yticklabels()) == ["start", "O", "I"]
    assert labels(axis.get_xticklabels()) == ["O", "I", "end"]
    axis = draw_transitions(np.zeros([2, 2]), ["O", "I"]).axes[0]
    np.testing.assert_array_equal(image_of(axis), np.zeros([2, 2]))


def test_attention_html_inks_and_escapes():
    words = ["<script>", "مرحبا", "日本", '"&', "x"]
    page = Elements(attention_html([0.1, 0.2, 0.4, 0.0, 0.3, 0.9], words, caption="a < b"))
    assert page.text == ["a < b", *words]
    assert page.inks("span") == [0.25, 0.5, 1.0, 0.0, 0.75]
    titles = [attributes["title"] for tag, attributes in page.elements if tag == "span"]
    assert titles == ["0.100", "0.200", "0.400", "0.000", "0.300"]
    assert not any(tag == "script" for tag, _ in page.elements)


def test_attention_html_of_rows_and_of_nothing():
    page = Elements(attention_html([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]], ["a", "b"]))
    assert page.text == ["a", "b", "a", "b"] and page.inks("span") == [0, 1, 1, 1]
    assert Elements(attention_html([0.0, 0.0], ["a", "b"])).inks("span") == [0, 0]
    assert Elements(attention_html([], [])).text == []


def test_document_html_shows_sentences_and_words():
    page = Elements(
        document_attention_html(
            [0.25, 0.75, 0.0], [[1.0, 0.0], [0.2, 0.8]], [["Hello"], ["good", "film"]]
        )
    )
    assert page.text == ["Hello", "good", "film"]
    assert page.inks("span") == [1, 0.25, 1]
    widths = [re.search(r"width:([\d.]+)em", a.get("style", "")) for _, a in page.elements]
    assert [float(width.group(1)) for width in widths if width] == [1, 3]


def test_alignment_html_is_a_table():
    page = Elements(
        alignment_html([[1.0, 0.0, 0.3], [0.25, 0.5, 0.2]], ["家", "が"], ["the", "<i>"])
    )
    assert page.text == ["家", "が", "the", "<i>"]
    assert page.inks("td") == [1, 0, 0.25, 0.5]


def test_pixels_hold_the_figure():
    pixels = to_pixels(draw_attention([1.0, 0.0], ["a", "b"]))
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 4
    colours = {tuple(colour) for colour in pixels.reshape(-1, 4)}
    assert (255, 255, 255, 255) in colours and (0x42, 0x92, 0xC6, 255) in colours


def test_fonts_are_looked_for_when_letters_are_missing():
    assert pictures._families("plain") == ["DejaVu Sans"]
    assert pictures._families("家")[0] == "DejaVu Sans"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: draw_gates({}, WORDS), "no gate"),
        (lambda: draw_gates({"gamma_u": np.zeros([3, 2])}, WORDS), "gamma_u: 3 time steps for 5"),
        (lambda: draw_gates({"gamma_u": np.zeros(5)}, WORDS), "needs 2 axes"),
        (lambda: draw_attention([0.1], WORDS), "1 time steps for 5 words"),
        (lambda: attention_html([0.1], WORDS), "1 time steps for 5 words"),
        (lambda: draw_alignment(np.zeros([5, 2]), WORDS, ["a"]), "source: 2 time steps for 5"),
        (lambda: draw_alignment(np.zeros([1, 5]), WORDS, ["a", "b"]), "target: 1 time steps for 2"),
        (lambda: document_attention_html([1.0], [], [["a"]]), "0 lists of weights for 1"),
        (lambda: draw_transitions(np.zeros([2, 3]), ["O", "I"]), r"scores has shape \[2, 3\]"),
        (lambda: draw_transitions(np.zeros([2, 2]), ["O", "I"], end=[1.0]), "end has shape"),
    ],
)
def test_arrays_that_do_not_fit_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_font_that_has_the_character_goes_before_that_of_last_resort(monkeypatch):
    """U+2312 is in DejaVu Sans Mono and not in DejaVu Sans; matplotlib brings both."""
    manager = pytest.importorskip("matplotlib.font_manager").fontManager
    last = [font for font in manager.ttflist if font.name.startswith("Last Resort")]
    mono = [font for font in manager.ttflist if font.name == "DejaVu Sans Mono"]
    monkeypatch.setattr(manager, "ttflist", [*last, *mono])
    assert pictures._families("a\u2312") == ["DejaVu Sans", "DejaVu Sans Mono"]
    # What none has stays to matplotlib.
    assert pictures._families("a\U0010fffd") == ["DejaVu Sans"]
    pictures._families_of.cache_clear()


def test_a_story_has_a_row_a_sentence_and_a_column_a_hop():
    weights = [[0.0, 0.75, 0.0], [0.5, 0.25, 0.0]]
    axis = draw_story(weights, ["Ada took the map.", "Ada ran."], "Where?").axes[0]
    np.testing.assert_array_equal(axis.images[0].get_array(), [[0.0, 0.5], [0.75, 0.25]])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2"]
    with pytest.raises(ValueError, match="story: 3 time steps for 4 words"):
        draw_story(weights, ["a", "b", "c", "d"])
