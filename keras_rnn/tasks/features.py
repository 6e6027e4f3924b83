"""Text to the ids that a model reads: one encoding for training and serving, in graph."""

import ml_collections
import tensorflow as tf

import pipelines

# Tokens that end a sentence, in the scripts that have one.
SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "।", "۔", "؟", "።", "။")


class TextFeatures(tf.Module):
    """Strings to `ids`, and to `characters` or sentences where the config asks for them.

    Arguments:
        tokenizer: makes tokens and their ids.
        alphabet: the tokenizer of characters, if words get a vector of their characters as well.
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
        max_length: int = 512,
        max_bytes: int = pipelines.MAX_BYTES,
        word_length: int = 20,
        sentence_length: int = 0,
    ):
        super().__init__()
        self.tokenizer = tokenizer
        self.alphabet = alphabet
        self.max_length = max_length
        self.max_bytes = max_bytes
        self.word_length = word_length
        self.sentence_length = sentence_length

    @classmethod
    def fit(cls, config: ml_collections.ConfigDict, texts) -> "TextFeatures":
        """Learns the vocabularies from `texts()`, an iterable of strings, read anew at each call."""
        tokenizer = pipelines.train_tokenizer(
            config.tokenizer,
            texts(),
            config.vocabulary_size,
            lower=config.lower,
            min_count=config.min_count,
        )
        alphabet = None
        if config.characters:
            alphabet = pipelines.train_tokenizer(
                "characters", texts(), config.vocabulary_size, min_count=config.min_count
            )
        return cls.from_config(config, tokenizer, alphabet)

    @classmethod
    def from_config(cls, config, tokenizer, alphabet) -> "TextFeatures":
        return cls(
            tokenizer,
            alphabet,
            max_length=config.max_length,
            max_bytes=config.max_bytes,
            word_length=config.word_length,
            sentence_length=config.sentence_length if config.hierarchical else 0,
        )

    def save(self, directory: str) -> None:
        """Writes the vocabularies: `vocabulary*`."""
        self.tokenizer.save(directory)
        if self.alphabet is not None:
            self.alphabet.save(directory, name="vocabulary.characters")

    @classmethod
    def load(cls, config: ml_collections.ConfigDict, directory: str) -> "TextFeatures":
        """Reads what `save` wrote."""
        tokenizer = pipelines.load_tokenizer(directory)
        alphabet = None
        if config.characters:
            alphabet = pipelines.load_tokenizer(directory, name="vocabulary.characters")
        return cls.from_config(config, tokenizer, alphabet)

    @property
    def columns(self) -> dict[str, pipelines.Column]:
        """What `encode` gives for each text, for the store."""
        inner = (self.sentence_length,) if self.sentence_length else ()
        columns = {"ids": pipelines.Column("int32", inner)}
        if self.alphabet is not None:
            columns["characters"] = pipelines.Column("int32", (self.word_length,))
        return columns

    def _read(self, texts: tf.Tensor) -> tf.Tensor:
        """The part of each text that is read at all, in whole characters of UTF-8."""
        texts = tf.strings.substr(texts, 0, self.max_bytes, unit="BYTE")
        return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")

    def tokens(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The tokens that are read of each text: string [batch, (time)], at least one, if an empty one."""
        return self._whole_tokens(texts)[:, : self.max_length]

    def _whole_tokens(self, texts: tf.Tensor) -> tf.RaggedTensor:
        tokens = self.tokenizer.tokenize(self._read(texts))
        empty = tf.cast(tokens.row_lengths() == 0, tf.int64)
        filling = tf.fill([tf.reduce_sum(empty)], "")
        return tf.concat([tokens, tf.RaggedTensor.from_row_lengths(filling, empty)], axis=1)

    def encode(self, texts: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """The features of each text: `ids` [batch, (time)] and what else the columns name."""
        return self.encode_and_count(texts)[0]

    def encode_and_count(self, texts: tf.Tensor) -> tuple[dict[str, tf.RaggedTensor], tf.Tensor]:
        """The features, and how many texts were longer than `max_length` tokens."""
        if not self.sentence_length and self.alphabet is None:
            ids = self.tokenizer.encode(self._read(texts))
            return {"ids": ids[:, : self.max_length]}, self._too_long(ids)
        whole = self._whole_tokens(texts)
        tokens = whole[:, : self.max_length]
        ids = self.tokenizer.encode_tokens(tokens)
        if self.sentence_length:
            return {"ids": self._sentences(tokens, ids)}, self._too_long(whole)
        characters = tf.strings.unicode_split(tokens.flat_values, "UTF-8")
        characters = self.alphabet.encode_tokens(characters[:, : self.word_length])
        dense = characters.to_tensor(shape=[None, self.word_length])
        return {"ids": ids, "characters": tokens.with_flat_values(dense)}, self._too_long(whole)

    def _too_long(self, ragged: tf.RaggedTensor) -> tf.Tensor:
        return tf.math.count_nonzero(ragged.row_lengths() > self.max_length)

    def _sentences(self, tokens: tf.RaggedTensor, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        """ids [batch, (time)] -> [batch, (sentences), sentence_length]."""
        words, rows = tokens.flat_values, tokens.value_rowids()
        is_end = tf.reduce_any(words[:, None] == tf.constant(SENTENCE_ENDS)[None], axis=1)
        new_text = tf.concat([[True], rows[1:] != rows[:-1]], 0)[: tf.size(rows)]
        after_end = tf.concat([[False], is_end[:-1]], 0)[: tf.size(rows)] & ~is_end
        starts = new_text | after_end
        # A sentence longer than a row goes on in the next one.
        place = tf.range(tf.size(starts))
        first = tf.gather(
            tf.cast(tf.where(starts)[:, 0], tf.int32), tf.cumsum(tf.cast(starts, tf.int32)) - 1
        )
        starts |= (place - first) % self.sentence_length == 0
        row_starts = tf.where(starts)[:, 0]
        flat = tf.cast(ids.flat_values, tf.int32)
        sentences = tf.RaggedTensor.from_row_starts(flat, row_starts, validate=False)
        dense = sentences.to_tensor(shape=[None, self.sentence_length])
        texts_of_rows = tf.gather(rows, row_starts)
        return tf.RaggedTensor.from_value_rowids(
            dense, texts_of_rows, nrows=tokens.nrows(), validate=False
        )

    def pad(
        self, features: dict[str, tf.RaggedTensor], length: int | None = None
    ) -> dict[str, tf.Tensor]:
        """Dense features, filled up with 0: `ids` [batch, length], length from the longest if None."""
        inner = {name: ragged.flat_values.shape[1:] for name, ragged in features.items()}
        return {
            name: ragged.to_tensor(shape=[None, length, *inner[name]])
            for name, ragged in features.items()
        }
