"""Losses and regularisers (SPEC section 6), as pure functions of embeddings.

Where several processes share a run, losses are this process's part of them (Utils/Ranks.py).

`outputs` maps names to pairs (users (U, d), items (I, d)): one entry per modality, and `fused`.
"""
from collections import Counter
from itertools import combinations

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from Utils.Layers import unit_rows
from Utils.NCE import nce, unit_nce, unit_self_nce
from Utils.Ranks import own_rows

FUSED = 'fused'


def rows_of(table, index):
    """table[index] for a matrix and a vector. As an embedding, its gradient is summed in a fixed order."""
    return F.embedding(index, table)


def bpr_loss(users, positives, negatives):
    """sum_b -log sigmoid(<u, pos> - <u, neg>) of embeddings (B, d) (Rendle et al. 2009)."""
    users, positives, negatives = own_rows(users, positives, negatives)
    return -F.logsigmoid((users * (positives - negatives)).sum(1)).sum()


def batch_decay(users, positives, negatives):
    """mean_b (||u||^2 + ||p||^2 + ||n||^2)/2 of rows (B, d)."""
    return sum(own_rows(rows).square().sum() for rows in (users, positives, negatives)) / (2 * len(users))


def embedding_decay(*tables):
    """Sum of the squares of whole embedding tables."""
    return sum(own_rows(table).square().sum() for table in tables)


def cross_modal_loss(views, users, items, temp, chunk=None):
    """C(users; V_a, V_b) + C(items; V_a, V_b) over every pair of modalities; the batch's users and items may repeat.

    A single modality has no pair: the loss is 0.
    """
    loss = next(iter(views.values()))[0].new_zeros(())
    for (users_a, items_a), (users_b, items_b) in combinations(views.values(), 2):
        loss = (loss + nce(rows_of(users_a, users), users_b, temp, users, chunk)
                + nce(rows_of(items_a, items), items_b, temp, items, chunk))
    return loss


def noise_levels(steps):
    """The released levels of the negatives' noise."""
    return tuple(steps // part for part in (10, 8, 4, 2))


def multi_level_loss(outputs, levels, temp, noise, sample=None, chunk=None, noised_fused=False):
    """Fused against each modality's output, and each modality's items against their own noised copies.

    noise: (modality, number of the level) -> standard normal draws (I, d). sample: (users, items), index vectors
    of the rows to take the means over, for an estimate of each mean; None: all rows. Zero levels all compare the
    items with themselves, so they are computed once. noised_fused: the fused items too are compared with noised copies
    of themselves, as MDMNS's figure has it and the release does not.
    """
    some_users, some_items = sample or (None, None)

    def contrast(rows, columns, index):
        return unit_nce(rows if index is None else rows_of(rows, index), columns, temp, index, chunk)

    units = {name: tuple(unit_rows(table) for table in pair) for name, pair in outputs.items()}
    fused_users, fused_items = units[FUSED]
    zero_levels = Counter(levels)[0]
    loss = 0
    for name, (users, items) in units.items():
        if name != FUSED:
            loss = loss + contrast(fused_users, users, some_users) + contrast(fused_items, items, some_items)
        elif not noised_fused:
            continue
        if zero_levels:
            same = (unit_self_nce(items, temp, chunk) if sample is None
                    else contrast(items, items.detach(), some_items))
            loss = loss + zero_levels * same
        for number, level in enumerate(levels):
            if level:
                noised = outputs[name][1].detach() + level * noise(name, number)
                loss = loss + contrast(items, unit_rows(noised), some_items)
    return loss


def reconstruction_errors(predicted, x_0, features, item_embeds):
    """A denoiser's two errors per row: mean_i (x_0 - f)^2 and mean_d (f features - x_0 item_embeds)^2 (section 3).

    predicted: f (B, I), which is overwritten; x_0: a RowBatch; features, item_embeds (I, d), without gradient.
    """
    return _ReconstructionErrors.apply(predicted, x_0.positions, features, x_0.times(features - item_embeds))


class _ReconstructionErrors(torch.autograd.Function):
    """Works in place on the (B, I) predictions, which nothing else needs: f becomes f - x_0, then its gradient.

    f features - x_0 item_embeds = (f - x_0) features + x_0 (features - item_embeds), the last term being `offset`.
    """

    @staticmethod
    def forward(ctx, predicted, positions, features, offset):
        predicted[positions] -= 1
        residual = offset.addmm(predicted, features)
        ctx.difference, ctx.residual, ctx.features = predicted, residual, features
        error = torch.linalg.vector_norm(predicted, dim=1).square() / predicted.shape[1]
        return error, residual.square().mean(1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_error, grad_alignment):
        grad = ctx.difference.mul_((2 / ctx.difference.shape[1] * grad_error)[:, None])
        pulled = ctx.residual * (2 / ctx.residual.shape[1] * grad_alignment)[:, None]
        return grad.addmm_(pulled, ctx.features.T), None, None, None


def guess_error(x_0, guide, weight, bias):
    """mean_i (x_0 - g)^2 of each row, g = (guide weight' + bias)' (section 3), in O((B + I) d^2).

    x_0: a RowBatch (B, I); guide (I, d); weight (B, d), bias (B,). The squares are expanded, and summed over the
    items before they meet the rows: sum_i g^2 needs the guide only through guide'guide and its column sums.
    """
    n_items = len(guide)
    sums = guide.sum(0)
    crossed = (x_0.times(guide) * weight).sum(1) + bias * x_0.counts
    squared = ((weight @ (guide.T @ guide)) * weight).sum(1) + 2 * bias * (weight @ sums) + n_items * bias.square()
    return (x_0.counts - 2 * crossed + squared) / n_items
