"""The races' own parts: who runs, what is counted, what is written. No time is judged."""

import json
import sys

import numpy as np
import pytest

from benchmarks import cells, results, texts
from benchmarks.racing import Contestant, Entry, fastest, referee
from benchmarks.shapes import Problem

CONTESTANTS = """
import itertools

def counting(start):
    numbers = itertools.count(start)
    def run():
        run.facts = {"runs": next(numbers) + 1 - start}
    return run

def failing():
    raise ValueError("not today\\nnor tomorrow")

def ending():
    import os
    os._exit(3)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module with contestants, which processes of contestants find."""
    (tmp_path / "trivial_contestants.py").write_text(CONTESTANTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "trivial_contestants"


def test_each_contestant_runs_in_its_turn(module, capsys):
    entries = {
        "one": Entry(f"{module}:counting", {"start": 5}),
        "other": Entry(f"{module}:counting", {"start": 0}),
        "none": Entry(f"{module}:failing", {}),
    }
    with referee(rounds=2) as judge:
        seconds = judge.race(entries)
    assert [*seconds] == ["one", "other"]
    # One run to find out how many fit into a turn, then two turns of as many as may be at most.
    assert {name: len(runs) for name, runs in seconds.items()} == {"one": 201, "other": 201}
    assert all(0 < run < 60 for run in seconds["one"])
    assert capsys.readouterr().out == "  none takes no part: ValueError: not today\n"


def test_facts_and_the_peak_come_with_the_times(module):
    contestant = Contestant()
    try:
        first = contestant.ask(prepare=f"{module}:counting", arguments={"start": 3})
        later = contestant.ask(run=4)
    finally:
        contestant.close()
    assert (first["runs"], len(first["seconds"])) == (1, 1)
    # The one that warms up is a run that has no time.
    assert (later["runs"], len(later["seconds"])) == (6, 4)
    assert 2**20 < first["peak"] <= later["peak"] < 2**34


def test_a_process_that_ends_takes_no_part(module, capsys):
    with referee(rounds=1) as judge:
        assert judge.race({"gone": Entry(f"{module}:ending", {})}) == {}
    assert "gone takes no part: the process ended with status 3" in capsys.readouterr().out


def test_the_fastest_run_counts():
    assert fastest({"a": [3.0, 1.0, 2.0], "b": [5.0]}) == {"a": 1.0, "b": 5.0}


def test_ratios_take_the_faster_of_each_library():
    seconds = {"ours": 2.0, "Keras": 8.0, "Keras XLA": 4.0, "PyTorch": 1.0, "JAX": 0.1}
    assert results.ratios_of(seconds) == {"Keras": 0.5, "PyTorch": 2.0}
    assert results.ratios_of({"Keras": 1.0}) == {}


def test_geometric_mean():
    assert results.geometric_mean([0.25, 4.0, 1.0]) == pytest.approx(1.0)
    assert results.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert np.isnan(results.geometric_mean([]))


def test_a_race_is_written_for_people_and_for_programs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(results, "machine", lambda: {"machine": "abacus", "date": "2020-01-02"})
    header, rows = ["what", "ms"], [["small", 1.23456], ["large", 12345.6], ["lost", float("nan")]]
    results.write(
        "beads", "Beads", "Moved by hand.", header, rows, ["half"], {"Keras": {"small": 0.5}}
    )
    table = (tmp_path / "beads.md").read_text().splitlines()
    assert table[0] == "# Beads"
    assert table[-3:] == ["| small | 1.23 |", "| large | 12,346 |", "| lost |  |"]
    assert "![Beads](beads.png)" in table
    data = json.loads((tmp_path / "beads.json").read_text())
    assert data["rows"][:2] == rows[:2] and data["facts"]["machine"] == "abacus"
    assert (tmp_path / "beads.png").read_bytes().startswith(b"\x89PNG")
    index = (tmp_path / "README.md").read_text()
    assert "## [Beads](beads.md)\n\n2020-01-02, abacus\n\n- half\n" in index


def test_masks_have_the_lengths_of_sentences():
    problem = Problem("lstm", 200, 50, 3, 4, masked=True)
    mask, lengths = problem.mask(), problem.lengths()
    assert mask.shape == (200, 50) and lengths[0] == 50
    np.testing.assert_array_equal(mask.sum(1), lengths)
    # Real steps come first: no True follows a False.
    assert not (mask[:, 1:] & ~mask[:, :-1]).any()
    assert 15 <= np.median(lengths) <= 25
    assert problem.inputs().shape == (200, 50, 3)
    np.testing.assert_array_equal(problem.inputs(), problem.inputs())
    assert problem.name == "lstm 200,50,3,4 masked training"


@pytest.mark.parametrize("named", ["my_races_cells.py", "my_races_cells", "my_package.inner"])
def test_a_cell_of_a_user_is_found_by_file_and_by_module(named, tmp_path, monkeypatch):
    code = "import keras_rnn\n\n\nclass MyCell(keras_rnn.StandardCell):\n    pass\n\n\nclass No:\n    pass\n"
    (tmp_path / "my_races_cells.py").write_text(code)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "inner.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    file = cells.module_file(named)
    assert file is not None and file.startswith(str(tmp_path.resolve()))
    assert cells.user_cells(file) == ["MyCell"]
    # The module itself was not imported: contestants do that.
    assert "my_races_cells" not in sys.modules


def test_no_file_and_no_module_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cells.module_file("missing_cells") is None
    assert cells.module_file("missing_cells.py") is None
    assert cells.module_file("missing.cells") is None


@pytest.mark.parametrize("task", ["classification", "tagging", "translation"])
def test_all_libraries_read_the_same_texts(task, tmp_path):
    prepared = texts.prepare(task, "", tmp_path, most=20)
    examples = prepared.examples()
    assert examples == texts.generated(task, 40)[:20]
    assert len(prepared.words) == len({*prepared.words}) == texts.ROWS - texts.SPECIAL
    assert {word for words, _ in examples for word in words} < {*prepared.words}
    sides = 2 if task == "translation" else 1
    assert prepared.tokens() == sum(len(pair[side]) for pair in examples for side in range(sides))


def test_texts_of_a_folder_are_cut_into_words(tmp_path):
    (tmp_path / "sentiment").mkdir()
    table = "label\ttext\ngood\tA Fine film, 7 of 10!\nbad\t123\n"
    (tmp_path / "sentiment" / "train.tsv").write_text(table)
    prepared = texts.prepare("classification", str(tmp_path), tmp_path / "cut", most=5)
    assert prepared.examples() == [(["a", "fine", "film", ",", "of", "!"], ["good"])]
    assert prepared.labels == ["good"]
