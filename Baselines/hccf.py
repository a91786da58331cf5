"""HCCF: Xia, Huang, Xu, Zhao, Yin, Huang, "Hypergraph Contrastive Collaborative Filtering", SIGIR 2022,
arXiv 2204.12200."""
import torch.nn.functional as F

from Baselines.common import EmbeddingModel, contrast_nodes, dropped_out, xavier
from Utils.Graph import drop_entries, normalised_graph
from Utils.Utils import cross_modal_loss

SLOPE = 0.5  # of LeakyReLU


class HCCF(EmbeddingModel):
    """Users and items exchange embeddings over the interactions (local) and over learned hyperedges (global):

        Z^(l) = LeakyReLU(D^-1/2 A D^-1/2 E^(l-1)),  G^(l) = LeakyReLU(H LeakyReLU(H' E^(l-1))),
        E^(l) = Z^(l) + G^(l) + E^(l-1);  the outputs are the sum of E^(0) .. E^(gnn_layer)

    H = E^(0) W, W (d, hyperedges), and with it G, for users alone and for items alone. While training, at every step,
    each entry of the graph and of H is dropped with probability `edge_drop`. The contrast, NCE as in SPEC section 6, is
    over the batch's users and positive items against all:
        cl = ssl_reg sum_l (C(users; Z^(l), G^(l)) + C(items; Z^(l), G^(l)))
    The layers that mix the hyperedges with each other are left out, as in the authors' program.
    """

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        self.adj = normalised_graph(self.rows.users, self.rows.items, self.rows.shape, loops=False)
        self.user_hyper, self.item_hyper = (xavier((settings.latdim, settings.hyperedges), generator)
                                            for _ in range(2))

    def layers(self, edge_drop=0):
        """The outputs, and (Z^(l), G^(l)) of every layer; each a pair of tables of users and items."""
        graph = drop_entries(self.adj, 1 - edge_drop, self.generator)
        nodes = self.user_embeds, self.item_embeds
        hyper = [dropped_out(table @ weight, edge_drop, self.generator)
                 for table, weight in zip(nodes, (self.user_hyper, self.item_hyper), strict=True)]
        totals, views = nodes, []
        for _ in range(self.settings.gnn_layer):
            near = [F.leaky_relu(table, SLOPE) for table in graph(*nodes)]
            far = [F.leaky_relu(edges @ F.leaky_relu(edges.T @ table, SLOPE), SLOPE)
                   for edges, table in zip(hyper, nodes, strict=True)]
            nodes = [sum(tables) for tables in zip(near, far, nodes, strict=True)]
            totals = [total + table for total, table in zip(totals, nodes, strict=True)]
            views.append((near, far))
        return totals, views

    def outputs(self):
        return self.layers()[0]

    def losses(self, users, positives, negatives):
        settings = self.settings
        outputs, views = self.layers(settings.edge_drop)
        nodes = contrast_nodes(users, positives, settings.cl_sample, self.generator)
        contrast = sum((cross_modal_loss({'local': near, 'global': far}, *nodes, settings.temp, settings.nce_chunk)
                        for near, far in views), outputs[0].new_zeros(()))
        return {**self.triple_losses(outputs, users, positives, negatives), 'cl': settings.ssl_reg * contrast}
