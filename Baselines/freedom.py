"""FREEDOM: Zhou, Shen, "A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal Recommendation",
ACM MM 2023, arXiv 2211.06924."""
import torch

from Baselines.features import Projections, feature_tables
from Baselines.lightgcn import LightGCN
from Baselines.thinned import Thinned
from Utils.ItemGraphs import fixed_graph, nearest_by_features
from Utils.Utils import rows_of


class FREEDOM(Thinned, LightGCN):
    """LightGCN on a graph thinned anew each epoch, with items that are helped by a fixed graph between items:

        out = users of LightGCN, items of LightGCN + A^item_layers E_i,  A = 1/M sum_m D^-1/2 S_m D^-1/2

    S_m has a 1 for each of an item's item_links nearest items in X_m, itself among them, that are like it at all
    (cosine above 0, so that an item without features has no link), D = diagonal of S_m's row sums. An epoch keeps
    floor((1 - edge_drop) n) of the n interactions, at least one, drawn without replacement with chances in proportion
    to 1/sqrt(n_u n_i), n_u, n_i the interactions of the user and of the item; what is scored is on the whole graph.
    With F_m = X_m W_m' (in differences a shift would cancel), users also rank the features themselves:
        bpr   = mean of -log sigmoid(<u, p> - <u, n>) of the outputs
        modal = ssl_reg sum_m of the same of the users' outputs and the rows of F_m; with --loss softmax both are that
        reg   = reg * mean of (||e_u||^2 + ||e_p||^2 + ||e_n||^2)/2
    Decayed are the batch's embeddings, which no matrix multiplies; the paper has no decay (reg 0). All modalities weigh
    alike in A, where the paper has 0.1 for images and 0.9 for text, and X_m stays as it is, which the authors' program
    trains.
    """

    needs_features = True
    flags = LightGCN.flags | {'item_links', 'item_layers', 'edge_drop', 'ssl_reg'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        self.projections = Projections(tables, settings.latdim, generator, shifted=False)
        self.item_graphs = [alike_graph(*found) for found in nearest_by_features(dataset, settings, tables).values()]
        self.keep_all()

    def begin_epoch(self, boundary):
        self.keep(self.drawn()[None])
        return {}

    def drawn(self):
        """Which interactions an epoch keeps."""
        users, items = self.rows.users, self.rows.items
        chances = (self.rows.counts[users] * torch.bincount(items)[items]).double().rsqrt()
        n = max(1, int(round((1 - self.settings.edge_drop) * len(items), 6)))  # 0.2 * 10 is 1.99... in floats
        kept = torch.zeros_like(items, dtype=torch.bool)
        kept[torch.multinomial(chances, n, generator=self.generator)] = True
        return kept

    def outputs_on(self, graph):
        users, items = super().outputs_on(graph)
        helped = self.item_embeds
        for _ in range(self.settings.item_layers):
            helped = sum(graph @ helped for graph in self.item_graphs) / len(self.item_graphs)
        return users, items + helped

    def losses(self, users, positives, negatives):
        outputs = self.outputs_on(self.thinned[0])
        wanted, liked, other = rows_of(outputs[0], users), self.projections(positives), self.projections(negatives)
        modal = sum(self.ranking((wanted, liked[name], other[name]), positives,
                                 lambda name=name: self.projections()[name]) for name in liked) / len(users)
        return {**self.triple_losses(outputs, users, positives, negatives), 'modal': self.settings.ssl_reg * modal}


def alike_graph(cosines, neighbours):
    """D^-1/2 S D^-1/2 with S_ij = 1 at the neighbours (I, k) with cosines above 0, as a Block (I, I)."""
    alike = (cosines > 0).to(cosines.dtype)
    scale = alike.sum(1, keepdim=True).clamp(min=1).rsqrt()
    return fixed_graph(scale * alike * scale[neighbours, 0], neighbours)
