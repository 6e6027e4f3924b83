"""A text and a question about it, to ids: one encoding for training and serving, in graph."""

import collections
from collections.abc import Iterable

import tensorflow as tf

import pipelines
from keras_rnn.tasks.blocks import padded
from keras_rnn.tasks.sentences import in_sentences, sentence_rows
from keras_rnn.tasks.vectors import vector_ids


class PassageFeatures(tf.Module):
    """Contexts and questions to `ids` and `question`, and with pretrained vectors `vector_ids`, `question_vector_ids`.

    Arguments:
        tokenizer: the vocabulary; it cuts words.
        vectors: the words of pretrained vectors, or None.
        max_length: tokens read of a context; the rest is cut.
        question_length: tokens read of a question. All questions are padded to it, so that batches are made by the
            lengths of contexts alone: questions of one length are often of one kind.
        max_bytes: bytes read of a context and of a question; the rest is cut before it is tokenized.
        sentence_length: 0, or the words of a row of `ids`, where a context is a list of sentences; a longer sentence
            goes on in the next row.
    """

    def __init__(
        self,
        tokenizer: pipelines.Tokenizer,
        vectors: pipelines.Tokenizer | None,
        max_length: int,
        question_length: int,
        max_bytes: int,
        sentence_length: int = 0,
    ):
        super().__init__()
        self.tokenizer = tokenizer
        self.vectors = vectors
        self.max_length = max_length
        self.question_length = question_length
        self.max_bytes = max_bytes
        self.sentence_length = sentence_length

    @property
    def columns(self) -> dict[str, pipelines.Column]:
        """What `encode` gives, for the store."""
        inner = (self.sentence_length,) if self.sentence_length else ()
        columns = {}
        for prefix, tokenizer in (("", self.tokenizer), ("vector_", self.vectors)):
            if tokenizer is not None:
                size, question = tokenizer.size, "question_vector_ids" if prefix else "question"
                columns[f"{prefix}ids"] = pipelines.Column.of_ids(size, inner)
                columns[question] = pipelines.Column.of_ids(size, (self.question_length,), True)
        return columns

    @property
    def vocabularies(self) -> dict[str, pipelines.Tokenizer]:
        """The tokenizers by the part of the encoder that reads their ids."""
        named = {"embedding": self.tokenizer, "vectors": self.vectors}
        return {name: tokenizer for name, tokenizer in named.items() if tokenizer is not None}

    @pipelines.on_cpu
    def cut(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """All tokens of raw texts, and where they begin and end, in bytes."""
        return self.tokenizer.tokenize_with_offsets(pipelines.first_bytes(texts, self.max_bytes))

    @pipelines.on_cpu
    def count_cut(
        self, contexts: tf.RaggedTensor, questions: tf.RaggedTensor, counts: collections.Counter
    ) -> None:
        """Counts the texts, given as all their tokens, of which a model reads the beginning alone."""
        for ragged, limit, name in (
            (contexts, self.max_length, ""),
            (questions, self.question_length, "questions "),
        ):
            longer = int(tf.math.count_nonzero(ragged.row_lengths() > limit))
            if longer:
                counts[f"{name}cut to {limit} tokens"] += longer

    @pipelines.on_cpu
    def encode(self, texts: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """string [batch, 2], contexts and questions -> the features of each."""
        contexts, questions = self.cut(texts[:, 0])[0], self.cut(texts[:, 1])[0]
        return self.encode_tokens(
            contexts[:, : self.max_length], questions[:, : self.question_length]
        )

    @pipelines.on_cpu
    def encode_tokens(
        self, contexts: tf.RaggedTensor, questions: tf.RaggedTensor
    ) -> dict[str, tf.RaggedTensor]:
        """The features of tokens that are cut already."""
        features = {
            "ids": self.tokenizer.encode_tokens(contexts),
            "question": self.tokenizer.encode_tokens(questions),
        }
        if self.vectors is not None:
            features["vector_ids"] = vector_ids(self.vectors, contexts)
            features["question_vector_ids"] = vector_ids(self.vectors, questions)
        if self.sentence_length:
            rows = sentence_rows(contexts, self.sentence_length)
            for name in features.keys() & {"ids", "vector_ids"}:
                features[name] = in_sentences(*rows, features[name], self.sentence_length)
        return {name: tf.cast(ragged, tf.int32) for name, ragged in features.items()}

    def longest(self, records: Iterable[pipelines.Record]) -> dict[str, int]:
        """The longest question and the longest sentence of records, within the bounds of these features.

        A question may be of 16 tokens in any case: those that are asked later may be longer.
        """
        question, sentence = 16, 1
        for chunk in pipelines.in_chunks(records):
            texts = [[record["context"], record["question"]] for record in chunk]
            encoded = self.encode(tf.constant(texts, tf.string))
            question = max(question, int(tf.reduce_max(encoded["question"].row_lengths())))
            if self.sentence_length:
                words = tf.math.count_nonzero(encoded["ids"].flat_values, axis=1)
                sentence = max(sentence, int(tf.reduce_max(words)))
        return {
            "question_length": min(question, self.question_length),
            "sentence_length": sentence if self.sentence_length else 0,
        }

    @pipelines.on_cpu
    def pad(
        self,
        features: dict[str, tf.RaggedTensor],
        length: int | tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Dense features, filled up with 0: contexts to `length`, or to the longest one, but to one token at least."""
        dense = {}
        for name, ragged in features.items():
            size = self.question_length if name.startswith("question") else length
            if size is None:
                size = tf.reduce_max(tf.concat([ragged.row_lengths(), [1]], 0))
            dense[name] = padded(ragged, size)
        return dense
