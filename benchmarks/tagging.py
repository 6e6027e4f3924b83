"""Time of tagging: what a CRF adds to a training step, and tagging against PyTorch where it is installed.

    python -m benchmarks.tagging [--rounds=20]

The tagger is a bidirectional LSTM of 128 units over embeddings of 100, for batches of 32 sentences. A training step is
forward, backward and Adam; its contestants end in a softmax and in a CRF. Tagging is the forward pass and the search
for the best tags; PyTorch's is a batched Viterbi over tensors, as one writes it there.

The contestants take turns, and the fastest round of each counts.
"""

import argparse
from collections.abc import Callable

import numpy as np

import keras_rnn  # noqa: F401  First: it imports TensorFlow without its notices.
from benchmarks.turns import fastest, has_torch

# isort: split
import keras
import tensorflow as tf

from keras_rnn import models

VOCABULARY, DIM, UNITS, BATCH = 10000, 100, 128, 32
SIZES = [(17, 40), (50, 200)]  # tags, time


def sentences(generator: np.random.Generator, tags: int, time: int):
    """Word ids and tags [batch, time], of half to full length."""
    ids = generator.integers(2, VOCABULARY, size=[BATCH, time], dtype=np.int32)
    lengths = generator.integers(time // 2, time + 1, size=[BATCH, 1])
    lengths[0] = time
    ids[np.arange(time) >= lengths] = 0
    return ids, generator.integers(0, tags, size=[BATCH, time], dtype=np.int32)


def tagger(tags: int, crf: bool) -> models.Tagger:
    stack = {"units": UNITS, "cell": "lstm", "bidirectional": True}
    encoder = {"vocabulary_size": VOCABULARY, "embedding_dim": DIM, "stack": stack}
    return models.Tagger(tags, encoder, crf=crf)


def training_step(tags: int, crf: bool, ids, right) -> Callable[[], object]:
    model = tagger(tags, crf)
    model({"ids": ids})
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(model.trainable_variables)
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function(jit_compile=True)
    def step(ids, right):
        with tf.GradientTape() as tape:
            emissions = model({"ids": ids}, training=True)
            likelihood = model.output_layer.log_likelihood(right, emissions, mask=ids != 0)
            loss = -tf.reduce_mean(likelihood)
        gradients = tape.gradient(loss, variables)
        optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients])
        return loss

    ids, right = tf.constant(ids), tf.constant(right)
    return lambda: step(ids, right).numpy()


def decoding(tags: int, ids) -> Callable[[], object]:
    model = tagger(tags, crf=True)
    model({"ids": ids})

    @tf.function(jit_compile=True)
    def decode(ids):
        return model.output_layer.decode(model({"ids": ids}), mask=ids != 0)[0]

    ids = tf.constant(ids)
    return lambda: decode(ids).numpy()


def torch_decoding(tags: int, ids) -> Callable[[], object]:
    import torch
    from torch import nn

    torch.manual_seed(0)
    embedding = nn.Embedding(VOCABULARY, DIM, padding_idx=0)
    encoder = nn.LSTM(DIM, UNITS, bidirectional=True, batch_first=True)
    output = nn.Linear(2 * UNITS, tags)
    transitions, start, end = torch.randn(tags, tags), torch.randn(tags), torch.randn(tags)
    ids = torch.tensor(ids, dtype=torch.long)

    @torch.inference_mode()
    def decode():
        real = ids != 0
        packed = nn.utils.rnn.pack_padded_sequence(
            embedding(ids), real.sum(1), batch_first=True, enforce_sorted=False
        )
        h, _ = nn.utils.rnn.pad_packed_sequence(encoder(packed)[0], batch_first=True)
        emissions = output(h)
        scores, parents = start + emissions[:, 0], []
        for t in range(1, ids.shape[1]):
            best, parent = (scores[:, :, None] + transitions).max(1)
            going = real[:, t, None]
            parents.append(torch.where(going, parent, torch.arange(tags)))
            scores = torch.where(going, best + emissions[:, t], scores)
        path = [(scores + end).argmax(1)]
        for parent in reversed(parents):
            path.append(parent.gather(1, path[-1][:, None]).squeeze(1))
        return torch.stack(path[::-1], dim=1).numpy()

    return decode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    for tags, time in SIZES:
        ids, right = sentences(generator, tags, time)
        steps = {crf: training_step(tags, crf, ids, right) for crf in (False, True)}
        seconds = fastest(steps, options.rounds)
        print(
            f"{tags} tags, time {time}: a training step with softmax {1e3 * seconds[False]:.1f} ms, "
            f"with a CRF {1e3 * seconds[True]:.1f} ms, {seconds[True] / seconds[False] - 1:+.1%}",
            flush=True,
        )
        decoders = {"ours": decoding(tags, ids)}
        if has_torch():
            decoders["PyTorch"] = torch_decoding(tags, ids)
        seconds = fastest(decoders, options.rounds)
        rates = ", ".join(f"{name} {BATCH / value:,.0f}" for name, value in seconds.items())
        print(f"{tags} tags, time {time}: sentences tagged a second: {rates}", flush=True)


if __name__ == "__main__":
    main()
