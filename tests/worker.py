"""Run as a process of its own: `python -m tests.worker DEVICES FOLDER train ...` is `keras-rnn train ...`.

It has so many virtual devices, and writes into the folder, for each of its replicas, the weights that it ends with and
the states of its noise.
"""

import os
import sys


def main(devices: int, folder: str, arguments: list[str]) -> int:
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    if devices > 1:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * devices
        )

    from keras_rnn import app
    from keras_rnn.trainer import Trainer

    run = Trainer.run

    def run_and_show(trainer, callbacks):
        reason = run(trainer, callbacks)
        strategy = trainer.replicas.strategy
        copies = [strategy.experimental_local_results(v.value) for v in trainer.model.variables]
        for number, values in zip(trainer.replicas.local, zip(*copies)):
            named = {
                f"model/{place}/{variable.path.rsplit('/', 1)[-1]}": value.numpy()
                for place, (variable, value) in enumerate(zip(trainer.model.variables, values))
            }
            np.savez(os.path.join(folder, f"replica-{number}.npz"), **named)
        return reason

    Trainer.run = run_and_show
    return app.main(arguments)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
