"""Text to ids in graph: tokens, cuts, characters, sentences."""

import numpy as np
import pytest
import tensorflow as tf

import pipelines
from keras_rnn.tasks.features import TextFeatures

TEXTS = ["a b c . d e", "", "a ! b c d e ? f"]


@pytest.fixture(scope="module")
def tokenizer():
    return pipelines.train_tokenizer("words", ["a b c d e f . ! ?"], 100)


def words(tokenizer, rows):
    """Names of ids, rows of a dense or nested list."""
    names = tokenizer.tokens_list
    return [[names[number] for number in row if number] for row in rows]


def test_ids_and_tokens_agree(tokenizer):
    features = TextFeatures(tokenizer, max_length=4)
    ids = features.encode(tf.constant(TEXTS))["ids"]
    assert words(tokenizer, ids.to_list()) == [
        ["a", "b", "c", "."],
        ["[UNK]"],
        ["a", "!", "b", "c"],
    ]
    tokens = features.tokens(tf.constant(TEXTS))
    assert tokens.to_list() == [[b"a", b"b", b"c", b"."], [b""], [b"a", b"!", b"b", b"c"]]
    _, cut = features.encode_and_count(tf.constant(TEXTS))
    assert int(cut) == 2


def test_bytes_are_cut_at_a_character(tokenizer):
    features = TextFeatures(tokenizer, max_bytes=4)
    assert features.tokens(tf.constant(["a éé", "éé"])).to_list() == [
        [b"a", "é".encode()],
        ["éé".encode()],
    ]
    assert features.tokens(tf.constant(["a bé"])).to_list() == [[b"a", b"b"]]


def test_characters_of_each_word(tokenizer):
    alphabet = pipelines.train_tokenizer("characters", ["abc"], 100)
    features = TextFeatures(tokenizer, alphabet, word_length=3)
    encoded = features.encode(tf.constant(["ab abcd", ""]))
    a, b, c = (alphabet.tokens_list.index(x) for x in "abc")
    assert encoded["characters"].to_list() == [[[a, b, 0], [a, b, c]], [[0, 0, 0]]]
    padded = features.pad(encoded, 3)
    assert padded["ids"].shape == (2, 3) and padded["characters"].shape == (2, 3, 3)
    assert padded["characters"].numpy()[1].sum() == 0


def test_sentences(tokenizer):
    features = TextFeatures(tokenizer, sentence_length=3)
    ids = features.encode(tf.constant(TEXTS))["ids"]
    got = [words(tokenizer, text) for text in ids.to_list()]
    assert got == [
        [["a", "b", "c"], ["."], ["d", "e"]],
        [["[UNK]"]],
        [["a", "!"], ["b", "c", "d"], ["e", "?"], ["f"]],
    ]
    assert ids.shape.as_list() == [3, None, 3]
    padded = features.pad(features.encode(tf.constant(TEXTS)))["ids"]
    assert padded.shape == (3, 4, 3)


def test_no_texts(tokenizer):
    for features in (TextFeatures(tokenizer), TextFeatures(tokenizer, sentence_length=3)):
        encoded = features.encode(tf.constant([], tf.string))
        assert encoded["ids"].nrows() == 0
        assert features.pad(encoded)["ids"].shape[0] == 0


def test_encoding_in_graph_is_encoding_outside(tokenizer):
    for features in (
        TextFeatures(tokenizer, max_length=5),
        TextFeatures(tokenizer, sentence_length=2),
    ):
        inside = tf.function(lambda texts: features.pad(features.encode(texts)))  # noqa: B023
        spec = tf.TensorSpec([None], tf.string)
        graph = inside.get_concrete_function(spec)
        for texts in (TEXTS, TEXTS[:1], []):
            texts = tf.constant(texts, tf.string)
            outside = features.pad(features.encode(texts))["ids"]
            np.testing.assert_array_equal(graph(texts)["ids"], outside)
