"""Graphs between items: each is linked to the items whose features are most like its own (Zhang et al., "Mining Latent
Structures for Multimedia Recommendation" (LATTICE), ACM MM 2021)."""
import torch

from Utils.Errors import require_at_most
from Utils.Graph import Block
from Utils.Layers import unit_rows
from Utils.Utils import rows_of

BLOCK = 1024  # rows of similarities held at a time


def nearest(table, k):
    """The k largest cosines of every item (I, d), its own among them, and the items they are with: (I, k) both."""
    table = unit_rows(table)
    best = [(some @ table.T).topk(k) for some in table.split(BLOCK)]
    return tuple(torch.cat(parts) for parts in zip(*best, strict=True))


def nearest_by_features(dataset, settings, tables):
    """name -> `nearest` item_links items in the table of that name. InputError where there are not so many."""
    require_at_most('item_links', settings.item_links, dataset.n_items, f'{dataset.n_items} items of {dataset.name}')
    return {name: nearest(table, settings.item_links) for name, table in tables.items()}


def cosines_with(table, neighbours):
    """The cosines of every item (I, d) with its neighbours (I, k). Differentiable in the table."""
    table = unit_rows(table)
    return torch.einsum('id,ikd->ik', table, rows_of(table, neighbours))


def edge_weights(cosines, neighbours):
    """The entries of D^-1/2 S D^-1/2 at the neighbours (I, k), S_ij = max(0, cosine(i, j)) there and 0 elsewhere,
    D = diagonal of S's row sums."""
    similarities = cosines.relu()
    scale = similarities.sum(1, keepdim=True).clamp(min=1e-12).rsqrt()
    return scale * similarities * rows_of(scale, neighbours)[..., 0]


def fixed_graph(values, neighbours):
    """The Block (I, I) with these values at the neighbours (I, k)."""
    n_items, k = neighbours.shape
    rows = torch.arange(n_items, device=values.device).repeat_interleave(k)
    return Block.of_entries(rows, neighbours.flatten(), values.flatten(), (n_items, n_items))


def item_graphs_of(dataset, settings, tables):
    """name -> N(T), the graph of each item's item_links nearest in the table T of that name (`edge_weights`)."""
    return {name: fixed_graph(edge_weights(cosines, neighbours), neighbours)
            for name, (cosines, neighbours) in nearest_by_features(dataset, settings, tables).items()}


def through(graph, table, n_layers):
    """graph^n_layers table."""
    for _ in range(n_layers):
        table = graph @ table
    return table
