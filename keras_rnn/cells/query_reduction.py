"""The query-reduction cell: what is left to ask after a fact was read."""

from __future__ import annotations

from keras import ops

from keras_rnn.cells.activations import sigmoid, tanh
from keras_rnn.cells.cell import Cell
from keras_rnn.cells.standard import check_units
from keras_rnn.registration import register


@register
class QueryReductionCell(Cell):
    """Reads facts one after another, each with a query, and keeps what the facts make of the query.

        z = σ(w_z · (x * q) + b_z)                 update gate, a scalar: whether this fact speaks to its query
        r = σ(w_r · (x * q) + b_r)                 reset gate, a scalar: whether what it says is of use
        h̃ = tanh(W_h [x, q] + b_h)                 the query, reduced by this fact
        h = z * r * h̃ + (1 - z) * h_prev

    The input of a time step is [x, q] side by side. Gates and candidate look at no state, so that all of them are
    computed at once for all time steps, and h_T = Σ_t α_t r_t h̃_t with α_t = z_t Π_{s>t} (1 - z_s): an attention that
    favours what was said last. The state is [h]. Extras: `z` and `r`, [batch, 1].

    Weights, where the input has 2 · features:
        gate_kernel: [features, 2], w_z and w_r
        gate_bias: [2]
        kernel: W_hᵀ [2 · features, units]
        bias: [units]

    Arguments:
        units: size of the state.
        keep_bias: b_z begins as its negative: at first the cell keeps more than it takes.
        **kwargs: those of `keras.layers.Layer`.

    Raises:
        ValueError: for `units` that are no integer above 0, a recurrent dropout, for no product has a state, or an
            input of an odd width.

    Source: Seo et al. 2017, Query-Reduction Networks for Question Answering, equations 1 to 5.

    Example:

    >>> import keras, keras_rnn
    >>> keras_rnn.FusedRNN(keras_rnn.QueryReductionCell(8))(keras.ops.ones((2, 5, 6))).shape
    TensorShape([2, 8])
    """

    def __init__(self, units: int, keep_bias: float = 2.5, **kwargs):
        check_units(units)
        if kwargs.pop("recurrent_dropout", 0):
            raise ValueError("QueryReductionCell has no recurrent product to drop operands of.")
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units
        self.keep_bias = keep_bias

    def build(self, input_shape):
        features, odd = divmod(input_shape[-1], 2)
        if odd:
            raise ValueError(
                f"QueryReductionCell reads a fact and a query of one size side by side, got {input_shape[-1]} features."
            )
        self.features = features
        self.gate_kernel = self.add_weight(shape=(features, 2), name="gate_kernel")
        self.gate_bias = self.add_weight(
            shape=(2,),
            name="gate_bias",
            initializer=lambda shape, dtype=None: ops.cast([-self.keep_bias, 0.0], dtype),
        )
        self.kernel = self.add_weight(shape=(2 * features, self.units), name="kernel")
        self.bias = self.add_weight(shape=(self.units,), name="bias", initializer="zeros")

    def project(self, x, dot, training=False):
        fact, query = x[..., : self.features], x[..., self.features :]
        gates = sigmoid(dot(fact * query, self.gate_kernel) + self.gate_bias)
        return gates, tanh(dot(x, self.kernel) + self.bias)

    def step(self, projected, states, dot, memory=None):
        gates, h_tilde = projected
        (h_prev,) = states
        z, r = gates[:, :1], gates[:, 1:]
        return [z * r * h_tilde + (1 - z) * h_prev], {"z": z, "r": r}

    def get_config(self):
        config = super().get_config()
        del config["recurrent_dropout"]
        return {**config, "units": self.units, "keep_bias": self.keep_bias}
