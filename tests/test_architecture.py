"""The arrows of the house: who may import whom, and what may stand in one file only.

    scans, attention → cells → layers → models ┐
                                      pipelines ┴→ tasks → trainer → train, evaluate, predict, export → app

`configs` needs no TensorFlow, so that `--help` answers at once.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What a room of keras_rnn may import of keras_rnn and pipelines, beside itself. A room is a file or
# a folder right under keras_rnn. One that is missing here fails the test: give it its place.
ALLOWED = {
    "start": set(),  # The first import of TensorFlow, quiet.
    "keras_internals": set(),
    "registration": set(),
    "scans": set(),
    "draws": set(),
    "attention": {"keras_internals", "registration"},
    "metrics": set(),
    "rouge": set(),
    "pictures": set(),
    "configs": set(),
    "cells": {"scans", "attention", "draws", "keras_internals", "registration"},
    "layers": {"scans", "cells", "attention", "draws", "keras_internals", "registration"},
    "conversion": {"cells", "layers"},
    "checks": {"cells", "keras_internals", "layers"},
    "models": {"cells", "layers", "attention", "draws", "keras_internals", "registration", "scans"},
    "replicas": {"pipelines"},  # Devices that train together.
    "programs": {"replicas", "pipelines"},  # Compiled functions, counted.
    "precision": set(),
    "workdir": {"configs", "pipelines"},
    "tasks": {"configs", "metrics", "pictures", "pipelines", "rouge"}
    | {"models", "cells", "layers", "attention"},
}
# A run: its examples, its loop and what it says, its workdir opened again.
ALLOWED |= {
    "examples": {"configs", "tasks", "workdir", "pipelines"},
    "optimizer": {"registration"},
    "events": set(),
    "interruption": set(),
    "trainer": {
        "examples",
        "interruption",
        "optimizer",
        "programs",
        "replicas",
        "tasks",
        "workdir",
        "pipelines",
    },
    "reports": {"events", "trainer", "pipelines"},
    "profiler": {"reports", "trainer"},
    "run": {"cells", "configs", "precision", "programs", "tasks", "workdir", "pipelines"},
    "client": set(),  # Copied into exports; it runs where this package is not.
    "runtimes": {"scans", "tasks", "pipelines"},
    "inheritance": {"configs", "run", "tasks", "workdir", "pipelines"},
}
COMMANDS = {"train", "evaluate", "predict", "export"}
for command in COMMANDS:
    # "keras_rnn" is the front door itself, for what a user's own module finds there.
    ALLOWED[command] = set(ALLOWED) - COMMANDS | {"pipelines", "keras_rnn"}
ALLOWED["demo"] = ALLOWED["train"] | COMMANDS
ALLOWED["app"] = ALLOWED["demo"] | {"demo"}
ALLOWED["__main__"] = {"app"}

# Rooms that neither TensorFlow nor Keras may enter when their module is imported.
WITHOUT_TENSORFLOW = {"configs", "app", "__main__"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT / "keras_rnn").parts[0].removesuffix(".py")


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """Full dotted names of all that a file imports, `from a import b` as `a.b`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.relative_to(ROOT).parent.parts
    names = set()
    for node in _nodes(tree, top_level_only):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def _nodes(tree: ast.AST, top_level_only: bool):
    """Every node, or those that run when the module is imported: not the bodies of functions."""
    for child in ast.iter_child_nodes(tree):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if top_level_only and (is_function or _is_for_type_checkers(child)):
            continue
        yield child
        yield from _nodes(child, top_level_only)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def rooms_imported(path: Path) -> set[str]:
    rooms = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "pipelines":
            rooms.add("pipelines")
        elif parts[0] == "keras_rnn":
            # `from keras_rnn import LSTM` goes through the front door, which opens every room.
            is_room = len(parts) > 1 and (
                (ROOT / "keras_rnn" / parts[1]).is_dir()
                or (ROOT / "keras_rnn" / f"{parts[1]}.py").is_file()
            )
            rooms.add(parts[1] if is_room else "keras_rnn")
    return rooms


@pytest.mark.parametrize(
    "path", python_files("keras_rnn"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_room_imports_only_what_lies_below_it(path):
    if path.parent == ROOT / "keras_rnn" and path.name == "__init__.py":
        return  # The front door: it hands out names of every room.
    assert room(path) in ALLOWED, f"{room(path)} has no place in ALLOWED of this file"
    assert rooms_imported(path) - {room(path)} <= ALLOWED[room(path)]


def test_no_public_name_is_that_of_a_room():
    """`keras_rnn.scan` would be the function or the room, as it were imported."""
    import keras_rnn

    assert not set(keras_rnn.__all__) & {room(path) for path in python_files("keras_rnn")}


def test_what_a_user_may_want_of_the_models_is_flat():
    import keras_rnn
    from keras_rnn import models

    assert set(models.__all__) - {"COVERING"} <= set(keras_rnn.__all__)


@pytest.mark.parametrize(
    "path", python_files("pipelines"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_pipelines_never_imports_keras_rnn(path):
    assert rooms_imported(path) <= {"pipelines"}
    assert "keras" not in {name.split(".")[0] for name in imported(path)}


def test_command_line_starts_without_tensorflow():
    for path in python_files("keras_rnn"):
        if room(path) in WITHOUT_TENSORFLOW:
            top_names = {name.split(".")[0] for name in imported(path, top_level_only=True)}
            assert not top_names & {"tensorflow", "keras", "tensorflow_text"}, path


def names_used(path: Path) -> set[str]:
    """Dotted names as they are written in the code (not in comments or strings)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    written = (ast.Attribute, ast.Name)
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, written)}


def test_custom_gradients_stand_in_scans_alone():
    users = {
        room(path) if path.is_relative_to(ROOT / "keras_rnn") else "pipelines"
        for path in python_files("keras_rnn", "pipelines")
        if any(name.split(".")[-1] == "custom_gradient" for name in names_used(path))
    }
    assert users == {"scans"}


def test_what_keras_keeps_to_itself_stands_in_one_file():
    private = re.compile(r"keras\.src|_keras_mask|\b_\w*dropout_mask|_expected_batch_size")
    users = {
        room(path)
        for path in python_files("keras_rnn")
        if any(private.search(name) for name in names_used(path) | imported(path))
    }
    assert users == {"keras_internals"}


def test_lower_case_is_made_in_one_file():
    """Elsewhere the language of the process would have a say in it."""
    users = [
        path
        for path in python_files("keras_rnn", "pipelines")
        if "tf.strings.lower" in names_used(path)
    ]
    assert users == [ROOT / "pipelines" / "text.py"]


def test_flags_stand_in_app_alone():
    importers = {
        str(path.relative_to(ROOT))
        for path in python_files("keras_rnn", "pipelines")
        if any(
            name.startswith(("absl.flags", "absl.app", "ml_collections.config_flags"))
            for name in imported(path)
        )
    }
    assert importers == {"keras_rnn/app.py"}


def test_no_file_is_called_by_a_word_that_says_nothing():
    empty_words = re.compile(r"^_?(utils?|helpers?|common|misc)$")
    files = [path for path in python_files("keras_rnn", "pipelines", "tests", "benchmarks")]
    named = [path for path in files if any(empty_words.match(part) for part in _words(path))]
    assert named == []


def _words(path: Path) -> list[str]:
    return [part.removesuffix(".py") for part in path.relative_to(ROOT).parts]


def test_nothing_unpickles_or_evaluates():
    forbidden_modules = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}
    for path in python_files("keras_rnn", "pipelines"):
        modules = {name.split(".")[0] for name in imported(path)}
        assert not modules & forbidden_modules, path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        called = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
        assert not called & {"eval", "exec", "compile"}, path
        for call in calls:
            for keyword in call.keywords:
                is_true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                assert not (keyword.arg == "allow_pickle" and is_true), path
                assert keyword.arg != "safe_mode" or is_true, path
