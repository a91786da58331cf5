"""The encoder that SLMRec and MMGCL share."""
import torch

from Baselines.common import dropped_out, mean_of_layers, xavier_linear
from Baselines.features import Projections, feature_tables
from Baselines.lightgcn import LightGCN
from Utils.Utils import rows_of


class ModalLightGCN(LightGCN):
    """LightGCN on the ids and on every modality, with the same users, and a read-out of them all side by side:

        H_0 = mean of layers 0 .. gnn_layer from [E_u; E_i],  H_m = the same from [E_u; F_m],  F_m = X_m W_m' + b_m
        O_u = [H_0, H_1, .., H_M]_users A_u + a_u,  O_i = [H_0, H_1, .., H_M]_items A_i + a_i

    with A_u, A_i ((1 + M) d, d). H below is (users, items), tables (U, (1 + M) d) and (I, (1 + M) d).
    """

    needs_features = True

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        self.projections = Projections(tables, settings.latdim, generator)
        self.parts = 1 + len(tables)
        width = self.parts * settings.latdim
        self.user_readout, self.item_readout = (xavier_linear(width, settings.latdim, generator) for _ in range(2))

    def inputs(self):
        """[E_i, F_1, .., F_M] (I, (1 + M) d)."""
        return torch.cat([self.item_embeds, *self.projections().values()], 1)

    def encode(self, graph, inputs):
        """H over a graph. What starts at the users is the same for every part of H, and is carried once."""
        n_layers = self.settings.gnn_layer
        users, to_items = one_sided(graph.to_items, graph.to_users, self.user_embeds, n_layers)
        items, to_users = one_sided(graph.to_users, graph.to_items, inputs, n_layers)
        return tuple((shared.repeat(1, self.parts) + own) / (n_layers + 1)
                     for shared, own in ((users, to_users), (to_items, items)))

    def encode_dropped(self, inputs, rate):
        """H over the whole graph with dropout after every product with it."""
        layers = [(self.user_embeds.repeat(1, self.parts), inputs)]
        for _ in range(self.settings.gnn_layer):
            layers.append(tuple(dropped_out(table, rate, self.generator) for table in self.adj(*layers[-1])))
        return mean_of_layers(layers)

    def user_rows(self, encoded, users):
        """O of some users (B,) by H."""
        return self.user_readout(rows_of(encoded[0], users))

    def item_rows(self, encoded, items):
        return self.item_readout(rows_of(encoded[1], items))

    def outputs(self):
        encoded = self.encode(self.adj, self.inputs())
        return self.user_readout(encoded[0]), self.item_readout(encoded[1])


def one_sided(forth, back, table, n_layers):
    """The sums of layers 0 .. n_layers of a table of one side, with zeros for the other: on its own side and there.

    forth, back: the graph's blocks from this side to the other and back. A layer is on one side alone, in turns.
    """
    here, there = [table], [table.new_zeros(forth.matrix.shape[0], table.shape[1])]
    for number in range(n_layers):
        if number % 2:
            here.append(back @ there[-1])
        else:
            there.append(forth @ here[-1])
    return sum(here), sum(there)
