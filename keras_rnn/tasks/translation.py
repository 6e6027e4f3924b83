"""Translation: its files, its model, its score, its answers."""

import collections
import contextlib
import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn import metrics, models, pictures
from keras_rnn.models.search import LOWEST
from keras_rnn.tasks.blocks import in_blocks, lengths_up_to, padded
from keras_rnn.tasks.inputs import count_cut, format_of, has_two_columns
from keras_rnn.tasks.pairs import PairFeatures
from keras_rnn.tasks.stack import stack_of
from keras_rnn.tasks.task import Server, Task, built, known_cell
from keras_rnn.tasks.texts import by_length, is_blank, row_arrays
from keras_rnn.tasks.token_loss import token_loss

# A pair whose sides differ more than that in their number of tokens is hardly a translation.
MOST_RATIO = 9.0

# Tokens of source and target together, padding included, that are scored at a time.
TOKENS_AT_ONCE = 4096

# Tokens that a translation may have beyond twice those of its source.
MOST_MORE = 10

# Texts that one call of the model answers.
ANSWERED_TOGETHER = 64


class Translation(Task):
    """A text for a text."""

    name = "translation"
    drawn = "alignment"
    input_column = "source"

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        known_cell(config.cell)
        if config.tie == "all" and not config.joint_vocabulary:
            raise pipelines.InputError(
                "--config.tie=all goes with --config.joint_vocabulary=true; tie=target ties the decoder alone"
            )
        if config.search.n_best > config.search.beam:
            raise pipelines.InputError(
                f"--config.search.n_best={config.search.n_best}: it must be at most search.beam, {config.search.beam}"
            )
        if config.coverage and config.attention not in models.COVERING:
            raise pipelines.InputError(
                f"--config.coverage=true goes with --config.attention={' or '.join(models.COVERING)}"
            )
        if config.attention == "luong_dot" and config.bidirectional:
            raise pipelines.InputError(
                "--config.attention=luong_dot wants annotations as wide as the decoder: --config.bidirectional=false; "
                "luong_general takes any"
            )
        if config.bridge == "copied" and (
            config.bidirectional or config.layers != config.decoder_layers
        ):
            raise pipelines.InputError(
                "--config.bridge=copied wants states of the same shape on both sides: --config.bidirectional=false, "
                "and as many layers as decoder_layers"
            )
        if config.bridge == "zero" and config.attention == "none":
            raise pipelines.InputError(
                "--config.bridge=zero with --config.attention=none: the decoder would never see the source"
            )
        self.features: PairFeatures | None = None

    @property
    def metric(self) -> str:
        return self.config.metric

    @property
    def higher_is_better(self) -> bool:
        return self.config.metric != "loss"

    @property
    def searches(self) -> bool:
        return self.config.dev_beam != self.config.search.beam

    # Data

    def built_in_data(self, directory):
        return pipelines.write_tables(directory, pipelines.date_translation(seed=0), ".tsv")

    def read(self, files, counts=None, answers=True, on_error="raise", form=""):
        return pipelines.read_parallel(
            files,
            delimiter=self.config.data.delimiter or None,
            max_bytes=self.config.max_bytes,
            counts=counts,
            targets=answers,
            on_error=on_error,
            form=form,
        )

    def fit(self, records):
        self.features = PairFeatures.fit(
            self.config, lambda side: (record[side] for record in records()), self.inherited
        )

    @property
    def vocabularies(self):
        return self.features.vocabularies

    def save(self, directory):
        self.features.save(directory)

    def load(self, directory, calibrated=True):
        self.features = PairFeatures.load(self.config, directory)

    @property
    def columns(self):
        return {
            "ids": pipelines.Column.of_ids(self.features.source.size),
            "target": pipelines.Column.of_ids(self.features.target.size),
            # What dev translations are compared with, in bytes.
            "reference": pipelines.Column("uint8"),
        }

    def encode(self, records, counts=None, training=False):
        def encoded(chunk, side):
            texts = tf.constant([record[side] for record in chunk], tf.string)
            whole = self.features.encode(texts, side)
            return whole.row_lengths().numpy(), row_arrays(self.features.cut(whole))

        def both_sides(chunk):
            return chunk, encoded(chunk, "source"), encoded(chunk, "target")

        for chunk, sources_of, targets_of in pipelines.map_ahead(
            both_sides, pipelines.in_chunks(records)
        ):
            (lengths, sources), (target_lengths, targets) = sources_of, targets_of
            for place, record in enumerate(chunk):
                longest = max(lengths[place], target_lengths[place])
                if training and self._left_out(lengths[place], target_lengths[place], counts):
                    continue
                if longest > self.config.max_length and counts is not None:
                    counts[f"cut to {self.config.max_length} tokens"] += 1
                reference = b"" if training else record["target"].encode("utf-8")
                yield {
                    "ids": sources[place],
                    "target": targets[place],
                    "reference": np.frombuffer(reference, np.uint8),
                }

    def _left_out(self, source: int, target: int, counts: collections.Counter | None) -> bool:
        """Whether a pair teaches nothing; counts why."""
        reason = ""
        if max(source, target) > self.config.max_length:
            reason = f"longer than {self.config.max_length} tokens, left out"
        elif max(source, target) > MOST_RATIO * min(source, target) + MOST_RATIO:
            reason = f"one side {MOST_RATIO:g} times as long as the other, left out"
        if reason and counts is not None:
            counts[reason] += 1
        return bool(reason)

    def batches(self, store, training):
        config = self.config
        options = {
            "length_columns": ["ids", "target"],
            "fields": ["ids", "target"],
            "batch_size": config.batch_size,
            "seed": config.seed,
        }
        if training:
            return pipelines.Batches(
                store,
                shuffle=True,
                max_shapes=config.max_shapes,
                batch_tokens=config.batch_tokens or None,
                **options,
            )
        return pipelines.Batches(
            store, max_shapes=config.max_shapes, batch_tokens=TOKENS_AT_ONCE, **options
        )

    def real_tokens(self, batch):
        real = batch["real"][:, None]
        return sum(tf.math.count_nonzero((batch[name] != 0) & real) for name in ("ids", "target"))

    # Model

    def build_model(self):
        config = self.config
        model = models.EncoderDecoder(
            {
                "vocabulary_size": self.features.source.size,
                "embedding_dim": config.embedding_dim,
                "stack": stack_of(config),
                "dropout": config.dropout,
                "word_dropout": config.word_dropout,
            },
            vocabulary_size=self.features.target.size,
            embedding_dim=config.embedding_dim,
            units=config.units,
            cell=config.cell,
            layers=config.decoder_layers,
            attention=config.attention,
            attention_units=config.attention_units,
            coverage=config.coverage,
            bridge=config.bridge,
            tie=config.tie,
            dropout=config.dropout,
            recurrent_dropout=config.recurrent_dropout,
            scheduled_sampling=config.scheduled_sampling,
        )
        ids = tf.constant([[pipelines.END]])
        return built(model, {"ids": ids, "target": ids})

    def loss(self, model, batch, training):
        target = batch["target"]
        logits = tf.cast(
            model({"ids": batch["ids"], "target": target}, training=training), tf.float32
        )
        smoothing = self.config.label_smoothing if training else 0.0
        losses, likeliest = token_loss(logits, target, smoothing)
        real = tf.cast((target != pipelines.PADDING) & batch["real"][:, None], tf.float32)
        return losses, real, (likeliest, real)

    def training_metrics(self):
        return {"accuracy": keras.metrics.Mean(name="accuracy")}

    def update_metrics(self, metrics, batch, outputs):
        metrics["accuracy"].update_state(*outputs)

    def forward(self, model, batch, last=False):
        losses, weights, _ = self.loss(model, batch, training=False)
        beam = self.config.search.beam if last else self.config.dev_beam
        return losses, weights, search(self.config, model, batch["ids"], beam, 1).tokens[:, 0]

    # Scores

    def judge(self, forward, batches):
        loss = tokens = 0.0
        answers = [""] * len(batches.store)
        for batch in batches.tensors():
            losses, weights, found = forward(batch)
            loss += float(tf.reduce_sum(losses * weights))
            tokens += float(tf.reduce_sum(weights))
            texts = self.features.target.decode(found).numpy()
            for number, text in zip(batch["index"].numpy(), texts, strict=True):
                if number >= 0:
                    answers[number] = text.decode("utf-8")
        references = [batches.store.text(number, "reference") for number in range(len(answers))]
        loss /= max(tokens, 1.0)
        return {
            **metrics.translation_scores(answers, references),
            "loss": loss,
            "perplexity": math.exp(min(loss, 100.0)),
            "examples": len(answers),
        }

    # Answers

    def read_input(self, file, counts=None):
        form = self._form(file)
        form = form if form in ("table", "columns", "jsonl") else ""
        # No pair is left out: as many answers as pairs, that of an empty source or target among them.
        records = self.read(file, counts, answers=False, on_error="yield", form=form)
        return map(_with_target, records) if self.config.search.forced else records

    def _form(self, file: str) -> str:
        if pipelines.two_sides(file):
            return "pairs"
        form = format_of(file, self.input_column, self.config.data.delimiter)
        return "columns" if form == "lines" and has_two_columns(file) else form

    def rewriting(self, source):
        form, delimiter = self._form(source), self.config.data.delimiter
        if form == "table" and all(
            pipelines.has_no_header(file, delimiter) for file in pipelines.expand(source)
        ):
            form = "columns"
        if form in ("table", "jsonl"):
            return None

        def lines(answered, output):
            # A file of lines stays one: as many out as in, an empty one for what could not be read.
            with contextlib.ExitStack() as stack:
                if isinstance(output, str):
                    output = stack.enter_context(pipelines.atomic_write(output, binary=True))
                for record, answer in answered:
                    text = " ".join(answer.get("translation", "").split("\n"))
                    if form == "columns":
                        source = "" if "error" in answer else record["source"]
                        text = source + (pipelines.checked_delimiter(delimiter) or "\t") + text
                    output.write(f"{text}\n".encode())

        return lines

    def server(self, model):
        return TranslationServer(self.config, self.features, model)

    def as_text(self, answer):
        return answer["translation"]

    def as_row(self, record, answer):
        return {**record.row, "target": answer["translation"]}

    def word_vectors(self, model):
        return model.embedding.embeddings.value, self.features.target.tokens_list

    def draw(self, answer, title=""):
        if "alignment" not in answer or not answer["target_tokens"]:
            return None
        tokens = (answer["source_tokens"], answer["target_tokens"])
        return pictures.draw_alignment(np.array(answer["alignment"]), *tokens, title)

    def pictures(self, server, records):
        shown = {}
        rows = []
        answers = server.explain(records)
        for number, (record, answer) in enumerate(zip(records, answers, strict=True)):
            rows.append((record["source"], record["target"], answer["translation"]))
            figure = self.draw(answer)
            if figure is not None:
                shown[f"{self.drawn}/{number}"] = pictures.to_pixels(figure)[None]
        few = answers[: pictures.GATES_SHOWN]
        if few and all("source_tokens" in answer for answer in few):
            texts = [record["source"] for record in records[: len(few)]]
            ids = server.features.read(tf.constant(texts, tf.string))
            sentences = [answer["source_tokens"] for answer in few]
            gates = server.gates({"ids": ids})
            shown |= pictures.gates_pictures(gates, ids.numpy() != 0, sentences)
        return {
            "translations": pictures.markdown_table(["source", "right", "given"], rows),
            **shown,
        }


def search(
    config: ml_collections.ConfigDict, model: keras.Model, ids: tf.Tensor, beam: int, n_best: int
) -> models.Found:
    """Translates source ids [batch, time] under the search settings of a config."""
    settings = config.search
    lengths = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)
    limits = tf.fill(tf.shape(lengths), settings.max_length)
    width = settings.max_length
    if not settings.max_length:
        # Under XLA the length is a number, and so is the width that hangs on it.
        width = 2 * (tf.shape(ids)[1] if ids.shape[1] is None else ids.shape[1]) + MOST_MORE
        limits = 2 * lengths + MOST_MORE
    shared = {"min_length": settings.min_length, "limits": limits}
    if beam == 1:
        return models.greedy_search(model, {"ids": ids}, width, **shared)
    return models.beam_search(
        model,
        {"ids": ids},
        width,
        beam=beam,
        length_penalty=settings.length_penalty,
        coverage_penalty=settings.coverage_penalty if config.attention != "none" else 0.0,
        n_best=n_best,
        **shared,
    )


class TranslationServer(Server):
    """Raw texts to their translations.

    Signatures, from `text` string[batch]:
        serving_default: `output` string[batch], `score` float32[batch]
        compiled: the same through XLA, in batches and lengths of a fixed set
        details: the output and score of the default, `outputs` string[batch, n_best] and `scores` float32[batch,
            n_best]; `source_tokens` string[batch, source], `target_tokens` string[batch, target], both padded with ""
            and with the end "[END]", and, where the model attends, `alignment` float32[batch, target, source]. Where
            fewer than n_best are found, the output is "" and the score -1e9
        forced: of `text` and `target` string[batch]: `score` float32[batch], the log-probability of that target, and
            the `source_tokens`, `target_tokens` and `alignment` of details

    The score is that of the search: the log-probability, divided by the length penalty. An empty text is translated by
    an empty one.
    """

    def __init__(
        self, config: ml_collections.ConfigDict, features: PairFeatures, model: keras.Model
    ):
        super().__init__(name="translation")
        self.features = features
        self.weights = [variable.value for variable in model.weights]
        beam, n_best = config.search.beam, config.search.n_best
        # Behind functions, so that saving does not follow them into Keras.
        self.find = lambda ids: search(config, model, ids, beam, n_best)
        self.gates = lambda features: model.encoder.gates(features)
        self.follow = lambda ids, tokens: models.forced_search(model, {"ids": ids}, tokens)
        self.forced = config.search.forced
        self.attends = config.attention != "none"
        self.alignments = config.search.alignments and self.attends
        self.n_best = n_best
        self.max_length = config.search.max_length
        self.replaces = (
            config.search.replace_unknown and config.tokenizer == "words" and self.attends
        )

    def signatures(self):
        text, target = (tf.TensorSpec([None], tf.string, name=name) for name in ("text", "target"))
        inputs = {name: [text] for name in ("serving_default", "compiled", "details")}
        inputs["forced"] = [text, target]
        return {
            name: tf.function(getattr(self, "_" + name), input_signature=specs, autograph=False)
            for name, specs in inputs.items()
        }

    def _serving_default(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        found = self.find(self.features.read(text))
        return self._result(text, *self._parts(found))

    def _parts(self, found: models.Found) -> list[tf.Tensor]:
        """Tokens and score of the best one, and, where unknown words are replaced, where each token looked."""
        parts = [found.tokens[:, 0], found.scores[:, 0]]
        if self.replaces:
            # No rows have no source, and nothing cannot be searched for its largest.
            looked = tf.pad(found.alignments[:, 0], [[0, 0], [0, 0], [0, 1]], constant_values=-1.0)
            parts.append(tf.argmax(looked, -1, tf.int32))
        return parts

    @pipelines.on_cpu
    def _result(self, text, tokens, scores, looked=None) -> dict[str, tf.Tensor]:
        blank = is_blank(text)
        return {
            "output": tf.where(blank, "", self._text(text, tokens, looked)),
            "score": tf.where(blank, 0.0, scores),
        }

    def _text(self, text: tf.Tensor, tokens: tf.Tensor, looked: tf.Tensor | None) -> tf.Tensor:
        if looked is None:
            return self.features.target.decode(tokens)
        # Of the end, too, and of what was cut, there is no word to copy.
        words = self.features.source.tokenize(text).to_tensor("")
        words = tf.pad(words, [[0, 0], [0, 1]], constant_values="")
        place = tf.minimum(looked[:, : tf.shape(tokens)[1]], tf.shape(words)[1] - 1)
        copied = tf.gather(words, place, batch_dims=1)
        written = tf.gather(tf.constant(self.features.target.tokens_list), tokens)
        written = tf.where(tokens == pipelines.UNKNOWN, copied, written)
        real = tf.ragged.boolean_mask(written, (tokens != pipelines.PADDING) & (written != ""))
        return tf.strings.reduce_join(real, axis=1, separator=" ")

    def _details(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = self.features.read(text)
        found = self.find(ids)
        batch = tf.shape(text)[0]
        flat = tf.reshape(found.tokens, [batch * self.n_best, -1])
        outputs = tf.reshape(self.features.target.decode(flat), [batch, self.n_best])
        blank = is_blank(text)[:, None]
        result = self._result(text, *self._parts(found))
        outputs = tf.concat([result["output"][:, None], outputs[:, 1:]], axis=1)
        return {
            **result,
            "outputs": tf.where(blank, "", outputs),
            "scores": tf.where(blank, 0.0, tf.maximum(found.scores, LOWEST)),
            **self._aligned(text, ids, found),
        }

    def _aligned(
        self, text: tf.Tensor, ids: tf.Tensor, found: models.Found
    ) -> dict[str, tf.Tensor]:
        """The tokens of both sides with their ends, for an end looks somewhere as well, and the attention.

        A blank text has none.
        """
        width = tf.reduce_max(tf.pad(found.lengths[:, 0], [[0, 1]])) + 1
        ended = tf.one_hot(found.lengths[:, 0], width, dtype=tf.int32) * pipelines.END
        tokens = tf.pad(found.tokens[:, 0], [[0, 0], [0, 1]])[:, :width] + ended
        real = ~is_blank(text)[:, None]
        result = {
            "source_tokens": _strings(self.features.source, tf.where(real, ids, 0)),
            "target_tokens": _strings(self.features.target, tf.where(real, tokens, 0)),
        }
        if self.attends:
            alignment = found.alignments[:, 0, :width]
            result["alignment"] = tf.where(real[:, :, None], alignment, 0.0)
        return result

    def _forced(self, text: tf.Tensor, target: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = self.features.read(text)
        tokens = self.features.encode(target, "target").to_tensor(pipelines.PADDING)
        # An empty target is the end alone, not the unknown token that stands for an empty source.
        tokens *= tf.cast(~is_blank(target), tokens.dtype)[:, None]
        found = self.follow(ids, tokens)
        return {"score": found.scores[:, 0], **self._aligned(text, ids, found)}

    def _compiled(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        run = tf.function(
            lambda ids: self._parts(self.find(ids)), jit_compile=True, autograph=False
        )
        longest = self.features.max_length
        widest = max(2 * longest + MOST_MORE, self.max_length) + 1

        def compute(encoded, length):
            tokens, scores, *looked = run(padded(encoded["ids"], length))
            tokens, *looked = (
                tf.pad(part, [[0, 0], [0, widest - tf.shape(part)[1]]])
                for part in (tokens, *looked)
            )
            return [tokens, scores, *looked]

        tokens = tf.TensorSpec([widest], tf.int32)
        parts = in_blocks(
            {"ids": self.features.cut(self.features.encode(text))},
            compute,
            lengths_up_to(longest),
            [tokens, tf.TensorSpec([]), *([tokens] if self.replaces else [])],
        )
        return self._result(text, *parts)

    # In the process that trained it

    @functools.cached_property
    def _functions(self):
        return self.signatures()

    def answer(self, records, counts=None):
        if counts is not None:
            count_cut(self.features, [record["source"] for record in records], counts)
        return by_length(records, ANSWERED_TOGETHER, self._answer, lambda r: len(r["source"]))

    def _answer(self, records: Sequence[pipelines.Record]) -> list[dict[str, Any]]:
        columns = ["source", "target"] if self.forced else ["source"]
        texts = [tf.constant([record[name] for record in records], tf.string) for name in columns]
        name = "details" if self.alignments or self.n_best > 1 else "serving_default"
        result = self._functions["forced" if self.forced else name](*texts)
        if self.forced:
            result["output"] = texts[1]
        result = {name: tensor.numpy() for name, tensor in result.items()}
        return [self._object(result, row) for row in range(len(records))]

    def explain(self, records: Sequence[pipelines.Record]) -> list[dict[str, Any]]:
        """Answers with `source_tokens`, `target_tokens` and, where the model attends, `alignment`."""
        texts = tf.constant([record["source"] for record in records], tf.string)
        result = {name: v.numpy() for name, v in self._functions["details"](texts).items()}
        return [
            {**self._object(result, row), **_aligned(result, row)} for row in range(len(records))
        ]

    def _object(self, result: dict[str, np.ndarray], row: int) -> dict[str, Any]:
        answer = {
            "translation": result["output"][row].decode("utf-8"),
            "score": float(result["score"][row]),
        }
        if self.n_best > 1 and not self.forced:
            pairs = zip(result["outputs"][row], result["scores"][row], strict=True)
            answer["n_best"] = [
                {"translation": text.decode("utf-8"), "score": float(score)}
                for text, score in pairs
                if score > LOWEST  # there may be fewer
            ]
        if self.alignments:
            answer |= _aligned(result, row)
        return answer


def _aligned(result: dict[str, np.ndarray], row: int) -> dict[str, Any]:
    """The tokens of both sides, and what each target token looked at."""
    sides = [
        [token.decode("utf-8") for token in result[side][row] if token]
        for side in ("source_tokens", "target_tokens")
    ]
    aligned = {"source_tokens": sides[0], "target_tokens": sides[1]}
    if "alignment" in result:
        aligned["alignment"] = result["alignment"][row, : len(sides[1]), : len(sides[0])].tolist()
    return aligned


def _with_target(
    record: pipelines.Record | pipelines.InputError,
) -> pipelines.Record | pipelines.InputError:
    """An error in place of a pair without a target, for `search.forced`."""
    if isinstance(record, pipelines.InputError) or "target" in record:
        return record
    return record.error("no target; search.forced=true scores the target of each pair")


@pipelines.on_cpu
def _strings(tokenizer: pipelines.Tokenizer, ids: tf.Tensor) -> tf.Tensor:
    """The token of each id; "" for padding."""
    names = tf.constant(["", *tokenizer.tokens_list[1:]])
    return tf.gather(names, ids)


TASK = Translation
