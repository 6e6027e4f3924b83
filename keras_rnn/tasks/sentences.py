"""Where sentences begin among the tokens of texts, in graph."""

import tensorflow as tf

import pipelines

# Tokens that end a sentence, in the scripts that have one.
SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "।", "۔", "؟", "።", "።")


@pipelines.on_cpu
def sentence_rows(tokens: tf.RaggedTensor, longest: int) -> tuple[tf.Tensor, tf.RaggedTensor]:
    """Where each row of words begins among all tokens, and the text that each row is of.

    A row is a sentence; one of more than `longest` tokens goes on in the next row.

    Arguments:
        tokens: string [batch, (time)].
        longest: most tokens of a row.

    Returns:
        Places among the tokens of all texts, [rows], and [batch, (rows)].

    Example:

    >>> starts, rows = sentence_rows(tf.ragged.constant([["a", ".", "b", "c"], ["d"]]), longest=8)
    >>> starts.numpy().tolist(), rows.row_lengths().numpy().tolist()
    ([0, 2, 4], [2, 1])
    """
    words, texts = tokens.flat_values, tokens.value_rowids()
    is_end = tf.reduce_any(words[:, None] == tf.constant(SENTENCE_ENDS)[None], axis=1)
    new_text = tf.concat([[True], texts[1:] != texts[:-1]], 0)[: tf.size(texts)]
    after_end = tf.concat([[False], is_end[:-1]], 0)[: tf.size(texts)] & ~is_end
    starts = new_text | after_end
    place = tf.range(tf.size(starts))
    number = tf.cumsum(tf.cast(starts, tf.int32)) - 1
    first = tf.gather(tf.cast(tf.where(starts)[:, 0], tf.int32), number)
    starts |= (place - first) % longest == 0
    row_starts = tf.where(starts)[:, 0]
    rows = tf.RaggedTensor.from_value_rowids(
        row_starts, tf.gather(texts, row_starts), nrows=tokens.nrows(), validate=False
    )
    return row_starts, rows


@pipelines.on_cpu
def in_sentences(
    row_starts: tf.Tensor, rows: tf.RaggedTensor, ids: tf.RaggedTensor, longest: int
) -> tf.RaggedTensor:
    """ids [batch, (time)] -> int32 [batch, (rows), longest], rows as `sentence_rows` found them."""
    flat = tf.cast(ids.flat_values, tf.int32)
    sentences = tf.RaggedTensor.from_row_starts(flat, row_starts, validate=False)
    return rows.with_flat_values(sentences.to_tensor(shape=[None, longest]))
