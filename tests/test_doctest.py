"""The examples in the docstrings of keras_rnn and pipelines run and print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples() -> list[str]:
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for folder in ("keras_rnn", "pipelines")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if ">>> " in path.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name, monkeypatch, tmp_path, forgets_registered_classes):
    monkeypatch.chdir(tmp_path)  # An example may write files.
    result = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert result.attempted > 0, f"{name} has >>> outside of docstrings that doctest finds"
    assert result.failed == 0, f"{result.failed} examples of {name} fail; see the captured output"
