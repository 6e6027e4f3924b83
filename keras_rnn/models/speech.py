"""From spectrograms to characters or words: a pyramid of recurrent layers, with CTC and an attending decoder."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_rnn.attention import LocationAttention
from keras_rnn.cells import AttentionCell, make_cell
from keras_rnn.layers import (
    AddNoise,
    Dropout,
    FusedRNN,
    HalveTime,
    SpatialDropout1D,
    SpecAugment,
    VocalTract,
)
from keras_rnn.models.encoder import gates_of, output_size_of, recurrent_layer
from keras_rnn.models.search import shifted
from keras_rnn.registration import register

Tensor = Any


@register
class Listener(keras.layers.Layer):
    """A pyramid of recurrent layers: those at the bottom each read pairs of steps of what lies below.

    Weights: those of the cells, of each layer one, or two if bidirectional.

    Arguments:
        units: size of the state, for each direction.
        cell: name of the cell.
        layers: how many.
        halvings: how many of them, from the bottom, read pairs.
        bidirectional: read forwards and backwards.
        dropout: share of features dropped before each layer after the first, the same ones at every step.
        recurrent_dropout: share of the state dropped in recurrent products.

    Call arguments: `x` [batch, time, features], `mask` bool [batch, time], `training`; gives the states [batch,
    ⌈time / 2^halvings⌉, features] and their mask.

    Raises:
        ValueError: for `layers` below 1, or `halvings` that are no number from 0 to `layers`.

    Source: Chan et al. 2016, Listen, Attend and Spell, section 3.1.

    >>> h, mask = Listener(3, halvings=1)(ops.ones([1, 5, 4]), mask=ops.ones([1, 5], "bool"))
    >>> h.shape, mask.shape  # every two steps are one
    (TensorShape([1, 3, 6]), TensorShape([1, 3]))
    """

    def __init__(
        self,
        units: int,
        cell: str = "lstm",
        layers: int = 3,
        halvings: int = 2,
        bidirectional: bool = True,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}.")
        if not 0 <= halvings <= layers:
            raise ValueError(f"halvings must be from 0 to layers, {layers}; got {halvings}.")
        self.config = {
            "units": units,
            "cell": cell,
            "layers": layers,
            "halvings": halvings,
            "bidirectional": bidirectional,
            "dropout": dropout,
            "recurrent_dropout": recurrent_dropout,
        }
        self.supports_masking = True
        dtype = self.dtype_policy
        self.halve = HalveTime(dtype=dtype, name="halve")
        self.rnns = [
            recurrent_layer(cell, units, bidirectional, recurrent_dropout, dtype, f"rnn_{number}")
            for number in range(layers)
        ]
        self.dropouts = [
            SpatialDropout1D(dropout, dtype=dtype, name=f"dropout_{number}")
            for number in range(1, layers)
        ]
        self.features = output_size_of(self.rnns[-1]) * (2 if bidirectional else 1)

    def build(self, x_shape):
        batch, _, features = x_shape
        self.halve.build(x_shape)
        for number, rnn in enumerate(self.rnns):
            rnn.build((batch, None, features * (2 if number < self.config["halvings"] else 1)))
            features = self.features
            if number < len(self.dropouts):
                self.dropouts[number].build((batch, None, features))

    def call(self, x: Tensor, mask: Tensor, training: bool = False):
        x, mask = self._below_last(x, mask, training)
        return self.rnns[-1](x, mask=mask, training=training)[0], mask

    def gates(self, x: Tensor, mask: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The gates of the last layer, read forwards, and its state, name -> [batch, steps, units]; and the mask."""
        x, mask = self._below_last(x, mask, training=False)
        return gates_of(self.rnns[-1], x, mask), mask

    def _below_last(self, x: Tensor, mask: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        """What the last layer reads."""
        for number in range(len(self.rnns)):
            if number:
                x = self.rnns[number - 1](x, mask=mask, training=training)[0]
                x = self.dropouts[number - 1](x, training=training)
            if number < self.config["halvings"]:
                x, mask = self.halve(x, mask=mask)
        return x, mask

    def get_config(self):
        return {**super().get_config(), **self.config}


@register
class Speller(keras.layers.Layer):
    """A decoder that attends, and knows where it looked a step ago.

        s_t, context_t = decoder(E y_{t-1}, s_{t-1}; h)        an `AttentionCell` with a `LocationAttention`
        r_t = tanh(W_r [s_t; context_t; E y_{t-1}] + b_r)
        logits_t = W_o r_t + b_o

    Weights: `embedding` E [vocabulary_size, embedding_dim]; those of the `AttentionCell`; the dense layers `readout`
    W_rᵀ [units + features + embedding_dim, embedding_dim] and `output` W_oᵀ [embedding_dim, vocabulary_size].

    Arguments:
        vocabulary_size: number of tokens.
        embedding_dim: size of the vector of a token, and of r.
        units: size of the decoder's state.
        cell: name of the decoder's cell.
        attention_units: size of the attention's hidden layer.
        dropout: share dropped of the features of E y and r.

    Call arguments: `previous` int32 [batch, target_time], the token before each one; `memory` [batch, source_time,
    features] and its mask; gives logits [batch, target_time, vocabulary].

    Source: Chan et al. 2016; Chorowski et al. 2015.

    >>> speller = Speller(vocabulary_size=7, embedding_dim=4, units=3, attention_units=5)
    >>> speller(ops.ones([1, 2], "int32"), ops.ones([1, 6, 8])).shape
    TensorShape([1, 2, 7])
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        units: int,
        cell: str = "lstm",
        attention_units: int = 128,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = {
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "units": units,
            "cell": cell,
            "attention_units": attention_units,
            "dropout": dropout,
        }
        dtype = self.dtype_policy
        self.embedding = keras.layers.Embedding(
            vocabulary_size, embedding_dim, dtype=dtype, name="embedding"
        )
        self.input_dropout = SpatialDropout1D(dropout, dtype=dtype, name="dropout")
        attention = LocationAttention(attention_units, dtype=dtype, name="attention")
        # Named, because Keras would number the cells of a process.
        cell = make_cell(cell, units, dtype=dtype, name="cell")
        self.cell = AttentionCell(cell, attention, name="attending")
        self.rnn = FusedRNN(self.cell, return_sequences=True, return_extras=True, name="decoder")
        self.readout = keras.layers.Dense(
            embedding_dim, activation="tanh", dtype=dtype, name="readout"
        )
        self.output_dropout = Dropout(dropout, dtype=dtype, name="output_dropout")
        self.output_layer = keras.layers.Dense(vocabulary_size, dtype=dtype, name="output")

    def build(self, previous_shape, memory_shape):
        config = self.config
        y = (*previous_shape, config["embedding_dim"])
        self.embedding.build(previous_shape)
        self.input_dropout.build(y)
        self.rnn.build(y, None, memory_shape)
        read = self.cell.output_size + memory_shape[-1] + config["embedding_dim"]
        self.readout.build((*previous_shape, read))
        self.output_dropout.build(y)  # r is as wide as y
        self.output_layer.build(y)

    def call(self, previous, memory, memory_mask=None, training=False):
        y = self.input_dropout(self.embedding(previous), training=training)
        x, extras = self.rnn(y, memory=memory, memory_mask=memory_mask, training=training)
        return self._logits([x, extras["context"], y], training)

    def _logits(self, parts: list[Tensor], training: bool = False) -> Tensor:
        r = self.readout(ops.concatenate(parts, axis=-1))
        return self.output_layer(self.output_dropout(r, training=training))

    def start(self, memory: Tensor, mask: Tensor) -> dict[str, Any]:
        """The state of a search."""
        states = self.cell.initial_states(ops.shape(memory)[0], memory)
        return {"memory": self.cell.prepare_memory(memory, mask), "states": states}

    def advance(self, tokens: Tensor, state: dict[str, Any]):
        """One step: the logits of the next token, the new state, and where it looked."""
        y = self.embedding(tokens)
        states, extras = self.cell.advance(y, state["states"], state["memory"])
        logits = self._logits([states[0], extras["context"], y])
        return logits, {**state, "states": states}, {"alpha": extras["alpha"]}

    def get_config(self):
        return {**super().get_config(), **self.config}


@register
class SpeechRecognizer(keras.Model):
    """Log-mel spectrograms to the logits of what is said.

        x       in training with another vocal tract, noise and masks; each band with mean 0 and deviation 1
        h       listener(x)
        ctc     W h_t + b                                       a label or the blank, id 0, at each step
        speller attends to h and writes token after token       if there is one

    Weights: those of the `listener`; `ctc` Wᵀ [features of h, vocabulary_size] with its bias; those of the `speller`,
    if there is one.

    Arguments:
        mels: bands of a spectrogram.
        vocabulary_size: number of tokens; that of id 0 is the blank.
        listener: arguments of `Listener`.
        speller: arguments of `Speller`; None: CTC alone.
        augment: arguments of `SpecAugment`; None: no masks.
        vocal_tract: arguments of `VocalTract`; None: the bands stay where they are.
        noise: whether training adds noise.
        mean, deviation: of each band over all training data; None: over each sound by itself.
        dropout: share of the features of h dropped before CTC.

    Call argument: a dict with `features` float32 [batch, time, mels], `frames` int32 [batch], the real ones, and for a
    speller `target` int32 [batch, target_time], the tokens with their end. Gives the CTC's logits [batch, steps,
    vocabulary], the steps int32 [batch], and the speller's logits [batch, target_time, vocabulary] or None. `start` and
    `advance` make a model with a speller a decoder for a search.

    Source: Chan et al. 2016; Graves et al. 2006; both heads at once: Kim et al. 2017, Joint CTC-Attention.

    >>> import numpy as np
    >>> model = SpeechRecognizer(4, vocabulary_size=7, listener={"units": 3})
    >>> sound = {"features": np.ones([2, 10, 4], "float32"), "frames": np.array([10, 5])}
    >>> logits, steps, _ = model(sound)
    >>> logits.shape.as_list(), steps.numpy().tolist()
    ([2, 3, 7], [3, 2])
    """

    def __init__(
        self,
        mels: int,
        vocabulary_size: int,
        listener: dict,
        speller: dict | None = None,
        augment: dict | None = None,
        vocal_tract: dict | None = None,
        noise: bool = False,
        mean: Sequence[float] | None = None,
        deviation: Sequence[float] | None = None,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # Keras would round the spectrograms to a dtype of 16 bits before they are normalized.
        self.autocast = False
        self.config = {
            "mels": mels,
            "vocabulary_size": vocabulary_size,
            "listener": listener,
            "speller": speller,
            "augment": augment,
            "vocal_tract": vocal_tract,
            "noise": noise,
            "mean": None if mean is None else [float(number) for number in mean],
            "deviation": None if deviation is None else [float(number) for number in deviation],
            "dropout": dropout,
        }
        dtype = self.dtype_policy
        self.perturbations = []
        if vocal_tract is not None:
            self.perturbations.append(VocalTract(**vocal_tract, dtype="float32", name="tract"))
        if noise:
            self.perturbations.append(AddNoise(dtype="float32", name="noise"))
        self.augment = None
        if augment is not None:
            self.augment = SpecAugment(**augment, dtype="float32", name="augment")
        self.listener = Listener(**listener, dtype=dtype, name="listener")
        self.dropout = Dropout(dropout, dtype=dtype, name="dropout")
        self.ctc = keras.layers.Dense(vocabulary_size, dtype=dtype, name="ctc")
        self.speller = None
        if speller is not None:
            self.speller = Speller(vocabulary_size, **speller, dtype=dtype, name="speller")

    def build(self, inputs_shape):
        x = inputs_shape["features"]
        for layer in (*self.perturbations, self.augment):
            if layer is not None:
                layer.build(x)
        self.listener.build(x)
        h = (x[0], None, self.listener.features)
        self.dropout.build(h)
        self.ctc.build(h)
        if self.speller is not None:
            self.speller.build((x[0], None), h)

    def call(self, inputs: dict, training: bool = False):
        h, mask = self.listen(inputs, training)
        steps = ops.sum(ops.cast(mask, "int32"), axis=1)
        logits = ops.cast(self.ctc(self.dropout(h, training=training)), "float32")
        spelled = None
        if self.speller is not None and "target" in inputs:
            previous = shifted(inputs["target"])
            spelled = self.speller(previous, h, memory_mask=mask, training=training)
        return logits, steps, spelled

    def listen(self, inputs: dict, training: bool = False) -> tuple[Tensor, Tensor]:
        """The states of the listener and their mask."""
        return self.listener(*self._heard(inputs, training), training=training)

    def gates(self, inputs: dict) -> tuple[dict[str, Tensor], Tensor]:
        """Those of the listener's last layer, and the mask of its steps."""
        return self.listener.gates(*self._heard(inputs, training=False))

    def _heard(self, inputs: dict, training: bool) -> tuple[Tensor, Tensor]:
        """What the listener reads: the spectrograms, normalized, and their mask."""
        x = ops.cast(inputs["features"], "float32")  # until the listener reads it
        mask = ops.arange(ops.shape(x)[1]) < ops.cast(inputs["frames"], "int32")[:, None]
        for perturb in self.perturbations:
            x = perturb(x, training=training)
        x = self.normalized(x, mask)
        if self.augment is not None:
            x = self.augment(x, training=training)
        return ops.cast(x, self.compute_dtype), mask

    def normalized(self, x: Tensor, mask: Tensor) -> Tensor:
        """Spectrograms [batch, time, mels] as the listener reads them, each band with mean 0 and deviation 1."""
        if self.config["mean"] is not None:
            mean, deviation = self.config["mean"], self.config["deviation"]
            return (x - ops.array(mean, "float32")) / ops.array(deviation, "float32")
        weight = ops.cast(mask, "float32")[:, :, None]
        count = ops.maximum(ops.sum(weight, axis=1, keepdims=True), 1.0)
        mean = ops.sum(x * weight, axis=1, keepdims=True) / count
        variance = ops.sum(ops.square(x - mean) * weight, axis=1, keepdims=True) / count
        # A band in which nothing happens stays near 0 instead of showing its least stir.
        return (x - mean) / ops.sqrt(variance + 0.1)

    # Step by step

    def start(self, inputs: dict) -> dict[str, Any]:
        """The state of a search."""
        return self.speller.start(*self.listen(inputs))

    def advance(self, tokens: Tensor, state: dict[str, Any]):
        """One step of a search: the logits of the next token, the new state, and where it looked."""
        return self.speller.advance(tokens, state)

    def get_config(self):
        return {**super().get_config(), **self.config}
