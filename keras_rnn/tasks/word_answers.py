"""Answers that are one of a set of words, as in stories of the bAbI kind."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn import models
from keras_rnn.tasks.blocks import in_blocks, lengths_up_to
from keras_rnn.tasks.questions import QuestionServer
from keras_rnn.tasks.reading import Reading
from keras_rnn.tasks.sentences import sentence_rows

UNSEEN = -1


class WordAnswers(Reading):
    """One of the answers that occur in the training data, given as `words`."""

    kind = "words"
    metric = "accuracy"

    def __init__(self, config, features, vectors_dim: int, words: list[str]):
        super().__init__(config, features, vectors_dim)
        self.labels = words
        self.number_of = {word: number for number, word in enumerate(words)}

    def facts(self):
        return {"words": self.labels}

    @property
    def columns(self):
        label = pipelines.Column.of_ids(len(self.labels), scalar=True, least=UNSEEN)
        return {**self.features.columns, "label": label}

    def encode(self, record, features, offsets, counts, training):
        numbers = [self.number_of[a] for a in record["answers"] if a in self.number_of]
        if not numbers:
            counts["answers that training never saw, counted as wrong"] += 1
        if training and len(record["answers"]) > 1:
            counts["with several answers, of which the first is learnt"] += 1
        return {"label": np.int32(numbers[0] if numbers else UNSEEN)}

    def batches(self, store, **options):
        # Little stories tell the same again and again: a sentence of a batch is read once.
        sentences = [name for name in ("ids", "vector_ids") if name in store.columns]
        return pipelines.DistinctBatches(store, sentences, **options)

    def label_axes(self, model):
        return [(model.logits.kernel, (1,)), (model.logits.bias, (0,))]

    def build_model(self):
        config = self.config
        encoder = {**self.encoder(), "word_dropout": config.word_dropout}
        units = config.units * (2 if config.bidirectional else 1)
        return models.StoryReader(len(self.labels), encoder, units, config.hops, config.dropout)

    def loss(self, model, batch, training):
        logits = model(batch, training=training)
        label, weight = self._right(batch)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(label, 0), logits)
        return losses, weight, logits

    def hits(self, batch, outputs):
        label, weight = self._right(batch)
        return self.decode(outputs)[0] == label, weight

    def _right(self, batch) -> tuple[tf.Tensor, tf.Tensor]:
        """The number of each right answer, and the weight of the example: 0 where there is none."""
        label = tf.reshape(batch["label"], [-1])
        return label, tf.cast(batch["real"] & (label != UNSEEN), tf.float32)

    def decode(self, outputs):
        return (tf.argmax(outputs, axis=1, output_type=tf.int32),)

    def texts(self, found, examples):
        return [self.labels[number] for number in found[0]]

    def server(self, model):
        return WordServer(self, model)


class WordServer(QuestionServer):
    """Stories and questions to words.

    `start` and `end` are those of the last token that is the answer, if one is. `details` adds `sentences` string
    [batch, sentences], `hops` float32 [batch, hops, sentences], what each hop took of each sentence, and `attention`
    float32 [batch, tokens], the mean of the hops, spread evenly over the words of a sentence.
    """

    def __init__(self, reading: WordAnswers, model: keras.Model):
        super().__init__(reading, model)
        self.words = list(reading.labels)
        self.run = lambda features: model.explain(features, training=False)

    def _serving_default(self, context, question):
        logits, _ = self.run(self._features(context, question))
        return self._result(context, logits)

    def _details(self, context, question):
        features = self._features(context, question)
        logits, hops = self.run(features)
        tokens, starts, ends = self._cut(context)
        firsts, rows = sentence_rows(tokens, self.features.sentence_length)
        # A sentence ends with the token before the next one.
        following = tf.concat([firsts[1:], [tf.size(tokens.flat_values, tf.int64)]], 0)
        begins = tf.gather(starts.flat_values, firsts)
        stops = tf.gather(ends.flat_values, following[: tf.size(firsts)] - 1)
        texts = tf.gather(context, rows.value_rowids())
        sentences = rows.with_flat_values(tf.strings.substr(texts, begins, stops - begins))
        each = self._of_tokens(tf.reduce_mean(hops, axis=1), features["ids"], tokens)
        return {
            **self._result(context, logits),
            "tokens": tokens.to_tensor(""),
            "attention": each.to_tensor(0.0),
            "sentences": sentences.to_tensor(""),
            "hops": hops[:, :, : tf.shape(sentences.to_tensor(""))[1]],
        }

    def _of_tokens(self, weights, ids, tokens) -> tf.RaggedTensor:
        """Weights of sentences, spread over their tokens."""
        real = ids != 0
        share = weights[:, :, None] / tf.cast(
            tf.maximum(tf.math.count_nonzero(real, axis=2, keepdims=True), 1), tf.float32
        )
        share = tf.broadcast_to(share, tf.shape(real))
        return tokens.with_flat_values(tf.boolean_mask(share, real))

    def _compiled(self, context, question):
        run = tf.function(lambda features: self.run(features)[0], jit_compile=True, autograph=False)

        def compute(encoded, length):
            features = self.features.pad(encoded, length)
            return [run(features)]

        (logits,) = in_blocks(
            self.features.encode(tf.stack([context, question], axis=1)),
            compute,
            lengths_up_to(self.features.max_length),
            [tf.TensorSpec([len(self.words)])],
        )
        return self._result(context, logits)

    @pipelines.on_cpu
    def _result(self, context: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = tf.gather(tf.constant(self.words), tf.argmax(logits, axis=1))
        tokens, starts, ends = self._cut(context)
        same = pipelines.lowered(tokens.flat_values) == tf.gather(
            pipelines.lowered(answer), tokens.value_rowids()
        )

        def last(places):
            found = tokens.with_flat_values(tf.where(same, places.flat_values, -1))
            return tf.reduce_max(tf.concat([found, tf.fill([tokens.nrows(), 1], -1)], 1), axis=1)

        return {
            "answer": answer,
            "score": tf.reduce_max(tf.nn.softmax(logits), axis=1),
            "start": last(starts),
            "end": last(ends),
        }

    def _explained(self, result: dict[str, np.ndarray], row: int) -> dict[str, Any]:
        sentences = [text.decode("utf-8", "replace") for text in result["sentences"][row] if text]
        hops = result["hops"][row, :, : len(sentences)].tolist()
        return {**super()._explained(result, row), "sentences": sentences, "hops": hops}

    def assets(self):
        return {"answers.txt": "".join(f"{' '.join(word.split())}\n" for word in self.words)}
