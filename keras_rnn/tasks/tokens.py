"""Tokens to what a tagger reads of them: ids, characters, spelling, pretrained vectors; in graph."""

import collections
from collections.abc import Mapping
from typing import Any

import ml_collections
import tensorflow as tf

import pipelines
from keras_rnn.tasks.blocks import padded
from keras_rnn.tasks.facts import read_facts, write_facts
from keras_rnn.tasks.vectors import lowered_words, vector_ids, vector_tokenizer

# A file of its own, because the vectors themselves are weights of the model.
VECTORS_FILE = "vocabulary.vectors.facts.json"


class TokenFeatures(tf.Module):
    """Tokens that are cut already to `ids` and, where they are wanted, to `characters`, `attributes`, `vector_ids`.

    Arguments:
        words: the vocabulary of the training data.
        alphabet: the vocabulary of characters, or None.
        spelling: the vocabulary of attributes (shapes and endings), or None.
        vectors: the words of the pretrained vectors, or None; a word that is not among them is looked up in lower
            case.
        word_length: characters read of a word; of a longer one its beginning and its end.
        vectors_dim: size of a pretrained vector.
    """

    def __init__(
        self,
        words: pipelines.Tokenizer,
        alphabet: pipelines.Tokenizer | None = None,
        spelling: pipelines.Tokenizer | None = None,
        vectors: pipelines.Tokenizer | None = None,
        word_length: int = 20,
        vectors_dim: int = 0,
    ):
        super().__init__()
        self.words = words
        self.alphabet = alphabet
        self.spelling = spelling
        self.vectors = vectors
        self.word_length = word_length
        self.vectors_dim = vectors_dim

    @classmethod
    def fit(
        cls,
        config: ml_collections.ConfigDict,
        counts: collections.Counter[str],
        given: Mapping[str, pipelines.Tokenizer],
        vectors_dim: int = 0,
    ) -> "TokenFeatures":
        """Learns the vocabularies from how often each token occurs in the training data.

        Those that are given stay as they are; `vectors_dim` is the size of a pretrained vector.
        """
        words = collections.Counter()
        characters = collections.Counter()
        attributes = collections.Counter()
        for chunk in pipelines.in_chunks(counts):
            numbers = [counts[token] for token in chunk]
            for token, low, number in zip(chunk, lowered_words(chunk), numbers, strict=True):
                words[low if config.lower else token] += number
                for character in token:
                    characters[character] += number
            if config.attributes:
                rows = pipelines.word_attributes(tf.constant(chunk)).numpy()
                for row, number in zip(rows, numbers, strict=True):
                    for attribute in row:
                        attributes[attribute.decode("utf-8")] += number
        size, least = config.vocabulary_size, config.min_count
        tokenizer = given.get("embedding") or pipelines.tokenizer_of_counts(
            "words", words, size, config.lower, least
        )
        alphabet = spelling = vectors = None
        if config.characters != "none":
            alphabet = given.get("characters") or pipelines.tokenizer_of_counts(
                "characters", characters, size, min_count=least
            )
        if config.attributes:
            # What occurs once teaches the vector of the unknown attribute, unless all does.
            least = min(2, max(attributes.values(), default=1))
            spelling = given.get("attributes") or pipelines.tokenizer_of_counts(
                "words", attributes, size, min_count=least
            )
        if config.vectors:
            vectors = given.get("vectors") or vector_tokenizer(config, counts)
        return cls(tokenizer, alphabet, spelling, vectors, config.word_length, vectors_dim)

    def save(self, directory: str) -> None:
        """Writes the vocabularies: `vocabulary*`."""
        self.words.save(directory)
        for name, tokenizer in self.vocabularies.items():
            if name != "embedding":
                tokenizer.save(directory, name=f"vocabulary.{name}")
        if self.vectors is not None:
            write_facts(directory, VECTORS_FILE, {"dimension": self.vectors_dim})

    @classmethod
    def load(cls, config: ml_collections.ConfigDict, directory: str) -> "TokenFeatures":
        """Reads what `save` wrote."""

        def read(name: str, wanted: bool):
            if not wanted:
                return None
            return pipelines.load_tokenizer(directory, name=f"vocabulary.{name}")

        dimension = 0
        if config.vectors:
            dimension = read_facts(directory, VECTORS_FILE, {"dimension": int})["dimension"]
        return cls(
            pipelines.load_tokenizer(directory),
            read("characters", config.characters != "none"),
            read("attributes", config.attributes),
            read("vectors", bool(config.vectors)),
            config.word_length,
            dimension,
        )

    @property
    def vocabularies(self) -> dict[str, pipelines.Tokenizer]:
        """The tokenizers by the part of the encoder that reads their ids."""
        named = {
            "embedding": self.words,
            "characters": self.alphabet,
            "attributes": self.spelling,
            "vectors": self.vectors,
        }
        return {name: tokenizer for name, tokenizer in named.items() if tokenizer is not None}

    @property
    def columns(self) -> dict[str, pipelines.Column]:
        """What `encode` gives for each sentence, for the store."""
        columns = {"ids": pipelines.Column.of_ids(self.words.size)}
        if self.alphabet is not None:
            columns["characters"] = pipelines.Column.of_ids(self.alphabet.size, (self.word_length,))
        if self.spelling is not None:
            kinds = len(pipelines.ATTRIBUTES)
            columns["attributes"] = pipelines.Column.of_ids(self.spelling.size, (kinds,))
        if self.vectors is not None:
            columns["vector_ids"] = pipelines.Column.of_ids(self.vectors.size)
        return columns

    @pipelines.on_cpu
    def encode(self, tokens: tf.RaggedTensor) -> dict[str, tf.RaggedTensor]:
        """string [batch, (time)] -> the features of each token, ragged."""
        # Invalid UTF-8 must not end a server's answer.
        flat = tf.strings.unicode_transcode(tokens.flat_values, "UTF-8", "UTF-8")
        features = {"ids": self.words.encode_tokens(flat)}
        if self.alphabet is not None:
            features["characters"] = self._characters(flat)
        if self.spelling is not None:
            features["attributes"] = self.spelling.encode_tokens(pipelines.word_attributes(flat))
        if self.vectors is not None:
            ids = vector_ids(self.vectors, tokens.with_flat_values(flat))
            features["vector_ids"] = ids.flat_values
        return {name: tokens.with_flat_values(value) for name, value in features.items()}

    @pipelines.on_cpu
    def encode_once(self, tokens: tf.RaggedTensor) -> dict[str, tf.RaggedTensor | tf.Tensor]:
        """As `encode`, but each different token is looked at once, and so are its characters by the model.

        `characters` int32 [different tokens + 1, word_length] then stand for themselves, the first for padding, and
        `words` [batch, (time)] says which is where.
        """
        different, which = tf.unique(tokens.flat_values)
        of_each = self.encode(tf.RaggedTensor.from_row_lengths(different, [tf.size(different)]))
        features = {}
        for name, ragged in of_each.items():
            if name == "characters":
                features[name] = tf.pad(ragged.flat_values, [[1, 0], [0, 0]])
                features["words"] = tokens.with_flat_values(which + 1)
            else:
                features[name] = tokens.with_flat_values(tf.gather(ragged.flat_values, which))
        return features

    def _characters(self, flat: tf.Tensor) -> tf.Tensor:
        """string [tokens] -> int32 [tokens, word_length]."""
        length = tf.strings.length(flat, unit="UTF8_CHAR")
        half = self.word_length // 2
        too_long = length > self.word_length
        last = tf.strings.substr(
            flat,
            tf.maximum(length - half, 0),
            tf.where(too_long, half, 0),
            "UTF8_CHAR",
        )
        first = tf.strings.substr(
            flat,
            tf.zeros_like(length),
            tf.where(too_long, self.word_length - half, self.word_length),
            "UTF8_CHAR",
        )
        split = tf.strings.unicode_split(first + last, "UTF-8")
        return self.alphabet.encode_tokens(split).to_tensor(shape=[None, self.word_length])

    def portable(self) -> dict[str, Any]:
        """The rules for a client that encodes without TensorFlow, JSON-ready; see `keras_rnn.client`."""
        vocabularies = {
            "ids": self.words,
            "characters": self.alphabet,
            "attributes": self.spelling,
            "vector_ids": self.vectors,
        }
        return {
            "tokenizer": self.words.kind,
            "lower": self.words.lower,
            "word_length": self.word_length,
            "word_end": self.word_length // 2,
            "vocabularies": {n: t.tokens_list for n, t in vocabularies.items() if t is not None},
            **pipelines.word_rules(shapes=self.spelling is not None),
        }

    @pipelines.on_cpu
    def pad(
        self,
        features: dict[str, tf.RaggedTensor | tf.Tensor],
        length: int | tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Dense features, filled up with 0: `ids` [batch, length], length from the longest if None."""
        return {
            name: padded(value, length) if isinstance(value, tf.RaggedTensor) else value
            for name, value in features.items()
        }
