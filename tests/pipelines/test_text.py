"""Tokenizers: what is cut, which ids, files and SavedModels that answer the same."""

import collections
import contextlib
import os
import subprocess
import sys

import pytest

tf = pytest.importorskip("tensorflow")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from pipelines import (  # noqa: E402
    END,
    SPECIAL_TOKENS,
    START,
    UNKNOWN,
    CharacterTokenizer,
    InputError,
    WordTokenizer,
    first_bytes,
    in_chunks,
    load_tokenizer,
    train_tokenizer,
)
from pipelines import text as text_module  # noqa: E402

SENTENCES = [
    "A stirring, funny film.",
    "It isn't a funny film!",
    "the film is the film",
    "naïve Ärger 漢字",
]
KINDS = list(text_module.TOKENIZERS)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.fixture(scope="module")
def tokenizers():
    """One of each kind, learnt from the same sentences."""
    return {kind: train_tokenizer(kind, SENTENCES * 5, 120, lower=True) for kind in KINDS}


def words(text):
    tokenizer = WordTokenizer([*SPECIAL_TOKENS, "a"])
    return [token.decode() for token in tokenizer.tokenize([text]).to_list()[0]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        (" \t\u00a0\u200b\ufeff\n", ""),
        ("I don't think it's theirs, they'll say.", "I do n't think it 's theirs , they 'll say ."),
        ("we’re can't WON'T I'm he'd you've", "we ’re ca n't WO N'T I 'm he 'd you 've"),
        ("do n't , it 's ... -lrb- so -RRB-", "do n't , it 's ... -lrb- so -RRB-"),
        ("`` quoted '' -- \"this\"", "`` quoted '' -- \" this \""),
        ("$1,000.50 or 3.5% (5.)", "$ 1,000.50 or 3.5 % ( 5 . )"),
        ("re-imagining a_b a/b", "re - imagining a _ b a / b"),
        ("漢字とabc、漢字", "漢 字 と abc 、 漢 字"),
        ("한국어 텍스트", "한국어 텍스트"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("カー", "カ ー"),
        ("ไทย", "ไ ท ย"),
        ("ລາວ", "ລ າ ວ"),
        ("ខ្មែរ", "ខ្ មែ រ"),
        ("မြန်", "မြ န်"),
        # A non-joiner and a joiner stand inside words.
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("naïve cafe\u0301 Ünïcode", "naïve cafe\u0301 Ünïcode"),
        ("good👍👍 :)", "good 👍 👍 : )"),
        ("a\x1fb\x00c", "a b c"),
        ("'sad' 'tis o'clock", "' sad ' ' tis o ' clock"),
    ],
)
def test_word_rule(text, wanted):
    assert words(text) == wanted.split(" ") if wanted else words(text) == []


@settings(max_examples=60)
@given(batch=st.lists(texts, max_size=6))
@pytest.mark.parametrize("kind", ["words", "characters"])
def test_offsets_cut_the_tokens_out_of_the_raw_text(tokenizers, kind, batch):
    tokens, starts, ends = tokenizers[kind].tokenize_with_offsets(tf.constant(batch, tf.string))
    for text, *row in zip(batch, tokens.to_list(), starts.to_list(), ends.to_list(), strict=True):
        raw = text.encode()
        assert [raw[start:end] for start, end in zip(row[1], row[2], strict=True)] == row[0]
        # Nothing but blanks lies between tokens.
        last, between = 0, []
        for start, end in zip(row[1], row[2], strict=True):
            between.append(raw[last:start])
            last = end
        between.append(raw[last:])
        left = b"".join(between).decode()
        assert all(sign.isspace() or sign in "\u200b\ufeff" or ord(sign) < 160 for sign in left)


def test_ids_are_by_frequency_then_by_spelling():
    tokenizer = train_tokenizer("words", ["b a c", "b c [END] d"], 9)
    assert tokenizer.tokens_list == [*SPECIAL_TOKENS, "b", "c", "END", "[", "]"]
    assert tokenizer.size == 9
    rare_left_out = train_tokenizer("words", ["b a c", "b c d"], 100, min_count=2)
    assert rare_left_out.tokens_list == [*SPECIAL_TOKENS, "b", "c"]


def test_encode_and_decode_words():
    tokenizer = train_tokenizer("words", ["The film isn't the film"], 100, lower=True)
    assert tokenizer.tokens_list[4:] == ["film", "the", "is", "n't"]
    ids = tokenizer.encode(tf.constant(["THE FILM isn't here", "", " \u00a0 "]))
    assert ids.dtype == tf.int32
    assert ids.to_list() == [[5, 4, 6, 7, UNKNOWN], [UNKNOWN], [UNKNOWN]]
    framed = tokenizer.encode(["film", ""], start=True, end=True)
    assert framed.to_list() == [[START, 4, END], [START, UNKNOWN, END]]
    dense = tf.constant([[START, 5, 4, END, 6, 7], [7, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    assert tokenizer.decode(dense).numpy().tolist() == [b"the film", b"n't", b""]
    assert tokenizer.decode(framed).numpy().tolist() == [b"film", b"[UNK]"]
    assert tokenizer.decode(tf.constant([[99, -1]])).numpy().tolist() == [b"[UNK] [UNK]"]
    given = tf.ragged.constant([["The", "[END]", "[PAD]"], []], dtype=tf.string)
    assert tokenizer.encode_tokens(given).to_list() == [[5, UNKNOWN, UNKNOWN], []]


def test_characters_of_words():
    """Word and character input come from two tokenizers, one over the other's values."""
    word, character = (train_tokenizer(k, ["ab ba"], 20) for k in ("words", "characters"))
    cut = word.tokenize(["ab b", "ba"])
    ids = cut.with_values(character.encode(cut.values))
    assert ids.to_list() == [[[4, 5], [5]], [[5, 4]]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(tokenizers, kind, tmp_path):
    tokenizer = tokenizers[kind]
    assert tokenizer.tokens_list[:4] == list(SPECIAL_TOKENS)
    assert tokenizer.size == len(tokenizer.tokens_list) <= 120
    assert tokenizer.encode(["", "  "]).to_list() == [[UNKNOWN], [UNKNOWN]]
    assert tokenizer.encode(tf.zeros([0], tf.string)).to_list() == []
    assert tokenizer.decode(tf.zeros([0, 5], tf.int32)).shape == [0]
    assert tokenizer.decode(tf.zeros([2, 0], tf.int32)).numpy().tolist() == [b"", b""]
    # A text cannot write the special ids.
    spelled = tokenizer.encode(["[PAD] [START] [END]"]).to_list()[0]
    assert not {0, START, END} & set(spelled)
    ids = tokenizer.encode(["The FUNNY film", "[UNK]", b"bad \xff\xfe bytes"])
    decoded = tokenizer.decode(ids.to_tensor()).numpy()
    assert decoded[0] == b"the funny film"
    # Lower-casing is that of Unicode, in training and after it.
    capitals, small = tokenizer.encode(["NAÏVE ÄRGER", "naïve ärger"]).to_list()
    assert capitals == small and UNKNOWN not in small
    assert [token for token in tokenizer.tokens_list[4:] if token != token.lower()] == []
    tokenizer.save(tmp_path)
    assert all(name.startswith("vocabulary") for name in os.listdir(tmp_path))
    loaded = load_tokenizer(tmp_path)
    assert type(loaded) is type(tokenizer)
    assert loaded.tokens_list == tokenizer.tokens_list
    assert loaded.encode(SENTENCES).to_list() == tokenizer.encode(SENTENCES).to_list()


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_data_set_and_a_function(tokenizers, kind):
    tokenizer = tokenizers[kind]
    wanted = tokenizer.encode(SENTENCES).to_list()
    data = tf.data.Dataset.from_tensor_slices(SENTENCES).batch(2).map(tokenizer.encode)
    assert [row for batch in data for row in batch.to_list()] == wanted
    assert tf.function(tokenizer.encode)(tf.constant(SENTENCES)).to_list() == wanted


@pytest.mark.parametrize("kind", ["wordpiece", "sentencepiece"])
def test_pieces_know_their_places(tokenizers, kind):
    raw = "  a FUNNY, film"
    tokens, starts, ends = tokenizers[kind].tokenize_with_offsets([raw])
    places = zip(starts.to_list()[0], ends.to_list()[0], strict=True)
    joined = "".join(raw[start:end].strip() for start, end in places)
    assert joined.lower() == "afunny,film"
    assert starts.dtype == ends.dtype == tf.int32
    assert len(tokens.to_list()[0]) == len(starts.to_list()[0])


def test_pieces_are_cut_from_capitals_too(tokenizers):
    pieces = [tokenizers["wordpiece"].tokenize([text]).to_list() for text in ("ÄRGER", "ärger")]
    assert pieces[0] == pieces[1] != [[b"[UNK]"]]


def test_rare_characters_have_a_piece():
    tokenizer = train_tokenizer("sentencepiece", ["a b " * 300 + "z y " * 9], 20)
    assert UNKNOWN not in tokenizer.encode(["z y"]).to_list()[0]


def test_special_tokens_are_no_words_of_a_vocabulary():
    counts = collections.Counter(["[PAD]", "[PAD]", "a"])
    assert text_module.tokenizer_of_counts("words", counts, 9).tokens_list[4:] == ["a"]


def test_invalid_bytes():
    """A character knows its place among them, and to count they are one sign."""
    tokenizer = CharacterTokenizer([*SPECIAL_TOKENS, "a"])
    _, starts, ends = tokenizer.tokenize_with_offsets([b"a\xffb", b"\xff"])
    assert starts.to_list() == [[0, 1, 2], [0]]
    assert ends.to_list() == [[1, 2, 3], [1]]
    assert text_module.count_words([b"\xff", b"\xfe"]) == {"\ufffd": 2}


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_and_a_cleared_session_do_no_harm(tokenizers, kind):
    wanted = tokenizers[kind].encode(SENTENCES).to_list()
    tf.keras.utils.set_random_seed(1)
    assert tokenizers[kind].encode(SENTENCES).to_list() == wanted
    tf.keras.backend.clear_session()
    assert tokenizers[kind].encode(SENTENCES).to_list() == wanted
    assert tokenizers[kind].decode(tf.constant([[0]])).numpy().tolist() == [b""]


def test_pieces_of_words_that_are_cut_already(tokenizers):
    tokenizer = tokenizers["wordpiece"]
    given = tf.ragged.constant([["Funny", "[END]"], [], ["films"]], dtype=tf.string)
    pieces = tokenizer.encode_tokens(given)
    assert pieces.to_list()[0] == [*tokenizer.encode(["Funny"]).to_list()[0], UNKNOWN]
    assert pieces.to_list()[1:] == [[], tokenizer.encode(["films"]).to_list()[0]]


@settings(max_examples=30)
@given(batch=st.lists(texts, min_size=1, max_size=4))
def test_characters_round_trip(batch):
    batch = [text for text in batch if words(text)] or ["a"]
    tokenizer = train_tokenizer("characters", batch, 1000)
    assert tokenizer.decode(tokenizer.encode(batch)).numpy().tolist() == [t.encode() for t in batch]


@settings(max_examples=30)
@given(tokens=st.sets(texts.filter(lambda text: text and "\x00" not in text), min_size=1))
def test_any_token_survives_the_file(tmp_path_factory, tokens):
    folder = tmp_path_factory.mktemp("vocabulary")
    tokens = [*SPECIAL_TOKENS, *sorted(tokens - set(SPECIAL_TOKENS)), "ordinary\\n"]
    tokens = list(dict.fromkeys(tokens))
    CharacterTokenizer(tokens, lower=True).save(folder, "vocabulary_characters")
    loaded = load_tokenizer(folder, "vocabulary_characters")
    assert loaded.tokens_list == tokens
    assert loaded.lower


def test_counting_keeps_to_its_bound(monkeypatch):
    monkeypatch.setattr(text_module, "_MOST_COUNTED", 3)
    monkeypatch.setattr(text_module, "in_chunks", lambda items: in_chunks(items, 2))
    tokenizer = train_tokenizer("words", ["a a b", "a b c", "d e a", "b f"], 100)
    assert tokenizer.tokens_list[4:6] == ["a", "b"]
    assert tokenizer.size <= 4 + 3


def test_chunks_of_long_texts_are_shorter(monkeypatch):
    monkeypatch.setattr(text_module, "CHUNK_CHARACTERS", 5)
    assert list(in_chunks(["aaa", "aaa", "aaaaaaaaa", "a"])) == [["aaa", "aaa"], ["a" * 9], ["a"]]
    records = [{"tokens": ["aa", "aa"], "tag": "b"}, ({"a": "b"}, "c", None), [1, "aaaa"]]
    assert list(in_chunks(records)) == [records[:1], records[1:]]
    assert list(in_chunks(range(9), 6)) == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize("most", range(1, 14))
def test_the_first_bytes_in_whole_characters(most):
    rows = ["añ漢😀b", "", "é", "漢漢", "plain"]
    wanted = [row.encode()[:most].decode(errors="ignore").encode() for row in rows]
    assert first_bytes(tf.constant(rows), most).numpy().tolist() == wanted
    # Invalid bytes that a text has itself are left to whoever reads it.
    given = [b"a\xff\xe6b", b"\x80", b"\xc3"]
    assert first_bytes(tf.constant(given), 4).numpy().tolist() == given


def test_wordpieces_keep_the_characters_of_scripts_that_have_thousands():
    characters = [chr(code) for code in range(0x4E00, 0x4E00 + 1500)]
    tokenizer = train_tokenizer("wordpiece", ["".join(characters)], 8000)
    assert UNKNOWN not in tokenizer.encode(["".join(characters)]).values.numpy()


def test_of_too_many_lines_sentencepiece_is_given_the_same_each_time(monkeypatch):
    import sentencepiece

    given = []
    monkeypatch.setattr(
        sentencepiece.SentencePieceTrainer,
        "train",
        lambda sentence_iterator, **settings: given.append((list(sentence_iterator), settings)),
    )
    monkeypatch.setattr(text_module, "_MOST_LINES", 20)
    for _ in range(2):
        with contextlib.suppress(Exception):  # There is no model.
            train_tokenizer("sentencepiece", map(str, range(300)), 10)
    (lines, settings_), again = given
    assert again[0] == lines and len(set(lines)) == 20 and any(int(line) > 200 for line in lines)
    assert settings_.get("input_sentence_size", 0) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: train_tokenizer("syllables", ["a"], 10),
            "no tokenizer 'syllables'; there are: wo",
        ),
        (lambda: train_tokenizer("words", ["a"], 4), "vocabulary_size must be above 4"),
        (lambda: train_tokenizer("words", ["", " "], 10), "no token"),
        (lambda: train_tokenizer("wordpiece", [""], 10), "no token"),
        (lambda: train_tokenizer("sentencepiece", [""], 10), "SentencePiece cannot learn"),
        (lambda: WordTokenizer(["a", "b"]), "begins with"),
        (lambda: WordTokenizer([*SPECIAL_TOKENS, "a", "a"]), "'a' twice"),
        (lambda: load_tokenizer("nowhere"), "nowhere/vocabulary.json: no such file"),
    ],
)
def test_what_cannot_be(call, said):
    with pytest.raises(InputError) as caught:
        call()
    assert said in str(caught.value)


def test_vocabularies_that_do_not_fit(tmp_path):
    train_tokenizer("words", ["a b"], 10).save(tmp_path)
    with open(tmp_path / "vocabulary.txt", "a") as stream:
        stream.write("c\n")
    with pytest.raises(InputError, match="speaks of 6 tokens but the vocabulary holds 7"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocabulary.json").write_text("{}")
    with pytest.raises(InputError, match="does not describe a vocabulary"):
        load_tokenizer(tmp_path)


def test_saved_models_need_only_tensorflow(tmp_path):
    """Words and characters, saved inside another module, in a process without this package, in Turkish."""

    class Server(tf.Module):
        def __init__(self):
            super().__init__()
            self.words = train_tokenizer("words", [*SENTENCES, "İ"], 100, lower=True)
            self.characters = train_tokenizer("characters", SENTENCES, 100)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
        def serve(self, text):
            tokens, starts, ends = self.words.tokenize_with_offsets(text)
            ids = self.words.encode(text)
            return {
                "words": ids.to_tensor(),
                "characters": self.characters.encode(text).to_tensor(),
                "decoded": self.words.decode(ids),
                "tokens": tokens.to_tensor(""),
                "starts": starts.to_tensor(-1),
                "ends": ends.to_tensor(-1),
            }

    server = Server()
    tf.saved_model.save(server, str(tmp_path / "model"), signatures=server.serve)
    code = """
import sys
import tensorflow as tf
assert not any(name.startswith(("pipelines", "keras_rnn", "tensorflow_text")) for name in sys.modules)
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
for rows in (["The film ISN'T İ 漢字!", "", "a " * 100_000], []):
    answer = serve(tf.constant(rows, tf.string))
    for name in sorted(answer):
        value = answer[name]
        shown = value[:2, :6] if value.ndim == 2 else value[:2]
        print(name, shown.numpy().tolist())
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path / "model")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3", "LANG": "tr_TR.UTF-8"},
    )
    wanted = []
    for rows in (["The film ISN'T İ 漢字!", "", "a " * 100_000], []):
        answer = server.serve(tf.constant(rows, tf.string))
        for name in sorted(answer):
            value = answer[name]
            shown = value[:2, :6] if value.shape.rank == 2 else value[:2]
            wanted.append(f"{name} {shown.numpy().tolist()}")
    assert done.stdout.splitlines() == wanted, done.stderr
    assert (
        wanted[1]
        == "decoded [b\"the film is n't i\\xcc\\x87 \\xe6\\xbc\\xa2 \\xe5\\xad\\x97 !\", b'[UNK]']"
    )
