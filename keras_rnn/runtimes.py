"""A model as one file for a runtime other than TensorFlow: TFLite or ONNX."""

from collections.abc import Callable, Mapping

import tensorflow as tf

import pipelines
from keras_rnn.scans import forward_only
from keras_rnn.tasks.task import Portable


def to_tflite(portable: Portable) -> bytes:
    """One text at a time, of any length, in TFLite's builtin operations alone.

    TFLite's loops want the number of rows beforehand, so the batch is 1.

    Raises:
        InputError: the model needs an operation that TFLite does not have.
    """
    inputs = {
        name: tf.TensorSpec([1, *spec.shape[1:]], spec.dtype, name=name)
        for name, spec in portable.inputs.items()
    }
    # Not the server: its tables of strings would come along.
    owner = tf.Module()
    owner.weights = portable.weights
    with forward_only():
        function = _by_name(portable, inputs).get_concrete_function(*inputs.values())
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], owner)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return converter.convert()
        # The converter's own error is not public; it is an Exception and nothing closer.
        except Exception as error:
            raise _inexpressible("TFLite's builtin operations", error) from error


def to_onnx(portable: Portable) -> bytes:
    """Any batch of texts of any length, padded with 0.

    Raises:
        InputError: tf2onnx is not installed, or the model needs an operation that ONNX does not have.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise pipelines.InputError(
            f"--format=onnx needs the package {error.name}: pip install 'keras-rnn[onnx]'"
        ) from None
    with forward_only():
        model, _ = tf2onnx.convert.from_function(
            _by_name(portable, portable.inputs), list(portable.inputs.values()), opset=_OPSET
        )
    # It goes on after what it cannot convert; then the model is not valid.
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise _inexpressible("ONNX", error) from error
    for value in model.graph.input:
        for dimension, name in zip(value.type.tensor_type.shape.dim, ("batch", "time")):
            dimension.dim_param = name
    return model.SerializeToString()


# Read by every onnxruntime of the last years.
_OPSET = 18


def _by_name(
    portable: Portable, inputs: Mapping[str, tf.TensorSpec]
) -> Callable[..., dict[str, tf.Tensor]]:
    """The model as a function of one argument for each input."""
    return tf.function(
        lambda *values: portable.run(dict(zip(inputs, values, strict=True))), autograph=False
    )


def _inexpressible(what: str, error: Exception) -> pipelines.InputError:
    reason = str(error).strip().splitlines()[0]
    return pipelines.InputError(f"this model cannot be said in {what}: {reason}")
