"""Sequence tagging: its files, its model, its score, its answers."""

import collections
import contextlib
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn import layers, metrics, models, pictures
from keras_rnn.tasks.blocks import in_blocks, lengths_up_to, padded
from keras_rnn.tasks.facts import read_facts, write_facts
from keras_rnn.tasks.inputs import tagged_format_of
from keras_rnn.tasks.stack import stack_of
from keras_rnn.tasks.task import Portable, Server, Task, built, known_cell, model_inputs
from keras_rnn.tasks.tokens import TokenFeatures
from pipelines import conll, schemes

TAGS_FILE = "vocabulary.tags.json"
SEEN_FILE = "vocabulary.seen.txt"
CONFUSION_FILE = "confusion.tsv"

# The label of tags that the training data lack: they count as errors whatever is answered.
UNSEEN = "[unseen]"

# Tokens, padding included, that are judged or answered together.
TOKENS_AT_ONCE = 4096

# Confusions that TensorBoard shows, and tags of the transitions: more would be too small to read.
SHOWN_CONFUSIONS = 30
SHOWN_TAGS = 40


class Tagging(Task):
    """A tag for each token; the tags may spell spans in one of several schemes."""

    name = "tagging"

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        known_cell(config.cell)
        if config.tokenizer != "words":
            raise pipelines.InputError(
                f"--config.tokenizer={config.tokenizer}: tagging reads words, in plain text by the rule of "
                "tokenizer=words"
            )
        self.features: TokenFeatures | None = None
        self.seen: set[str] = set()
        # As the data spell them, and as the model does.
        self.scheme = "plain"
        self.tags: list[str] = []
        self.model_tags: list[str] = []
        self.width = 0
        self.confusion: metrics.TagCounts | None = None
        self._places: dict[str, str] = {}
        self._kept_input = ""

    @property
    def metric(self) -> str:
        return "accuracy" if self.scheme == "plain" else "f1"

    @property
    def model_scheme(self) -> str:
        # A model of BIO cannot spell the answers of IOBES, so the data's own scheme leads there.
        return self.scheme if self.scheme in ("plain", "IOBES") else self.config.model_scheme

    # Data

    def built_in_data(self, directory: str) -> dict[str, str]:
        files = {}
        parts = pipelines.date_tags(seed=0)
        for name, records in zip(("train", "dev", "test"), parts, strict=True):
            files[name] = os.path.join(directory, f"{name}.conll")
            pipelines.write_table(files[name], records)
        return files

    @functools.cached_property
    def _token_column(self) -> int:
        return _column(self.config.data.token_column, "token_column")

    @functools.cached_property
    def _tag_column(self) -> int | str:
        named = self.config.data.tag_column
        if named in ("first", "last") or _is_number(named):
            return _column(named, "tag_column")
        return named

    def read(self, files, counts=None, answers=True, on_error="raise"):
        return conll.read_tagged(
            files,
            self._token_column,
            self._tag_column,
            counts=counts,
            on_error=on_error,
            tags=answers,
            width=None if answers else self.width or None,
        )

    def fit(self, records):
        tags, tokens = collections.Counter(), collections.Counter()
        first = None

        def sequences() -> Iterator[list[str]]:
            nonlocal first
            for record in records():
                first = first or record
                tokens.update(record["tokens"])
                tags.update(record["tags"])
                yield record["tags"]

        rest = sequences()
        found = schemes.detect_scheme(rest)
        # Plain tags are known by the first one.
        collections.deque(rest, maxlen=0)
        self.scheme = found if self.config.scheme == "detect" else self.config.scheme
        if len(tags) < 2:
            raise pipelines.InputError(
                f"every token has the tag {next(iter(tags))!r}; two tags at least are needed to learn from",
                first.file,
            )
        self.tags = sorted(tags, key=lambda tag: (tag != schemes.OUTSIDE, tag))
        self.model_tags = self._tags_of_model()
        self.width = conll.column_count(first.file) if first.file else 0
        self.seen = set(tokens)
        vectors_dim = self.parent.vectors_dim if self.parent else 0
        self.features = TokenFeatures.fit(self.config, tokens, self.inherited, vectors_dim)

    @property
    def vocabularies(self):
        return self.features.vocabularies

    @property
    def vectors_dim(self):
        return self.features.vectors_dim

    @property
    def labels(self):
        return self.model_tags

    def _tags_of_model(self) -> list[str]:
        if self.scheme == "plain":
            return list(self.tags)
        endings = {tag[1:] for tag in self.tags if schemes.split_tag(tag)[0] in _SPANS}
        return [schemes.OUTSIDE, *_spelled_in(self.model_scheme, endings)]

    @functools.cached_property
    def _all_tags(self) -> list[str]:
        """The model's tags, then those of what the training data lack."""
        lacking = [UNSEEN]
        if self.scheme != "plain":
            lacking = _spelled_in(self.model_scheme, ["-" + UNSEEN])
        return [*self.model_tags, *lacking]

    def save(self, directory):
        self.features.save(directory)
        facts = {
            "scheme": self.scheme,
            "tags": self.tags,
            "model_tags": self.model_tags,
            "width": self.width,
        }
        write_facts(directory, TAGS_FILE, facts)
        with pipelines.atomic_write(os.path.join(directory, SEEN_FILE)) as file:
            file.writelines(f"{token}\n" for token in sorted(self.seen))

    def load(self, directory, calibrated=True):
        self.features = TokenFeatures.load(self.config, directory)
        kinds = {"scheme": str, "tags": list[str], "model_tags": list[str], "width": int}
        facts = read_facts(directory, TAGS_FILE, kinds)
        self.scheme, self.tags = facts["scheme"], facts["tags"]
        self.model_tags, self.width = facts["model_tags"], facts["width"]
        path = os.path.join(directory, SEEN_FILE)
        self.seen = {line for _, line in pipelines.numbered_lines(path)}

    @property
    def columns(self):
        return {
            **self.features.columns,
            "tags": pipelines.Column.of_ids(len(self._all_tags)),
            "unseen": pipelines.Column("bool"),
        }

    @functools.cached_property
    def _encode_tokens(self):
        """The features of sentences, in one graph: ragged operations one by one cost several times as much."""

        def encode(flat: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
            tokens = tf.RaggedTensor.from_row_lengths(flat, lengths, validate=False)
            return {n: ragged.flat_values for n, ragged in self.features.encode(tokens).items()}

        flat = tf.TensorSpec([None], tf.string)
        return tf.function(encode, input_signature=[flat, tf.TensorSpec([None], tf.int64)])

    def encode(self, records, counts=None, training=False):
        number_of = {tag: number for number, tag in enumerate(self._all_tags)}
        for chunk in pipelines.in_chunks(records):
            lengths = [len(record["tokens"]) for record in chunk]
            flat = [token for record in chunk for token in record["tokens"]]
            encoded = self._encode_tokens(
                tf.constant(flat, tf.string), tf.constant(lengths, tf.int64)
            )
            ends = np.cumsum(lengths)[:-1]
            split = {name: np.split(values.numpy(), ends) for name, values in encoded.items()}
            for place, record in enumerate(chunk):
                if lengths[place] > self.config.max_length:
                    self._note(
                        counts,
                        f"longer than {self.config.max_length} tokens, cut in training",
                        record,
                    )
                tags = self._model_tags_of(record, counts)
                yield {
                    **{name: parts[place] for name, parts in split.items()},
                    "tags": np.array([number_of[tag] for tag in tags], np.int32),
                    "unseen": np.array([token not in self.seen for token in record["tokens"]]),
                }

    def _model_tags_of(
        self, record: pipelines.Record, counts: collections.Counter | None
    ) -> list[str]:
        """A sentence's tags as the model spells them; notes what breaks the scheme or is new."""
        tags = record["tags"]
        breaks = schemes.check(tags, self.scheme)
        for place, _ in breaks:
            self._note(
                counts,
                f"tags break the scheme {self.scheme} and are read as conlleval reads them",
                record,
                place,
            )
        spelled = list(tags)
        if breaks or self.scheme != self.model_scheme:
            spelled = schemes.convert(tags, self.scheme, self.model_scheme)
        for place, tag in enumerate(spelled):
            if tag not in self._known_tags:
                self._note(
                    counts, "tags that the training data lack, counted as errors", record, place
                )
                letter = schemes.split_tag(tag)[0]
                spelled[place] = f"{letter}-{UNSEEN}" if letter in _SPANS else UNSEEN
        return spelled

    @functools.cached_property
    def _known_tags(self) -> set[str]:
        return set(self.model_tags)

    def _note(
        self,
        counts: collections.Counter | None,
        reason: str,
        record: pipelines.Record,
        place: int = 0,
    ) -> None:
        """Counts what is worth a word, with where it was seen first."""
        if counts is None:
            return
        where = record.error("").file
        line = f":{record.line + place}" if record.line else ""
        first = self._places.setdefault(reason, f" (first at {where}{line})" if where else "")
        counts[reason + first] += 1

    def batches(self, store, training):
        config = self.config
        if training:
            return pipelines.Batches(
                store,
                batch_size=config.batch_size,
                length_columns=["ids"],
                max_length=config.max_length,
                shuffle=True,
                seed=config.seed,
                max_shapes=config.max_shapes,
            )
        # Every token is judged, and batches of about as many tokens keep the memory small.
        return pipelines.Batches(
            store,
            batch_size=config.batch_size,
            length_columns=["ids"],
            seed=config.seed,
            max_shapes=min(config.max_shapes, 3),
            batch_tokens=TOKENS_AT_ONCE,
        )

    # Model

    @property
    def embedding_dim(self):
        return self.config.embedding_dim or 64

    def build_model(self):
        config, features = self.config, self.features
        encoder = {
            "vocabulary_size": features.words.size,
            "embedding_dim": self.embedding_dim,
            "stack": stack_of(config),
            "dropout": config.dropout,
            "word_dropout": config.word_dropout,
            "skip": config.skip,
            "alphabet_size": features.alphabet.size if features.alphabet else 0,
            "character_units": config.character_units,
            "character_encoder": config.characters,
            "vectors_size": features.vectors.size if features.vectors else 0,
            "vectors_dim": features.vectors_dim,
            "vectors_trainable": config.vectors_trainable,
            "attributes_size": features.spelling.size if features.spelling else 0,
            "attributes": len(pipelines.ATTRIBUTES),
            "attribute_dim": config.attribute_dim,
        }
        constraints = None
        if config.crf and config.constrain and self.scheme != "plain":
            # A tag without a label is one of the label "_".
            named = [tag + "-_" if tag in ("B", "I", "E", "S") else tag for tag in self.model_tags]
            constraints = layers.tag_constraints(named, self.model_scheme).tolist()
        model = models.Tagger(
            len(self.model_tags),
            encoder,
            crf=config.crf,
            constraints=constraints,
            dropout=config.dropout,
        )
        return built(model, features.pad(features.encode(tf.ragged.constant([["a"]]))))

    def label_axes(self, model):
        layer = model.output_layer
        axes = [(layer.kernel, (1,)), (layer.bias, (0,))]
        if self.config.crf:
            axes += [(layer.transitions, (0, 1)), (layer.start, (0,)), (layer.end, (0,))]
        return axes

    def initialize(self, model):
        if not self.config.vectors:
            return ""
        words = self.features.vectors.tokens_list
        rows, found = pipelines.read_vectors(self.config.vectors, words)
        # The unknown word's row stays zero.
        model.encoder.vectors.embeddings.assign(rows)
        known = self.features.vectors.encode_tokens(
            tf.strings.lower(tf.constant(sorted(self.seen)), encoding="utf-8")
        )
        share = float(np.mean(known.numpy() != pipelines.UNKNOWN))
        return (
            f"{int(found.sum()):,} vectors from {self.config.vectors}; "
            f"they hold {share:.1%} of the words of the training data"
        )

    def loss(self, model, batch, training):
        emissions = model(batch, training=training)
        mask = model.mask(batch)
        output = model.output_layer
        tags = batch["tags"]
        if not training:
            # Where the right tag is none that the model has, its likelihood is that of any.
            number = len(self.model_tags)
            tags = (tf.one_hot(tags, number) > 0) | (tags[:, :, None] >= number)
        likelihood = output.log_likelihood(tags, emissions, mask)
        # The mean over tokens: long sentences weigh more.
        weights = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)
        losses = -likelihood / tf.maximum(weights, 1.0)
        if not training:
            return losses, weights, output.decode(emissions, mask)[0]
        # Under a conditional random field the tags that are given take a search, too dear for each step.
        return losses, weights, () if self.config.crf else (_is_likeliest(tags, emissions), mask)

    def training_metrics(self):
        return {} if self.config.crf else {"accuracy": keras.metrics.Mean(name="accuracy")}

    def update_metrics(self, metrics, batch, outputs):
        if metrics:
            metrics["accuracy"].update_state(*outputs)

    # Scores

    def judge(self, forward, batches):
        names = self._names_of_data
        counts = metrics.TagCounts(names)
        number_of = {name: number for number, name in enumerate(names)}
        loss = 0.0
        for batch in batches.tensors():
            losses, weights, predicted = forward(batch)
            loss += float(tf.reduce_sum(losses * weights))
            mask = (batch["ids"].numpy() != 0) & batch["real"].numpy()[:, None]
            predicted, right = predicted.numpy(), batch["tags"].numpy()
            unseen = batch["unseen"].numpy()
            for row in np.flatnonzero(mask.any(axis=1)):
                real = mask[row]
                wanted, given = (self._as_data(tags[row][real]) for tags in (right, predicted))
                counts.update_tags(
                    np.array([number_of[tag] for tag in wanted]),
                    np.array([number_of[tag] for tag in given]),
                    unseen[row][real],
                )
                if self.scheme != "plain":
                    counts.update_spans(
                        schemes.spans(wanted, self.scheme), schemes.spans(given, self.scheme)
                    )
        self.confusion = counts
        result = counts.result()
        return {**result, "loss": loss / max(result["tokens"], 1)}

    @functools.cached_property
    def _names_of_data(self) -> list[str]:
        """Every tag that can come up, as the data spell it."""
        return _respelled(self._all_tags, self.model_scheme, self.scheme)

    def _as_data(self, numbers: np.ndarray) -> list[str]:
        """The tags of a sentence, numbered by the model, as the data spell them."""
        names = [self._all_tags[number] for number in numbers]
        if self.scheme == self.model_scheme:
            return names
        return schemes.convert(names, self.model_scheme, self.scheme)

    def calibrate(self, forward, batches, directory):
        self.judge(forward, batches)
        with pipelines.atomic_write(os.path.join(directory, CONFUSION_FILE)) as file:
            for row in self.confusion.table():
                file.write("\t".join(map(str, row)) + "\n")
        return {"scheme": self.scheme}

    # Answers

    def read_input(self, file, counts=None):
        if file == "-" and self._kept_input:
            # Standard input is at its end already.
            return map(_of_standard_input, self.read_input(self._kept_input, counts))
        kind = tagged_format_of(file, self.tags)
        if file == "-" and kind == "conllu":
            tag = self._tag_column if isinstance(self._tag_column, str) else "upos"
            return conll.read_conllu(file, tag, counts, on_error="yield", tags=False)
        if kind in ("columns", "conllu"):
            return self.read(file, counts, answers=False, on_error="yield")
        if kind == "jsonl":
            return _json_records(file)
        return pipelines.read_lines(
            file, max_bytes=self.config.max_bytes, counts=counts, on_error="yield", allow_empty=True
        )

    def server(self, model):
        return TaggingServer(self, model)

    def as_text(self, answer):
        return " ".join(answer["tags"])

    def as_row(self, record, answer):
        return {**record.row, "tokens": answer["tokens"], "tags": answer["tags"]}

    def rewriting(self, source):
        kind = tagged_format_of(source, self.tags)
        if kind not in ("columns", "conllu"):
            return functools.partial(self._write_answers, kind)
        if source == "-":
            # It is read twice: for the answers, and to be written again.
            with tempfile.NamedTemporaryFile(
                suffix=".conllu" if kind == "conllu" else ".conll", delete=False
            ) as kept:
                with pipelines.open_bytes("-") as stream:
                    shutil.copyfileobj(stream, kept)
            source = self._kept_input = kept.name
        return functools.partial(self._rewrite, source)

    def _rewrite(self, source: str, answers: Iterable[tuple[Any, dict]], target: Any) -> None:
        """The file again, with the answers in the place of its tags, all else as it was."""
        try:
            conll.rewrite(
                source,
                (answer.get("tags") for _, answer in answers),
                target,
                self._token_column,
                self._tag_column,
                self.width or None,
            )
        except pipelines.InputError as error:
            if error.file == self._kept_input:
                _of_standard_input(error)
            raise
        finally:
            if self._kept_input:
                os.remove(self._kept_input)
                self._kept_input = ""

    def _write_answers(self, kind: str, answers: Iterable[tuple[Any, dict]], target: Any) -> None:
        """JSON lines with the answers in them; for plain lines columns, a token and its tag."""
        with contextlib.ExitStack() as stack:
            if isinstance(target, str):
                stream = stack.enter_context(pipelines.atomic_write(target, binary=True))
            else:
                stream = target
            for record, answer in answers:
                bad = "error" in answer
                if kind == "jsonl":
                    row = answer if bad else self.as_row(record, answer)
                    lines = json.dumps(row, ensure_ascii=False)
                elif bad:
                    continue
                else:
                    pairs = zip(answer["tokens"], answer["tags"], strict=True)
                    lines = "".join(f"{token}\t{tag}\n" for token, tag in pairs)
                stream.write(f"{lines}\n".encode())

    def word_vectors(self, model):
        return model.encoder.embedding.embeddings.value, self.features.words.tokens_list

    def pictures(self, server, records):
        shown = {}
        if server.transitions is not None:
            shown["transitions"] = _transition_picture(server.transitions(), self.model_tags)
        if self.confusion is not None:
            shown["confusion"] = _confusion_table(self.confusion)
        answers = server.answer(records)
        for number, (record, answer) in enumerate(zip(records, answers, strict=True)):
            shown[f"tags/{number}"] = _sentence_table(record, answer)
        sentences = [answer["tokens"] for answer in answers[: pictures.GATES_SHOWN]]
        if sentences:
            features = self.features.pad(self.features.encode(tf.ragged.constant(sentences)))
            real = features["ids"].numpy() != 0
            shown |= pictures.gates_pictures(server.gates(features), real, sentences)
        return shown


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

    def __init__(self, task: Tagging, model: keras.Model):
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
            self.transitions = lambda: _transition_scores(output)
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

    def _cut(self, text: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """The tokens of raw texts, and where they begin and end, in bytes."""
        return self.features.words.tokenize_with_offsets(
            tf.strings.substr(text, 0, self.max_bytes, unit="BYTE")
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
        answered = _respelled(self.tag_names, self.model_scheme, self.scheme)
        return {
            "tags.txt": "".join(f"{name}\n" for name in answered),
            "model_tags.txt": "".join(f"{name}\n" for name in self.tag_names),
        }


_SPANS = ("B", "I", "E", "S")


def _spelled_in(scheme: str, endings: Iterable[str]) -> list[str]:
    """The tags of spans with these labels, each label as it is written after the letter."""
    letters = "BIES" if scheme == "IOBES" else "BI"
    return [letter + ending for ending in sorted(endings) for letter in letters]


def _respelled(tags: Sequence[str], source: str, target: str) -> list[str]:
    """Every tag that these can become in another scheme."""
    if source == target:
        return list(tags)
    endings = {tag[1:] for tag in tags if tag != schemes.OUTSIDE}
    return [schemes.OUTSIDE, *_spelled_in(target, endings)]


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _column(named: str, key: str) -> int:
    """The number of a column: first, last or a number."""
    if named in ("first", "last"):
        return 0 if named == "first" else -1
    if not _is_number(named):
        raise pipelines.InputError(
            f"--config.data.{key}={named}: it must be first, last or a number from 0"
        )
    return int(named)


def _of_standard_input(
    record: pipelines.Record | pipelines.InputError,
) -> pipelines.Record | pipelines.InputError:
    """What was read from a copy of standard input, told as being from there."""
    record.file = "standard input"
    return record


def _json_records(file: str) -> Iterator[pipelines.Record | pipelines.InputError]:
    """JSON lines with `tokens`, a list of strings, or else `text`."""
    for number, line in pipelines.numbered_lines(file, on_error="yield"):
        if isinstance(line, pipelines.InputError):
            yield line
            continue
        if not line.strip():
            continue
        try:
            row = pipelines.json_object(line, file, number)
        except pipelines.InputError as error:
            yield error
            continue
        tokens = row.get("tokens")
        is_list = isinstance(tokens, list) and all(isinstance(t, str) and t for t in tokens)
        if is_list:
            yield pipelines.Record({"tokens": tokens}, file, number, row)
        elif tokens is None and isinstance(row.get("text"), str):
            yield pipelines.Record({"text": row["text"]}, file, number, row)
        else:
            yield pipelines.InputError(
                "the object needs tokens, a list of strings that are not empty, or text, a string",
                file,
                number,
            )


def _transition_scores(field: layers.CRF) -> np.ndarray:
    """Scores [tags + 1, tags + 1] as `decode` takes them: the last row starts, the last column ends, -inf forbids."""
    moves, start, end = (
        w.numpy() for w in (field.transitions.value, field.start.value, field.end.value)
    )
    scores = np.block([[moves, end[:, None]], [start, 0.0]])
    return scores if field.constraints is None else np.where(field.constraints, scores, -np.inf)


def _transition_picture(scores: np.ndarray, tags: Sequence[str]) -> np.ndarray:
    """An image [1, height, width, 4] of the transitions, of the first tags if there are very many."""
    tags = tags[:SHOWN_TAGS]
    inner = scores[: len(tags), : len(tags)]
    start, end = scores[-1, : len(tags)], scores[: len(tags), -1]
    return pictures.to_pixels(pictures.draw_transitions(inner, tags, start, end))[None]


def _is_likeliest(tags: tf.Tensor, emissions: tf.Tensor) -> tf.Tensor:
    """Whether no tag has a larger emission than the right one, bool [batch, time]."""
    right = tf.range(emissions.shape[-1]) == tags[:, :, None]
    largest = tf.reduce_max(emissions, axis=2)
    return tf.reduce_any(right & (emissions >= largest[:, :, None]), axis=2)


def _confusion_table(counts: metrics.TagCounts) -> str:
    """Markdown: the commonest confusions."""
    lines = ["| right | given | tokens | of the right ones |", "|---|---|---:|---:|"]
    for right, given, number, share in counts.confusions(SHOWN_CONFUSIONS):
        lines.append(f"| {right} | {given} | {number:,} | {share:.1%} |")
    return "\n".join(lines)


def _sentence_table(record: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Markdown: each token with its right tag, the tag given, and how likely that is."""
    lines = ["| word | right | given | probability |", "|---|---|---|---:|"]
    right = record.get("tags") or [""] * len(answer["tags"])
    rows = zip(answer["tokens"], right, answer["tags"], answer["probabilities"], strict=True)
    for token, wanted, given, probability in rows:
        given = given if given == wanted else f"**{given}**"
        lines.append(
            f"| {pictures.markdown_cell(token)} | {wanted} | {given} | {probability:.3f} |"
        )
    return "\n".join(lines)


TASK = Tagging
