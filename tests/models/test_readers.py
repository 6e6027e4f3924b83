"""The two readers of question answering: what padding may not change, what each hop may know, the best span."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rnn.models import SpanReader, StoryReader, best_span

ENCODER = {"vocabulary_size": 12, "embedding_dim": 6, "stack": {"units": 4, "cell": "gru"}}


def story_reader(**options):
    return StoryReader(3, ENCODER, units=8, hops=3, **options)


def numbers(shape, seed=0, low=2):
    return np.random.default_rng(seed).integers(low, 12, shape).astype("int32")


def padded(features, more):
    """The same with more padding on every axis but the first."""
    return {
        name: np.pad(value, [(0, 0), *[(0, more)] * (value.ndim - 1)])
        for name, value in features.items()
    }


def test_padding_changes_nothing_in_a_story():
    reader = story_reader()
    features = {"ids": numbers([2, 5, 4]), "question": numbers([2, 3])}
    logits, hops = reader.explain(features)
    more_logits, more_hops = reader.explain(padded(features, 3))
    np.testing.assert_allclose(more_logits, logits, atol=1e-5)
    np.testing.assert_allclose(more_hops[:, :, :5], hops, atol=1e-6)
    assert not more_hops[:, :, 5:].numpy().any()
    # A story of nothing but padding has an answer, too.
    empty = {"ids": np.zeros([1, 2, 3], "int32"), "question": np.zeros([1, 2], "int32")}
    logits, hops = reader.explain(empty)
    assert np.isfinite(logits).all() and not hops.numpy().any()


def test_texts_of_no_token_have_no_span():
    first, last, probability = best_span(tf.zeros([2, 1]), tf.zeros([2, 1]), longest=3)
    assert first.numpy().tolist() == last.numpy().tolist() == [-1, -1]
    assert probability.numpy().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("answerable", [False, True])
def test_a_text_without_a_token_has_no_answer_however_long_the_others_are(answerable):
    encoder = {"vocabulary_size": 12, "embedding_dim": 4, "stack": {"units": 5}}
    reader = SpanReader(encoder, answerable)
    features = {"ids": np.array([[0, 0], [5, 6]], "int32"), "question": numbers([2, 3])}
    for more in (0, 7):
        first, last, probability = best_span(*reader(padded(features, more)), longest=3)
        assert (int(first[0]), int(last[0]), float(probability[0])) == (-1, -1, 1.0)
        assert not answerable or int(first[1]) >= 0


def test_sentences_read_once_are_read_alike():
    reader = story_reader()
    distinct = np.concatenate([np.zeros([1, 4], "int32"), numbers([3, 4])])
    which = np.array([[1, 2, 1, 3, 0], [3, 3, 0, 0, 0]], "int32")
    features = {"ids": distinct[which], "question": numbers([2, 3])}
    once = reader({**features, "distinct_ids": distinct, "which": which})
    np.testing.assert_allclose(once, reader(features), atol=1e-6)
    # What is said twice is changed twice by one row.
    distinct[1] += 1
    changed = reader({**features, "distinct_ids": distinct, "which": which})
    assert np.abs(changed - once)[0].max() > 1e-4 and np.allclose(changed[1], once[1])


def test_a_question_is_what_the_recurrent_layers_make_of_it_and_its_words_by_their_places():
    encoder = {"vocabulary_size": 9, "embedding_dim": 4, "stack": {"units": 5}}
    reader = StoryReader(3, encoder, units=6)
    ids = np.array([[4, 7, 5, 0], [8, 0, 0, 0]])
    features = {"ids": ids[:, None], "question": ids}
    given = reader.question(features)
    _, _, states = reader.encoder({"ids": ids}, return_state=True)
    table = reader.encoder.embedding(np.arange(9)).numpy()
    placed = np.zeros([2, 4])
    for row, real in enumerate((3, 1)):
        for j in range(1, real + 1):
            for i in range(1, 5):
                weight = (1 - j / real) - (i / 4) * (1 - 2 * j / real)
                placed[row, i - 1] += weight * table[ids[row, j - 1], i - 1]
    text = np.concatenate([states[-1][0], placed], axis=1)
    wanted = text @ reader.query.kernel.numpy() + reader.query.bias.numpy()
    np.testing.assert_allclose(given, wanted, atol=1e-5)
    # At first a sentence of the same words is the same.
    np.testing.assert_allclose(reader.facts(features)[:, 0], wanted, atol=1e-5)


def test_hops_weigh_what_the_last_state_is_made_of():
    reader = story_reader()
    features = {"ids": numbers([1, 6, 4]), "question": numbers([1, 3])}
    _, hops = reader.explain(features)
    assert hops.shape == (1, 3, 6)
    total = hops.numpy().sum(axis=2)
    assert (total > 0).all() and (total < 1).all()
    # All gates are alike at first, nearly: the later a sentence, the more of it is left.
    z = 1 / (1 + np.exp(2.5))
    np.testing.assert_allclose(hops[0, 0], z * (1 - z) ** np.arange(5, -1, -1), rtol=0.5)


def test_the_order_of_sentences_counts_and_every_weight_is_used():
    reader = story_reader()
    ids, question = numbers([2, 4, 3]), numbers([2, 3])
    plain = reader({"ids": ids, "question": question})
    turned = reader({"ids": ids[:, ::-1].copy(), "question": question})
    assert np.abs(plain - turned).max() > 1e-4
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(reader({"ids": ids, "question": question}, training=True) ** 2)
    variables = reader.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    still = [
        variable.path
        for variable, gradient in zip(variables, gradients)
        if gradient is None or not np.abs(tf.convert_to_tensor(gradient)).max() > 0
    ]
    assert still == []


def test_padding_changes_nothing_in_a_text():
    reader = SpanReader(ENCODER)
    features = {"ids": numbers([2, 7]), "question": numbers([2, 3], seed=1)}
    wanted = reader(features)
    given = reader(padded(features, 4))
    for ours, theirs in zip(given, wanted):
        np.testing.assert_allclose(ours[:, :8], theirs, atol=1e-5)
        assert (ours[:, 8:].numpy() < -1e29).all()


def test_where_all_have_an_answer_nowhere_is_none():
    reader = SpanReader(ENCODER, answerable=True)
    start, end = reader({"ids": numbers([2, 7]), "question": numbers([2, 3])})
    assert (start[:, 0].numpy() < -1e29).all() and (end[:, 0].numpy() < -1e29).all()
    assert (best_span(start, end, 4)[0].numpy() >= 0).all()


@pytest.mark.parametrize("longest", [1, 3, 20])
@pytest.mark.parametrize("compiled", [False, True])
def test_best_span_is_the_best_of_all(longest, compiled):
    rng = np.random.default_rng(longest)
    start, end = rng.normal(size=[2, 40, 7]).astype("float32")
    start[:5, 0] = end[:5, 0] = 9.0
    find = tf.function(best_span, jit_compile=compiled)
    first, last, probability = (part.numpy() for part in find(start, end, longest))
    p_start, p_end = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (start, end))
    for row in range(40):
        spans = {
            (i - 1, j - 1): p_start[row, i] * p_end[row, j]
            for i in range(1, 7)
            for j in range(i, min(i + longest, 7))
        }
        spans[-1, -1] = p_start[row, 0] * p_end[row, 0]
        best = max(spans, key=spans.get)
        assert (first[row], last[row]) == best
        assert probability[row] == pytest.approx(spans[best], rel=1e-4)
    assert (first[:5] == -1).all() and (first[5:] >= 0).any()


@pytest.mark.parametrize(
    "name, value",
    [("skip", True), ("word_dropout", 0.1), ("alphabet_size", 5), ("attributes_size", 5)],
)
def test_a_span_reader_refuses_what_its_encoder_cannot_have(name, value):
    with pytest.raises(ValueError, match=f"an encoder without {name}, got {name}={value}"):
        SpanReader({**ENCODER, name: value})


@pytest.mark.parametrize("kind", ["story", "span"])
def test_they_survive_keras_saving(kind, tmp_path):
    features = {"ids": numbers([2, 5]), "question": numbers([2, 3])}
    reader = SpanReader({"vocabulary_size": 12, "embedding_dim": 6, "stack": {"units": 4}})
    if kind == "story":
        reader, features["ids"] = story_reader(dropout=0.1), numbers([2, 4, 3])
    wanted = reader(features)
    reader.save(tmp_path / "reader.keras")
    again = keras.models.load_model(tmp_path / "reader.keras")
    for ours, theirs in zip(tf.nest.flatten(again(features)), tf.nest.flatten(wanted)):
        # A logit may be near 0.
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_gates_are_those_of_the_states_that_are_read():
    """Of a story those of each sentence by itself, of a text those of its first layer, read forwards."""
    reader = story_reader()
    features = {"ids": numbers([2, 3, 4]), "question": numbers([2, 3])}
    features["ids"][0, 1, 2:] = 0
    reader(features)
    gates = reader.gates(features)
    assert {"gamma_u", "gamma_r", "output"} <= set(gates)
    for row, sentence in ((0, 1), (1, 2)):
        alone = reader.encoder.gates({"ids": features["ids"][row, sentence][None]})
        for name, values in gates.items():
            assert values.shape == (2, 3, 4, 4)
            np.testing.assert_allclose(values[row, sentence], alone[name][0], atol=1e-6)

    reader = SpanReader(ENCODER)
    features = {"ids": numbers([2, 7]), "question": numbers([2, 3], seed=1)}
    reader(features)
    gates = reader.gates(features)
    p = reader._context_vectors(features, reader._question_vectors(features))
    h = reader.stack(p, mask=features["ids"] != 0)
    np.testing.assert_allclose(gates["output"], h[:, :, :4], atol=1e-6)
    # The state is made of what the gates let through.
    a_prev = np.pad(gates["output"], [(0, 0), (1, 0), (0, 0)])[:, :-1]
    u, c = gates["gamma_u"].numpy(), gates["c_tilde"].numpy()
    np.testing.assert_allclose(gates["output"], u * c + (1 - u) * a_prev, atol=1e-5)
