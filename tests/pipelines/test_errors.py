"""An `InputError` is one line that names the place."""

import pickle

import pytest

from pipelines import InputError


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("no such file", "a.tsv"), "a.tsv: no such file"),
        (("too long", "a.tsv", 7), "a.tsv:7: too long"),
        (("first\nsecond\r\nthird",), "first second third"),
        (("wrong", "odd\nname.tsv", 1), "odd name.tsv:1: wrong"),
    ],
)
def test_one_line(arguments, shown):
    error = InputError(*arguments)
    assert str(error) == shown
    # Worker processes hand errors over in this form.
    assert str(pickle.loads(pickle.dumps(error))) == shown  # noqa: S301
    assert isinstance(error, ValueError)
