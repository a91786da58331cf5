"""NCE by chunks against the plain formula, values and gradients, in float64."""
import pytest
import torch
import torch.nn.functional as F

from Benchmark import Plain
from Utils import NCE
from Utils.NCE import nce, unit_self_nce


@pytest.fixture(autouse=True, params=[(16, 10), None], ids=['small tiles', 'default tiles'])
def tiles(request, monkeypatch):
    if request.param:  # so that a few rows make several tiles
        monkeypatch.setitem(NCE.TILE, 'cpu', request.param)


def normal(generator, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)


def compare(ours, plain, tensors):
    torch.testing.assert_close(ours, plain)
    for got, expected in zip(torch.autograd.grad(3 * ours, tensors), torch.autograd.grad(3 * plain, tensors),
                             strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(('n', 'chunk'), [(23, 7), (23, 23), (23, 100), (1, 16), (64, 1), (30, None), (1100, None)])
@pytest.mark.parametrize('temp', [0.5, 0.1, 0.01])
def test_all_rows(generator, n, chunk, temp):
    rows, columns = normal(generator, n, 6), normal(generator, n, 6)
    compare(nce(rows, columns, temp, chunk=chunk), Plain.nce(rows, columns, temp, torch.arange(n)), [rows, columns])


@pytest.mark.parametrize('chunk', [4, 11, None])
def test_some_rows_repeated(rng, generator, chunk):
    table, columns = normal(generator, 19, 5), normal(generator, 19, 5)
    targets = torch.as_tensor(rng.integers(0, 19, 11))
    targets[3] = targets[0]
    compare(nce(table[targets], columns, 0.2, targets, chunk), Plain.nce(table[targets], columns, 0.2, targets),
            [table, columns])


@pytest.mark.parametrize('side', [0, 1])
@pytest.mark.parametrize(('n', 'chunk'), [(150, 7), (12, 5), (1, None), (1100, None)])
@pytest.mark.parametrize('temp', [0.3, 0.01])
def test_one_side_only(generator, side, n, chunk, temp):
    pair = [normal(generator, n, 4), normal(generator, n, 4)]
    pair[1 - side] = pair[1 - side].detach()
    compare(nce(*pair, temp, chunk=chunk), Plain.nce(*pair, temp, torch.arange(n)), [pair[side]])


@pytest.mark.parametrize(('n', 'chunk'), [(23, 7), (23, 23), (1, 16), (40, None), (1100, None)])
@pytest.mark.parametrize('temp', [0.5, 0.01])
def test_against_itself(generator, n, chunk, temp):
    rows = normal(generator, n, 6)
    compare(unit_self_nce(F.normalize(rows), temp, chunk), Plain.nce(rows, rows.detach(), temp, torch.arange(n)),
            [rows])


def test_without_gradients(generator):
    rows, columns = normal(generator, 9, 4).detach(), normal(generator, 9, 4).detach()
    ours = nce(rows, columns, 0.5)
    assert not ours.requires_grad
    torch.testing.assert_close(ours, Plain.nce(rows, columns, 0.5, torch.arange(9)))
    torch.testing.assert_close(unit_self_nce(F.normalize(rows), 0.5), Plain.nce(rows, rows, 0.5, torch.arange(9)))


def test_a_row_of_zeros_is_finite(generator):
    rows = normal(generator, 5, 3).detach()
    rows[2] = 0
    rows.requires_grad_()
    loss = nce(rows, rows, 0.5)
    loss.backward()
    assert rows.grad.isfinite().all()


def test_gradients_reach_further_back(generator):
    """The function can stand inside a larger graph: its gradient is scaled by what follows it."""
    weight, x = normal(generator, 4, 4), normal(generator, 10, 4)
    plain = Plain.nce(x @ weight, x, 0.5, torch.arange(10)).square()
    ours = nce(x @ weight, x, 0.5, chunk=3).square()
    torch.testing.assert_close(torch.autograd.grad(ours, weight)[0], torch.autograd.grad(plain, weight)[0])


@pytest.mark.parametrize('temp', [0.05, 0.01, 0.003])
@pytest.mark.parametrize('both', [False, True])
def test_small_temperatures_in_float32(generator, temp, both):
    """exp(1/temp) is beyond float32; rows whose best match is poor would vanish beside others' good ones."""
    rows = torch.randn(40, 6, generator=generator)
    columns = torch.cat([rows[:20], -rows[20:].abs()])  # half of the rows have an equal, the others hardly a match
    rows[20:] = rows[20:].abs()
    rows.requires_grad_()
    columns.requires_grad_(both)
    ours = nce(rows, columns, temp, chunk=16)
    doubles = [table.detach().double().requires_grad_() for table in (rows, columns)]
    plain = Plain.nce(*doubles, temp, torch.arange(40))
    torch.testing.assert_close(ours.double(), plain, rtol=1e-4, atol=1e-4)
    got, expected = torch.autograd.grad(ours, rows)[0], torch.autograd.grad(plain, doubles[0])[0]
    torch.testing.assert_close(got.double(), expected, rtol=1e-3, atol=1e-4)
