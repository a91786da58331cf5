"""Features carried between copies of a data set: by the interactions alone, whole, and never where these differ."""
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import write_dataset

from DataHandler import SPLITS, feature_files, interactions, load_matrix, read_features
from Datasets import align
from Datasets.refine import Colours, common_edges, match

REAL = Path(__file__).resolve().parent.parent.parent / 'shared' / 'data'


def random_graph(rng, n_users=60, n_items=40):
    """Every user and item has an interaction, and nearly all of them are told apart."""
    dense = rng.random((n_users, n_items)) < rng.random((n_users, 1)) * 0.5
    dense[np.arange(n_users), np.arange(n_users) % n_items] = True
    return interactions(sp.coo_matrix(dense.astype(np.float32)))


def split_by_lot(rng, matrix):
    """The interactions in three splits, by file stem."""
    coo, lots = matrix.tocoo(), rng.integers(0, 3, matrix.nnz)
    return {stem: sp.coo_matrix((coo.data[lots == part], (coo.row[lots == part], coo.col[lots == part])), coo.shape)
            for part, stem in enumerate(SPLITS.values())}


def renumbered(rng, matrix):
    """(the matrix with users and items in another order, the old number of each item)."""
    users, items = (rng.permutation(size) for size in matrix.shape)
    return interactions(matrix[users][:, items]), items


def plain_colours(matrix):
    """Classes of items by refinement with sorted tuples in the place of hashes."""
    dense = matrix.toarray() > 0
    users, items = [0] * dense.shape[0], [1] * dense.shape[1]
    while True:
        told = [(users[u], tuple(sorted(items[i] for i in np.flatnonzero(dense[u])))) for u in range(len(users))]
        more = [(items[i], tuple(sorted(users[u] for u in np.flatnonzero(dense[:, i])))) for i in range(len(items))]
        names = {colour: number for number, colour in enumerate(sorted(set(told) | set(more), key=repr))}
        if len(names) == len(set(users) | set(items)):
            return users, items
        users, items = [names[colour] for colour in told], [names[colour] for colour in more]


@pytest.fixture
def copies(rng, tmp_path):
    """Two folders with the same interactions under other numbers, features in the first; and the old numbers."""
    matrix = random_graph(rng)
    other, items = renumbered(rng, matrix)
    features = {'image': rng.normal(size=(40, 5)).astype(np.float16), 'text': rng.integers(0, 2, (40, 3), np.uint8)}
    write_dataset(tmp_path / 'a', split_by_lot(rng, matrix), features)
    write_dataset(tmp_path / 'b', split_by_lot(rng, other), {})
    return tmp_path, features, items


def run(folder, *flags):
    return align.main(['a', 'b', '--data_dir', str(folder), *map(str, flags)])


def told_once(capsys):
    told = capsys.readouterr().err
    assert told.count('\n') == 1
    return told


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize('density', [0.02, 0.05, 0.3])
def test_nodes_are_told_apart_as_by_sorted_tuples(rng, density):
    matrix = interactions(sp.coo_matrix((rng.random((25, 20)) < density).astype(np.float32)))
    colours = Colours(matrix)
    for _ in range(45):
        colours.refine()
    for ours, theirs in zip((colours.users, colours.items), plain_colours(matrix), strict=True):
        assert ((ours[:, None] == ours) == np.equal.outer(theirs, theirs)).all()
    other, _ = renumbered(rng, matrix)
    found = match(matrix, other)
    assert found.alike
    single = [number for number, colour in enumerate(plain_colours(matrix)[1])
              if plain_colours(matrix)[1].count(colour) == 1 and matrix[:, [number]].nnz]
    assert sorted(found.items[found.items >= 0]) == single


def test_features_find_their_items(copies, capsys):
    folder, features, items = copies
    before = contents(folder / 'a'), contents(folder / 'b')
    assert run(folder) == 0
    for name, table in features.items():
        carried = np.load(folder / 'b' / f'{name}_feat.npy')
        assert carried.dtype == table.dtype
        np.testing.assert_array_equal(carried, table[items])
    assert '40 of 40 items' in capsys.readouterr().out
    assert contents(folder / 'a') == before[0]
    assert {name: content for name, content in contents(folder / 'b').items() if 'feat' not in name} == before[1]


def test_paths_and_chosen_modalities(copies, tmp_path):
    folder, features, items = copies
    assert align.main([str(folder / 'a'), str(folder / 'b') + '/', '--modalities', 'text']) == 0
    assert [path.name for path in (folder / 'b').glob('*feat*')] == ['text_feat.npy']
    assert run(folder, '--modalities', 'image') == 0
    np.testing.assert_array_equal(np.load(folder / 'b' / 'image_feat.npy'), features['image'][items])


@pytest.mark.parametrize('there', ['image_feat.npy', 'text_feat.npy.zip'])
def test_nothing_is_overwritten(copies, capsys, there):
    folder = copies[0]
    (folder / 'b' / there).write_bytes(b'mine')
    before = contents(folder / 'b')
    assert run(folder) == 2
    assert f'{there} is there already' in told_once(capsys)
    assert contents(folder / 'b') == before


def test_nothing_is_left_half_written(copies, monkeypatch):
    folder = copies[0]
    before, save = contents(folder / 'b'), np.save

    def failing(file, table):
        save(file, table)
        if table.dtype == np.uint8:
            raise OSError(28, 'No space left on device')
    monkeypatch.setattr(np, 'save', failing)
    assert run(folder) == 2
    assert contents(folder / 'b') == before


@pytest.mark.parametrize('change', ['one less', 'one moved', 'another graph', 'one more user'])
def test_interactions_that_differ_are_refused(copies, rng, capsys, change):
    folder = copies[0]
    path = folder / 'b' / 'trnMat.npz'
    matrix = sp.load_npz(path).tolil()
    union = interactions(sum(load_matrix(folder / 'b', stem) for stem in SPLITS.values())).toarray()
    row, column = rng.choice(np.argwhere((matrix.toarray() > 0) & (union.sum(1)[:, None] > 1) & (union.sum(0) > 1)))
    if change == 'another graph':
        matrix = random_graph(rng)
    elif change == 'one more user':
        matrix = sp.vstack([matrix, sp.coo_matrix(([1.0], ([0], [3])), (1, 40))])
        for stem in ('valMat', 'tstMat'):
            other = sp.load_npz(folder / 'b' / f'{stem}.npz')
            sp.save_npz(folder / 'b' / f'{stem}.npz', sp.vstack([other, sp.coo_matrix((1, 40))]))
    else:
        matrix[row, column] = 0
        if change == 'one moved':
            free = np.argwhere((union == 0) & (np.arange(40) != column))
            matrix[tuple(free[rng.integers(len(free))])] = 1
    sp.save_npz(path, sp.coo_matrix(matrix))
    assert run(folder, '--unmatched', 40) == 2
    told = told_once(capsys)
    assert {'one less': f'differ in size (interactions {int(union.sum()):,}', 'one moved': 'one size, but not the same',
            'another graph': 'cannot be told by them', 'one more user': 'users 60 and 61'}[change] in told
    assert not list((folder / 'b').glob('*feat*'))


@pytest.mark.parametrize('missing', ['mean', 'zero'])
def test_items_that_are_alike(rng, tmp_path, capsys, missing):
    """Two items of one user that nobody else has cannot be told apart, nor can an item without interactions."""
    matrix = sp.block_diag([random_graph(rng), np.ones((1, 2))]).tocsr()
    matrix = interactions(sp.hstack([matrix, sp.coo_matrix((61, 1))]))
    other, items = renumbered(rng, matrix)
    image, text = rng.normal(size=(43, 4)).astype(np.float32), rng.integers(0, 9, (43, 2))
    write_dataset(tmp_path / 'a', split_by_lot(rng, matrix), {'image': image, 'text': text})
    write_dataset(tmp_path / 'b', split_by_lot(rng, other), {})
    lacking = np.flatnonzero(items >= 40)
    for flags in ((), ('--unmatched', 2)):
        assert run(tmp_path, *flags, '--missing', missing) == 2
        told = told_once(capsys)
        assert f'3 of 43 items of {tmp_path / "b"} cannot be told apart' in told
        assert ': ' + ', '.join(map(str, lacking)) + '. With --unmatched 3' in told
        assert not list((tmp_path / 'b').glob('*feat*'))
    assert run(tmp_path, '--unmatched', 3, '--missing', missing) == 0
    assert '3 items are not told apart and get ' in capsys.readouterr().out
    for name, table in (('image', image), ('text', text)):
        expected = table[items].astype(float)
        expected[lacking] = table[:40].mean(0, dtype=float) if missing == 'mean' else 0
        np.testing.assert_allclose(np.load(tmp_path / 'b' / f'{name}_feat.npy'), expected, rtol=1e-5)


@pytest.mark.parametrize(('words', 'message'), [
    (('nowhere', 'b'), 'no data set folder'), (('./nowhere', 'b'), 'no data set folder'), (('b', 'a'), 'no *_feat.npy'),
    (('a', 'b', '--modalities', 'imaje'), 'Did you mean image?'), (('a', 'b', '--unmatched', '-1'), 'at least 0'),
    (('a', 'a'), 'is there already')])
def test_mistakes(copies, capsys, words, message):
    assert align.main([*words, '--data_dir', str(copies[0])]) == 2
    assert message in told_once(capsys)


def test_features_that_are_not_finite_are_not_carried(copies, capsys):
    folder, features, _ = copies
    features['image'][7, 2] = np.nan
    np.save(folder / 'a' / 'image_feat.npy', features['image'])
    assert run(folder) == 2
    assert 'image_feat.npy has NaN' in told_once(capsys)
    assert not list((folder / 'b').glob('*feat*'))


def test_edges_in_common(rng):
    matrix = random_graph(rng)
    other, _ = renumbered(rng, matrix)
    found = match(matrix, other)
    between = other[found.users >= 0][:, found.items >= 0].nnz
    assert common_edges(matrix, other, found) == (between,) * 3
    row, column = next((row, column) for row, column in zip(*other.nonzero(), strict=True)
                       if found.users[row] >= 0 and found.items[column] >= 0)
    other[row, column] = 0
    other.eliminate_zeros()
    assert common_edges(matrix, other, found) == (between, between - 1, between - 1)


def test_sports_under_other_numbers_gets_its_features_back(rng, tmp_path):
    if not (REAL / 'sports').is_dir():
        pytest.skip(f'the real data {REAL / "sports"} are not here')
    matrix = interactions(sum(load_matrix(REAL / 'sports', stem) for stem in SPLITS.values()))
    other, items = renumbered(rng, matrix)
    write_dataset(tmp_path / 'sports', split_by_lot(rng, other), {})
    assert align.main([str(REAL / 'sports'), str(tmp_path / 'sports')]) == 0
    for name, path in feature_files(REAL / 'sports').items():
        table = read_features(path, matrix.shape[1])
        assert np.array_equal(np.load(tmp_path / 'sports' / f'{name}_feat.npy'), table[items])
