"""The recognizer: padding says nothing, the decoder's steps are its whole, training hears other sounds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rnn import LocationAttention, SpeechRecognizer, greedy_search
from keras_rnn.layers import AddNoise, SpecAugment, VocalTract
from keras_rnn.models.speech import Listener

LISTENER = {"units": 4, "layers": 3, "halvings": 2}
SHORT = {"units": 4, "layers": 1, "halvings": 0, "bidirectional": False}
SPELLER = {"embedding_dim": 3, "units": 4, "attention_units": 5}


def sounds(frames, seed=0, mels=6):
    x = np.random.default_rng(seed).normal(size=[len(frames), max(frames), mels])
    return {"features": x.astype("float32"), "frames": np.array(frames, "int32")}


@pytest.mark.parametrize("moments", [{}, {"mean": [0.5] * 6, "deviation": [2.0] * 6}], ids=bool)
def test_what_stands_in_padding_changes_nothing(moments):
    model = SpeechRecognizer(6, 9, LISTENER, SPELLER, **moments)
    inputs = sounds([13, 9]) | {"target": np.array([[4, 5, 3], [6, 3, 0]])}
    logits, steps, spelled = model(inputs)
    assert steps.numpy().tolist() == [4, 3]
    short = {name: value[1:] for name, value in inputs.items()}
    short["features"] = np.pad(
        short["features"][:, :9], [[0, 0], [0, 8], [0, 0]], constant_values=7
    )
    alone = model(short)
    np.testing.assert_allclose(alone[0][0, :3], logits[1, :3], atol=1e-5)
    np.testing.assert_allclose(alone[2][0, :2], spelled[1, :2], atol=1e-5)


@pytest.mark.parametrize(
    "policy, noise", [("mixed_bfloat16", False), ("mixed_bfloat16", True), ("float64", False)]
)
def test_spectrograms_are_normalised_before_they_are_rounded(policy, noise):
    listener = {"units": 4, "layers": 1, "halvings": 1}
    model = SpeechRecognizer(6, 9, listener, noise=noise, dtype=policy)
    inputs = sounds([13, 9])
    inputs["features"] += 100
    logits = model(inputs)[0]
    h, _ = model.listen(inputs)  # as a search hears them
    np.testing.assert_array_equal(logits, tf.cast(model.ctc(h), tf.float32))


def test_moments_may_be_arrays_in_a_model_that_is_saved(tmp_path):
    moments = np.arange(1, 7, dtype="float32")
    listener = {"units": 4, "layers": 1, "halvings": 1}
    model = SpeechRecognizer(6, 9, listener, mean=moments, deviation=moments)
    wanted = model(sounds([13, 9]))[0]
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again(sounds([13, 9]))[0], wanted, atol=1e-6)


def test_a_sound_by_itself_is_normalised_by_band():
    model = SpeechRecognizer(6, 9, LISTENER)
    inputs = sounds([13, 9])
    louder = {**inputs, "features": inputs["features"] + np.arange(6, dtype="float32")}
    np.testing.assert_allclose(model(louder)[0], model(inputs)[0], atol=1e-5)


def test_given_moments_take_the_place_of_those_of_the_sound():
    mean, deviation = np.linspace(1.0, 3.0, 6), np.linspace(0.5, 4.0, 6)
    inputs = sounds([13, 9])
    normal = {**inputs, "features": (inputs["features"] - mean) / deviation}
    heard = []
    for features, *moments in ((inputs, mean, deviation), (normal, [0.0] * 6, [1.0] * 6)):
        keras.utils.set_random_seed(1)
        model = SpeechRecognizer(6, 9, SHORT, mean=[*moments[0]], deviation=[*moments[1]])
        heard.append(model.listen(features)[0])
    np.testing.assert_allclose(*heard, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"noise": True},
        {"vocal_tract": {"extent": 0.3, "lowest": 60.0, "highest": 4000.0}},
        {"augment": {"frequency_masks": 2, "frequency_width": 3}},
    ],
    ids=lambda options: "".join(options),
)
def test_training_alone_hears_other_sounds(options):
    model, inputs = SpeechRecognizer(6, 9, SHORT, **options), sounds([13, 9])
    plain, again, other = (model.listen(inputs, training)[0] for training in (False, False, True))
    np.testing.assert_array_equal(plain, again)
    assert (plain != other).numpy().any()


def test_the_decoder_step_by_step_gives_the_logits_of_all_at_once():
    model = SpeechRecognizer(6, 9, LISTENER, SPELLER)
    inputs = sounds([13, 9])
    target = np.array([[4, 5, 3], [6, 7, 3]])
    whole = model({**inputs, "target": target})[2]
    state = model.start(inputs)
    for step, previous in enumerate(([2, 2], [4, 6], [5, 7])):
        logits, state, looked = model.advance(tf.constant(previous), state)
        np.testing.assert_allclose(logits, whole[:, step], atol=1e-5)
    np.testing.assert_allclose(looked["alpha"].numpy().sum(1), 1, atol=1e-5)
    assert looked["alpha"].numpy()[1, 3] == 0  # not real
    assert greedy_search(model, inputs, 5).tokens.shape == [2, 1, 5]


def test_location_attention_is_its_equations():
    rng = np.random.default_rng(0)
    query, memory = rng.normal(size=[2, 3]), rng.normal(size=[2, 7, 4])
    past = rng.dirichlet(np.ones(7), size=2)
    layer = LocationAttention(5, filters=2, width=3)
    layer(query.astype("float32"), memory.astype("float32"))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    w = {weight.name: weight.numpy() for weight in layer.weights}
    expected = np.zeros([2, 7])
    for row in range(2):
        for j in range(7):
            f = np.zeros(2)
            for place in range(3):
                if 0 <= j + place - 1 < 7:
                    f += past[row, j + place - 1] * w["location_filters"][place]
            inner = query[row] @ w["query_kernel"] + memory[row, j] @ w["memory_kernel"]
            expected[row, j] = np.tanh(inner + f @ w["location_kernel"]) @ w["score_vector"]
    made = layer.scores(
        tf.constant(query, tf.float32),
        layer.keys(tf.constant(memory, tf.float32)),
        past=tf.constant(past, tf.float32),
    )
    np.testing.assert_allclose(made, expected, atol=1e-5)
    assert LocationAttention.from_config(layer.get_config()).width == 3
    with pytest.raises(ValueError, match="width must be odd, not 4"):
        LocationAttention(5, width=4)


def test_masks_are_as_wide_as_they_may_be():
    keras.utils.set_random_seed(0)
    layer = SpecAugment(frequency_masks=1, frequency_width=3, time_masks=1, time_share=0.2)
    x = np.ones([200, 20, 10], "float32")
    assert (layer(x).numpy() == 1).all()
    kept = layer(x, training=True).numpy()
    bands, times = (kept.max(1) == 0).sum(1), (kept.max(2) == 0).sum(1)
    assert {*bands} == {0, 1, 2, 3} and {*times} == {0, 1, 2, 3, 4}
    for row in kept.max(1):
        assert np.count_nonzero(np.diff(np.r_[1, row, 1])) in (0, 2)  # each mask is one stretch


def test_another_vocal_tract_moves_a_peak():
    layer = VocalTract(0.2, lowest=60.0, highest=4000.0)
    mel = np.linspace(1127 * np.log1p(60 / 700), 1127 * np.log1p(4000 / 700), 62)[1:-1]
    hertz = 700 * np.expm1(mel / 1127)
    x = np.exp(-(((hertz - 1500) / 200) ** 2))[None, None].astype("float32")
    np.testing.assert_allclose(layer.warp(x, tf.ones([1, 1])), x, atol=1e-4)
    for factor in (0.8, 1.2):
        peak = hertz[np.argmax(layer.warp(x, tf.constant([[factor]])))]
        assert abs(peak - 1500 / factor) < 60
    assert (layer(x).numpy() == x).all()


def test_noise_adds_its_power():
    keras.utils.set_random_seed(0)
    layer = AddNoise(lowest=-20.0, highest=-20.0, slope=0.0)
    x = np.full([4, 500, 5], np.log(0.05), "float32")
    assert (layer(x).numpy() == x).all()
    assert np.exp(layer(x, training=True).numpy()).mean() == pytest.approx(0.05 + 0.01, rel=0.01)


def test_xla_gives_the_same_losses_and_gradients_in_training():
    """With the draws of dropout, which are the same for both."""
    listener, speller = ({**part, "dropout": 0.3} for part in (LISTENER, SPELLER))
    model = SpeechRecognizer(6, 9, listener, speller)
    inputs = sounds([13, 9]) | {"target": np.array([[4, 5, 3], [6, 3, 0]])}
    model(inputs)
    variables = [variable.value for variable in model.trainable_variables]
    seeds = [v for v in model.variables if v.path.endswith("/seed_generator_state")]
    first = [variable.numpy() for variable in seeds]

    def step():
        with tf.GradientTape() as tape:
            logits, _, spelled = model(inputs, training=True)
            loss = tf.reduce_sum(logits**2) + tf.reduce_sum(spelled**2)
        return loss, [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]

    results = []
    for compiled in (False, True):
        for variable, value in zip(seeds, first, strict=True):
            variable.assign(value)
        results.append(tf.function(step, jit_compile=compiled)())
    (loss, gradients), (same, others) = results
    assert float(loss) == pytest.approx(float(same), rel=1e-4) and seeds
    for variable, one, other in zip(model.trainable_variables, gradients, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4, err_msg=variable.path)


def test_a_listener_has_a_layer():
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        Listener(4, layers=0, halvings=0)
