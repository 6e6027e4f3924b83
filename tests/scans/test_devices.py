"""With a GPU the loop is another: what it gives is the same. A CPU computes it here, told that it is not alone."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import keras_rnn
from keras_rnn.scans.devices import only_cpus
from tests.comparing import MASKS, assert_equal, differentiate, make_cell, make_mask, values
from tests.covering import covering_array, name_of


@pytest.fixture
def with_gpu(monkeypatch):
    """Lets TensorFlow say that there is a GPU."""

    def say():
        devices = [tf.config.LogicalDevice("cpu", "CPU"), tf.config.LogicalDevice("gpu", "GPU")]
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda *_: devices)

    return say


def test_a_gpu_is_noticed(with_gpu):
    if not tf.config.list_physical_devices("GPU"):
        assert only_cpus()
    with_gpu()
    assert not only_cpus()


FACTORS = {
    "name": ["lstm", "gru", "layer_norm_lstm"],
    "mask": MASKS,
    "mode": ["graph", "xla"],
}
FEW = covering_array(FACTORS)
ALL = [dict(zip(FACTORS, case, strict=True)) for case in itertools.product(*FACTORS.values())]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if case in FEW else pytest.mark.full) for case in ALL],
    ids=name_of,
)
def test_slices_read_within_the_step_are_those_read_ahead(with_gpu, case):
    x, mask = values(8, 7, 5, scale=0.5), make_mask(case["mask"], 8, 7)
    results = []
    for there in (False, True):
        if there:
            with_gpu()
        layer = keras_rnn.FusedRNN(
            make_cell(case["name"], 160, 5, "float64"),
            return_sequences=True,
            return_state=True,
            zero_output_for_mask=True,
        )
        results.append(differentiate(layer, x, mask, mode=case["mode"]))
    assert_equal(*results)


def test_a_loop_for_a_gpu_carries_no_slices(with_gpu):
    layer, x = keras_rnn.LSTM(160, return_sequences=True), tf.ones([8, 7, 5])

    def carried():
        def run(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = tf.reduce_sum(layer(x))
            return tape.gradient(total, x)

        graph = tf.function(run).get_concrete_function(x).graph
        loops = [op for op in graph.get_operations() if op.type in ("While", "StatelessWhile")]
        assert len(loops) == 2
        shapes = [tuple(leaf.shape) for loop in loops for leaf in loop.inputs]
        # Two slices of the projection, of whole rows or of halves; the states are [rows, 160].
        return sum(shape in ((8, 640), (4, 640)) for shape in shapes)

    assert carried() > 0
    with_gpu()
    assert carried() == 0


@pytest.mark.parametrize("every", [None, 3])
def test_chunks_and_no_time_steps(with_gpu, every):
    with_gpu()
    layer = keras_rnn.FusedRNN(
        make_cell("lstm", 160, 5, "float64"), return_sequences=True, rematerialize=every
    )
    assert layer(np.ones([8, 0, 5])).shape == (8, 0, 160)
    stock = keras_rnn.FusedRNN(layer.cell, return_sequences=True)
    x = values(8, 7, 5, scale=0.5)
    assert_equal(differentiate(layer, x, mode="xla"), differentiate(stock, x, mode="graph"))
