"""The devices that a loop may run on: what is fast on a CPU is slow on a GPU."""

import tensorflow as tf


def only_cpus() -> bool:
    """Whether TensorFlow has CPUs and nothing else, so that what is traced now will run on one."""
    return all(device.device_type == "CPU" for device in tf.config.list_logical_devices())
