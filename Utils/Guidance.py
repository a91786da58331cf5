"""What a denoiser is told beside its noised row (--guidance learned, profile), by weights that are trained with it.

Shapes: U users, I items, B rows in a batch, d = latdim, h = guide_fused_hidden_dim, w = width of the first layer.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from Utils.Layers import Linear, degree_scale


@dataclass(frozen=True)
class Told:
    """Of the users of a batch: their profiles (B, d), the mean of their items' features, and scale (B, 1) =
    (1 + interactions)^-1/2."""

    profile: torch.Tensor
    scale: torch.Tensor


@dataclass(frozen=True)
class ToldItems:
    """Of all items: guide (I, d), the other modalities' features, and scale (I, 1) = (1 + interactions)^-1/2."""

    guide: torch.Tensor
    scale: torch.Tensor


def profiles(x_0, features, kept=None):
    """Mean of the features (I, d) of each user's items: (B, d). x_0: RowBatch; kept: (B, I), true where an item counts,
    so that a row that is partly hidden from the denoiser is not told of whole."""
    shares = 1 / x_0.counts[x_0.rows].to(features.dtype)
    if kept is not None:
        some = kept[x_0.positions].to(features.dtype)
        counts = some.new_zeros(len(x_0.counts)).index_add_(0, x_0.rows, some)
        shares = some / counts[x_0.rows].clamp(min=1)
    return F.embedding_bag(x_0.items, features, x_0.counts.cumsum(0) - x_0.counts, mode='sum',
                           per_sample_weights=shares)


def told_of(x_0, features, kept=None):
    """Told of the users of a RowBatch; features (I, d), kept: as `profiles` has them."""
    return Told(profiles(x_0, features, kept), degree_scale(x_0.counts.to(features.dtype)))


class Guidance(nn.Module):
    """Adds to the first layer's input x W (B, w), W (I, w) its weights of the items:

        profile   p A' + a,  p the users' profiles
        learned   C_u(scale (p A' + a + x V)) (C_i(item_scale V))' W,  V = guide B' + b

    The latter is the fusion of SPEC section 3 as a row (B, I) beside the noised one, with what that draws at random
    trained: nodes of users from their profiles, nodes V (I, h) of items from the other modalities, one convolution
    each over the noised row x and over the training graph's degrees, and the products of both. Its guess g, whose loss
    reaches no denoiser, is left out. The layers C_u and, for
    `profile`, A begin at zero, so that training begins where the denoiser sees its row alone. Nothing depends on the
    other rows of the batch, and x comes in by x V alone, so that it can be sampled with (Utils/FastSampling.py). What
    it costs beside the denoiser is 2 h/w of its products.
    """

    def __init__(self, latdim, hidden, width, fused, generator):
        super().__init__()
        self.fused = fused
        self.users = Linear(latdim, hidden if fused else width, generator)
        if fused:
            self.items = Linear(latdim, hidden, generator)
            self.user_convolution, self.item_convolution = (Linear(hidden, hidden, generator) for _ in range(2))
        for parameter in (self.user_convolution if fused else self.users).parameters():
            nn.init.zeros_(parameter)

    def item_nodes(self, items):
        """V (I, h) of ToldItems; None where `profile` has none."""
        return self.items(items.guide) if self.fused else None

    def item_inputs(self, items, nodes, weights):
        """(C_i(item_scale V))' W (h, w); None where `profile` has none."""
        return self.item_convolution(items.scale * nodes).T @ weights if self.fused else None

    def forward(self, told, seen=None, inputs=None):
        """What is added (B, w). seen: x V (B, h); inputs: `item_inputs`."""
        users = self.users(told.profile)
        return self.user_convolution(told.scale * (users + seen)) @ inputs if self.fused else users
