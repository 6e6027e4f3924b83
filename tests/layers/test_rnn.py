"""FusedRNN against stock keras.layers.RNN with the same cell: values and every gradient."""

import itertools

import numpy as np
import pytest

import keras_rnn
from tests.comparing import (
    CELLS,
    EPSILON,
    MASKS,
    MODES,
    assert_as_near,
    assert_equal,
    differentiate,
    make_cell,
    make_mask,
    root_mean_square,
    state_shapes,
    stock,
    values,
)
from tests.covering import covering_array, name_of

BATCH, TIME, FEATURES, UNITS = 6, 5, 3, 4

FACTORS = {
    "cell": list(CELLS),
    "mask": MASKS,
    "precision": ["float64", "float32", "mixed_bfloat16", "mixed_float16"],
    "mode": MODES,
    "time": ["static time", "dynamic time", "one step"],
    "go_backwards": [False, True],
    "return_sequences": [False, True],
    "return_state": [False, True],
    "stateful": [False, True],
    "initial_state": [False, True],
    "zero_output_for_mask": [False, True],
}


def allowed(case):
    return not (case["time"] == "dynamic time" and case["mode"] == "eager")


def compare(case):
    """One case of `FACTORS`: ours in its mode against the stock loop, both against float64."""
    options = {
        name: case[name]
        for name in (
            "go_backwards",
            "return_sequences",
            "return_state",
            "stateful",
            "zero_output_for_mask",
        )
    }
    time = 1 if case["time"] == "one step" else TIME
    x, mask = values(BATCH, time, FEATURES), make_mask(case["mask"], BATCH, time)
    calls = 2 if case["stateful"] else 1
    cell = make_cell(case["cell"], UNITS, FEATURES, case["precision"])
    fused, same = keras_rnn.FusedRNN(cell, **options), stock(cell, **options)
    states = None
    if case["initial_state"]:
        shapes = state_shapes(fused, BATCH)
        states = [values(*shape, seed=5 + i) for i, shape in enumerate(shapes)]
    expected = differentiate(same, x, mask, states, calls=calls)
    actual = differentiate(
        fused,
        x,
        mask,
        states,
        mode=case["mode"],
        dynamic=case["time"] == "dynamic time",
        calls=calls,
    )
    if case["precision"] == "float64":
        assert_equal(actual, expected)
    else:
        exact = stock(make_cell(case["cell"], UNITS, FEATURES, "float64"), **options)
        truth = differentiate(exact, x, mask, states, calls=calls)
        assert_as_near(actual, expected, truth, cell.compute_dtype)
    if case["stateful"]:
        for ours, theirs in zip(fused.states, same.states, strict=True):
            ours, theirs = np.asarray(ours, "float64"), np.asarray(theirs, "float64")
            tolerance = {"float64": 1e-12, "float32": 1e-5}.get(cell.compute_dtype, 5e-2)
            np.testing.assert_allclose(ours, theirs, atol=tolerance)


@pytest.mark.parametrize("case", covering_array(FACTORS, allowed), ids=name_of)
def test_equals_the_stock_loop(case):
    compare(case)


@pytest.mark.parametrize(
    "precision",
    [
        "mixed_bfloat16",
        *(pytest.param(p, marks=pytest.mark.full) for p in ("float32", "mixed_float16")),
    ],
)
@pytest.mark.parametrize("name, time", [("lstm", 5), ("layer_norm_lstm", 5), ("gru", 40)])
def test_errors_over_many_draws_are_no_larger_than_those_of_the_stock_loop(name, time, precision):
    """A single small tensor may be lucky; over draws of weights and inputs luck is out.

    The mean is geometric: where a layer norm divides by next to nothing, one draw's error would outweigh all others.
    """
    errors = {}
    for seed in range(6 if time < 20 else 2):
        options = dict(return_sequences=True, return_state=True)
        x = values(BATCH, time, FEATURES, seed=100 + seed)
        cell = make_cell(name, UNITS, FEATURES, precision, seed=seed)
        exact_cell = make_cell(name, UNITS, FEATURES, "float64", seed=seed)
        mode = "graph" if time < 20 else "xla"
        ours = differentiate(keras_rnn.FusedRNN(cell, **options), x, mode=mode).arrays()
        theirs = differentiate(stock(cell, **options), x).arrays()
        exact = differentiate(stock(exact_cell, **options), x).arrays()
        for place, (mine, other, wanted) in enumerate(
            zip(ours.values(), theirs.values(), exact.values(), strict=True)
        ):
            scale = root_mean_square(wanted)
            pair = [root_mean_square(mine - wanted), root_mean_square(other - wanted)]
            errors.setdefault(place, []).append(np.divide(pair, scale))
    floor = EPSILON[cell.compute_dtype]
    for place, name in enumerate(ours):
        mine, other = np.exp(np.mean(np.log(np.add(errors[place], 1e-12)), axis=0))
        assert mine <= 2 * other + floor, f"{name}: error {mine:.3g}, stock {other:.3g}"


# The full product of what changes the numbers, with all results asked for; then of the call's
# options and what they touch. All of `FACTORS` at once would be 200 000 cases.
NUMBERS = ["cell", "mask", "precision", "mode", "go_backwards"]
CALLS = ["mask", "time", *list(FACTORS)[5:]]
DEFAULTS = {
    "cell": "lstm",
    "precision": "float64",
    "mode": "graph",
    "time": "static time",
    "return_sequences": True,
    "return_state": True,
    "stateful": False,
    "initial_state": True,
    "zero_output_for_mask": False,
}


def product_of(names):
    cases = itertools.product(*(FACTORS[name] for name in names))
    return [{**DEFAULTS, **dict(zip(names, case, strict=True))} for case in cases]


@pytest.mark.full
@pytest.mark.parametrize("case", product_of(NUMBERS), ids=name_of)
def test_equals_the_stock_loop_for_every_cell(case):
    compare(case)


@pytest.mark.full
@pytest.mark.parametrize("case", product_of(CALLS), ids=name_of)
def test_equals_the_stock_loop_for_every_call(case):
    compare(case)
