"""Every model with cells of a user's own: outputs of another size than the units, a state that is no vector."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_rnn
from keras_rnn import models
from keras_rnn.models.encoder import RecurrentStack
from keras_rnn.models.seq2seq import ATTENTIONS

IDS = np.array([[4, 5, 3], [6, 3, 0]])
TARGET = np.array([[4, 3], [7, 3]])
register = keras.saving.register_keras_serializable(package="test_users_cells")


@register
class WideCell(keras_rnn.Cell):
    """Its output is wider than its units, which are its second state."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units + 2, units]

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units + 2), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units + 2), name="recurrent")

    def project(self, x, dot, training=False):
        return dot(x, self.kernel)

    def step(self, projected, states, dot, memory=None):
        a = ops.tanh(projected + dot(states[1], self.recurrent))
        return [a, a[:, : self.units]], {}

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@register
class MatrixCell(keras_rnn.StandardCell):
    """Its second state is a matrix [units, 2] for each row."""

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.state_size = [units, (units, 2)]

    def step(self, projected, states, dot, memory=None):
        a_prev, s_prev = states
        a = ops.tanh(projected + dot(a_prev, self.recurrent_kernel) + s_prev[..., 0])
        return [a, ops.stack([a, s_prev[..., 0]], axis=-1)], {}


@pytest.fixture(autouse=True)
def same_weights():
    keras.utils.set_random_seed(1)


def encoder(cell, **stack):
    stack = {"units": 3, "cell": cell, **stack}
    return {"vocabulary_size": 9, "embedding_dim": 4, "stack": stack}


@pytest.mark.parametrize("cell", ["WideCell", "MatrixCell"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_stack_is_the_stock_layers(cell, bidirectional):
    stack = RecurrentStack(3, cell, layers=2, bidirectional=bidirectional)
    x = np.random.default_rng(0).normal(size=[2, 5, 4]).astype("float32")
    outputs, states = stack(x, return_state=True)
    for layer, own in zip(stack.rnns, states, strict=True):
        directions = [layer.forward_layer, layer.backward_layer] if bidirectional else [layer]
        told = []
        for number, direction in enumerate(directions):
            stock = keras.layers.RNN(
                direction.cell, return_sequences=True, return_state=True, go_backwards=number == 1
            )
            told.append(stock(x))
        x = np.concatenate([told[0][0], *(y[0][:, ::-1] for y in told[1:])], axis=-1)
        for state, parts in zip(own, zip(*(y[1:] for y in told)), strict=True):
            np.testing.assert_allclose(state, np.concatenate(parts, axis=-1), atol=1e-5)
    np.testing.assert_allclose(outputs, x, atol=1e-5)
    assert stack.state_sizes == [
        [size if isinstance(size, int) else tuple(size) for size in sizes]
        for sizes in [
            [s.shape[1] if len(s.shape) == 2 else s.shape[1:] for s in own] for own in states
        ]
    ]


@pytest.mark.parametrize("cell", ["WideCell", "MatrixCell"])
@pytest.mark.parametrize(
    "bridge, attention",
    [*(("learnt", name) for name in ATTENTIONS), *(("zero", name) for name in ATTENTIONS[:-1])],
)
def test_a_decoder_goes_step_by_step_as_all_at_once(cell, bridge, attention):
    settings = dict(vocabulary_size=8, embedding_dim=4, units=4, cell=cell, layers=2)
    if attention == "luong_dot":  # it compares what has one size
        settings["units"] = 6 if cell == "MatrixCell" else 8
    model = models.EncoderDecoder(
        encoder(cell), attention=attention, attention_units=3, bridge=bridge, **settings
    )
    log_p = tf.nn.log_softmax(model({"ids": IDS, "target": TARGET}))
    right = tf.gather(log_p, TARGET, axis=2, batch_dims=2)
    forced = models.forced_search(model, {"ids": IDS}, TARGET)
    np.testing.assert_allclose(forced.scores[:, 0], tf.reduce_sum(right, axis=1), rtol=1e-4)


@pytest.mark.parametrize("cell", ["WideCell", "MatrixCell"])
def test_states_are_copied_over_the_bridge(cell):
    model = models.EncoderDecoder(
        encoder(cell, bidirectional=False),
        vocabulary_size=8,
        embedding_dim=4,
        units=3,
        cell=cell,
        bridge="copied",
    )
    model({"ids": IDS, "target": TARGET})
    last = model.encoder({"ids": IDS}, return_state=True)[2]
    for state, copied in zip(last[0], model.bridge(last)[0], strict=True):
        np.testing.assert_array_equal(state, copied)


@pytest.mark.parametrize("cell", ["WideCell", "MatrixCell"])
def test_models_that_read_give_the_same_for_a_row_alone(cell):
    def same(model, features):
        whole = model(features)
        alone = model({name: part[1:] for name, part in features.items()})
        for one, other in zip(tf.nest.flatten(whole), tf.nest.flatten(alone), strict=True):
            np.testing.assert_allclose(one[1:], other, atol=1e-5)

    same(models.Classifier(3, encoder(cell)), {"ids": IDS})
    same(models.Classifier(3, encoder(cell), pooling={"kind": "last"}), {"ids": IDS})
    same(models.Tagger(3, encoder(cell)), {"ids": IDS})
    stack = {"units": 3, "cell": cell}
    same(models.HierarchicalClassifier(3, encoder(cell), stack), {"ids": IDS[:, None]})
    same(models.SpanReader(encoder(cell)), {"ids": IDS, "question": TARGET})
    same(models.StoryReader(3, encoder(cell), 4), {"ids": IDS[:, None], "question": TARGET})
    # What is the same at every step would be normalised to nothing.
    x = np.random.default_rng(0).normal(size=[2, 8, 4]).astype("float32")
    sounds = {"features": x, "frames": np.array([8, 5])}
    speller = {"embedding_dim": 4, "units": 3, "cell": cell}
    same(
        models.SpeechRecognizer(4, 9, listener={"units": 3, "cell": cell}, speller=speller),
        {**sounds, "target": TARGET},
    )


def test_outputs_that_are_no_vectors_are_refused_in_a_line():
    @register
    class GridCell(MatrixCell):
        def __init__(self, units, **kwargs):
            super().__init__(units, **kwargs)
            self.state_size = [(units, 2), units]

    with pytest.raises(ValueError, match=r"GridCell has the output_size \(3, 2\)"):
        RecurrentStack(3, "GridCell")
