"""Paired tests: known answers, and how often they reject where there is nothing to find."""
import numpy as np
import pytest
from scipy.stats import wilcoxon

from Experiments.Statistics import compare, holm, per_user
from Utils.Errors import InputError


def test_a_clear_difference_is_found_and_none_where_there_is_none(rng):
    second = rng.random(300)
    clear = compare(second + rng.normal(0.1, 0.2, 300), second, rng)
    assert clear.low < clear.difference < clear.high
    assert clear.low > 0
    assert max(clear.p_bootstrap, clear.p_wilcoxon) < 1e-3
    same = compare(second, second, rng)
    assert (same.difference, same.low, same.high, same.p_bootstrap, same.p_wilcoxon) == (0, 0, 0, 1, 1)


def test_values(rng):
    first, second = rng.random(80), rng.random(80)
    got = compare(first, second, rng)
    assert got.difference == pytest.approx(first.mean() - second.mean())
    assert got.p_wilcoxon == pytest.approx(wilcoxon(first - second).pvalue)
    error = (first - second).std() / np.sqrt(80)  # the bootstrap's interval is close to the normal one
    assert got.low == pytest.approx(got.difference - 1.96 * error, abs=0.2 * error)
    assert got.high == pytest.approx(got.difference + 1.96 * error, abs=0.2 * error)
    back = compare(second, first, rng)
    assert back.p_bootstrap == pytest.approx(got.p_bootstrap, abs=0.05)


def test_means_over_seeds_are_tied_where_they_are_equal():
    """Hits of 0 and 1, averaged over three seeds: as many thirds, tested as whole numbers are."""
    rng = np.random.default_rng(3)
    first, second = (rng.integers(2, size=(3, 400)) * (rng.random(400) < share) for share in (0.8, 0.7))
    whole = compare(first.sum(0), second.sum(0), rng)
    thirds = compare(first.mean(0), second.mean(0), rng)
    assert len(set(first.mean(0) - second.mean(0))) > len(set(first.sum(0) - second.sum(0))), 'ties are lost'
    assert thirds.p_wilcoxon == whole.p_wilcoxon


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # worked by hand
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])


def test_seeds_are_averaged_per_user(tmp_path):
    for seed, recall in ((1, [0, 1]), (2, [1, 1])):
        (tmp_path / str(seed)).mkdir()
        np.savez(tmp_path / str(seed) / 'per_user.npz', users=[3, 7], best_val_recall=recall)
    users, means = per_user([tmp_path / '1', tmp_path / '2'])
    assert (users.tolist(), means.tolist()) == ([3, 7], [0.5, 1])
    np.savez(tmp_path / '2' / 'per_user.npz', users=[3, 8], best_val_recall=[0, 0])
    with pytest.raises(InputError, match='other users'):
        per_user([tmp_path / '1', tmp_path / '2'])
    with pytest.raises(InputError, match='Run it again'):
        per_user([tmp_path])
