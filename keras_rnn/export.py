"""Export: the best checkpoint as a SavedModel that takes raw text."""

import json
import logging
import os
import platform

import keras
import tensorflow as tf

import keras_rnn
import pipelines
from keras_rnn import configs
from keras_rnn.run import Run
from keras_rnn.scan import forward_only

# What an export has beside the SavedModel's own files; it also marks a folder as one of ours.
ASSETS = "assets.extra"
MARK = os.path.join(ASSETS, "versions.json")


def export(run: Run, output: str) -> None:
    """Writes `output` under a new name and renames it when it is whole.

    Arguments:
        run: an opened run.
        output: the folder; one that is there must be an earlier export.

    Raises:
        InputError: something that is no export is in the way, or the disk is full.
    """
    output = os.path.abspath(os.path.expanduser(output))
    if os.path.lexists(output) and not _replaceable(output):
        raise pipelines.InputError(
            "is there already and is no export of keras-rnn; it is left alone", output
        )
    os.makedirs(os.path.dirname(output), exist_ok=True)
    server = run.task.server(run.model)
    with pipelines.atomic_directory(output) as folder:
        # Saving speaks of functions that it does not find again; nothing of it concerns the user.
        logger = logging.getLogger("tensorflow")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            with forward_only():  # nobody differentiates an export
                tf.saved_model.save(server, folder, signatures=server.signatures())
        finally:
            logger.setLevel(level)
        extra = os.path.join(folder, ASSETS)
        os.makedirs(extra, exist_ok=True)
        versions = {
            "keras_rnn": keras_rnn.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
            "task": run.task.name,
        }
        config = {"task": run.task.name, "config": configs.flatten(run.config)}
        files = {
            **server.assets(),
            "versions.json": json.dumps(versions, indent=1) + "\n",
            "config.json": json.dumps(config, indent=1, ensure_ascii=False) + "\n",
        }
        for name, content in files.items():
            with open(os.path.join(extra, name), "w", encoding="utf-8") as file:
                file.write(content)
    print(f"exported to {output}; try: saved_model_cli show --dir {output} --all", flush=True)


def _replaceable(path: str) -> bool:
    if not os.path.isdir(path):
        return False
    return not os.listdir(path) or os.path.exists(os.path.join(path, MARK))
