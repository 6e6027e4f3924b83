"""The contract between a cell and the loops that run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_rnn.cells.dropout import RecurrentDropout
from keras_rnn.scans import dropping, product


class Cell(keras.layers.Layer, RecurrentDropout):
    """A recurrent cell: the equations of one time step.

    A subclass says what it needs of a time step in two methods. `project` is the work that needs no state; it is done
    for all time steps in one product, or, where that is faster, step by step. `step` is the rest, the equations. Both
    multiply by weights through `dot`:

        project(x, dot, training)              x [batch, time, features] -> nest of [batch, time, ...]
        step(projected, states, dot, memory)   one time step -> (states, extras)

    `states[0]` is the output. `extras` is a dict of named tensors of the step, each [batch, ...]: gates, for example.
    `step` is pure and treats each row of the batch alone; `project` treats each time step alone and may draw noise, by
    `keep_mask` and `uniform`, which know the cell's seed.

    `keras_rnn.FusedRNN(cell)` runs a cell in one compiled loop with an efficient gradient; `keras.layers.RNN(cell)`
    runs the same equations step by step.

    Attributes that a subclass sets in `__init__`:
        state_size: the size of the state after the batch axis, an integer or a tuple; or a list, one entry a state.
        output_size: the size of the output; by default that of the first state.

    Arguments:
        recurrent_dropout: rate at which the operands of the recurrent products are dropped in training, with one mask
            for the whole sequence (Gal and Ghahramani 2016). It reaches each `dot` in `step` whose operand is as wide
            as the output.
        seed: integer seed of all the noise that the cell draws.
        **kwargs: those of `keras.layers.Layer`: `name`, `dtype`, `trainable`.

    Raises:
        ValueError: for a rate outside of [0, 1).

    Example:

    >>> import keras, keras_rnn
    >>> @keras.saving.register_keras_serializable(package="doc")
    ... class LeakyCell(keras_rnn.Cell):
    ...     def __init__(self, units, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.units = self.state_size = units
    ...     def build(self, input_shape):
    ...         self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
    ...         self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")
    ...     def project(self, x, dot, training=False):
    ...         return dot(x, self.kernel)
    ...     def step(self, projected, states, dot, memory=None):
    ...         (a_prev,) = states
    ...         return [0.9 * a_prev + 0.1 * keras.ops.tanh(projected + dot(a_prev, self.recurrent))], {}
    ...     def get_config(self):
    ...         return {**super().get_config(), "units": self.units}
    >>> keras_rnn.FusedRNN(LeakyCell(3))(keras.ops.ones((2, 5, 4))).shape
    TensorShape([2, 3])
    """

    def __init__(self, recurrent_dropout: float = 0.0, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.set_recurrent_dropout(recurrent_dropout, seed)

    def project(self, x: tf.Tensor, dot, training: bool = False) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define project(x, dot, training).")

    def step(self, projected: Any, states: list[tf.Tensor], dot, memory: Any = None):
        raise NotImplementedError(
            f"{type(self).__name__} must define step(projected, states, dot)."
        )

    @property
    def input_kernel(self) -> keras.Variable | None:
        """W, where the first tensor of `project` is x · W plus what does not depend on x; else None.

        A cell around this one, which learns a part of x only in the step, then adds that part's share there. And
        `FusedRNN` may leave the projection of few rows to the steps, by the size of W; without one it never does.
        """
        return None

    def prepare_memory(self, memory: Any, memory_mask: Any = None, dot=product) -> Any:
        """What `step` sees as its memory, made once a sequence: the memory itself, or the pair of it and its mask.

        An attending cell overrides this, to compute the keys of its annotations once.
        """
        return memory if memory_mask is None else (memory, memory_mask)

    def build_memory(self, memory_shape: tuple[int | None, ...]) -> None:
        """Builds the weights that depend on the width of the memory; an attending cell overrides this."""

    @property
    def state_sizes(self) -> list[int | tuple[int, ...]]:
        """One entry a state."""
        return list(self.state_size) if isinstance(self.state_size, list) else [self.state_size]

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        """The shape of each state, without the batch."""
        return [(size,) if isinstance(size, int) else tuple(size) for size in self.state_sizes]

    @property
    def output_size(self) -> int:
        if getattr(self, "_output_size", None) is not None:
            return self._output_size
        return self.state_sizes[0]

    @output_size.setter
    def output_size(self, size: int):
        self._output_size = size

    def get_initial_state(self, batch_size: int | tf.Tensor | None = None) -> list[tf.Tensor]:
        """Zero states."""
        dtype = self.compute_dtype
        return [ops.zeros((batch_size, *shape), dtype=dtype) for shape in self.state_shapes]

    def initial_states(self, batch_size: int | tf.Tensor, memory: Any = None) -> list[tf.Tensor]:
        """The same where a memory is given, which a state may be as long as."""
        return self.get_initial_state(batch_size)

    def call(
        self,
        inputs: tf.Tensor,
        states: Sequence[tf.Tensor],
        training: bool = False,
        prepared_memory: Any = None,
        return_extras: bool = False,
    ):
        """One time step as `keras.layers.RNN` asks for it, where states beyond the cell's own are its memory; or as
        `advance` does.
        """
        states = list(states) if isinstance(states, (list, tuple)) else [states]
        count = len(self.state_sizes)
        own, memory = states[:count], states[count:]
        if memory:
            prepared_memory = self.prepare_memory(memory[0], *_as_mask(memory[1:]))
        projected = self.project(inputs[:, None], product, training=training)
        projected = tf.nest.map_structure(lambda leaf: ops.squeeze(leaf, 1), projected)
        dot = dropping(product, self.operand_mask(own[0], training))
        new_states, extras = self.step(projected, own, dot, prepared_memory)
        return (new_states, extras) if return_extras else (new_states[0], [*new_states, *memory])

    def advance(
        self, x: tf.Tensor, states: list[tf.Tensor], memory: Any = None, training: bool = False
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """One time step by itself, as a search takes it: x [batch, features], `memory` prepared."""
        # Through Keras's __call__, which casts the weights as the dtype policy says.
        return self(x, states, training=training, prepared_memory=memory, return_extras=True)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.recurrent_dropout_config()}


def _as_mask(tail: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Keras casts all states to the dtype of computation, a mask among them."""
    return [ops.cast(mask, "bool") for mask in tail]
