"""MGCN: Yu, Tan, Lu, Bao, "Multi-View Graph Convolutional Network for Multimedia Recommendation", ACM MM 2023,
arXiv 2308.03588."""
import torch
from torch import nn

from Baselines.features import Projections, feature_tables
from Baselines.item_graphs import edge_weights, fixed_graph, nearest_by_features
from Baselines.lightgcn import LightGCN
from Model import slot
from Utils.Layers import Linear
from Utils.NCE import nce
from Utils.Utils import rows_of


class MGCN(LightGCN):
    """What interactions say and what features say, each on a graph of its own, and their sum:

        F_m = X_m W_m' + b_m,  P_m = E_i * sigmoid(F_m G_m' + g_m)           features, as far as behaviour asks for them
        C   = LightGCN's outputs                                             the view of users and items
        Q_m = N_m^item_layers P_m for items, D^-1/2 R D^-1/2 of that for users    the view of items, one for each m
        K   = sum_m w_m * Q_m,  w = softmax over m of <q, tanh(Q_m W' + w_0)>     what the modalities share
        S   = (sum_m sigmoid(C V_m' + v_m) * (Q_m - K)  +  K) / (M + 1)
        out = C + S

    with * entry by entry and N_m the graph of each item's item_links nearest items in X_m (`edge_weights`). With NCE as
    in SPEC section 6, the batch's rows against each other alone:
        cl  = ssl_reg (NCE(S_p, C_p) + NCE(S_u, C_u))
        reg = reg * mean of (||u||^2 + ||p||^2 + ||n||^2)/2 of the outputs
    Decayed are outputs, so that no matrix undoes it. The paper's schedule of the learning rate is left out, and its
    sum of three terms over 3 is over M + 1 here.
    """

    needs_features = True

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        d = settings.latdim
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        self.projections = Projections(tables, d, generator)
        self.purifiers, self.preferences = (nn.ModuleDict({slot(name): Linear(d, d, generator) for name in tables})
                                            for _ in range(2))
        self.query, self.answer = Linear(d, d, generator), Linear(d, 1, generator)
        self.answer.bias = None  # the same for every modality: the softmax would not see it
        self.item_graphs = {name: fixed_graph(edge_weights(cosines, neighbours), neighbours) for name, (
            cosines, neighbours) in nearest_by_features(dataset, settings, tables).items()}

    def views(self):
        """(C, S), each a table (U + I, d)."""
        behaviour = torch.cat(super().outputs())
        modal = {name: self.modal_view(name, table) for name, table in self.projections().items()}
        asked = torch.cat([self.answer(self.query(table).tanh()) for table in modal.values()], 1)
        shared = sum(weight[:, None] * table for weight, table in zip(asked.softmax(1).T, modal.values(), strict=True))
        own = sum(self.preferences[slot(name)](behaviour).sigmoid() * (table - shared) for name, table in modal.items())
        return behaviour, (own + shared) / (len(modal) + 1)

    def modal_view(self, name, projected):
        """Q_m (U + I, d) of a modality's F_m."""
        items = self.item_embeds * self.purifiers[slot(name)](projected).sigmoid()
        for _ in range(self.settings.item_layers):
            items = self.item_graphs[name] @ items
        return torch.cat([self.adj.to_users @ items, items])

    def outputs(self):
        return tuple(sum(self.views()).split(self.rows.shape))

    def losses(self, users, positives, negatives):
        settings, views = self.settings, self.views()
        outputs = sum(views).split(self.rows.shape)
        (behaviour_users, behaviour_items), (side_users, side_items) = (view.split(self.rows.shape) for view in views)
        contrast = sum(nce(rows_of(side, nodes), rows_of(behaviour, nodes), settings.temp, chunk=settings.nce_chunk)
                       for side, behaviour, nodes in ((side_items, behaviour_items, positives),
                                                      (side_users, behaviour_users, users)))
        return {**self.triple_losses(outputs, users, positives, negatives, decayed=outputs),
                'cl': settings.ssl_reg * contrast}
