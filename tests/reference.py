"""The recurrent cells and the masked loop in NumPy float64, written from the papers.

Nothing here imports the package: it is what the package is measured against. A cell is a function
`step(weights, x, states) -> (states, extras)` of one time step, x [batch, features]; `weights` maps
the names of the cell's weights to arrays; `states[0]` is the output. `run` is the loop.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def blocks(array, count):
    return np.split(array, count, axis=-1)


def layer_norm(x, gain, shift, epsilon=1e-3):
    """Ba et al. 2016, over the last axis; the variance is that of the population."""
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * gain + shift


def simple_rnn(weights, x, states, activation=np.tanh):
    """Elman 1990."""
    (a_prev,) = states
    a = activation(x @ weights["kernel"] + a_prev @ weights["recurrent_kernel"] + weights["bias"])
    return [a], {}


def lstm(weights, x, states, output_activation=np.tanh):
    """Hochreiter & Schmidhuber 1997 with Gers's forget gate; blocks u, f, o, c."""
    a_prev, c_prev = states
    z = x @ weights["kernel"] + a_prev @ weights["recurrent_kernel"] + weights["bias"]
    z_u, z_f, z_o, z_c = blocks(z, 4)
    gamma_u, gamma_f, gamma_o = sigmoid(z_u), sigmoid(z_f), sigmoid(z_o)
    c_tilde = np.tanh(z_c)
    c = gamma_u * c_tilde + gamma_f * c_prev
    a = gamma_o * output_activation(c)
    return [a, c], {
        "gamma_u": gamma_u,
        "gamma_f": gamma_f,
        "gamma_o": gamma_o,
        "c_tilde": c_tilde,
    }


def lecture_lstm(weights, x, states):
    """The lecture prints a = Γ_o * c, without a tanh."""
    return lstm(weights, x, states, output_activation=lambda c: c)


def gru(weights, x, states):
    """The lecture's: Γ_u takes the new candidate, the reset stands before the product."""
    (c_prev,) = states
    kernel_u, kernel_r, kernel_c = blocks(weights["kernel"], 3)
    recurrent_u, recurrent_r, recurrent_c = blocks(weights["recurrent_kernel"], 3)
    bias_u, bias_r, bias_c = blocks(weights["bias"], 3)
    gamma_u = sigmoid(x @ kernel_u + c_prev @ recurrent_u + bias_u)
    gamma_r = sigmoid(x @ kernel_r + c_prev @ recurrent_r + bias_r)
    c_tilde = np.tanh(x @ kernel_c + (gamma_r * c_prev) @ recurrent_c + bias_c)
    c = gamma_u * c_tilde + (1 - gamma_u) * c_prev
    return [c], {"gamma_u": gamma_u, "gamma_r": gamma_r, "c_tilde": c_tilde}


def gru_reset_after(weights, x, states):
    """cuDNN's: Γ_r multiplies the product, which has a bias of its own."""
    (c_prev,) = states
    x_u, x_r, x_c = blocks(x @ weights["kernel"] + weights["bias"], 3)
    h_u, h_r, h_c = blocks(c_prev @ weights["recurrent_kernel"] + weights["recurrent_bias"], 3)
    gamma_u, gamma_r = sigmoid(x_u + h_u), sigmoid(x_r + h_r)
    c_tilde = np.tanh(x_c + gamma_r * h_c)
    c = gamma_u * c_tilde + (1 - gamma_u) * c_prev
    return [c], {"gamma_u": gamma_u, "gamma_r": gamma_r, "c_tilde": c_tilde}


def peephole_lstm(weights, x, states):
    """Gers & Schmidhuber 2000: u and f see the old c, o sees the new one."""
    a_prev, c_prev = states
    z = x @ weights["kernel"] + a_prev @ weights["recurrent_kernel"] + weights["bias"]
    z_u, z_f, z_o, z_c = blocks(z, 4)
    p_u, p_f, p_o = blocks(weights["peephole_kernel"], 3)
    gamma_u = sigmoid(z_u + p_u * c_prev)
    gamma_f = sigmoid(z_f + p_f * c_prev)
    c = gamma_u * np.tanh(z_c) + gamma_f * c_prev
    gamma_o = sigmoid(z_o + p_o * c)
    return [gamma_o * np.tanh(c), c], {"gamma_u": gamma_u, "gamma_f": gamma_f, "gamma_o": gamma_o}


def normed_products(weights, x, a_prev):
    """LN(W_x x) + b and LN(W_a a_prev), each over all its columns, as in TensorFlow Addons' LSTM."""
    from_x = layer_norm(x @ weights["kernel"], weights["kernel_gain"], weights["kernel_offset"])
    from_a = layer_norm(
        a_prev @ weights["recurrent_kernel"], weights["recurrent_gain"], weights["recurrent_offset"]
    )
    return from_x + weights["bias"], from_a


def layer_norm_simple_rnn(weights, x, states):
    from_x, from_a = normed_products(weights, x, states[0])
    return [np.tanh(from_x + from_a)], {}


def layer_norm_lstm(weights, x, states):
    """As in TensorFlow Addons: the new cell state is stored normalised, and a is made of that."""
    from_x, from_a = normed_products(weights, x, states[0])
    z_u, z_f, z_o, z_c = blocks(from_x + from_a, 4)
    gamma_u, gamma_f, gamma_o = sigmoid(z_u), sigmoid(z_f), sigmoid(z_o)
    c_tilde = np.tanh(z_c)
    c = gamma_u * c_tilde + gamma_f * states[1]
    c = layer_norm(c, weights["state_gain"], weights["state_offset"])
    extras = {"gamma_u": gamma_u, "gamma_f": gamma_f, "gamma_o": gamma_o, "c_tilde": c_tilde}
    return [gamma_o * np.tanh(c), c], extras


def layer_norm_gru(weights, x, states):
    """Ba et al. 2016, eq. 28: the reset stands after the one recurrent product."""
    (c_prev,) = states
    from_x, from_c = normed_products(weights, x, c_prev)
    (x_u, x_r, x_c), (c_u, c_r, c_c) = blocks(from_x, 3), blocks(from_c, 3)
    gamma_u, gamma_r = sigmoid(x_u + c_u), sigmoid(x_r + c_r)
    c_tilde = np.tanh(x_c + gamma_r * c_c)
    c = gamma_u * c_tilde + (1 - gamma_u) * c_prev
    return [c], {"gamma_u": gamma_u, "gamma_r": gamma_r, "c_tilde": c_tilde}


def nas(weights, x, states):
    """Zoph & Le 2016, the cell of figure 8 as TensorFlow Addons has it; states [m, c]."""
    m_prev, c_prev = states
    from_x = blocks(x @ weights["kernel"], 8)
    from_m = blocks(m_prev @ weights["recurrent_kernel"] + weights.get("bias", 0), 8)
    first = [
        sigmoid(from_x[0] + from_m[0]),
        relu(from_x[1] + from_m[1]),
        sigmoid(from_x[2] + from_m[2]),
        relu(from_x[3] * from_m[3]),
        np.tanh(from_x[4] + from_m[4]),
        sigmoid(from_x[5] + from_m[5]),
        np.tanh(from_x[6] + from_m[6]),
        sigmoid(from_x[7] + from_m[7]),
    ]
    cell_in = np.tanh(np.tanh(first[0] * first[1]) + c_prev)
    c = cell_in * np.tanh(first[2] + first[3])
    right = np.tanh(np.tanh(first[4] * first[5]) + sigmoid(first[6] + first[7]))
    return [np.tanh(c * right), c], {}


def esn(weights, x, states, leaky=1.0):
    """Jaeger 2001, leaky integration as in TensorFlow Addons."""
    (a_prev,) = states
    a = np.tanh(x @ weights["kernel"] + a_prev @ weights["recurrent_kernel"] + weights["bias"])
    return [(1 - leaky) * a_prev + leaky * a], {}


# The same names as `keras_rnn.CELLS` has.
CELLS = {
    "lstm": lstm,
    "lecture_lstm": lecture_lstm,
    "gru": gru,
    "gru_reset_after": gru_reset_after,
    "simple_rnn": simple_rnn,
    "peephole_lstm": peephole_lstm,
    "layer_norm_lstm": layer_norm_lstm,
    "layer_norm_gru": layer_norm_gru,
    "layer_norm_simple_rnn": layer_norm_simple_rnn,
    "nas": nas,
    "esn": esn,
}


def run(
    step,
    weights,
    x,
    states,
    mask=None,
    go_backwards=False,
    zero_output_for_mask=False,
):
    """The masked loop, one example and one step at a time.

    A masked step carries the states; its output repeats the last real output of that row, is 0
    before the first real step, and is 0 at every masked step with `zero_output_for_mask`.

    Args:
        x: [batch, time, features].
        states: list of arrays [batch, ...].
        mask: bool [batch, time] or None.
        go_backwards: read from the last step; outputs come in the order of reading.

    Returns:
        outputs [batch, time, ...], the last states, and the extras [batch, time, ...] (0 at masked
        steps).
    """
    x = np.asarray(x, "float64")
    weights = {name: np.asarray(weight, "float64") for name, weight in weights.items()}
    states = [np.array(state, "float64") for state in states]
    batch, time = x.shape[:2]
    mask = np.ones([batch, time], bool) if mask is None else np.asarray(mask, bool)
    order = range(time - 1, -1, -1) if go_backwards else range(time)
    outputs = np.zeros([batch, time, *states[0].shape[1:]])
    extras = {}
    for b in range(batch):
        row = [state[b : b + 1] for state in states]
        output = np.zeros_like(row[0])
        for place, t in enumerate(order):
            if mask[b, t]:
                row, step_extras = step(weights, x[b : b + 1, t], row)
                output = row[0]
                for name, value in step_extras.items():
                    shape = [batch, time, *value.shape[1:]]
                    extras.setdefault(name, np.zeros(shape))[b, place] = value[0]
                outputs[b, place] = output[0]
            elif not zero_output_for_mask:
                outputs[b, place] = output[0]
        for state, value in zip(states, row, strict=True):
            state[b] = value[0]
    return outputs, states, extras
