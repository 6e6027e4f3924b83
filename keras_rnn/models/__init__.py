"""Models: Keras models built from the layers of the house; they give logits and know no files."""

from keras_rnn.models.classifier import Classifier, HierarchicalClassifier
from keras_rnn.models.ctc import ctc_alignment, ctc_loss, ctc_search
from keras_rnn.models.encoder import TextEncoder
from keras_rnn.models.pointer_generator import (
    PointerGenerator,
    coverage_loss,
    log_distribution,
    log_likelihood,
)
from keras_rnn.models.pooling import Pooling
from keras_rnn.models.search import Found, beam_search, forced_search, greedy_search, sample
from keras_rnn.models.seq2seq import COVERING, EncoderDecoder
from keras_rnn.models.span_reader import SpanReader, best_span
from keras_rnn.models.speech import SpeechRecognizer
from keras_rnn.models.story_reader import StoryReader
from keras_rnn.models.tagger import Tagger

__all__ = [
    "COVERING",
    "Classifier",
    "EncoderDecoder",
    "Found",
    "HierarchicalClassifier",
    "PointerGenerator",
    "Pooling",
    "SpanReader",
    "SpeechRecognizer",
    "StoryReader",
    "Tagger",
    "TextEncoder",
    "beam_search",
    "best_span",
    "coverage_loss",
    "ctc_alignment",
    "ctc_loss",
    "ctc_search",
    "forced_search",
    "greedy_search",
    "log_distribution",
    "log_likelihood",
    "sample",
]
