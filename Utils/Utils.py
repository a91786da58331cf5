"""Losses and regularisers (SPEC section 6), as pure functions of embeddings.

`outputs` maps names to pairs (users (U, d), items (I, d)): one entry per modality, and `fused`.
"""
from collections import Counter
from itertools import combinations

import torch
import torch.nn.functional as F

FUSED = 'fused'


def rows_of(table, index):
    """table[index] for a matrix and a vector. As an embedding, its gradient is summed in a fixed order."""
    return F.embedding(index, table)


def bpr_loss(users, positives, negatives):
    """sum_b -log sigmoid(<u, pos> - <u, neg>) of embeddings (B, d) (Rendle et al. 2009)."""
    return -F.logsigmoid((users * (positives - negatives)).sum(1)).sum()


def modal_bpr_loss(outputs, users, positives, negatives, batch):
    """BPR summed over the modal outputs, not the fused one, and divided by `batch` however many triples there are."""
    terms = [bpr_loss(rows_of(user_table, users), rows_of(item_table, positives), rows_of(item_table, negatives))
             for name, (user_table, item_table) in outputs.items() if name != FUSED]
    return sum(terms) / batch


def embedding_decay(*tables):
    """Sum of the squares of whole embedding tables."""
    return sum(table.square().sum() for table in tables)


def nce(rows, columns, targets, temp):
    """Mean over n of -s_nt/temp + log sum_j exp(s_nj/temp), s = cosine of rows (n, d) and columns (N, d),
    t = targets[n] the column that row n belongs to."""
    logits = F.normalize(rows) @ F.normalize(columns).T / temp
    return F.cross_entropy(logits, targets)


def cross_modal_loss(views, users, items, temp):
    """C(users; V_a, V_b) + C(items; V_a, V_b) over every pair of modalities; the batch's users and items may repeat."""
    loss = 0
    for (users_a, items_a), (users_b, items_b) in combinations(views.values(), 2):
        loss = (loss + nce(rows_of(users_a, users), users_b, users, temp)
                + nce(rows_of(items_a, items), items_b, items, temp))
    return loss


def noise_levels(steps):
    """The released levels of the negatives' noise."""
    return tuple(steps // part for part in (10, 8, 4, 2))


def multi_level_loss(outputs, levels, temp, noise):
    """Fused against each modality's output, and each modality's items against their own noised copies.

    noise: (modality, number of the level) -> standard normal draws (I, d). Zero levels all compare the items
    with themselves, so they are computed once.
    """
    fused_users, fused_items = outputs[FUSED]
    every_user, every_item = (torch.arange(len(table), device=table.device) for table in outputs[FUSED])
    loss = 0
    for name, (users, items) in outputs.items():
        if name == FUSED:
            continue
        loss = (loss + nce(fused_users, users, every_user, temp) + nce(fused_items, items, every_item, temp))
        zero_levels = Counter(levels)[0]
        if zero_levels:
            loss = loss + zero_levels * nce(items, items.detach(), every_item, temp)
        for number, level in enumerate(levels):
            if level:
                noised = items.detach() + level * noise(name, number)
                loss = loss + nce(items, noised, every_item, temp)
    return loss
