"""The layer that runs any cell in the fused time loop, and its shorthands for the two best known cells."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_rnn.cells.cell import Cell
from keras_rnn.cells.gru import GRUCell
from keras_rnn.cells.lstm import LSTMCell
from keras_rnn.keras_internals import keep_while_ids_are_known, layers_of
from keras_rnn.layers.projection import project, projecting_in_steps_pays, step_that_projects
from keras_rnn.registration import register
from keras_rnn.scans import (
    at_least_one,
    halving_pays,
    product,
    scan,
    scan_in_chunks,
    scan_in_halves,
    swapped,
)


@register
class FusedRNN(keras.layers.RNN):
    """Runs a cell over time in one compiled loop, with an efficient gradient.

    Outputs and gradients are those of `keras.layers.RNN(cell)`; masks, states, `go_backwards`, saving, mixed precision
    and `keras.layers.Bidirectional` work as there. A masked step carries the states. Its output repeats the last real
    one and is 0 before a row's first real step; with `zero_output_for_mask` it is 0 at every masked step.

    Arguments:
        cell: a `Cell`, or a list of them: a stack, which runs one loop a layer.
        return_sequences: whether to give the output of every time step, [batch, time, units], or of the last one.
        return_state: whether to give the last states too.
        go_backwards: whether to read the time steps from the last to the first. Outputs stand in the order of
            processing.
        stateful: whether each batch starts from the last states of the one before.
        zero_output_for_mask: whether the output is 0 at masked steps.
        return_extras: whether to give, last, the extras of every time step (gates, attention weights): a dict of
            tensors [batch, time, ...], 0 at masked steps; of a stack, a list of such dicts.
        rematerialize: the number of time steps between two states that are kept for backward, which computes what is
            between them again: less memory for long sequences, more time. True takes about the square root of the time;
            the memory then grows about as that root. None keeps all.
        unroll: the number of time steps that make one iteration of the loop. On a GPU 4 are faster than 1, and take
            longer to compile and more memory; on a CPU they are slower. What `forward_only` traces goes step by step.
        **kwargs: those of `keras.layers.Layer`. `dtype` is that of the cell.

    Called with `(sequences, initial_state=None, mask=None, memory=None, memory_mask=None)`: sequences
    [batch, time, features], mask bool[batch, time], memory a nest of tensors [batch, ...] that an attending cell sees
    at every step. `Bidirectional` wants tensors of its layers, and so no `return_extras`.

    Attributes:
        fused: True.

    Raises:
        TypeError: for a cell that is not a `keras_rnn.Cell`.
        ValueError: for a `dtype` other than that of the cell, a `rematerialize` or an `unroll` below 1, a wrong number
            of initial states, another batch size of a stateful layer, and a memory or extras that are not [batch, ...].
        NotImplementedError: when a second derivative is taken.

    Example:

    >>> import keras, keras_rnn
    >>> layer = keras_rnn.FusedRNN(keras_rnn.GRUCell(4), return_sequences=True, return_extras=True)
    >>> outputs, extras = layer(keras.ops.ones((2, 5, 3)))
    >>> outputs.shape, extras["gamma_u"].shape
    (TensorShape([2, 5, 4]), TensorShape([2, 5, 4]))
    """

    fused = True

    def __init__(
        self,
        cell: Cell | Sequence[Cell],
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        return_extras: bool = False,
        rematerialize: int | bool | None = None,
        unroll: int = 1,
        **kwargs,
    ):
        cells = list(cell) if isinstance(cell, (list, tuple)) else [cell]
        if len(cells) == 1 and isinstance(cells[0], keras.layers.StackedRNNCells):
            cells = list(cells[0].cells)
        for part in cells:
            if not isinstance(part, Cell):
                raise TypeError(
                    f"FusedRNN runs cells that derive from keras_rnn.Cell; {type(part).__name__} does not. "
                    "keras.layers.RNN runs any cell."
                )
        unroll = 1 if unroll is False else unroll  # as Keras has it
        if unroll is True or not isinstance(unroll, numbers.Integral) or unroll < 1:
            raise ValueError(f"unroll must be a number of time steps, 1 or more; got {unroll!r}.")
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = cells[0].dtype_policy
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            zero_output_for_mask=zero_output_for_mask,
            unroll=unroll,
            **kwargs,
        )
        self.return_extras = return_extras
        steps = isinstance(rematerialize, numbers.Integral) and rematerialize >= 1
        if not (steps or rematerialize is None or rematerialize is False):
            raise ValueError(
                f"rematerialize must be a number of time steps, True or None; got {rematerialize}."
            )
        self.rematerialize = rematerialize
        for part in cells:
            if part.compute_dtype != self.compute_dtype:
                raise ValueError(
                    f"FusedRNN computes in {self.compute_dtype}, its cell {part.name} in {part.compute_dtype}: "
                    "give the dtype to the cell."
                )

    @property
    def cells(self) -> list[Cell]:
        """The cells from the first layer to the last; one for a layer that is no stack."""
        stack = isinstance(self.cell, keras.layers.StackedRNNCells)
        return list(self.cell.cells) if stack else [self.cell]

    def build(self, sequences_shape, initial_state_shape=None, memory_shape=None):
        for cell in self.cells:
            if memory_shape is not None:
                cell.build_memory(memory_shape)
        super().build(sequences_shape)

    def call(
        self,
        sequences,
        initial_state=None,
        mask=None,
        memory=None,
        memory_mask=None,
        sequences_mask=None,
        training=False,
    ):
        # Keras hands on the mask of the sequences by that name where there are other tensors.
        mask = sequences_mask if mask is None else mask
        # Of a memory of several tensors it hands on a nest of masks, also where there are none.
        if all(leaf is None for leaf in tf.nest.flatten(memory_mask)):
            memory_mask = None
        x = swapped(sequences)
        if mask is not None:
            mask = swapped(ops.cast(mask, "bool"))
        if self.go_backwards:
            x = tf.reverse(x, [0])
            mask = None if mask is None else tf.reverse(mask, [0])

        last_states, extras = [], []
        first_states = self._first_states(sequences, initial_state, memory)
        for cell, states in zip(self.cells, first_states):
            scanned = self._scan(cell, x, states, mask, memory, memory_mask, training)
            x = scanned.outputs
            last_states.append(scanned.states)
            for name, extra in scanned.extras.items():
                _check_rows(f"The extra {name!r}", extra.shape[1:], states[0])
            extras.append({name: swapped(extra) for name, extra in scanned.extras.items()})
        outputs = self._outputs(x, mask)

        if self.stateful:
            for variable, state in zip(tf.nest.flatten(self.states), tf.nest.flatten(last_states)):
                variable.assign(ops.cast(state, variable.dtype))
        stack = len(self.cells) > 1
        result = [outputs]
        if self.return_state:
            result += last_states if stack else last_states[0]
        if self.return_extras:
            result.append(extras if stack else extras[0])
        return tuple(result) if len(result) > 1 else outputs

    def reset_state(self):
        """Sets the kept states of a stateful layer to zero; Keras's own does so only without a stack."""
        for variable in tf.nest.flatten(self.states or []):
            variable.assign(ops.zeros_like(variable))

    def _first_states(self, sequences, initial_state, memory) -> list[list[tf.Tensor]]:
        """The states to begin with, one list a cell."""
        if initial_state is None and self.stateful:
            batch_size, expected = sequences.shape[0], tf.nest.flatten(self.states)[0].shape[0]
            if batch_size not in (None, expected):
                raise ValueError(
                    f"A stateful layer wants the same batch size every time: expected {expected}, got {batch_size}."
                )
            initial_state = self.states
        if initial_state is None:
            rows = tf.shape(sequences)[0]
            initial_state = [cell.initial_states(rows, memory) for cell in self.cells]
        leaves = [
            tf.convert_to_tensor(ops.convert_to_tensor(leaf, dtype=self.compute_dtype))
            for leaf in tf.nest.flatten(initial_state)
        ]
        counts = [len(cell.state_sizes) for cell in self.cells]
        if len(leaves) != sum(counts):
            raise ValueError(
                f"initial_state must hold {sum(counts)} tensors, one a state; got {len(leaves)}."
            )
        states = []
        for cell, count in zip(self.cells, counts):
            own, leaves = leaves[:count], leaves[count:]
            for state, shape in zip(own, cell.state_shapes):
                state.set_shape([sequences.shape[0], *shape])
            states.append(own)
        return states

    def _scan(self, cell: Cell, x, states, mask, memory, memory_mask, training):
        """Runs the loop. `x`, time-major, is projected before it, or step by step where that is faster."""
        operand_mask = cell.operand_mask(states[0], training)
        memory = None if memory is None else cell.prepare_memory(memory, memory_mask)
        for leaf in tf.nest.flatten(memory):
            if leaf is not None and leaf.shape.rank != 0:
                _check_rows("Every tensor of a memory", leaf.shape, states[0])

        projection = functools.partial(project, cell, training=training)
        if any(not layer.built for layer in layers_of(cell)):
            # A step by itself builds them: within the loop their weights would not outlive it.
            first = tf.nest.map_structure(lambda leaf: leaf[0], projection(at_least_one(x)[:1]))
            cell.step(first, states, product, memory)
        step, scanning = cell.step, scan_in_halves if halving_pays(states[0]) else scan
        if not training and projecting_in_steps_pays(cell, x):
            step, scanning, projection = step_that_projects(cell), scan, tf.identity

        def run(projected, states, mask, memory):
            return scanning(
                step,
                projected,
                states,
                [(weight, tf.convert_to_tensor(weight.value)) for weight in cell.weights],
                mask=mask,
                memory=memory[0],
                operand_mask=memory[1],
                extras=self.return_extras,
                unroll=self.unroll,
            )

        everything = (memory, operand_mask)
        if not self.rematerialize:
            return run(projection(x), states, mask, everything)
        draws = training and len(cell.variables) > len(cell.weights)  # it has the state of a seed
        if draws:  # what backward computes again must not draw again
            x = projection(x)
        return scan_in_chunks(
            run if draws else lambda x, *rest: run(projection(x), *rest),
            x,
            states,
            [(weight, tf.convert_to_tensor(weight.value)) for weight in cell.weights],
            None if self.rematerialize is True else self.rematerialize,
            mask=mask,
            memory=everything,
        )

    def _outputs(self, x: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        """The outputs asked for, of the time-major ones, by the rules for masked steps."""
        if mask is None:
            if self.return_sequences:
                return swapped(x)
            return x[-1] if x.shape[0] else tf.reduce_sum(x[-1:], axis=0)
        time = tf.range(tf.shape(mask)[0])[:, None]
        first = tf.reduce_min(tf.where(mask, time, tf.int32.max), axis=0)
        shown = mask if self.zero_output_for_mask else time >= first
        if not self.return_sequences:
            x, shown = x[-1:], shown[-1:]
        shown = tf.reshape(shown, tf.concat([tf.shape(shown), [1] * (x.shape.rank - 2)], axis=0))
        x = tf.where(shown, x, tf.zeros([], x.dtype))
        return swapped(x) if self.return_sequences else tf.reduce_sum(x, axis=0)

    def compute_mask(self, inputs, mask):
        masks = tf.nest.flatten(mask)
        masks = [masks[0] if self.return_sequences and masks else None]
        if self.return_state:
            masks += [None] * len(self.state_size)
        if self.return_extras:
            masks.append(None)
        return masks if len(masks) > 1 else masks[0]

    def compute_output_shape(self, sequences_shape, initial_state_shape=None, memory_shape=None):
        batch, time = sequences_shape[:2]
        size = self.cells[-1].output_size
        shape = (batch, time) if self.return_sequences else (batch,)
        shape = shape + ((size,) if isinstance(size, int) else tuple(size))
        if not self.return_state:
            return shape
        states = [[(batch, *own) for own in cell.state_shapes] for cell in self.cells]
        return (shape, *(states if len(states) > 1 else states[0]))

    def compute_output_spec(self, *args, **kwargs):
        if self.return_extras:  # only the cell's step knows its extras
            return keras.Operation.compute_output_spec(self, *args, **kwargs)
        return super().compute_output_spec(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        keep_while_ids_are_known(self)
        return {
            **super().get_config(),
            "return_extras": self.return_extras,
            "rematerialize": self.rematerialize,
        }


def _check_rows(what: str, shape: tf.TensorShape, state: tf.Tensor):
    """The loop gives each half of the rows its own part."""
    if shape.rank == 0 or not shape[:1].is_compatible_with(state.shape[:1]):
        raise ValueError(f"{what} must be [batch, ...], here [{state.shape[0]}, ...]; got {shape}.")


LAYER_ARGUMENTS = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "zero_output_for_mask",
    "return_extras",
    "rematerialize",
    "unroll",
    "name",
    "trainable",
    "activity_regularizer",
    "input_shape",
    "batch_shape",
)


class _Shorthand(FusedRNN):
    """A `FusedRNN` whose arguments are those of its one cell and its own, together."""

    cell_class: type[Cell]

    def __init__(self, units: int, **kwargs):
        own = {name: kwargs.pop(name) for name in LAYER_ARGUMENTS if name in kwargs}
        super().__init__(self.cell_class(units, **kwargs), **own)

    def get_config(self):
        own = super().get_config()
        cell = self.cell.get_config()
        own["trainable"] = own["trainable"] and cell["trainable"]
        for name in ("name", "trainable", "dtype"):
            del cell[name]
        del own["cell"]
        return {**own, **cell}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@register
class LSTM(_Shorthand):
    """`FusedRNN(LSTMCell(units, ...), ...)`: long short-term memory, with the equations of `LSTMCell`.

    The default is the lecture's a = Γ_o * c; `output_activation="tanh"` gives the standard LSTM. Of
    Keras's arguments it lacks `use_bias`, `activation`, `recurrent_activation` and `implementation`, and `dropout`, for
    which `keras_rnn.SpatialDropout1D` before it stands.

    Weights, those of the cell, in blocks u, f, o, c:
        kernel: [features, 4 · units]
        recurrent_kernel: [units, 4 · units]
        bias: [4 · units]

    Arguments:
        units: size of a and of c.
        **kwargs: those of `LSTMCell`: output_activation, unit_forget_bias, the initializers, regularizers and
            constraints of the three weights, recurrent_dropout, recurrent_dropout_kind, seed, dtype; and those of
            `FusedRNN`: return_sequences, return_state, go_backwards, stateful, zero_output_for_mask, return_extras,
            rematerialize, unroll, name, trainable.

    Source: that of `LSTMCell`.

    Example:

    >>> import keras, keras_rnn
    >>> keras_rnn.LSTM(4, output_activation="tanh", return_sequences=True)(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 5, 4])
    """

    cell_class = LSTMCell


@register
class GRU(_Shorthand):
    """`FusedRNN(GRUCell(units, ...), ...)`: the gated recurrent unit, with the equations of `GRUCell`.

    The default resets before the product, as the lecture does; `reset_after=True` gives Keras's GRU. It lacks the
    arguments that `LSTM` lacks.

    Weights, those of the cell, in blocks u, r, c:
        kernel: [features, 3 · units]
        recurrent_kernel: [units, 3 · units]
        bias: [3 · units]
        recurrent_bias: [3 · units], only with `reset_after`

    Arguments:
        units: size of c.
        **kwargs: `reset_after` and the others of `GRUCell`, in place of output_activation and unit_forget_bias; else as
            in `LSTM`.

    Source: that of `GRUCell`.

    Example:

    >>> import keras, keras_rnn
    >>> keras_rnn.GRU(4)(keras.ops.ones((2, 5, 3))).shape
    TensorShape([2, 4])
    """

    cell_class = GRUCell
