"""Whole trainings in stock Keras: its layers, tf.data with StringLookup and padded batches, `fit`.

Keras has neither a conditional random field nor an attending cell. The field is the forward algorithm in `tf.scan`, as
TensorFlow Addons had it; the attending cell is this package's in `keras.layers.RNN`.
"""

from collections.abc import Callable

import keras_rnn  # first: it imports TensorFlow without its notices
from benchmarks.texts import END, SPECIAL, START, UNKNOWN, Texts

# isort: split
import keras
import tensorflow as tf
from keras import layers, ops

BATCH = {"classification": 32, "tagging": 32, "translation": 64}
CLIP = {"classification": 1.0, "tagging": 5.0, "translation": 1.0}


def training(task: str, folder: str, seed: int = 0, crf: bool = True) -> Callable[[], None]:
    """One run: `fit` for an epoch, which reads the files."""
    texts = Texts(task, folder)
    keras.utils.set_random_seed(seed)
    if task == "classification":
        model = classifier(texts)
    elif task == "tagging":
        model = Tagger(texts, crf)
    else:
        model = Translator(texts)
    loss = "sparse_categorical_crossentropy" if task == "classification" else None
    optimizer = keras.optimizers.Adam(1e-3, global_clipnorm=CLIP[task])
    model.compile(optimizer, loss, jit_compile="auto")
    data = {"classification": labelled, "tagging": tagged, "translation": translated}[task](texts)
    return lambda: model.fit(data, epochs=1, verbose=0)


# From files to padded batches


def _lookup(words: list[str]) -> layers.StringLookup:
    """The ids that the other libraries give: 1 is the unknown word, 2 and 3 are of no word."""
    return layers.StringLookup(
        vocabulary=["\0start", "\0end", *words], mask_token="", oov_token="\0unknown"
    )


def _batches(data: tf.data.Dataset, task: str) -> tf.data.Dataset:
    data = data.shuffle(10_000, seed=0).padded_batch(BATCH[task])
    return data.prefetch(tf.data.AUTOTUNE)


def labelled(texts: Texts) -> tf.data.Dataset:
    words = _lookup(texts.words)
    labels = layers.StringLookup(vocabulary=texts.labels, num_oov_indices=0)

    def read(line):
        row = tf.strings.split(line, "\t")
        return words(tf.strings.split(row[0])), labels(row[1])

    lines = tf.data.TextLineDataset(texts.files).skip(1)
    return _batches(lines.map(read, num_parallel_calls=tf.data.AUTOTUNE), texts.task)


def tagged(texts: Texts) -> tf.data.Dataset:
    words = _lookup(texts.words)
    labels = layers.StringLookup(vocabulary=texts.labels, num_oov_indices=0)

    def sentences():
        for tokens, tags in texts.examples():
            yield " ".join(tokens), " ".join(tags)

    def read(tokens, tags):
        return words(tf.strings.split(tokens)), labels(tf.strings.split(tags))

    kinds = (tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.string))
    lines = tf.data.Dataset.from_generator(sentences, output_signature=kinds)
    return _batches(lines.map(read, num_parallel_calls=tf.data.AUTOTUNE), texts.task)


def translated(texts: Texts) -> tf.data.Dataset:
    source_words, target_words = _lookup(texts.words), _lookup(texts.target_words)

    def read(source, target):
        end = tf.constant([END], tf.int64)
        ids = tf.concat([source_words(tf.strings.split(source)), end], 0)
        target = tf.concat([target_words(tf.strings.split(target)), end], 0)
        return (ids, target), target

    lines = tf.data.Dataset.zip(*(tf.data.TextLineDataset(file) for file in texts.files))
    return _batches(lines.map(read, num_parallel_calls=tf.data.AUTOTUNE), texts.task)


# Models


def classifier(texts: Texts) -> keras.Model:
    """A bidirectional LSTM, pooled by attention."""
    ids = keras.Input([None], dtype="int64")
    x = layers.Embedding(SPECIAL + len(texts.words), 300, mask_zero=True)(ids)
    x = layers.SpatialDropout1D(0.5)(x)
    h = layers.Bidirectional(layers.LSTM(128, return_sequences=True))(x)
    scores = layers.Dense(1, use_bias=False)(layers.Dense(64, activation="tanh")(h))
    real = ops.expand_dims(ops.not_equal(ids, 0), -1)
    alpha = layers.Softmax(axis=1)(scores, mask=real)
    pooled = layers.Dropout(0.5)(ops.sum(alpha * h, axis=1))
    return keras.Model(ids, layers.Dense(len(texts.labels), activation="softmax")(pooled))


class Tagger(keras.Model):
    """A bidirectional LSTM under a conditional random field, or a softmax."""

    def __init__(self, texts: Texts, crf: bool):
        super().__init__()
        tags = len(texts.labels)
        self.embedding = layers.Embedding(SPECIAL + len(texts.words), 100, mask_zero=True)
        self.dropout = layers.SpatialDropout1D(0.5)
        self.encoder = layers.Bidirectional(layers.LSTM(128, return_sequences=True))
        self.state_dropout = layers.SpatialDropout1D(0.5)
        self.emissions = layers.Dense(tags)
        self.crf = crf
        if crf:
            self.transitions = self.add_weight(shape=(tags, tags), name="transitions")
            self.ends = self.add_weight(shape=(2, tags), name="ends")

    def call(self, ids, training=False):
        x = self.dropout(self.embedding(ids), training=training)
        h = self.encoder(x, mask=ids != 0, training=training)
        return self.emissions(self.state_dropout(h, training=training))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        real = x != 0
        if not self.crf:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=y_pred)
            return tf.reduce_sum(tf.where(real, losses, 0.0)) / tf.reduce_sum(
                tf.cast(real, "float32")
            )
        chain = (self.transitions.value, *tf.unstack(self.ends.value))
        likelihood = _path_score(y_pred, y, real, *chain) - _all_paths(y_pred, real, *chain)
        return -tf.reduce_sum(likelihood) / tf.reduce_sum(tf.cast(real, "float32"))


def _path_score(emissions, tags, real, transitions, start, end):
    weight = tf.cast(real, emissions.dtype)
    score = tf.reduce_sum(tf.gather(emissions, tags, batch_dims=2) * weight, axis=1)
    pairs = tf.gather_nd(transitions, tf.stack([tags[:, :-1], tags[:, 1:]], axis=-1))
    last = tf.reduce_sum(tf.cast(real, tf.int32), axis=1) - 1
    ending = tf.gather(tags, last, batch_dims=1)
    score += tf.reduce_sum(pairs * weight[:, 1:], axis=1)
    return score + tf.gather(start, tags[:, 0]) + tf.gather(end, ending)


def _all_paths(emissions, real, transitions, start, end):
    def step(scores, given):
        emission, real = given
        new = tf.reduce_logsumexp(scores[:, :, None] + transitions, axis=1) + emission
        return tf.where(real[:, None], new, scores)

    over_time = (tf.transpose(emissions, [1, 0, 2])[1:], tf.transpose(real)[1:])
    first = start + emissions[:, 0]
    scores = tf.scan(step, over_time, initializer=first)
    scores = tf.concat([first[None], scores], 0)[-1]
    return tf.reduce_logsumexp(scores + end, axis=1)


class Translator(keras.Model):
    """A bidirectional GRU, and a GRU that attends to it; the target's embeddings are the output's weights."""

    def __init__(self, texts: Texts, size: int = 256):
        super().__init__()
        self.size, rows = size, SPECIAL + len(texts.target_words)
        self.source_embedding = layers.Embedding(SPECIAL + len(texts.words), size)
        self.target_embedding = layers.Embedding(rows, size)
        self.dropouts = [layers.SpatialDropout1D(0.4), layers.SpatialDropout1D(0.4)]
        self.encoder = layers.Bidirectional(
            layers.GRU(size, return_sequences=True, return_state=True)
        )
        self.bridge = layers.Dense(size, activation="tanh")
        attention = keras_rnn.BahdanauAttention(size)
        cell = keras_rnn.AttentionCell(keras_rnn.GRUCell(size), attention, memory_size=2 * size)
        self.decoder = layers.RNN(cell, return_sequences=True)
        self.readout = layers.Dense(size, activation="tanh")
        self.output_dropout = layers.Dropout(0.4)
        self.output_bias = self.add_weight(shape=(rows,), name="output_bias")

    def call(self, inputs, training=False):
        ids, target = inputs
        real = ids != 0
        x = self.dropouts[0](self.source_embedding(ids), training=training)
        h, *last = self.encoder(x, mask=real, training=training)
        state = self.bridge(tf.concat(last, axis=-1))
        previous = tf.pad(target[:, :-1], [[0, 0], [1, 0]], constant_values=START)
        y = self.dropouts[1](self.target_embedding(previous), training=training)
        s = self.decoder(y, initial_state=[state, h, tf.cast(real, h.dtype)])
        # What `keras.layers.RNN` gives of a step is the state: the context is not to be had again.
        r = self.output_dropout(self.readout(tf.concat([s, y], axis=-1)), training=training)
        flat = tf.reshape(r, [-1, self.size])
        kernel = self.target_embedding.embeddings.value
        logits = tf.matmul(flat, kernel, transpose_b=True) + self.output_bias.value
        return tf.reshape(logits, [tf.shape(r)[0], -1, kernel.shape[0]])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=y_pred)
        real = tf.cast(y != 0, tf.float32)
        return tf.reduce_sum(losses * real) / tf.reduce_sum(real)


assert UNKNOWN == 1 and START == 2  # as `_lookup` orders them
