"""A run that has been trained, opened from its workdir."""

import dataclasses
import importlib
import importlib.util
import os
import traceback
from collections.abc import Callable

import keras
import ml_collections

import pipelines
from keras_rnn import configs
from keras_rnn.cells import CELLS
from keras_rnn.precision import building_in
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
        except (Exception, SystemExit) as error:  # It is the user's, and may fail in any way.
            raise pipelines.InputError(f"--import={module}: {_failure(error, module)}") from error


def _failure(error: Exception, module: str) -> str:
    """What went wrong in a module, and where."""
    if isinstance(error, ModuleNotFoundError) and error.name in (module, module.split(".")[0]):
        return "there is no such module here or on the Python path"
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}, line {frame.lineno}: {type(error).__name__}: {error}"


def _recorded(modules: str, cell: str, folder: Workdir) -> str:
    """The modules that a run itself names, as far as they may be imported: those of the user who trained it.

    Raises:
        InputError: a module lies in the run's own folder, where it is whatever the folder's maker has put there.
    """
    if cell in CELLS:
        return ""
    for module in filter(None, (name.strip() for name in modules.split(","))):
        try:
            spec = importlib.util.find_spec(module.partition(".")[0])
        except (ImportError, ValueError):
            continue  # Importing it says what is wrong.
        inside = os.path.realpath(folder.path) + os.sep
        places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
        if any(place and (os.path.realpath(place) + os.sep).startswith(inside) for place in places):
            raise pipelines.InputError(
                f"names the module {module} of the run's own folder; --import={module} runs it, if you trust it",
                folder.file("config.json"),
            )
    return modules


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
    """Opens a trained run with its best weights.

    Arguments:
        workdir: the folder that `train` wrote.
        modules: Python modules to import first, with commas between them; by default those that the run names.
        change: changes the config that was read, before anything is made of it; it gets the keys of the task as well.

    Raises:
        InputError: the folder is no run, has no checkpoint yet, or is damaged; a module cannot be imported.
    """
    folder = Workdir(workdir)
    folder.require()
    facts = folder.facts()
    keys = configs.task_keys(facts["task"])
    try:
        config = keys.read(facts["config"])
    except ValueError as error:
        raise pipelines.InputError(error, folder.file("config.json")) from None
    if change is not None:
        change(config, keys)
    best = folder.checkpoint("best")
    if not best:
        raise pipelines.InputError("has no checkpoint yet; train it first", folder.path)
    import_modules(modules or _recorded(facts["import"], config.cell, folder))
    task = make_task(facts["task"], config)
    try:
        task.load(folder.path)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        message = f"its vocabulary or its labels are damaged: {error!r}"
        raise pipelines.InputError(message, folder.path) from None
    with building_in(config.precision):
        model = task.build_model()
    load_weights(model, best)
    programs = Programs(config.jit_compile, config.max_compilations)
    return Run(folder, task, model, config, programs)
