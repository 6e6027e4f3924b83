"""What the standard cells share: a kernel, a recurrent kernel and a bias, in blocks of `units` columns."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import constraints, initializers, regularizers

from keras_rnn.cells.cell import Cell


class StandardCell(Cell):
    """A cell with x · kernel + bias for its inputs and one recurrent kernel for its state.

    A subclass sets `blocks` and writes `step`. One that can drop its candidate adds "candidate" to
    `recurrent_dropout_kinds`, and its step begins with `x_part, dropped = self.split_noise(projected)`: the projection
    with its bias, which in inference may be added only there, and what is to be done to the candidate.

    Weights, with `blocks` the number of gates and candidates:
        kernel: [features, blocks · units]
        recurrent_kernel: [units, blocks · units]
        bias: [blocks · units]

    Arguments:
        units: size of the output.
        kernel_initializer, recurrent_initializer, bias_initializer: as in Keras.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: as in Keras.
        kernel_constraint, recurrent_constraint, bias_constraint: as in Keras.
        recurrent_dropout: rate of the recurrent dropout, in training.
        recurrent_dropout_kind: "sequence", one mask a sequence on the operand of every recurrent product (Gal and
            Ghahramani 2016); or "candidate", a mask a step on the candidate c̃ (Semeniuta et al. 2016).
        seed: integer seed of the noise.

    Raises:
        ValueError: for `units` that are no integer above 0, a rate outside of [0, 1) or a kind of recurrent dropout
            that the cell does not have.

    Example:

    >>> import keras, keras_rnn
    >>> class ElmanCell(StandardCell):
    ...     def step(self, projected, states, dot, memory=None):
    ...         (a_prev,) = states
    ...         return [keras.ops.tanh(projected + dot(a_prev, self.recurrent_kernel))], {}
    >>> keras_rnn.FusedRNN(ElmanCell(3))(keras.ops.ones((2, 5, 4))).shape
    TensorShape([2, 3])
    """

    blocks = 1
    recurrent_dropout_kinds = ("sequence",)
    trained = True  # whether the weights are

    def __init__(
        self,
        units: int,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        recurrent_dropout: float = 0.0,
        recurrent_dropout_kind: str = "sequence",
        seed: int | None = None,
        **kwargs,
    ):
        check_units(units)
        if recurrent_dropout_kind not in self.recurrent_dropout_kinds:
            raise ValueError(
                f"recurrent_dropout_kind of {type(self).__name__} must be one of "
                f"{self.recurrent_dropout_kinds}, got {recurrent_dropout_kind!r}."
            )
        super().__init__(recurrent_dropout=recurrent_dropout, seed=seed, **kwargs)
        self.units = self.state_size = self.output_size = units
        self.recurrent_dropout_kind = recurrent_dropout_kind
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape):
        width = self.blocks * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], width),
            name="kernel",
            trainable=self.trained,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, width),
            name="recurrent_kernel",
            trainable=self.trained,
            initializer=self.initial_recurrent_kernel,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        self.bias = self.add_weight(
            shape=(width,),
            name="bias",
            trainable=self.trained,
            initializer=self.initial_bias,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def initial_recurrent_kernel(self, shape, dtype=None) -> tf.Tensor:
        return self.recurrent_initializer(shape, dtype=dtype)

    def initial_bias(self, shape, dtype=None) -> tf.Tensor:
        return self.bias_initializer(shape, dtype=dtype)

    def project(self, x, dot, training=False):
        projected = dot(x, self.kernel)
        if self._late_bias and not training:
            return projected
        projected = self.with_noise(projected + self.bias, x, training)
        # A tuple has its bias: `split_noise` goes by that.
        return (projected,) if self._late_bias and tf.is_tensor(projected) else projected

    @property
    def _late_bias(self) -> bool:
        """Whether, in inference, `split_noise` adds the bias, to numbers at hand: here it would be all time steps.

        It does where this class's own step calls it. In training the bias is there already: its gradient is one sum.
        """
        code = getattr(type(self).step, "__code__", None)
        splits = code is not None and "split_noise" in code.co_names
        return splits and type(self).project is StandardCell.project

    @property
    def input_kernel(self):
        return self.kernel if type(self).project is StandardCell.project else None

    def with_noise(self, projected: tf.Tensor, x: tf.Tensor, training: bool) -> Any:
        """The projection, together with a mask for each step's candidate where such noise is wanted."""
        if not training or not self.recurrent_dropout or self.recurrent_dropout_kind == "sequence":
            return projected
        return projected, self.keep_mask(projected[..., : self.units], self.recurrent_dropout)

    def split_noise(self, projected: Any) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        """The projection of this step, and what is to be done to its candidate: nothing, or dropping some of it."""
        if isinstance(projected, (tuple, list)):
            x_part, *masks = projected
            return x_part, lambda c_tilde: masks[0] * c_tilde if masks else c_tilde
        return projected + self.bias if self._late_bias else projected, lambda c_tilde: c_tilde

    def operand_mask(self, state, training):
        if self.recurrent_dropout_kind == "candidate":
            return None
        return super().operand_mask(state, training)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "recurrent_dropout_kind": self.recurrent_dropout_kind,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": initializers.serialize(self.recurrent_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "recurrent_regularizer": regularizers.serialize(self.recurrent_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "recurrent_constraint": constraints.serialize(self.recurrent_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }


def check_units(units: Any) -> None:
    """Raises a ValueError for what is no number of units."""
    if not isinstance(units, numbers.Integral) or units < 1:
        raise ValueError(f"units must be a positive integer, got {units!r}.")
