"""The races' own parts: who runs, what is counted, what is written. No time is judged."""

import json
import sys

import numpy as np
import pytest

from benchmarks import cells, growth, results, serving, start, texts, training
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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where results are written for the time being."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(results, "machine", lambda: {"machine": "abacus", "date": "2020-01-02"})
    monkeypatch.setattr(results, "gpu", lambda: "")
    return tmp_path


def written(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def test_training_and_inference_have_means_of_their_own():
    shares = {"lstm training": 0.5, "gru training": 2.0, "lstm inference": 4.0}
    shown = "geometric mean 1.59 (training 1.00, inference 4.00), 0.50 to 4.00"
    assert cells.summary_of(shares) == shown


def test_a_race_is_written_for_people_and_for_programs(folder):
    header, rows = ["what", "ms"], [["small", 1.23456], ["large", 12345.6], ["lost", float("nan")]]
    results.write(
        "beads", "Beads", "Moved by hand.", header, rows, ["half"], {"Keras": {"small": 0.5}}
    )
    table = (folder / "beads.md").read_text().splitlines()
    assert table[0] == "# Beads"
    assert table[-3:] == ["| small | 1.23 |", "| large | 12,346 |", "| lost |  |"]
    assert "![Beads](beads.png)" in table
    data = json.loads((folder / "beads.json").read_text())
    assert data["rows"][:2] == rows[:2] and data["facts"]["machine"] == "abacus"
    assert (folder / "beads.png").read_bytes().startswith(b"\x89PNG")
    index = (folder / "README.md").read_text()
    assert "## [Beads](beads.md)\n\n2020-01-02, abacus\n\n- half\n" in index


def test_a_picture_says_whose_time_ours_is_a_share_of():
    figure = results.draw({"compiled p50": {"one": 2.0}}, "Serving", "the fastest other")
    assert figure.axes[0].get_xlabel().startswith("our time as a share of the fastest other's;")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["compiled p50"]


def test_what_a_gpu_did_stands_beside_what_a_cpu_did(folder, monkeypatch):
    results.write("beads", "Beads", "Moved by hand.", ["what"], [["small"]], [])
    monkeypatch.setattr(results, "gpu", lambda: "Graphite")
    results.write("beads", "Beads", "Moved by light.", ["what"], [["small"]], [])
    assert (folder / "beads.md").read_text().startswith("# Beads\n\nMoved by hand.")
    assert (folder / "beads_gpu.md").read_text().startswith("# Beads on a GPU\n\nMoved by light.")


def test_cells_are_reported(folder):
    found = [
        (Problem("lstm", 1, 2, 3, 4), {"ours": 1.0, "Keras": 4.0, "Keras XLA": 2.0}),
        (Problem("gru", 1, 2, 3, 4), {"ours": 1.0, "Keras": 0.5, "PyTorch": 4.0}),
    ]
    cells.report("cells", "Cells", "note", found)
    assert written(folder, "cells")["summary"] == [
        "ours / Keras: geometric mean 1.00, 0.50 to 2.00",
        "ours / PyTorch: geometric mean 0.25, 0.25 to 0.25",
    ]
    assert written(folder, "cells")["rows"][0][1:4] == [1000.0, 4000.0, 2000.0]


def test_training_is_reported(folder):
    found = {}
    for name, ours in (("tagging", 3.0), ("tagging, softmax", 2.0)):
        seconds = {"ours": ours, "Keras": 6.0, "PyTorch": 1.0, training.SPARSE: 0.1}
        found[name] = (seconds, {who: 60 / value for who, value in seconds.items()})
    training.report(found, data="")
    assert written(folder, "training")["summary"] == [
        "our time / Keras: tagging 0.50, tagging, softmax 0.33",
        "our time / PyTorch: tagging 3.00, tagging, softmax 2.00",
        "the conditional random field costs us +50%",
    ]
    assert written(folder, "training")["rows"][0] == ["tagging", 20.0, 10.0, 60.0, 600.0, 0.5, 3.0]
    assert "The sentences are generated." in (folder / "training.md").read_text()


def test_serving_is_reported_by_the_fastest_other(folder):
    calls = {
        "serving_default": [0.002] * 98 + [0.01] * 2,
        "compiled": [0.001] * 100,
        "ONNX Runtime": [0.004] * 100,
        "TorchScript": [0.001] * 98 + [0.02] * 2,
    }
    times = serving.percentiles(calls)
    assert times["serving_default"] == pytest.approx((2.0, 10.0))
    shares = serving.shares(times)
    assert shares == pytest.approx(
        {
            "serving_default p50": 2.0,
            "serving_default p99": 2.5,
            "compiled p50": 1.0,
            "compiled p99": 0.25,
        }
    )
    serving.report({"one": times})
    assert written(folder, "serving")["rows"][0][-4:] == pytest.approx([2.0, 2.5, 1.0, 0.25])
    assert serving.shares({"compiled": (1.0, 1.0)}) == {}


def test_growth_is_reported_as_powers(folder):
    assert growth.exponent([4, 64, 256], [99.0, 8.0, 16.0]) == pytest.approx(0.5)
    found = {}
    for time in (256, 1024):
        for kind, root in (("all kept", 1.0), ("rematerialize=True", 0.5)):
            bytes_kept = int(2**22 * time**root)
            measured = growth.Measured(time / 1000, 2 * bytes_kept, 2**30, bytes_kept)
            found["time", time, kind] = (Problem("lstm", 16, time, 128, 128), measured)
    for units in (512, 1024):  # of memory that small nothing is said
        small = growth.Measured(units / 1000, 2**20, 2**30, 2**20)
        found["units", units, "all kept"] = (Problem("lstm", 16, 256, units, units), small)
    found["large", 16384, "rematerialize=True"] = (growth.LARGE, measured)
    growth.report(found)
    assert written(folder, "growth")["summary"] == [
        "all kept, time from 256 to 1024: time grows as time^1.00, memory beyond inputs and outputs as time^1.00",
        "rematerialize=True, time from 256 to 1024: time grows as time^1.00, memory beyond inputs and outputs as "
        "time^0.50",
        "all kept, units from 512 to 1024: time grows as units^1.00",
        "16384 steps of 32 x 256 units with rematerialize=True: 1.00 GiB, the process and TensorFlow included",
    ]
    assert (folder / "growth.png").exists()


def test_the_start_is_reported(folder):
    facts = {
        "lengths": 4,
        "batches": 9,
        "programs, epoch 1": 4,
        "programs, epoch 2": 0,
        "files in the cache": 6,
        "seconds of compiling": 8.0,
    }
    cached = {**facts, "seconds of compiling": 2.0}
    start.report(
        {"keras_rnn": 2.2, "TensorFlow with Keras": 2.0, "keras-rnn train --help": 0.1},
        {"ours": 3.0, "Keras": 2.0, "Keras XLA": 4.0},
        {"nothing in the cache": facts, "again, from the cache": cached},
    )
    assert written(folder, "start")["summary"] == [
        "import: 1.10 of TensorFlow with Keras",
        "first step: 1.50 of the faster of stock Keras's",
        "4 programs for 4 padded lengths in the first epoch, 0 in the second",
        "compiling takes 0.25 of the time where the cache has the programs",
    ]


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
