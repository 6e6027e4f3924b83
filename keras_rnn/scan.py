"""The fused time loop and its gradient: the one file of the house with a `tf.custom_gradient`.

A cell gives its equations for one time step, `step`. `scan` runs them over time in one loop and differentiates that
loop for them:

- forward keeps the states and the result of every product with a weight (every `dot`), nothing else;
- backward walks the steps from the last to the first and asks TensorFlow for the vector-Jacobian product of `step`
  alone. There each `dot` hands out its kept result instead of multiplying again, and puts its cotangent aside;
- the gradient of a recurrent weight is then one product over all time steps, operandsᵀ · cotangents, after the loop.

Weights that `step` reads outside of `dot` (peepholes, gains, a plain `ops.matmul`) and the memory get their gradients
from the vector-Jacobian product, summed in the loop in float32.

Each loop carries the slices that its step reads, and cuts the next ones out while a step runs. XLA would otherwise
read them inside of the step's elementwise work, which it then does number by number instead of vector by vector. Of a
single row the slices are so small that forward is faster without.

`scan_in_halves` runs two halves of the rows side by side in one loop: what one core does for one half need not wait for
the other's.

Everything here is time-major, [time, batch, ...]; the rest of the house is batch-major. Only `scan_in_chunks` turns its
inputs back: read as they came, one chunk at a time, they need no copy with time in front.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

# Rows, and numbers of a state, from which on two halves are faster than one whole.
LEAST_ROWS = 8
LEAST_NUMBERS = 1024

State = list[tf.Tensor]
Step = Callable[..., tuple[State, dict[str, tf.Tensor]]]


@dataclasses.dataclass
class Scanned:
    """What a scan gives.

    Attributes:
        outputs: the first state after every step, [time, batch, ...].
        states: every state after the last step, each [batch, ...].
        extras: the step's extras, each [time, batch, ...], zero at masked steps; empty unless asked for.
    """

    outputs: tf.Tensor
    states: State
    extras: dict[str, tf.Tensor]


_GRADIENTS = contextvars.ContextVar("gradients", default=True)


@contextlib.contextmanager
def forward_only() -> Iterator[None]:
    """Scans that are traced inside keep nothing for backward and have no gradient: for serving."""
    token = _GRADIENTS.set(False)
    try:
        yield
    finally:
        _GRADIENTS.reset(token)


def scan(
    step: Step,
    projected: Any,
    states: Sequence[tf.Tensor],
    weights: Sequence[tuple[keras.Variable | tf.Tensor, tf.Tensor]] = (),
    *,
    mask: tf.Tensor | None = None,
    memory: Any = None,
    operand_mask: tf.Tensor | None = None,
    extras: bool = False,
    parts: Sequence[int] = (),
    axis: int = 0,
) -> Scanned:
    """Runs `step` over time, with an efficient gradient.

    Arguments:
        step: `step(projected, states, dot, memory) -> (states, extras)`, one time step. It must be pure.
        projected: nest of tensors [time, batch, ...]; each step sees its slice.
        states: the states before the first step, each [batch, ...].
        weights: the variables that `step` may read, each with the tensor to read in its place (its value in the dtype
            of computation). Those that are not trainable cost no gradient work. A plain tensor may stand for a
            variable: `dot` knows it by identity.
        mask: bool[time, batch]; a step with False carries the states.
        memory: nest of tensors [batch, ...] that every step sees, or None.
        operand_mask: [batch, units], constant over the sequence; multiplies every operand of that width before its
            product with a weight (recurrent dropout after Gal and Ghahramani).
        extras: whether to stack the step's extras.
        parts: the rows of each part of the batch, where the step takes them part by part: the slices of `projected`
            are then a list, one nest a part, and the states those of the first part, then those of the next. The
            outputs are the first states of all parts, one beneath the other.
        axis: where time stands in `projected`, 0 or 1.

    Raises:
        NotImplementedError: when a second derivative is taken through the scan.
    """
    variables = [variable for variable, _ in weights]
    length = tf.nest.flatten(projected)[0].shape[axis]
    time = None
    if not length:  # 0, or known only when it runs, and then it may be 0
        time = tf.shape(tf.nest.flatten(projected)[0])[axis]
        projected = tf.nest.map_structure(lambda stack: _at_least_one(stack, axis), projected)
        mask = None if mask is None else _at_least_one(mask)
    arguments = _Arguments(
        projected, list(states), [value for _, value in weights], memory, mask, operand_mask, time
    )
    shown = range(0, len(states), len(states) // max(len(parts), 1))
    loop = _Loop(step, variables, extras, length, shown, parts, axis)
    template = [None if leaf is None else True for leaf in arguments.flatten()]

    @tf.custom_gradient
    def run(*tensors):
        given = arguments.replace(template, tensors)
        kept = loop.forward(given)
        results = ([kept.states[k][1:] for k in shown], kept.last_states, kept.extras)

        def gradient(*cotangents):
            gradients = loop.backward(given, kept, *tf.nest.pack_sequence_as(results, cotangents))
            return [
                None if leaf is None else _once_differentiable(leaf)
                for leaf, there in zip(gradients, template)
                if there
            ]

        return tf.nest.flatten(results), gradient

    if _GRADIENTS.get():
        flat = run(*[leaf for leaf in arguments.flatten() if leaf is not None])
        # The structure of the extras is known only after the step was traced.
        outputs, last_states, extras = tf.nest.pack_sequence_as(loop.structure, flat)
    else:
        outputs, last_states, extras = loop.forward_only(arguments)
    outputs = tf.concat(outputs, 1) if len(outputs) > 1 else outputs[0]
    if time is not None:
        outputs = outputs[:time]
        extras = {name: stack[:time] for name, stack in extras.items()}
    return Scanned(outputs, last_states, extras)


def scan_in_halves(
    step: Step,
    projected: Any,
    states: Sequence[tf.Tensor],
    weights: Sequence[tuple[keras.Variable | tf.Tensor, tf.Tensor]] = (),
    *,
    mask: tf.Tensor | None = None,
    memory: Any = None,
    operand_mask: tf.Tensor | None = None,
    extras: bool = False,
) -> Scanned:
    """Runs a scan on two halves of the rows, each step of the loop a step of both.

    The products and the elementwise work of one half hang on nothing of the other, so that XLA gives each to a core of
    its own; a product of all rows it divides among cores that then wait for each other at every step. The step must
    treat each row by itself, and the number of rows be known. It is a scan whose step is two steps, so it needs no
    gradient of its own.

    Arguments: those of `scan`. What the memory holds for all rows together goes to both halves.
    """
    rows, count = states[0].shape[0], len(states)
    sizes = [rows // 2, rows - rows // 2]

    def both(slices, states, dot, memory):
        stepped = [
            step_half(*half, own, dot)
            for *half, own in zip(slices, memory, (states[:count], states[count:]), strict=True)
        ]
        (first, extras_of_first), (second, extras_of_second) = stepped
        return [*first, *second], {
            name: tf.concat([extra, extras_of_second[name]], 0)
            for name, extra in extras_of_first.items()
        }

    def step_half(slices, memory, states, dot):
        projected, real = slices if mask is not None else (slices, None)
        memory, operand_mask = memory
        new, found = step(projected, states, _dropping(dot, operand_mask), memory)
        found = found if extras else {}
        if real is not None:
            real = _Real(real)
            new = [real.choose(one, old) for one, old in zip(new, states, strict=True)]
            found = {name: real.choose(extra, None) for name, extra in found.items()}
        return list(new), found

    scanned = scan(
        both,
        projected if mask is None else (projected, mask),
        [state for half in _in_parts(list(states), sizes) for state in half],
        weights,
        memory=_in_parts((memory, operand_mask), sizes),
        extras=extras,
        parts=sizes,
    )
    last = zip(scanned.states[:count], scanned.states[count:], strict=True)
    return Scanned(scanned.outputs, [tf.concat(pair, 0) for pair in last], scanned.extras)


def halving_pays(state: tf.Tensor) -> bool:
    """Whether `scan_in_halves` is the faster one for a state [rows, units]: on a CPU, where there is enough to do."""
    rows, *units = state.shape
    if rows is None or rows < LEAST_ROWS or rows * math.prod(units) < LEAST_NUMBERS:
        return False
    return all(device.device_type == "CPU" for device in tf.config.list_logical_devices())


def _dropping(dot: Callable[..., tf.Tensor], operand_mask: tf.Tensor | None):
    """`dot` with a recurrent dropout mask on its operands."""
    if operand_mask is None:
        return dot

    def dropped(operand, variable, columns=None, rows=None):
        # A constant: nobody asks for its gradient.
        return dot(_dropped(operand, tf.stop_gradient(operand_mask)), variable, columns, rows)

    return dropped


def scan_in_chunks(
    run: Callable[..., Scanned],
    inputs: Any,
    states: Sequence[tf.Tensor],
    weights: Sequence[tuple[keras.Variable, tf.Tensor]],
    every: int | None = None,
    *,
    mask: tf.Tensor | None = None,
    memory: Any = None,
) -> Scanned:
    """Runs a scan in chunks and keeps only the states between them: backward computes each chunk again.

    It is a scan whose step is itself a scan, so it needs no gradient of its own.

    Arguments:
        run: `run(inputs, states, mask, memory) -> Scanned`, the scan of one chunk, with whatever goes before it. It
            must draw no noise, for it runs again in backward.
        inputs: nest of tensors [time, batch, ...].
        states, weights, mask, memory: as in `scan`.
        every: time steps in a chunk; by default about the square root of the time.
    """
    first = tf.nest.flatten(inputs)[0]
    time = _length(first)
    if every is None:
        every = _square_root(time)
    chunks = -(-time // every)
    if mask is None:  # the last chunk is filled up with steps that carry the states
        mask = tf.ones(tf.shape(first)[:2], tf.bool)

    def cut(stack):
        """[batch, chunks, every, ...]; XLA drops the two turns of what had its batch in front."""
        stack = swapped(stack)
        if not isinstance(time, int) or time % every:
            filler = [[0, 0], [0, chunks * every - time]] + [[0, 0]] * (stack.shape.rank - 2)
            stack = tf.pad(stack, filler)
        batch, _, *rest = _shape(stack)
        return tf.reshape(stack, [batch, chunks, every, *rest])

    def step(projected, states, dot, memory):
        inputs, mask = tf.nest.map_structure(lambda chunk: swapped(chunk), projected)
        scanned = run(inputs, states, mask, memory)
        return scanned.states, {"outputs of the chunk": scanned.outputs, **scanned.extras}

    scanned = scan(
        step,
        tf.nest.map_structure(cut, (inputs, mask)),
        states,
        weights,
        memory=memory,
        extras=True,
        axis=1,
    )
    extras = {
        name: tf.reshape(stack, [chunks * every, *_shape(stack)[2:]])[:time]
        for name, stack in scanned.extras.items()
    }
    return Scanned(extras.pop("outputs of the chunk"), scanned.states, extras)


@dataclasses.dataclass
class _Arguments:
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

    def replace(self, template: list[bool | None], tensors: Sequence[tf.Tensor]) -> _Arguments:
        tensors = iter(tensors)
        leaves = [next(tensors) if there else None for there in template]
        return _Arguments(*tf.nest.pack_sequence_as(self.nest(), leaves))


@dataclasses.dataclass
class _Kept:
    """What forward leaves: stacks over time of the states (the initial one first), of products and of extras."""

    states: State
    last_states: State
    products: list[tf.Tensor]
    extras: dict[str, tf.Tensor]


class _Blocks:
    """The blocks of weights that `dot` multiplies by. Each is cut out once, when it is first asked for."""

    def __init__(self, variables: Sequence[keras.Variable], values: Sequence[tf.Tensor]):
        self._values = {id(variable): value for variable, value in zip(variables, values)}
        self._blocks: dict[tuple, tf.Tensor] = {}
        self._transposed: dict[tuple, tf.Tensor] = {}

    def __contains__(self, variable: Any) -> bool:
        return id(variable) in self._values and self._values[id(variable)].shape.rank == 2

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
class _Product:
    """One `dot` of a step: the operand, the block of the weight, and in backward the cotangent of the result."""

    operand: tf.Tensor
    variable: keras.Variable
    columns: slice | None
    rows: slice | None
    result: tf.Tensor
    cotangent: tf.Tensor | None = None


class _Dot:
    """The `dot` that a step gets. In forward it multiplies, in backward it hands out what forward kept."""

    def __init__(
        self,
        blocks: _Blocks,
        operand_mask: tf.Tensor | None,
        kept: Sequence[tf.Tensor] | None = None,
    ):
        self.products: list[_Product] = []
        self._blocks = blocks
        self._operand_mask = operand_mask
        self._kept = kept

    def __call__(
        self,
        operand: tf.Tensor,
        variable: keras.Variable,
        columns: slice | None = None,
        rows: slice | None = None,
    ) -> tf.Tensor:
        operand = _dropped(operand, self._operand_mask)
        if variable not in self._blocks or operand.shape.rank != 2:
            return product(operand, variable, columns, rows)
        if self._kept is None:
            result = tf.matmul(operand, self._blocks(variable, columns, rows))
        else:
            result = self._kept[len(self.products)]
        entry = _Product(operand, variable, columns, rows, result)
        self.products.append(entry)
        if self._kept is None:
            return result
        return self._tap(entry, self._blocks.transposed(variable, columns, rows))

    @staticmethod
    def _tap(entry: _Product, transposed: tf.Tensor) -> tf.Tensor:
        """The kept product, differentiable in its operand; its cotangent is put aside on the way back."""

        @tf.custom_gradient
        def tap(operand, result, transposed):
            def gradient(cotangent):
                entry.cotangent = cotangent
                return tf.matmul(cotangent, transposed), None, None

            return tf.identity(result), gradient

        return tap(entry.operand, entry.result, transposed)


class _Loop:
    """The loop over time, forwards and backwards, of one step function."""

    def __init__(
        self,
        step: Step,
        variables: Sequence[keras.Variable],
        extras: bool,
        length: int | None,
        shown: Sequence[int],
        parts: Sequence[int],
        axis: int,
    ):
        self.step = step
        self.variables = variables
        self.extras = extras
        self.length = length
        self.shown = shown
        self.parts = parts
        self.axis = axis
        self.structure: Any = None

    def run_step(self, given: _Arguments, projected, states, dot) -> tuple[State, dict]:
        """One step, with the given tensors in place of the variables."""
        scope = keras.StatelessScope(initialize_variables=False)
        for variable, value in zip(self.variables, given.weights):
            scope.add_update((variable, value))
        with scope:
            new_states, extras = self.step(projected, list(states), dot, given.memory)
        new_states = [tf.cast(new, old.dtype) for new, old in zip(new_states, states, strict=True)]
        return new_states, dict(extras) if self.extras else {}

    def cut(self, slices: Any) -> Any:
        """The slices of `projected` as the step takes them: whole, or a list of those of each part."""
        return _in_parts(slices, self.parts) if self.parts else slices

    def forward(self, given: _Arguments) -> _Kept:
        """Runs the steps and keeps what backward needs."""
        time = self.length if given.time is None else given.time
        blocks = _Blocks(self.variables, given.weights)

        # A step on zeros before the loop tells which products and extras there are. Graphs prune it.
        dot = _Dot(blocks, given.operand_mask)
        zeros = self.cut(_zeros_at(given.projected, self.axis))
        _, extras = self.run_step(given, zeros, given.states, dot)
        state_arrays = [_array(state, time, extra=1) for state in given.states]
        state_arrays = [array.write(0, s) for array, s in zip(state_arrays, given.states)]
        product_arrays = [_array(entry.result, time) for entry in dot.products]
        extra_arrays = {name: _array(extra, time) for name, extra in extras.items()}

        ahead = _Ahead(given.projected, self.cut, given.states[0].shape[0], self.axis)

        def body(t, current, states, state_arrays, product_arrays, extra_arrays):
            dot = _Dot(blocks, given.operand_mask)
            new_states, extras = self.step_at(given, t, ahead.now(current, t), states, dot)
            return (
                t + 1,
                ahead.carried(tf.minimum(t + 1, time - 1)),
                new_states,
                [array.write(t + 1, new) for array, new in zip(state_arrays, new_states)],
                [
                    array.write(t, entry.result)
                    for array, entry in zip(product_arrays, dot.products)
                ],
                {name: array.write(t, extras[name]) for name, array in extra_arrays.items()},
            )

        _, _, last_states, state_arrays, product_arrays, extra_arrays = tf.while_loop(
            lambda t, *_: t < time,
            body,
            (
                tf.constant(0),
                ahead.carried(0),
                given.states,
                state_arrays,
                product_arrays,
                extra_arrays,
            ),
            maximum_iterations=time,
        )
        kept = _Kept(
            [array.stack() for array in state_arrays],
            list(last_states),
            [array.stack() for array in product_arrays],
            {name: array.stack() for name, array in extra_arrays.items()},
        )
        self.structure = ([kept.states[k] for k in self.shown], kept.last_states, kept.extras)
        return kept

    def forward_only(self, given: _Arguments) -> tuple[list[tf.Tensor], State, dict]:
        """Runs the steps and keeps nothing; plain enough a loop for the converters of other runtimes.

        They want each array written once a step, from the first element to the last, and not before the loop. So where
        the time may be 0 the one step that is there then does run, and what comes of it is thrown away.
        """
        steps = _length(tf.nest.flatten(given.projected)[0], self.axis)
        blocks = _Blocks(self.variables, given.weights)
        extras = {}
        if self.extras:
            dot = _Dot(blocks, given.operand_mask)
            zeros = self.cut(_zeros_at(given.projected, self.axis))
            _, extras = self.run_step(given, zeros, given.states, dot)

        ahead = _Ahead(given.projected, self.cut, given.states[0].shape[0], self.axis)

        def body(t, current, states, outputs, extra_arrays):
            dot = _Dot(blocks, given.operand_mask)
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
                [_array_of(given.states[k], steps) for k in self.shown],
                {name: _array_of(extra, steps) for name, extra in extras.items()},
            ),
        )
        if given.time is not None:
            states = [
                tf.where(given.time > 0, last, first) for last, first in zip(states, given.states)
            ]
        extras = {name: array.stack() for name, array in extra_arrays.items()}
        return [array.stack() for array in outputs], list(states), extras

    def step_at(
        self, given: _Arguments, t: tf.Tensor, projected, states, dot
    ) -> tuple[State, dict]:
        """One step of the loop: where the mask says so, the states are carried and the extras are zero."""
        new_states, extras = self.run_step(given, projected, states, dot)
        if given.mask is not None:
            real = _Real(_at(given.mask, t))
            new_states = [real.choose(new, old) for new, old in zip(new_states, states)]
            extras = {name: real.choose(extra, None) for name, extra in extras.items()}
        for new, old in zip(new_states, states):
            new.set_shape(old.shape)
        return new_states, extras

    def backward(
        self,
        given: _Arguments,
        kept: _Kept,
        d_outputs: list[tf.Tensor],
        d_states: State,
        d_extras: dict,
    ) -> list[tf.Tensor | None]:
        """The gradients of everything given, flat in the order of `_Arguments`."""
        time = self.length if given.time is None else given.time
        blocks = _Blocks(self.variables, given.weights)

        # As in forward: one step back on zeros tells what the loop has to carry.
        probe = self.step_back(
            given,
            blocks,
            _zeros_at(given.projected, self.axis),
            _zeros_at(kept.states),
            _zeros_at(kept.products),
            [tf.zeros_like(d) for d in d_states],
            _zeros_at(d_extras),
        )
        arrays = {slot: _array(probe.stacked[slot], time) for slot in probe.distinct()}
        sums = {slot: tf.zeros_like(leaf) for slot, leaf in probe.summed.items()}

        given_ahead = _Ahead(given.projected, axis=self.axis)
        kept_ahead = _Ahead((kept.states, kept.products, d_outputs, d_extras))

        def carried(t):
            return given_ahead.carried(t), kept_ahead.carried(t)

        def body(i, current, d_states, sums, arrays):
            t = time - 1 - i
            projected = given_ahead.now(current[0], t)
            states, products, d_output, d_extra = kept_ahead.now(current[1], t)
            d_new = list(d_states)
            for k, d in zip(self.shown, d_output, strict=True):
                d_new[k] = d_new[k] + d
            if given.mask is not None:
                real = _Real(_at(given.mask, t))
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
            return (
                i + 1,
                carried(tf.maximum(t - 1, 0)),
                d_previous,
                {slot: total + back.summed[slot] for slot, total in sums.items()},
                {slot: array.write(t, back.stacked[slot]) for slot, array in arrays.items()},
            )

        _, _, d_initial, sums, arrays = tf.while_loop(
            lambda i, *_: i < time,
            body,
            (tf.constant(0), carried(tf.maximum(time - 1, 0)), list(d_states), sums, arrays),
            maximum_iterations=time,
        )
        stacks = {slot: array.stack() for slot, array in arrays.items()}
        stacks = {slot: stacks[first] for slot, first in probe.firsts().items()}
        return self.gradients(given, kept, probe, d_initial, sums, stacks)

    def step_back(
        self, given: _Arguments, blocks: _Blocks, projected, states, products, d_states, d_extras
    ) -> _Back:
        """The vector-Jacobian product of one step."""
        dot = _Dot(blocks, given.operand_mask, products)
        trainable = {
            k: value
            for k, (variable, value) in enumerate(zip(self.variables, given.weights))
            if _is_trained(variable)
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
            if entry.cotangent is not None and _is_trained(entry.variable):
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
                    back.summed[kind, k] = tf.cast(leaf, _sum_dtype(leaf))
        return back

    def gradients(self, given, kept, probe, d_initial, sums, stacks):
        """Puts the results of the backward loop together, in the order of `_Arguments`."""
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
            d_block = _summed_product(operands, stacks["cotangent", k])
            d_weight = _widened(d_block, entry)
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
    """The slices of stacks that a loop's step reads: carried from the step before, or of a single row read at once.

    Arguments:
        stacks: a nest of them, each [time, ...].
        cut: what is made of a step's slices when they are read, so that it is what is carried.
        rows: of a step, if they are known.
        axis: where time stands in the stacks.
    """

    def __init__(
        self,
        stacks: Any,
        cut: Callable[[Any], Any] = lambda slices: slices,
        rows: int | None = None,
        axis: int = 0,
    ):
        self.stacks = stacks
        self.cut = cut
        self.carries = rows != 1
        self.axis = axis

    def carried(self, t: int | tf.Tensor) -> Any:
        """What the step before, or the start, hands on for step t."""
        return self._read(t) if self.carries else ()

    def now(self, carried: Any, t: tf.Tensor) -> Any:
        """The slices of step t."""
        return carried if self.carries else self._read(t)

    def _read(self, t: int | tf.Tensor) -> Any:
        return self.cut(_at(self.stacks, t, self.axis))


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
    products: list[_Product]
    stacked: dict[tuple[str, int], tf.Tensor] = dataclasses.field(default_factory=dict)
    summed: dict[tuple[str, int], tf.Tensor] = dataclasses.field(default_factory=dict)
    operand_states: dict[int, int] = dataclasses.field(default_factory=dict)

    def firsts(self) -> dict[tuple[str, int], tuple[str, int]]:
        """For each slot of `stacked` the first slot that holds the very same tensor, so that it is stacked once."""
        first: dict[int, tuple[str, int]] = {}
        return {slot: first.setdefault(id(leaf), slot) for slot, leaf in self.stacked.items()}

    def distinct(self) -> list[tuple[str, int]]:
        return sorted(set(self.firsts().values()))


def product(
    operand: tf.Tensor, variable: Any, columns: slice | None = None, rows: slice | None = None
) -> tf.Tensor:
    """The plain `dot`: operand times a weight, or times a block of its columns and rows."""
    value = keras.ops.convert_to_tensor(variable)
    if tf.as_dtype(
        operand.dtype
    ).is_floating:  # outside of a layer's call nothing else casts the weight
        value = tf.cast(value, operand.dtype)
    return keras.ops.matmul(operand, _block(value, columns, rows))


def _block(value: tf.Tensor, columns: slice | None, rows: slice | None) -> tf.Tensor:
    value = value if rows is None else value[..., rows, :]
    return value if columns is None else value[..., columns]


def swapped(stack: tf.Tensor) -> tf.Tensor:
    """Batch-major to time-major and back."""
    return tf.transpose(stack, [1, 0, *range(2, stack.shape.rank)])


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
            d = tf.cast(tf.reshape(d, tf.stack([-1, tf.size(weight)])), _sum_dtype(d))
            # With one row of ones it would be no product: XLA takes it into what makes the terms.
            total = tf.matmul(tf.ones([2, tf.shape(d)[0]], d.dtype), d)[0]
            return tf.cast(total, weight.dtype)

        return tf.broadcast_to(weight, tf.shape(x)), gradient

    return repeat(weight)


def masked_product(operand_mask: tf.Tensor | None) -> Callable[..., tf.Tensor]:
    """The plain `dot` with a recurrent dropout mask on its operands."""

    def dot(operand, variable, columns=None, rows=None):
        return product(_dropped(operand, operand_mask), variable, columns, rows)

    return dot


def _dropped(operand, operand_mask):
    if operand_mask is None or operand.shape[-1] != operand_mask.shape[-1]:
        return operand
    return operand * tf.cast(operand_mask, operand.dtype)


def _once_differentiable(leaf: tf.Tensor) -> tf.Tensor:
    """The gradient of the scan. Its own gradient would silently miss the kept products: refuse it."""

    @tf.custom_gradient
    def identity(leaf):
        def gradient(_):
            raise NotImplementedError(
                "FusedRNN has no second derivative. Use keras.layers.RNN with the same cell: it has the same outputs "
                "and gradients, and its gradient can be differentiated again."
            )

        return tf.identity(leaf), gradient

    return identity(leaf)


def _length(stack: tf.Tensor, axis: int = 0) -> int | tf.Tensor:
    return tf.shape(stack)[axis] if stack.shape[axis] is None else stack.shape[axis]


def _square_root(time: int | tf.Tensor) -> int | tf.Tensor:
    """Rounded down, and at least 1; or somewhat less, if that divides the time: then nothing has to be filled up."""
    if isinstance(time, int):
        root = max(1, math.isqrt(time))
        return next((n for n in range(root, root // 2, -1) if time % n == 0), root)
    return tf.maximum(tf.cast(tf.sqrt(tf.cast(time, tf.float32)), tf.int32), 1)


def _shape(stack: tf.Tensor) -> list[int | tf.Tensor]:
    """The shape, as integers where they are known."""
    return [
        dynamic if static is None else static
        for dynamic, static in zip(tf.unstack(tf.shape(stack)), stack.shape)
    ]


def _in_parts(nest: Any, sizes: Sequence[int]) -> list[Any]:
    """The rows of each leaf, in nests of the same structure; a leaf that has no rows stands in all of them."""
    rows = sum(sizes)

    def has_rows(leaf):
        return leaf is not None and leaf.shape.rank != 0 and leaf.shape[0] in (rows, None)

    cut = [
        tf.split(leaf, sizes) if has_rows(leaf) else [leaf] * len(sizes)
        for leaf in tf.nest.flatten(nest)
    ]
    return [tf.nest.pack_sequence_as(nest, part) for part in zip(*cut, strict=True)]


def _at(nest: Any, t: int | tf.Tensor, axis: int = 0) -> Any:
    """`stack[t]` of each stack, by one operation: there are many to trace, and to run where nothing is compiled."""
    axis = tf.constant(axis)
    return tf.nest.map_structure(lambda stack: tf.gather(stack, t, axis=axis), nest)


def _at_least_one(stack: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """The stack, with one more element where it has none: a loop that never runs still has to compile."""
    missing = tf.maximum(1 - tf.shape(stack)[axis], 0)
    return tf.pad(stack, [[0, missing if k == axis else 0] for k in range(stack.shape.rank)])


def _zeros_at(nest: Any, axis: int = 0) -> Any:
    """What one slice of the stacks would be, of zeros; it works for no time steps as well."""

    def zeros(stack):
        known = stack.shape[:axis].concatenate(stack.shape[axis + 1 :])
        if known.is_fully_defined():
            return tf.zeros(known, stack.dtype)
        shape = tf.shape(stack)
        slice_of_zeros = tf.zeros(tf.concat([shape[:axis], shape[axis + 1 :]], 0), stack.dtype)
        return tf.ensure_shape(slice_of_zeros, known)

    return tf.nest.map_structure(zeros, nest)


class _Real:
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


def _array(element: tf.Tensor, time: int | tf.Tensor, extra: int = 0) -> tf.TensorArray:
    """An array over time. Where `time` may turn out to be 0, it still has an element, so that it can be stacked."""
    dynamic = tf.is_tensor(time)
    array = _array_of(element, (tf.maximum(time, 1) if dynamic else time) + extra)
    return array.write(0, tf.zeros_like(element)) if dynamic else array


def _array_of(element: tf.Tensor, size: int | tf.Tensor) -> tf.TensorArray:
    return tf.TensorArray(
        element.dtype, size=size, element_shape=element.shape, clear_after_read=False
    )


def _itself(leaf: tf.Tensor | None) -> tf.Tensor | None:
    return None if leaf is None else tf.identity(leaf)


def _is_trained(variable: keras.Variable | tf.Tensor) -> bool:
    return getattr(variable, "trainable", True)


def _is_float(leaf: Any) -> bool:
    return leaf is not None and leaf.dtype.is_floating


def _sum_dtype(leaf: tf.Tensor) -> tf.DType:
    return tf.float64 if leaf.dtype == tf.float64 else tf.float32


def _summed_product(operands: tf.Tensor, cotangents: tf.Tensor) -> tf.Tensor:
    """Sum over time and batch of operandᵀ · cotangent, in one product."""
    dtype = _sum_dtype(operands)
    operands = tf.cast(tf.reshape(operands, [-1, operands.shape[-1]]), dtype)
    cotangents = tf.cast(tf.reshape(cotangents, [-1, cotangents.shape[-1]]), dtype)
    return tf.matmul(operands, cotangents, transpose_a=True)


def _span(size: int, part: slice | None) -> tuple[int, int]:
    start, stop, _ = (part or slice(None)).indices(size)
    return start, stop


def _widened(block: tf.Tensor, entry: _Product) -> tf.Tensor:
    """The gradient of a block as the gradient of the whole weight."""
    around = []
    for size, part in zip(entry.variable.shape, (entry.rows, entry.columns)):
        start, stop = _span(size, part)
        around.append([start, size - stop])
    return tf.pad(block, around) if any(map(any, around)) else block
