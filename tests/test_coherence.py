"""Whether features belong to their items: by plain loops, known values, what is said and what is left alone."""
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conftest import planted, write_dataset

from DataHandler import SPLITS, feature_files, load_features, load_matrix
from Datasets import check
from Features.Coherence import BLOCK, PERMUTATIONS, SEED, coherence, draw_pairs
from Main import main

REAL = Path(__file__).resolve().parent.parent.parent / 'shared' / 'data'


def tasteful(rng, n_users=1500, n_items=200, width=6, strength=1.0):
    """Users who choose from one of ten groups of items, and features that show the group, at this strength."""
    groups, users = np.arange(n_items) % 10, np.arange(n_users)
    items = users[:, None] % 10 + 10 * rng.random((n_users, n_items // 10)).argsort(1)[:, :3]
    train = sp.csr_matrix((np.ones(items.size, np.float32), (users.repeat(3), items.ravel())), (n_users, n_items))
    table = rng.normal(size=(n_items, width)) + strength * rng.normal(size=(10, width))[groups]
    return train, table.astype(np.float32)


def plain_cosines(table):
    centred = table.astype(np.float64) - table.astype(np.float64).mean(0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 1e-6)
    return unit @ unit.T


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_the_same_as_by_shuffling_pair_by_pair(rng, dtype):
    train, table = tasteful(rng)
    table = (10 * table).astype(dtype)
    table[3] = 0  # a row of zeros is a row like others
    told = coherence(train, table)
    cosines = plain_cosines(table)
    first, second = draw_pairs(train, np.random.default_rng(SEED), 10**9)
    first, second = first[:told.pairs], second[:told.pairs]
    assert len(first) - told.pairs < BLOCK
    shuffled = [cosines[first, rng.permutation(second)].mean() for _ in range(20 * PERMUTATIONS)]
    difference = cosines[first, second].mean() - np.mean(shuffled)
    assert told.difference == pytest.approx(difference, abs=4 * np.std(shuffled) / PERMUTATIONS**0.5 + 0.01)
    assert told.z == pytest.approx(difference / np.std(shuffled), rel=0.3)
    assert told.z > 10


def test_features_of_other_items_are_doubtful(rng):
    train, table = tasteful(rng, n_items=2000, width=40)
    told = coherence(train, table[rng.permutation(len(table))])
    assert abs(told.z) < 6  # 0 and a standard deviation of 1
    assert told.doubtful == (told.z < 4)
    assert ('may belong to other items' in str(told)) == told.doubtful
    assert not coherence(train, table).doubtful


def test_one_pair_of_each_user(rng):
    """A user with many items counts as much as one with two; users with fewer than two have no pair."""
    train = sp.csr_matrix((rng.random((50, 30)) < rng.random((50, 1))).astype(np.float32))
    counts = np.diff(train.indptr)
    first, second = draw_pairs(train, rng, 1000)
    assert len(first) == (counts >= 2).sum()
    assert (first != second).all()
    owners = [{user for user in range(50) if {a, b} <= set(train[user].indices)}
              for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert set.union(set(), *owners) >= set(np.flatnonzero(counts == 2).tolist())
    assert len(draw_pairs(train, rng, 7)[0]) == 7
    drawn = [tuple(pair) for _ in range(300) for pair in
             zip(*draw_pairs(sp.csr_matrix(np.ones((1, 4))), rng, 9), strict=True)]
    assert set(drawn) == {(a, b) for a in range(4) for b in range(4) if a != b}


def test_it_is_the_same_each_time_and_leaves_every_random_stream_alone(rng):
    train, table = tasteful(rng)
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    kept = train.copy(), table.copy()
    assert coherence(train, table) == coherence(train, table)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == torch.get_num_threads()
    assert (kept[0] != train).nnz == 0
    assert (kept[1] == table).all()


def test_filled_rows_say_nothing(rng):
    """Rows on the mean, as --missing mean makes them, have no direction: not that of what rounding leaves."""
    train, table = tasteful(rng)
    table = table + np.float32(50)
    lacking = rng.permutation(len(table))[:150]
    table[lacking] = np.delete(table, lacking, axis=0).mean(0, dtype=np.float64)
    told = coherence(train, table)
    cosines = plain_cosines(np.where(np.isin(np.arange(len(table)), lacking)[:, None], table.mean(0), table))
    cosines[lacking] = cosines[:, lacking] = 0
    first, second = draw_pairs(train, np.random.default_rng(SEED), 10**9)
    others = cosines[first][:, second].mean()
    assert told.difference == pytest.approx(cosines[first, second].mean() - others, abs=0.02)


@pytest.mark.parametrize(('n_users', 'change'), [(0, 1), (1, 1), (2, 1), (40, 0), (70, 1), (300, 0.01)])
def test_too_few_pairs_are_no_alarm(rng, n_users, change):
    train, table = tasteful(rng, strength=change)
    told = coherence(train[:n_users], table)
    assert not told.doubtful
    assert (told.z is not None and told.z >= 4) or 'too few to tell' in str(told)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('value', [0, 3, 1e38])
def test_rows_that_are_all_alike(rng, value):
    train, table = tasteful(rng)
    told = coherence(train, np.full_like(table, value))
    assert (told.z, told.doubtful) == (None, False)
    assert 'every row is alike' in str(told)


def test_huge_values_do_not_overflow_aloud(rng):
    train, table = tasteful(rng)
    table[::2] *= np.float32(1e37)
    assert coherence(train, table).pairs


def test_wide_features_take_no_longer(rng):
    train, table = tasteful(rng, n_users=20000)
    table = np.tile(table, (1, 1000))
    began = time.thread_time()
    told = coherence(train, table)
    assert told.pairs == pytest.approx(50e6 / table.shape[1], abs=BLOCK * 2)
    assert time.thread_time() - began < 1


def lines_of(capsys, *words):
    return [line for line in capsys.readouterr().out.splitlines() if all(word in line for word in words)]


def test_check_warns_and_stays_at_exit_code_0(rng, tmp_path, capsys):
    train, table = tasteful(rng)
    test = sp.csr_matrix((train.toarray() < np.roll(train.toarray(), 1, 1)).astype(np.float32))
    write_dataset(tmp_path / 'odd', {'trnMat': train, 'valMat': sp.csr_matrix(train.shape), 'tstMat': test},
                  {'image': table, 'text': rng.normal(size=table.shape)})
    assert check.main(['odd', '--data_dir', str(tmp_path)]) == 0
    lines = lines_of(capsys, '')
    told = {name: next(line for line in lines if f'modality {name}: cosine' in line) for name in ('image', 'text')}
    assert 'warning' not in told['image']
    assert told['text'].startswith('warning: modality text')
    assert lines[-1] == 'nothing wrong, 1 to be looked at (warning)'


def test_main_says_it_once_where_features_are_used(rng, tmp_path, capsys):
    write_dataset(tmp_path / 'tiny', *planted(rng))
    command = f'--data tiny --data_dir {tmp_path} --device cpu --latdim 8 --dims 16 --batch 64 --topk 5'.split()
    for flags, lines in ((f'--out {tmp_path / "a"} --epoch 1', 2), (f'--out {tmp_path / "a"} --epoch 2 --resume', 0),
                         (f'--out {tmp_path / "b"} --model pop', 0),
                         (f'--out {tmp_path / "c"} --epoch 1 --model vbpr --modalities text', 1)):
        assert main([*command, *flags.split()]) == 0
        assert len(lines_of(capsys, 'modality ', 'z ')) == lines, flags


KNOWN = [('tiktok', {'image': 18, 'audio': 5}), ('sports', {'brand': 42, 'category': 142})]


@pytest.mark.parametrize(('name', 'known'), KNOWN)
def test_known_values(name, known):
    if not (REAL / name).is_dir():
        pytest.skip(f'the real data {REAL / name} are not here')
    train = load_matrix(REAL / name, SPLITS['train'])
    for modality, path in feature_files(REAL / name).items():
        table = load_features(path, train.shape[1])
        began = time.thread_time()
        assert coherence(train, table).z == pytest.approx(known[modality], rel=0.15)
        assert time.thread_time() - began < 1
        assert abs(coherence(train, np.random.default_rng(1).permutation(table)).z) < 4
