"""GRCN: Wei, Wang, Nie, He, Chua, "Graph-Refined Convolutional Network for Multimedia Recommendation with Implicit
Feedback", ACM MM 2020."""
import torch
import torch.nn.functional as F
from torch import nn

from Baselines.common import EmbeddingModel, xavier
from Baselines.edges import Edges
from Baselines.features import Projections, feature_tables
from Model import slot
from Utils.Layers import unit_rows
from Utils.Utils import rows_of


class GRCN(EmbeddingModel):
    """The ids travel over a graph whose edges weigh what users' tastes make of the items' features.

    Of each modality m, F = norm(f(X_m W_m' + b_m)) (I, d), f LeakyReLU, and a user's taste p begins as norm(T_m):
        routing times  p <- norm(p + sum_{i in N(u)} a_ui F_i),  a_ui = softmax over i in N(u) of <p_u, F_i>
        x = [p; F],  a^m_nk = softmax over k in N(n) of <x_n, x_k>,  c_m = x + sum_{k in N(n)} a^m_nk x_k
    and with confidences C (U + I, M) the edge to n from k weighs w_nk = max over m of C_km a^m_nk:
        g^0 = norm(E),  g^l_n = sum_{k in N(n)} w_nk g^(l-1)_k,  G = g^0 + .. + g^gnn_layer
        out = [G, c_1, .., c_M]                                       n = (1 + M) d
        bpr = mean of -log sigmoid(<u, p> - <u, n>) of the outputs
        reg = reg * mean of (||r_u||^2 + ||r_p||^2 + ||r_n||^2)/2,  r = [E, T_1, .., T_M, C] of users, [E, C] of items
    Decayed are the batch's rows of E, T and C. The authors' program leaves C out, though E, T and W_m come in at unit
    length and C alone can make the outputs longer; it has means over entries, and edges of its routing that point to
    the items. Weights below 0 stay, as on the papers' data sets; its `mean` and its `max` without C are left out.
    """

    needs_features = True
    flags = EmbeddingModel.flags | {'gnn_layer', 'routing'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        self.projections = Projections(tables, settings.latdim, generator)
        self.tastes = nn.ParameterDict({slot(name): xavier(self.user_embeds.shape, generator) for name in tables})
        self.user_trust, self.item_trust = (xavier((size, len(tables)), generator) for size in self.rows.shape)
        users, items, (n_users, n_items) = self.rows.users, self.rows.items, self.rows.shape
        self.to_users = Edges(users, items, n_users, n_items)
        order = torch.argsort(items, stable=True)
        self.to_items = Edges(items[order], users[order], n_items, n_users)

    def refined(self, taste, projected):
        """Of a modality's T_m and F_m before f: the tables c_m of users and items and the edges' a^m to both."""
        shown, wish = unit_rows(F.leaky_relu(projected)), unit_rows(taste)
        for _ in range(self.settings.routing):
            wish = unit_rows(wish + self.attended(self.to_users, wish, shown)[0])
        users, to_users = self.attended(self.to_users, wish, shown)
        items, to_items = self.attended(self.to_items, shown, wish)
        return (wish + users, shown + items), (to_users, to_items)

    @staticmethod
    def attended(edges, targets, sources):
        """Each target's mean of its sources by the softmax of their products with it, and that softmax (E,)."""
        shares = edges.softmax(edges.products(targets, sources))
        return edges.sums(shares, sources), shares

    def outputs(self):
        content, shares = zip(*(self.refined(self.tastes[slot(name)], table)
                                for name, table in self.projections().items()), strict=True)
        to_users, to_items = (torch.stack(values, 1) for values in zip(*shares, strict=True))  # (E, M) both
        to_users = (rows_of(self.item_trust, self.to_users.sources) * to_users).amax(1)
        to_items = (rows_of(self.user_trust, self.to_items.sources) * to_items).amax(1)
        nodes = total = unit_rows(self.user_embeds), unit_rows(self.item_embeds)
        for _ in range(self.settings.gnn_layer):
            nodes = self.to_users.sums(to_users, nodes[1]), self.to_items.sums(to_items, nodes[0])
            total = tuple(map(torch.add, total, nodes))
        return tuple(torch.cat(tables, 1) for tables in zip(total, *content, strict=True))

    def losses(self, users, positives, negatives):
        decayed = (torch.cat([self.user_embeds, *self.tastes.values(), self.user_trust], 1),
                   torch.cat([self.item_embeds, self.item_trust], 1))
        return self.triple_losses(self.outputs(), users, positives, negatives, decayed)
