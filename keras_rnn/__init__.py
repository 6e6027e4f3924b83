"""Recurrent models of text on Keras 3: cells as equations, one fused time loop, from a text file to a served model."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

__version__ = "0.1.0"

# Public name -> module. All of them are flat in this package.
_MODULES = {
    "keras_rnn.attention": (
        "Attention",
        "AttentionPooling",
        "BahdanauAttention",
        "LocationAttention",
        "LuongAttention",
        "StructuredSelfAttention",
    ),
    "keras_rnn.cells": (
        "AttentionCell",
        "CELLS",
        "Cell",
        "ESNCell",
        "GRUCell",
        "LSTMCell",
        "LayerNormGRUCell",
        "LayerNormLSTMCell",
        "LayerNormSimpleRNNCell",
        "NASCell",
        "PeepholeLSTMCell",
        "QueryReductionCell",
        "SimpleRNNCell",
        "ZoneoutCell",
        "make_cell",
    ),
    "keras_rnn.cells.activations": ("sigmoid", "tanh"),
    "keras_rnn.cells.layer_norm": ("layer_norm",),
    "keras_rnn.cells.standard": ("StandardCell",),
    "keras_rnn.checks": ("check_cell",),
    "keras_rnn.conversion": ("from_keras", "to_keras"),
    "keras_rnn.layers": (
        "AddNoise",
        "CRF",
        "CharacterConvolution",
        "CharacterRNN",
        "Dropout",
        "GRU",
        "LSTM",
        "FusedRNN",
        "HalveTime",
        "SpatialDropout1D",
        "SpecAugment",
        "VocalTract",
        "crf_decode",
        "crf_log_likelihood",
        "crf_marginals",
        "tag_constraints",
    ),
    "keras_rnn.models": (
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
    ),
    "keras_rnn.pictures": (
        "alignment_html",
        "attention_html",
        "document_attention_html",
        "draw_alignment",
        "draw_attention",
        "draw_copying",
        "draw_story",
        "draw_gates",
        "draw_recognition",
        "draw_transitions",
        "to_pixels",
    ),
    "keras_rnn.scans": ("forward_only", "scan"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_HOME)


def _load(module: str):
    from keras_rnn.start import import_quietly

    import_quietly()
    return importlib.import_module(module)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'keras_rnn' has no attribute {name!r}")
    value = globals()[name] = getattr(_load(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# The command answers --help without TensorFlow, so it loads what it needs when it needs it. Everybody else gets every
# class at once: a saved model finds only classes that are registered with Keras.
_program = Path(sys.argv[0]).name if getattr(sys, "argv", None) else ""
if _program not in ("-m", "keras-rnn"):
    for _module, _names in _MODULES.items():
        globals().update({_name: getattr(_load(_module), _name) for _name in _names})
