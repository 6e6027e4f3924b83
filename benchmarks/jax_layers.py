"""Recurrent layers in JAX: `jax.lax.scan` over a step, jitted.

Imports JAX and NumPy and nothing else of this package but the sizes.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.shapes import Problem


def lstm(x, states, recurrent):
    h, c = states
    i, f, o, g = jnp.split(x + h @ recurrent, 4, axis=-1)
    c = jax.nn.sigmoid(i) * jnp.tanh(g) + jax.nn.sigmoid(f) * c
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru(x, states, recurrent):
    (h,) = states
    x_z, x_r, x_h = jnp.split(x, 3, axis=-1)
    h_z, h_r, h_h = jnp.split(h @ recurrent, 3, axis=-1)
    z = jax.nn.sigmoid(x_z + h_z)
    return (z * h + (1 - z) * jnp.tanh(x_h + jax.nn.sigmoid(x_r + h_r) * h_h),)


CELLS = {"lstm": (lstm, 4, 2), "gru": (gru, 3, 1)}


def layer(**sizes) -> Callable[[], None]:
    problem = Problem(**sizes)
    step, blocks, count = CELLS[problem.cell.split()[-1]]
    generator = np.random.default_rng(problem.seed)
    wide = blocks * problem.units
    weights = [
        [
            jnp.asarray(generator.normal(size=shape).astype("float32") * 0.05)
            for shape in ((problem.features, wide), (problem.units, wide), (wide,))
        ]
        for _ in range(1 + problem.bidirectional)
    ]
    x = jnp.asarray(problem.inputs())
    mask = jnp.asarray(problem.mask()) if problem.masked else None

    def one(weights, x, reverse):
        kernel, recurrent, bias = weights
        projected = jnp.swapaxes(x @ kernel + bias, 0, 1)

        def body(states, given):
            x, real = given
            new = step(x, states, recurrent)
            if real is not None:
                new = [jnp.where(real[:, None], n, old) for n, old in zip(new, states)]
            return tuple(new), new[0]

        first = tuple(jnp.zeros([problem.batch, problem.units]) for _ in range(count))
        real = None if mask is None else mask.T
        return jax.lax.scan(body, first, (projected, real), reverse=reverse)[1]

    def forward(weights, x):
        outputs = [one(w, x, reverse) for w, reverse in zip(weights, (False, True))]
        return jnp.concatenate(outputs, axis=-1)

    def loss(weights, x):
        return jnp.mean(forward(weights, x) ** 2)

    call = jax.jit(jax.grad(loss, argnums=(0, 1)) if problem.training else forward)
    return lambda: jax.block_until_ready(call(weights, x))
