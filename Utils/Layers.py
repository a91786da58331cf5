"""The building blocks of the networks; each draws its weights from the generator it is given."""
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

SHORTEST = 1e-12  # length of a row below which it is not scaled up to 1


class Linear(nn.Module):
    """x W' + b with freshly drawn weights; `std` None: uniform in +-1/sqrt(fan_in), as torch.nn.Linear draws."""

    def __init__(self, n_in, n_out, generator, std=None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in, device=generator.device))
        self.bias = nn.Parameter(torch.empty(n_out, device=generator.device))
        for tensor, spread in ((self.weight, std), (self.bias, 0.001)):
            if std is None:
                nn.init.uniform_(tensor, -1 / math.sqrt(n_in), 1 / math.sqrt(n_in), generator=generator)
            else:
                nn.init.normal_(tensor, std=spread, generator=generator)

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


class MatrixProjection(nn.Module):
    """F_m = LeakyReLU_0.2(X_m W_m), Xavier uniform W_m (section 5, `trans` 0)."""

    def __init__(self, n_in, n_out, generator):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out, device=generator.device))
        nn.init.xavier_uniform_(self.weight, generator=generator)

    def forward(self, features):
        return F.leaky_relu(features @ self.weight, 0.2)


def degree_scale(sums):
    """(1 + sums)^-1/2 of a vector as a column, 1 + sums being at least 1e-8: what scales a graph's rows, a loop to
    each."""
    return (1 + sums).clamp(min=1e-8).rsqrt()[:, None]


def unit_rows(table):
    """norm(.) of SPEC: rows (N, d) scaled to unit length, those shorter than 1e-12 divided by that.

    What `torch.nn.functional.normalize` computes, with a backward pass of two steps over the table in place of ten.
    """
    return _UnitRows.apply(table)


class _UnitRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table):
        lengths = torch.linalg.vector_norm(table, dim=1, keepdim=True).clamp_(min=SHORTEST)
        unit = table / lengths
        ctx.save_for_backward(unit, lengths)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        unit, lengths = ctx.saved_tensors
        along = torch.einsum('nd,nd->n', grad, unit)[:, None]  # which a change of length alone would not alter
        return torch.addcmul(grad, unit, along * (lengths > SHORTEST), value=-1).div_(lengths)


def timestep_embedding(timesteps, size, dtype=torch.float32):
    """[cos(t w_k), sin(t w_k)], w_k = exp(-ln(10000) k/(size//2)), zero-padded when odd: (B,) -> (B, size)."""
    half = size // 2
    frequencies = torch.exp(-math.log(10000) / half * torch.arange(half, dtype=dtype, device=timesteps.device))
    angles = timesteps[:, None] * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], 1), (0, size % 2))


def random_bits(shape, generator):
    """True or false with equal chance (by one random byte each: far cheaper on a CPU than `bernoulli_`)."""
    n = math.prod(shape)
    words = torch.empty(-(-n // 8), dtype=torch.int64, device=generator.device).random_(-2**63, None,
                                                                                        generator=generator)
    return (words.view(torch.uint8)[:n] < 128).view(shape)
