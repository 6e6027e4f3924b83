"""Texts and summaries to ids of an extended vocabulary, in graph, and such ids to text again."""

import collections
from collections.abc import Callable, Iterator, Mapping

import ml_collections
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn.tasks.blocks import padded
from keras_rnn.tasks.vectors import lowered_words, vector_ids, vector_tokenizer

_SEPARATOR = "\x1f"

# Where nobody writes a blank: before what closes and before English clitics, behind what opens.
_BLANK_BEFORE = r" ([.,;:!?%)\]}…]|['’](?:s|m|d|re|ve|ll)\b|n['’]t\b)"
_BLANK_BEHIND = r"([(\[{$€£#]) "


class CopyFeatures(tf.Module):
    """Words to ids: a word of the text that the vocabulary lacks has the vocabulary's size + its first place there.

    Arguments:
        tokenizer: the vocabulary; it cuts words.
        spellings: how each of its words is written most often, in the order of the ids.
        vectors: the words of pretrained vectors, or None.
        max_length: words read of a text; the rest is cut.
        max_bytes: bytes read of a text; the rest is cut before it is tokenized.
    """

    def __init__(
        self,
        tokenizer: pipelines.Tokenizer,
        spellings: list[str],
        vectors: pipelines.Tokenizer | None,
        max_length: int,
        max_bytes: int = pipelines.MAX_BYTES,
    ):
        super().__init__()
        self.tokenizer = tokenizer
        # An array, because tf.Module would track every string of a list.
        self.spellings = np.array(spellings, dtype=object)
        self.vectors = vectors
        self.max_length = max_length
        self.max_bytes = max_bytes

    @classmethod
    def fit(
        cls,
        config: ml_collections.ConfigDict,
        texts: Callable[[str], Iterator[str]],
        given: Mapping[str, pipelines.Tokenizer],
    ) -> "CopyFeatures":
        """Learns vocabulary and spellings; `texts(field)` reads every "text" or "summary" anew.

        The vocabularies that are given stay as they are.
        """
        counts = {field: pipelines.count_words(texts(field)) for field in ("text", "summary")}
        together = counts["text"] + counts["summary"]
        names = list(together)
        keys = dict(zip(names, lowered_words(names) if config.lower else names, strict=True))
        words = collections.Counter()
        for name, count in together.items():
            words[keys[name]] += count
        tokenizer = given.get("embedding") or pipelines.tokenizer_of_counts(
            "words", words, config.vocabulary_size, config.lower, config.min_count
        )
        # As summaries write it; where they never do, as texts do.
        usual = {}
        for field in ("text", "summary"):
            most = collections.Counter()
            for name, count in sorted(counts[field].items()):
                if count > most[keys[name]]:
                    most[keys[name]] = count
                    usual[keys[name]] = name
        vectors = None
        if config.vectors:
            vectors = given.get("vectors") or vector_tokenizer(config, tokenizer.tokens_list)
        spellings = [usual.get(token, token) for token in tokenizer.tokens_list]
        return cls(tokenizer, spellings, vectors, config.max_length, config.max_bytes)

    @property
    def columns(self) -> dict[str, pipelines.Column]:
        """What `encode` gives of a text, for the store."""
        columns = {"ids": pipelines.Column.of_ids(self.extended_size)}
        if self.vectors is not None:
            columns["vector_ids"] = pipelines.Column.of_ids(self.vectors.size)
        return columns

    @property
    def extended_size(self) -> int:
        """Ids of the vocabulary, and one for each place of a text that a word may be copied from."""
        return self.tokenizer.size + self.max_length

    @property
    def vocabularies(self) -> dict[str, pipelines.Tokenizer]:
        """The tokenizers by the part of the encoder that reads their ids."""
        named = {"embedding": self.tokenizer, "vectors": self.vectors}
        return {name: tokenizer for name, tokenizer in named.items() if tokenizer is not None}

    def _words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """All words of texts, as they are written: string [batch, (time)]."""
        texts = pipelines.first_bytes(texts, self.max_bytes)
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")
        return self.tokenizer.tokenize(texts)

    @pipelines.on_cpu
    def words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The words that are read of texts, string [batch, (time)]; of an empty text one empty word."""
        words = pipelines.first_of_rows(self._words(texts), self.max_length)
        return pipelines.framed(words, instead="")

    @pipelines.on_cpu
    def too_long(self, texts: tf.Tensor) -> tf.Tensor:
        """How many texts [batch] are cut."""
        return tf.math.count_nonzero(self._words(texts).row_lengths() > self.max_length)

    @pipelines.on_cpu
    def encode(self, texts: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """string [batch] -> `ids`, extended, and with pretrained vectors `vector_ids`, int32 [batch, (time)]."""
        words = self.words(texts)
        features = {"ids": self._extended(words, words.row_lengths())}
        if self.vectors is not None:
            features["vector_ids"] = vector_ids(self.vectors, words)
        return features

    @pipelines.on_cpu
    def encode_summaries(self, texts: tf.Tensor, summaries: tf.Tensor) -> tf.RaggedTensor:
        """Extended ids of summaries of texts, string [batch] each, with the end: int32 [batch, (time)].

        A word that neither the vocabulary nor the text has is [UNK].
        """
        words, written = self.words(texts), self._words(summaries)
        lengths = words.row_lengths()
        ids = self._extended(tf.concat([words, written], axis=1), lengths)
        end = tf.fill([written.nrows(), 1], pipelines.END)
        # What stands behind the text in each row.
        of_summary = ids.with_values(_places(ids) >= tf.gather(lengths, ids.value_rowids()))
        return tf.concat([tf.ragged.boolean_mask(ids, of_summary), end], axis=1)

    def _extended(self, words: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
        """Ids of words, of which in each row the first `lengths` are those of the text."""
        ids = self.tokenizer.encode_tokens(words)
        flat = words.flat_values
        if self.tokenizer.lower:
            flat = pipelines.lowered(flat)
        rows = words.value_rowids()
        _, which = tf.unique(tf.strings.join([tf.strings.as_string(rows), flat], _SEPARATOR))
        first = tf.math.unsorted_segment_min(_places(words), which, tf.size(which))
        first = tf.gather(first, which)
        can_be_copied = (first < tf.gather(lengths, rows)) & (flat != "")
        copied = tf.cast(first, tf.int32) + self.tokenizer.size
        unknown = ids.flat_values == pipelines.UNKNOWN
        return words.with_flat_values(tf.where(unknown & can_be_copied, copied, ids.flat_values))

    @pipelines.on_cpu
    def pad(
        self, features: Mapping[str, tf.RaggedTensor], length: int | tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Dense features, filled up with 0: [batch, length], from the longest if None."""
        return {name: padded(ragged, length) for name, ragged in features.items()}

    # Back to text

    @pipelines.on_cpu
    def spell(self, texts: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The word of each extended id [batch, time]; "" of padding.

        Words of the vocabulary are written as they mostly are, others as their text writes them.
        """
        size = self.tokenizer.size
        usual = tf.gather(tf.constant(self.spellings), tf.minimum(ids, size - 1))
        words = self.words(texts).to_tensor("")
        # One word more, so that there is one.
        words = tf.pad(words, [[0, 0], [0, 1]], constant_values="")
        copied = tf.gather(words, tf.maximum(ids - size, 0), batch_dims=1)
        written = tf.where(ids < size, usual, copied)
        return tf.where(ids == pipelines.PADDING, "", written)

    @pipelines.on_cpu
    def decode(self, texts: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Texts [batch] and the extended ids [batch, time] of summaries -> the summaries, string [batch]."""
        words = self.spell(texts, ids)
        real = tf.ragged.boolean_mask(words, words != "")
        joined = tf.strings.reduce_join(real, axis=1, separator=" ")
        joined = tf.strings.regex_replace(joined, _BLANK_BEFORE, r"\1")
        return tf.strings.regex_replace(joined, _BLANK_BEHIND, r"\1")


def _places(ragged: tf.RaggedTensor) -> tf.Tensor:
    """Where each value stands in its row, int64."""
    rows = ragged.value_rowids()
    return tf.range(tf.size(rows, tf.int64)) - tf.gather(ragged.row_starts(), rows)
