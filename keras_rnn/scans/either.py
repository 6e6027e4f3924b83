"""A choice between two computations, with a gradient that XLA can compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_rnn.scans.scan import has_gradient


def either(
    condition: tf.Tensor,
    first: Callable[..., list[tf.Tensor]],
    second: Callable[..., list[tf.Tensor]],
    operands: Sequence[tf.Tensor],
) -> list[tf.Tensor]:
    """`first(*operands)` where the condition holds, else `second(*operands)`, both lists of tensors.

    Where a size is known only when it runs, XLA cannot differentiate a `tf.cond`: of the branch that was not taken
    nothing is there, and it takes that to be of size 0. So there each branch runs once more within its own gradient.

    >>> x = tf.constant(3.0)
    >>> [result] = either(x > 2.0, lambda x: [2.0 * x], lambda x: [-x], [x])
    >>> float(result)
    6.0
    """

    def chosen(*operands):
        return tf.cond(condition, lambda: first(*operands), lambda: second(*operands))

    if not has_gradient() or all(operand.shape.is_fully_defined() for operand in operands):
        return chosen(*operands)

    @tf.custom_gradient
    def run(*operands):
        results = chosen(*operands)

        def gradient(*cotangents):
            def back(branch):
                with tf.GradientTape() as tape:
                    tape.watch(operands)
                    results = branch(*operands)
                none = tf.UnconnectedGradients.ZERO
                return tape.gradient(results, operands, cotangents, unconnected_gradients=none)

            return tf.cond(condition, lambda: back(first), lambda: back(second))

        return results, gradient

    return run(*operands)
