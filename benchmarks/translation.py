"""Time of translation: training steps and beam search, against stock Keras, and PyTorch where it is installed.

    python -m benchmarks.translation [--rounds=10] [--beam=5]

The model is that of `--task=translation` by default: one vocabulary of 8,000 whose embeddings are the output's weights,
a bidirectional GRU, a GRU decoder with additive attention, all 256 wide. A training step is forward, backward and
Adam on 64 pairs of sentences with the lengths of captions. Stock Keras has no attending cell: its contestant runs the
same cell in `keras.layers.RNN`, between Keras's own layers, with and without XLA. The search translates 64 sentences
by 20 tokens each with random weights, which hardly ever end by themselves; PyTorch's is a batched beam search over
tensors, as one writes it there.

The contestants take turns, and the fastest round of each counts.
"""

import argparse
from collections.abc import Callable

import numpy as np

import keras_rnn
from benchmarks.turns import fastest, has_torch

# isort: split
import keras
import tensorflow as tf

VOCABULARY, SIZE, BATCH, TIME, LONGEST = 8000, 256, 64, 16, 20
START, END = 2, 3


def sentences(generator: np.random.Generator) -> np.ndarray:
    """Token ids [batch, time] with their ends, of 9 to 16 tokens."""
    ids = generator.integers(4, VOCABULARY, size=[BATCH, TIME], dtype=np.int32)
    lengths = generator.integers(9, TIME + 1, size=[BATCH, 1])
    ids[np.arange(TIME) >= lengths] = 0
    ids[np.arange(TIME) == lengths - 1] = END
    return ids


def keras_loss(logits: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=logits)
    real = tf.cast(target != 0, tf.float32)
    return tf.reduce_sum(losses * real) / tf.reduce_sum(real)


def keras_step(model: keras.Model, source, target, jit_compile: bool) -> Callable[[], object]:
    """A compiled step of a Keras model with Adam."""
    features = {"ids": tf.constant(source), "target": tf.constant(target)}
    model(features)
    optimizer = keras.optimizers.Adam(1e-4, global_clipnorm=1.0)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=jit_compile)
    def step(features):
        with tf.GradientTape() as tape:
            loss = keras_loss(model(features, training=True), features["target"])
        variables = [variable.value for variable in model.trainable_variables]
        gradients = tape.gradient(loss, variables)
        optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients])
        return loss

    return lambda: step(features).numpy()


def ours() -> keras_rnn.EncoderDecoder:
    return keras_rnn.EncoderDecoder(
        {
            "vocabulary_size": VOCABULARY,
            "embedding_dim": SIZE,
            "stack": {"units": SIZE, "cell": "gru", "bidirectional": True},
        },
        vocabulary_size=VOCABULARY,
        embedding_dim=SIZE,
        units=SIZE,
        attention_units=SIZE,
        tie="all",
    )


class Stock(keras.Model):
    """The same model from Keras's layers."""

    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(VOCABULARY, SIZE)
        self.encoder = keras.layers.Bidirectional(
            keras.layers.GRU(SIZE, return_sequences=True, return_state=True)
        )
        self.bridge = keras.layers.Dense(SIZE, activation="tanh")
        attention = keras_rnn.BahdanauAttention(SIZE)
        cell = keras_rnn.AttentionCell(keras_rnn.GRUCell(SIZE), attention, memory_size=2 * SIZE)
        self.decoder = keras.layers.RNN(cell, return_sequences=True)
        self.readout = keras.layers.Dense(SIZE, activation="tanh")
        self.output_bias = self.add_weight(shape=(VOCABULARY,), name="output_bias")

    def call(self, features, training=False):
        real = features["ids"] != 0
        h, *last = self.encoder(self.embedding(features["ids"]), mask=real)
        state = self.bridge(tf.concat(last, axis=-1))
        previous = tf.pad(features["target"][:, :-1], [[0, 0], [1, 0]], constant_values=START)
        y = self.embedding(previous)
        s = self.decoder(y, initial_state=[state, h, tf.cast(real, h.dtype)])
        # What `keras.layers.RNN` gives of a step is the state: the context is not to be had again.
        r = self.readout(tf.concat([s, y], axis=-1))
        kernel = tf.transpose(self.embedding.embeddings.value)
        logits = tf.matmul(tf.reshape(r, [-1, SIZE]), kernel) + self.output_bias.value
        return tf.reshape(logits, [*r.shape[:2], VOCABULARY])


def keras_search(model, source, beam: int, jit_compile: bool) -> Callable[[], object]:
    ids = tf.constant(source)

    @tf.function(jit_compile=jit_compile)
    def search(ids):
        return keras_rnn.beam_search(model, {"ids": ids}, LONGEST, beam=beam).tokens

    return lambda: search(ids).numpy()


def torch_model():
    import torch
    from torch import nn

    class Translator(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, SIZE, padding_idx=0)
            self.encoder = nn.GRU(SIZE, SIZE, bidirectional=True, batch_first=True)
            self.bridge = nn.Linear(2 * SIZE, SIZE)
            self.query = nn.Linear(SIZE, SIZE, bias=False)
            self.key = nn.Linear(2 * SIZE, SIZE, bias=False)
            self.score = nn.Linear(SIZE, 1, bias=False)
            self.cell = nn.GRUCell(3 * SIZE, SIZE)
            self.readout = nn.Linear(4 * SIZE, SIZE)
            self.output_bias = nn.Parameter(torch.zeros(VOCABULARY))

        def read(self, source):
            lengths = (source != 0).sum(1)
            packed = nn.utils.rnn.pack_padded_sequence(
                self.embedding(source), lengths, batch_first=True, enforce_sorted=False
            )
            h, last = self.encoder(packed)
            h, _ = nn.utils.rnn.pad_packed_sequence(h, batch_first=True)
            state = torch.tanh(self.bridge(torch.cat([last[0], last[1]], dim=-1)))
            return h, self.key(h), source[:, : h.shape[1]] != 0, state

        def step(self, y, state, h, keys, real):
            scores = self.score(torch.tanh(self.query(state)[:, None] + keys)).squeeze(-1)
            alpha = torch.softmax(scores.masked_fill(~real, -1e30), dim=-1)
            context = torch.bmm(alpha[:, None], h).squeeze(1)
            return self.cell(torch.cat([y, context], dim=-1), state), context

        def logits(self, x):
            r = torch.tanh(self.readout(x))
            return r @ self.embedding.weight.T + self.output_bias

        def forward(self, source, target):
            h, keys, real, state = self.read(source)
            previous = torch.cat([torch.full_like(target[:, :1], START), target[:, :-1]], dim=1)
            y = self.embedding(previous)
            outputs = []
            for t in range(target.shape[1]):
                state, context = self.step(y[:, t], state, h, keys, real)
                outputs.append(torch.cat([state, context, y[:, t]], dim=-1))
            return self.logits(torch.stack(outputs, dim=1))

    torch.manual_seed(0)
    return Translator()


def torch_step(source, target) -> Callable[[], object]:
    import torch

    model = torch_model()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    source, target = torch.tensor(source, dtype=torch.long), torch.tensor(target, dtype=torch.long)
    loss_of = torch.nn.CrossEntropyLoss(ignore_index=0)

    def step():
        optimizer.zero_grad()
        loss = loss_of(model(source, target).flatten(0, 1), target.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def torch_search(source, beam: int) -> Callable[[], object]:
    import torch

    model = torch_model().eval()
    source = torch.tensor(source, dtype=torch.long)

    @torch.inference_mode()
    def search():
        h, keys, real, state = model.read(source)
        batch = len(source)
        h, keys, real, state = (x.repeat_interleave(beam, dim=0) for x in (h, keys, real, state))
        rows = torch.arange(batch)[:, None] * beam
        tokens = torch.full((batch * beam, 1), START)
        totals = torch.full((batch, beam), -1e9)
        totals[:, 0] = 0
        done = torch.zeros(batch, beam, dtype=torch.bool)
        for _ in range(LONGEST):
            y = model.embedding(tokens[:, -1])
            state, context = model.step(y, state, h, keys, real)
            scores = model.logits(torch.cat([state, context, y], dim=-1)).log_softmax(-1)
            scores = scores.view(batch, beam, -1)
            # A finished one goes on with padding alone, at no cost.
            scores[done] = -1e9
            scores[..., 0] = torch.where(done, 0.0, -1e9)
            totals, place = (totals[..., None] + scores).view(batch, -1).topk(beam)
            parent, token = place // VOCABULARY, place % VOCABULARY
            moved = (rows + parent).flatten()
            state = state[moved]
            tokens = torch.cat([tokens[moved], token.view(-1, 1)], dim=1)
            done = done.gather(1, parent) | (token == END)
            if done.all():
                break
        return tokens.numpy()

    return search


def report(what: str, seconds: dict[str, float], amount: int, unit: str) -> None:
    rates = ", ".join(f"{name} {amount / value:,.0f}" for name, value in seconds.items())
    stock = [value for name, value in seconds.items() if name.startswith("Keras")]
    ratios = []
    if stock:
        ratios.append(f"{seconds['ours'] / min(stock):.2f} of Keras's time")
    if "PyTorch" in seconds:
        ratios.append(f"{seconds['ours'] / seconds['PyTorch']:.2f} of PyTorch's")
    print(f"{what}, {unit} a second: {rates}; ours takes {' and '.join(ratios)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--beam", type=int, default=5)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    source, target = sentences(generator), sentences(generator)
    steps = {
        "ours": keras_step(ours(), source, target, jit_compile=True),
        "Keras": keras_step(Stock(), source, target, jit_compile=False),
        "Keras XLA": keras_step(Stock(), source, target, jit_compile=True),
    }
    model = ours()
    model({"ids": source, "target": target})
    searches = {
        "ours": keras_search(model, source, options.beam, jit_compile=True),
        "ours, no XLA": keras_search(model, source, options.beam, jit_compile=False),
    }
    if has_torch():
        steps["PyTorch"] = torch_step(source, target)
        searches["PyTorch"] = torch_search(source, options.beam)
    tokens = int(np.count_nonzero(source) + np.count_nonzero(target))
    report("training", fastest(steps, options.rounds), tokens, "source and target tokens")
    report(f"beam {options.beam}", fastest(searches, options.rounds), BATCH, "sentences")


if __name__ == "__main__":
    main()
