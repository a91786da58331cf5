"""Normalised user-item graphs (SPEC section 1) and their products with embeddings.

Nodes are users 0..U-1 followed by items U..U+I-1.
"""
import torch


class Graph:
    """A fixed sparse (N, N) matrix; `graph @ dense` is differentiable with respect to the dense side.

    The matrix and its transpose are both kept as CSR, so that neither pass converts anything; a symmetric
    matrix is its own transpose.
    """

    def __init__(self, matrix, transpose=None):
        self.matrix = matrix
        self.transpose = matrix if transpose is None else transpose

    def __matmul__(self, dense):
        return _Product.apply(dense, self.matrix, self.transpose)

    def to_dense(self):
        return self.matrix.to_dense()


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dense, matrix, transpose):
        ctx.transpose = transpose
        return matrix @ dense

    @staticmethod
    def backward(ctx, grad):
        return ctx.transpose @ grad, None, None


def csr_matrix(rows, cols, values, n):
    """An (n, n) torch CSR matrix of entries that are given once each, in any order."""
    order = torch.argsort(rows * n + cols)
    starts = torch.zeros(n + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(torch.bincount(rows, minlength=n), 0, out=starts[1:])
    # 32-bit indices: what the CPU's sparse library works with; 64-bit ones are converted at every product
    return torch.sparse_csr_tensor(starts.int(), cols[order].int(), values[order], (n, n))


def normalised_entries(users, items, n_users, n_items, dtype=torch.float32):
    """Entries of N(S) = D^-1/2 A D^-1/2 with A = [[0, S], [S', 0]] + Identity (SPEC section 1).

    users, items: int64 vectors, the edges of S, each once. Returns rows, cols, values.
    """
    nodes = torch.arange(n_users + n_items, device=users.device)
    items = items + n_users
    rows = torch.cat([users, items, nodes])
    cols = torch.cat([items, users, nodes])
    scale = torch.bincount(rows, minlength=len(nodes)).to(dtype).rsqrt()
    return rows, cols, scale[rows] * scale[cols]


def normalised_graph(users, items, n_users, n_items, dtype=torch.float32):
    """N(S) of the edges (users, items) as a `Graph`."""
    entries = normalised_entries(users, items, n_users, n_items, dtype)
    return Graph(csr_matrix(*entries, n_users + n_items))


def dropped_graph(users, items, n_users, n_items, keep_rate, generator, dtype=torch.float32):
    """N(S) with each stored entry (self-loops too, each direction alone) kept with probability `keep_rate`
    and divided by it (SPEC section 3, rebuilt graphs)."""
    if keep_rate == 1:
        return normalised_graph(users, items, n_users, n_items, dtype)
    n = n_users + n_items
    rows, cols, values = normalised_entries(users, items, n_users, n_items, dtype)
    kept = torch.rand(len(rows), generator=generator, device=rows.device) < keep_rate
    rows, cols, values = rows[kept], cols[kept], values[kept] / keep_rate
    return Graph(csr_matrix(rows, cols, values, n), csr_matrix(cols, rows, values, n))
