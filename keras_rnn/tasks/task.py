"""The interface of a task.

A task says how its files are read and encoded, which model it trains and on what loss, how a model is
judged, and how raw input becomes an answer. It owns no loop: `train.py`, `evaluate.py`, `predict.py` and
`export.py` drive every task the same way. A new task is `tasks/NAME.py` with a subclass as its `TASK`,
`configs/NAME.py` with its keys, and its name in `TASKS` of `configs/config.py`.

The order of calls:

    training    read → fit → save → encode → batches → build_model → initialize → loss …, judge
    later       load → build_model → (weights) → judge | server
"""

import abc
import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn import cells, configs

Batch = dict[str, tf.Tensor]
Outputs = Any


@dataclasses.dataclass
class Portable:
    """A model for runtimes that have no strings: from numbers to numbers, with the rules that lead there.

    Attributes:
        weights: those of the model.
        inputs: the features that the model reads, by name: int32 [batch, time, …].
        run: such features to outputs by name, [batch, …], in operations that every runtime has.
        rules: what a client encodes text and reads outputs by, JSON-ready; see `keras_rnn.client`.
        obstacles: a format that this model cannot have -> the setting that stands in the way, and why.
    """

    weights: Sequence[tf.Variable]
    inputs: dict[str, tf.TensorSpec]
    run: Callable[[Batch], dict[str, tf.Tensor]]
    rules: dict[str, Any]
    obstacles: dict[str, str] = dataclasses.field(default_factory=dict)


class Server(tf.Module):
    """Raw input to answers, as it is exported: the tokenizers, the weights and one function.

    `signatures()` gives the functions of the SavedModel by name, `serving_default` among them; `answer` gives what
    `predict` needs. Nothing of Keras is tracked, so that the export loads without this package.
    """

    def signatures(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """The functions to export, traced when they are saved."""
        raise NotImplementedError

    def answer(
        self, records: Sequence[pipelines.Record], counts: collections.Counter | None = None
    ) -> list[dict[str, Any]]:
        """One JSON-ready object for each record, in order; `counts` takes what was not read whole."""
        raise NotImplementedError

    def explain(self, records: Sequence[pipelines.Record]) -> list[dict[str, Any]]:
        """The same with what `Task.draw` draws; only of tasks that draw their answers."""
        raise NotImplementedError

    def portable(self) -> Portable:
        """The model without its strings, for TFLite and ONNX.

        Raises:
            InputError: the task, or a setting, cannot do without TensorFlow.
        """
        raise pipelines.InputError(
            f"{self.name} is exported with --format=saved_model alone; tflite and onnx are for "
            "classification and tagging"
        )

    def assets(self) -> dict[str, str]:
        """Text files for the export's `assets.extra/`, name to content."""
        return {}


class Task(abc.ABC):
    """One job: its data, its model, its score.

    Attributes:
        name: as in `--task`.
        metric: the score on dev that training watches, a name in what `judge` returns.
        higher_is_better: whether it grows as the model improves.
        config: the run's config.
    """

    name: str
    metric: str
    higher_is_better = True

    # Other scores on dev that each evaluation's line shows beside it.
    beside: Sequence[str] = ()

    # Type of its input; `init_from` is possible between tasks that read the same.
    reads = "texts"

    # Whether `forward(last=True)` differs from `forward(last=False)`, by a longer search for example.
    searches = False

    # What a picture of an answer shows, "alignment" say; of tasks that draw none, nothing.
    drawn = ""

    # Whether an example may have several labels, `labels_of` its record: training must see each that dev has.
    several_labels = False

    # The labels that the model's last weights score, if it has any.
    labels: Sequence[str] = ()

    # Size of a pretrained vector.
    vectors_dim = 0

    def __init__(self, config: ml_collections.ConfigDict):
        self.config = config
        # The task of another run, where this one begins with its weights: `fit` then keeps its vocabularies.
        self.parent: Task | None = None

    # Data

    @abc.abstractmethod
    def built_in_data(self, directory: str) -> dict[str, str]:
        """Writes the built-in data in the task's own format; gives its files: train, dev, test."""

    @abc.abstractmethod
    def read(
        self,
        files: str,
        counts: collections.Counter | None = None,
        answers: bool = True,
        on_error: str = "raise",
    ) -> Iterator[pipelines.Record]:
        """The records of files in the task's format. `answers=False`: the answers may be missing."""

    def read_input(
        self, file: str, counts: collections.Counter | None = None
    ) -> Iterator[pipelines.Record | pipelines.InputError]:
        """The records that `predict` answers; a bad row comes as the error that it is."""
        return self.read(file, counts, answers=False, on_error="yield")

    @property
    def input_column(self) -> str:
        """The column of a table that holds the input, or several, comma-separated."""
        return self.config.data.text

    def stratum(self, record: pipelines.Record) -> str:
        """What a dev set split off the training data keeps its share of: the label, where there is one."""
        return ""

    @abc.abstractmethod
    def fit(self, records: Callable[[], Iterator[pipelines.Record]]) -> None:
        """Learns vocabulary and labels from the training records; each call of `records` reads them anew."""

    @property
    def vocabularies(self) -> Mapping[str, pipelines.Tokenizer]:
        """The tokenizers that `fit` learns, by the part of the encoder whose rows they name, `embedding` first."""
        return {}

    @property
    def inherited(self) -> Mapping[str, pipelines.Tokenizer]:
        """The vocabularies that are not to be learnt anew."""
        return self.parent.vocabularies if self.parent else {}

    @abc.abstractmethod
    def save(self, directory: str) -> None:
        """Writes what `fit` learnt into the workdir."""

    @abc.abstractmethod
    def load(self, directory: str, calibrated: bool = True) -> None:
        """Reads what `save` wrote, and unless `calibrated` is False what `calibrate` wrote."""

    @property
    @abc.abstractmethod
    def columns(self) -> Mapping[str, pipelines.Column]:
        """What an encoded example holds."""

    @abc.abstractmethod
    def encode(
        self,
        records: Iterable[pipelines.Record],
        counts: collections.Counter | None = None,
        training: bool = False,
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """Encodes records to examples, many at a time, and counts what it cuts; for training it may leave some out.

        Raises:
            InputError: for an unknown label.
        """

    @abc.abstractmethod
    def batches(self, store: pipelines.ExampleStore, training: bool) -> pipelines.Batches:
        """Batches of a finite set of shapes; `training` shuffles them."""

    def real_tokens(self, batch: Batch) -> tf.Tensor:
        """Number of real tokens in a batch, for the throughput."""
        real = tf.cast(batch["real"], tf.int32)
        counts = tf.math.count_nonzero(tf.reshape(batch["ids"], [tf.size(real), -1]), axis=1)
        return tf.reduce_sum(tf.cast(counts, tf.int32) * real)

    # Model

    @abc.abstractmethod
    def build_model(self) -> keras.Model:
        """A new model, built, with random weights."""

    def initialize(self, model: keras.Model) -> str:
        """Gives a new model what it does not learn from the data, as pretrained vectors; says so in a line."""
        return ""

    @property
    def embedding_dim(self) -> int:
        """Size of a token's learnt vector, also where the config leaves it to the task."""
        return self.config.embedding_dim

    def label_axes(self, model: keras.Model) -> list[tuple[keras.Variable, tuple[int, ...]]]:
        """The weights that have entries for each of `labels`, and along which axes."""
        return []

    @abc.abstractmethod
    def loss(
        self, model: keras.Model, batch: Batch, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, Outputs]:
        """Loss and weight of each unit (example or token), any equal shapes, and the model's outputs.

        The loss of the batch is Σ weight · loss / Σ weight; a filler's weight is 0. Compiled: tensors only.
        """

    def forward(
        self, model: keras.Model, batch: Batch, last: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, Outputs]:
        """What `judge` is given of each batch: the loss without noise, and the answers.

        `last` is False after an epoch and True for the scores that are kept, which may be worth a longer search.
        """
        return self.loss(model, batch, training=False)

    def training_metrics(self) -> dict[str, keras.metrics.Metric]:
        """Keras metrics to show of the training batches, beside the loss."""
        return {}

    def update_metrics(  # noqa: B027 - nothing to update where there are no such metrics
        self, metrics: dict[str, keras.metrics.Metric], batch: Batch, outputs: Outputs
    ) -> None:
        """Adds a training batch to the metrics. Compiled with the step."""

    @abc.abstractmethod
    def judge(
        self,
        forward: Callable[[Batch], tuple[tf.Tensor, tf.Tensor, Outputs]],
        batches: pipelines.Batches,
    ) -> dict[str, Any]:
        """The evaluate object of a data set. `forward` is the method of that name, compiled."""

    def calibrate(
        self,
        forward: Callable[[Batch], tuple[tf.Tensor, tf.Tensor, Outputs]],
        batches: pipelines.Batches,
        directory: str,
    ) -> dict[str, Any]:
        """After training: fits on dev what is fitted there, writes it into the workdir; facts to show."""
        return {}

    # Answers

    @abc.abstractmethod
    def server(self, model: keras.Model) -> Server:
        """The model with its tokenizers, from raw input to answers."""

    @abc.abstractmethod
    def as_text(self, answer: dict[str, Any]) -> str:
        """An answer on one line, for --output_format=text."""

    @abc.abstractmethod
    def as_row(self, record: pipelines.Record, answer: dict[str, Any]) -> dict[str, Any]:
        """The input's row with the answer in its place, for --output_format=same."""

    def rewriting(
        self, source: str
    ) -> Callable[[Iterable[tuple[Any, dict[str, Any]]], Any], None] | None:
        """For --output_format=same where the input is no table: what writes it again, with the answers.

        Called with each record, or the error in its place, and its answer, in order, and with a file name or a stream
        of bytes. None: `as_row` makes rows of a table.
        """
        return None

    # Pictures

    def draw(self, answer: dict[str, Any], title: str = "") -> Any:
        """A figure of what the model looked at for an answer of `Server.explain`; None where that is nothing."""
        return None

    @abc.abstractmethod
    def word_vectors(self, model: keras.Model) -> tuple[tf.Tensor, Sequence[str]]:
        """Vectors [tokens, dim] that the model has learnt, and the tokens."""

    def pictures(self, server: Server, records: Sequence[pipelines.Record]) -> dict[str, Any]:
        """What TensorBoard shows of fixed dev examples: name to Markdown text or an image array."""
        return {}


def built(model: keras.Model, inputs: Mapping[str, tf.Tensor]) -> keras.Model:
    """The model, with weights that go with such inputs. Nothing is computed, as it would be by calling it."""
    model.build({name: tuple(value.shape) for name, value in inputs.items()})
    return model


def model_inputs(columns: Mapping[str, pipelines.Column]) -> dict[str, tf.TensorSpec]:
    """The columns of encoded examples as inputs of any batch and time: name -> [batch, time, …]."""
    return {
        name: tf.TensorSpec([None, None, *column.inner_shape], column.dtype, name=name)
        for name, column in columns.items()
    }


def known_cell(name: str) -> None:
    """Raises an InputError for a cell that neither the house nor Keras's register knows, or knows twice."""
    if name in cells.CELLS:
        return
    found = cells.registered_cells(name)
    if len({*found.values()}) > 1:
        raise pipelines.InputError(
            f"--config.cell={name}: several cells have this name; give one of {', '.join(sorted(found))}"
        )
    if not found:
        registered = (key.split(">")[-1] for key in cells.registered_cells())
        near = configs.nearest(name, (*cells.CELLS, *registered))
        raise pipelines.InputError(
            f"--config.cell={name}: it must be one of {', '.join(cells.CELLS)}, or the name of a registered class "
            f"of your own (--import=MODULE){near}"
        )
