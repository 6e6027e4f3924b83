"""Raw text to the numbers that the model beside this file reads, by the rules in encoding.json. Needs NumPy alone."""

import json
import re
from pathlib import Path

import numpy as np

UNKNOWN, SPECIAL = 1, 4


class Encoding:
    """Cuts texts into tokens and looks them up.

    Arguments:
        folder: where encoding.json lies.
    """

    def __init__(self, folder):
        rules = json.loads((Path(folder) / "encoding.json").read_text(encoding="utf-8"))
        self.rules = rules

        def compiled(pattern):
            return re.compile(re.sub(r"\\p\{(\w+)\}", lambda m: rules["classes"][m[1]], pattern))

        self.blank = compiled(rules["blank"])
        self.marks = [(compiled(pattern), mark) for pattern, mark in rules["marks"]]
        self.shapes = [(compiled(pattern), sign) for pattern, sign in rules.get("shapes", [])]
        # The first four ids are padding, the unknown token, start and end: no text can write them.
        self.ids = {
            name: {token: number for number, token in enumerate(tokens) if number >= SPECIAL}
            for name, tokens in rules["vocabularies"].items()
        }

    def tokens(self, text):
        """The tokens of a text, as many as the model reads."""
        text = text.encode("utf-8", "replace")[: self.rules["max_bytes"]].decode("utf-8", "ignore")
        if self.rules["tokenizer"] == "characters":
            return ([] if self.blank.fullmatch(text) else list(text))[: self.rules["max_length"]]
        separator = self.rules["separator"]
        text = text.replace(separator, " ")
        for pattern, mark in self.marks:
            text = pattern.sub(mark, text)
        words = [piece for piece in text.split(separator) if not self.blank.fullmatch(piece)]
        return words[: self.rules["max_length"]]

    def features(self, tokens):
        """What the model takes for these tokens, at least one: arrays [1, tokens, ...] by name."""
        cased = [token.lower() for token in tokens] if self.rules["lower"] else tokens
        found = {"ids": [self.ids["ids"].get(token, UNKNOWN) for token in cased]}
        if "characters" in self.ids:
            found["characters"] = [self._characters(token) for token in tokens]
        if "attributes" in self.ids:
            known = self.ids["attributes"]
            found["attributes"] = [
                [known.get(attribute, UNKNOWN) for attribute in self._attributes(token)]
                for token in tokens
            ]
        if "vector_ids" in self.ids:
            known = self.ids["vector_ids"]
            found["vector_ids"] = [
                known.get(token) or known.get(token.lower(), UNKNOWN) for token in tokens
            ]
        return {name: np.array([rows], np.int32) for name, rows in found.items()}

    def _characters(self, token):
        """The first characters of a word and, of one that is too long, so many of its last."""
        length, last = self.rules["word_length"], self.rules["word_end"]
        if last and len(token) > length:
            token = token[: length - last] + token[-last:]
        ids = [self.ids["characters"].get(character, UNKNOWN) for character in token[:length]]
        return ids + [0] * (length - len(ids))

    def _attributes(self, token):
        """The shape of a word, how it ends in one to four characters, how it begins in three."""
        shape = token
        for pattern, sign in self.shapes:
            shape = pattern.sub(sign, shape)
        token = token.lower()
        endings = [f"{size} {token[-size:]}" for size in (1, 2, 3, 4)]
        return ["shape " + shape, *endings, "first " + token[:3]]
