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
# # Listening: from sound to keys
#
# A telephone key sounds two tones at once, one for its row and one for its column (ITU-T Q.23). Here a
# network learns to write down what was dialled. Nobody tells it when a key was pressed: it is given
# sounds and texts, and finds out by itself which part of a sound belongs to which key.
#
# 1. **Sounds** and their spectrograms.
# 2. **A pyramid** of recurrent layers (*Listen, Attend and Spell*, Chan et al. 2016) with two heads:
#    CTC (Graves et al. 2006), and a decoder that attends and knows where it looked (Chorowski et al. 2015).
# 3. **The pyramid from inside**: fewer steps in each layer.
# 4. **CTC's spikes**: nothing, nothing, a key, nothing.
# 5. **Attention**: where the decoder looks as it writes.
# 6. **Wrong answers**: how much noise it bears, and which keys it then takes for which.
#
# It runs in about three minutes on two CPU cores and downloads nothing.

# %%
import os
import time

import keras_rnn  # First: it imports TensorFlow without its notices.

# isort: split
import jiwer
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from IPython.display import Audio, display

import pipelines
from keras_rnn import models

keras.utils.set_random_seed(1)
tf.get_logger().setLevel("ERROR")

# The tests run this notebook with a shorter training, too short for compilation to pay.
FAST = bool(os.environ.get("NOTEBOOK_FAST"))

# %% [markdown]
# ## 1. Sounds
#
# Each key sounds for a tenth of a second or so, soft or loud, in noise. Listen:

# %%
RATE, LOW, HIGH = 8000, (697, 770, 852, 941), (1209, 1336, 1477)
KEYS = ["123", "456", "789", "*0#"]
generator = np.random.default_rng(1)
shown = pipelines.dial("0451#7", generator)
display(Audio(shown, rate=RATE))

# %% [markdown]
# The waveform does not tell much. Its **spectrogram** does: how much power there is around each
# frequency, for each hundredth of a second. White lines are the tones of the rows, orange ones those
# of the columns. Below it is what the network reads: the logarithm of the power in bands that are
# evenly wide to the ear (mel).

# %%
MELS = 40


# A function of TensorFlow: operation by operation it takes twenty times as long.
@tf.function(input_signature=[tf.TensorSpec([None])])
def log_mel(waveform):
    return pipelines.log_mel(waveform, RATE, MELS)


def spectrogram(waveform):
    return log_mel(waveform).numpy()


figure, axes = plt.subplots(3, 1, figsize=[9, 6], sharex=True, layout="constrained")
seconds = len(shown) / RATE
axes[0].plot(np.arange(len(shown)) / RATE, shown, linewidth=0.4)
axes[0].set_ylabel("waveform")
power = tf.abs(tf.signal.stft(shown, 200, 40, 512)).numpy() ** 2
axes[1].imshow(
    np.log10(power.T + 1e-6), aspect="auto", origin="lower", extent=(0, seconds, 0, RATE / 2)
)
for color, tones in (("white", LOW), ("orange", HIGH)):
    for tone in tones:
        axes[1].axhline(tone, color=color, linewidth=0.8, linestyle="--")
axes[1].set_ylim(500, 1700)
axes[1].set_ylabel("Hz")
sound = spectrogram(shown)
axes[2].imshow(sound.T, aspect="auto", origin="lower", cmap="magma", extent=(0, seconds, 0, MELS))
axes[2].set_ylabel("mel band")
axes[2].set_xlabel("seconds")
plt.show()

# %% [markdown]
# Numbers of one to six keys to learn from, and others to be asked. A key is a number from 4 on, as in all
# vocabularies here: 0 is padding (for CTC: nothing is said), 3 the end.

# %%
TOKENS = ["", "", "", "[END]", *"".join(KEYS)]
END, LONGEST = pipelines.END, 6


def dialled(number):
    texts = [
        "".join(generator.choice(TOKENS[4:], generator.integers(1, LONGEST + 1)))
        for _ in range(number)
    ]
    return texts, [pipelines.dial(text, generator) for text in texts]


def batched(texts, waveforms):
    """Spectrograms [sounds, frames, mels], how many frames are real, and the keys with an end."""
    sounds = [spectrogram(waveform) for waveform in waveforms]
    keys = [[TOKENS.index(key) for key in text] + [END] for text in texts]
    return {
        "features": tf.ragged.constant(sounds, ragged_rank=1, dtype="float32").to_tensor(
            shape=[None, FRAMES, MELS]
        ),
        "frames": tf.constant([len(sound) for sound in sounds]),
        "target": tf.ragged.constant(keys).to_tensor(shape=[None, LONGEST + 1]),
    }


# The longest that there may be, in hundredths of a second.
FRAMES = 25 + LONGEST * (14 + 25)
train_texts, train_waveforms = dialled(64 if FAST else 1600)
dev_texts, dev_waveforms = dialled(16 if FAST else 200)
train, dev = batched(train_texts, train_waveforms), batched(dev_texts, dev_waveforms)
print(f"{len(train_texts):,} sounds, {sum(map(len, train_texts)):,} keys, {FRAMES} frames at most")

# %% [markdown]
# ## 2. A pyramid and two heads
#
# Three layers read the spectrogram forwards and backwards; the lower two read pairs of steps as one, so
# that the third has a step for each four hundredths of a second. On top of it
#
# - **CTC** gives each step a distribution over the keys and *nothing*. A path of such labels spells what is left
#   when repetitions and then nothings are taken out, `_ 4 4 _ _ 2 _` spells `42`; the probability of a text is that
#   of all paths that spell it.
# - **the decoder** writes key after key. For each it looks at all steps, with weights that also depend on where
#   it looked for the key before.
#
# Both are learnt at once, on the same states (Kim et al. 2017).

# %%
UNITS, EPOCHS, BATCH = 32, 1 if FAST else 14, 32
model = models.SpeechRecognizer(
    MELS,
    len(TOKENS),
    listener={"units": UNITS, "layers": 3, "halvings": 2},
    speller={"embedding_dim": 16, "units": UNITS, "attention_units": 32},
)
model({name: value[:1] for name, value in dev.items()})
steps = EPOCHS * len(train_texts) // BATCH
rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
optimizer = keras.optimizers.Adam(rate, global_clipnorm=1.0)
optimizer.build(model.trainable_variables)


def losses(batch, training):
    """Of a batch: that of CTC and that of the decoder, for a key."""
    logits, steps, spelled = model(batch, training=training)
    keys = tf.where(batch["target"] == END, 0, batch["target"])
    count = tf.cast(tf.math.count_nonzero(keys), tf.float32)
    ctc = tf.reduce_sum(models.ctc_loss(logits, steps, keys)[0]) / count
    written = tf.cast(batch["target"] != 0, tf.float32)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["target"], spelled)
    return ctc, tf.reduce_sum(each * written) / tf.reduce_sum(written)


@tf.function(jit_compile=not FAST)
def step(batch):
    with tf.GradientTape() as tape:
        ctc, spelled = losses(batch, training=True)
        loss = ctc + spelled
    variables = model.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    return tf.stack([ctc, spelled])


@tf.function
def recognize(features, frames):
    """What each head writes: of CTC the keys of the likeliest path, of the decoder the likeliest key each time."""
    logits, steps, _ = model({"features": features, "frames": frames})
    by_ctc = models.ctc_search(logits, steps, beam=1).tokens[:, 0]
    inputs = {"features": features, "frames": frames}
    return by_ctc, models.greedy_search(model, inputs, LONGEST + 4).tokens[:, 0]


def written(tokens):
    return ["".join(TOKENS[token] for token in row if token > END) for row in tokens.numpy()]


def error_rate(texts, right):
    """Keys that are wrong, missing or too many, as a share of those that were dialled."""
    return jiwer.cer([*right], [*texts])


history, started = [], time.perf_counter()
for epoch in range(EPOCHS):
    order = generator.permutation(len(train_texts))
    found = [
        step({name: tf.gather(value, part) for name, value in train.items()})
        for part in np.array_split(order, len(order) // BATCH)
    ]
    by_ctc, by_decoder = recognize(dev["features"], dev["frames"])
    errors = [error_rate(written(tokens), dev_texts) for tokens in (by_ctc, by_decoder)]
    history.append([*np.mean(found, axis=0), *errors])
    print(
        f"epoch {epoch + 1}: loss {history[-1][0]:.3f} {history[-1][1]:.3f}, wrong keys {errors[0]:.3f} {errors[1]:.3f}"
    )
print(f"{time.perf_counter() - started:.0f} s; first CTC, then the decoder")

# %% [markdown]
# For a while CTC says *nothing* at every step; that is the likeliest label of any. Then it finds the keys
# within a few epochs, and the decoder, which looks at the same states, finds where to look.

# %%
figure, axes = plt.subplots(1, 2, figsize=[8, 2.8], layout="constrained")
for column, name in enumerate(("CTC", "decoder")):
    axes[0].plot([row[column] for row in history], label=name)
    axes[1].plot([row[2 + column] for row in history], label=name)
axes[0].set_title("loss")
axes[1].set_title("wrong keys on new sounds")
for axis in axes:
    axis.set_xlabel("epoch")
    axis.set_ylim(0)
    axis.legend()
plt.show()

# %% [markdown]
# ## 3. The pyramid from inside
#
# What the layers say of the sound above, over the same seconds: the number of steps halves, and
# halves again. Each row is a unit, blue below 0 and red above.

# %%
one = batched(["0451#7"], [shown])
mask = tf.range(FRAMES) < one["frames"][:, None]
x, layers = model.normalized(one["features"], mask), []
for number, rnn in enumerate(model.listener.rnns):
    if number < 2:
        x, mask = model.listener.halve(x, mask=mask)
    x = rnn(x, mask=mask)[0]
    layers.append(x[0][mask[0]].numpy())

figure, axes = plt.subplots(4, 1, figsize=[9, 7], sharex=True, layout="constrained")
axes[0].imshow(sound.T, aspect="auto", origin="lower", cmap="magma", extent=(0, seconds, 0, MELS))
axes[0].set_title(f"spectrogram, {len(sound)} steps", loc="left", fontsize=10)
for number, (axis, values) in enumerate(zip(axes[1:], layers), start=1):
    axis.imshow(
        values.T,
        aspect="auto",
        interpolation="nearest",
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        extent=(0, seconds, 2 * UNITS, 0),
    )
    axis.set_title(f"layer {number}, {len(values)} steps", loc="left", fontsize=10)
axes[-1].set_xlabel("seconds")
plt.show()

# %% [markdown]
# ## 4. CTC's spikes
#
# The probability of each key at each step. CTC asks for each key once, wherever it likes, and is free to say
# nothing else; so most of the time it says *nothing*, surely, and each key rises between like a spike. In speech
# a spike is a step or two wide; a tone that does not change is one key for as long as it lasts, repetitions being
# taken out. Two equal keys in a row need a *nothing* between them, or they would be one.

# %%
logits, steps, _ = model(one)
probabilities = tf.nn.softmax(logits)[0, : int(steps[0])].numpy()
middles = (np.arange(len(probabilities)) + 0.5) * 0.04
figure, axis = plt.subplots(figsize=[9, 3], layout="constrained")
axis.fill_between(middles, probabilities[:, 0], color="0.9", label="nothing")
for token, key in enumerate(TOKENS):
    if token > END and probabilities[:, token].max() > 0.1:
        axis.plot(middles, probabilities[:, token], label=key, marker=".")
axis.set_xlabel("seconds")
axis.set_ylabel("probability")
axis.legend(ncols=8, loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
plt.show()
tokens = models.ctc_search(logits, steps, beam=1).tokens[:, 0]
print("dialled 0451#7, heard", *written(tokens))

# %% [markdown]
# Which step belongs to which key: the likeliest of the paths that spell the text, found by
# `ctc_alignment` (Viterbi).

# %%
text = written(tokens)[0]
alignment = models.ctc_alignment(logits, steps, tokens)[0, : len(text), : int(steps[0])]
figure = keras_rnn.draw_recognition(sound, alignment.numpy(), [*text], 0.01, "CTC's path")
display(figure)
plt.close(figure)

# %% [markdown]
# ## 5. Attention
#
# The decoder's weights for the same sound, a row for each key it writes. Its attention knows where it looked for
# the key before (a convolution over those weights is part of the score), and so it goes on from left to right.

# %%
inputs = {"features": one["features"][:, : int(one["frames"][0])], "frames": one["frames"]}
found = models.greedy_search(model, inputs, LONGEST + 4)
length = int(found.lengths[0, 0])
names = [TOKENS[token] for token in found.tokens[0, 0, :length].numpy()]
figure = keras_rnn.draw_recognition(
    sound, found.alignments[0, 0, :length].numpy(), names, 0.01, "where the decoder looks"
)
display(figure)
plt.close(figure)

# %% [markdown]
# ## 6. Wrong answers
#
# On sounds like those of the training nearly all keys are right. What if the line is worse? The same
# numbers with more and more noise, at a level from 10 dB below the sound to 15 dB above:

# %%
LEVELS = [-10, 0, 5, 10, 15]
noisy_waveforms, answers, worse_than = {}, {}, {}
for level in LEVELS:
    noisy = noisy_waveforms[level] = []
    for waveform in dev_waveforms:
        noise = generator.standard_normal(len(waveform)) * waveform.std()
        noisy.append((waveform + 10 ** (level / 20) * noise).astype("float32"))
    batch = batched(dev_texts, noisy)
    answers[level] = [written(tokens) for tokens in recognize(batch["features"], batch["frames"])]
    worse_than[level] = [error_rate(texts, dev_texts) for texts in answers[level]]
    print(
        f"noise at {level:3d} dB: wrong keys {worse_than[level][0]:.3f} {worse_than[level][1]:.3f}"
    )

figure, axis = plt.subplots(figsize=[5, 2.8], layout="constrained")
for number, name in enumerate(("CTC", "decoder")):
    axis.plot(LEVELS, [worse_than[level][number] for level in LEVELS], marker="o", label=name)
axis.set_xlabel("noise beside the sound, dB")
axis.set_ylabel("wrong keys")
axis.set_ylim(0)
axis.legend()
plt.show()

# %% [markdown]
# Which keys are taken for which? Where the noise is loud most keys are simply not heard; but where one is heard
# as another, it most often is one of the same row or column: one of its two tones was right.

# %%
KEY = TOKENS[4:]
taken = np.zeros([12, 12])
for level in LEVELS:
    aligned = jiwer.process_characters(dev_texts, answers[level][0])
    for text, answer, parts in zip(dev_texts, answers[level][0], aligned.alignments):
        for part in parts:
            if part.type == "substitute":
                right = text[part.ref_start_idx : part.ref_end_idx]
                heard = answer[part.hyp_start_idx : part.hyp_end_idx]
                for one_key, other in zip(right, heard):
                    taken[KEY.index(one_key), KEY.index(other)] += 1
figure, axis = plt.subplots(figsize=[4.5, 4], layout="constrained")
image = axis.imshow(taken, cmap="Blues")
figure.colorbar(image, ax=axis)
axis.set_xticks(range(12), KEY)
axis.set_yticks(range(12), KEY)
axis.set_xlabel("heard")
axis.set_ylabel("dialled")
plt.show()
row, column = np.arange(12) // 3, np.arange(12) % 3
shares = (row[:, None] == row) | (column[:, None] == column)
chance = (shares.sum() - 12) / (12 * 12 - 12)
print(
    f"{taken.sum():.0f} keys taken for another; {(taken * shares).sum() / max(taken.sum(), 1):.2f} of them of the"
)
print(f"same row or column, where chance alone would give {chance:.2f}")

# %% [markdown]
# One of the wrong answers, with what CTC made of it:

# %%
level = next((level for level in LEVELS if answers[level][0] != dev_texts), LEVELS[-1])
number = next(
    (number for number, text in enumerate(dev_texts) if answers[level][0][number] != text), 0
)
noisy = noisy_waveforms[level][number]
display(Audio(noisy, rate=RATE))
wrong = batched([dev_texts[number]], [noisy])
logits, steps, _ = model(wrong)
tokens = models.ctc_search(logits, steps, beam=1).tokens[:, 0]
text = written(tokens)[0]
alignment = models.ctc_alignment(logits, steps, tokens)[0, : len(text), : int(steps[0])]
title = f"dialled {dev_texts[number]}, heard {text or 'nothing'}, noise at {level} dB"
figure = keras_rnn.draw_recognition(spectrogram(noisy), alignment.numpy(), [*text], 0.01, title)
display(figure)
plt.close(figure)
