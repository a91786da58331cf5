"""Graphs of a part of the interactions, drawn anew each epoch and kept in a checkpoint."""
import torch

from Utils.Graph import normalised_graph


class Thinned:
    """For a model with `rows`, `settings` and `generator`: n_thinned graphs, each of which keeps every interaction with
    probability 1 - edge_drop, unless the model draws otherwise, and is normalised as the whole one."""

    n_thinned = 1

    def keep_all(self):
        """Begin with the whole graph."""
        self.keep(torch.ones(self.n_thinned, len(self.rows.items), dtype=torch.bool, device=self.generator.device))

    def keep(self, kept):
        """Make the graphs of the interactions (in the order of `rows`) that are true in each row of kept."""
        self.kept = kept
        self.thinned = [normalised_graph(self.rows.users[some], self.rows.items[some], self.rows.shape, loops=False)
                        for some in kept]

    def get_extra_state(self):
        return {'kept': self.kept}

    def set_extra_state(self, state):
        self.keep(state['kept'].to(self.generator.device))

    def begin_epoch(self, boundary):
        self.keep(torch.rand(self.kept.shape, generator=self.generator,
                             device=self.generator.device) >= self.settings.edge_drop)
        return {}
