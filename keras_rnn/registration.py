"""The name under which the classes of this package are saved: keras_rnn>ClassName."""

import keras

register = keras.saving.register_keras_serializable(package="keras_rnn")
