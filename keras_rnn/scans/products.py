"""Products with weights: the `dot` that a step multiplies by, and the plain one outside of the loop."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf


class Blocks:
    """The blocks of weights that `dot` multiplies by. Each is cut out once, when it is first asked for."""

    def __init__(self, variables: Sequence[keras.Variable], values: Sequence[tf.Tensor]):
        self._values = {id(variable): value for variable, value in zip(variables, values)}
        self._blocks: dict[tuple, tf.Tensor] = {}
        self._transposed: dict[tuple, tf.Tensor] = {}

    def __contains__(self, variable: Any) -> bool:
        return id(variable) in self._values and self._values[id(variable)].shape.rank == 2

    def dtype(self, variable: keras.Variable) -> tf.DType:
        return self._values[id(variable)].dtype

    def __call__(
        self, variable: keras.Variable, columns: slice | None, rows: slice | None
    ) -> tf.Tensor:
        key = (id(variable), *_span(variable.shape[0], rows), *_span(variable.shape[1], columns))
        if key not in self._blocks:
            self._blocks[key] = _block(self._values[id(variable)], columns, rows)
        return self._blocks[key]

    def transposed(
        self, variable: keras.Variable, columns: slice | None, rows: slice | None
    ) -> tf.Tensor:
        """A block, turned over once: a product with a transposed weight takes XLA twice as long on a CPU."""
        key = (id(variable), *_span(variable.shape[0], rows), *_span(variable.shape[1], columns))
        if key not in self._transposed:
            self._transposed[key] = tf.transpose(self(variable, columns, rows))
        return self._transposed[key]


@dataclasses.dataclass
class Product:
    """One `dot` of a step: the operand, the block of the weight, and in backward the cotangent of the result."""

    operand: tf.Tensor
    variable: keras.Variable
    columns: slice | None
    rows: slice | None
    result: tf.Tensor
    cotangent: tf.Tensor | None = None

    def weight_gradient(self, operands: tf.Tensor, cotangents: tf.Tensor) -> tf.Tensor:
        """The sum over time and batch of operandᵀ · cotangent, in one product; of a block, the whole weight's."""
        dtype = sum_dtype(operands)
        operands = tf.cast(tf.reshape(operands, [-1, operands.shape[-1]]), dtype)
        cotangents = tf.cast(tf.reshape(cotangents, [-1, cotangents.shape[-1]]), dtype)
        d_block = tf.matmul(operands, cotangents, transpose_a=True)
        around = []
        for size, part in zip(self.variable.shape, (self.rows, self.columns)):
            start, stop = _span(size, part)
            around.append([start, size - stop])
        return tf.pad(d_block, around) if any(map(any, around)) else d_block


class Dot:
    """The `dot` that a step gets. In forward it multiplies, in backward it hands out what forward kept."""

    def __init__(self, blocks: Blocks, kept: Sequence[tf.Tensor] | None = None):
        self.products: list[Product] = []
        self._blocks = blocks
        self._kept = kept

    def __call__(
        self,
        operand: tf.Tensor,
        variable: keras.Variable,
        columns: slice | None = None,
        rows: slice | None = None,
    ) -> tf.Tensor:
        if variable not in self._blocks or operand.shape.rank != 2:
            return product(operand, variable, columns, rows)
        # Ids, or a state of ones and zeros, count as numbers of the weight's kind.
        if not operand.dtype.is_floating:
            operand = tf.cast(operand, self._blocks.dtype(variable))
        if self._kept is None:
            block = self._blocks(variable, columns, rows)
            result = tf.matmul(operand, tf.cast(block, operand.dtype))
        else:
            result = self._kept[len(self.products)]
        entry = Product(operand, variable, columns, rows, result)
        self.products.append(entry)
        if self._kept is None:
            return result
        transposed = self._blocks.transposed(variable, columns, rows)
        return self._tap(entry, tf.cast(transposed, operand.dtype))

    @staticmethod
    def _tap(entry: Product, transposed: tf.Tensor) -> tf.Tensor:
        """The kept product, differentiable in its operand; its cotangent is put aside on the way back."""

        @tf.custom_gradient
        def tap(operand, result, transposed):
            def gradient(cotangent):
                entry.cotangent = cotangent
                return tf.matmul(cotangent, transposed), None, None

            return tf.identity(result), gradient

        return tap(entry.operand, entry.result, transposed)


def product(
    operand: tf.Tensor, variable: Any, columns: slice | None = None, rows: slice | None = None
) -> tf.Tensor:
    """The plain `dot`: operand times a weight, or times a block of its columns and rows."""
    return keras.ops.matmul(operand, _factor(variable, columns, rows, tf.as_dtype(operand.dtype)))


def _factor(variable: Any, columns: slice | None, rows: slice | None, dtype: tf.DType) -> tf.Tensor:
    """What `product` multiplies by: within `blocks_cut_once`, a block that is there already."""
    cut, key = _CUT.get(), (id(variable), str(columns), str(rows), dtype)
    if cut is not None and key in cut.blocks:
        return cut.blocks[key]
    value = keras.ops.convert_to_tensor(variable)
    # Outside of a layer's call nothing else casts the weight.
    block = _block(tf.cast(value, dtype) if dtype.is_floating else value, columns, rows)
    if cut is not None and block is not value and cut.graph is _graph():
        cut.blocks[key] = block
        cut.variables.append(variable)
    return block


@dataclasses.dataclass
class _Cut:
    """Blocks that were cut out in one graph, or eagerly, and their variables, which keep their ids while they live."""

    graph: tf.Graph | None
    blocks: dict[tuple, tf.Tensor] = dataclasses.field(default_factory=dict)
    variables: list[Any] = dataclasses.field(default_factory=list)


_CUT: contextvars.ContextVar[_Cut | None] = contextvars.ContextVar("cut", default=None)


def _graph() -> tf.Graph | None:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


@contextlib.contextmanager
def blocks_cut_once() -> Iterator[None]:
    """Within, what `product` cut out of a weight before a loop is not cut out again in the loop: a search's, say.

    The weights must stay what they are meanwhile.

    >>> weight, x = keras.Variable([[1.0, 2.0], [3.0, 4.0]]), tf.ones([1, 2])
    >>> with blocks_cut_once():
    ...     product(x, weight, columns=slice(1)).numpy().tolist()
    [[4.0]]
    """
    token = _CUT.set(_Cut(_graph()))
    try:
        yield
    finally:
        _CUT.reset(token)


def _block(value: tf.Tensor, columns: slice | None, rows: slice | None) -> tf.Tensor:
    value = value if rows is None else value[..., rows, :]
    return value if columns is None else value[..., columns]


def in_rows(weight: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """A weight [columns] in each row of x [..., columns]; any other weight as it is.

    It is what broadcasting makes of the weight, but its gradient sums the rows by a product. Compiled for a CPU, the
    sum that TensorFlow derives takes longer than all else that normalising adds to a step.
    """
    weight = tf.convert_to_tensor(weight, x.dtype)
    if weight.shape.rank != 1 or not x.shape.rank or x.shape.rank < 2:
        return weight

    @tf.custom_gradient
    def repeat(weight):
        def gradient(d):
            d = tf.cast(tf.reshape(d, tf.stack([-1, tf.size(weight)])), sum_dtype(d))
            # With one row of ones it would be no product: XLA takes it into what makes the terms.
            total = tf.matmul(tf.ones([2, tf.shape(d)[0]], d.dtype), d)[0]
            return tf.cast(total, weight.dtype)

        return tf.broadcast_to(weight, tf.shape(x)), gradient

    return repeat(weight)


def dropping(
    dot: Callable[..., tf.Tensor], operand_mask: tf.Tensor | None
) -> Callable[..., tf.Tensor]:
    """`dot` with recurrent dropout: a mask [batch, units] on each operand of that width."""
    if operand_mask is None:
        return dot
    operand_mask = tf.stop_gradient(operand_mask)  # a constant: nobody asks for its gradient

    def dropped(operand, variable, columns=None, rows=None):
        if operand.shape[-1] == operand_mask.shape[-1]:
            operand = operand * tf.cast(operand_mask, operand.dtype)
        return dot(operand, variable, columns, rows)

    dropped.undropped = dot
    return dropped


def undropped(dot: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """The same `dot` without recurrent dropout, for what is as wide as a state and is none."""
    return getattr(dot, "undropped", dot)


def is_trained(variable: keras.Variable | tf.Tensor) -> bool:
    return getattr(variable, "trainable", True)


def sum_dtype(leaf: tf.Tensor) -> tf.DType:
    return tf.float64 if leaf.dtype == tf.float64 else tf.float32


def _span(size: int, part: slice | None) -> tuple[int, int]:
    start, stop, step = (part or slice(None)).indices(size)
    if step != 1:
        raise ValueError(f"dot takes columns and rows that lie side by side, not every {step}th.")
    return start, stop
