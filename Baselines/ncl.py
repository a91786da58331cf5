"""NCL: Lin, Tian, Hou, Zhao, "Improving Graph Collaborative Filtering with Neighborhood-enriched Contrastive Learning",
WWW 2022, arXiv 2202.06200."""
import torch
import torch.nn.functional as F

from Baselines.common import contrast_nodes, mean_of_layers, propagated
from Baselines.lightgcn import LightGCN
from Utils.Errors import require_at_most
from Utils.Layers import unit_rows
from Utils.NCE import nce
from Utils.Utils import cross_modal_loss, rows_of

EVEN_LAYER = 2  # the layer whose nodes gather from others of their own kind
ITERATIONS = 20  # of k-means
CHUNK = 8192  # points whose distances to all centroids are held at a time


class NCL(LightGCN):
    """LightGCN with two contrasts over the batch's users and positive items, NCE as in SPEC section 6:

        cl    = ssl_reg (C(users; E^(2), E^(0)) + C(items; E^(2), E^(0))), a node and its structural neighbours
        proto = proto_reg sum over users, items of the mean of -<e, c_e>/temp + log sum_c exp(<e, c>/temp)

    with e a row of E^(0) scaled to unit length, c the centroids and c_e that of e's cluster. The centroids, `clusters`
    of users and as many of items, come from k-means on E^(0) at the start of each epoch and are scaled to unit length.
    Means over the batch stand in place of the paper's sums, and items weigh as users do (its alpha is 1). Decayed are
    the batch's embeddings E^(0), all that there is to train. Here proto counts from the first epoch on; the authors'
    program leaves it out of the first twenty.
    """

    flags = LightGCN.flags | {'clusters', 'proto_reg', 'ssl_reg', 'temp', 'cl_sample', 'nce_chunk'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        require_at_most('clusters', settings.clusters, min(self.rows.shape),
                        f'{dataset.n_users} users and {dataset.n_items} items of {dataset.name}')
        for side, table in (('user', self.user_embeds), ('item', self.item_embeds)):
            self.register_buffer(f'{side}_centroids', torch.zeros_like(table[:settings.clusters]))
            self.register_buffer(f'{side}_clusters', torch.zeros_like(table[:, 0], dtype=torch.int64))

    @torch.no_grad()
    def begin_epoch(self, boundary):
        for table, centroids, clusters in self.sides():
            means, nearest = k_means(table, self.settings.clusters, self.generator)
            centroids.copy_(unit_rows(means))
            clusters.copy_(nearest)
        return {}

    def sides(self):
        """(embeddings, centroids, cluster of each row) of users and of items."""
        return ((self.user_embeds, self.user_centroids, self.user_clusters),
                (self.item_embeds, self.item_centroids, self.item_clusters))

    def losses(self, users, positives, negatives):
        settings = self.settings
        layers = propagated(self.adj, self.user_embeds, self.item_embeds, max(settings.gnn_layer, EVEN_LAYER))
        nodes = contrast_nodes(users, positives, settings.cl_sample, self.generator)
        structure = cross_modal_loss({'even': layers[EVEN_LAYER], 'first': layers[0]}, *nodes, settings.temp,
                                     settings.nce_chunk)
        prototypes = sum(nce(rows_of(table, index), centroids, settings.temp, clusters[index], settings.nce_chunk)
                         for (table, centroids, clusters), index in zip(self.sides(), nodes, strict=True))
        return {**self.triple_losses(mean_of_layers(layers[:settings.gnn_layer + 1]), users, positives, negatives),
                'cl': settings.ssl_reg * structure, 'proto': settings.proto_reg * prototypes}


def k_means(points, k, generator):
    """Lloyd's iterations from k of the points (N, d): centroids (k, d) and the nearest one of each point (N,).

    A centroid that has no point left stays where it is.
    """
    centroids = points[torch.randperm(len(points), generator=generator, device=points.device)[:k]]
    for _ in range(ITERATIONS):
        clusters = nearest_of(centroids, points)
        counts = torch.bincount(clusters, minlength=k)
        means = F.embedding_bag(clusters.argsort(stable=True), points, counts.cumsum(0) - counts, mode='mean')
        centroids = torch.where(counts[:, None] > 0, means, centroids)
    return centroids, nearest_of(centroids, points)


def nearest_of(centroids, points):
    """The number of the nearest centroid of each point (the points' own squares do not matter)."""
    squares = centroids.square().sum(1)
    return torch.cat([(2 * part @ centroids.T - squares).argmax(1) for part in points.split(CHUNK)])
