"""NGCF: Wang, He, Wang, Feng, Chua, "Neural Graph Collaborative Filtering", SIGIR 2019, arXiv 1905.08108."""
import torch
import torch.nn.functional as F
from torch import nn

from Baselines.common import EmbeddingModel, dropped_out, xavier
from Utils.Graph import normalised_graph
from Utils.Layers import unit_rows


class NGCF(EmbeddingModel):
    """E^(l+1) = LeakyReLU_0.2((L + Identity) E^(l) W_1 + (L E^(l) * E^(l)) W_2), * entry by entry, dropped out
    (`message_drop`) while training, with L = D^-1/2 A D^-1/2 and matrices W_1, W_2 (d, d) of each layer.

    The outputs are E^(0) and all the layers' E^(l), rows of unit length, side by side: n = (1 + gnn_layer) d. The unit
    length and the dropout of outputs in place of messages are the authors' program's, not the paper's equations'. The
    paper's node dropout is left out. Decayed are the batch's embeddings E^(0), as in that program; the paper decays
    W_1 and W_2 as well, which the unit length keeps from undoing it.
    """

    flags = EmbeddingModel.flags | {'gnn_layer', 'message_drop'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        self.adj = normalised_graph(self.rows.users, self.rows.items, self.rows.shape, loops=False)
        self.sum_weights, self.product_weights = (
            nn.ParameterList(xavier((settings.latdim, settings.latdim), generator) for _ in range(settings.gnn_layer))
            for _ in range(2))

    def outputs(self, message_drop=0):
        nodes = self.user_embeds, self.item_embeds
        collected = [nodes]
        for weights in zip(self.sum_weights, self.product_weights, strict=True):
            nodes = [dropped_out(layer(own, near, *weights), message_drop, self.generator)
                     for own, near in zip(nodes, self.adj(*nodes), strict=True)]
            collected.append([unit_rows(table) for table in nodes])
        return tuple(torch.cat(tables, 1) for tables in zip(*collected, strict=True))

    def losses(self, users, positives, negatives):
        return self.triple_losses(self.outputs(self.settings.message_drop), users, positives, negatives)


def layer(own, near, sum_weight, product_weight):
    """A node's next embedding of its own (N, d) and the normalised sum of its neighbours' (N, d)."""
    return F.leaky_relu((own + near) @ sum_weight + (own * near) @ product_weight, 0.2)
