"""Recall by user activity and item popularity: the groups, and what is found of each."""
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conftest import planted, write_dataset
from saved_runs import rows_of, save_run

from DataHandler import UserRows, load_dataset
from figures import groups
from Utils.Errors import InputError
from Utils.Metrics import DotScores, evaluate


def test_bins_hold_everyone_once(rng):
    for counts in (rng.integers(0, 4, 200), rng.geometric(0.05, 500), np.full(9, 3), np.array([0, 0])):
        found = groups.bins_of(counts)
        assert (sum(mask.astype(int) for _, mask in found) == 1).all()
        assert all(mask.any() for _, mask in found)
        assert len(found) <= groups.BINS + 1
        for label, mask in found:
            low, high = (int(end) for end in (label.split('-') * 2)[:2])
            assert (counts[mask].min(), counts[mask].max()) == (low, high)
    assert [(label, mask.sum()) for label, mask in groups.bins_of(np.array([1, 1, 1, 1, 1, 1, 2, 3, 9, 0]))] == [
        ('0', 1), ('1', 6), ('2-3', 2), ('9', 1)]


def embeddings(rng, data):
    arrays = {f'{name}_{side}': rng.normal(size=(size, 3)).astype(np.float32)
              for name in ('image', 'fused') for side, size in zip(('users', 'items'), data.train.shape, strict=True)}
    pairs = {name: tuple(torch.as_tensor(arrays[f'{name}_{side}']) for side in ('users', 'items'))
             for name in ('image', 'fused')}
    return arrays, DotScores(pairs)


@pytest.mark.parametrize('one_item_each', [True, False])
def test_recall_by_groups_is_that_of_the_evaluation(rng, tmp_path, to, one_item_each):
    """From the embeddings, and from per_user.npz alone where that says which item was found."""
    matrices, features = planted(rng)
    if one_item_each:
        test = matrices['tstMat'].toarray()
        test[np.arange(60), test.argmax(1)] *= 2
        matrices['tstMat'] = sp.coo_matrix((test == 2).astype(np.float32))
    train = matrices['trnMat'].toarray()
    cold = matrices['tstMat'].toarray().sum(0).argmax()
    train[:, cold] = 0
    matrices['trnMat'] = sp.coo_matrix(train)
    write_dataset(tmp_path / 'data' / 'tiny', matrices, features)
    data = load_dataset(tmp_path / 'data', 'tiny')
    arrays, score = embeddings(rng, data)
    rows = {split: UserRows(getattr(data, split), torch.device('cpu')) for split in ('train', 'test')}
    metrics = evaluate(score, rows['train'], {'test': rows['test']}, 20, 7)['test']
    run = save_run(tmp_path / 'run', '', 1, [0.1], (metrics.users, metrics.recall), 'tiny')
    command = ['--runs', str(run), '--data_dir', str(tmp_path / 'data'), '--to', str(to)]
    if one_item_each:
        groups.main(command)
        alone = rows_of(to / 'groups.csv')
    else:
        with pytest.raises(InputError, match='several test items'):
            groups.main(command)
    np.savez(run / 'embeddings.npz', **arrays)
    groups.main(command)
    table = rows_of(to / 'groups.csv')
    if one_item_each:
        assert table == alone
    users = [row for row in table if row['groups of'] == 'users']
    assert sum(int(row['test users']) for row in users) == len(metrics.users)
    model = next(name for name in table[0] if name.startswith('mdmns'))
    total = sum(int(row['test users']) * float(row[model]) for row in users)
    assert total / len(metrics.users) == pytest.approx(metrics.recall.mean())
    items = [row for row in table if row['groups of'] == 'items']
    assert items[0]['training interactions'] == '0'
    assert int(items[0]['test interactions']) == data.test[:, cold].nnz
    assert sum(int(row['test interactions']) for row in items) == data.test.nnz
    assert float(items[0]['popularity']) <= float(items[-1]['popularity'])


def test_what_is_found_beside_popularity():
    rows = groups.found_items({'a': [np.array([1, 1, 0, 0.]), np.array([1, 0, 0, 0.])],
                               'b': [np.array([0, 1, 1, 1.])]}, np.array([1, 0, 0, 1.]), np.array([5, 6, 7, 7]))
    assert [(row['model'], row['seeds'], str(row['share found']), row['of these by popularity, too'],
             row['different items']) for row in rows] == [
        ('b', 1, '0.7500', '33%', 2), ('a', 2, '0.3750 ± 0.1768', '75%', 2)]


def test_runs_of_several_data_sets_make_no_groups(tmp_path, to):
    runs = [save_run(tmp_path / name, '', 1, [0.1], dataset=name) for name in ('one', 'two')]
    with pytest.raises(InputError, match='several data sets'):
        groups.main(['--runs', *map(str, runs), '--to', str(to)])
