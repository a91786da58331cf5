"""LightGCN: He, Deng, Wang, Li, Zhang, Wang, "LightGCN", SIGIR 2020, arXiv 2002.02126."""
from Baselines.common import EmbeddingModel, mean_of_layers, propagated
from Utils.Graph import normalised_graph


class LightGCN(EmbeddingModel):
    """E^(l+1) = D^-1/2 A D^-1/2 E^(l), A = [[0, R], [R', 0]]; the outputs are the mean of E^(0) .. E^(gnn_layer).
    Decayed are the batch's embeddings E^(0), all that there is to train."""

    flags = EmbeddingModel.flags | {'gnn_layer'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        self.adj = normalised_graph(self.rows.users, self.rows.items, self.rows.shape, loops=False)

    def outputs(self):
        return self.outputs_on(self.adj)

    def outputs_on(self, graph):
        return mean_of_layers(propagated(graph, self.user_embeds, self.item_embeds, self.settings.gnn_layer))
