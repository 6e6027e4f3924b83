"""Pictures from arrays: gates, attention, alignments, transitions.

`draw_*` give a matplotlib figure, `*_html` a fragment of HTML without scripts, which shows any
script that the browser can (right-to-left text and scripts that no installed font of matplotlib
holds belong there). All take plain arrays of one example, so they know nothing of layers or tasks.
"""

from __future__ import annotations

import functools
import html
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Ink for the HTML: a blue that stays readable under black letters at full weight.
INK = "66, 146, 198"

# Examples whose gates a training shows: drawing takes a while.
GATES_SHOWN = 2

# Words that stand side by side in a picture of attention; more go on below.
WORDS_A_LINE = 40


def draw_gates(gates: Mapping[str, Any], words: Sequence[str], title: str = "") -> Figure:
    """Draws each gate as a heat map: words from left to right, units from top to bottom.

    Arguments:
        gates: name -> values [time, units], for example one row of a layer's extras. Values from 0
            to 1 are drawn from white to dark; a gate with values below 0 (a candidate, a state) is
            drawn around white, blue below and red above.
        words: one word a time step, "" for none there; values beyond the last word (padding) are left out.
        title: stands above the figure.

    Raises:
        ValueError: a gate is not [time, units], or has fewer time steps than there are words.

    >>> import numpy as np
    >>> from keras_rnn.pictures import draw_gates
    >>> figure = draw_gates({"gamma_u": np.eye(3)}, ["a", "b", "c"])
    >>> figure.axes[0].get_title(loc="left")
    'gamma_u'
    """
    if not gates:
        raise ValueError("draw_gates: there is no gate to draw.")
    arrays = {name: _cut(name, values, words, rank=2) for name, values in gates.items()}
    width = max(4.0, sum(0.35 if word else 0.1 for word in words) + 1.5)
    figure, axes = _figure(width, 1.7 * len(arrays) + 0.8, rows=len(arrays), title=title)
    for axis, (name, values) in zip(axes, arrays.items(), strict=True):
        around_zero = np.min(values, initial=0.0) < 0
        limit = max(1.0, float(np.max(np.abs(values), initial=0.0)))
        image = axis.imshow(
            values.T,
            aspect="auto",
            interpolation="nearest",
            cmap="RdBu_r" if around_zero else "Greys",
            vmin=-limit if around_zero else 0.0,
            vmax=limit,
        )
        axis.set_title(_plain(name), fontsize=10, loc="left")
        axis.set_ylabel("units")
        axis.set_yticks([])
        if axis is axes[-1]:
            _label_columns(axis, words)
        else:
            axis.set_xticks([])  # Placing marks takes longer than all else.
        figure.colorbar(image, ax=axis, pad=0.01)
    return figure


def gates_pictures(
    gates: Mapping[str, Any], real: Any, sentences: Sequence[Sequence[str]], words: int = 40
) -> dict[str, np.ndarray]:
    """Images of the gates over some texts, over their first words: `gates/0` and so on.

    Arguments:
        gates: name -> values [texts, time, units]; where a text is a list of sentences, [texts, sentences, time,
            units].
        real: bool, the same axes without units: where a word stands.
        sentences: the words of each text, one for each place that is real.
        words: most of them to draw.
    """
    shown = {}
    for number, sentence in enumerate(sentences):
        if len(sentence):
            places = np.asarray(real[number])
            values = {n: np.asarray(gate[number], "float32")[places] for n, gate in gates.items()}
            figure = draw_gates(values, sentence[:words])
            shown[f"gates/{number}"] = to_pixels(figure)[None]
    return shown


def draw_attention(weights: Any, words: Sequence[str], title: str = "") -> Figure:
    """Draws attention over the words of one sequence.

    Arguments:
        weights: [time], drawn as bars, in several lines where there are many words, or [rows, time] (structured
            self-attention), drawn as a heat map; weights beyond the last word (padding) are left out.
        words: one word a position.
        title: stands above the figure.

    Raises:
        ValueError: there are fewer weights than words.

    >>> from keras_rnn.pictures import draw_attention
    >>> figure = draw_attention([0.1, 0.9], ["not", "bad"])
    >>> [float(bar.get_height()) for bar in figure.axes[0].patches]
    [0.1, 0.9]
    """
    array = np.asarray(weights, "float64")
    if array.ndim == 1:
        return _attention_bars(_cut("attention", array, words, rank=1), words, title)
    array = _cut("attention", array.T, words, rank=2).T
    width = max(3.0, 0.45 * len(words) + 1.0)
    figure, (axis,) = _figure(width, 0.35 * len(array) + 1.6, title=title)
    _heat_map(figure, axis, array)
    axis.set_yticks(range(len(array)), [str(row + 1) for row in range(len(array))])
    axis.set_ylabel("row")
    _label_columns(axis, words)
    return figure


def _attention_bars(weights: np.ndarray, words: Sequence[str], title: str) -> Figure:
    starts = range(0, max(len(words), 1), WORDS_A_LINE)
    width = max(3.0, 0.45 * min(len(words), WORDS_A_LINE) + 1.0)
    figure, axes = _figure(width, 2.6 * len(starts), rows=len(starts), title=title)
    for axis, start in zip(axes, starts, strict=True):
        line = slice(start, start + WORDS_A_LINE)
        axis.bar(range(len(words[line])), weights[line], color="#4292c6")
        # The same scale and the same width for all lines.
        axis.set_xlim(-0.5, min(len(words), WORDS_A_LINE) - 0.5)
        axis.set_ylim(0.0, 1.05 * float(np.max(weights, initial=0.0)) or 1.0)
        axis.set_ylabel("weight")
        axis.spines[["top", "right"]].set_visible(False)
        _label_columns(axis, words[line])
    return figure


def draw_story(weights: Any, sentences: Sequence[str], title: str = "") -> Figure:
    """Draws what each hop through a story took of its sentences: sentences from top to bottom, hops from left to right.

    Arguments:
        weights: [hops, sentences]; weights beyond the last sentence (padding) are left out.
        sentences: one text a position.
        title: stands above the figure.

    Raises:
        ValueError: there are fewer weights than sentences.

    >>> from keras_rnn.pictures import draw_story
    >>> figure = draw_story([[0.9, 0.1]], ["Ada took the map.", "Ada ran."])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['Ada took the map.', 'Ada ran.']
    """
    array = _cut("story", np.asarray(weights, "float64").T, sentences, rank=2)
    longest = max((len(sentence) for sentence in sentences), default=0)
    width = 0.08 * longest + 0.5 * array.shape[1] + 1.6
    figure, (axis,) = _figure(max(4.0, width), 0.28 * len(sentences) + 1.2, title=title)
    _heat_map(figure, axis, array)
    axis.set_yticks(
        range(len(sentences)), _plain(sentences), fontfamily=_families("".join(sentences))
    )
    axis.set_xticks(range(array.shape[1]), [str(hop + 1) for hop in range(array.shape[1])])
    axis.set_xlabel("hop")
    return figure


def attention_html(weights: Any, words: Sequence[str], caption: str = "") -> str:
    """Attention over words as HTML: the more weight, the more ink behind the word.

    Arguments:
        weights: [time], or [rows, time], one line a row; weights beyond the last word are left out.
        words: one word a position, in any script.
        caption: stands above the words.

    Returns:
        A fragment of HTML. Ink is relative to the largest weight of its line; the weight itself
        shows when the pointer rests on a word.

    Raises:
        ValueError: there are fewer weights than words.

    >>> from keras_rnn.pictures import attention_html
    >>> "&lt;b&gt;" in attention_html([1.0], ["<b>"])
    True
    """
    array = np.asarray(weights, "float64")
    lines = _cut("attention", array if array.ndim == 1 else array.T, words, rank=array.ndim).T
    return _page(caption, [_inked_words(line, words) for line in np.atleast_2d(lines)])


def document_attention_html(
    sentence_weights: Any,
    word_weights: Sequence[Any],
    sentences: Sequence[Sequence[str]],
    caption: str = "",
) -> str:
    """Attention over a document as HTML: a bar before each sentence, ink behind its words.

    Arguments:
        sentence_weights: [sentences].
        word_weights: for each sentence, [time].
        sentences: for each sentence, its words.
        caption: stands above the document.

    Raises:
        ValueError: there are fewer weights than sentences, or than words in one of them.

    >>> from keras_rnn.pictures import document_attention_html
    >>> page = document_attention_html([0.2, 0.8], [[1.0], [0.5, 0.5]], [["Hi"], ["good", "film"]])
    >>> page.count("<p")
    2
    """
    shares = _cut("sentence_weights", sentence_weights, sentences, rank=1)
    if len(word_weights) < len(sentences):
        raise ValueError(
            f"word_weights: {len(word_weights)} lists of weights for {len(sentences)} sentences."
        )
    lines = []
    for share, weights, words in zip(shares, word_weights, sentences, strict=False):
        bar = (
            f'<span title="{share:.3f}" style="display:inline-block;height:0.8em;'
            f'margin-inline-end:0.6em;width:{4 * share:.2f}em;background:#cb181d"></span>'
        )
        lines.append(bar + _inked_words(_cut("word_weights", weights, words, rank=1), words))
    return _page(caption, lines)


def draw_alignment(
    weights: Any, source: Sequence[str], target: Sequence[str], title: str = ""
) -> Figure:
    """Draws an alignment: a row for each target word, a column for each source word.

    Arguments:
        weights: [target_time, source_time]; what is beyond the last words (padding) is left out.
        source: source words.
        target: target words.
        title: stands above the figure.

    Raises:
        ValueError: there are fewer weights than words.

    >>> import numpy as np
    >>> from keras_rnn.pictures import draw_alignment
    >>> figure = draw_alignment(np.eye(2), ["das", "Haus"], ["the", "house"])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['the', 'house']
    """
    array = _cut_matrix(weights, source, target)
    width, height = 0.42 * len(source) + 2.2, 0.32 * len(target) + 1.4
    figure, (axis,) = _figure(max(3.5, width), max(2.4, height), title=title)
    _heat_map(figure, axis, array)
    axis.set_yticks(range(len(target)), _plain(target), fontfamily=_families("".join(target)))
    _label_columns(axis, source, above=True)
    return figure


def draw_copying(
    weights: Any, source: Sequence[str], target: Sequence[str], copied: Any, title: str = ""
) -> Figure:
    """Draws where each word of a summary looked, and how surely it was copied from there.

    Arguments:
        weights: [target_time, source_time], as for `draw_alignment`.
        source: words of the text.
        target: words of the summary.
        copied: [target_time], probability of each word that it is a copy; it stands behind the word.
        title: stands above the figure.

    Raises:
        ValueError: there are fewer weights or probabilities than words.

    >>> import numpy as np
    >>> from keras_rnn.pictures import draw_copying
    >>> figure = draw_copying(np.eye(2), ["Ada", "won"], ["Ada", "wins"], [1.0, 0.04])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['Ada  1.00', 'wins  0.04']
    """
    copied = np.asarray(copied, np.float64)
    if len(copied) < len(target):
        raise ValueError(f"{len(target)} words have {len(copied)} probabilities.")
    words = [f"{word}  {share:.2f}" for word, share in zip(target, copied)]
    return draw_alignment(weights, source, words, title)


def draw_recognition(
    spectrogram: Any, alignment: Any, tokens: Sequence[str], frame_seconds: float, title: str = ""
) -> Figure:
    """Draws a sound as its spectrogram, and below it where each token was heard, over the same seconds.

    Arguments:
        spectrogram: [frames, mels], the logarithm of the power.
        alignment: [tokens, steps], weights from 0 to 1; the steps span all frames.
        tokens: one for each row of the alignment.
        frame_seconds: from one frame to the next.
        title: stands above the figure.

    Raises:
        ValueError: there are fewer rows than tokens.

    >>> import numpy as np
    >>> from keras_rnn.pictures import draw_recognition
    >>> figure = draw_recognition(np.ones([40, 8]), np.eye(2, 10), ["one", "two"], 0.01)
    >>> [float(edge) for edge in figure.axes[1].get_xlim()]
    [0.0, 0.4]
    """
    sound = np.asarray(spectrogram, "float64")
    array = _cut("alignment", alignment, tokens, rank=2)
    seconds = len(sound) * frame_seconds
    figure, (above, below) = _figure(
        min(max(4.0, 3.0 * seconds), 20.0), 2.6 + 0.25 * len(tokens), rows=2, title=title
    )
    above.imshow(
        sound.T, aspect="auto", origin="lower", cmap="magma", extent=(0, seconds, 0, sound.shape[1])
    )
    above.set_ylabel("mel band")
    below.imshow(
        array,
        aspect="auto",
        interpolation="nearest",
        cmap="Blues",
        vmin=0.0,
        vmax=1.0,
        extent=(0, seconds, len(tokens) - 0.5, -0.5),
    )
    below.set_yticks(range(len(tokens)), _plain(tokens), fontfamily=_families("".join(tokens)))
    below.set_xlabel("seconds")
    return figure


def alignment_html(
    weights: Any, source: Sequence[str], target: Sequence[str], caption: str = ""
) -> str:
    """An alignment as an HTML table: a row for each target word, a column for each source word.

    Args, errors: as `draw_alignment`.

    >>> import numpy as np
    >>> from keras_rnn.pictures import alignment_html
    >>> alignment_html(np.eye(2), ["家", "が"], ["the", "house"]).count("<td")
    4
    """
    array = _cut_matrix(weights, source, target)
    head = "".join(f'<th scope="col"><bdi>{html.escape(word)}</bdi></th>' for word in source)
    rows = [f"<tr><th></th>{head}</tr>"]
    for word, values in zip(target, array, strict=True):
        cells = "".join(
            f'<td title="{value:.3f}" style="background:{_ink(value)};min-width:1.6em"></td>'
            for value in values
        )
        rows.append(
            f'<tr><th scope="row" style="text-align:end"><bdi>{html.escape(word)}</bdi></th>'
            f"{cells}</tr>"
        )
    table = f'<table style="border-collapse:collapse;font-weight:normal">{"".join(rows)}</table>'
    return _page(caption, [table], tag="div")


def draw_transitions(
    scores: Any,
    tags: Sequence[str],
    start: Any = None,
    end: Any = None,
    title: str = "",
) -> Figure:
    """Draws the transition scores of a tagger: from the tag of the row to the tag of the column.

    Arguments:
        scores: [tags, tags], previous tag first.
        tags: their names.
        start: scores [tags] of a first tag, drawn as a further row.
        end: scores [tags] of a last tag, drawn as a further column.
        title: stands above the figure.

    Raises:
        ValueError: the arrays do not fit the number of tags.

    >>> import numpy as np
    >>> from keras_rnn.pictures import draw_transitions
    >>> figure = draw_transitions(np.zeros([2, 2]), ["O", "B"], start=[0.0, 1.0])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['start', 'O', 'B']
    """
    count = len(tags)
    array = np.asarray(scores, "float64")
    for name, values, shape in [
        ("scores", scores, (count, count)),
        ("start", start, (count,)),
        ("end", end, (count,)),
    ]:
        if values is not None and np.shape(values) != shape:
            raise ValueError(
                f"draw_transitions: {name} has shape {list(np.shape(values))}; "
                f"{count} tags need {list(shape)}."
            )
    rows, columns = list(tags), list(tags)
    if end is not None:
        array = np.concatenate([array, np.asarray(end, "float64")[:, None]], axis=1)
        columns.append("end")
    if start is not None:
        first = np.full([1, array.shape[1]], np.nan)
        first[0, :count] = start
        array = np.concatenate([first, array])
        rows.insert(0, "start")
    # Forbidden transitions are a large negative number or minus infinity: they stay grey.
    shown = np.ma.masked_where(~np.isfinite(array) | (array < -1e3), array)
    limit = float(np.ma.max(np.ma.abs(shown))) if shown.count() else 1.0
    size = 0.42 * max(len(rows), 4)
    figure, (axis,) = _figure(size + 2.4, size + 1.2, title=title)
    axis.set_facecolor("#dddddd")
    limit = limit or 1.0
    image = axis.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    figure.colorbar(image, ax=axis, pad=0.02)
    axis.set_yticks(range(len(rows)), _plain(rows), fontfamily=_families("".join(rows)))
    axis.set_ylabel("from")
    axis.set_xlabel("to")
    _label_columns(axis, columns)
    return figure


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Texts as a table in Markdown.

    >>> print(markdown_table(["right", "given"], [["a | *b*", "c"]]))
    | right | given |
    |---|---|
    | a \\| \\*b\\* | c |
    """
    lines = [head, *(map(markdown_cell, row) for row in rows)]
    shown = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([shown[0], f"|{'---|' * len(head)}", *shown[1:]])


def markdown_cell(text: str) -> str:
    """A text within a table in Markdown.

    >>> print(markdown_cell("*a*"))
    \\*a\\*
    """
    text = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|<>~" else c for c in text)


def to_pixels(figure: Figure) -> np.ndarray:
    """The figure as an image, uint8 [height, width, 4] (red, green, blue, opacity).

    >>> from keras_rnn.pictures import draw_attention, to_pixels
    >>> pixels = to_pixels(draw_attention([0.1, 0.9], ["not", "bad"]))
    >>> pixels.dtype, pixels.shape[2]
    (dtype('uint8'), 4)
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # Of a script that no font holds there are boxes; that is seen.
        warnings.filterwarnings("ignore", message="Glyph")
        canvas.draw()
    return np.array(canvas.buffer_rgba())


def _cut(name: str, values: Any, words: Sequence[Any], rank: int) -> np.ndarray:
    """The values of real words; time is the first axis."""
    array = np.asarray(values, "float64")
    if array.ndim != rank:
        raise ValueError(f"{name}: needs {rank} axes, has shape {list(array.shape)}.")
    if len(array) < len(words):
        raise ValueError(f"{name}: {len(array)} time steps for {len(words)} words.")
    return array[: len(words)]


def _cut_matrix(weights: Any, source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    array = _cut("alignment, target", weights, target, rank=2)
    return _cut("alignment, source", array.T, source, rank=2).T


def _figure(width: float, height: float, rows: int = 1, title: str = "") -> tuple[Figure, Any]:
    # A figure of its own, not pyplot's: nothing to close, no window, safe in any thread.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(width, 40.0), min(height, 40.0)), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    if title:
        figure.suptitle(_plain(title), fontfamily=_families(title))
    return figure, axes


def _heat_map(figure: Figure, axis: Any, array: np.ndarray) -> None:
    image = axis.imshow(
        array, aspect="auto", interpolation="nearest", cmap="Blues", vmin=0.0, vmax=1.0
    )
    figure.colorbar(image, ax=axis, pad=0.02)


def _label_columns(axis: Any, words: Sequence[str], above: bool = False) -> None:
    # "[END]" still stands upright.
    turned = max((len(word) for word in words), default=0) > 5
    labelled = [place for place, word in enumerate(words) if word]
    axis.set_xticks(
        labelled,
        [_plain(words[place]) for place in labelled],
        rotation=(45 if above else -45) if turned else 0,
        ha="left" if turned else "center",
        rotation_mode="anchor",
        fontfamily=_families("".join(words)),
    )
    if above:
        axis.xaxis.tick_top()


def _plain(text: Any) -> Any:
    """A text, or each of several, in which dollars are dollars: matplotlib reads two of them as mathematics."""
    if not isinstance(text, str):
        return [_plain(part) for part in text]
    return text.replace("$", r"\$")


def _families(text: str) -> list[str]:
    """Font families that together hold the characters of the text, as far as any installed does."""
    return list(_families_of(frozenset(text)))


@functools.lru_cache(maxsize=256)
def _families_of(characters: frozenset[str]) -> tuple[str, ...]:
    from matplotlib import font_manager, ft2font

    chosen = ["DejaVu Sans"]
    held = ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap()
    missing = {ord(character) for character in characters} - set(held)
    # Matplotlib's font of last resort claims every character, and has a picture of its script for each.
    fonts = [f for f in font_manager.fontManager.ttflist if not f.name.startswith("Last Resort")]
    for font in fonts if missing else []:
        try:
            held = ft2font.FT2Font(font.fname).get_charmap()
        except (OSError, RuntimeError):
            continue
        if missing & set(held):
            chosen.append(font.name)
            missing -= set(held)
        if not missing:
            break
    return tuple(chosen)


def _ink(share: float) -> str:
    return f"rgba({INK}, {min(max(float(np.nan_to_num(share)), 0.0), 1.0):.3f})"


def _inked_words(weights: np.ndarray, words: Sequence[str]) -> str:
    largest = float(np.max(weights, initial=0.0)) or 1.0
    return " ".join(
        f'<span title="{weight:.3f}" style="background:{_ink(weight / largest)};'
        f'border-radius:0.25em;padding:0.1em 0.2em">{html.escape(word)}</span>'
        for weight, word in zip(weights, words, strict=True)
    )


def _page(caption: str, lines: Sequence[str], tag: str = "p") -> str:
    # Its own colours, so that it reads the same on a dark page. `dir=auto` sets right-to-left text.
    head = (
        f'<div dir="auto" style="font-weight:bold">{html.escape(caption)}</div>' if caption else ""
    )
    body = "".join(f'<{tag} dir="auto" style="margin:0.4em 0">{line}</{tag}>' for line in lines)
    return (
        '<div style="background:#fff;color:#111;padding:0.6em;line-height:1.9;'
        f'font-family:sans-serif">{head}{body}</div>'
    )
