"""A run that begins with the weights and the vocabulary of another one: `--config.init_from`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

import pipelines
from keras_rnn import configs
from keras_rnn.run import open_run
from keras_rnn.tasks import Task
from keras_rnn.workdir import Workdir

# Labels that a line names.
NAMED = 20

# What the entries along an axis stand for, in the old model and in the new one.
Names = tuple[Sequence[Any], Sequence[Any]]

# A weight of the old model, its place in the new one, and the names along some of its axes.
Pair = tuple[keras.Variable, keras.Variable, Mapping[int, Names]]


@dataclasses.dataclass
class Parent:
    """The run that another one begins with: its folder as the user named it, its task, its best weights."""

    path: str
    task: Task
    model: keras.Model


def open_parent(path: str, task: Task) -> Parent:
    """Opens the run that `task` is to begin with.

    Raises:
        InputError: it is no run, it is damaged, or its settings are not those that both must share; all of them are
            named at once.
    """
    if not Workdir(path).exists():
        raise _error(path, "it is no folder of a train; there is no config.json")
    try:
        run = open_run(path)
    except pipelines.InputError as error:
        raise _error(path, error) from None
    if run.task.reads != task.reads:
        raise _error(
            path, f"{run.task.name} reads {run.task.reads}, {task.name} reads {task.reads}"
        )
    _require_alike(path, run.task, task)
    return Parent(path, run.task, run.model)


def _error(path: str, what: object) -> pipelines.InputError:
    return pipelines.InputError(f"--config.init_from={path}: {what}")


def _require_alike(path: str, old: Task, new: Task) -> None:
    keys = configs.task_keys(new.name)
    # A task that leaves out a shared key, as the kind of tokens, does what its default says.
    defaults = {key.name: key.default for key in configs.config.shared_keys()}
    before, now = (
        {**defaults, **configs.flatten(task.config), "embedding_dim": task.embedding_dim}
        for task in (old, new)
    )
    differing = []
    for key in keys.values():
        shared = key.part == "encoder" or key.part == "task" and old.name == new.name
        if not shared or before[key.name] == now[key.name]:
            continue
        if key.name == "vectors" and before["vectors"] and now["vectors"]:
            continue  # Those of the old run are among its weights, wherever they came from.
        differing.append(key.name)
    if not differing:
        return
    pairs = ", ".join(
        f"{name}={_typed(before[name])} (here {_typed(now[name])})" for name in differing
    )
    flags = " ".join(f"--config.{name}={_typed(before[name])}" for name in differing)
    raise _error(path, f"it was trained with {pairs}; to begin with its weights add {flags}")


def _typed(value: bool | int | float | str) -> str:
    """A value as it is typed on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def take_over(parent: Parent, task: Task, model: keras.Model) -> str:
    """Gives a new model the weights of the old one, label by label and feature by feature; says what it took.

    A model's encoder of text is its attribute `encoder`. Of another task's model the encoder alone is taken. What the
    encoders read of a token beside its own vector (characters, attributes, pretrained vectors) is taken where both have
    it; weights that multiply anything else are left out, or begin as those of a new model.

    Raises:
        InputError: the data were encoded with another vocabulary.
    """
    same_task = parent.task.name == task.name
    pairs, parts, encoders = [], set(), ()
    if hasattr(model, "encoder"):
        pairs, parts = _encoder_pairs(parent, task, model)
        encoders = (("new", model.encoder), ("left out", parent.model.encoder))
    if same_task:
        pairs += _other_pairs(parent, task, model)
    for pair in pairs:
        _copy(*pair)
    count, total = len(pairs), len(model.weights)
    what = f"all {total} weights" if count == total else f"{count} of {total} weights"
    said = [what if same_task else f"the encoder of its {parent.task.name}, {what}"]
    if same_task:
        for words, names, others in (
            ("new rows for labels", task.labels, parent.task.labels),
            ("left out: labels", parent.task.labels, task.labels),
        ):
            if different := [name for name in names if name not in set(others)]:
                more = ", …" if len(different) > NAMED else ""
                said.append(f"{words} {', '.join(different[:NAMED])}{more}")
    for words, encoder in encoders:
        if different := [name for name in encoder.parts if name not in parts]:
            said.append(f"{words}: what it reads of a word's {', '.join(different)}")
    return f"from {parent.path}: {'; '.join(said)}"


def _encoder_pairs(parent: Parent, task: Task, model: keras.Model) -> tuple[list[Pair], set[str]]:
    """The weights of both encoders, and the names of the parts that both have."""
    old, new = parent.model.encoder, model.encoder
    before, now = parent.task.vocabularies, task.vocabularies
    pairs, parts = [], set()
    for name, layer in new.parts.items():
        known = name in old.parts and before[name].tokens_list == now[name].tokens_list
        if known and _shapes(old.parts[name]) == _shapes(layer):
            parts.add(name)
            pairs += [(*pair, {}) for pair in zip(old.parts[name].weights, layer.weights)]
    if "embedding" not in parts:
        raise _error(parent.path, "this run's data were encoded with another vocabulary than its")
    # A part that only one of them has is named apart, so that its features never meet.
    names = tuple(
        [(name, number, None if name in parts else encoder.name) for name, number in encoder.inputs]
        for encoder in (old, new)
    )
    for *pair, axis in zip(old.stack.weights, new.stack.weights, _input_axes(new)):
        pairs.append((*pair, {} if axis is None else {axis: names}))
    return pairs, parts


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _input_axes(encoder: keras.layers.Layer) -> list[int | None]:
    """Along which axis, if any, each weight of the recurrent layers has an entry for each feature that they read."""
    stack = type(encoder.stack).from_config(encoder.stack.get_config())
    stack.build((None, None, encoder.width + 1))
    return [
        next((axis for axis, (a, b) in enumerate(zip(shape, wider)) if a != b), None)
        for shape, wider in zip(_shapes(encoder.stack), _shapes(stack))
    ]


def _other_pairs(parent: Parent, task: Task, model: keras.Model) -> list[Pair]:
    """The weights outside of the encoder, of two models of one task."""
    labels = (parent.task.labels, task.labels)
    axes = {id(weight): dict.fromkeys(axes, labels) for weight, axes in task.label_axes(model)}
    old, new = ({_place(w): w for w in _outside(m)} for m in (parent.model, model))
    # A reader that may say that there is no answer has weights for it, another one has none.
    shared = [place for place in new if place in old]
    return [(old[place], new[place], axes.get(id(new[place]), {})) for place in shared]


def _outside(model: keras.Model) -> list[keras.Variable]:
    """The weights outside of the encoder."""
    inside = {id(weight) for weight in model.encoder.weights} if hasattr(model, "encoder") else ()
    return [weight for weight in model.weights if id(weight) not in inside]


def _place(weight: keras.Variable) -> str:
    """Where a weight stands in its model, whose own name counts the models of a process."""
    return weight.path.partition("/")[2]


def _copy(old: keras.Variable, new: keras.Variable, named: Mapping[int, Names]) -> None:
    """Puts the entries of an old weight where their names stand in a new one; the others stay as they are."""
    value = np.array(new)
    source, target = [], []
    for axis, size in enumerate(new.shape):
        before, now = named.get(axis, (range(old.shape[axis]), range(size)))
        place = {name: number for number, name in enumerate(before)}
        known = [number for number, name in enumerate(now) if name in place]
        source.append([place[now[number]] for number in known])
        target.append(known)
    value[np.ix_(*target)] = np.array(old)[np.ix_(*source)]
    new.assign(value)
