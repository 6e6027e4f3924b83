"""TensorBoard's event files of a run that goes on: what was shown after the checkpoint is taken out."""

import os

import tensorflow as tf

# The beginning of a new file's name until the file is whole.
_PART = "part."


def drop_later(folder: str, step: int) -> None:
    """Removes the points after `step` from all event files below a folder; what is shown again is not doubled.

    A file whose end is torn, as after a kill, keeps what is whole.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(_PART):
                # Of a process that was killed here.
                os.remove(os.path.join(parent, name))
            elif ".tfevents." in name:
                _drop_later(os.path.join(parent, name), step)


def _drop_later(path: str, step: int) -> None:
    kept, whole = [], True
    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            if event.HasField("summary") and event.step > step:
                whole = False
            else:
                kept.append(record)
    except tf.errors.DataLossError:
        whole = False
    if whole:
        return
    part = os.path.join(os.path.dirname(path), f"{_PART}{os.getpid()}")
    with tf.io.TFRecordWriter(part) as writer:
        for record in kept:
            writer.write(record)
    os.replace(part, path)
