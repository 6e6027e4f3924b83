"""A run that has been trained, opened from its workdir."""

import dataclasses
import importlib
import os
from collections.abc import Callable

import keras
import ml_collections

import pipelines
from keras_rnn import configs
from keras_rnn.programs import Programs
from keras_rnn.tasks import Task, make_task
from keras_rnn.workdir import Workdir


@dataclasses.dataclass
class Run:
    """A run that has been trained: its task, its model with the best weights, its folder."""

    workdir: Workdir
    task: Task
    model: keras.Model
    config: ml_collections.ConfigDict
    programs: Programs


def import_modules(modules: str) -> None:
    """Imports the user's own modules, so that their cells are registered."""
    for module in filter(None, (name.strip() for name in modules.split(","))):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module.split(".")[0] and error.name != module:
                raise
            raise pipelines.InputError(
                f"--import={module}: there is no such module here or on the Python path"
            ) from None


def load_weights(model: keras.Model, checkpoint: str) -> None:
    """Puts a checkpoint's weights into a model."""
    path = os.path.join(checkpoint, "model.weights.h5")
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise pipelines.InputError(f"cannot be read into this model: {error}", path) from None


def open_run(
    workdir: str,
    modules: str = "",
    change: Callable[[ml_collections.ConfigDict, configs.Keys], None] | None = None,
) -> Run:
    """Opens a trained run with its best weights."""
    folder = Workdir(workdir)
    folder.require()
    facts = folder.read("config.json")
    try:
        keys = configs.task_keys(facts["task"])
        config = keys.read(facts["config"], folder.file("config.json"))
    except (KeyError, TypeError, ValueError) as error:
        raise pipelines.InputError(f"is no config: {error}", folder.file("config.json")) from None
    if change is not None:
        change(config, keys)
    best = folder.checkpoint("best")
    if not best:
        raise pipelines.InputError("has no checkpoint yet; train it first", folder.path)
    import_modules(modules or facts.get("import", ""))
    keras.config.set_dtype_policy(config.precision)
    task = make_task(facts["task"], config)
    task.load(folder.path)
    model = task.build_model()
    load_weights(model, best)
    programs = Programs(config.jit_compile, config.max_compilations)
    return Run(folder, task, model, config, programs)
