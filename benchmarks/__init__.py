"""Races against stock Keras and PyTorch; `make bench` runs them."""
