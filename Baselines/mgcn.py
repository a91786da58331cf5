"""MGCN: Yu, Tan, Lu, Bao, "Multi-View Graph Convolutional Network for Multimedia Recommendation", ACM MM 2023,
arXiv 2308.03588."""
import torch
from torch import nn

from Baselines.features import Projections, feature_tables
from Baselines.lightgcn import LightGCN
from Model import slot
from Utils.ItemGraphs import item_graphs_of, through
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
    flags = LightGCN.flags | {'item_links', 'item_layers', 'ssl_reg', 'temp', 'nce_chunk'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        d = settings.latdim
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        self.projections = Projections(tables, d, generator)
        self.purifiers, self.preferences = (nn.ModuleDict({slot(name): Linear(d, d, generator) for name in tables})
                                            for _ in range(2))
        self.query, self.answer = Linear(d, d, generator), Linear(d, 1, generator)
        self.answer.bias = None  # the same for every modality: the softmax would not see it
        self.item_graphs = item_graphs_of(dataset, settings, tables)

    def views(self):
        """C and, by the modality's name, Q_m: each (users (U, d), items (I, d))."""
        modal = {}
        for name, table in self.projections().items():
            items = through(self.item_graphs[name], self.item_embeds * self.purifiers[slot(name)](table).sigmoid(),
                            self.settings.item_layers)
            modal[name] = self.adj.to_users @ items, items
        return super().outputs(), modal

    def side(self, behaviour, modal):
        """S of some nodes, of their rows of C (B, d) and of every Q_m."""
        asked = torch.cat([self.answer(self.query(rows).tanh()) for rows in modal.values()], 1)
        shared = sum(weight[:, None] * rows for weight, rows in zip(asked.softmax(1).T, modal.values(), strict=True))
        own = sum(self.preferences[slot(name)](behaviour).sigmoid() * (rows - shared) for name, rows in modal.items())
        return (own + shared) / (len(modal) + 1)

    def outputs(self):
        behaviour, modal = self.views()
        return tuple(self.joined(behaviour, modal, number) for number in range(2))

    def joined(self, behaviour, modal, number):
        """The outputs of all users (0) or items (1)."""
        return behaviour[number] + self.side(behaviour[number],
                                             {name: tables[number] for name, tables in modal.items()})

    def losses(self, users, positives, negatives):
        """Beyond the propagation only the batch's rows are made."""
        settings, n = self.settings, len(users)
        behaviour, modal = self.views()
        outputs, contrast = [], 0
        for number, nodes in enumerate((users, torch.cat([positives, negatives]))):
            known = rows_of(behaviour[number], nodes)
            side = self.side(known, {name: rows_of(tables[number], nodes) for name, tables in modal.items()})
            contrast = contrast + nce(side[:n], known[:n], settings.temp, chunk=settings.nce_chunk)
            outputs.append(known + side)
        rows = outputs[0], *outputs[1].split(n)
        return {**self.row_losses(rows, rows, positives, lambda: self.joined(behaviour, modal, 1)),
                'cl': settings.ssl_reg * contrast}
