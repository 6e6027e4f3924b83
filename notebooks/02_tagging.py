# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tagging: what a CRF adds over softmax
#
# A tagger reads a sentence with a recurrent network and gives each token a tag. With **softmax**
# each tag is chosen for itself; with a **conditional random field** the sequence is chosen as a
# whole, because tags have scores for following each other:
#
# $$\log p(y|x) = \sum_t \left(e_{t, y_t} + A_{y_{t-1}, y_t}\right) + s_{y_1} + f_{y_T} - \log Z$$
#
# 1. **The same encoder, twice**: once with softmax, once with a CRF, on sentences in which only the
#    order of the tags decides.
# 2. **Transitions**: the learnt scores $A$ as a heat map.
# 3. **Where they disagree**: sentences, token by token.
# 4. **k best and marginals** of one sentence: how sure is the model, and of what?
# 5. **Constraints**: what a decoder must not do.
#
# It runs in about a minute on two CPU cores and downloads nothing.

# %%
import itertools
import os

import keras_rnn  # First: it imports TensorFlow without its notices.

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from IPython.display import HTML, display

import pipelines
from keras_rnn import pictures

keras.utils.set_random_seed(1)
tf.get_logger().setLevel("ERROR")  # Several small models: each compiles anew.

# The tests run this notebook with shorter trainings, too short for compilation to pay.
FAST = bool(os.environ.get("NOTEBOOK_FAST"))

# %% [markdown]
# ## 1. The same encoder, twice
#
# The built-in sample `transitions` has railway journeys to be tagged with their stations. From each of
# 24 stations trains go on to two others. About half of the words say nothing (*stop*, *halt*); those
# that name their station are just enough for one journey alone to be possible on the map.

# %%
train_set, dev_set, test_set = pipelines.transitions(seed=1)
for record in train_set[:3]:
    print(" ".join(record["tokens"]))
    print("   ", " ".join(record["tags"]))


class Vocabulary:
    """Words and tags of a data set as numbers; 0 pads, 1 is an unknown word."""

    def __init__(self, records):
        words = {word for record in records for word in record["tokens"]}
        self.words = {word: number for number, word in enumerate(sorted(words), start=2)}
        self.tags = sorted({tag for record in records for tag in record["tags"]})

    def encode(self, records):
        """Word ids and tag numbers, each [sentence, time]."""
        time = max(len(record["tokens"]) for record in records)
        ids = np.zeros([len(records), time], "int32")
        tags = np.zeros_like(ids)
        for row, record in enumerate(records):
            count = len(record["tokens"])
            ids[row, :count] = [self.words.get(word, 1) for word in record["tokens"]]
            tags[row, :count] = [self.tags.index(tag) for tag in record["tags"]]
        return ids, tags


journeys = Vocabulary(train_set)
train_ids, train_tags = journeys.encode(train_set)
test_ids, test_tags = journeys.encode(test_set)

# %% [markdown]
# Embedding, a bidirectional GRU, and one of two last layers. `CRF` gives emissions; `crf.loss` is
# the negative log-likelihood of the whole sequence, and the mask of the padding goes with the
# emissions. For softmax the padding gets no weight. The losses that are printed cannot be compared:
# that of softmax is of one position, that of the CRF of a whole sentence.


# %%
def encoder(vocabulary, units):
    ids = keras.Input([None], dtype="int32")
    x = keras.layers.Embedding(len(vocabulary.words) + 2, 16, mask_zero=True)(ids)
    gru = keras_rnn.GRU(units, return_sequences=True)
    return ids, keras.layers.Bidirectional(gru)(x)


def train(model, loss, ids, tags, epochs, weights=None):
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=not FAST)
    history = model.fit(
        ids, tags, sample_weight=weights, batch_size=25, epochs=epochs, verbose=0
    ).history
    print(f"loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.3f}")
    return model


def softmax_tagger(vocabulary, ids, tags, units=16, epochs=30):
    inputs, h = encoder(vocabulary, units)
    model = keras.Model(inputs, keras.layers.Dense(len(vocabulary.tags))(h))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return train(model, loss, ids, tags, epochs, weights=(ids > 0).astype("float32"))


def crf_tagger(vocabulary, ids, tags, units=16, epochs=30, constraints=None):
    inputs, h = encoder(vocabulary, units)
    crf = keras_rnn.CRF(len(vocabulary.tags), constraints)
    return train(keras.Model(inputs, crf(h)), crf.loss, ids, tags, epochs), crf


EPOCHS = 6 if FAST else 30
softmax_model = softmax_tagger(journeys, train_ids, train_tags, epochs=EPOCHS)
crf_model, crf = crf_tagger(journeys, train_ids, train_tags, epochs=EPOCHS)

# %%
real = test_ids > 0
by_softmax = np.argmax(softmax_model.predict(test_ids, verbose=0), axis=-1)
emissions = crf_model.predict(test_ids, verbose=0)
by_crf = crf.decode(emissions, real)[0].numpy()
for name, found in [("softmax", by_softmax), ("CRF", by_crf)]:
    right = (found == test_tags) | ~real
    print(
        f"{name:8} {right[real].mean():6.1%} of the tokens right, "
        f"{right.all(axis=1).mean():6.1%} of the sentences wholly"
    )

# %% [markdown]
# Most errors lie far from the words that tell:

# %%
telling = test_ids > 0
for row, record in enumerate(test_set):
    for place, word in enumerate(record["tokens"]):
        telling[row, place] = word in journeys.tags
places = np.arange(test_ids.shape[1])
distance = np.array([np.abs(places[:, None] - places[tells]).min(axis=1) for tells in telling])
figure, axis = plt.subplots(figsize=[6, 2.6], layout="constrained")
for shift, (name, found) in enumerate([("softmax", by_softmax), ("CRF", by_crf)]):
    wrong = [np.mean((found != test_tags)[real & (distance == d)]) for d in range(3)]
    axis.bar(np.arange(3) + 0.4 * shift - 0.2, wrong, width=0.4, label=name)
axis.set_xticks(range(3))
axis.set_xlabel("steps to the nearest word that tells")
axis.set_ylabel("share of tags wrong")
axis.legend()
plt.show()

# %% [markdown]
# The CRF has one number for each pair of neighbours, the map, and learns it from each pair that it
# sees. With softmax the GRU itself must learn which stations can be reached in how many steps,
# forwards and backwards, and from 300 journeys it learns that less well. The gap is widest for
# whole sentences: one impossible step spoils one.
#
# ## 2. Transitions
#
# Rows are the tag before, columns the tag after; red is likely, blue unlikely. Along each row there
# are two red fields: the map. `start` and `end` say little, because a journey may begin and end
# anywhere.

# %%
figure = pictures.draw_transitions(
    crf.transitions.numpy(),
    journeys.tags,
    start=crf.start.numpy(),
    end=crf.end.numpy(),
    title="learnt transitions",
)
display(figure)
plt.close(figure)
for tag, row in zip(journeys.tags, crf.transitions.numpy(), strict=True):
    first, second = np.argsort(-row)[:2]
    print(f"{tag:9} -> {journeys.tags[first]}, {journeys.tags[second]}")

# %% [markdown]
# ## 3. Where they disagree
#
# Sentences in which the two taggers differ, the shortest ones. Wrong tags are red, words that tell
# are bold. Softmax errs between the words that tell, and it takes steps that are not on the map:
# nothing in it says that it must not. The CRF takes a quarter as many, for it can: in the third
# sentence it goes from Valley to East. Constraints (section 5) would forbid it.


# %%
tags_of = {}
for record in train_set:
    for word, tag in zip(record["tokens"], record["tags"], strict=True):
        tags_of.setdefault(word, set()).add(tag)


def as_table(words, rows, right=None):
    """Words and the tags that each row gives them; wrong ones in red, words that tell in bold."""

    def cells(texts, styles):
        return "".join(
            f'<td style="padding:1px 5px;{style}">{text}</td>'
            for text, style in zip(texts, styles, strict=True)
        )

    bold = ["font-weight:bold" if len(tags_of.get(word, "..")) == 1 else "" for word in words]
    lines = [cells(["", *words], ["", *bold])]
    for name, tags in rows.items():
        wrong = [right is not None and tag != right[place] for place, tag in enumerate(tags)]
        colors = ["color:#c00" if bad else "" for bad in wrong]
        lines.append(cells([name, *tags], ["color:#666", *colors]))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return HTML(f'<table style="font-size:11px;margin-bottom:8px">{body}</table>')


def names(numbers, words):
    return [journeys.tags[number] for number in numbers[: len(words)]]


differ = np.any((by_softmax != by_crf) & real, axis=1)
shown = sorted(np.flatnonzero(differ), key=lambda row: len(test_set[row]["tokens"]))[:4]
print(f"{differ.sum()} of {len(test_set)} sentences")
on_map = {step for record in train_set for step in itertools.pairwise(record["tags"])}
for name, found in [("softmax", by_softmax), ("CRF", by_crf)]:
    journeys_found = [names(row, each["tokens"]) for row, each in zip(found, test_set, strict=True)]
    steps = [step for journey in journeys_found for step in itertools.pairwise(journey)]
    off = sum(step not in on_map for step in steps)
    print(f"{name:8} {off} of {len(steps):,} steps not on the map")
for row in shown:
    words, right = test_set[row]["tokens"], test_set[row]["tags"]
    rows = {"softmax": names(by_softmax[row], words), "CRF": names(by_crf[row], words)}
    display(as_table(words, {**rows, "right": right}, right))

# %% [markdown]
# ## 4. k best and marginals
#
# `decode(..., k=5)` gives the five best sequences with their scores; the score less $\log Z$ is the
# log-probability of the sequence. `marginals` gives the probability of each tag at each position,
# over all sequences, by the forward-backward recursion.
#
# A test sentence as it is, and the same one with a word that tells hidden. Then nine journeys fit the
# words, and the marginals are spread where these part. The best sequence is one of the nine; the four
# behind it each take a step that is not on the map: learnt transitions make an impossible step unlikely,
# they do not forbid it.

# %%
row = int(np.argmin([len(record["tokens"]) for record in test_set]))
words = test_set[row]["tokens"]
telling = [place for place, word in enumerate(words) if len(tags_of.get(word, "..")) == 1]
middle = telling[len(telling) // 2]
hidden = [*words[:middle], "stop", *words[middle + 1 :]]


def look_at(words):
    """Draws the marginals of a sentence and lists its best sequences."""
    ids, _ = journeys.encode([{"tokens": words, "tags": journeys.tags[:1] * len(words)}])
    emissions = crf_model(ids)
    tags, scores = (each[0].numpy() for each in crf.decode(emissions, k=5))
    likelihoods = [crf.log_likelihood(row[None], emissions)[0] for row in tags]
    rows = {
        f"{rank}. {score:.1f}, {np.exp(likelihood):.1%}": names(row, words)
        for rank, (row, score, likelihood) in enumerate(zip(tags, scores, likelihoods), start=1)
    }
    marginals = crf.marginals(emissions)[0].numpy()
    figure, axis = plt.subplots(figsize=[7, 5], layout="constrained")
    image = axis.imshow(marginals.T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(range(len(words)), words)
    axis.set_yticks(range(len(journeys.tags)), journeys.tags)
    figure.colorbar(image, label="probability of the tag")
    display(figure)
    plt.close(figure)
    display(as_table(words, rows))
    return marginals


for sentence in (words, hidden):
    marginals = look_at(sentence)
    print(
        "marginals of each position add up to 1:", np.allclose(marginals.sum(axis=1), 1, atol=1e-4)
    )

# %% [markdown]
# ## 5. Constraints
#
# What is known of the tags need not be learnt. `constraints` forbid transitions while decoding:
# `keras_rnn.tag_constraints` makes the table for the tag schemes BIO, IOB1 and IOBES, in which not
# every tag may follow every other. Grey is forbidden; here all that is permitted scores 0.

# %%
span_tags = ["O", "B-day", "I-day", "B-month", "I-month"]
permitted = keras_rnn.tag_constraints(span_tags, "BIO")
figure = pictures.draw_transitions(
    np.where(permitted[:-1, :-1], 0.0, -np.inf),
    span_tags,
    start=np.where(permitted[-1, :-1], 0.0, -np.inf),
    end=np.where(permitted[:-1, -1], 0.0, -np.inf),
    title="permitted in BIO",
)
display(figure)
plt.close(figure)

# Emissions that want I-month right after O: the decoder finds the best sequence that is one.
wanted = np.array([[3.0, 0, 0, 0, 0], [0, 0, 0, 1.0, 3.0], [0, 0, 0, 0, 3.0]], "float32")
layer = keras_rnn.CRF(len(span_tags), permitted)
layer.build([None, None, len(span_tags)])
layer.transitions.assign(np.zeros([len(span_tags)] * 2))
best = layer.decode(wanted[None])[0][0].numpy()
print("the best of each position:", [span_tags[tag] for tag in wanted.argmax(axis=-1)])
print("the best that is permitted:", [span_tags[tag] for tag in best])
