"""MMGCN: Wei, Wang, Nie, He, Hong, Chua, "MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation
of Micro-video", ACM MM 2019."""
import torch
import torch.nn.functional as F
from torch import nn

from Baselines.common import EmbeddingModel, xavier, xavier_linear
from Baselines.features import Projections, feature_tables
from Model import slot
from Utils.Graph import Block
from Utils.Layers import unit_rows


class MMGCN(EmbeddingModel):
    """A graph network for each modality, in every layer of which the ids, the same for all, are added.

    With P = D^-1 A of A = [[0, R], [R', 0]] (the mean over neighbours), E = [E_u; E_i], f LeakyReLU and users' own
    tastes T_m (U, d) beside F_m = X_m W_m' + b_m, of each modality and layer
        x^0 = norm([T_m; F_m]),  h = f(P x W_1),  x^ = f(x W_2 + b_2) + E,  x <- f([h, x^] W_3 + b_3)
        out = mean over m of x^gnn_layer
        bpr = mean of -log sigmoid(<u, p> - <u, n>) of the outputs
        reg = reg * mean of (||r_u||^2 + ||r_p||^2 + ||r_n||^2)/2,  r the output and [E, T_1, .., T_M] of a user, the
              output and E of an item
    Decayed are the batch's outputs beside its ids and tastes, since the layers' matrices, which the authors' program
    does not decay (the paper decays everything), would undo a decay of these alone. In that program E and T_m are no
    parameters and keep their random values; here, as in the paper, they are trained. Of the paper's two ways of
    combining h and x^ this is the concatenation; F_m is d wide, and its modalities' mean is the paper's sum over M.
    """

    needs_features = True
    flags = EmbeddingModel.flags | {'gnn_layer'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        d = settings.latdim
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        self.projections = Projections(tables, d, generator)
        self.tastes = nn.ParameterDict({slot(name): xavier(self.user_embeds.shape, generator) for name in tables})
        self.networks = nn.ModuleDict({slot(name): nn.ModuleList(
            nn.ModuleDict({'gather': xavier_linear(d, d, generator, shifted=False),
                           'keep': xavier_linear(d, d, generator),
                           'join': xavier_linear(2 * d, d, generator)}) for _ in range(settings.gnn_layer))
            for name in tables})
        users, items = self.rows.users, self.rows.items
        degrees = (torch.bincount(ends, minlength=size).float() for ends, size in
                   zip((users, items), self.rows.shape, strict=True))
        user_shares, item_shares = (1 / degree for degree in degrees)
        self.to_users = Block.of_entries(users, items, user_shares[users], self.rows.shape)
        self.to_items = Block.of_entries(items, users, item_shares[items], self.rows.shape[::-1])

    def outputs(self):
        ids = torch.cat([self.user_embeds, self.item_embeds])
        total = 0
        for name, table in self.projections().items():
            nodes = unit_rows(torch.cat([self.tastes[slot(name)], table]))
            for layer in self.networks[slot(name)]:
                users, items = layer['gather'](nodes).split(self.rows.shape)
                near = F.leaky_relu(torch.cat([self.to_users @ items, self.to_items @ users]))
                own = F.leaky_relu(layer['keep'](nodes)) + ids
                nodes = F.leaky_relu(layer['join'](torch.cat([near, own], 1)))
            total = total + nodes
        return tuple((total / len(self.networks)).split(self.rows.shape))

    def losses(self, users, positives, negatives):
        outputs = self.outputs()
        decayed = (torch.cat([outputs[0], self.user_embeds, *self.tastes.values()], 1),
                   torch.cat([outputs[1], self.item_embeds], 1))
        return self.triple_losses(outputs, users, positives, negatives, decayed)
