"""Layers: cells run over time."""

from keras_rnn.layers.rnn import GRU, LSTM, FusedRNN

__all__ = ["GRU", "LSTM", "FusedRNN"]
