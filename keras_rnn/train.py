"""Training: the command, from files to a trained workdir."""

import contextlib
import functools
import hashlib
import os
import platform
import shlex
import sys
from typing import Any

import keras
import ml_collections
import tensorflow as tf

import keras_rnn
import pipelines
from keras_rnn import configs
from keras_rnn.examples import Data, open_data, prepare_data
from keras_rnn.inheritance import Parent, open_parent, take_over
from keras_rnn.precision import building_in
from keras_rnn.profiler import Profiler
from keras_rnn.programs import Programs, device_name
from keras_rnn.replicas import Replicas, make_replicas
from keras_rnn.reports import Bar, Board, Lines, log, show_result, show_words
from keras_rnn.run import import_modules, load_weights
from keras_rnn.tasks import Task, make_task
from keras_rnn.trainer import Trainer, read_state
from keras_rnn.workdir import Workdir


def train(
    task_name: str,
    config: ml_collections.ConfigDict,
    workdir: str,
    train_data: str = "",
    dev_data: str = "",
    modules: str = "",
) -> dict[str, Any]:
    """Trains a task, or goes on with it, and writes everything into the workdir; gives the metrics.

    With several workers the chief alone writes; the others wait for it where they need what it writes.
    """
    folder = Workdir(workdir)
    facts = _describe(task_name, config, train_data, dev_data, modules)
    # Before anything else is asked of TensorFlow, for its servers are to be started first.
    replicas = make_replicas(config.distribute, log)
    changed = []
    if folder.exists():
        changed = _refuse_changes(folder, folder.facts(), facts)
        if folder.index().get("finished") and not _goes_on(folder, config, changed, replicas):
            return folder.read("metrics.json", default={})
    import_modules(modules)
    try:
        task = make_task(task_name, config)
        parent = None
        if config.get("init_from") and not folder.checkpoint("last"):
            parent = open_parent(config.init_from, task)
            task.parent = parent.task
        keras.utils.set_random_seed(config.seed)
        folder.make(with_data=not train_data)
        locked = folder.locked() if replicas.is_chief else contextlib.nullcontext()
        with building_in(config.precision), locked:
            if replicas.is_chief:
                pipelines.remove_parts(folder.path)
                data = prepare_data(task, folder, train_data, dev_data, config.seed)
            replicas.wait()
            if not replicas.is_chief:
                data = open_data(task, folder)
            return _train(task, folder, data, changed, facts, replicas, parent)
    except tf.errors.OpError as error:
        if replicas.workers == 1:
            raise
        raise replicas.lost(error) from None


def _watching(folder: Workdir) -> str:
    """The command that shows the training."""
    return f"tensorboard --logdir {shlex.quote(folder.tensorboard)}"


def _describe(task_name, config, train_data, dev_data, modules) -> dict[str, Any]:
    return {
        "task": task_name,
        "train_data": train_data,
        "dev_data": dev_data,
        "import": modules,
        "config": configs.flatten(config),
        "versions": {
            "keras_rnn": keras_rnn.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
    }


def _refuse_changes(workdir: Workdir, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Raises for what cannot change in a workdir; gives the names of what changed and may."""
    for name in ("task", "train_data", "dev_data"):
        if old[name] != new[name]:
            raise pipelines.InputError(
                f"was made with --{name}={old[name]}, not {new[name] or 'without it'}; "
                "use another --workdir",
                workdir.path,
            )
    keys = configs.task_keys(new["task"])
    defaults = {key.name: key.default for key in keys.values()}
    before = {**defaults, **old["config"]}
    changed = configs.changed_keys(before, new["config"])
    refused = [name for name in changed if name not in configs.config.CONTINUABLE]
    if refused:
        pairs = ", ".join(f"{n}={before.get(n)} (now {new['config'].get(n)})" for n in refused)
        free = ", ".join(configs.config.CONTINUABLE)
        raise pipelines.InputError(
            f"was made with {pairs}; to go on only {free} may change; use another --workdir",
            workdir.path,
        )
    return changed


def _goes_on(
    folder: Workdir, config: ml_collections.ConfigDict, changed: list[str], replicas: Replicas
) -> bool:
    """Whether a finished run has more to do; says so if it has not."""
    state = read_state(folder.checkpoint("last"))
    scores = folder.read("metrics.json", default={})
    facts = scores.get("training", {})
    if not isinstance(facts, dict) or facts.get("steps") != state.step:
        # It was ended between its last step and its scores.
        return True
    spent = state.epoch >= config.epochs
    spent |= bool(config.max_steps) and state.step >= config.max_steps
    if changed and not spent:
        return True
    reason = folder.index()["finished"]
    if replicas.is_chief:
        log(
            f"{folder.path} is finished: {reason} (epoch {state.epoch}, step {state.step}); "
            "raise --config.epochs or --config.max_steps to go on"
        )
    return False


def _train(
    task: Task,
    folder: Workdir,
    data: Data,
    changed: list[str],
    facts: dict[str, Any],
    replicas: Replicas,
    parent: Parent | None,
) -> dict[str, Any]:
    config = task.config
    programs = Programs(config.jit_compile, config.max_compilations, replicas)
    with replicas.strategy.scope():
        model = task.build_model()
        notes = [] if folder.checkpoint("last") else _begin(task, model, parent)
        trainer = Trainer(task, model, folder, data, programs)
        resumed = trainer.restore()
    _check_same_start(trainer)
    # The chief alone has looked at the files.
    (new_dev,) = replicas.from_chief(float(data.new_dev))
    if resumed and new_dev:
        # What was best on other data is no measure for what comes.
        trainer.state.best = None
        trainer.state.judged_without_better = 0
        trainer.save(better=False, finished="")
    if resumed and {*changed} - {*configs.config.WITHOUT_EFFECT}:
        # Whoever changed epochs or the learning rate wants to see what comes of it. Kept before config.json has the
        # change, after which the same command would find nothing changed.
        trainer.state.judged_without_better = 0
        trainer.save(better=False, finished="")
    callbacks = []
    if replicas.is_chief:
        # From here on this is a run: until now anything could still be wrong with what was given.
        folder.write(facts, "config.json")
        _announce(trainer, notes, resumed)
        server = functools.cache(lambda: task.server(model))
        shown = Bar if sys.stdout and sys.stdout.isatty() else Lines
        callbacks = [shown(trainer), Board(trainer, server)]
        if config.profile_steps:
            callbacks.append(Profiler(trainer, config.profile_steps))
    if parent:
        # Whoever goes on asks nothing of the other run any more.
        trainer.save(better=False, finished="")
    reason = trainer.run(callbacks)
    if not trainer.state.step:
        # epochs=0: the model as it was initialised.
        trainer.save(better=True, finished=reason)
    if replicas.is_chief:
        _conclude(trainer, reason)
    replicas.wait()
    return folder.read("metrics.json")


def _check_same_start(trainer: Trainer) -> None:
    """Raises unless all workers start from the same checkpoint."""
    step = trainer.state.step
    (chiefs,) = trainer.replicas.from_chief(step)
    if step != chiefs:
        raise pipelines.InputError(
            f"stands at step {step}, the chief at {chiefs:.0f}; all workers need the same folder",
            trainer.workdir.path,
        )


def _begin(task: Task, model: keras.Model, parent: Parent | None) -> list[str]:
    """Gives a new model what it does not begin to learn from nothing; says what."""
    notes = []
    if "vectors" not in task.inherited:
        notes.append(task.initialize(model))
    if parent:
        notes.append(take_over(parent, task, model))
    return [note for note in notes if note]


def _announce(trainer: Trainer, notes: list[str], resumed: bool) -> None:
    task, config, programs = trainer.task, trainer.config, trainer.programs
    if programs.fallback:
        log(f"XLA has no compiler here, going on without: {programs.fallback}")
    xla = "XLA on" if programs.jit_compile else "XLA off"
    parameters = trainer.model.count_params()
    cut = [f"{count:,} {reason}" for reason, count in trainer.data.cut.items()]
    log(
        f"{task.name}: {device_name()}, {config.precision}, {xla}; {parameters:,} parameters; "
        f"{len(trainer.data.train):,} training and {len(trainer.data.dev):,} dev examples"
        f"; {', '.join(cut) if cut else 'nothing cut'}"
    )
    shapes = trainer.train_batches.shapes
    lengths = ", ".join("×".join(map(str, lengths)) for _, *lengths in shapes)
    padding = trainer.train_batches.padding_share
    fewest, most = (bound(rows for rows, *_ in shapes) for bound in (min, max))
    rows = f"{most}" if fewest == most else f"{fewest} to {most}"
    if trainer.data.changed:
        log("the data files have changed since the last time: they were read again")
    log(f"batches of {rows}, padded to {lengths}; {padding:.1%} of it padding")
    if programs.jit_compile and tf.config.list_logical_devices("GPU"):
        log(
            "XLA compiles a program for each of these shapes when it first comes, on a GPU for tens of seconds; "
            "--config.max_shapes is how many there may be"
        )
    replicas = trainer.replicas
    if config.distribute != "none":
        processes = "1 process" if replicas.workers == 1 else f"{replicas.workers} processes"
        copies = "1 replica" if replicas.count == 1 else f"{replicas.count} replicas"
        log(f"{copies} in {processes} share each batch")
    for note in notes:
        log(note)
    log(_watching(trainer.workdir))
    if resumed:
        state = trainer.state
        log(f"going on after epoch {state.epoch}, step {state.step}")


def _short_name(folder: Workdir) -> str:
    """The folder's own name, with a mark by which those of the same name differ."""
    mark = hashlib.sha256(os.path.realpath(folder.path).encode()).hexdigest()[:4]
    return f"{os.path.basename(folder.path)} {mark}"


def _conclude(trainer: Trainer, reason: str) -> None:
    task, folder, state, programs = trainer.task, trainer.workdir, trainer.state, trainer.programs
    config = task.config
    best = folder.checkpoint("best")
    load_weights(trainer.model, best)
    forward = trainer.last_forward()
    calibration = task.calibrate(forward, trainer.dev_batches, folder.path)
    judged = task.judge(forward, trainer.dev_batches)
    facts = {
        "finished": reason,
        "epochs": state.epoch,
        "steps": state.step,
        "best_epoch": state.best_epoch,
        "best_step": state.best_step,
        "seconds": round(state.seconds, 3),
        "programs": programs.count,
        "compile_seconds": round(programs.seconds, 3),
        "parameters": int(trainer.model.count_params()),
        "train_examples": len(trainer.data.train),
        "dev_examples": len(trainer.data.dev),
        **trainer.throughput(),
        **calibration,
    }
    metrics = {**judged, "training": facts}
    folder.write(metrics, "metrics.json")
    os.makedirs(os.path.join(folder.tensorboard, "train"), exist_ok=True)
    settings = configs.flatten(config)
    show_result(folder.tensorboard, _short_name(folder), settings, judged, state.step)
    show_words(os.path.join(folder.tensorboard, "train"), *task.word_vectors(trainer.model))
    log(
        f"finished: {reason}; best dev {task.metric} {judged[task.metric]:.4f} "
        f"(epoch {state.best_epoch})"
    )
    log(
        f"compiled {programs.count} {programs.kind} in {programs.seconds:.1f} s; "
        f"{facts['examples_per_second']:,.0f} examples/s, "
        f"{facts['tokens_per_second']:,.0f} real tokens/s"
    )
    log(f"model {best}, scores {folder.file('metrics.json')}")
    log(_watching(folder))
