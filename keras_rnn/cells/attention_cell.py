"""Cells that look at a memory: the decoders of translation."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_rnn.attention import Attention, LuongAttention
from keras_rnn.cells.activations import tanh
from keras_rnn.cells.cell import Cell
from keras_rnn.cells.wrapper import WrapperCell, build_cell
from keras_rnn.registration import register
from keras_rnn.scans import product, undropped

ORDERS = ("before", "after", "between")


@register
class AttentionCell(WrapperCell):
    """Any cell, together with an attention over a memory: annotations h_j of a source, of any length.

        order="before", Bahdanau's: what the state before the step looks for enters the step
            context, α = attend(s_prev)
            s = cell([x; context], s_prev)                    output s

        order="after", Luong's: what the state after the step looks for enters the next step (input feeding)
            s = cell([x; h̃_prev], s_prev)
            context, α = attend(s)
            h̃ = tanh(W_c [context; s])                        output h̃

        order="between", the conditional one of Nematus: two transitions a step
            s' = cell(x, s_prev)
            context, α = attend(s')
            s = context_cell(context, s')                     output s

    The states are those of the cell, in the order "after" behind h̃, and behind them, where the attention remembers,
    what it keeps of the positions it has looked at, [batch, source_time]. Extras: `alpha` [batch, source_time],
    `context` [batch, memory features], and those of the cell; of two cells, those of the second behind `context_`.

    `keras_rnn.FusedRNN` takes the memory as `memory=` and its mask as `memory_mask=`, and computes its keys once. Under
    `keras.layers.RNN` memory and mask stand behind the states in `initial_state`, and `memory_size` must be given.
    `first_states` makes of the cell's states those to begin with.

    Recurrent dropout is that of the cells: it reaches their recurrent products, and nothing that is fed or attends.

    Weights: those of the cell, whose `kernel` has the rows of x first and then those of the context (or of h̃), of the
        context_cell and of the attention; in the order "after" also
        attentional_kernel: W_cᵀ [memory features + units, units]

    Arguments:
        cell: any `Cell`.
        attention: a `BahdanauAttention`, a `LuongAttention` or another `Attention`.
        order: when the cell attends; by default "after" for a `LuongAttention`, else "before".
        context_cell: the second transition of the order "between", with the states of the first.
        memory_size: features of the memory; found where the layer is built with a memory.
        **kwargs: those of `keras.layers.Layer`.

    Raises:
        TypeError: for a cell that is not a `keras_rnn.Cell`.
        ValueError: for an unknown order, a context cell that is missing, not asked for or of other states or another
            recurrent dropout, and for a recurrent dropout of its own.

    Source: Bahdanau et al. 2015, appendix A.2; Luong et al. 2015, equation 5 and section 3.3; Sennrich et al. 2017,
        section 3 (Nematus).

    Example:

    >>> import keras, keras_rnn
    >>> cell = keras_rnn.AttentionCell(keras_rnn.GRUCell(8), keras_rnn.BahdanauAttention(6))
    >>> decoder = keras_rnn.FusedRNN(cell, return_sequences=True, return_extras=True)
    >>> outputs, extras = decoder(keras.ops.ones((2, 5, 3)), memory=keras.ops.ones((2, 7, 4)))
    >>> outputs.shape, extras["alpha"].shape
    (TensorShape([2, 5, 8]), TensorShape([2, 5, 7]))
    """

    def __init__(
        self,
        cell: Cell,
        attention: Attention,
        order: str | None = None,
        context_cell: Cell | None = None,
        memory_size: int | None = None,
        **kwargs,
    ):
        super().__init__(cell, **kwargs)
        if order is None:
            order = "after" if isinstance(attention, LuongAttention) else "before"
            order = order if context_cell is None else "between"
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}.")
        if (context_cell is None) == (order == "between"):
            raise ValueError('A context_cell belongs to order="between", and to no other.')
        if context_cell is not None:
            self.require_cell(context_cell)
        if context_cell is not None and context_cell.state_sizes != cell.state_sizes:
            raise ValueError(
                f"context_cell must have the states of the cell, {cell.state_sizes}; it has "
                f"{context_cell.state_sizes}."
            )
        if context_cell is not None and context_cell.recurrent_dropout != cell.recurrent_dropout:
            raise ValueError(
                f"cell and context_cell must have the same recurrent_dropout, got "
                f"{cell.recurrent_dropout} and {context_cell.recurrent_dropout}."
            )
        self.attention, self.context_cell = attention, context_cell
        self.order = order
        self.memory_size = memory_size
        sizes = [cell.output_size] if order == "after" else []
        sizes += cell.state_sizes
        # As many as the memory has positions.
        sizes += [(None,)] if attention.remembers else []
        self.state_size = sizes if len(sizes) > 1 else sizes[0]
        self.fed_size = 0

    def build_memory(self, memory_shape):
        """Called before `build` by a layer that knows the memory."""
        self.memory_size = memory_shape[-1]

    def build(self, input_shape):
        if self.memory_size is None:
            raise ValueError(
                "AttentionCell has seen no memory: call keras_rnn.FusedRNN with memory=, or give memory_size."
            )
        batch, features = input_shape[0], input_shape[-1]
        # What enters the cell beside x.
        self.fed_size = {
            "before": self.memory_size,
            "after": self.output_size,
            "between": 0,
        }[self.order]
        build_cell(self.cell, (batch, features + self.fed_size))
        if self.context_cell is not None:
            build_cell(self.context_cell, (batch, self.memory_size))
        if not self.attention.built:
            self.attention.build((batch, self.output_size), (batch, None, self.memory_size))
            self.attention.built = True
        if self.order == "after":
            self.attentional_kernel = self.add_weight(
                shape=(self.memory_size + self.output_size, self.output_size),
                name="attentional_kernel",
            )

    def first_states(self, states: list[tf.Tensor], memory: tf.Tensor) -> list[tf.Tensor]:
        """The states to begin with, of those of the wrapped cell."""
        rows, positions = ops.shape(memory)[:2]
        begin = []
        if self.order == "after":
            begin = [ops.zeros((rows, self.output_size), self.compute_dtype)]
        past = []
        if self.attention.remembers:
            past = [ops.zeros((rows, positions), self.compute_dtype)]
        return [*begin, *states, *past]

    def initial_states(self, batch_size, memory=None):
        if memory is None:
            return self.get_initial_state(batch_size)
        return self.first_states(self.cell.get_initial_state(batch_size), memory)

    def get_initial_state(self, batch_size=None):
        if self.attention.remembers:
            raise ValueError(
                f"This {type(self.attention).__name__} keeps a number for each position of the memory: begin with "
                "the cell's first_states(states, memory), as keras_rnn.FusedRNN does by itself."
            )
        return super().get_initial_state(batch_size)

    def prepare_memory(self, memory, memory_mask=None, dot=product):
        """The annotations, zero where they are not real, their keys, and the mask or None."""
        if memory_mask is not None:
            real = ops.expand_dims(ops.cast(memory_mask, "bool"), -1)
            memory = ops.where(real, memory, ops.zeros((), memory.dtype))
        memory = ops.cast(memory, self.compute_dtype)
        return memory, self.attention.keys(memory, dot), memory_mask

    def project(self, x, dot, training=False):
        projected = {"x": _project(self.cell, x, self.fed_size, dot, training)}
        if self.context_cell is not None:
            # Of no features yet; it may hold noise.
            nothing = x[..., :0]
            projected["context"] = _project(
                self.context_cell, nothing, self.memory_size, dot, training
            )
        return projected

    def step(self, projected, states, dot, memory=None):
        if memory is None:
            raise ValueError("An AttentionCell needs a memory: call its layer with memory=.")
        step = {"before": self._before, "after": self._after, "between": self._between}[self.order]
        return step(projected, states, dot, memory)

    def _before(self, projected, states, dot, memory):
        s_prev, past = self._parted(states)
        context, alpha, past = self._attend(s_prev[0], memory, dot, past)
        s, extras = _feed(self.cell, projected["x"], context, s_prev, dot)
        return [*s, *past], {**extras, "alpha": alpha, "context": context}

    def _after(self, projected, states, dot, memory):
        (h_prev, *s_prev), past = self._parted(states)
        s, extras = _feed(self.cell, projected["x"], h_prev, s_prev, dot)
        context, alpha, past = self._attend(s[0], memory, dot, past)
        both = ops.concatenate([context, s[0]], axis=-1)
        h = tanh(undropped(dot)(both, self.attentional_kernel))
        return [h, *s, *past], {**extras, "alpha": alpha, "context": context}

    def _between(self, projected, states, dot, memory):
        s_prev, past = self._parted(states)
        s_between, extras = self.cell.step(_whole(projected["x"]), s_prev, dot)
        context, alpha, past = self._attend(s_between[0], memory, dot, past)
        s, more = _feed(self.context_cell, projected["context"], context, s_between, dot)
        more = {f"context_{name}": extra for name, extra in more.items()}
        return [*s, *past], {**extras, **more, "alpha": alpha, "context": context}

    def _parted(self, states):
        """The cell's states, and a list of what the attention remembers, empty where it does not."""
        return (states[:-1], states[-1:]) if self.attention.remembers else (states, [])

    def _attend(self, query, memory, dot, past):
        """The context, the weights, and what is remembered after them."""
        values, keys, mask = memory
        context, alpha = self.attention.attend(query, values, keys, mask, undropped(dot), *past)
        past = [self.attention.remember(alpha, before) for before in past]
        return context, ops.cast(alpha, values.dtype), past

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["seed"]  # it draws nothing
        serialize = keras.saving.serialize_keras_object
        return {
            **config,
            "attention": serialize(self.attention),
            "order": self.order,
            "context_cell": serialize(self.context_cell),
            "memory_size": self.memory_size,
        }

    @classmethod
    def from_config(cls, config):
        restored = keras.saving.deserialize_keras_object
        parts = {name: restored(config.pop(name)) for name in ("cell", "attention", "context_cell")}
        return cls(**parts, **config)


# A cell's projection of [x; fed], where `fed` is known only in the step. Where the cell says that its projection is a
# product, x takes its share before the loop, and the step adds that of `fed`. Otherwise the step projects both, and
# only the cell's noise is made before the loop.


def _project(cell: Cell, x: tf.Tensor, fed_size: int, dot, training: bool) -> dict[str, Any]:
    features = x.shape[-1]
    if cell.input_kernel is None:
        blank = ops.zeros((*ops.shape(x)[:-1], fed_size), x.dtype)
        return {"x": x, "noise": cell.project(ops.concatenate([x, blank], -1), dot, training)}

    def first_rows(operand, variable, columns=None):
        return dot(operand, variable, columns=columns, rows=slice(features))

    return {"product": cell.project(x, first_rows, training)}


def _feed(cell: Cell, projected: dict[str, Any], fed: tf.Tensor, states, dot):
    """One step of the cell on [x; fed]."""
    if "product" in projected:
        whole = projected["product"]
        features = cell.input_kernel.shape[0] - fed.shape[-1]
        first = undropped(dot)(fed, cell.input_kernel, rows=slice(features, None))
        first = tf.nest.flatten(whole)[0] + first
    else:
        whole = projected["noise"]
        x = ops.expand_dims(ops.concatenate([projected["x"], fed], axis=-1), 1)

        def flat(operand, variable, columns=None):
            operand = ops.squeeze(operand, 1)
            return ops.expand_dims(undropped(dot)(operand, variable, columns=columns), 1)

        fresh = cell.project(x, flat, training=False)
        fresh = [ops.squeeze(leaf, 1) for leaf in tf.nest.flatten(fresh)]
        if len(fresh) == len(tf.nest.flatten(whole)):
            return cell.step(tf.nest.pack_sequence_as(whole, fresh), states, dot)
        (first,) = fresh
    leaves = [first, *tf.nest.flatten(whole)[1:]]
    return cell.step(tf.nest.pack_sequence_as(whole, leaves), states, dot)


def _whole(projected: dict[str, Any]) -> Any:
    """The cell's own projection, where nothing is fed beside x."""
    return projected["product"] if "product" in projected else projected["noise"]
