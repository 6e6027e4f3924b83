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
# # Copying: words that no vocabulary has
#
# *Brus Pelmdin buys Meilby bakery for 4,051 crowns.* A decoder that chooses among the words of its
# vocabulary cannot write this: nobody has met Brus Pelmdin before. A **pointer-generator** (See, Liu
# and Manning 2017) has a second way. Its attention $\alpha_t$ over the words $x_j$ of the text is a
# distribution already, and a switch mixes it with that over the vocabulary:
#
# $$p_{gen} = \sigma(w^\top [s_t; c_t; E y_{t-1}] + b) \qquad
# P(w) = p_{gen} \, P_{vocabulary}(w) + (1 - p_{gen}) \sum_{j: x_j = w} \alpha_{tj}$$
#
# So a word of the text gets a probability wherever it comes from.
#
# 1. **Notices**: short reports, and what is to be said of them.
# 2. **The extended vocabulary**: ids for words that have none.
# 3. **Training**: exact match, epoch by epoch.
# 4. **What is copied**: where each word looked, and how surely it is a copy.
# 5. **The switch**: which words are copied and which are written.
# 6. **Coverage**: looking where nobody has looked before.
#
# It runs in about three minutes on two CPU cores and downloads nothing.

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
from keras_rnn.tasks.copies import CopyFeatures

keras.utils.set_random_seed(1)
tf.get_logger().setLevel("ERROR")

# The tests run this notebook with a shorter training, too short for compilation to pay.
FAST = bool(os.environ.get("NOTEBOOK_FAST"))

# %% [markdown]
# ## 1. Notices
#
# One sentence tells what happened, others stand beside it, with names and numbers of their own. Names are
# made of syllables, anew for each notice.

# %%
train, dev, _ = pipelines.town_notices(train=64 if FAST else 3200, dev=16 if FAST else 200, test=1)
for record in train[:4]:
    print(f"{record['text']}\n    → {record['summary']}\n")

# %% [markdown]
# ## 2. The extended vocabulary
#
# The vocabulary holds 150 tokens: four marks and the 146 most frequent words. A word of the text that it lacks
# gets the id 150 + the place where it first stands: an id of this text alone, by which it can be found in the
# summary, too.

# %%
SIZE = 150
texts = [record[name] for record in train for name in ("text", "summary")]
tokenizer = pipelines.train_tokenizer("words", texts, SIZE, lower=True)
features = CopyFeatures(tokenizer, tokenizer.tokens_list, None, max_length=100)


def encode(records):
    """Dense ids of texts and of summaries, all of one length so that one program is compiled."""
    text, summary = (tf.constant([record[n] for record in records]) for n in ("text", "summary"))
    ids = features.encode(text)["ids"].to_tensor(shape=[None, 64])
    return ids, features.encode_summaries(text, summary).to_tensor(shape=[None, 12])


ids, target = encode(train)
words = features.words(tf.constant([train[1]["text"]]))[0].numpy()
print(" ".join(f"{word.decode()}/{number}" for word, number in zip(words, ids[1].numpy())))
print("\n→", target[1].numpy())
whole = np.mean((target.numpy() < tokenizer.size).all(axis=1))
print(f"\n{whole:.0%} of the summaries could be written with the words of the vocabulary alone")

# %% [markdown]
# ## 3. Training
#
# The loss of a word is $-\log P(w)$, plus a tenth of the coverage loss (below). A greedy search writes
# the summaries of notices that training has not seen.

# %%
encoder = {"vocabulary_size": tokenizer.size, "embedding_dim": 32, "stack": {"units": 48}}
model = models.PointerGenerator(encoder, units=64, attention_units=48, dropout=0.1)
BATCH, EPOCHS = 32, 1 if FAST else 4
steps = EPOCHS * len(train) // BATCH
optimizer = keras.optimizers.Adam(
    keras.optimizers.schedules.PolynomialDecay(5e-3, steps, 0.0), global_clipnorm=1.0
)
model({"ids": ids[:1], "target": target[:1]})
optimizer.build(model.trainable_variables)


@tf.function(jit_compile=not FAST)
def gradients_of(ids, target):
    with tf.GradientTape() as tape:
        logits, alpha, switch = model({"ids": ids, "target": target}, training=True)
        found, _ = models.log_likelihood(logits, alpha, switch, ids, target)
        losses = 0.1 * models.coverage_loss(alpha) - found
        real = tf.cast((target != pipelines.PADDING) & (target != pipelines.UNKNOWN), tf.float32)
        loss = tf.reduce_sum(losses * real) / tf.reduce_sum(real)
    return loss, tape.gradient(loss, model.trainable_variables)


@tf.function(jit_compile=not FAST)
def summarize(ids):
    return models.greedy_search(model, {"ids": ids}, 11, block_ngrams=3).tokens[:, 0]


dev_ids, dev_target = encode(dev)
dev_texts = tf.constant([record["text"] for record in dev])
started, exact, losses = time.perf_counter(), [], []
for epoch in range(EPOCHS):
    order = np.random.default_rng(epoch).permutation(len(train))
    for place in range(0, len(train), BATCH):
        rows = order[place : place + BATCH]
        loss, gradients = gradients_of(tf.gather(ids, rows), tf.gather(target, rows))
        optimizer.apply(gradients, model.trainable_variables)
        losses.append(float(loss))
    given = summarize(dev_ids).numpy()
    right = np.where(dev_target.numpy()[:, :11] == pipelines.END, 0, dev_target.numpy()[:, :11])
    exact.append(float((given == right).all(axis=1).mean()))
print(f"{exact[-1]:.0%} of the new notices: {time.perf_counter() - started:.0f} s")

# %%
figure, (left, right_axis) = plt.subplots(1, 2, figsize=[8, 2.8], layout="constrained")
left.plot(losses, linewidth=0.7)
left.set_xlabel("step")
left.set_ylabel("loss")
right_axis.plot(range(1, EPOCHS + 1), exact, marker="o")
right_axis.axhline(whole, linestyle=":", color="gray")
right_axis.set_ylim(0, 1)
right_axis.set_xlabel("epoch; dotted: the most without copying")
right_axis.set_ylabel("exact match on new notices")
plt.show()

# %% [markdown]
# ## 4. What is copied
#
# A row for each word of the summary: dark is where it looked; the number behind the word is the probability
# that it came by copying, $(1 - p_{gen}) \sum_j \alpha_{tj} / P(w)$ over the places $j$ of the word.

# %%
ended = np.where(given == 0, pipelines.END, given)
ended = np.pad(ended, [[0, 0], [0, 1]], constant_values=pipelines.END)
ended *= np.cumsum(ended == pipelines.END, axis=1) <= 1
logits, alpha, switch = model({"ids": dev_ids, "target": tf.constant(ended)})
_, copied = models.log_likelihood(logits, alpha, switch, dev_ids, tf.constant(ended))
written = [
    [word.decode() for word in row if word]
    for row in features.spell(dev_texts, tf.constant(ended)).numpy()
]
read = [[word.decode() for word in row] for row in features.words(dev_texts).to_list()]
shortest = sorted(range(len(dev)), key=lambda number: len(read[number]))
for number in shortest[:3]:
    figure = keras_rnn.draw_copying(
        alpha[number].numpy(), read[number], written[number], copied[number].numpy()
    )
    display(figure)
    plt.close(figure)

# %% [markdown]
# ## 5. The switch
#
# Words that the vocabulary lacks can only be copied. For the others the model chooses: what stands in the
# text as it is, as a day or a house, may come from either side.

# %%
real = ended != 0
outside = ended >= tokenizer.size
there = (dev_ids.numpy()[:, None] == ended[:, :, None]).any(axis=2)
groups = {
    "not in the vocabulary": real & outside,
    "in the vocabulary and in the text": real & ~outside & there,
    "in the vocabulary alone": real & ~outside & ~there,
}
figure, axis = plt.subplots(figsize=[7, 3], layout="constrained")
for name, chosen in groups.items():
    values = copied.numpy()[chosen]
    axis.hist(values, bins=20, range=(0, 1), histtype="step", linewidth=2, label=name)
    if len(values):
        print(f"{name}: {len(values)} words, copied with {values.mean():.2f} in the mean")
axis.set_xlabel("probability of being a copy")
axis.set_ylabel("words")
axis.legend()
plt.show()

# %% [markdown]
# ## 6. Coverage
#
# The attention is told how much it has looked at each place, and a loss tells it not to look there again:
# $\sum_j \min(\alpha_{tj}, \sum_{t' < t} \alpha_{t'j})$. Below, the sum of all steps over the text: each
# fact that is told is looked at about once, and so is a small word or two, where the summary has words that are
# no fact; all else hardly at all.

# %%
number = shortest[3]
covered = (alpha[number].numpy() * real[number][:, None]).sum(axis=0)[: len(read[number])]
figure, axis = plt.subplots(figsize=[8, 2.6], layout="constrained")
axis.bar(range(len(covered)), covered)
axis.set_xticks(range(len(covered)), read[number], rotation=60, ha="right")
axis.set_ylabel("attention in all")
axis.set_title(" ".join(written[number]))
plt.show()
