"""Normalised user-item graphs (SPEC section 1) and their products with embeddings.

A graph's matrix over users 0..U-1 and items U..U+I-1 is kept as its parts: the diagonal (every node's loop to
itself) and the two blocks between users and items. A part that several products share is then computed once.
"""
import warnings

import torch
import torch.nn.functional as F


class Csr:
    """A sparse matrix by rows: row r has the columns cols[starts[r]:starts[r + 1]] (32-bit) with these values."""

    def __init__(self, starts, cols, values, shape):
        self.starts, self.cols, self.values, self.shape = starts, cols, values, shape
        self.tensor = csr_tensor(self) if values.is_cuda else None

    @classmethod
    def of_entries(cls, rows, cols, values, shape):
        """From entries (int64 rows and cols, values) that are given once each, in any order."""
        order = torch.argsort(rows * shape[1] + cols)
        starts = torch.zeros(shape[0] + 1, dtype=torch.int64, device=rows.device)
        torch.cumsum(torch.bincount(rows, minlength=shape[0]), 0, out=starts[1:])
        return cls(starts.int(), cols[order].int(), values[order], shape)

    def entries(self):
        """(rows, cols, values) of every stored entry."""
        return torch.repeat_interleave(self.starts.diff()), self.cols.long(), self.values

    def times(self, dense):
        """The product with a dense matrix. On a CPU as a weighted sum of embeddings: at d = 64 three times faster than
        torch's own product of a CSR matrix."""
        if self.tensor is not None:
            return self.tensor @ dense
        return F.embedding_bag(self.cols, dense, self.starts, mode='sum', include_last_offset=True,
                               per_sample_weights=self.values)

    def products(self, left, right):
        """<row r of left, row c of right> of every stored entry (r, c), in their order; the values play no part. No row
        is copied to the entries."""
        structure = csr_tensor(Csr(self.starts, self.cols, left.new_zeros(len(self.cols)), self.shape))
        return torch.sparse.sampled_addmm(structure, left, right.T, beta=0).values()


def csr_tensor(matrix):
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta')
        warnings.filterwarnings('ignore', 'Sparse invariant checks are implicitly disabled')
        return torch.sparse_csr_tensor(matrix.starts, matrix.cols, matrix.values, matrix.shape, check_invariants=False)


class Block:
    """A fixed sparse matrix; `block @ dense` is differentiable with respect to the dense side.

    The transpose, which the backward pass needs, is kept beside it, so that nothing is converted or transposed at a
    product.
    """

    def __init__(self, matrix, transpose):
        self.matrix = matrix
        self.transpose = transpose

    @classmethod
    def of_entries(cls, rows, cols, values, shape):
        return cls(Csr.of_entries(rows, cols, values, shape), Csr.of_entries(cols, rows, values, shape[::-1]))

    def transposed(self):
        return Block(self.transpose, self.matrix)

    def __matmul__(self, dense):
        return _Product.apply(dense, self.matrix, self.transpose)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dense, matrix, transpose):
        ctx.transpose = transpose
        return matrix.times(dense)

    @staticmethod
    def backward(ctx, grad):
        return ctx.transpose.times(grad), None, None


class Graph:
    """A matrix [[diag(user_loops), to_users], [to_items, diag(item_loops)]] over users and items."""

    def __init__(self, user_loops, item_loops, to_users, to_items):
        self.user_loops = user_loops  # (U, 1)
        self.item_loops = item_loops  # (I, 1)
        self.to_users = to_users  # Block (U, I)
        self.to_items = to_items  # Block (I, U)

    def state(self):
        """Its parts as tensors, from which `from_state` makes the same graph again."""
        return {'user_loops': self.user_loops, 'item_loops': self.item_loops,
                'to_users': self.to_users.matrix.entries(), 'to_items': self.to_items.matrix.entries()}

    @classmethod
    def from_state(cls, state, device):
        user_loops, item_loops = (state[name].to(device) for name in ('user_loops', 'item_loops'))
        shape = len(user_loops), len(item_loops)
        to_users, to_items = (Block.of_entries(*(part.to(device) for part in state[name]), size)
                              for name, size in (('to_users', shape), ('to_items', shape[::-1])))
        return cls(user_loops, item_loops, to_users, to_items)

    def __call__(self, users, items):
        """The matrix times [users; items]: (U, d), (I, d) -> the same shapes."""
        return ((self.to_users @ items).addcmul_(self.user_loops, users),
                (self.to_items @ users).addcmul_(self.item_loops, items))

    def whole(self):
        """The matrix over users and items as torch sparse COO."""
        n_users, n_items = self.to_users.matrix.shape
        nodes = torch.arange(n_users + n_items, device=self.user_loops.device)
        up_users, up_items, up_values = self.to_users.matrix.entries()
        down_items, down_users, down_values = self.to_items.matrix.entries()
        rows = torch.cat([nodes, up_users, n_users + down_items])
        cols = torch.cat([nodes, n_users + up_items, down_users])
        values = torch.cat([self.user_loops[:, 0], self.item_loops[:, 0], up_values, down_values])
        return torch.sparse_coo_tensor(torch.stack([rows, cols]), values, (len(nodes),) * 2, check_invariants=False)


def normalised_graph(users, items, shape, dtype=torch.float32, loops=True, weights=None):
    """N(S) = D^-1/2 A D^-1/2 with A = [[0, S], [S', 0]] + Identity (SPEC section 1).

    users, items: int64 vectors, the edges of S, each once; shape: (U, I). loops: false leaves the Identity out, as
    LightGCN has it; nodes without edges then have rows of zeros. weights: S's entries at these edges, of at least 0;
    None: 1 each.
    """
    user_scale, item_scale = ((loops + torch.bincount(ends, weights, minlength=size)).to(dtype).rsqrt()
                              for ends, size in zip((users, items), shape, strict=True))
    values = user_scale[users] * item_scale[items]
    block = Block.of_entries(users, items, values if weights is None else values * weights, shape)
    diagonals = (scale.square()[:, None] if loops else torch.zeros_like(scale)[:, None]
                 for scale in (user_scale, item_scale))
    return Graph(*diagonals, block, block.transposed())


def drop_entries(graph, keep_rate, generator):
    """The graph with each stored entry (loops too, each direction alone) kept with probability `keep_rate` and
    divided by it (SPEC section 3, rebuilt graphs)."""
    if keep_rate == 1:
        return graph

    def kept(values):
        return torch.rand(values.shape, generator=generator, device=values.device) < keep_rate

    def dropped_loops(loops):
        return loops * kept(loops) / keep_rate

    def dropped_block(block):
        rows, cols, values = block.matrix.entries()
        chosen = kept(values)
        return Block.of_entries(rows[chosen], cols[chosen], values[chosen] / keep_rate, block.matrix.shape)

    return Graph(dropped_loops(graph.user_loops), dropped_loops(graph.item_loops),
                 dropped_block(graph.to_users), dropped_block(graph.to_items))
