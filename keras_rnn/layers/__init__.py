"""Layers: cells run over time, words from their characters, the conditional random field, spectrograms."""

from keras_rnn.layers.characters import CharacterConvolution, CharacterRNN
from keras_rnn.layers.crf import CRF, crf_decode, crf_log_likelihood, crf_marginals, tag_constraints
from keras_rnn.layers.dropout import Dropout, SpatialDropout1D
from keras_rnn.layers.pyramid import HalveTime
from keras_rnn.layers.rnn import GRU, LSTM, FusedRNN
from keras_rnn.layers.spec_augment import AddNoise, SpecAugment, VocalTract

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "AddNoise",
    "CharacterConvolution",
    "CharacterRNN",
    "Dropout",
    "FusedRNN",
    "HalveTime",
    "SpatialDropout1D",
    "SpecAugment",
    "VocalTract",
    "crf_decode",
    "crf_log_likelihood",
    "crf_marginals",
    "tag_constraints",
]
