"""Scores and weights of a graph's edges that are trained themselves."""
import torch
from torch.autograd.function import once_differentiable

from Utils.Graph import Csr


class Edges:
    """Directed edges to targets from sources, sorted by target: the interactions seen from one side.

    A table of values by edge (E,) meets tables of nodes (N, d) in two ways, each of which is the gradient of the other,
    so that no row is ever copied to the edges.
    """

    def __init__(self, targets, sources, n_targets, n_sources):
        """targets, sources (E,): int64, sorted by target and under one target by source."""
        numbers = torch.arange(len(targets), device=targets.device)
        self.targets, self.sources, self.shape = targets, sources, (n_targets, n_sources)
        self.by_target = Csr.of_entries(targets, sources, numbers, self.shape)
        self.by_source = Csr.of_entries(sources, targets, numbers, self.shape[::-1])

    def products(self, targets, sources):
        """<target's row, source's row> of every edge (E,), of tables (N, d) of each side."""
        return _Products.apply(targets, sources, self)

    def sums(self, weights, sources):
        """Each target's sum (N, d) of its sources' rows by the edges' weights (E,)."""
        return _Sums.apply(weights, sources, self)

    def softmax(self, scores):
        """The softmax of every target's scores (E,), which are at most 1: so no highest is needed."""
        return _Softmax.apply(scores, self)

    def total(self, values):
        """Each target's sum of values (E,), given to all of its edges."""
        return self.to_targets(values, values.new_ones(self.shape[1], 1))[self.targets, 0]

    def to_targets(self, weights, sources):
        return with_values(self.by_target, weights).times(sources)

    def to_sources(self, weights, targets):
        return with_values(self.by_source, weights).times(targets)

    def row_products(self, targets, sources):
        return self.by_target.products(targets, sources)


def with_values(numbered, values):
    """A matrix whose entries are numbers of edges, with the edges' values in their place."""
    return Csr(numbered.starts, numbered.cols, values[numbered.values], numbered.shape)


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx, targets, sources, edges):
        ctx.edges = edges
        ctx.save_for_backward(targets, sources)
        return edges.row_products(targets, sources)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        targets, sources = ctx.saved_tensors
        return ctx.edges.to_targets(grad, sources), ctx.edges.to_sources(grad, targets), None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weights, sources, edges):
        ctx.edges = edges
        ctx.save_for_backward(weights, sources)
        return edges.to_targets(weights, sources)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        weights, sources = ctx.saved_tensors
        return ctx.edges.row_products(grad, sources), ctx.edges.to_sources(weights, grad), None


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, edges):
        powers = (scores - 1).exp()
        shares = powers / edges.total(powers)
        ctx.edges = edges
        ctx.save_for_backward(shares)
        return shares

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        shares, = ctx.saved_tensors
        return shares * (grad - ctx.edges.total(shares * grad)), None
