"""Export: the best checkpoint as a SavedModel that takes raw text, or as a file for another runtime with a client."""

import importlib.resources
import json
import logging
import os
import platform
import shlex

import keras
import tensorflow as tf

import keras_rnn
import pipelines
from keras_rnn import configs, runtimes
from keras_rnn.precision import building_in
from keras_rnn.run import Run
from keras_rnn.scans import forward_only
from keras_rnn.tasks.task import Server

# What an export has beside the model's own files; it also marks a folder as one of ours.
ASSETS = "assets.extra"
MARK = os.path.join(ASSETS, "versions.json")

# What turns text into the numbers that the model of another runtime takes; copied beside it.
CLIENT = ("client.py", "encoding.py")


def export(run: Run, output: str, form: str = "saved_model") -> None:
    """Writes `output` under a new name and renames it when it is whole.

    Arguments:
        run: an opened run.
        output: the folder; one that is there must be an earlier export, of whatever format.
        form: saved_model, tflite or onnx.

    Raises:
        InputError: something that is no export is in the way, the disk is full, or the model cannot have this format.
    """
    output = os.path.abspath(os.path.expanduser(output))
    if os.path.lexists(output) and not _replaceable(output):
        raise pipelines.InputError(
            "is there already and is no export of keras-rnn; it is left alone", output
        )
    server = run.task.server(run.model if form == "saved_model" else _in_float32(run))
    # Saving and converting speak of what does not concern the user.
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        files = {} if form == "saved_model" else _portable_files(server, form)
        os.makedirs(os.path.dirname(output), exist_ok=True)
        with pipelines.atomic_directory(output) as folder:
            if form == "saved_model":
                with forward_only():  # nobody differentiates an export
                    tf.saved_model.save(server, folder, signatures=server.signatures())
            for name, content in {**files, **_assets(run, server, form)}.items():
                path = os.path.join(folder, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(content)
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
    print(f"exported to {output}; try: {_TRIALS[form].format(shlex.quote(output))}", flush=True)


_TRIALS = {
    "saved_model": "saved_model_cli show --dir {0} --all",
    "tflite": "echo some text | python {0}/client.py",
    "onnx": "echo some text | python {0}/client.py",
}


def _in_float32(run: Run) -> keras.Model:
    """The model for runtimes that compute in float32, whatever it was trained in."""
    if run.config.precision == "float32":
        return run.model
    with building_in("float32"):
        model = run.task.build_model()
    model.set_weights(run.model.get_weights())
    return model


def _portable_files(server: Server, form: str) -> dict[str, bytes]:
    """The model of another runtime, the rules of encoding text for it, and the client that keeps them."""
    portable = server.portable()
    if form in portable.obstacles:
        raise pipelines.InputError(portable.obstacles[form])
    convert = {"tflite": runtimes.to_tflite, "onnx": runtimes.to_onnx}[form]
    client = importlib.resources.files("keras_rnn") / "client"
    return {
        f"model.{form}": convert(portable),
        "encoding.json": _json(portable.rules),
        **{name: (client / name).read_bytes() for name in CLIENT},
    }


def _assets(run: Run, server: Server, form: str) -> dict[str, bytes]:
    versions = {
        "keras_rnn": keras_rnn.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "task": run.task.name,
        "format": form,
    }
    config = {"task": run.task.name, "config": configs.flatten(run.config)}
    files = {name: content.encode() for name, content in server.assets().items()}
    files |= {"versions.json": _json(versions), "config.json": _json(config)}
    return {os.path.join(ASSETS, name): content for name, content in files.items()}


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _replaceable(path: str) -> bool:
    if not os.path.isdir(path):
        return False
    return not os.listdir(path) or os.path.exists(os.path.join(path, MARK))
