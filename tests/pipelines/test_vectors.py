"""Pretrained vectors: the rows that are asked for, and what is said of a file that is none."""

import gzip

import numpy as np
import pytest

from pipelines import InputError, read_vectors

GLOVE = "the 0.1 0.2\nfilm 1 2\nThe 3 4\n. . 5 6\nparis 7 8\nfilm 9 9\n"


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "header.txt", "tabs.txt"])
def test_rows_of_the_vocabulary(tmp_path, name):
    text = "6 2\n" + GLOVE if name == "header.txt" else GLOVE
    text = text.replace(" ", "\t") if name == "tabs.txt" else text
    raw = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    tokens = ["[PAD]", "film", "The", "the", "Paris", "PARIS", "zzz"]
    vectors, found = read_vectors(tmp_path / name, tokens)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(
        vectors, [[0, 0], [1, 2], [3, 4], [0.1, 0.2], [7, 8], [7, 8], [0, 0]], rtol=1e-6
    )
    assert found.tolist() == [False, True, True, True, True, True, False]


def test_the_own_spelling_comes_before_the_lower_cased_in_any_order(tmp_path):
    (tmp_path / "v.txt").write_text("Film 1 1\nfilm 2 2\n")
    (tmp_path / "w.txt").write_text("film 2 2\nFilm 1 1\n")
    for name in ("v.txt", "w.txt"):
        vectors, found = read_vectors(tmp_path / name, ["Film", "FILM"])
        assert vectors.tolist() == [[1, 1], [2, 2]]
        assert found.all()


def test_words_that_are_numbers(tmp_path):
    (tmp_path / "v.txt").write_text("1999 0.5 0.5\n2000 1 1\n")
    vectors, found = read_vectors(tmp_path / "v.txt", ["2000", "1999"])
    assert vectors.tolist() == [[1, 1], [0.5, 0.5]]
    assert found.all()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a 1 2\nb 1\n", 2, "the row has 1 numbers, the first one 2"),
        ("a 1 2\nb 1 x\n", 2, "'x' is no number"),
        ("a 1 2\nb 1 nan\n", 2, "not finite"),
        ("1 2\na 1 2 3\n", 2, "more numbers than the 2 of the header"),
        ("a b c\n", 1, "is not vectors as text"),
        ("", None, "holds no vectors"),
        ("3 2\n", None, "holds no vectors"),
    ],
)
def test_bad_files(tmp_path, text, line, said):
    file = tmp_path / "v.txt"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_vectors(file, ["a", "b"])
    assert str(caught.value).startswith(f"{file}: " if line is None else f"{file}:{line}: ")
    assert said in str(caught.value)


def test_a_missing_file():
    with pytest.raises(InputError, match="^nowhere.txt: no such file$"):
        read_vectors("nowhere.txt", ["a"])
