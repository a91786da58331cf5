"""The building blocks of the networks; each draws its weights from the generator it is given."""
import math

import torch
import torch.nn.functional as F
from torch import nn


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
