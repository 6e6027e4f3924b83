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
# # Gates and pooling
#
# Four things a recurrent network for text does, each small enough to look at:
#
# 1. **Gates**: one LSTM step and one GRU step computed by hand, then the gates of trained cells over a sentence.
# 2. **Two directions**: what *Teddy* means is decided by a word that comes later.
# 3. **How far a gradient reaches**: Elman, GRU and LSTM.
# 4. **Attention pooling**: one vector for a sentence, and which words it came from.
#
# It runs in about four minutes on two CPU cores and downloads nothing.

# %%
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
tf.get_logger().setLevel("ERROR")  # Many small models: each compiles anew, which TensorFlow minds.

# The tests run this notebook with shorter trainings, too short for compilation to pay.
FAST = bool(os.environ.get("NOTEBOOK_FAST"))

# %% [markdown]
# ## 1. One step by hand
#
# The LSTM as it is printed in the lecture, `W[p, q]` acting on p and q side by side:
#
# $$\tilde c = \tanh(W_c[a_{t-1}, x] + b_c)$$
# $$\Gamma_u = \sigma(W_u[a_{t-1}, x] + b_u) \quad
#   \Gamma_f = \sigma(W_f[a_{t-1}, x] + b_f) \quad
#   \Gamma_o = \sigma(W_o[a_{t-1}, x] + b_o)$$
# $$c = \Gamma_u * \tilde c + \Gamma_f * c_{t-1} \qquad a = \Gamma_o * c$$
#
# The last line has no tanh. `output_activation="tanh"` gives `a = Γ_o * tanh(c)`, the LSTM of
# Keras.
#
# A layer keeps W in two pieces, `kernel` for x and `recurrent_kernel` for a, each with the blocks
# u, f, o, c side by side. `return_extras=True` makes the layer hand out the gates it used, so the
# lines below can be compared with them.


# %%
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_by_hand(x, kernel, recurrent_kernel, bias):
    """The lecture's lines, one row of time after the other."""
    units = len(recurrent_kernel)
    a = c = np.zeros(units)
    rows = []
    for x_t in x:
        u, f, o, c_hat = np.split(x_t @ kernel + a @ recurrent_kernel + bias, 4)
        gamma_u, gamma_f, gamma_o, c_tilde = sigmoid(u), sigmoid(f), sigmoid(o), np.tanh(c_hat)
        c = gamma_u * c_tilde + gamma_f * c
        a = gamma_o * c
        rows.append([gamma_u, gamma_f, gamma_o, c_tilde, c, a])
    return np.array(rows)


x = np.random.default_rng(0).normal(size=[1, 6, 3]).astype("float32")
layer = keras_rnn.FusedRNN(keras_rnn.LSTMCell(4), return_sequences=True, return_extras=True)
a, extras = layer(x)
by_hand = lstm_by_hand(x[0], *[weight.numpy() for weight in layer.weights])
for number, name in enumerate(["gamma_u", "gamma_f", "gamma_o", "c_tilde", "c"]):
    error = np.abs(by_hand[:, number] - extras[name][0].numpy()).max()
    print(f"{name:8} largest difference {error:.1e}")
print(f"a        largest difference {np.abs(by_hand[:, 5] - a[0].numpy()).max():.1e}")
assert np.allclose(by_hand[:, 5], a[0], atol=1e-6)

# %% [markdown]
# The GRU: one state, two gates. `Γ_u` says how much of the *new* candidate is taken, and the
# reset gate works on the old state before the product.
#
# $$\Gamma_u = \sigma(W_u[c_{t-1}, x] + b_u) \qquad \Gamma_r = \sigma(W_r[c_{t-1}, x] + b_r)$$
# $$\tilde c = \tanh(W_c[\Gamma_r * c_{t-1}, x] + b_c) \qquad
#   c = \Gamma_u * \tilde c + (1 - \Gamma_u) * c_{t-1} \qquad a = c$$


# %%
def gru_by_hand(x, kernel, recurrent_kernel, bias):
    kernel_u, kernel_r, kernel_c = np.split(kernel, 3, axis=1)
    recurrent_u, recurrent_r, recurrent_c = np.split(recurrent_kernel, 3, axis=1)
    bias_u, bias_r, bias_c = np.split(bias, 3)
    c = np.zeros(len(recurrent_kernel))
    rows = []
    for x_t in x:
        gamma_u = sigmoid(x_t @ kernel_u + c @ recurrent_u + bias_u)
        gamma_r = sigmoid(x_t @ kernel_r + c @ recurrent_r + bias_r)
        c_tilde = np.tanh(x_t @ kernel_c + (gamma_r * c) @ recurrent_c + bias_c)
        c = gamma_u * c_tilde + (1 - gamma_u) * c
        rows.append(c)
    return np.array(rows)


layer = keras_rnn.FusedRNN(keras_rnn.GRUCell(4), return_sequences=True, return_extras=True)
c, extras = layer(x)
by_hand = gru_by_hand(x[0], *[weight.numpy() for weight in layer.weights])
print(f"c        largest difference {np.abs(by_hand - c[0].numpy()).max():.1e}")
assert np.allclose(by_hand, c[0], atol=1e-6)

# %% [markdown]
# ## 2. What *Teddy* means
#
# > He said, “**Teddy** bears are on sale!”
# >
# > He said, “**Teddy** Roosevelt was a great President!”
#
# Up to and including *Teddy* the two sentences are the same. The built-in sample has such pairs,
# with a tag for each word: the ambiguous one is a `thing` or a `person`, every other word is
# `other`.

# %%
sentences = pipelines.teddy(seed=1, pairs=600)
train_set, test_set = sentences[:1000], sentences[1000:]
for sentence in train_set[:4]:
    pairs = zip(sentence["tokens"], sentence["tags"], strict=True)
    print(" ".join(word if tag == "other" else f"{word}/{tag}" for word, tag in pairs))

texts = [" ".join(sentence["tokens"]) for sentence in train_set]
tokenizer = pipelines.train_tokenizer("words", texts, size=500)
TAGS = ["other", "thing", "person"]
TIME = 16


def encode(sentences):
    """Word ids and tag numbers, [sentence, time]; 0 pads both."""
    words = tf.ragged.constant([sentence["tokens"] for sentence in sentences])
    ids = tokenizer.encode_tokens(words).to_tensor(shape=[None, TIME]).numpy()
    tags = np.zeros_like(ids)
    for row, sentence in enumerate(sentences):
        tags[row, : len(sentence["tags"])] = [TAGS.index(tag) for tag in sentence["tags"]]
    return ids, tags


train_ids, train_tags = encode(train_set)
test_ids, test_tags = encode(test_set)

# %% [markdown]
# Three taggers with the lecture's LSTM: one reads forwards, one backwards, one both ways at once;
# and one more that reads both ways with a GRU. Each has 8 units a direction, and is measured on
# the ambiguous words of sentences that it was not trained on.


# %%
def backwards(layer):
    """Reads from the last word to the first; its outputs are turned back to the order of the text."""
    return lambda x: keras.ops.flip(layer(x), axis=1)


def tagger(read):
    ids = keras.Input([TIME], dtype="int32")
    x = keras.layers.Embedding(tokenizer.size, 16, mask_zero=True)(ids)
    model = keras.Model(ids, keras.layers.Dense(len(TAGS))(read(x)))
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=not FAST,
    )
    model.fit(
        train_ids,
        train_tags,
        sample_weight=(train_ids > 0).astype("float32"),
        batch_size=50,
        epochs=3 if FAST else 10,
        verbose=0,
    )
    return model


both_lstm = keras.layers.Bidirectional(keras_rnn.LSTM(8, return_sequences=True))
both_gru = keras.layers.Bidirectional(keras_rnn.GRU(8, return_sequences=True))
taggers = {
    "LSTM, forwards": tagger(keras_rnn.LSTM(8, return_sequences=True)),
    "LSTM, backwards": tagger(
        backwards(keras_rnn.LSTM(8, return_sequences=True, go_backwards=True))
    ),
    "LSTM, both": tagger(both_lstm),
    "GRU, both": tagger(both_gru),
}
ambiguous = test_tags > 0
share = {}
for name, model in taggers.items():
    guessed = model.predict(test_ids, verbose=0).argmax(axis=-1)
    share[name] = np.mean(guessed[ambiguous] == test_tags[ambiguous])
    print(f"{name:16} {share[name]:.1%} of the ambiguous words right")

# %%
teddy = [
    "He said , Teddy bears are on sale .".split(),
    "He said , Teddy Roosevelt was a great President .".split(),
]
teddy_ids = tokenizer.encode_tokens(tf.ragged.constant(teddy)).to_tensor(shape=[None, TIME])
where = teddy[0].index("Teddy")

figure, axes = plt.subplots(1, 2, figsize=[11, 3.2], sharey=True, layout="constrained")
for axis, words, row in zip(axes, teddy, range(2), strict=True):
    for number, model in enumerate(taggers.values()):
        probability = keras.ops.softmax(model(teddy_ids)[row, where])
        left = 0.0
        for tag, color in [(1, "#9ecae1"), (2, "#3182bd"), (0, "#dddddd")]:
            axis.barh(number, probability[tag], left=left, color=color)
            left += float(probability[tag])
    axis.set_title(" ".join(words), fontsize=10)
    axis.set_xlabel("probability of the tags of Teddy")
    axis.set_yticks(range(len(taggers)), taggers)
axes[0].invert_yaxis()
for tag, color in [("thing", "#9ecae1"), ("person", "#3182bd"), ("other", "#dddddd")]:
    axes[1].barh(0, 0, color=color, label=tag)
axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# Forwards, the tagger has read the same words in both sentences when it comes to *Teddy*, so it
# must give the same answer to both: right half the time, whatever it learns. Here what comes
# later decides, so reading backwards is enough; text has both cases, which is why a bidirectional
# network puts both states side by side: $h_t = [\overrightarrow{h}_t; \overleftarrow{h}_t]$.
#
# ### The gates over the sentence
#
# The gates of the trained cells, each column a word, each row one of the 8 units. The same cell
# is put into a layer that hands out its extras. This is the direction that reads from right to
# left; its columns are turned back to the order of the text.


# %%
def gates_of(model, bidirectional, words):
    """The extras of the backward cell over the words: name -> [time, units], in the order of the text."""
    ids = tokenizer.encode_tokens(tf.ragged.constant([words])).to_tensor()
    x = model.layers[1](ids)
    layer = keras_rnn.FusedRNN(
        bidirectional.backward_layer.cell,
        return_sequences=True,
        go_backwards=True,
        return_extras=True,
    )
    outputs, extras = layer(x)
    # The GRU's output is its state; the LSTM hands out its state c as an extra.
    gates = {**extras, "c": extras.get("c", outputs)}
    return {name: gate[0].numpy()[::-1] for name, gate in gates.items()}


for words in teddy:
    lstm_gates = gates_of(taggers["LSTM, both"], both_lstm, words)
    display(pictures.draw_gates(lstm_gates, words, title="LSTM, reading from right to left"))

# %%
for words in teddy:
    gru_gates = gates_of(taggers["GRU, both"], both_gru, words)
    display(pictures.draw_gates(gru_gates, words, title="GRU, reading from right to left"))

# %% [markdown]
# The column of *Teddy* stands out: that is where the cell must hand over what it has read. The
# GRU does so with a small update gate in some units: take little of the new word, keep the state
# that the later words left. Over the test sentences:

# %%
at_ambiguous, elsewhere = [], []
for sentence in test_set[:40]:
    gamma_u = gates_of(taggers["GRU, both"], both_gru, sentence["tokens"])["gamma_u"]
    doubtful = np.array(sentence["tags"]) != "other"
    at_ambiguous.append(gamma_u[doubtful].mean())
    elsewhere.append(gamma_u[~doubtful].mean())
print(f"mean update gate at the ambiguous words {np.mean(at_ambiguous):.2f}", end=", ")
print(f"at all others {np.mean(elsewhere):.2f}")

# %% [markdown]
# ## 3. How far a gradient reaches
#
# A sequence of noise goes in, and we ask how much the *last* output would change with each input:
# the norm of its gradient, against the distance between the two. Only what reaches back can be
# learned.
#
# Between two steps an LSTM's state is multiplied by $\Gamma_f$ and a GRU's by $1 - \Gamma_u$; the paths
# through the recurrent products add about a tenth at most. So the bias that these gates start with
# sets most of the slope. `LSTMCell` starts its forget bias at 1: σ(1) = 0.73 a step, and in the picture
# about 0.82. `GRUCell` starts at 0: σ(0) = 0.5, in the picture about 0.61, and so it forgets faster at
# first than the Elman network that it is to improve on, about 0.67. Starting the bias of its update gate
# at -2 mends that: 1 - σ(-2) = 0.88, in the picture about 0.89.


# %%
UNITS, FEATURES, LENGTH = 32, 16, 20


def start_bias(layer, block, value):
    """Sets one block of the cell's bias: u is block 0 of a GRU, f is block 1 of an LSTM."""
    layer.build([None, None, FEATURES])
    bias = layer.cell.bias.numpy()
    bias[block * UNITS : (block + 1) * UNITS] = value
    layer.cell.bias.assign(bias)
    return layer


layers = {
    "Elman": keras_rnn.FusedRNN(keras_rnn.SimpleRNNCell(UNITS)),
    "GRU": keras_rnn.GRU(UNITS),
    "GRU, bias of $\\Gamma_u$ -2": start_bias(keras_rnn.GRU(UNITS), 0, -2.0),
    "LSTM, a = $\\Gamma_o$ c": keras_rnn.LSTM(UNITS),
    "LSTM, a = $\\Gamma_o$ tanh c": keras_rnn.LSTM(UNITS, output_activation="tanh"),
}


def gradient_norms(layer, x):
    """Norm of the gradient of the last output with respect to each input, by distance."""
    x = tf.constant(x)
    direction = np.random.default_rng(0).normal(size=[len(x), UNITS]) / UNITS**0.5
    with tf.GradientTape() as tape:
        tape.watch(x)
        along = tf.reduce_sum(layer(x) * tf.constant(direction, "float32"))
    norms = tf.norm(tape.gradient(along, x), axis=-1).numpy()
    return np.exp(np.log(norms + 1e-30).mean(axis=0))[::-1]  # Geometric mean of the sequences.


def sequences(count, length, seed):
    """Noise whose first step carries a sign in its first feature: the thing to remember."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=[count, length, FEATURES]).astype("float32")
    sign = generator.choice([-1.0, 1.0], size=count)
    x[:, 0, 0] = sign
    return x, (sign > 0).astype("float32")


probe, _ = sequences(32, 3 * LENGTH, seed=2)
fresh = {name: gradient_norms(layer, probe) for name, layer in layers.items()}

# %% [markdown]
# Then each layer is trained for 300 steps to tell the sign that the first step of 20 carried, all
# with the same optimizer and data, and measured again.

# %%
train_x, train_y = sequences(64 * (30 if FAST else 300), LENGTH, seed=3)
test_x, test_y = sequences(1000, LENGTH, seed=4)
accuracy = {}
for name, layer in layers.items():
    model = keras.Sequential([keras.Input([None, FEATURES]), layer, keras.layers.Dense(1)])
    model.compile(
        keras.optimizers.Adam(3e-3, global_clipnorm=1.0),
        keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=not FAST,
    )
    model.fit(train_x, train_y, batch_size=64, epochs=1, verbose=0)
    accuracy[name] = np.mean((model.predict(test_x, verbose=0)[:, 0] > 0) == test_y)
trained = {name: gradient_norms(layer, test_x[:32]) for name, layer in layers.items()}

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=[11, 4], layout="constrained")
for name in layers:
    left.semilogy(fresh[name], label=name)
    right.semilogy(trained[name], label=f"{name}: {accuracy[name]:.0%} right")
left.set_title("before training, 60 steps")
right.set_title("after training to remember over 20 steps")
left.set_ylabel("norm of the gradient")
for axis in [left, right]:
    axis.set_xlabel("distance in steps")
    axis.grid(alpha=0.3)
left.set_ylim(1e-12, 10)
right.set_ylim(1e-8, 10)
right.set_xticks(range(0, LENGTH, 5))
left.legend(fontsize=8)
right.legend(fontsize=8, loc="lower right")
plt.show()

# %% [markdown]
# The layers that learned the task have a level stretch: the gradient no longer falls with the
# distance. Those that are at chance still decay as before training. That is after 300 steps from
# one seed; longer training, other lengths and other seeds are a change of a line above.

# %% [markdown]
# ## 4. Attention pooling
#
# One vector for a whole sentence: the mean of its states, weighted by what the layer learned to
# look for (Yang et al. 2016).
#
# $$u_t = \tanh(W_w h_t + b_w) \qquad \alpha_t = \frac{\exp(u_t \cdot u_w)}{\sum_t \exp(u_t \cdot u_w)}
#   \qquad s = \sum_t \alpha_t h_t$$
#
# A classifier is asked whether the *sentence* is about a thing or a person: embedding,
# bidirectional GRU, pooling, one number.

# %%
about_person = np.array([("person" in sentence["tags"]) for sentence in train_set], "float32")
test_person = np.array([("person" in sentence["tags"]) for sentence in test_set])

ids = keras.Input([TIME], dtype="int32")
embedded = keras.layers.Embedding(tokenizer.size, 16, mask_zero=True)(ids)
states = keras.layers.Bidirectional(keras_rnn.GRU(8, return_sequences=True))(embedded)
pooled, alpha = keras_rnn.AttentionPooling(16)(states, return_weights=True)
score = keras.layers.Dense(1)(pooled)
classifier = keras.Model(ids, score)
classifier.compile(
    keras.optimizers.Adam(0.01),
    keras.losses.BinaryCrossentropy(from_logits=True),
    jit_compile=not FAST,
)
classifier.fit(train_ids, about_person, batch_size=50, epochs=2 if FAST else 5, verbose=0)
right = (classifier.predict(test_ids, verbose=0)[:, 0] > 0) == test_person
print(f"{right.mean():.1%} of the test sentences right")

# %%
attention = keras.Model(ids, alpha)
weights = attention.predict(teddy_ids, verbose=0)
for words, row in zip(teddy, weights, strict=True):
    display(pictures.draw_attention(row, words, title=" ".join(words)))

# %%
shown = test_set[:6]
test_weights = attention.predict(test_ids, verbose=0)
for sentence, row in zip(shown, test_weights, strict=False):
    display(HTML(pictures.attention_html(row, sentence["tokens"])))
padding = test_ids == 0
print("largest weight on padding:", test_weights[padding].max())
print("weights of each sentence add up to 1:", np.allclose(test_weights.sum(axis=1), 1))
place = np.argmax(ambiguous, axis=1)
rows = np.arange(len(place))
for distance in range(-1, 4):
    inside = (place + distance >= 0) & (place + distance < TIME)
    weight = test_weights[rows[inside], (place + distance)[inside]].mean()
    print(f"mean weight {distance:+d} words from the ambiguous one: {weight:.2f}")

# %% [markdown]
# A weight says how much of a *state* went into the mean, and a state already carries its
# neighbours: both GRUs have read the whole sentence. So the weight need not lie on the deciding
# word, and a picture of attention is no proof of what a model's answer rests on. What it does
# show: padding weighs exactly nothing, and which states the classifier averaged.
