"""The model as SPEC states it and the release computes it: whole matrices, plain loops, a few lines each.

Nothing here is used in training. The tests hold every fast form against these in float64; the benchmark measures both.
"""
import math

import torch
import torch.nn.functional as F

from Utils.Utils import FUSED, bpr_loss, rows_of


def unit(x):
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)


def adjacency(dense):
    """N(S) of a 0/1 matrix (U, I), dense (section 1)."""
    n_users, n_items = dense.shape
    a = torch.eye(n_users + n_items, dtype=dense.dtype)
    a[:n_users, n_users:] += dense
    a[n_users:, :n_users] += dense.T
    scale = a.sum(1) ** -0.5
    return scale[:, None] * a * scale


def schedule(steps, noise_scale, noise_min, noise_max):
    """betas and cumulated alphas, by the loops of the definition (section 3)."""
    low, high = noise_scale * noise_min, noise_scale * noise_max
    v = [low + (high - low) * t / max(steps - 1, 1) for t in range(steps)]
    betas = [1e-4] + [min(1 - (1 - v[t]) / (1 - v[t - 1]), 0.999) for t in range(1, steps)]
    abar = [math.prod(1 - beta for beta in betas[:t + 1]) for t in range(steps)]
    return betas, abar


def denoiser(weights, x, timesteps, norm=False, dropout_mask=None):
    """f(x, t) from a Denoiser's state, with the two inputs joined (section 3). dropout_mask: zeros and 1/(1 - p)."""
    size = weights['time.weight'].shape[0]
    embedding = torch.zeros(len(x), size, dtype=x.dtype, device=x.device)
    for k in range(size // 2):
        w = math.exp(-math.log(10000) * k / (size // 2))
        embedding[:, k] = torch.cos(timesteps * w)
        embedding[:, size // 2 + k] = torch.sin(timesteps * w)
    time = embedding @ weights['time.weight'].T + weights['time.bias']
    x = unit(x) if norm else x
    x = x if dropout_mask is None else x * dropout_mask
    hidden = torch.tanh(torch.cat([x, time], 1) @ torch.cat([weights['first_items'], weights['first_time.weight'].T])
                        + weights['first_time.bias'])
    number = 0
    while f'hidden.{number}.weight' in weights:
        hidden = torch.tanh(hidden @ weights[f'hidden.{number}.weight'].T + weights[f'hidden.{number}.bias'])
        number += 1
    return hidden @ weights['last.weight'].T + weights['last.bias']


def fused(x_t, guide, users, item_layer, convolution):
    """The guidance with its (B + I)^2 matrices multiplied as such; layers are pairs (weight, bias) (section 3)."""
    n = len(x_t)
    a = torch.eye(n + x_t.shape[1], dtype=x_t.dtype, device=x_t.device)
    a[:n, n:] += x_t
    a[n:, :n] += x_t.T
    scale = torch.diag(a.sum(1).clamp(min=1e-8) ** -0.5)
    nodes = torch.cat([users, F.linear(guide, *item_layer)])
    out = F.linear(scale @ a @ scale @ nodes, *convolution)
    return out[:n] @ out[n:].T


def recommender(train_adj, modal_adj, user_embeds, item_embeds, projected, weight, gnn_layer, ris_lambda,
                ris_adj_lambda):
    """All outputs (U + I, d) by name, `fused` among them, and the contrast views (sections 5 and 6).

    The graphs are whole matrices over users and items, dense or sparse; every product stands where SPEC has it.
    """
    n_users = len(user_embeds)
    embeds = torch.cat([user_embeds, item_embeds])

    def hidden(table, graph):
        h = train_adj @ torch.cat([user_embeds, unit(table)])
        h = h + train_adj @ torch.cat([h[:n_users], item_embeds])
        return h + ris_adj_lambda * (graph @ embeds)

    def layers(nodes):
        total = nodes
        for _ in range(gnn_layer):
            nodes = train_adj @ nodes
            total = total + nodes
        return total

    tables = {name: hidden(table, modal_adj[name]) for name, table in projected.items()}
    mixed = sum(w * h for w, h in zip(torch.softmax(weight, 0), tables.values(), strict=True))
    tables['fused'] = hidden(mixed[n_users:], train_adj)
    outputs = {name: layers(h) + ris_lambda * unit(h) for name, h in tables.items()}
    views = {name: layers(modal_adj[name] @ torch.cat([user_embeds, unit(table)])) for name, table in projected.items()}
    return outputs, views


def nce(rows, columns, temp, targets):
    """The contrast with its matrix of similarities (section 6)."""
    similarities = F.normalize(rows) @ F.normalize(columns).T / temp
    return (torch.logsumexp(similarities, 1) - similarities[torch.arange(len(rows)), targets]).mean()


def negatives(interactions, n_items, rng):
    """One item per (user, item) pair of the list, drawn again while it is a training item of the user (section 4)."""
    taken = set(interactions)
    drawn = []
    for user, _ in interactions:
        item = int(rng.integers(n_items))
        while (user, item) in taken:
            item = int(rng.integers(n_items))
        drawn.append(item)
    return drawn


def ranked_metrics(ranking, relevant, k):
    """Recall, NDCG and precision of one user's ranked items, by counting (section 7)."""
    gains = [1 / math.log2(rank + 2) for rank, item in enumerate(ranking[:k]) if item in relevant]
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(len(relevant), k)))
    return len(gains) / len(relevant), sum(gains) / ideal, len(gains) / k


def modal_bpr_loss(outputs, users, positives, negatives, batch):
    """BPR summed over the modal outputs, not the fused one, and divided by `batch` however many triples there are."""
    terms = [bpr_loss(rows_of(user_table, users), rows_of(item_table, positives), rows_of(item_table, negatives))
             for name, (user_table, item_table) in outputs.items() if name != FUSED]
    return sum(terms) / batch
