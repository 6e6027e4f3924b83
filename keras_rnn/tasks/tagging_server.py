"""A tagger with strings in and out: the SavedModel of tagging, and its answers in the process that trained it."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

import pipelines
from keras_rnn import layers
from keras_rnn.tasks.blocks import in_blocks, lengths_up_to, padded
from keras_rnn.tasks.task import Portable, Server, Task, model_inputs
from pipelines import schemes

# Tokens, padding included, that are judged or answered together.
TOKENS_AT_ONCE = 4096


class TaggingServer(Server):
    """Raw texts, or sentences cut into tokens, to tags.

    Signatures from `text` string[batch]:
        serving_default: `tokens` and `tags` string [batch, tokens] padded with "", `start` and `end` int32 [batch,
            tokens], where each token stands in the text, in bytes
        compiled: the same through XLA, in batches and lengths of a fixed set; longer texts without it
        details: the same, `probabilities` float32 [batch, tokens] of the tags given, `marginals` float32 [batch,
            tokens, tags]; with a conditional random field `best_tags` string [batch, 3, tokens] and `best_scores`
            float32 [batch, 3], the three best sequences and the logarithms of their probabilities up to a constant

    From `tokens` string [batch, tokens], padded with "" anywhere:
        tokens: `tags` string [batch, tokens], "" where there is no token, and `probabilities`

    Assets: `tags.txt`, every tag that is answered, and `model_tags.txt`, those of the columns of `marginals`; the same
    unless the model works in another scheme than the data.
    """

    # Those of `compiled`: one XLA program each, for one text and for several.
    lengths = tuple(lengths_up_to(128))
    best = 3

    def __init__(self, task: Task, model: keras.Model):
        super().__init__(name="tagging")
        self.features = task.features
        self.max_bytes = task.config.max_bytes
        self.character_encoder = task.config.characters
        self.weights = [variable.value for variable in model.weights]
        self.tag_names = list(task.model_tags)
        self.scheme, self.model_scheme = task.scheme, task.model_scheme
        output = model.output_layer
        # Behind functions, so that saving does not follow them into Keras.
        self.emissions = lambda features: model(features, training=False)
        self.embed = lambda features: model.encoder.embed(features)
        self.gates = lambda features: model.encoder.gates(features)
        self.decode = lambda emissions, mask: output.decode(emissions, mask)[0]
        self.marginals = lambda emissions, mask: output.marginals(emissions, mask)
        self.decode_best = self.transitions = None
        if isinstance(output, layers.CRF):
            self.transitions = output.transition_scores
            self.decode_best = lambda emissions, mask: output.decode(emissions, mask, k=self.best)

    def signatures(self):
        text = [tf.TensorSpec([None], tf.string, name="text")]
        tokens = [tf.TensorSpec([None, None], tf.string, name="tokens")]
        return {
            "serving_default": tf.function(
                self._serving_default, input_signature=text, autograph=False
            ),
            "compiled": tf.function(self._compiled, input_signature=text, autograph=False),
            "details": tf.function(self._details, input_signature=text, autograph=False),
            "tokens": tf.function(self._tokens, input_signature=tokens, autograph=False),
        }

    # Parts

    @pipelines.on_cpu
    def _cut(self, text: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """The tokens of raw texts, and where they begin and end, in bytes."""
        return self.features.words.tokenize_with_offsets(
            pipelines.first_bytes(text, self.max_bytes)
        )

    def _run(self, tokens: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Emissions [batch, time, tags] and the mask; time is at least 1."""
        length = tf.maximum(tf.reduce_max(tf.concat([tokens.row_lengths(), [1]], 0)), 1)
        features = self.features.pad(self.features.encode_once(tokens), length)
        return self.emissions(features), features["ids"] != 0

    @property
    def _spelled(self) -> list[str]:
        """The model's tags as the data spell them; for IOB1, which depends on the tag before, as BIO."""
        if self.scheme in (self.model_scheme, "plain"):
            return self.tag_names
        plain = {"E": "I", "S": "B"}
        return [plain.get(name[0], name[0]) + name[1:] for name in self.tag_names]

    @pipelines.on_cpu
    def _names(self, numbers: tf.RaggedTensor) -> tf.RaggedTensor:
        """The tags of sentences [batch, (tokens)], numbered by the model, as the data spell them."""
        bio, flat = self._spelled, numbers.flat_values
        if self.scheme != "IOB1":
            return numbers.with_flat_values(tf.gather(tf.constant(bio), flat))
        # What is left is IOB1: B only right after a span of the same label.
        endings = sorted({name[1:] for name in bio})
        label = tf.gather(tf.constant([endings.index(name[1:]) for name in bio]), flat)
        begins = tf.gather(tf.constant([name[0] == "B" for name in bio]), flat)
        outside = tf.gather(tf.constant([name == schemes.OUTSIDE for name in bio]), flat)
        row = numbers.value_rowids()
        follows = (label[1:] == label[:-1]) & (row[1:] == row[:-1]) & ~outside[:-1]
        follows = tf.concat([tf.zeros_like(outside[:1]), follows], 0)
        letter = tf.where(begins & follows, "B", "I")
        spelled = tf.strings.join([letter, tf.gather(tf.constant(endings), label)])
        return numbers.with_flat_values(tf.where(outside, schemes.OUTSIDE, spelled))

    def _answer(self, flat: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tags and their probabilities, one after another, of sentences given the same way."""
        tokens = tf.RaggedTensor.from_row_lengths(flat, lengths)
        emissions, mask = self._run(tokens)
        numbers = self.decode(emissions, mask)
        marginals = tf.gather(self.marginals(emissions, mask), numbers, batch_dims=2)
        names = self._names(tokens.with_flat_values(tf.boolean_mask(numbers, mask)))
        return names.flat_values, tf.boolean_mask(marginals, mask)

    @pipelines.on_cpu
    def _result(self, cut: tuple[tf.RaggedTensor, ...], numbers: tf.RaggedTensor):
        tokens, start, end = cut
        return {
            "tokens": tokens.to_tensor(""),
            "tags": self._names(numbers).to_tensor(""),
            "start": start.to_tensor(0),
            "end": end.to_tensor(0),
        }

    # Signatures

    def _serving_default(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        cut = self._cut(text)
        emissions, mask = self._run(cut[0])
        numbers = tf.boolean_mask(self.decode(emissions, mask), mask)
        return self._result(cut, cut[0].with_flat_values(numbers))

    def _details(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        cut = self._cut(text)
        tokens = cut[0]
        emissions, mask = self._run(tokens)
        numbers = self.decode(emissions, mask)
        marginals = self.marginals(emissions, mask)
        given = tf.gather(marginals, numbers, batch_dims=2)
        width = tf.shape(tokens.to_tensor(""))[1]
        result = self._result(cut, tokens.with_flat_values(tf.boolean_mask(numbers, mask)))
        result["probabilities"] = given[:, :width]
        result["marginals"] = marginals[:, :width]
        if self.decode_best is not None:
            best, result["best_scores"] = self.decode_best(emissions, mask)
            # [batch, k, time]: each of the k as a batch of its own.
            rows = [
                self._names(tokens.with_flat_values(tf.boolean_mask(best[:, place], mask)))
                for place in range(self.best)
            ]
            result["best_tags"] = tf.stack([names.to_tensor("") for names in rows], axis=1)
        return result

    def _tokens(self, tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        real = tokens != ""
        ragged = tf.ragged.boolean_mask(tokens, real)
        names, probabilities = self._answer(ragged.flat_values, ragged.row_lengths())
        places, shape = tf.where(real), tf.shape(tokens, out_type=tf.int64)
        return {
            "tags": tf.tensor_scatter_nd_update(tf.fill(shape, ""), places, names),
            "probabilities": tf.scatter_nd(places, probabilities, shape),
        }

    def _compiled(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        run = tf.function(self._numbers, jit_compile=True, autograph=False)
        cut = self._cut(text)
        tokens = cut[0]
        embedded = self._embedded(tokens)
        widest = tf.reduce_max(tf.concat([tokens.row_lengths(), [self.lengths[-1]]], 0))

        def compute(part, length):
            x = padded(part["embedded"], length)
            real = tf.sequence_mask(part["embedded"].row_lengths(), length)
            # What is longer than any other would be compiled for itself alone.
            numbers = tf.cond(
                length > self.lengths[-1], lambda: self._numbers(x, real), lambda: run(x, real)
            )
            return [tf.pad(numbers, [[0, 0], [0, widest - length]])]

        (numbers,) = in_blocks(
            {"embedded": embedded},
            compute,
            [*self.lengths, widest],
            [tf.TensorSpec([None], tf.int32)],
        )
        real = tf.sequence_mask(tokens.row_lengths(), widest)
        return self._result(cut, tokens.with_flat_values(tf.boolean_mask(numbers, real)))

    def _embedded(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        """What stands for each token, [batch, (tokens), width]; of a word that comes again it is worked out once."""
        one_row = tf.RaggedTensor.from_row_lengths(
            tokens.flat_values, [tf.size(tokens.flat_values)]
        )
        (embedded,) = tf.unstack(
            self.embed(self.features.pad(self.features.encode_once(one_row))), 1
        )
        return tokens.with_flat_values(embedded)

    def _numbers(self, embedded: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
        features = {"ids": tf.cast(real, tf.int32), "embedded": embedded}
        return self.decode(self.emissions(features), real)

    def portable(self):
        obstacles = {}
        if self.character_encoder == "rnn":
            obstacles["tflite"] = (
                "--config.characters=rnn stands in the way of tflite, whose loops want a known number of rows; "
                "characters=cnn is fine, and so are the other formats"
            )
        return Portable(
            weights=self.weights,
            inputs=model_inputs(self.features.columns),
            run=self._tags_and_probabilities,
            rules={
                "task": "tagging",
                "tags": self._spelled,
                "scheme": self.scheme,
                "max_bytes": self.max_bytes,
                "max_length": None,
                **self.features.portable(),
            },
            obstacles=obstacles,
        )

    def _tags_and_probabilities(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        emissions, mask = self.emissions(features), features["ids"] != 0
        tags = self.decode(emissions, mask)
        chosen = tf.one_hot(tags, len(self.tag_names)) * self.marginals(emissions, mask)
        return {"tags": tags, "probabilities": tf.reduce_sum(chosen, axis=2)}

    # In the process that trained it

    @functools.cached_property
    def _functions(self):
        flat = tf.TensorSpec([None], tf.string)
        lengths = tf.TensorSpec([None], tf.int64)
        return {
            "cut": tf.function(self._cut, input_signature=[flat], autograph=False),
            "answer": tf.function(self._answer, input_signature=[flat, lengths], autograph=False),
        }

    def answer(self, records, counts=None):
        sentences, places = self._sentences(records)
        order = sorted(range(len(sentences)), key=lambda number: len(sentences[number]))
        answers = [None] * len(records)
        while order:
            # The longest first; so many that they hold a bounded number of tokens, padding included.
            rows = max(1, TOKENS_AT_ONCE // max(len(sentences[order[-1]]), 1))
            chosen, order = order[-rows:], order[:-rows]
            flat = [token for number in chosen for token in sentences[number]]
            lengths = [len(sentences[number]) for number in chosen]
            names, probabilities = self._functions["answer"](
                tf.constant(flat, tf.string), tf.constant(lengths, tf.int64)
            )
            names = [name.decode("utf-8") for name in names.numpy().tolist()]
            probabilities, begin = probabilities.numpy().tolist(), 0
            for number, length in zip(chosen, lengths, strict=True):
                stop = begin + length
                answers[number] = {
                    "tokens": sentences[number],
                    "tags": names[begin:stop],
                    "probabilities": probabilities[begin:stop],
                    **places[number],
                }
                begin = stop
        return answers

    def _sentences(
        self, records: Sequence[Mapping[str, Any]]
    ) -> tuple[list[list[str]], list[dict[str, list[int]]]]:
        """The tokens of each record, and for texts where they stand."""
        sentences = [record.get("tokens") for record in records]
        places = [{} for _ in records]
        texts = [number for number, tokens in enumerate(sentences) if tokens is None]
        if texts:
            raw = tf.constant([records[number]["text"] for number in texts], tf.string)
            tokens, starts, ends = self._functions["cut"](raw)
            rows = zip(texts, tokens.to_list(), starts.to_list(), ends.to_list(), strict=True)
            for number, cut, start, end in rows:
                sentences[number] = [token.decode("utf-8", "replace") for token in cut]
                places[number] = {"start": start, "end": end}
        return sentences, places

    def assets(self):
        answered = schemes.respelled(self.tag_names, self.model_scheme, self.scheme)
        return {
            "tags.txt": "".join(f"{name}\n" for name in answered),
            "model_tags.txt": "".join(f"{name}\n" for name in self.tag_names),
        }
