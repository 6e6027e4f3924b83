"""Sequence tagging: its files, its model, its score, its answers."""

import collections
import contextlib
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn import layers, metrics, models, pictures
from keras_rnn.tasks.facts import read_facts, write_facts
from keras_rnn.tasks.inputs import read_tagged_json, tagged_format_of
from keras_rnn.tasks.stack import stack_of
from keras_rnn.tasks.tag_pictures import confusion_table, sentence_table, transition_picture
from keras_rnn.tasks.tagging_server import TOKENS_AT_ONCE, TaggingServer
from keras_rnn.tasks.task import Task, built, known_cell
from keras_rnn.tasks.tokens import TokenFeatures
from keras_rnn.tasks.vectors import give_vectors, vectors_dim_of
from pipelines import conll, schemes

TAGS_FILE = "vocabulary.tags.json"
SEEN_FILE = "vocabulary.seen.txt"
CONFUSION_FILE = "confusion.tsv"

# The label of tags that the training data lack: they count as errors whatever is answered.
UNSEEN = "[unseen]"


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

    def built_in_data(self, directory):
        return pipelines.write_tables(directory, pipelines.date_tags(seed=0), ".conll")

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
        self.features = TokenFeatures.fit(self.config, tokens, self.inherited, vectors_dim_of(self))

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
        endings = {
            tag[1:] for tag in self.tags if schemes.split_tag(tag)[0] in schemes.SPAN_LETTERS
        }
        return [schemes.OUTSIDE, *schemes.tags_of(self.model_scheme, endings)]

    @functools.cached_property
    def _all_tags(self) -> list[str]:
        """The model's tags, then those of what the training data lack."""
        lacking = [UNSEEN]
        if self.scheme != "plain":
            lacking = schemes.tags_of(self.model_scheme, ["-" + UNSEEN])
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
        first, known = None, False
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
                first = first or record
                known = known or not self._data_tags.isdisjoint(record["tags"])
                tags = self._model_tags_of(record, counts)
                yield {
                    **{name: parts[place] for name, parts in split.items()},
                    "tags": np.array([number_of[tag] for tag in tags], np.int32),
                    "unseen": np.array([token not in self.seen for token in record["tokens"]]),
                }
        if first and not known:
            raise pipelines.InputError(
                f"none of its tags is one of the training data, the first is {first['tags'][0]!r}; "
                "--config.data.tag_column says where they stand",
                first.file,
            )

    @functools.cached_property
    def _data_tags(self) -> set[str]:
        return set(self.tags)

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
                in_span = self.scheme != "plain" and letter in schemes.SPAN_LETTERS
                spelled[place] = f"{letter}-{UNSEEN}" if in_span else UNSEEN
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
            max_shapes=config.max_shapes,
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
            constraints = layers.tag_constraints(self.model_tags, self.model_scheme).tolist()
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
        given = give_vectors(model, self.config, self.features.vectors)
        if not given:
            return ""
        known = self.features.vectors.encode_tokens(
            pipelines.lowered(tf.constant(sorted(self.seen)))
        )
        share = float(np.mean(known.numpy() != pipelines.UNKNOWN))
        return f"{given}; they hold {share:.1%} of the words of the training data"

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
        return schemes.respelled(self._all_tags, self.model_scheme, self.scheme)

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
            return pipelines.cut_records(read_tagged_json(file), self.config.max_bytes, counts)
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
            shown["transitions"] = transition_picture(server.transitions(), self.model_tags)
        if self.confusion is not None:
            shown["confusion"] = confusion_table(self.confusion)
        answers = server.answer(records)
        for number, (record, answer) in enumerate(zip(records, answers, strict=True)):
            shown[f"tags/{number}"] = sentence_table(record, answer)
        sentences = [answer["tokens"] for answer in answers[: pictures.GATES_SHOWN]]
        if sentences:
            features = self.features.pad(self.features.encode(tf.ragged.constant(sentences)))
            real = features["ids"].numpy() != 0
            shown |= pictures.gates_pictures(server.gates(features), real, sentences)
        return shown


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


def _is_likeliest(tags: tf.Tensor, emissions: tf.Tensor) -> tf.Tensor:
    """Whether no tag has a larger emission than the right one, bool [batch, time]."""
    right = tf.range(emissions.shape[-1]) == tags[:, :, None]
    largest = tf.reduce_max(emissions, axis=2)
    return tf.reduce_any(right & (emissions >= largest[:, :, None]), axis=2)


TASK = Tagging
