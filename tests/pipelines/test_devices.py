"""What is done to texts is done on the CPU, whatever there is besides: each operation says so."""

import functools
import types

import pytest
import tensorflow as tf

import pipelines
from keras_rnn.tasks.classification import ClassificationServer
from keras_rnn.tasks.copies import CopyFeatures
from keras_rnn.tasks.features import TextFeatures
from keras_rnn.tasks.pairs import PairFeatures
from keras_rnn.tasks.passages import PassageFeatures
from keras_rnn.tasks.questions import QuestionServer
from keras_rnn.tasks.span_answers import SpanServer
from keras_rnn.tasks.tagging_server import TaggingServer
from keras_rnn.tasks.tokens import TokenFeatures
from keras_rnn.tasks.translation import TranslationServer
from keras_rnn.tasks.word_answers import WordServer


def devices_of(function, *specs) -> set[str]:
    graph = tf.function(function).get_concrete_function(*specs).graph
    # What only stands in a function (its inputs, a table that it was given) is where its owner put it.
    return {
        op.device
        for op in graph.get_operations()
        if op.type not in ("Placeholder", "Const", "NoOp", "Identity")
    }


@pytest.fixture(scope="module")
def tokenizer():
    return pipelines.train_tokenizer("words", ["a fine film", "no film"], size=20)


@pytest.mark.parametrize("kind", ["words", "characters", "wordpiece"])
def test_encoding_and_decoding(kind):
    tokenizer = pipelines.train_tokenizer(kind, ["a fine film", "no film"], size=40)
    texts = tf.TensorSpec([None], tf.string)
    ids = tf.TensorSpec([None, None], tf.int32)
    for function, spec in [
        (lambda texts: tokenizer.encode(texts, end=True).values, texts),
        (lambda texts: tokenizer.tokenize(texts).values, texts),
        (tokenizer.decode, ids),
    ]:
        assert devices_of(function, spec) == {"/device:CPU:0"}


def test_ids_that_a_model_reads(tokenizer):
    features = PairFeatures(tokenizer, tokenizer, max_length=3, max_bytes=100)
    assert devices_of(features.read, tf.TensorSpec([None], tf.string)) == {"/device:CPU:0"}
    read = features.read(tf.constant(["a fine film", "no"])).numpy()
    no = tokenizer.encode(tf.constant(["no"])).values.numpy()[0]
    assert read[:, 2].tolist() == [pipelines.END, pipelines.PADDING]
    assert read[1].tolist() == [no, pipelines.END, pipelines.PADDING]


READING = (
    "cut",
    "decode",
    "encode",
    "pad",
    "pieces",
    "read",
    "spell",
    "tokenize",
    "too_long",
    "words",
)


@pytest.mark.parametrize(
    "kind",
    [
        TextFeatures,
        TokenFeatures,
        PassageFeatures,
        CopyFeatures,
        PairFeatures,
        pipelines.Tokenizer,
        pipelines.WordpieceTokenizer,
        pipelines.SentencePieceTokenizer,
    ],
)
def test_whatever_reads_texts_is_placed(kind):
    readers = [
        name for name, method in vars(kind).items() if name.startswith(READING) and callable(method)
    ]
    assert readers
    assert [name for name in readers if not hasattr(vars(kind)[name], "__wrapped__")] == []


@pytest.mark.parametrize(
    ("kind", "methods"),
    [
        (ClassificationServer, ["_result"]),
        (TaggingServer, ["_cut", "_names", "_result"]),
        (TranslationServer, ["_result"]),
        (QuestionServer, ["_cut"]),
        (SpanServer, ["_result"]),
        (WordServer, ["_result"]),
    ],
)
def test_whatever_makes_texts_of_answers_is_placed(kind, methods):
    assert [name for name in methods if not hasattr(vars(kind)[name], "__wrapped__")] == []


def test_tags_of_iob1():
    """The spelling of each tag hangs on the one before: operations on numbers between those on strings."""
    server = types.SimpleNamespace(scheme="IOB1", _spelled=["O", "B-x", "I-x", "B-y"])
    numbers = tf.RaggedTensorSpec([None, None], tf.int32, ragged_rank=1)
    names = functools.partial(TaggingServer._names, server)
    assert devices_of(lambda numbers: names(numbers).values, numbers) == {"/device:CPU:0"}
    given = names(tf.ragged.constant([[1, 2, 1, 3, 0], [1]]))
    assert given.to_list() == [[b"I-x", b"I-x", b"B-x", b"I-y", b"O"], [b"I-x"]]
