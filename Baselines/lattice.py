"""LATTICE: Zhang, Zhu, Liu, Wu, Wang, Wang, "Mining Latent Structures for Multimedia Recommendation", ACM MM 2021,
arXiv 2104.09036."""
import torch
import torch.nn.functional as F
from torch import nn

from Baselines.features import Projections, feature_tables
from Baselines.lightgcn import LightGCN
from Utils.Layers import unit_rows
from Utils.Utils import rows_of

BLOCK = 1024  # rows of similarities held at a time


def nearest(table, k):
    """The k items of largest cosine of every item (I, d), itself among them: (I, k)."""
    table = unit_rows(table)
    return torch.cat([(some @ table.T).topk(k).indices for some in table.split(BLOCK)])


def edge_weights(table, neighbours):
    """The entries of D^-1/2 S D^-1/2 at the neighbours (I, k), S_ij = max(0, cosine(i, j)) there and 0 elsewhere,
    D = diagonal of S's row sums. Differentiable in the table (I, d)."""
    table = unit_rows(table)
    similarities = torch.einsum('id,ikd->ik', table, rows_of(table, neighbours)).relu()
    scale = similarities.sum(1, keepdim=True).clamp(min=1e-12).rsqrt()
    return scale * similarities * rows_of(scale, neighbours)[..., 0]


class LATTICE(LightGCN):
    """LightGCN whose items are helped by graphs between items, made of features and learned with the rest.

    For every modality, N(T) is the graph of each item's item_links nearest items (`edge_weights`) in a table T:
        A   = sum_m softmax(modal_weight)_m (graph_skip N(X_m) + (1 - graph_skip) N(F_m)),  F_m = X_m W_m' + b_m
        H   = A^item_layers E_i
        out = users of LightGCN, items of LightGCN + norm(H)
    Who is near in F_m is found anew each epoch; the weights of these edges follow F_m, and train it, at every step.
    """

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        self.projections = Projections(tables, settings.latdim, generator)
        self.modal_weight = nn.Parameter(torch.zeros(len(tables), device=generator.device))
        k = min(settings.item_links, dataset.n_items)
        self.raw = [(neighbours, edge_weights(table, neighbours))
                    for table, neighbours in ((table, nearest(table, k)) for table in tables.values())]
        self.register_buffer('neighbours', torch.stack([neighbours for neighbours, _ in self.raw]))  # (M, I, k)

    @torch.no_grad()
    def begin_epoch(self, boundary):
        for number, table in enumerate(self.projections().values()):
            self.neighbours[number] = nearest(table, self.neighbours.shape[2])
        return {}

    def item_graph(self):
        """A, by the columns and the values of each row's entries: (I, 2 M k) both. Entries of a column add up."""
        skip, columns, values = self.settings.graph_skip, [], []
        for weight, (raw, raw_values), learned, table in zip(
                self.modal_weight.softmax(0), self.raw, self.neighbours, self.projections().values(), strict=True):
            columns += [raw, learned]
            values += [weight * skip * raw_values, weight * (1 - skip) * edge_weights(table, learned)]
        return torch.cat(columns, 1), torch.cat(values, 1)

    def outputs(self):
        users, items = super().outputs()
        columns, values = self.item_graph()
        hidden = self.item_embeds
        for _ in range(self.settings.item_layers):
            hidden = F.embedding_bag(columns, hidden, mode='sum', per_sample_weights=values)
        return users, items + unit_rows(hidden)
