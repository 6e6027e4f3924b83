"""What importing the package does to the process."""

import os
import subprocess
import sys

import pytest

from keras_rnn.start import LIVE_RANGES, ONE_GRAPH, compile_loops_well

FAULTS = """
import resource
import numpy as np
import keras_rnn

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(16_000_000, "float32")  # 64 MB, free at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc is that of glibc")
@pytest.mark.parametrize(("variables", "kept"), [({}, True), ({"MALLOC_TOP_PAD_": "0"}, False)])
def test_memory_is_kept_unless_the_environment_says_otherwise(variables, kept):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC"))}
    ran = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env={**environment, **variables, "NUMPY_MADVISE_HUGEPAGE": "0"},  # small pages are counted
        capture_output=True,
        text=True,
        check=True,
    )
    pages = 64_000_000 // os.sysconf("SC_PAGE_SIZE")
    assert (int(ran.stdout) < pages / 10) == kept


HIS = "--xla_gpu_graph_min_graph_size=9"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, [LIVE_RANGES, *ONE_GRAPH]),
        ("--xla_dump_to=x", ["--xla_dump_to=x", LIVE_RANGES, *ONE_GRAPH]),
        (HIS, [HIS, LIVE_RANGES, ONE_GRAPH[1]]),
        ("flags.txt", ["flags.txt"]),
    ],
)
def test_flags_of_the_compiler_are_added_to_those_of_the_environment(before, after, monkeypatch):
    if before is None:
        monkeypatch.delenv("XLA_FLAGS", raising=False)
    else:
        monkeypatch.setenv("XLA_FLAGS", before)
    for _ in range(2):  # a second time there is nothing to add
        compile_loops_well()
        assert os.environ["XLA_FLAGS"].split() == after


LOOP = """
import re
import keras_rnn
import tensorflow as tf

layer = keras_rnn.FusedRNN(keras_rnn.LSTMCell(64), return_sequences=True)
x = tf.ones([16, 10, 8])
layer(x)
compiled = tf.function(lambda x: layer(x), jit_compile=True, autograph=False)
program = compiled.experimental_get_compiler_ir(x)(stage="optimized_hlo")
[body] = re.findall(r"body=%([\\w.]+)", program)
[steps] = re.findall(rf"^%{re.escape(body)} .*?^}}", program, re.DOTALL | re.MULTILINE)
print(len(re.findall(r"f32\\S* copy\\(", steps)))
"""


@pytest.mark.parametrize(
    ("flags", "copies"),
    [
        ("", False),
        ("--xla_cpu_multi_thread_eigen=true", False),
        ("--xla_cpu_copy_insertion_use_region_analysis=false", True),
    ],
)
def test_a_loop_copies_nothing_that_it_carries_unless_the_environment_says_otherwise(flags, copies):
    ran = subprocess.run(
        [sys.executable, "-c", LOOP],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (int(ran.stdout) > 0) == copies
