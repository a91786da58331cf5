"""LightGCN (He et al., SIGIR 2020, arXiv 2002.02126) with the items' features beside the ids: the plainest way to show
them to a graph network, which papers of this field compare with."""
import torch

from Baselines.common import mean_of_layers, propagated, xavier
from Baselines.features import Projections, feature_tables
from Baselines.lightgcn import LightGCN


class LightGCNM(LightGCN):
    """LightGCN of wider rows: [e_i, F_m's row i of every m] (I, (1 + M) d) and as many trainable columns of users.

    The propagation mixes no columns, so that the score is the sum of LightGCN's on the ids and on each modality.
    Decayed are the batch's rows as wide as they are propagated, the projected features too, so that W_m cannot grow as
    the users' columns beside it shrink.
    """

    needs_features = True

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        self.projections = Projections(tables, settings.latdim, generator)
        self.user_embeds = xavier((dataset.n_users, (1 + len(tables)) * settings.latdim), generator)

    def first_layer(self):
        return self.user_embeds, torch.cat([self.item_embeds, *self.projections().values()], 1)

    def outputs(self):
        return self.outputs_of(*self.first_layer())

    def outputs_of(self, users, items):
        return mean_of_layers(propagated(self.adj, users, items, self.settings.gnn_layer))

    def losses(self, users, positives, negatives):
        first = self.first_layer()
        return self.triple_losses(self.outputs_of(*first), users, positives, negatives, decayed=first)
