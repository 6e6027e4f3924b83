"""What TensorBoard shows of a tagger: its transitions, what it takes for what, sentences with their tags."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_rnn import metrics, pictures

# More would be too small to read.
SHOWN_CONFUSIONS = 30
SHOWN_TAGS = 40


def transition_picture(scores: np.ndarray, tags: Sequence[str]) -> np.ndarray:
    """An image [1, height, width, 4] of the transitions, of the first tags if there are very many."""
    tags = tags[:SHOWN_TAGS]
    inner = scores[: len(tags), : len(tags)]
    start, end = scores[-1, : len(tags)], scores[: len(tags), -1]
    return pictures.to_pixels(pictures.draw_transitions(inner, tags, start, end))[None]


def confusion_table(counts: metrics.TagCounts) -> str:
    """Markdown: the commonest confusions."""
    lines = ["| right | given | tokens | of the right ones |", "|---|---|---:|---:|"]
    for right, given, number, share in counts.confusions(SHOWN_CONFUSIONS):
        lines.append(f"| {right} | {given} | {number:,} | {share:.1%} |")
    return "\n".join(lines)


def sentence_table(record: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Markdown: each token with its right tag, the tag given, and how likely that is."""
    lines = ["| word | right | given | probability |", "|---|---|---|---:|"]
    right = record.get("tags") or [""] * len(answer["tags"])
    rows = zip(answer["tokens"], right, answer["tags"], answer["probabilities"], strict=True)
    for token, wanted, given, probability in rows:
        given = given if given == wanted else f"**{given}**"
        lines.append(
            f"| {pictures.markdown_cell(token)} | {wanted} | {given} | {probability:.3f} |"
        )
    return "\n".join(lines)
