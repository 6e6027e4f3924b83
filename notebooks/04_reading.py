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
# # Reading: what is left to ask
#
# *Where is the map?* No sentence of the story below says so. One says who took it, another where that
# person went then. A **query-reduction network** (Seo et al. 2017) reads the sentences in their order;
# each sentence $x_t$ is read with a question $q_t$, makes of it what is left to ask, and a gate says
# whether it has anything to do with the question:
#
# $$z_t = \sigma(w_z^\top (x_t * q_t) + b_z) \qquad r_t = \sigma(w_r^\top (x_t * q_t) + b_r) \qquad
# \tilde h_t = \tanh(W_h [x_t, q_t] + b_h)$$
#
# $$h_t = z_t \, r_t \, \tilde h_t + (1 - z_t) \, h_{t-1}$$
#
# In the next **hop** $h_t$ is the question with which sentence $t$ is read. After *Ada took the map* the
# question is where Ada is, and it is asked of every sentence that follows.
#
# 1. **Stories**: a house where people walk, take and lose things.
# 2. **One hop, two, four**: the same network on questions that need one fact, two, three.
# 3. **Attention over a story**: what each hop takes of it.
#
# It runs in about eight minutes on two CPU cores and downloads nothing.

# %%
import os
import time

import keras_rnn  # First: it imports TensorFlow without its notices.

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from IPython.display import display

import pipelines
from keras_rnn import models

keras.utils.set_random_seed(1)
tf.get_logger().setLevel("ERROR")  # Several small models: each compiles anew.

# The tests run this notebook with shorter trainings, too short for compilation to pay.
FAST = bool(os.environ.get("NOTEBOOK_FAST"))

# %% [markdown]
# ## 1. Stories
#
# The stories are written by a small simulation, which knows who is where and who has what. Each
# question names its kind: *person* and *holder* need one fact, *thing* two, *before* three.

# %%
KINDS = {"person": 1, "thing": 2, "before": 3}
train, dev, _ = pipelines.house_stories(train=40 if FAST else 3000, dev=10 if FAST else 300, test=1)
train, dev = ([record for record in part if record["task"] in KINDS] for part in (train, dev))
for kind in KINDS:
    record = next(record for record in dev if record["task"] == kind)
    print(f"{kind}: {record['context']}\n    {record['question']} {record['answer']}\n")

# %% [markdown]
# Each sentence is a row of words: `ids` is [stories, sentences, words].

# %%
tokenizer = pipelines.train_tokenizer(
    "words", [record[name] for record in train for name in ("context", "question")], 200, lower=True
)
ANSWERS = sorted({record["answer"] for record in train})


def sentences(record):
    return [sentence.strip() + "." for sentence in record["context"].split(".")[:-1]]


STORY = max(len(sentences(record)) for record in [*train, *dev])
WORDS = 10


def encode(records):
    """Features and the numbers of the answers."""
    rows = tf.ragged.constant([sentences(record) for record in records])
    ids = rows.with_flat_values(
        tokenizer.encode(rows.flat_values).to_tensor(shape=[None, WORDS])
    ).to_tensor(shape=[None, STORY, WORDS])
    questions = tokenizer.encode(tf.constant([record["question"] for record in records]))
    answers = np.array([ANSWERS.index(record["answer"]) for record in records])
    return {"ids": ids, "question": questions.to_tensor(shape=[None, WORDS])}, answers


train_features, train_answers = encode(train)
dev_features, dev_answers = encode(dev)
print(f"{len(train):,} stories of at most {STORY} sentences, {len(ANSWERS)} answers")

# %% [markdown]
# ## 2. One hop, two, four
#
# `StoryReader` reads each sentence and the question with a bidirectional GRU, then the sentences in
# their order with the query-reduction cell, in both directions, once or several times.

# %%
UNITS, EPOCHS = 48, 1 if FAST else 20


def counted(number, name):
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def train_reader(hops):
    encoder = {
        "vocabulary_size": tokenizer.size,
        "embedding_dim": 32,
        "stack": {"units": 24, "cell": "gru"},
    }
    keras.utils.set_random_seed(1)
    model = models.StoryReader(len(ANSWERS), encoder, UNITS, hops=hops)
    steps = EPOCHS * len(train) // 64
    rate = keras.optimizers.schedules.PolynomialDecay(0.004, max(steps, 1), 0.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=5.0), loss, jit_compile=not FAST)
    whole = len(train) // 64 * 64  # No short batch: one program less to compile.
    started = time.perf_counter()
    history = model.fit(
        {name: value[:whole] for name, value in train_features.items()},
        train_answers[:whole],
        batch_size=64 if whole else 8,
        epochs=EPOCHS,
        verbose=0,
    ).history["loss"]
    seconds = time.perf_counter() - started
    print(f"{counted(hops, 'hop')}: loss {history[-1]:.3f} in {seconds:.0f} s")
    return model


def accuracies(model):
    given = model.predict(dev_features, batch_size=256, verbose=0).argmax(axis=1)
    kinds = np.array([record["task"] for record in dev])
    return [float(np.mean((given == dev_answers)[kinds == kind])) for kind in KINDS]


HOPS = [2] if FAST else [1, 2, 4]
readers = {hops: train_reader(hops) for hops in HOPS}
scores = {hops: accuracies(reader) for hops, reader in readers.items()}

# %%
figure, axis = plt.subplots(figsize=[6, 3], layout="constrained")
places = np.arange(len(KINDS))
for number, (hops, values) in enumerate(scores.items()):
    name = counted(hops, "hop")
    axis.bar(places + 0.25 * (number - 1), values, width=0.22, label=name)
    print(f"{name}:", " ".join(f"{kind} {v:.2f}" for kind, v in zip(KINDS, values)))
axis.set_xticks(places, [f"{kind}\n{counted(facts, 'fact')}" for kind, facts in KINDS.items()])
axis.set_ylabel("accuracy on new stories")
axis.set_ylim(0, 1)
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# Two hops are enough for all three kinds: 1.00, 1.00 and 0.99. One finds one fact, and is right in less than half
# of the questions that need more. Four, with one seed and as many epochs, end lower, at 0.90 to 0.99: there is more
# to train. What follows is the reader with two.
#
# ## 3. Attention over a story
#
# The gates look at no state, and so the last state is a sum: $h_T = \sum_t \alpha_t r_t \tilde h_t$ with
# $\alpha_t = z_t \prod_{s > t} (1 - z_s)$, an attention that favours what was said last. Dark fields are
# the sentences that a hop has taken when the story ends.

# %%
reader = readers[2]
_, hops = reader.explain(dev_features)
for kind in KINDS:
    # The longest story of each kind among the first ones.
    numbers = [number for number, record in enumerate(dev) if record["task"] == kind][:8]
    number = max(numbers, key=lambda number: len(sentences(dev[number])))
    record = dev[number]
    title = f"{record['question']} {record['answer']}"
    figure = keras_rnn.draw_story(hops[number].numpy(), sentences(record), title)
    display(figure)
    plt.close(figure)
