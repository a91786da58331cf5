"""HCCF: Xia, Huang, Xu, Zhao, Yin, Huang, "Hypergraph Contrastive Collaborative Filtering", SIGIR 2022,
arXiv 2204.12200."""
import torch.nn.functional as F

from Baselines.common import EmbeddingModel, contrast_nodes, dropped_out, xavier
from Utils.Graph import drop_entries, normalised_graph
from Utils.Ranks import own_rows
from Utils.Utils import cross_modal_loss

SLOPE = 0.5  # of LeakyReLU below zero
HYPER_SCALE = 0.1  # of H, which enters twice: with more, the hyperedges drown the interactions


def activated(table):
    return F.leaky_relu(table, SLOPE)


class HCCF(EmbeddingModel):
    """Users and items exchange embeddings over the interactions (Z) and over learned hyperedges (G):

        Z^(l) = f(D^-1/2 A D^-1/2 E^(l-1)),  E^(l) = Z^(l) + G^(l) + E^(l-1)
        G^(l) = f(H (f(V L) + L)),  L = H' E^(l-1)

    f is LeakyReLU. H = HYPER_SCALE E^(0) W, W (d, hyperedges), V (hyperedges, hyperedges), which mixes the hyperedges,
    and with them G are of users alone and of items alone. The outputs are the sum of E^(0) .. E^(gnn_layer). While
    training, at every step, each entry of the graph and of H is dropped with probability `edge_drop`. The contrast, NCE
    as in SPEC section 6, is over the batch's users and positive items:
        cl = ssl_reg sum_l (C(users; Z^(l), G^(l)) + C(items; Z^(l), G^(l)))
    Decayed are the batch's outputs, so that neither W nor V undoes it; the paper decays all parameters. Not the paper's
    either: HYPER_SCALE, a single layer of mixing, BPR in place of a margin loss, and means in place of sums.

    `--hypergraph program`, as the authors' later program has it and SSLRec after it:
        Z^(l) = D^-1/2 A D^-1/2 E^(l-1),  G^(l) = H H' E^(l-1),  E^(l) = Z^(l) + G^(l),  H = E^(0) W
    Z^(l) is a constant in the contrast, and all parameters are decayed: reg * sum of their squares. That program
    contrasts each node of a batch once; here nodes that come twice are contrasted twice.
    """

    flags = EmbeddingModel.flags | {'gnn_layer', 'hyperedges', 'edge_drop', 'ssl_reg', 'temp', 'cl_sample', 'nce_chunk',
                                    'hypergraph'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        self.adj = normalised_graph(self.rows.users, self.rows.items, self.rows.shape, loops=False)
        self.user_hyper, self.item_hyper = (xavier((settings.latdim, settings.hyperedges), generator)
                                            for _ in range(2))
        self.as_program = settings.hypergraph == 'program'
        if not self.as_program:
            self.user_mix, self.item_mix = (xavier((settings.hyperedges, settings.hyperedges), generator)
                                            for _ in range(2))

    def layers(self, edge_drop=0):
        """The outputs, and (Z^(l), G^(l)) of every layer; each a pair of tables of users and items."""
        graph = drop_entries(self.adj, 1 - edge_drop, self.generator)
        nodes = self.user_embeds, self.item_embeds
        hyper = [dropped_out((1 if self.as_program else HYPER_SCALE) * table @ weight, edge_drop, self.generator)
                 for table, weight in zip(nodes, (self.user_hyper, self.item_hyper), strict=True)]
        totals, views = nodes, []
        for _ in range(self.settings.gnn_layer):
            if self.as_program:
                near = graph(*nodes)
                far = [edges @ (edges.T @ table) for edges, table in zip(hyper, nodes, strict=True)]
                nodes = [sum(tables) for tables in zip(near, far, strict=True)]
            else:
                near = [activated(table) for table in graph(*nodes)]
                far = [over_hyperedges(*parts)
                       for parts in zip(hyper, (self.user_mix, self.item_mix), nodes, strict=True)]
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
        contrast = outputs[0].new_zeros(())
        for near, far in views:
            if self.as_program:
                near = [table.detach() for table in near]
            contrast = contrast + cross_modal_loss({'local': near, 'global': far}, *nodes, settings.temp,
                                                   settings.nce_chunk)
        terms = {**self.triple_losses(outputs, users, positives, negatives, decayed=outputs),
                 'cl': settings.ssl_reg * contrast}
        if self.as_program:
            terms['reg'] = settings.reg * sum(own_rows(table).square().sum() for table in self.parameters())
        return terms


def over_hyperedges(hyper, mix, table):
    """G^(l) (N, d) of H (N, hyperedges), V and E^(l-1) (N, d)."""
    edges = hyper.T @ table
    return activated(hyper @ (activated(mix @ edges) + edges))
