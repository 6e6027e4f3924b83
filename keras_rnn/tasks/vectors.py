"""Pretrained vectors: which words of a file are kept, their ids, and what a new model is given of them."""

from collections.abc import Iterable

import keras
import ml_collections
import tensorflow as tf

import pipelines
from keras_rnn.tasks.task import Task


def vectors_dim_of(task: Task) -> int:
    """Size of the vectors that a task begins with: those of its parent, or of the file; 0 where it has none."""
    if not task.config.vectors:
        return 0
    if "vectors" in task.inherited:
        return task.parent.vectors_dim
    return pipelines.vectors_dimension(task.config.vectors)


def vector_tokenizer(
    config: ml_collections.ConfigDict, tokens: Iterable[str]
) -> pipelines.Tokenizer:
    """The words of the file that are kept: its first ones, and those among the tokens, or their lower case."""
    tokens = list(tokens)
    words = pipelines.vector_words(
        config.vectors, config.vectors_size, {*tokens, *lowered_words(tokens)}
    )
    words = [word for word in words if word not in pipelines.SPECIAL_TOKENS]
    return pipelines.WordTokenizer([*pipelines.SPECIAL_TOKENS, *words])


def vector_ids(vectors: pipelines.Tokenizer, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
    """Tokens -> their ids among the words of pretrained vectors, in lower case where they are not among them."""
    ids = vectors.encode_tokens(tokens.flat_values)
    low = pipelines.lowered(tokens.flat_values)
    ids = tf.where(ids == pipelines.UNKNOWN, vectors.encode_tokens(low), ids)
    return tokens.with_flat_values(ids)


def give_vectors(
    model: keras.Model, config: ml_collections.ConfigDict, vectors: pipelines.Tokenizer | None
) -> str:
    """Gives a new model's encoder the vectors of the file, where there is one; says how many it had."""
    if not config.vectors:
        return ""
    rows, found = pipelines.read_vectors(config.vectors, vectors.tokens_list)
    model.encoder.vectors.embeddings.assign(rows)
    return f"{found.sum():,} vectors of size {rows.shape[1]} from {config.vectors}"


def lowered_words(tokens: Iterable[str]) -> list[str]:
    """As the graph lowers them, which is not in all scripts what Python does."""
    low = pipelines.lowered(tf.constant(list(tokens), tf.string)).numpy()
    return [token.decode("utf-8") for token in low]
