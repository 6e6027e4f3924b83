"""The loop over time, forwards and backwards.

On a CPU each loop carries the slices that its step reads, and cuts the next ones out while a step runs. XLA would
otherwise read them inside of the step's elementwise work, which it then does number by number instead of vector by
vector. Of a single row the slices are so small that forward is faster without. On a GPU it is right that XLA reads them
there: each slice cut out beforehand would be one more kernel to wait for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_rnn.scans.devices import only_cpus
from keras_rnn.scans.over_time import over_time
from keras_rnn.scans.products import Blocks, Dot, Product, dropping, is_trained, sum_dtype
from keras_rnn.scans.stacks import (
    State,
    array_from,
    array_of,
    array_over,
    in_parts,
    length_of,
    slices_at,
    swapped,
    zeros_of_slices,
)

Step = Callable[..., tuple[State, dict[str, tf.Tensor]]]


@dataclasses.dataclass
class Arguments:
    """The tensors that a scan depends on. TensorFlow's custom gradient wants them as one flat list without None."""

    projected: Any
    states: State
    weights: list[tf.Tensor]
    memory: Any
    mask: tf.Tensor | None
    operand_mask: tf.Tensor | None
    time: tf.Tensor | None

    def nest(self) -> list[Any]:
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def flatten(self) -> list[tf.Tensor | None]:
        return tf.nest.flatten(self.nest())

    def replace(self, template: list[bool | None], tensors: Sequence[tf.Tensor]) -> Arguments:
        tensors = iter(tensors)
        leaves = [next(tensors) if there else None for there in template]
        return Arguments(*tf.nest.pack_sequence_as(self.nest(), leaves))


@dataclasses.dataclass
class _Kept:
    """What forward leaves: stacks over time of the states (the initial one first), of products and of extras."""

    states: State
    last_states: State
    products: list[tf.Tensor]
    extras: dict[str, tf.Tensor]


class Loop:
    """The loop over time, forwards and backwards, of one step function.

    Arguments:
        step, extras, parts, axis, unroll: those of `scan`.
        variables: those of `weights` in `scan`, in the order of `Arguments.weights`.
        length: of the time axis; None where it is `Arguments.time`, known only when the loop runs.
        shown: which states are outputs, one of each part.
    """

    def __init__(
        self,
        step: Step,
        variables: Sequence[keras.Variable],
        extras: bool,
        length: int | None,
        shown: Sequence[int],
        parts: Sequence[int],
        axis: int,
        unroll: int,
    ):
        self.step = step
        self.variables = variables
        self.extras = extras
        self.length = length
        self.shown = shown
        self.parts = parts
        self.axis = axis
        self.unroll = unroll
        self.structure: Any = None

    def run_step(self, given: Arguments, projected, states, dot) -> tuple[State, dict]:
        """One step, with the given tensors in place of the variables."""
        scope = keras.StatelessScope(initialize_variables=False)
        for variable, value in zip(self.variables, given.weights):
            scope.add_update((variable, value))
        with scope:
            dot = dropping(dot, given.operand_mask)
            new_states, extras = self.step(projected, list(states), dot, given.memory)
        new_states = [tf.cast(new, old.dtype) for new, old in zip(new_states, states, strict=True)]
        return new_states, dict(extras) if self.extras else {}

    def cut(self, slices: Any) -> Any:
        """The slices of `projected` as the step takes them: whole, or a list of those of each part."""
        return in_parts(slices, self.parts) if self.parts else slices

    def forward(self, given: Arguments) -> _Kept:
        """Runs the steps and keeps what backward needs."""
        time = self.length if given.time is None else given.time
        blocks = Blocks(self.variables, given.weights)

        # A step on zeros before the loop tells which products and extras there are. Graphs prune it.
        dot = Dot(blocks)
        zeros = self.cut(zeros_of_slices(given.projected, self.axis))
        _, extras = self.run_step(given, zeros, given.states, dot)
        ahead = _Ahead(given.projected, self.cut, given.states[0].shape[0], self.axis)

        def body(t, variables):
            current, states = variables
            dot = Dot(blocks)
            new_states, extras = self.step_at(given, t, ahead.now(current, t), states, dot)
            products = [entry.result for entry in dot.products]
            carried = ahead.carried(tf.minimum(t + 1, time - 1))
            return (carried, new_states), (new_states, products, extras)

        products = [entry.result for entry in dot.products]
        (_, last_states), stacks = over_time(
            body,
            time,
            (ahead.carried(0), given.states),
            like=(given.states, products, extras),
            before=[*given.states, *[None] * (len(products) + len(extras))],
            unroll=self.unroll,
        )
        states, products, extras = stacks
        kept = _Kept(states, list(last_states), products, extras)
        self.structure = ([kept.states[k] for k in self.shown], kept.last_states, kept.extras)
        return kept

    def forward_only(self, given: Arguments) -> tuple[list[tf.Tensor], State, dict]:
        """Runs the steps and keeps nothing; plain enough a loop for the converters of other runtimes.

        They want each array written once a step, from the first element to the last, and not before the loop. So where
        the time may be 0 the one step that is there then does run, and what comes of it is thrown away.
        """
        steps = length_of(tf.nest.flatten(given.projected)[0], self.axis)
        blocks = Blocks(self.variables, given.weights)
        # As in forward; and blocks of weights are cut out here, not at every step.
        zeros = self.cut(zeros_of_slices(given.projected, self.axis))
        _, extras = self.run_step(given, zeros, given.states, Dot(blocks))

        ahead = _Ahead(given.projected, self.cut, given.states[0].shape[0], self.axis)

        def body(t, current, states, outputs, extra_arrays):
            dot = Dot(blocks)
            new_states, extras = self.step_at(given, t, ahead.now(current, t), states, dot)
            extra_arrays = {name: a.write(t, extras[name]) for name, a in extra_arrays.items()}
            carried = ahead.carried(tf.minimum(t + 1, steps - 1))
            outputs = [
                array.write(t, new_states[k]) for k, array in zip(self.shown, outputs, strict=True)
            ]
            return t + 1, carried, new_states, outputs, extra_arrays

        _, _, states, outputs, extra_arrays = tf.while_loop(
            lambda t, *_: t < steps,
            body,
            (
                tf.constant(0),
                ahead.carried(0),
                given.states,
                [array_of(given.states[k], steps) for k in self.shown],
                {name: array_of(extra, steps) for name, extra in extras.items()},
            ),
        )
        if given.time is not None:
            states = [
                tf.where(given.time > 0, last, first) for last, first in zip(states, given.states)
            ]
        extras = {name: array.stack() for name, array in extra_arrays.items()}
        return [array.stack() for array in outputs], list(states), extras

    def step_at(self, given: Arguments, t: tf.Tensor, projected, states, dot) -> tuple[State, dict]:
        """One step of the loop: where the mask says so, the states are carried and the extras are zero."""
        new_states, extras = self.run_step(given, projected, states, dot)
        if given.mask is not None:
            real = Real(slices_at(given.mask, t))
            new_states = [real.choose(new, old) for new, old in zip(new_states, states)]
            extras = {name: real.choose(extra, None) for name, extra in extras.items()}
        for new, old in zip(new_states, states):
            new.set_shape(old.shape)
        return new_states, extras

    def backward(
        self,
        given: Arguments,
        kept: _Kept,
        d_outputs: list[tf.Tensor],
        d_states: State,
        d_extras: dict,
    ) -> list[tf.Tensor | None]:
        """The gradients of everything given, flat in the order of `Arguments`."""
        time = self.length if given.time is None else given.time
        blocks = Blocks(self.variables, given.weights)

        # As in forward: one step back on zeros tells what the loop has to carry.
        probe = self.step_back(
            given,
            blocks,
            zeros_of_slices(given.projected, self.axis),
            zeros_of_slices(kept.states),
            zeros_of_slices(kept.products),
            [tf.zeros_like(d) for d in d_states],
            zeros_of_slices(d_extras),
        )
        sums = {slot: tf.zeros_like(leaf) for slot, leaf in probe.summed.items()}

        # A cotangent takes the place of what it belongs to, a product or a slice of `projected`, which has been read by
        # then: that saves a stack, and the zeros to begin it with. (Of no time steps there are zeros in that place.)
        read = {("cotangent", k): stack for k, stack in enumerate(kept.products)}
        if not self.axis:
            projected = tf.nest.flatten(given.projected)
            read |= {("projected", k): stack for k, stack in enumerate(projected)}
        arrays = {
            slot: array_from(read[slot]) if slot in read else array_over(probe.stacked[slot], time)
            for slot in probe.distinct()
        }

        ahead = only_cpus()

        def slices_of(t, arrays):
            """The slices that step t reads."""
            now = {
                slot: arrays[slot].read(t) if slot in arrays else slices_at(stack, t)
                for slot, stack in read.items()
            }
            if self.axis:
                projected = slices_at(given.projected, t, self.axis)
            else:
                leaves = [leaf for (kind, _), leaf in now.items() if kind == "projected"]
                projected = tf.nest.pack_sequence_as(given.projected, leaves)
            products = [leaf for (kind, _), leaf in now.items() if kind == "cotangent"]
            return projected, products, slices_at((kept.states, d_outputs, d_extras), t)

        def carried(t, arrays):
            """What the step before hands on for step t."""
            return slices_of(t, arrays) if ahead else ()

        def body(i, variables):
            current, d_states, sums, arrays = variables
            t = time - 1 - i
            current = current if ahead else slices_of(t, arrays)
            projected, products, (states, d_output, d_extra) = current
            d_new = list(d_states)
            for k, d in zip(self.shown, d_output, strict=True):
                d_new[k] = d_new[k] + d
            if given.mask is not None:
                real = Real(slices_at(given.mask, t))
                d_carried = [real.choose(None, d) for d in d_new]
                d_new = [real.choose(d, None) for d in d_new]
                d_extra = {name: real.choose(d, None) for name, d in d_extra.items()}
            back = self.step_back(
                given,
                blocks,
                projected,
                states,
                products,
                d_new,
                d_extra,
            )
            d_previous = back.states
            if given.mask is not None:
                d_previous = [d + carried for d, carried in zip(d_previous, d_carried)]
            for new, old in zip(d_previous, d_states):
                new.set_shape(old.shape)
            arrays = {slot: array.write(t, back.stacked[slot]) for slot, array in arrays.items()}
            sums = {slot: total + back.summed[slot] for slot, total in sums.items()}
            return (carried(tf.maximum(t - 1, 0), arrays), d_previous, sums, arrays), ()

        (_, d_initial, sums, arrays), _ = over_time(
            body,
            time,
            (carried(tf.maximum(time - 1, 0), arrays), list(d_states), sums, arrays),
            unroll=self.unroll,
        )
        stacks = {slot: array.stack() for slot, array in arrays.items()}
        stacks = {slot: stacks[first] for slot, first in probe.firsts().items()}
        return self.gradients(given, kept, probe, d_initial, sums, stacks)

    def step_back(
        self, given: Arguments, blocks: Blocks, projected, states, products, d_states, d_extras
    ) -> _Back:
        """The vector-Jacobian product of one step."""
        dot = Dot(blocks, products)
        trainable = {
            k: value
            for k, (variable, value) in enumerate(zip(self.variables, given.weights))
            if is_trained(variable)
        }
        # Each leaf by itself: a tensor that stands twice in the memory would get the whole gradient in both places.
        given = dataclasses.replace(given, memory=tf.nest.map_structure(_itself, given.memory))
        memory = dict(enumerate(tf.nest.flatten(given.memory)))
        sources = {
            "projected": dict(enumerate(tf.nest.flatten(projected))),
            "state": dict(enumerate(states)),
            "weight": trainable,
            "memory": memory,
        }
        for kind in ("projected", "memory"):
            sources[kind] = {k: leaf for k, leaf in sources[kind].items() if _is_float(leaf)}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            # A product has a cotangent also where its operand has none, a state cut to ones and zeros for example.
            tape.watch(products)
            new_states, extras = self.run_step(given, self.cut(projected), states, dot)
        targets = new_states + [extras[name] for name in sorted(d_extras)]
        seeds = list(d_states) + [d_extras[name] for name in sorted(d_extras)]
        gradients = tape.gradient(targets, sources, output_gradients=seeds)

        back = _Back(
            states=[
                tf.zeros_like(state) if d is None else d
                for state, d in zip(states, gradients["state"].values())
            ],
            products=dot.products,
        )
        for k, leaf in gradients["projected"].items():
            if leaf is not None:
                back.stacked["projected", k] = leaf
        for k, entry in enumerate(dot.products):
            if entry.cotangent is not None and is_trained(entry.variable):
                back.stacked["cotangent", k] = entry.cotangent
                kept_state = [i for i, state in enumerate(states) if state is entry.operand]
                if kept_state:
                    back.operand_states[k] = kept_state[0]
                else:
                    back.stacked["operand", k] = entry.operand
        for kind in ("weight", "memory"):
            for k, leaf in gradients[kind].items():
                if leaf is not None:
                    leaf = tf.convert_to_tensor(leaf)
                    back.summed[kind, k] = tf.cast(leaf, sum_dtype(leaf))
        return back

    def gradients(self, given, kept, probe, d_initial, sums, stacks):
        """Puts the results of the backward loop together, in the order of `Arguments`."""
        d_weights = [sums.get(("weight", k)) for k in range(len(self.variables))]
        where = {id(variable): k for k, variable in enumerate(self.variables)}
        for k, entry in enumerate(probe.products):
            if ("cotangent", k) not in stacks:
                continue
            if k in probe.operand_states:
                operands = kept.states[probe.operand_states[k]][:-1]
            else:
                operands = stacks["operand", k]
            index = where[id(entry.variable)]
            d_weight = entry.weight_gradient(operands, stacks["cotangent", k])
            if d_weights[index] is not None:
                d_weight = d_weights[index] + d_weight
            d_weights[index] = d_weight
        d_weights = [
            None if d is None else tf.cast(d, value.dtype)
            for d, value in zip(d_weights, given.weights)
        ]
        projected = tf.nest.flatten(given.projected)
        d_projected = [stacks.get(("projected", k)) for k in range(len(projected))]
        if self.axis:
            d_projected = [None if d is None else swapped(d) for d in d_projected]
        memory = tf.nest.flatten(given.memory)
        d_memory = [sums.get(("memory", k)) for k in range(len(memory))]
        d_memory = [
            None if d is None else tf.cast(d, leaf.dtype) for d, leaf in zip(d_memory, memory)
        ]
        return [*d_projected, *d_initial, *d_weights, *d_memory, None, None, None]


class _Ahead:
    """The slices of stacks that a step forward reads: carried from the step before, or read at once.

    Arguments:
        stacks: a nest of them, each [time, ...].
        cut: what is made of a step's slices when they are read, so that it is what is carried.
        rows: of a step, if they are known.
        axis: where time stands in the stacks.
    """

    def __init__(
        self,
        stacks: Any,
        cut: Callable[[Any], Any],
        rows: int | None,
        axis: int,
    ):
        self.stacks = stacks
        self.cut = cut
        self.carries = rows != 1 and only_cpus()
        self.axis = axis

    def carried(self, t: int | tf.Tensor) -> Any:
        """What the step before, or the start, hands on for step t."""
        return self._read(t) if self.carries else ()

    def now(self, carried: Any, t: tf.Tensor) -> Any:
        """The slices of step t."""
        return carried if self.carries else self._read(t)

    def _read(self, t: int | tf.Tensor) -> Any:
        return self.cut(slices_at(self.stacks, t, self.axis))


@dataclasses.dataclass
class _Back:
    """One step back.

    Attributes:
        states: the cotangents of the states before the step.
        products: the step's products.
        stacked: what is stacked over time, by slot: cotangents of `projected` and of products, operands of products.
        summed: what is summed over time, by slot: gradients of weights read outside of `dot` and of the memory.
        operand_states: for a product whose operand is a state as it came, which one; forward has kept it.
    """

    states: State
    products: list[Product]
    stacked: dict[tuple[str, int], tf.Tensor] = dataclasses.field(default_factory=dict)
    summed: dict[tuple[str, int], tf.Tensor] = dataclasses.field(default_factory=dict)
    operand_states: dict[int, int] = dataclasses.field(default_factory=dict)

    def firsts(self) -> dict[tuple[str, int], tuple[str, int]]:
        """For each slot of `stacked` the first slot that holds the very same tensor, so that it is stacked once."""
        first: dict[int, tuple[str, int]] = {}
        return {slot: first.setdefault(id(leaf), slot) for slot, leaf in self.stacked.items()}

    def distinct(self) -> list[tuple[str, int]]:
        return sorted(set(self.firsts().values()))


class Real:
    """The rows of a step that are real, bool[batch]."""

    def __init__(self, rows: tf.Tensor):
        self._by_rank = {1: rows}

    def choose(self, new: tf.Tensor | None, old: tf.Tensor | None) -> tf.Tensor:
        """`new` in rows that are real, `old` in the others; None is zero."""
        either = new if old is None else old
        rank = either.shape.rank
        if rank not in self._by_rank:
            self._by_rank[rank] = tf.reshape(self._by_rank[1], [-1] + [1] * (rank - 1))
        zero = tf.zeros([], either.dtype) if new is None or old is None else None
        return tf.where(
            self._by_rank[rank], zero if new is None else new, zero if old is None else old
        )


def _itself(leaf: tf.Tensor | None) -> tf.Tensor | None:
    return None if leaf is None else tf.identity(leaf)


def _is_float(leaf: Any) -> bool:
    return leaf is not None and leaf.dtype.is_floating
