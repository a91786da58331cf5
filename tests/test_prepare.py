"""From raw interactions to a data set folder: formats, filters, splits, features, and what is refused."""
import csv
import gzip
import json
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import planted, write_dataset

from DataHandler import load_dataset
from Datasets import check, convert, prepare
from Datasets.interactions import k_core, split
from Datasets.raw import read_interactions
from Main import main as train


def run(path, out, *flags):
    return prepare.main([str(path), '--name', 'made', '--data_dir', str(out), *map(str, flags)])


def ids(folder, side):
    with open(folder / f'{side}.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [int(row['index']) for row in rows] == list(range(len(rows)))
    return [row['id'] for row in rows]


def pairs(folder, splits=('train', 'val', 'test')):
    """The interactions of a folder by their original ids."""
    data = load_dataset(folder.parent, folder.name)
    users, items = ids(folder, 'users'), ids(folder, 'items')
    found = []
    for name in splits:
        matrix = getattr(data, name).tocoo()
        found += [(users[user], items[item]) for user, item in zip(matrix.row, matrix.col, strict=True)]
    return sorted(found)


@pytest.fixture
def raw(rng):
    """Distinct interactions of 30 users with text ids, rated and timed."""
    rows = [(f'u{user}', f'i "{item}", x', int(rng.integers(1, 6)), int(rng.integers(10**9)))
            for user in range(30) for item in rng.choice(40, int(rng.integers(3, 25)), replace=False)]
    return [rows[n] for n in rng.permutation(len(rows))]


def write_csv(path, rows, header=('user_id', 'item_id', 'rating', 'timestamp'), delimiter=',', opener=open):
    with opener(path, 'wt', newline='') as file:
        quoting = {'quoting': csv.QUOTE_NONE, 'quotechar': None} if delimiter == '\t' else {}
        writer = csv.writer(file, delimiter=delimiter, **quoting)
        writer.writerows([header, *rows] if header else rows)
    return path


@pytest.mark.parametrize(('name', 'delimiter', 'header', 'opener', 'flags'), [
    ('a.csv', ',', ('user_id', 'item_id', 'rating', 'timestamp'), open, ()),
    ('a.tsv', '\t', ('userId', 'movieId', 'rating', 'timestamp'), open, ()),
    ('a.csv.gz', ',', ('who', 'what', 'stars', 'when'), gzip.open,
     ('--user', 'who', '--item', 'what', '--time', 'when')),
    ('a.dat', '|', None, open, ('--user', 1, '--item', 2, '--rating', 3, '--time', 4)),
    ('a.inter', '\t', ('user_id:token', 'item_id:token', 'rating:float', 'timestamp:float'), open, ())])
def test_every_format_holds_the_same(raw, tmp_path, name, delimiter, header, opener, flags):
    path = write_csv(tmp_path / name, raw, header, delimiter, opener)
    assert run(path, tmp_path, '--min_rating', 2, *flags) == 0
    folder = tmp_path / 'made'
    assert pairs(folder) == sorted((user, item) for user, item, rating, _ in raw if rating >= 2)
    facts = json.loads((folder / 'dataset.json').read_text())
    assert facts['interactions'] == {'read': len(raw), 'rated 2 or higher': sum(row[2] >= 2 for row in raw),
                                     'user and item once each': sum(row[2] >= 2 for row in raw)}
    assert facts['statistics']['together'] == sum(row[2] >= 2 for row in raw)
    assert facts['command'].startswith('python Datasets/prepare.py')
    assert facts['name'] == 'made'
    assert {'trnMat.npz', 'items.csv'} <= set(facts['sha256'])
    assert check.check(folder).wrong == 0


def test_small_chunks_read_the_same(raw, tmp_path, monkeypatch):
    path = write_csv(tmp_path / 'a.csv', raw)
    whole = read_interactions(path)
    monkeypatch.setattr('Formats.Blocks.BLOCK', 100)
    pieces = read_interactions(path)
    assert (whole.user_ids, whole.item_ids) == (pieces.user_ids, pieces.item_ids)
    for name, column in whole.columns().items():
        np.testing.assert_array_equal(column, pieces.columns()[name])


def test_mmrec_splits_and_numbers_are_kept(tmp_path, rng):
    matrices, _ = planted(rng)
    rows = [(user, item, label) for label, stem in enumerate(('trnMat', 'valMat', 'tstMat'))
            for user, item in zip(matrices[stem].row, matrices[stem].col, strict=True)]
    path = write_csv(tmp_path / 'a.inter', [rows[n] for n in rng.permutation(len(rows))],
                     ('userID', 'itemID', 'x_label'), '\t')
    table = rng.normal(size=(40, 3))
    np.save(tmp_path / 'text.npy', table)
    assert run(path, tmp_path, '--features', f'text={tmp_path / "text.npy"}') == 0
    data = load_dataset(tmp_path, 'made')
    for split_name, stem in (('train', 'trnMat'), ('val', 'valMat'), ('test', 'tstMat')):
        assert np.array_equal(getattr(data, split_name).toarray(), matrices[stem].toarray())
    np.testing.assert_allclose(data.features['text'], table, rtol=1e-6)
    assert train(['--data', 'made', '--data_dir', str(tmp_path), '--epoch', '1', '--dims', '8', '--latdim', '4',
                  '--out', str(tmp_path / 'run')]) == 0


def test_doubles_count_once_at_their_earliest(tmp_path):
    path = write_csv(tmp_path / 'a.csv', [('a', 'x', 1, 9), ('a', 'y', 1, 2), ('a', 'x', 1, 1), ('a', 'z', 1, 5)])
    assert run(path, tmp_path, '--split', 'leave-one-out') == 0
    assert pairs(tmp_path / 'made', ['train']) == [('a', 'x')]
    assert pairs(tmp_path / 'made', ['val']) == [('a', 'y')]
    assert pairs(tmp_path / 'made', ['test']) == [('a', 'z')]


def test_k_core(raw, tmp_path):
    data = read_interactions(write_csv(tmp_path / 'a.csv', raw))
    left = set(zip(data.users.tolist(), data.items.tolist(), strict=True))
    while True:  # one at a time
        users, items = [user for user, _ in left], [item for _, item in left]
        poor = {pair for pair in left if users.count(pair[0]) < 8 or items.count(pair[1]) < 8}
        if not poor:
            break
        left -= poor
    core = k_core(data, 8)
    assert set(zip(core.users.tolist(), core.items.tolist(), strict=True)) == left


@pytest.mark.parametrize('how', ['random', 'leave-one-out', 'time'])
def test_splits(raw, tmp_path, how):
    data = read_interactions(write_csv(tmp_path / 'a.csv', raw))
    parts = split(data, how, (8, 1, 1), np.random.default_rng(0))
    np.testing.assert_array_equal(parts, split(data, how, (8, 1, 1), np.random.default_rng(0)))
    assert how == 'time' or (parts != split(data, 'random', (8, 1, 1), np.random.default_rng(1))).any()
    if how == 'time':
        assert data.times[parts == 0].max() <= data.times[parts == 1].min()
        assert data.times[parts == 1].max() <= data.times[parts == 2].min()
        assert abs((parts == 0).mean() - 0.8) < 1 / len(parts)
        return
    for user in range(len(data.user_ids)):
        mine = data.users == user
        n, counts = mine.sum(), np.bincount(parts[mine], minlength=3)
        tenth = int(n / 10 + 0.5)
        assert counts.tolist() == ([n - 2 * tenth, tenth, tenth] if how == 'random' else [n - 2, 1, 1])
        if how == 'leave-one-out':
            assert data.times[mine][parts[mine] == 2] == data.times[mine].max()
            assert data.times[mine][parts[mine] == 0].max() <= data.times[mine][parts[mine] == 1].min()


def test_users_with_few_interactions_stay_in_training(tmp_path):
    rows = [('one', 'x'), ('two', 'x'), ('two', 'y')]
    data = read_interactions(write_csv(tmp_path / 'a.csv', rows, ('user', 'item')))
    assert split(data, 'leave-one-out', None, np.random.default_rng(0)).tolist() == [0, 0, 0]
    for ratio in ((1, 4, 4), (1, 9, 0), (1, 0, 9)):
        parts = split(data, 'random', ratio, np.random.default_rng(0))
        assert np.bincount(data.users[parts == 0], minlength=2).tolist() == [1, 1]


def test_dates_are_times(tmp_path):
    rows = [('a', 'x', '2024-03-01 12:00:00'), ('a', 'y', '2023-01-01')]
    data = read_interactions(write_csv(tmp_path / 'a.csv', rows, ('user', 'item', 'date')))
    assert data.times[0] > data.times[1]


@pytest.mark.parametrize('kind', ['ids and features', 'one array per id', 'folder', 'csv', 'npy'])
@pytest.mark.parametrize('missing', ['mean', 'zero', 'refuse'])
def test_features_find_their_items(raw, tmp_path, rng, capsys, kind, missing):
    path = write_csv(tmp_path / 'a.csv', raw)
    seen = list(dict.fromkeys(row[1] for row in raw))
    vectors = {name: rng.normal(size=3).astype(np.float32) for name in [*seen, 'never bought']}
    absent = seen[3]
    if kind != 'npy':
        del vectors[absent]
    names = [sorted(vectors)[n] for n in rng.permutation(len(vectors))]
    if kind == 'csv':
        file = write_csv(tmp_path / 'f.csv', [(name, *vectors[name]) for name in names], ('item', 'a', 'b', 'c'))
    elif kind == 'npy':
        del vectors['never bought']
        np.save(file := tmp_path / 'f.npy', np.stack([vectors[name] for name in seen]))
    elif kind == 'folder':
        (file := tmp_path / 'vectors').mkdir()
        for name in names:
            np.save(file / f'{name}.npy', vectors[name][None])
    elif kind == 'one array per id':
        np.savez(file := tmp_path / 'f.npz', **{name: vectors[name] for name in names})
    else:
        np.savez(file := tmp_path / 'f.npz', ids=np.array(names), features=np.stack([vectors[name] for name in names]))
    code = run(path, tmp_path, '--features', f'image={file}', '--missing', missing,
               *(['--feature_order', 'appearance'] if kind == 'npy' else []))
    if missing == 'refuse' and kind != 'npy':
        assert code == 2
        assert f'no features for 1 of {len(seen)} items, the first of them {absent!r}' in capsys.readouterr().err
        assert not (tmp_path / 'made').exists()
        return
    assert code == 0
    table = load_dataset(tmp_path, 'made').features['image']
    mean = np.mean([vectors[name] for name in seen if name in vectors], 0)
    for row, name in zip(table, ids(tmp_path / 'made', 'items'), strict=True):
        np.testing.assert_allclose(row, vectors.get(name, mean if missing == 'mean' else np.zeros(3)), rtol=1e-4,
                                   atol=1e-6)


BAD = [
    (b'', 'is empty'), (b'user,item\n', 'no interaction'), (b'who,what\na,b\n', 'known to name the user'),
    (b'user,item,rating\na,b,good\n', "'good' is not a number"), (b'user,item\n"a,b\n', 'opens a quote'),
    (b'user,item\na,\n', 'line 2 has no item'),
    (b'user,item,rating\na,b,1\na,c,\n', 'line 3 has no rating'), (b'user,item\n\xff\xfe,b\n', 'UTF-8'),
    (b'user,item,x_label\na,b,7\n', 'other values than 0')]


@pytest.mark.parametrize(('content', 'message'), BAD)
def test_bad_files(tmp_path, capsys, content, message):
    (tmp_path / 'a.csv').write_bytes(content)
    assert run(tmp_path / 'a.csv', tmp_path, *(['--min_rating', 0] if b'rating' in content else [])) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count('\n') == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.csv'], 'nothing half-made is left'


@pytest.mark.parametrize(('flags', 'message'), [
    (('--kcore', 99), 'No interaction of'), (('--min_rating', 9), 'No interaction of'),
    (('--user', 'nobody'), 'no column'),
    (('--user', '1'), 'both be given'), (('--user', 1, '--item', 9), '4 columns'), (('--split', 'label'), 'x_label'),
    (('--format', 'inter'), 'x_label'), (('--ratio', 0, 1, 1), 'positive part'),
    (('--features', 'image'), 'MODALITY=FILE'),
    (('--features', 'image=nowhere.npy'), 'is not there'), (('--features', 'image=nowhere.txt'), 'is not there'),
    (('--name', '../up'), 'name of one folder'), (('--split', 'never'), 'invalid choice'),
    (('--kcore', 0), 'at least 1'),
    (('--user', 'timestamp'), 'two meanings')])
def test_bad_flags(raw, tmp_path, capsys, flags, message):
    assert run(write_csv(tmp_path / 'a.csv', raw), tmp_path, *flags) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count('\n') == 1
    assert not (tmp_path / 'made').exists()


def test_columns_that_are_not_needed_are_not_read(tmp_path, capsys):
    rows = [('a', 'x', '', '03/01/2024'), ('a', 'y', 'good', ''), ('a', 'z', 1, '')]
    path = write_csv(tmp_path / 'a.csv', rows, ('user', 'item', 'rating', 'date'))
    assert run(path, tmp_path, '--split', 'leave-one-out') == 2
    assert 'line 3 has no time' in capsys.readouterr().err
    path.write_text(path.read_text().replace(',\n', ',soon\n'))
    assert run(path, tmp_path, '--split', 'leave-one-out') == 2
    assert "'03/01/2024' is not a number or a date" in capsys.readouterr().err
    assert run(path, tmp_path, '--split', 'leave-one-out', '--time', 'none') == 0


def test_odd_tables(tmp_path, capsys):
    """Quoted headers, damaged archives, pipes, ids that look like numbers, and a header where none was expected."""
    rows = [('n, b', 'u1', 'i1'), ('n', 'u1', 'i2'), ('n', 'u1', 'i3')]
    path = write_csv(tmp_path / 'a.csv', rows, ('name, brand', 'user', 'item'))
    assert run(path, tmp_path, '--split', 'leave-one-out') == 0
    assert pairs(tmp_path / 'made') == [('u1', 'i1'), ('u1', 'i2'), ('u1', 'i3')]
    packed = bytearray(gzip.compress(b'user,item\na,b\n' * 50))
    packed[20] ^= 255
    (tmp_path / 'b.csv.gz').write_bytes(packed)
    (tmp_path / 'c.csv.zip').write_text('user,item\n')
    (tmp_path / 'd.csv').write_text('user,item,rating\na,b,123456789012345678901234567890\n')
    for name, flags, message in (('b.csv.gz', (), 'cannot be read'),
                                 ('c.csv.zip', (), 'holds no interaction'),
                                 ('a.csv', ('--user', 2, '--item', 3), 'has a header'),
                                 ('nowhere.csv', (), 'is not there'),
                                 ('d.csv', ('--min_rating', 1), 'falls into the test split')):
        assert prepare.main([str(tmp_path / name), '--name', 'new', '--data_dir', str(tmp_path), *map(str, flags)]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.count('\n') == 1


def test_features_in_an_odd_form_are_refused(raw, tmp_path, capsys):
    path = write_csv(tmp_path / 'a.csv', [(n, m + 1) for n in range(4) for m in range(5)], ('user', 'item'))
    np.save(tmp_path / 'f.npy', np.ones((5, 2)))
    np.savez(tmp_path / 'g.npz', ids=np.arange(5), features=np.ones(5))
    (tmp_path / 'h.npy').write_bytes((tmp_path / 'g.npz').read_bytes())
    (tmp_path / 'i.csv').write_text('item,a\n1,x\n')
    for name, message in (('f.npy', 'ids 1 to 5'), ('g.npz', 'ids and one table'), ('h.npy', 'ids and one table'),
                          ('i.csv', "line 2, column 'a': 'x' is not a number")):
        assert run(path, tmp_path, '--split', 'leave-one-out', '--features', f'image={tmp_path / name}') == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.count('\n') == 1


def test_a_folder_is_never_overwritten(raw, tmp_path, capsys):
    path = write_csv(tmp_path / 'a.csv', raw)
    assert run(path, tmp_path) == 0
    stamp = (tmp_path / 'made').stat().st_mtime_ns
    assert run(path, tmp_path) == 2
    assert 'is there already' in capsys.readouterr().err
    assert (tmp_path / 'made').stat().st_mtime_ns == stamp


def test_converted_pickles_train_to_the_same_numbers(rng, tmp_path):
    matrices, features = planted(rng)
    folder = write_dataset(tmp_path / 'tiny', {}, features)
    for stem, matrix in matrices.items():
        (folder / f'{stem}.pkl').write_bytes(pickle.dumps(matrix))

    def numbers(out):
        assert train(['--data', 'tiny', '--data_dir', str(tmp_path), '--epoch', '2', '--dims', '8', '--latdim', '4',
                      '--out', str(tmp_path / out)]) == 0
        with open(tmp_path / out / 'metrics.csv', newline='') as file:
            return [{key: value for key, value in row.items() if key != 'seconds'} for row in csv.DictReader(file)]

    before = numbers('pickles')
    assert convert.main(['tiny', '--data_dir', str(tmp_path)]) == 0
    for stem in matrices:
        (folder / f'{stem}.pkl').unlink()
    assert numbers('npz') == before


def test_check_tells_what_is_wrong(rng, tmp_path, capsys):
    matrices, features = planted(rng)
    twice = matrices['trnMat']
    leak = matrices['tstMat'].tolil()
    leak[0, twice.col[twice.row == 0][0]] = 1
    features['image'][5] = np.nan
    features['text'][7] = 2
    folder = write_dataset(tmp_path / 'tiktok', {**matrices, 'tstMat': leak.tocoo()}, features)
    again = np.r_[:twice.nnz, :2]
    doubled = sp.coo_matrix((twice.data[again], (twice.row[again], twice.col[again])), twice.shape)
    sp.save_npz(folder / 'trnMat.npz', doubled)
    (folder / 'valMat.pkl').write_bytes(b'not read')
    assert check.main(['tiktok', '--data_dir', str(tmp_path)]) == 1
    told = capsys.readouterr().out
    for line in ('users: 60', 'items: 40', 'WRONG: interactions in both train and test: 1 of',
                 'interactions in both train and val: 0',
                 f'trnMat: entries stored more than once (each counts as one): 2 of {doubled.nnz}',
                 'WRONG: modality image: rows with NaN, infinite values or values beyond float32: 1 of 40',
                 'modality text: rows of one value throughout: 1 of 40',
                 'users with test items: 60, of 3 test items at most',
                 'WRONG: ', 'image_feat.npy: differs from the published file', 'tstMat.npz: unknown'):
        assert line in told
    assert told.endswith('6 wrong\n')
    assert check.main(['nowhere', '--data_dir', str(tmp_path)]) == 2
    (folder / 'tstMat.npz').write_bytes(b'broken')
    assert check.main(['tiktok', '--data_dir', str(tmp_path)]) == 1
    assert 'tstMat.npz is not a readable sparse matrix' in capsys.readouterr().out
