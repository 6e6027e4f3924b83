"""How text is cut into words, said in patterns of Python's `re`: for clients without TensorFlow.

The patterns are those of `text` and `attributes`, which are RE2's. Python knows no `\\p{L}`; what each such class
holds is asked of TensorFlow itself, so that both cut alike whatever their versions of Unicode.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.attributes import SHAPES
from pipelines.text import BLANK_ONLY, MARKS, SEPARATOR

_CLASS = re.compile(r"\\p\{(\w+)\}")


def word_rules(shapes: bool = False) -> dict[str, Any]:
    """JSON-ready rules for `split_words`, and with `shapes` for the shapes of `word_attributes`.

    Returns:
        `marks`: patterns with what takes the place of each match, in order; `separator`, which they put round words;
        `blank`, which matches what is no word; `shapes`, like `marks`; `classes`, what stands for each `\\p{…}` inside
        the brackets of a pattern.

    Example:

    >>> rules = word_rules()
    >>> rules["blank"]
    '[\\\\s\\\\p{Z}\\\\p{Cc}\\\\uFEFF\\\\u200B]*'
    >>> rules["classes"]["Z"][:25]
    '\\\\u0020\\\\u00a0\\\\u1680\\\\u2000-'
    """
    rules: dict[str, Any] = {
        "separator": SEPARATOR,
        "blank": _of_python(BLANK_ONLY),
        "marks": [[_of_python(pattern), mark.replace(r"\0", r"\g<0>")] for pattern, mark in MARKS],
    }
    if shapes:
        rules["shapes"] = [[_of_python(pattern), sign] for pattern, sign in SHAPES]
    patterns = [rules["blank"]]
    patterns += [pattern for pattern, _ in rules["marks"] + rules.get("shapes", [])]
    names = sorted({name for pattern in patterns for name in _CLASS.findall(pattern)})
    return {**rules, "classes": {name: _members(name) for name in names}}


def _of_python(pattern: str) -> str:
    # A word ends, for RE2, where no ASCII letter follows.
    return re.sub(r"\\x\{(\w{4})\}", r"\\u\1", pattern).replace(r"\b", r"(?a:\b)")


@functools.cache
def _members(name: str) -> str:
    """The characters of a class, as ranges."""
    codes = np.array([code for code in range(0x110000) if not 0xD800 <= code < 0xE000])
    characters = tf.strings.unicode_encode(codes[:, None].astype(np.int32), "UTF-8")
    inside = tf.strings.regex_full_match(characters, rf"\p{{{name}}}").numpy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    ranges = ((codes[begin], codes[end - 1]) for begin, end in edges.reshape(-1, 2))
    return "".join(_escaped(a) + (f"-{_escaped(b)}" if a < b else "") for a, b in ranges)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
