"""Losses against plain loops, and small cases worked by hand."""
import math

import pytest
import torch

from Benchmark import Plain
from Utils.Layers import unit_rows
from Utils.Utils import (
    bpr_loss,
    cross_modal_loss,
    embedding_decay,
    multi_level_loss,
    noise_levels,
    rows_of,
)


def tables(generator, names, n_users=9, n_items=7, d=4):
    return {name: tuple(torch.randn(n, d, dtype=torch.float64, generator=generator, requires_grad=True)
                        for n in (n_users, n_items)) for name in names}


def leaves(outputs):
    return [table for pair in outputs.values() for table in pair]


def compare(ours, plain, outputs):
    torch.testing.assert_close(ours, plain)
    for got, expected in zip(torch.autograd.grad(ours, leaves(outputs), allow_unused=True, materialize_grads=True),
                             torch.autograd.grad(plain, leaves(outputs), allow_unused=True, materialize_grads=True),
                             strict=True):
        torch.testing.assert_close(got, expected)


def test_bpr_by_hand():
    user, pos, neg = torch.tensor([[1.0, 2]]), torch.tensor([[1.0, 0]]), torch.tensor([[0.0, 1]])
    assert float(bpr_loss(user, pos, neg)) == pytest.approx(math.log(1 + math.e))  # <u, pos> - <u, neg> = -1
    assert float(bpr_loss(user, 1000 * pos, neg)) == pytest.approx(0)
    assert float(bpr_loss(user, -1000 * pos, neg)) == pytest.approx(1002)


def test_modal_bpr(rng, generator):
    outputs = tables(generator, ('fused', 'image', 'audio'))
    users, pos, neg = (torch.as_tensor(rng.integers(0, n, 5)) for n in (9, 7, 7))
    plain = 0
    for name in ('image', 'audio'):
        u, i = outputs[name]
        for b in range(5):
            plain = plain - torch.sigmoid(u[users[b]] @ i[pos[b]] - u[users[b]] @ i[neg[b]]).log()
    compare(Plain.modal_bpr_loss(outputs, users, pos, neg, 16), plain / 16, outputs)


def test_embedding_decay():
    assert float(embedding_decay(torch.tensor([[1.0, 2]]), torch.tensor([[3.0], [-1]]))) == 15


@pytest.mark.parametrize('n_modalities', [1, 2, 3])
def test_cross_modal(rng, generator, n_modalities):
    names = ('image', 'text', 'audio')[:n_modalities]
    views = tables(generator, names)
    users, items = torch.as_tensor(rng.integers(0, 9, 12)), torch.as_tensor(rng.integers(0, 7, 12))
    plain = sum(table.sum() * 0 for table in leaves(views))
    for a in range(n_modalities):
        for b in range(a + 1, n_modalities):
            for side, nodes in enumerate((users, items)):
                plain = plain + Plain.nce(views[names[a]][side][nodes], views[names[b]][side], 0.3, nodes)
    ours = cross_modal_loss(views, users, items, 0.3)
    if n_modalities == 1:
        assert ours == 0
    else:
        compare(ours, plain, views)


def test_noise_levels():
    assert noise_levels(5) == (0, 0, 1, 2)
    assert noise_levels(20) == (2, 2, 5, 10)


@pytest.mark.parametrize('levels', [(0, 0, 1, 2), (2, 2, 5), (), (0, 0.5)])
def test_multi_level(generator, levels):
    """Every level for itself, zero ones too, as SPEC writes it."""
    outputs = tables(generator, ('fused', 'image', 'text'))
    noise = {(name, level): torch.randn(7, 4, dtype=torch.float64, generator=generator)
             for name in ('image', 'text') for level in range(len(levels))}
    fused_users, fused_items = outputs['fused']
    plain = 0
    for name in ('image', 'text'):
        users, items = outputs[name]
        plain = plain + Plain.nce(fused_users, users, 0.5, torch.arange(9))
        plain = plain + Plain.nce(fused_items, items, 0.5, torch.arange(7))
        for number, level in enumerate(levels):
            noised = items.detach() + level * noise[name, number]
            plain = plain + Plain.nce(items, noised, 0.5, torch.arange(7))
    compare(multi_level_loss(outputs, levels, 0.5, lambda name, number: noise[name, number]), plain, outputs)


def test_rows_of_repeats(generator):
    table = torch.randn(6, 3, generator=generator, requires_grad=True)
    index = torch.tensor([1, 1, 4])
    rows_of(table, index).sum().backward()
    assert table.grad[:, 0].tolist() == [0, 2, 0, 0, 1, 0]


def test_sampled_multi_level_is_unbiased(rng, generator):
    """Over a sample the mean of those rows; over all rows once each, the loss itself."""
    outputs = tables(generator, ('fused', 'image', 'text'))
    noise = {(name, level): torch.randn(7, 4, dtype=torch.float64, generator=generator)
             for name in ('image', 'text') for level in range(3)}

    def loss(sample, levels=(0, 0, 2)):
        return multi_level_loss(outputs, levels, 0.5, lambda name, number: noise[name, number], sample, chunk=3)

    everything = torch.as_tensor(rng.permutation(9)), torch.as_tensor(rng.permutation(7))
    compare(loss(everything), loss(None), outputs)
    single = [loss((torch.tensor([user]), torch.tensor([item]))) for user in range(9) for item in range(7)]
    torch.testing.assert_close(sum(single) / len(single), loss(None))


def test_unit_rows(generator):
    table = torch.randn(7, 5, dtype=torch.float64, generator=generator)
    table[2] = 0
    table[3] *= 1e-14
    table.requires_grad_()
    weight = torch.randn(7, 5, dtype=torch.float64, generator=generator)
    ours, plain = unit_rows(table), torch.nn.functional.normalize(table)
    torch.testing.assert_close(ours, plain)
    ours, plain = (torch.autograd.grad((unit * weight).sum(), table)[0] for unit in (ours, plain))
    torch.testing.assert_close(ours, plain)
