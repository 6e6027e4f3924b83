"""Layers: cells run over time, words from their characters, and the conditional random field."""

from keras_rnn.layers.characters import CharacterConvolution, CharacterRNN
from keras_rnn.layers.crf import CRF, crf_decode, crf_log_likelihood, crf_marginals, tag_constraints
from keras_rnn.layers.rnn import GRU, LSTM, FusedRNN

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "CharacterConvolution",
    "CharacterRNN",
    "FusedRNN",
    "crf_decode",
    "crf_log_likelihood",
    "crf_marginals",
    "tag_constraints",
]
