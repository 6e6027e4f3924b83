"""Pairs of texts to the ids that an encoder-decoder reads and writes."""

import itertools
from collections.abc import Callable, Iterator, Mapping

import ml_collections
import tensorflow as tf

import pipelines

SOURCE, TARGET = "vocabulary", "vocabulary.target"


class PairFeatures(tf.Module):
    """The tokenizers of both sides.

    Arguments:
        source, target: the tokenizers; one and the same where the vocabulary is joint.
        max_length: tokens read of a source, its end included; the rest is cut.
        max_bytes: bytes read of a text; the rest is cut before it is tokenized.
    """

    def __init__(
        self,
        source: pipelines.Tokenizer,
        target: pipelines.Tokenizer,
        max_length: int,
        max_bytes: int = pipelines.MAX_BYTES,
    ):
        super().__init__()
        self.source, self.target = source, target
        self.max_length, self.max_bytes = max_length, max_bytes

    @classmethod
    def fit(
        cls,
        config: ml_collections.ConfigDict,
        texts: Callable[[str], Iterator[str]],
        given: Mapping[str, pipelines.Tokenizer],
    ) -> "PairFeatures":
        """Learns the vocabularies; `texts(side)` reads the texts of "source" or "target" anew.

        Those that are given stay as they are.
        """

        def tokenizer(lines: Iterator[str]) -> pipelines.Tokenizer:
            return pipelines.train_tokenizer(
                config.tokenizer,
                lines,
                config.vocabulary_size,
                lower=config.lower,
                min_count=config.min_count,
            )

        if config.joint_vocabulary:
            joint = given.get("embedding") or tokenizer(
                itertools.chain(texts("source"), texts("target"))
            )
            return cls(joint, joint, config.max_length, config.max_bytes)
        source = given.get("embedding") or tokenizer(texts("source"))
        target = given.get("target") or tokenizer(texts("target"))
        return cls(source, target, config.max_length, config.max_bytes)

    @property
    def vocabularies(self) -> dict[str, pipelines.Tokenizer]:
        """The tokenizers: of the source, which the encoder reads, and of the target."""
        return {"embedding": self.source, "target": self.target}

    @classmethod
    def load(cls, config: ml_collections.ConfigDict, directory: str) -> "PairFeatures":
        """Reads what `save` wrote."""
        source = pipelines.load_tokenizer(directory, name=SOURCE)
        target = source
        if not config.joint_vocabulary:
            target = pipelines.load_tokenizer(directory, name=TARGET)
        return cls(source, target, config.max_length, config.max_bytes)

    def save(self, directory: str) -> None:
        """Writes the vocabularies: `vocabulary*`."""
        self.source.save(directory, name=SOURCE)
        if self.target is not self.source:
            self.target.save(directory, name=TARGET)

    @pipelines.on_cpu
    def encode(self, texts: tf.Tensor, side: str = "source") -> tf.RaggedTensor:
        """string [batch] -> ids with the end, ragged int32 [batch, (time)], however long."""
        texts = pipelines.first_bytes(texts, self.max_bytes)
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")
        return getattr(self, side).encode(texts, end=True)

    @pipelines.on_cpu
    def cut(self, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        """The first `max_length` ids of each row, the last of them its end."""
        cut = pipelines.first_of_rows(ids, self.max_length)
        ends = cut.row_splits[1:, None] - 1
        end = tf.fill(tf.shape(ends)[:1], tf.constant(pipelines.END, ids.dtype))
        return cut.with_values(tf.tensor_scatter_nd_update(cut.values, ends, end))

    @pipelines.on_cpu
    def too_long(self, texts: tf.Tensor) -> tf.Tensor:
        """How many sources [batch] are cut."""
        return tf.math.count_nonzero(self.encode(texts).row_lengths() > self.max_length)

    @pipelines.on_cpu
    def read(self, texts: tf.Tensor) -> tf.Tensor:
        """string [batch] -> source ids as the model reads them, int32 [batch, time]."""
        return self.cut(self.encode(texts)).to_tensor(pipelines.PADDING)
