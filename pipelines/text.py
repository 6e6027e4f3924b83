"""Strings to ids and back: words, characters, wordpieces, SentencePiece behind one class.

Training and serving call the same `encode`, in graph. Ids are 0 padding, 1 [UNK], 2 [START],
3 [END], then the tokens, most frequent first. Words and characters use TensorFlow's own
operations, so a SavedModel that holds them loads where only TensorFlow is installed.
"""

from __future__ import annotations

import collections
import io
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from pipelines.ahead import map_ahead
from pipelines.devices import on_cpu
from pipelines.errors import InputError
from pipelines.files import atomic_write, numbered_lines
from pipelines.ragged import framed, kept

PADDING, UNKNOWN, START, END = 0, 1, 2, 3
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[START]", "[END]")

# Strings a call: tokenizing one by one is twenty times slower. Of long ones fewer, as many as hold so many characters.
CHUNK = 1024
CHUNK_CHARACTERS = 2**22

NO_TOKEN = "no token is left for a vocabulary: the texts are empty, min_count too high or vocabulary_size too low"

# Distinct tokens that counting keeps at most; the rarest go first.
_MOST_COUNTED = 4_000_000

# Lines, of 1,000 characters at most, that SentencePiece learns from; of more it draws so many.
_MOST_LINES = 1_000_000

SEPARATOR = "\x1f"
_BLANK = r"\s\p{Z}\p{Cc}\x{FEFF}\x{200B}"
BLANK_ONLY = f"[{_BLANK}]*"
_CLITIC = r"n['’]t|['’](?:s|m|d|re|ve|ll)"
_AFTER_LETTER = rf"(?i)([\p{{L}}])({_CLITIC})\b"
# Scripts that put no blanks between words: every character is a token.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\x{30FC}][\p{M}]*"
_TOKEN = "|".join(
    [
        rf"(?i:{_CLITIC})\b",
        r"(?i:-[LR][RCS]B-)",  # brackets as treebanks and GloVe spell them
        r"[\p{Nd}]+(?:[.,][\p{Nd}]+)+",  # 3.5 and 1,000
        r"[\p{L}\p{M}\p{N}\x{200C}\x{200D}]+",
        r"\.{2,}|-{2,}|``|''",
        rf"[^{_BLANK}][\p{{M}}]*",
    ]
)

# What puts a separator round each word, in order: a pattern and what takes its place. To find what \1 stands for, RE2
# reads a match several times as long as to find all of it, \0. `portable` reads them too, which wants a class as \p{L}
# inside brackets.
MARKS = (
    (_AFTER_LETTER, rf"\1{SEPARATOR}\2"),
    (_UNSPACED, rf"{SEPARATOR}\0{SEPARATOR}"),
    (_TOKEN, rf"{SEPARATOR}\0{SEPARATOR}"),
)


def in_chunks(items: Iterable, size: int = CHUNK) -> Iterator[list]:
    """Cuts any iterable into lists of `size` items, the last one shorter.

    A list ends sooner where its texts, alone or in records, have `CHUNK_CHARACTERS` characters together.

    Example:

    >>> list(in_chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    chunk, characters = [], 0
    for item in items:
        chunk.append(item)
        characters += _characters(item)
        if len(chunk) == size or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _characters(item: object) -> int:
    """Characters of a text, or of all those that a record or a sequence holds."""
    if isinstance(item, str):
        return len(item)
    if isinstance(item, Mapping):
        return sum(map(_characters, item.values()))
    return sum(map(_characters, item)) if isinstance(item, list | tuple) else 0


def lowered(texts: tf.Tensor | tf.RaggedTensor) -> tf.Tensor | tf.RaggedTensor:
    """Strings in lower case (Unicode), in graph, and whatever the language of the process is.

    TensorFlow asks the locale, in which a Turkish I becomes a dotless ı: I and İ are lowered before it can.

    Example:

    >>> lowered(tf.constant(["İI Ärger"])).numpy()[0].decode()
    'i̇i ärger'
    """
    texts = tf.strings.regex_replace(tf.strings.lower(texts), "İ", "i̇")
    return tf.strings.lower(texts, encoding="utf-8")


def first_bytes(texts: tf.Tensor, most: int) -> tf.Tensor:
    """The beginning of each text [batch], of at most `most` bytes, in whole characters of UTF-8, in graph.

    Example:

    >>> first_bytes(tf.constant(["añ", "aaa", ""]), 2).numpy().tolist()
    [b'a', b'aa', b'']
    """
    cut, further = (tf.strings.substr(texts, 0, size, unit="BYTE") for size in (most, most + 1))
    count = tf.strings.length(cut, unit="UTF8_CHAR")
    # The next byte begins no character: it belongs to the last one, which is not whole.
    broken = (cut != further) & (tf.strings.length(further, unit="UTF8_CHAR") == count)
    whole = tf.maximum(count - 1, 0)
    whole = tf.strings.substr(cut, tf.zeros_like(whole), whole, unit="UTF8_CHAR")
    return tf.where(broken, whole, cut)


def split_words(texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
    """Splits raw strings into words, with where each begins and ends in bytes.

    Tokens are runs of letters and digits; numbers with their points and commas; English clitics
    as in the Penn Treebank and GloVe (do n't, it 's, they 'll); each character of a script
    without blanks (Han, kana, Thai, Lao, Khmer, Burmese); each other sign by itself.

    Arguments:
        texts: string[batch].

    Returns:
        tokens, starts, ends: ragged [batch, tokens]; string, int32, int32.
    """
    texts = tf.reshape(tf.convert_to_tensor(texts, tf.string), [-1])
    # The separator is one byte, like the blank it replaces, so that places stay what they are.
    marked = tf.strings.regex_replace(texts, SEPARATOR, " ")
    for pattern, mark in MARKS:
        marked = tf.strings.regex_replace(marked, pattern, mark)
    pieces = tf.strings.split(marked, SEPARATOR)
    # The pieces of a row, blanks included, join to the raw row: their lengths give the places.
    lengths = tf.strings.length(pieces.values)
    row_begins = tf.cumsum(tf.strings.length(texts), exclusive=True)
    starts = tf.cumsum(lengths, exclusive=True) - tf.gather(row_begins, pieces.value_rowids())
    words = tf.logical_not(tf.strings.regex_full_match(pieces.values, BLANK_ONLY))
    return tuple(
        kept(pieces.with_values(values), words)
        for values in (pieces.values, starts, starts + lengths)
    )


class Tokenizer(tf.Module):
    """A vocabulary with its rule: strings to ids and back, in graph.

    Subclasses say how a string is cut (`_cut`) and how tokens join (`_join`).

    Arguments:
        tokens: every token in the order of its id, the four special ones first.
        lower: whether texts are lower-cased (Unicode) before they are looked up.

    Raises:
        InputError: the tokens do not begin with the special ones, or one stands twice.

    Example:

    >>> tokenizer = train_tokenizer("words", ["a good film", "a bad film"], size=100)
    >>> tokenizer.encode(["a good day", ""]).to_list()
    [[4, 7, 1], [1]]
    >>> tokenizer.decode([[4, 7, 5, 0]]).numpy().tolist()
    [b'a good film']
    """

    kind: str

    def __init__(self, tokens: Sequence[str], lower: bool = False):
        super().__init__(name=f"{self.kind}_tokenizer")
        tokens = list(tokens)
        if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise InputError(f"a vocabulary begins with {' '.join(SPECIAL_TOKENS)}")
        if len(set(tokens)) != len(tokens):
            twice = next(t for t, n in collections.Counter(tokens).items() if n > 1)
            raise InputError(f"the vocabulary holds {twice!r} twice")
        self.lower = bool(lower)
        # An array, because tf.Module would track every string of a list.
        self._tokens = np.array(tokens, dtype=object)

    @property
    def size(self) -> int:
        """The number of ids, the four special ones included."""
        return len(self._tokens)

    @property
    def tokens_list(self) -> list[str]:
        """The token of each id."""
        return self._tokens.tolist()

    # Cutting

    @on_cpu
    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """string[batch] -> the tokens, ragged string[batch, tokens], in the case of the text."""
        return self.tokenize_with_offsets(texts)[0]

    @on_cpu
    def tokenize_with_offsets(
        self, texts: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """The tokens and where each begins and ends in the raw string, in bytes (int32)."""
        return self._cut(tf.reshape(tf.convert_to_tensor(texts, tf.string), [-1]))

    @on_cpu
    def encode(self, texts: tf.Tensor, start: bool = False, end: bool = False) -> tf.RaggedTensor:
        """string[batch] -> ids, ragged int32[batch, tokens]; a blank string is one [UNK].

        Arguments:
            texts: raw strings; no rows at all are fine.
            start, end: whether [START] and [END] stand round each row.
        """
        return self._finish(self.encode_tokens(self.tokenize(texts)), start, end)

    @on_cpu
    def encode_tokens(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        """Tokens that are cut already -> ids, int32, in the same ragged shape.

        Nothing is added to an empty row. The special tokens' names are no tokens here: a text
        cannot write [END].
        """
        raise NotImplementedError(f"{self.kind} cuts its own tokens: call encode with raw text")

    def _finish(self, ids: tf.RaggedTensor, start: bool, end: bool) -> tf.RaggedTensor:
        return framed(ids, UNKNOWN, START if start else None, END if end else None)

    # Joining

    @on_cpu
    def decode(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """ids [batch, time] -> string[batch]: no padding, no [START], nothing from [END] on."""
        if isinstance(ids, tf.RaggedTensor):
            ids = ids.to_tensor(PADDING)
        dense = tf.cast(ids, tf.int32)
        ended = tf.cumsum(tf.cast(tf.equal(dense, END), tf.int32), axis=1) > 0
        real = ~ended & tf.not_equal(dense, PADDING) & tf.not_equal(dense, START)
        return self._join(tf.ragged.boolean_mask(dense, real))

    # Subclasses

    def _cut(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        raise NotImplementedError

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        raise NotImplementedError

    @classmethod
    def train(cls, texts: Iterable[str], size: int, lower: bool, min_count: int) -> Tokenizer:
        """Learns the vocabulary; called by `train_tokenizer`."""
        raise NotImplementedError

    # Files

    def save(self, directory: str | os.PathLike, name: str = "vocabulary") -> None:
        """Writes `NAME.txt` (one token a line, in the order of the ids) and `NAME.json`.

        In the lines a backslash, a line feed and a carriage return are \\\\, \\n and \\r.
        """
        os.makedirs(directory, exist_ok=True)
        with atomic_write(os.path.join(directory, f"{name}.txt")) as stream:
            stream.writelines(f"{_escaped(token)}\n" for token in self._tokens)
        with atomic_write(os.path.join(directory, f"{name}.json")) as stream:
            json.dump({"kind": self.kind, "lower": self.lower, "size": self.size}, stream, indent=2)
            stream.write("\n")

    @classmethod
    def _load(cls, directory: str, name: str, lower: bool) -> Tokenizer:
        file = os.path.join(directory, f"{name}.txt")
        return cls([_unescaped(line) for _, line in numbered_lines(file)], lower)


class _TableTokenizer(Tokenizer):
    """A tokenizer whose ids come from a lookup table of whole tokens."""

    separator: str

    def __init__(self, tokens: Sequence[str], lower: bool = False):
        super().__init__(tokens, lower)
        _require_tokens(self)
        plain = tf.constant(self.tokens_list[len(SPECIAL_TOKENS) :], tf.string)
        ids = tf.range(len(SPECIAL_TOKENS), self.size, dtype=tf.int32)
        # The special tokens are not among the keys: a text that holds "[END]" does not end.
        self._ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(plain, ids), default_value=UNKNOWN
        )
        self._strings = _string_table(self.tokens_list)

    def extended(self, other: Tokenizer) -> Tokenizer:
        """The same with the tokens that another one has beside, behind its own.

        >>> tokenizer = train_tokenizer("words", ["one two"], size=9)
        >>> tokenizer.extended(train_tokenizer("words", ["two three"], size=9)).tokens_list[4:]
        ['one', 'two', 'three']
        """
        known = set(self.tokens_list)
        new = [token for token in other.tokens_list if token not in known]
        return type(self)([*self.tokens_list, *new], self.lower)

    @on_cpu
    def encode_tokens(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        if not isinstance(tokens, tf.RaggedTensor):
            tokens = tf.convert_to_tensor(tokens, tf.string)
        if self.lower:
            tokens = lowered(tokens)
        return self._ids.lookup(tokens)

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        tokens = self._strings.lookup(tf.cast(ids, tf.int64))
        return tf.strings.reduce_join(tokens, axis=1, separator=self.separator)

    @classmethod
    def train(cls, texts: Iterable[str], size: int, lower: bool, min_count: int) -> Tokenizer:
        cutter = cls([*SPECIAL_TOKENS, "a"])
        counts = _count(cutter.tokenize, texts, lower)
        return cls([*SPECIAL_TOKENS, *_most_frequent(counts, size, min_count)], lower)


class WordTokenizer(_TableTokenizer):
    """Words and punctuation, as `split_words` cuts them; decoded with blanks between.

    Args, errors: as for `Tokenizer`. TensorFlow operations only.

    Example:

    >>> tokenizer = train_tokenizer("words", ["I don't."], size=10)
    >>> tokenizer.tokenize(["I don't."]).to_list()
    [[b'I', b'do', b"n't", b'.']]
    """

    kind = "words"
    separator = " "

    def _cut(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        return split_words(texts)


class CharacterTokenizer(_TableTokenizer):
    """Unicode characters, blanks included; an invalid byte is U+FFFD.

    Args, errors: as for `Tokenizer`. TensorFlow operations only.

    Example:

    >>> tokenizer = train_tokenizer("characters", ["añ"], size=10)
    >>> tokenizer.tokenize(["añ a"]).to_list()
    [[b'a', b'\\xc3\\xb1', b' ', b'a']]
    """

    kind = "characters"
    separator = ""

    def _cut(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        blank = tf.strings.regex_full_match(texts, BLANK_ONLY)
        texts = tf.where(blank, "", texts)
        characters, starts = tf.strings.unicode_split_with_offsets(texts, "UTF-8")
        # A character ends where the next begins; a replaced byte is shorter than U+FFFD.
        following = tf.concat([starts.values[1:], [0]], axis=0)
        lengths = tf.cast(tf.strings.length(texts), tf.int64)
        last = tf.concat([starts.value_rowids()[1:] != starts.value_rowids()[:-1], [True]], axis=0)
        last = last[: tf.size(starts.values)]
        following = following[: tf.size(starts.values)]
        row_ends = tf.gather(lengths, starts.value_rowids())
        ends = starts.with_values(tf.where(last, row_ends, following))
        return characters, tf.cast(starts, tf.int32), tf.cast(ends, tf.int32)


class WordpieceTokenizer(Tokenizer):
    """Words cut further into the longest known pieces; a piece inside a word begins with ##.

    A word that cannot be pieced together is one [UNK]. Needs tensorflow-text.

    Args, errors: as for `Tokenizer`.
    """

    kind = "wordpiece"

    def __init__(self, tokens: Sequence[str], lower: bool = False):
        super().__init__(tokens, lower)
        _require_tokens(self)
        text = _tensorflow_text()
        options = dict(
            vocab=self.tokens_list,
            suffix_indicator="##",
            unknown_token=SPECIAL_TOKENS[UNKNOWN],
            no_pretokenization=True,
        )
        self._piece_ids = text.FastWordpieceTokenizer(token_out_type=tf.int32, **options)
        self._piece_strings = text.FastWordpieceTokenizer(token_out_type=tf.string, **options)
        self._strings = _string_table(self.tokens_list)

    @on_cpu
    def encode_tokens(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        """Words that are cut already -> the ids of their pieces, one row a row of words."""
        if self.lower:
            tokens = lowered(tokens)
        pieces = self._piece_ids.tokenize(tokens.values)
        # A word that spells a special token is a word nobody knows.
        ids = tf.where(pieces.values < len(SPECIAL_TOKENS), UNKNOWN, pieces.values)
        return tokens.with_values(pieces.with_values(ids)).merge_dims(1, 2)

    def _cut(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        words, starts, _ = split_words(texts)
        values = lowered(words.values) if self.lower else words.values
        pieces, begins, ends = self._piece_strings.tokenize_with_offsets(values)
        offset = tf.gather(starts.values, pieces.value_rowids())
        begins, ends = tf.cast(begins, tf.int32), tf.cast(ends, tf.int32)
        return (
            words.with_values(pieces).merge_dims(1, 2),
            words.with_values(begins.with_values(begins.values + offset)).merge_dims(1, 2),
            words.with_values(ends.with_values(ends.values + offset)).merge_dims(1, 2),
        )

    @on_cpu
    def encode(self, texts: tf.Tensor, start: bool = False, end: bool = False) -> tf.RaggedTensor:
        return self._finish(self.encode_tokens(split_words(texts)[0]), start, end)

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        tokens = self._strings.lookup(tf.cast(ids, tf.int64))
        joined = tf.strings.reduce_join(tokens, axis=1, separator=" ")
        return tf.strings.regex_replace(joined, " ##", "")

    @classmethod
    def train(cls, texts: Iterable[str], size: int, lower: bool, min_count: int) -> Tokenizer:
        _tensorflow_text()
        from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as learner

        counts = _count(lambda batch: split_words(batch)[0], texts, lower)
        kept = [(word, n) for word, n in sorted(counts.items()) if n >= min_count]
        if not kept:
            raise InputError(NO_TOKEN)
        pieces = learner.learn(
            kept,
            vocab_size=size,
            reserved_tokens=list(SPECIAL_TOKENS),
            lower_thresh=1,
            max_input_tokens=-1,
            # Each character stands in the vocabulary twice, as a beginning and inside a word: of scripts with thousands
            # of them, as Chinese and Japanese are written in, those that are kept fill half of it.
            max_unique_chars=max(1, size // 4),
        )
        return cls(list(dict.fromkeys([*SPECIAL_TOKENS, *pieces]))[:size], lower)


class SentencePieceTokenizer(Tokenizer):
    """A unigram SentencePiece model: pieces of raw text, blanks among them (as ▁).

    Needs tensorflow-text, and sentencepiece for training.

    Arguments:
        model: the serialized SentencePiece model, trained with our four special ids.
        lower: whether texts are lower-cased (Unicode) first.
    """

    kind = "sentencepiece"

    def __init__(self, model: bytes, lower: bool = False):
        self._model = model
        pieces = self._pieces(tf.int32)
        strings = pieces.id_to_string(tf.range(pieces.vocab_size()))
        super().__init__([token.decode("utf-8") for token in strings.numpy()], lower)

    def _pieces(self, out_type: tf.DType):
        # Made anew for each call: its resource belongs to a kernel that TensorFlow drops, with
        # the resource, whenever a seed is set or a session is cleared.
        return _tensorflow_text().SentencepieceTokenizer(model=self._model, out_type=out_type)

    def _lowered(self, texts: tf.Tensor) -> tf.Tensor:
        texts = tf.reshape(tf.convert_to_tensor(texts, tf.string), [-1])
        return lowered(texts) if self.lower else texts

    def _cut(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        pieces, starts, ends = self._pieces(tf.string).tokenize_with_offsets(self._lowered(texts))
        return pieces, tf.cast(starts, tf.int32), tf.cast(ends, tf.int32)

    @on_cpu
    def encode(self, texts: tf.Tensor, start: bool = False, end: bool = False) -> tf.RaggedTensor:
        return self._finish(self._pieces(tf.int32).tokenize(self._lowered(texts)), start, end)

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        return self._pieces(tf.int32).detokenize(ids)

    @classmethod
    def train(cls, texts: Iterable[str], size: int, lower: bool, min_count: int) -> Tokenizer:
        _tensorflow_text()
        try:
            import sentencepiece
        except ImportError:
            raise InputError(
                "tokenizer=sentencepiece needs the package sentencepiece for training"
            ) from None

        def lines() -> Iterator[str]:
            for batch in in_chunks(texts):
                if lower:
                    low = lowered(tf.constant(batch, tf.string))
                    batch = [line.decode("utf-8") for line in low.numpy()]
                # A line above its limit would be left out; the trainer takes lines, not pages.
                for line in batch:
                    yield from (line[at : at + 1000] for at in range(0, len(line), 1000))

        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_drawn(lines(), _MOST_LINES),
                model_writer=model,
                vocab_size=size,
                hard_vocab_limit=False,
                model_type="unigram",
                character_coverage=0.9995,
                num_threads=1,
                minloglevel=2,
                pad_id=PADDING,
                unk_id=UNKNOWN,
                bos_id=START,
                eos_id=END,
                pad_piece=SPECIAL_TOKENS[PADDING],
                unk_piece=SPECIAL_TOKENS[UNKNOWN],
                bos_piece=SPECIAL_TOKENS[START],
                eos_piece=SPECIAL_TOKENS[END],
                unk_surface=SPECIAL_TOKENS[UNKNOWN],
            )
        except RuntimeError as error:
            reason = str(error).rsplit("]", 1)[-1].strip() or "the text is too small"
            raise InputError(
                f"SentencePiece cannot learn a vocabulary of {size} here: {reason}"
            ) from error
        return cls(model.getvalue(), lower)

    def save(self, directory: str | os.PathLike, name: str = "vocabulary") -> None:
        """Writes `NAME.model` too, which is what SentencePiece reads."""
        os.makedirs(directory, exist_ok=True)
        with atomic_write(os.path.join(directory, f"{name}.model"), binary=True) as stream:
            stream.write(self._model)
        super().save(directory, name)

    @classmethod
    def _load(cls, directory: str, name: str, lower: bool) -> Tokenizer:
        file = os.path.join(directory, f"{name}.model")
        try:
            with open(file, "rb") as stream:
                return cls(stream.read(), lower)
        except FileNotFoundError:
            raise InputError("no such file", file) from None


TOKENIZERS: dict[str, type[Tokenizer]] = {
    tokenizer.kind: tokenizer
    for tokenizer in (WordTokenizer, CharacterTokenizer, WordpieceTokenizer, SentencePieceTokenizer)
}


def train_tokenizer(
    kind: str, texts: Iterable[str], size: int, lower: bool = False, min_count: int = 1
) -> Tokenizer:
    """Learns a vocabulary from a stream of texts.

    Arguments:
        kind: words, characters, wordpiece or sentencepiece.
        texts: read once, in chunks; the memory holds the counts, not the texts.
        size: how many ids at most, the four special ones included.
        lower: whether texts are lower-cased, here and in every later `encode`.
        min_count: rarer tokens become [UNK].

    Raises:
        InputError: an unknown kind, a size too small, or texts without a token.
    """
    if kind not in TOKENIZERS:
        raise InputError(f"no tokenizer {kind!r}; there are: {', '.join(TOKENIZERS)}")
    if size <= len(SPECIAL_TOKENS):
        raise InputError(f"vocabulary_size must be above {len(SPECIAL_TOKENS)}, not {size}")
    return TOKENIZERS[kind].train(texts, size, lower, min_count)


def tokenizer_of_counts(
    kind: str,
    counts: collections.Counter[str],
    size: int,
    lower: bool = False,
    min_count: int = 1,
) -> Tokenizer:
    """A vocabulary of words or characters that are counted already, as tokens of tagged files are.

    Arguments:
        kind: words or characters.
        counts: how often each token occurs, in the case in which it is to be looked up.
        size, lower, min_count: as for `train_tokenizer`.

    Raises:
        InputError: no token is left.

    Example:

    >>> tokenizer = tokenizer_of_counts("words", collections.Counter(["to day", "a", "a"]), 9)
    >>> tokenizer.tokens_list[4:]
    ['a', 'to day']
    """
    return TOKENIZERS[kind]([*SPECIAL_TOKENS, *_most_frequent(counts, size, min_count)], lower)


def count_words(texts: Iterable[str]) -> collections.Counter[str]:
    """How often each word stands in texts, cut as the tokenizer of words cuts them, in the case of the text.

    Example:

    >>> count_words(["No, no"]).most_common()
    [('No', 1), (',', 1), ('no', 1)]
    """
    return _count(lambda batch: split_words(batch)[0], texts, lower=False)


def load_tokenizer(directory: str | os.PathLike, name: str = "vocabulary") -> Tokenizer:
    """Reads what `Tokenizer.save` wrote.

    Raises:
        InputError: a file is missing or does not fit the others.
    """
    directory = os.fspath(directory)
    file = os.path.join(directory, f"{name}.json")
    try:
        with open(file, encoding="utf-8") as stream:
            facts = json.load(stream)
        tokenizer = TOKENIZERS[facts["kind"]]
        tokenizer = tokenizer._load(directory, name, facts["lower"])
    except FileNotFoundError:
        raise InputError("no such file", file) from None
    except InputError as error:
        if error.file is not None:
            raise
        raise InputError(error.message, os.path.join(directory, f"{name}.txt")) from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("does not describe a vocabulary", file) from error
    if tokenizer.size != facts.get("size"):
        raise InputError(
            f"speaks of {facts.get('size')} tokens but the vocabulary holds {tokenizer.size}", file
        )
    return tokenizer


def _in_graph(function):
    # Ragged operations one by one cost four times what they cost together in a graph.
    signature = [tf.TensorSpec([None], tf.string)]
    return tf.function(function, input_signature=signature, autograph=False)


def _require_tokens(tokenizer: Tokenizer) -> None:
    if tokenizer.size == len(SPECIAL_TOKENS):
        raise InputError(NO_TOKEN)


def _string_table(tokens: Sequence[str]) -> tf.lookup.StaticHashTable:
    ids = tf.range(len(tokens), dtype=tf.int64)
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(ids, tf.constant(tokens, tf.string)),
        default_value=SPECIAL_TOKENS[UNKNOWN],
    )


def _count(cut, texts: Iterable[str], lower: bool) -> collections.Counter[str]:
    def tokens_of(batch: tf.Tensor) -> tf.Tensor:
        tokens = cut(batch).flat_values
        return lowered(tokens) if lower else tokens

    counts: collections.Counter[bytes] = collections.Counter()
    cut_in_graph = _in_graph(tokens_of)
    for tokens in map_ahead(
        lambda batch: cut_in_graph(tf.constant(batch, tf.string)), in_chunks(texts)
    ):
        counts.update(tokens.numpy().tolist())
        least = 1
        while len(counts) > _MOST_COUNTED:
            counts = collections.Counter({t: n for t, n in counts.items() if n > least})
            least += 1
    readable: collections.Counter[str] = collections.Counter()
    for token, count in counts.items():
        readable[token.decode("utf-8", "replace")] += count
    return readable


def _drawn(lines: Iterable[str], most: int) -> Iterator[str]:
    """The lines; where there are more than `most`, so many of them, evenly drawn and each time the same.

    SentencePiece would draw others in each process.

    >>> list(_drawn("abc", 3)), list(_drawn("abcdefghi", 3))
    (['a', 'b', 'c'], ['f', 'b', 'g'])
    """
    generator = random.Random(0)
    kept: list[str] = []
    for number, line in enumerate(lines):
        if number < most:
            kept.append(line)
        elif (place := generator.randrange(number + 1)) < most:
            kept[place] = line
    kept.reverse()
    while kept:
        yield kept.pop()


def _most_frequent(counts: collections.Counter[str], size: int, min_count: int) -> list[str]:
    known = [(t, n) for t, n in counts.items() if n >= min_count and t not in SPECIAL_TOKENS]
    known.sort(key=lambda item: (-item[1], item[0]))
    return [token for token, _ in known[: size - len(SPECIAL_TOKENS)]]


def _tensorflow_text():
    try:
        import tensorflow_text
    except ImportError:
        raise InputError(
            "this tokenizer needs tensorflow-text; words and characters need only tensorflow"
        ) from None
    return tensorflow_text


def _escaped(token: str) -> str:
    return token.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _unescaped(line: str) -> str:
    if "\\" not in line:
        return line
    escapes = {"\\": "\\", "n": "\n", "r": "\r"}
    parts, characters = [], iter(line)
    for character in characters:
        if character == "\\":
            character = escapes.get(next(characters, ""), "\\")
        parts.append(character)
    return "".join(parts)
