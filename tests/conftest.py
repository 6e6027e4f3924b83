"""What every test starts from: a quiet TensorFlow, no window, the same seed, default precision.

The environment is set here because it must stand before TensorFlow is first imported. Tests that
need no TensorFlow do not import it: the fixtures look at what is loaded already.
"""

import functools
import gc
import os
import sys

import hypothesis
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
# Several processes test side by side, on one GPU where there is one.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

# The same examples in every run, so that a red run is the change's doing and comes again; new ones
# are looked for with `pytest --hypothesis-profile=search`.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("same")


# Modules that take half a minute or more, the longest first: one that begins last would leave the other process idle.
LONGEST = (
    "test_notebooks.py",
    "test_speech_recognition.py",
    "test_readme.py",
    "test_going_on.py",
    "test_question_answering.py",
    "test_resuming.py",
    "test_runtimes.py",
    "test_classification.py",
    "test_attention_cell.py",
    "test_train.py",
    "test_summarization.py",
    "test_trainer.py",
    "test_demo.py",
    "test_tagging.py",
    "test_translation.py",
    "test_predict.py",
)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


def pytest_collection_finish():
    """Lets the garbage collector forget the million objects of TensorFlow and Keras: it goes through all of them again
    and again while graphs are traced.
    """
    gc.set_threshold(50_000, 20, 50)
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def forgets_what_a_module_leaves():
    """The same of what outlives the tests of a module, as graphs do in the caches of TensorFlow and Keras."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def same_start():
    """Seeds every generator before a test and puts back Keras's global settings after it."""
    if "tensorflow" in sys.modules:  # a GPU's products would be rounded to 10 bits
        sys.modules["tensorflow"].config.experimental.enable_tensor_float_32_execution(False)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")
        sys.modules["keras"].config.set_floatx("float32")
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def forgets_registered_classes():
    """Takes classes that a test registers with Keras for saving (all but ours) off the list again."""
    import keras

    registered = keras.saving.get_custom_objects()
    before = set(registered)
    yield
    for name in set(registered) - before:
        if not name.startswith("keras_rnn>"):
            del registered[name]


@pytest.fixture(scope="module")
def opened_once():
    """Commands of a module open a run once for the same settings: what one of them traced answers the next."""
    from keras_rnn import app

    really, opened = app._open, {}

    def open_once(values, overrides):
        settings = values["workdir"], tuple(sorted(overrides.items()))
        if settings not in opened:
            run = opened[settings] = really(values, overrides)
            run.task.server = functools.cache(run.task.server)
        return opened[settings]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "_open", open_once)
        yield


@pytest.fixture(autouse=True, scope="module")
def empty_session():
    """Frees the graphs that a module's tests built, so that memory does not grow over the suite."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
