"""Recurrent layers in PyTorch: its own, cells in a loop over time, and the floor, the matrix products alone.

Imports PyTorch and NumPy and nothing else of this package but the sizes.
"""

import functools
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.shapes import Problem
from benchmarks.torch_device import DEVICE, finish


def layer(**sizes) -> Callable[[], None]:
    """nn.LSTM or nn.GRU; masked rows are packed."""
    problem = Problem(**sizes)
    torch.manual_seed(problem.seed)
    kind = {"lstm": nn.LSTM, "gru": nn.GRU}[problem.cell.split()[-1]]
    module = kind(
        problem.features, problem.units, batch_first=True, bidirectional=problem.bidirectional
    ).to(DEVICE)
    module.train(problem.training)
    lengths = torch.tensor(problem.lengths())  # on the CPU, where packing wants them

    def forward(x):
        if not problem.masked:
            return module(x)[0]
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        return nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True)[0]

    return _run(forward, [*module.parameters()], problem)


def loop(compiled: bool, **sizes) -> Callable[[], None]:
    """A cell of `TORCH_CELLS` in a loop over time, as one writes it there."""
    problem = Problem(**sizes)
    torch.manual_seed(problem.seed)
    module = TORCH_CELLS[problem.cell](problem.features, problem.units).to(DEVICE)
    module.train(problem.training)
    step = torch.compile(module.step) if compiled else module.step

    def forward(x):
        projected = module.project(x).unbind(1)
        states = [x.new_zeros(problem.batch, problem.units) for _ in range(module.states)]
        outputs = []
        for part in projected:
            states = step(part, *states)
            outputs.append(states[0])
        return torch.stack(outputs, dim=1)

    return _run(forward, [*module.parameters()], problem)


def _run(forward, parameters, problem: Problem) -> Callable[[], None]:
    x = torch.tensor(problem.inputs(), device=DEVICE, requires_grad=problem.training)

    def train() -> None:
        torch.autograd.grad((forward(x) ** 2).mean(), [x, *parameters])
        finish()

    @torch.inference_mode()
    def infer() -> None:
        forward(x)
        finish()

    return train if problem.training else infer


# What follows each other in a step: (rows of the weight, columns) in units.
PRODUCTS = {
    "lstm": [(1, 4)],
    "lecture lstm": [(1, 4)],
    "gru": [(1, 3)],
    "lecture gru": [(1, 2), (1, 1)],
}


def floor(**sizes) -> Callable[[], None]:
    """The matrix products that the layer cannot do without, and nothing between them.

    Those of the inputs and of the weights' gradients are one product over all time steps; the recurrent ones wait for
    each other.
    """
    problem = Problem(**sizes)
    randn, empty = (functools.partial(f, device=DEVICE) for f in (torch.randn, torch.empty))
    batch, time, features, units = problem.batch, problem.time, problem.features, problem.units
    products = PRODUCTS[problem.cell]
    wide = sum(columns for _, columns in products) * units
    x = randn(time * batch, features)
    kernel = randn(features, wide)
    recurrent = [randn(units, columns * units) * 0.01 for _, columns in products]
    projected = empty(time * batch, wide)
    d_x, d_kernel = torch.empty_like(x), torch.empty_like(kernel)
    parts = [empty(batch, columns * units) for _, columns in products]
    h, d_h = randn(batch, units), empty(batch, units)
    states = randn(time * batch, units)
    stacked = [randn(time * batch, columns * units) for _, columns in products]
    d_recurrent = [torch.empty_like(weight) for weight in recurrent]

    @torch.inference_mode()
    def run() -> None:
        for _ in range(1 + problem.bidirectional):
            torch.mm(x, kernel, out=projected)
            for _ in range(time):
                for weight, part in zip(recurrent, parts):
                    torch.mm(h, weight, out=part)
            if not problem.training:
                continue
            for _ in range(time):
                for weight, part in zip(recurrent, parts):
                    torch.mm(part, weight.t(), out=d_h)
            for gradient, rows in zip(d_recurrent, stacked):
                torch.mm(states.t(), rows, out=gradient)
            torch.mm(x.t(), projected, out=d_kernel)
            torch.mm(projected, kernel.t(), out=d_x)
        finish()

    return run


class Cell(nn.Module):
    """What the cells share: their two products, and how many blocks and states there are."""

    blocks, states = 4, 2

    def __init__(self, features: int, units: int):
        super().__init__()
        self.kernel = nn.Linear(features, self.blocks * units)
        self.recurrent = nn.Linear(units, self.blocks * units, bias=False)

    def project(self, x):
        return self.kernel(x)


class LayerNormLSTM(Cell):
    def __init__(self, features: int, units: int):
        super().__init__(features, units)
        self.norm_x, self.norm_h = nn.LayerNorm(4 * units), nn.LayerNorm(4 * units)
        self.norm_c = nn.LayerNorm(units)

    def project(self, x):
        return self.norm_x(self.kernel(x))

    def step(self, x, h, c):
        i, f, o, g = (x + self.norm_h(self.recurrent(h))).chunk(4, dim=1)
        c = self.norm_c(torch.sigmoid(i) * torch.tanh(g) + torch.sigmoid(f) * c)
        return torch.sigmoid(o) * torch.tanh(c), c


class PeepholeLSTM(Cell):
    def __init__(self, features: int, units: int):
        super().__init__(features, units)
        self.peepholes = nn.Parameter(torch.randn(3, units) * 0.1)

    def step(self, x, h, c):
        i, f, o, g = (x + self.recurrent(h)).chunk(4, dim=1)
        i = torch.sigmoid(i + self.peepholes[0] * c)
        f = torch.sigmoid(f + self.peepholes[1] * c)
        c = i * torch.tanh(g) + f * c
        o = torch.sigmoid(o + self.peepholes[2] * c)
        return o * torch.tanh(c), c


class NAS(Cell):
    blocks = 8

    def step(self, x, h, c):
        m, n = x.chunk(8, dim=1), self.recurrent(h).chunk(8, dim=1)
        p = torch.tanh(torch.sigmoid(m[0] + n[0]) * torch.relu(m[1] + n[1]))
        q = torch.tanh(torch.sigmoid(m[2] + n[2]) + torch.relu(m[3] * n[3]))
        r = torch.tanh(torch.tanh(m[4] + n[4]) * torch.sigmoid(m[5] + n[5]))
        s = torch.sigmoid(torch.tanh(m[6] + n[6]) + torch.sigmoid(m[7] + n[7]))
        c = torch.tanh(p + c) * q
        return torch.tanh(c * torch.tanh(r + s)), c


class Leaky(Cell):
    """The ten lines of `benchmarks/leaky_cell.py`."""

    blocks, states = 1, 1

    def __init__(self, features: int, units: int):
        super().__init__(features, units)
        self.leak = nn.Parameter(torch.zeros(units))

    def step(self, x, h):
        leak = torch.sigmoid(self.leak)
        return (leak * h + (1 - leak) * torch.tanh(x + self.recurrent(h)),)


TORCH_CELLS = {
    "layer norm lstm": LayerNormLSTM,
    "peephole lstm": PeepholeLSTM,
    "nas": NAS,
    "LeakyCell": Leaky,
}
