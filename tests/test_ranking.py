"""The loss of ranking against its sum, entry by entry in float64, in the function and in every model that takes it."""
import pytest
import torch
from conftest import N_USERS, POSITIVES, USERS, WIDTHS, close, make_dataset, make_model, result_of_run

from Baselines import BASELINES
from DataHandler import UserRows
from Params import parse
from Utils.Errors import InputError
from Utils.Ranking import Ranking, log_weights, softmax_loss

RANKED = [name for name, model in BASELINES.items() if 'loss' in model.flags]


def cosine(a, b):
    return a @ b / (a.norm() * b.norm())


def plain(users, items, positives, temp, counts, power):
    """mean of -s_up + log sum_j a_j exp(s_uj)."""
    a = counts**power / (counts**power).mean()
    total = 0
    for user, positive in zip(users, positives, strict=True):
        s = torch.stack([cosine(user, item) / temp for item in items])
        total = total - s[positive] + (a * s.exp()).sum().log()
    return total / len(users)


@pytest.mark.parametrize(('temp', 'power'), [(0.2, 0), (0.2, 0.75), (0.01, 0), (0.01, 1), (3, 1)])
def test_softmax(rng, generator, temp, power):
    """At the lower temperature exponentials are shifted; some items have no interaction."""
    rows = UserRows(make_dataset(rng).train)
    counts = torch.bincount(rows.items, minlength=11).double()
    assert (counts == 0).any()
    users, items = (torch.randn(n, 5, dtype=torch.float64, generator=generator, requires_grad=True) for n in (8, 11))
    positives = torch.as_tensor(rng.choice(rows.items.unique(), 8))
    ours = softmax_loss(users, items, positives, temp, log_weights(rows, power) if power else None)
    expected = plain(users, items, positives, temp, counts, power)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(*(torch.autograd.grad(loss, (users, items)) for loss in (ours, expected)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
        assert mine.isfinite().all()


def test_an_item_without_interactions_is_no_negative_of_a_power(rng, generator):
    rows = UserRows(make_dataset(rng).train)
    cold = int((torch.bincount(rows.items, minlength=11) == 0).nonzero()[0])
    users, items = (torch.randn(n, 5, generator=generator, requires_grad=True) for n in (8, 11))
    positives = rows.items[:8]
    for power, pushed in ((0, True), (0.5, False)):
        grad, = torch.autograd.grad(Ranking(parse(f'--loss softmax --loss_pop {power}'.split()), rows)(
            (users, None, None), positives, lambda: items), items)
        assert bool((grad[cold].abs() > 1e-12).any()) == pushed


@pytest.mark.parametrize('name', RANKED)
def test_every_model_that_ranks_takes_it(rng, name):
    """The term is that of its outputs, its scores are their cosines, all that it has is trained."""
    dataset = make_dataset(rng, WIDTHS)
    flags = '--loss softmax --loss_temp 0.3 --loss_pop 0.5 --edge_drop 0 --message_drop 0 --keepRate 1 --reg 0.1'
    model = make_model(name, dataset, flags)
    if name == 'diffmm':
        model.rebuild_graphs()
    outputs = model.outputs() if name != 'diffmm' else model.outputs(model.project())['fused']
    users, items = (table.detach().double() for table in outputs)
    counts = torch.bincount(model.rows.items, minlength=len(items)).double()
    positives = torch.where(counts[POSITIVES] > 0, POSITIVES, counts.argmax())
    terms = model.losses(USERS, positives, POSITIVES)
    assert 'bpr' not in terms
    close(terms['softmax'], plain(users[USERS], items, positives, 0.3, counts, 0.5))
    norm = users.norm(dim=1)[:, None] * items.norm(dim=1)
    close(model.scores()(torch.arange(N_USERS)), users @ items.T / norm.clamp(min=1e-12))
    sum(terms.values()).backward()
    assert all(parameter.grad is not None for parameter in model.loop_parameters())


def test_it_finds_what_is_withheld(rng, tmp_path):
    assert result_of_run(tmp_path, rng, 'lightgcn --loss softmax')['best_val']['test']['recall'] > 0.9


def test_a_decay_that_cosines_do_not_see_is_refused():
    with pytest.raises(InputError, match='--decay outputs weighs the lengths of rows, which --loss softmax does not'):
        parse(['--decay', 'outputs', '--loss', 'softmax'])
