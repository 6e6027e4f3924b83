"""Text to the ids that a model reads: one encoding for training and serving, in graph."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ml_collections
import tensorflow as tf

import pipelines
from keras_rnn.tasks.blocks import padded
from keras_rnn.tasks.sentences import in_sentences, sentence_rows
from keras_rnn.tasks.vectors import vector_ids, vector_tokenizer


class TextFeatures(tf.Module):
    """Strings to `ids`, and to `characters` or sentences where the config asks for them.

    Arguments:
        tokenizer: makes tokens and their ids.
        alphabet: the tokenizer of characters, if words get a vector of their characters as well.
        vectors: the words of pretrained vectors, if there are any; a word that is not among them is looked up in
            lower case.
        max_length: tokens read of a text; the rest is cut.
        max_bytes: bytes read of a text; the rest is cut before it is tokenized.
        word_length: characters read of a word.
        sentence_length: 0, or the words of a row of `ids` where a text is a list of sentences; a longer
            sentence goes on in the next row.
    """

    def __init__(
        self,
        tokenizer: pipelines.Tokenizer,
        alphabet: pipelines.Tokenizer | None = None,
        vectors: pipelines.Tokenizer | None = None,
        max_length: int = 512,
        max_bytes: int = pipelines.MAX_BYTES,
        word_length: int = 20,
        sentence_length: int = 0,
    ):
        super().__init__()
        self.tokenizer = tokenizer
        self.alphabet = alphabet
        self.vectors = vectors
        self.max_length = max_length
        self.max_bytes = max_bytes
        self.word_length = word_length
        self.sentence_length = sentence_length

    @classmethod
    def fit(
        cls,
        config: ml_collections.ConfigDict,
        texts: Callable[[], Iterable[str]],
        given: Mapping[str, pipelines.Tokenizer],
    ) -> "TextFeatures":
        """Learns the vocabularies from `texts()`, read anew at each call; those that are given stay as they are."""
        tokenizer = given.get("embedding") or pipelines.train_tokenizer(
            config.tokenizer,
            texts(),
            config.vocabulary_size,
            lower=config.lower,
            min_count=config.min_count,
        )
        alphabet = None
        if config.characters:
            alphabet = given.get("characters") or pipelines.train_tokenizer(
                "characters", texts(), config.vocabulary_size, min_count=config.min_count
            )
        vectors = None
        if config.vectors:
            vectors = given.get("vectors") or vector_tokenizer(config, tokenizer.tokens_list)
        return cls.from_config(config, tokenizer, alphabet, vectors)

    @classmethod
    def from_config(cls, config, tokenizer, alphabet, vectors) -> "TextFeatures":
        return cls(
            tokenizer,
            alphabet,
            vectors,
            max_length=config.max_length,
            max_bytes=config.max_bytes,
            word_length=config.word_length,
            sentence_length=config.sentence_length if config.hierarchical else 0,
        )

    def save(self, directory: str) -> None:
        """Writes the vocabularies: `vocabulary*`."""
        self.tokenizer.save(directory)
        for name in ("alphabet", "vectors"):
            if getattr(self, name) is not None:
                getattr(self, name).save(directory, name=f"vocabulary.{name}")

    @classmethod
    def load(cls, config: ml_collections.ConfigDict, directory: str) -> "TextFeatures":
        """Reads what `save` wrote."""
        wanted = {"alphabet": config.characters, "vectors": config.vectors}
        others = [
            pipelines.load_tokenizer(directory, name=f"vocabulary.{name}") if is_wanted else None
            for name, is_wanted in wanted.items()
        ]
        return cls.from_config(config, pipelines.load_tokenizer(directory), *others)

    @property
    def vocabularies(self) -> dict[str, pipelines.Tokenizer]:
        """The tokenizers by the part of the encoder that reads their ids."""
        named = {
            "embedding": self.tokenizer,
            "characters": self.alphabet,
            "vectors": self.vectors,
        }
        return {name: tokenizer for name, tokenizer in named.items() if tokenizer is not None}

    @property
    def columns(self) -> dict[str, pipelines.Column]:
        """What `encode` gives for each text, for the store."""
        inner = (self.sentence_length,) if self.sentence_length else ()
        columns = {"ids": pipelines.Column.of_ids(self.tokenizer.size, inner)}
        if self.alphabet is not None:
            columns["characters"] = pipelines.Column.of_ids(self.alphabet.size, (self.word_length,))
        if self.vectors is not None:
            columns["vector_ids"] = pipelines.Column.of_ids(self.vectors.size, inner)
        return columns

    def _read(self, texts: tf.Tensor) -> tf.Tensor:
        """The part of each text that is read at all, in whole characters of UTF-8."""
        texts = pipelines.first_bytes(texts, self.max_bytes)
        return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")

    @pipelines.on_cpu
    def tokens(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The tokens that are read of each text: string [batch, (time)], at least one, if an empty one."""
        return pipelines.first_of_rows(self._whole_tokens(texts), self.max_length)

    def _whole_tokens(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return pipelines.framed(self.tokenizer.tokenize(self._read(texts)), instead="")

    @pipelines.on_cpu
    def encode(self, texts: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """The features of each text: `ids` [batch, (time)] and what else the columns name."""
        return self.encode_and_count(texts)[0]

    @pipelines.on_cpu
    def encode_and_count(self, texts: tf.Tensor) -> tuple[dict[str, tf.RaggedTensor], tf.Tensor]:
        """The features, and how many texts were longer than `max_length` tokens."""
        if not self.sentence_length and self.alphabet is None and self.vectors is None:
            ids = self.tokenizer.encode(self._read(texts))
            return {"ids": pipelines.first_of_rows(ids, self.max_length)}, self._too_long(ids)
        whole = self._whole_tokens(texts)
        tokens = pipelines.first_of_rows(whole, self.max_length)
        features = {"ids": self.tokenizer.encode_tokens(tokens)}
        if self.vectors is not None:
            features["vector_ids"] = vector_ids(self.vectors, tokens)
        if self.sentence_length:
            rows = sentence_rows(tokens, self.sentence_length)
            features = {
                name: in_sentences(*rows, ids, self.sentence_length)
                for name, ids in features.items()
            }
        if self.alphabet is not None:
            characters = tf.strings.unicode_split(tokens.flat_values, "UTF-8")
            characters = pipelines.first_of_rows(characters, self.word_length)
            characters = self.alphabet.encode_tokens(characters)
            dense = characters.to_tensor(shape=[None, self.word_length])
            features["characters"] = tokens.with_flat_values(dense)
        return features, self._too_long(whole)

    @pipelines.on_cpu
    def too_long(self, texts: tf.Tensor) -> tf.Tensor:
        """How many texts [batch] are longer than `max_length` tokens."""
        return self.encode_and_count(texts)[1]

    def _too_long(self, ragged: tf.RaggedTensor) -> tf.Tensor:
        return tf.math.count_nonzero(ragged.row_lengths() > self.max_length)

    def portable(self) -> dict[str, Any]:
        """The rules for a client that encodes without TensorFlow, JSON-ready; see `keras_rnn.client`.

        Raises:
            InputError: what it would have to do is too much for a small client.
        """
        kind = self.tokenizer.kind
        if kind not in ("words", "characters"):
            raise pipelines.InputError(
                f"--config.tokenizer={kind} stands in the way: tflite and onnx exports read words or "
                "characters; --format=saved_model reads all"
            )
        if self.sentence_length:
            raise pipelines.InputError(
                "--config.hierarchical=true stands in the way of tflite and onnx; use --format=saved_model"
            )
        vocabularies = {
            "ids": self.tokenizer,
            "characters": self.alphabet,
            "vector_ids": self.vectors,
        }
        return {
            "tokenizer": kind,
            "lower": self.tokenizer.lower,
            "max_bytes": self.max_bytes,
            "max_length": self.max_length,
            "word_length": self.word_length,
            "word_end": 0,
            "vocabularies": {n: t.tokens_list for n, t in vocabularies.items() if t is not None},
            **pipelines.word_rules(),
        }

    @pipelines.on_cpu
    def pad(
        self, features: dict[str, tf.RaggedTensor], length: int | tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Dense features, filled up with 0: `ids` [batch, length], length from the longest if None."""
        return {name: padded(ragged, length) for name, ragged in features.items()}
