"""LATTICE: Zhang, Zhu, Liu, Wu, Wang, Wang, "Mining Latent Structures for Multimedia Recommendation", ACM MM 2021,
arXiv 2104.09036."""
import torch
import torch.nn.functional as F
from torch import nn

from Baselines.features import Projections, feature_tables
from Baselines.lightgcn import LightGCN
from Utils.ItemGraphs import cosines_with, edge_weights, nearest, nearest_by_features
from Utils.Layers import unit_rows


class LATTICE(LightGCN):
    """LightGCN whose items are helped by graphs between items, made of features and learned with the rest.

    For every modality, N(T) is the graph of each item's item_links nearest items (`edge_weights`) in a table T:
        A   = sum_m softmax(modal_weight)_m (graph_skip N(X_m) + (1 - graph_skip) N(F_m)),  F_m = X_m W_m' + b_m
        H   = A^item_layers E_i
        out = users of LightGCN, items of LightGCN + norm(H)
    Who is near in F_m is found anew each epoch; the weights of these edges follow F_m, and train it, at every step.
    (The paper speaks of one graph that follows F_m.) Decayed are the batch's embeddings E; W_m comes in by cosines,
    modal_weight by a softmax and H at unit length, so that none of them could undo it.
    """

    needs_features = True
    flags = LightGCN.flags | {'item_links', 'item_layers', 'graph_skip'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        self.projections = Projections(tables, settings.latdim, generator)
        self.modal_weight = nn.Parameter(torch.zeros(len(tables), device=generator.device))
        found = nearest_by_features(dataset, settings, tables)
        self.raw = [(neighbours, edge_weights(cosines, neighbours)) for cosines, neighbours in found.values()]
        self.register_buffer('neighbours', torch.stack([neighbours for neighbours, _ in self.raw]))  # (M, I, k)

    @torch.no_grad()
    def begin_epoch(self, boundary):
        for number, table in enumerate(self.projections().values()):
            self.neighbours[number] = nearest(table, self.settings.item_links)[1]
        return {}

    def item_graph(self):
        """A, by the columns and the values of each row's entries: (I, 2 M k) both. Entries of a column add up."""
        skip, columns, values = self.settings.graph_skip, [], []
        for weight, (raw, raw_values), learned, table in zip(
                self.modal_weight.softmax(0), self.raw, self.neighbours, self.projections().values(), strict=True):
            columns += [raw, learned]
            learned_values = edge_weights(cosines_with(table, learned), learned)
            values += [weight * skip * raw_values, weight * (1 - skip) * learned_values]
        return torch.cat(columns, 1), torch.cat(values, 1)

    def outputs(self):
        users, items = super().outputs()
        columns, values = self.item_graph()
        hidden = self.item_embeds
        for _ in range(self.settings.item_layers):
            hidden = F.embedding_bag(columns, hidden, mode='sum', per_sample_weights=values)
        return users, items + unit_rows(hidden)
