"""The command line: `keras-rnn train | evaluate | predict | export | demo`.

The only file with absl flags. It reads what was typed and hands plain values on; TensorFlow is imported only
when a command has work to do. A mistake that the user can mend ends as one line on standard error and
exit status 1.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence

from absl import flags
from ml_collections import config_flags

from keras_rnn import configs, interruption

USAGE = """\
keras-rnn: recurrent models for text, from a file to a SavedModel

  keras-rnn train    --task=T --workdir=W [--train_data=F,... --dev_data=F,...] [--config.K=V ...] [--import=MODULE]
  keras-rnn evaluate --workdir=W [--data=F,...]
  keras-rnn predict  --workdir=W [--input=F] [--output=F] [--output_format=jsonl|text|same]
  keras-rnn export   --workdir=W --output=DIR [--format=saved_model|tflite|onnx]
  keras-rnn demo     [--task=T]

Tasks: {tasks}.
Lists of files are comma-separated; globs and .gz are read. Without --train_data a task trains on its built-in data.
evaluate, predict and export also take --config.search.K=V, the settings of a search: its beam, its lengths, ...

  keras-rnn COMMAND --help           what a command takes
  keras-rnn train --task=T --help    every --config key of a task, its default and what it means
"""

HEADLINES = {
    "train": "Train a model, or go on with one: a second train on a workdir continues from its last checkpoint.",
    "evaluate": "Measure the best checkpoint; the last line is one JSON object.",
    "predict": "Answer each row of the input, in order: a file of the task's format, or one text a line.",
    "export": "Write the best checkpoint as a SavedModel that takes raw text, or for another runtime.",
    "demo": "Train on built-in data, evaluate, export, ask a few questions: two minutes on two cores.",
}

# name: (default, meaning), by command.
_WORKDIR = {"workdir": ("", "folder of the run")}
_IMPORT = {"import": ("", "modules to import first (comma-separated): your own cells")}
FLAGS = {
    "train": {
        "task": ("", "what to learn: {tasks}"),
        "workdir": ("", "folder of the run: model, vocabulary, logs; made if it is not there"),
        "train_data": ("", "training files; without them the task's built-in data"),
        "dev_data": ("", "files to measure on; without them a seeded tenth of the training data"),
        **_IMPORT,
    },
    "evaluate": {
        **_WORKDIR,
        "data": ("", "files to measure on; without them the dev data of the run"),
        **_IMPORT,
    },
    "predict": {
        **_WORKDIR,
        "input": ("", "file to read; without it standard input"),
        "output": ("", "file to write; without it standard output"),
        "output_format": ("jsonl", "jsonl, text (the answer alone), same (the input's own format)"),
        **_IMPORT,
    },
    "export": {
        **_WORKDIR,
        "output": ("", "folder to write"),
        "format": (
            "saved_model",
            "saved_model (raw text in, any task); tflite or onnx (classification and tagging: token ids in, "
            "with the vocabulary and a client.py that takes raw text)",
        ),
        **_IMPORT,
    },
    "demo": {
        "task": ("translation", f"one of {', '.join(configs.DEMOS)}"),
        "workdir": ("", "folder of the run; without it a new temporary one"),
    },
}


class UsageError(Exception):
    """The command line cannot be understood; the message is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with interruption.remembered() as interrupted:
        try:
            return _status(arguments)
        except Exception:
            if not interrupted:
                raise
    print("keras-rnn: interrupted", file=sys.stderr)
    return 130


def _status(arguments: list[str]) -> int:
    """Runs one command; what the user can mend is told, and anything else raised."""
    try:
        return _run(arguments)
    except UsageError as error:
        return _fail(error)
    except KeyboardInterrupt as stopped:
        print(f"keras-rnn: {str(stopped) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader went away (`| head`); what Python still wants to flush has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except ValueError as error:
        # pipelines.InputError is a ValueError; any other is a bug and keeps its traceback.
        if type(error).__name__ != "InputError":
            raise
        return _fail(error)
    except MemoryError:
        return _fail(_NO_MEMORY)
    except Exception as error:
        # TensorFlow's; asking for the class would import it.
        name = type(error).__name__
        if name in ("ResourceExhaustedError", "OutOfRangeError"):
            if full := _FULL.search(str(error)):
                return _fail("{}: cannot be written: {}".format(*full.groups()))
        if name != "ResourceExhaustedError":
            raise
        return _fail(_NO_MEMORY)


# How TensorFlow says that a file could not be written, the one that it names.
_FULL = re.compile(
    r"^(?:\{\{[^}]*\}\} )?([^;\n]*); (No space left on device|Disk quota exceeded|File too large)"
)
_NO_MEMORY = "the memory is not enough; smaller --config.batch_size, units, vocabulary_size or max_length need less"


def _fail(message: object) -> int:
    print("keras-rnn: " + " ".join(str(message).split()), file=sys.stderr)
    return 1


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "-help", "help"):
        print(USAGE.format(tasks=", ".join(configs.TASKS)), end="")
        return 0 if arguments else 1
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{argument!r} holds bytes that are no UTF-8") from None
    command, rest = arguments[0], arguments[1:]
    if command not in FLAGS:
        raise UsageError(
            f"there is no command {command}{configs.nearest(command, FLAGS)} "
            f"(commands: {', '.join(FLAGS)})"
        )
    if any(argument in ("-h", "--help", "-help", "--helpfull") for argument in rest):
        print(_help(command, rest), end="")
        return 0
    typed, overrides = _split(command, rest)
    values = _parse(command, typed)
    # The user's modules, after all others: no file that lies here by chance takes the place of a library.
    sys.path.append(os.getcwd())
    if hasattr(sys.stdout, "reconfigure"):
        # What a terminal cannot show is no reason to end.
        sys.stdout.reconfigure(errors="backslashreplace")
    from keras_rnn import start

    try:
        start.import_quietly()
    except ImportError as error:
        raise UsageError(error) from None
    import tensorflow as tf

    # Its warnings speak to programmers: of retracing, of gradients of functions that are only asked.
    tf.get_logger().setLevel("ERROR")
    return getattr(sys.modules[__name__], "_" + command)(values, overrides)


def _split(command: str, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """What was typed, as plain flags and as `--config.K=V` overrides."""
    typed, given, overrides = [], {}, {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if not name.startswith("-"):
            raise UsageError(f"{argument!r} is not a flag; flags are written --name=value")
        name = name.lstrip("-")
        if name.startswith("config."):
            name = name.removeprefix("config.")
            if not equals:
                if rest and not rest[0].startswith("--"):
                    value = rest.pop(0)
                else:
                    raise UsageError(f"--config.{name} needs a value: --config.{name}=VALUE")
            if name in overrides and overrides[name] != value:
                raise UsageError(f"--config.{name} is given twice")
            overrides[name] = value
            continue
        if name not in FLAGS[command]:
            raise UsageError(
                f"{command} has no flag --{name}"
                + (
                    configs.nearest(name, FLAGS[command])
                    or f" (flags: --{', --'.join(FLAGS[command])})"
                )
            )
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"--{name} needs a value: --{name}=VALUE")
            value = rest.pop(0)
        if given.setdefault(name, value) != value:
            raise UsageError(f"--{name} is given twice")
        typed.append(f"--{name}={value}")
    return typed, overrides


def _parse(command: str, typed: list[str]) -> dict[str, str]:
    values = flags.FlagValues()
    for name, (default, meaning) in FLAGS[command].items():
        flags.DEFINE_string(name, default, meaning, flag_values=values)
    try:
        values(["keras-rnn", *typed])
    except flags.Error as error:
        raise UsageError(error) from None
    return {name: values[name].value for name in FLAGS[command]}


def override(
    config, keys: configs.Keys, overrides: dict[str, str], live_only: bool = False
) -> None:
    """Puts `--config.K=V` into a config, checked; raises UsageError with the nearest key."""
    for name in overrides:
        if name not in keys:
            raise UsageError(f"there is no config key {name}{configs.nearest(name, keys)}")
        if live_only and not keys[name].live:
            raise UsageError(
                f"--config.{name} belongs to training; it cannot be changed afterwards"
            )
    argv = ["keras-rnn", *(f"--config.{name}={value}" for name, value in overrides.items())]
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    try:
        values(argv)
        given = values["config"].value
    except (flags.Error, ValueError, TypeError) as error:
        for name, value in overrides.items():
            kind = type(keys[name].default)
            if not _reads_as(kind, value):
                word = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
                raise UsageError(f"--config.{name}={value}: it must be {word}") from None
        raise UsageError(error) from None
    with config.unlocked():
        config.update(given)
    try:
        configs.check(config, keys)
    except ValueError as error:
        raise UsageError(error) from None


def _reads_as(kind: type, value: str) -> bool:
    if kind is bool:
        return value.lower() in ("true", "false", "t", "f", "1", "0")
    if kind is str:
        return True
    try:
        kind(value)
    except ValueError:
        return False
    return True


def _required(values: dict[str, str], *names: str) -> None:
    for name in names:
        if not values[name]:
            raise UsageError(f"--{name} is missing")


def _one_of(flag: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        near = configs.nearest(value, choices)
        raise UsageError(f"{flag}={value}: it must be one of {', '.join(choices)}{near}")


def _train(values: dict[str, str], overrides: dict[str, str]) -> int:
    _required(values, "task", "workdir")
    try:
        keys = configs.task_keys(values["task"])
    except ValueError as error:
        raise UsageError(error) from None
    config = keys.config()
    override(config, keys, overrides)
    if values["dev_data"] and not values["train_data"]:
        raise UsageError("--dev_data is given without --train_data")

    from keras_rnn import train

    train.train(
        task_name=values["task"],
        config=config,
        workdir=values["workdir"],
        train_data=values["train_data"],
        dev_data=values["dev_data"],
        modules=values["import"],
    )
    return 0


def _open(values: dict[str, str], overrides: dict[str, str]):
    """The run in `--workdir`, with the overrides that change no weights."""
    _required(values, "workdir")

    from keras_rnn.run import open_run

    return open_run(
        values["workdir"],
        modules=values["import"],
        change=lambda config, keys: override(config, keys, overrides, live_only=True),
    )


def _evaluate(values: dict[str, str], overrides: dict[str, str]) -> int:
    run = _open(values, overrides)

    from keras_rnn import evaluate

    evaluate.evaluate(run, values["data"])
    return 0


def _predict(values: dict[str, str], overrides: dict[str, str]) -> int:
    _one_of("--output_format", values["output_format"], ("jsonl", "text", "same"))
    run = _open(values, overrides)

    from keras_rnn import predict

    return predict.predict(run, values["input"], values["output"], values["output_format"])


def _export(values: dict[str, str], overrides: dict[str, str]) -> int:
    _required(values, "workdir", "output")
    _one_of("--format", values["format"], ("saved_model", "tflite", "onnx"))
    run = _open(values, overrides)

    from keras_rnn import export

    export.export(run, values["output"], values["format"])
    return 0


def _demo(values: dict[str, str], overrides: dict[str, str]) -> int:
    task = values["task"]
    _one_of("demo --task", task, configs.DEMOS)
    keys = configs.task_keys(task)

    from keras_rnn import demo

    config = demo.config(task, keys)
    override(config, keys, overrides)
    demo.demo(task, config, values["workdir"])
    return 0


def _help(command: str, arguments: Sequence[str]) -> str:
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    tasks = ", ".join(configs.TASKS)
    lines = [f"keras-rnn {command}: {HEADLINES[command]}", ""]
    for name, (default, meaning) in FLAGS[command].items():
        lines += _entry(f"--{name}", default, meaning.format(tasks=tasks), width)
    task = _task_in(arguments)
    if command in ("train", "demo") and not task:
        listed = f"`keras-rnn {command} --task=T --help` lists them."
        lines += ["", f"  --config.KEY=VALUE changes a setting; {listed}"]
    elif command in ("train", "demo"):
        lines += ["", *_keys_of(task, command == "demo", width)]
    else:
        listed = "`keras-rnn train --task=T --help` lists them."
        lines += [
            "",
            f"  --config.search.KEY=VALUE changes the search of a task that has one; {listed}",
        ]
    return "\n".join(lines) + "\n"


def _keys_of(task: str, of_demo: bool, width: int) -> list[str]:
    if of_demo:
        _one_of("demo --task", task, configs.DEMOS)
    keys = configs.task_keys(task)
    defaults = {key.name: key.default for key in keys.values()}
    if of_demo:
        defaults |= configs.DEMOS[task].settings
    lines = [
        f"--config keys of {task}, with {'what the demo sets' if of_demo else 'their defaults'}:",
        "",
    ]
    for key in keys.values():
        meaning = key.meaning
        if key.choices:
            meaning += f" ({', '.join(map(str, key.choices))})"
        lines += _entry(f"--config.{key.name}", defaults[key.name], meaning, width)
    return [*lines, "", *(keys.doc or "").strip().splitlines()]


def _task_in(arguments: Sequence[str]) -> str:
    for number, argument in enumerate(arguments):
        if argument.lstrip("-").startswith("task="):
            task = argument.partition("=")[2]
        elif argument.lstrip("-") == "task" and number + 1 < len(arguments):
            task = arguments[number + 1]
        else:
            continue
        _one_of("--task", task, configs.TASKS)
        return task
    return ""


def _entry(name: str, default: configs.config.Value, meaning: str, width: int) -> list[str]:
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    head = f"  {name}={shown}" if shown != "" else f"  {name}="
    text = textwrap.wrap(meaning, width - 36) or [""]
    lines = [f"{head:<35} {text[0]}"] if len(head) < 35 else [head, " " * 36 + text[0]]
    return lines + [" " * 36 + line for line in text[1:]]
