"""A classifier, a tagger and a translator in PyTorch, as one writes them there; the sizes are those of `our_training`.

Imports PyTorch and nothing else of this package but the ids of the texts.
"""

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from benchmarks.texts import END, PADDING, START


def pack(x: torch.Tensor, real: torch.Tensor):
    """The real steps alone, which a recurrent layer then runs on."""
    return pack_padded_sequence(x, real.sum(1).cpu(), batch_first=True, enforce_sorted=False)


def unpack(h: PackedSequence, time: int):
    """[batch, time, features]."""
    return pad_packed_sequence(h, batch_first=True, total_length=time)[0]


class SharedDropout(nn.Module):
    """Drops the same features at every step."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x):
        if not self.training:
            return x
        kept = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.share
        return x * kept / (1 - self.share)


class Classifier(nn.Module):
    """A bidirectional LSTM, pooled by attention."""

    def __init__(
        self, rows: int, labels: int, dim: int = 300, units: int = 128, sparse: bool = False
    ):
        super().__init__()
        self.embedding = nn.Embedding(rows, dim, padding_idx=PADDING, sparse=sparse)
        self.dropout, self.last_dropout = SharedDropout(0.5), nn.Dropout(0.5)
        self.encoder = nn.LSTM(dim, units, batch_first=True, bidirectional=True)
        self.hidden, self.score = nn.Linear(2 * units, 64), nn.Linear(64, 1, bias=False)
        self.output = nn.Linear(2 * units, labels)

    def forward(self, ids: torch.Tensor):
        real = ids != 0
        h = self.encoder(pack(self.dropout(self.embedding(ids)), real))[0]
        h = unpack(h, ids.shape[1])
        scores = self.score(torch.tanh(self.hidden(h))).masked_fill(~real[:, :, None], -1e30)
        pooled = (torch.softmax(scores, 1) * h).sum(1)
        return self.output(self.last_dropout(pooled))

    def loss(self, ids, labels):
        return nn.functional.cross_entropy(self(ids), labels[:, 0])


class Tagger(nn.Module):
    """A bidirectional LSTM under a conditional random field, or a softmax."""

    def __init__(
        self,
        rows: int,
        tags: int,
        dim: int = 100,
        units: int = 128,
        crf: bool = True,
        sparse: bool = False,
    ):
        super().__init__()
        self.embedding = nn.Embedding(rows, dim, padding_idx=PADDING, sparse=sparse)
        self.dropout, self.last_dropout = SharedDropout(0.5), SharedDropout(0.5)
        self.encoder = nn.LSTM(dim, units, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * units, tags)
        self.crf = crf
        if crf:
            self.transitions = nn.Parameter(torch.randn(tags, tags) * 0.1)
            self.start, self.end = nn.Parameter(torch.zeros(tags)), nn.Parameter(torch.zeros(tags))

    def forward(self, ids: torch.Tensor):
        real = ids != 0
        h = self.encoder(pack(self.dropout(self.embedding(ids)), real))[0]
        h = unpack(h, ids.shape[1])
        return self.output(self.last_dropout(h))

    def loss(self, ids, tags):
        emissions, real = self(ids), ids != 0
        if not self.crf:
            return nn.functional.cross_entropy(emissions[real], tags[real])
        rows = torch.arange(len(ids), device=ids.device)
        score = (emissions.gather(2, tags[:, :, None]).squeeze(2) * real).sum(1)
        score = score + (self.transitions[tags[:, :-1], tags[:, 1:]] * real[:, 1:]).sum(1)
        score = score + self.start[tags[:, 0]] + self.end[tags[rows, real.sum(1) - 1]]
        scores = self.start + emissions[:, 0]
        for emission, going in zip(emissions.unbind(1)[1:], real.unbind(1)[1:]):
            new = torch.logsumexp(scores[:, :, None] + self.transitions, 1) + emission
            scores = torch.where(going[:, None], new, scores)
        return (torch.logsumexp(scores + self.end, 1) - score).sum() / real.sum()

    @torch.jit.export
    def decode(self, ids: torch.Tensor):
        """The best tags [batch, time] of a field: Viterbi."""
        emissions, real = self(ids), ids != 0
        scores = self.start + emissions[:, 0]
        stay = torch.arange(scores.shape[1], device=ids.device)
        parents: list[torch.Tensor] = []
        for t in range(1, ids.shape[1]):
            best, parent = (scores[:, :, None] + self.transitions).max(1)
            going = real[:, t, None]
            parents.append(torch.where(going, parent, stay))
            scores = torch.where(going, best + emissions[:, t], scores)
        path = [(scores + self.end).argmax(1)]
        for number in range(len(parents)):
            parent = parents[len(parents) - 1 - number]
            path.append(parent.gather(1, path[-1][:, None]).squeeze(1))
        return torch.stack(path, 1).flip(1)


class Translator(nn.Module):
    """A bidirectional GRU, and a GRU that attends to it; the target's embeddings are the output's weights."""

    def __init__(self, rows: int, target_rows: int, size: int = 256, sparse: bool = False):
        super().__init__()
        self.source_embedding = nn.Embedding(rows, size, padding_idx=PADDING, sparse=sparse)
        self.target_embedding = nn.Embedding(target_rows, size)
        nn.init.normal_(self.target_embedding.weight, std=size**-0.5)
        self.dropouts = nn.ModuleList([SharedDropout(0.4), SharedDropout(0.4), nn.Dropout(0.4)])
        self.encoder = nn.GRU(size, size, bidirectional=True, batch_first=True)
        self.bridge = nn.Linear(2 * size, size)
        self.query, self.key = (nn.Linear(n * size, size, bias=False) for n in (1, 2))
        self.score = nn.Linear(size, 1, bias=False)
        self.cell = nn.GRUCell(3 * size, size)
        self.readout = nn.Linear(4 * size, size)
        self.output_bias = nn.Parameter(torch.zeros(target_rows))
        self.start, self.end = START, END

    def read(self, ids):
        real = ids != 0
        x = self.dropouts[0](self.source_embedding(ids))
        rows, last = self.encoder(pack(x, real))
        h = unpack(rows, ids.shape[1])
        state = torch.tanh(self.bridge(torch.cat([last[0], last[1]], dim=-1)))
        return h, self.key(h), real, state

    def step(self, y, state, h, keys, real):
        scores = self.score(torch.tanh(self.query(state)[:, None] + keys)).squeeze(-1)
        alpha = torch.softmax(scores.masked_fill(~real, -1e30), dim=-1)
        context = torch.bmm(alpha[:, None], h).squeeze(1)
        return self.cell(torch.cat([y, context], dim=-1), state), context

    def logits(self, x):
        r = self.dropouts[2](torch.tanh(self.readout(x)))
        return r @ self.target_embedding.weight.T + self.output_bias

    def loss(self, ids, target):
        h, keys, real, state = self.read(ids)
        previous = torch.cat([torch.full_like(target[:, :1], START), target[:, :-1]], dim=1)
        y = self.dropouts[1](self.target_embedding(previous))
        outputs = []
        for part in y.unbind(1):
            state, context = self.step(part, state, h, keys, real)
            outputs.append(torch.cat([state, context, part], dim=-1))
        # The words alone, without the padding, go through the large product.
        there = target != PADDING
        logits = self.logits(torch.stack(outputs, dim=1)[there])
        return nn.functional.cross_entropy(logits, target[there])

    @torch.jit.export
    def search(self, ids: torch.Tensor, beam: int, longest: int):
        """The best `longest` tokens at most of each row, [batch, time]: a beam search over all rows at once."""
        h, keys, real, state = self.read(ids)
        batch, vocabulary = ids.shape[0], self.output_bias.shape[0]
        h, keys = h.repeat_interleave(beam, dim=0), keys.repeat_interleave(beam, dim=0)
        real, state = real.repeat_interleave(beam, dim=0), state.repeat_interleave(beam, dim=0)
        rows = torch.arange(batch, device=ids.device)[:, None] * beam
        tokens = torch.full([batch * beam, 1], self.start, device=ids.device)
        totals = torch.full([batch, beam], -1e9, device=ids.device)
        totals[:, 0] = 0.0
        done = torch.zeros([batch, beam], dtype=torch.bool, device=ids.device)
        # A finished one goes on with padding alone, at no cost.
        finished = torch.full([vocabulary], -1e9, device=ids.device)
        finished[0] = 0.0
        for _ in range(longest):
            y = self.target_embedding(tokens[:, -1])
            state, context = self.step(y, state, h, keys, real)
            scores = self.logits(torch.cat([state, context, y], dim=-1)).log_softmax(-1)
            scores = scores.view(batch, beam, vocabulary)
            scores[:, :, 0] = -1e9
            scores = torch.where(done[:, :, None], finished, scores)
            totals, place = (totals[:, :, None] + scores).view(batch, -1).topk(beam)
            parent, token = place // vocabulary, place % vocabulary
            moved = (rows + parent).flatten()
            state = state[moved]
            tokens = torch.cat([tokens[moved], token.view(-1, 1)], dim=1)
            done = done.gather(1, parent) | (token == self.end)
            if bool(done.all()):
                break
        return tokens.view(batch, beam, -1)[:, 0, 1:]
