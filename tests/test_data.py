"""Loading data set folders, refusing what is wrong with them, batches of rows and negative sampling."""
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conftest import planted, random_matrix, write_dataset

from DataHandler import NegativeSampler, UserRows, load_dataset
from Datasets.generate import demo_dataset, ensure_generated
from Utils.Errors import InputError
from Utils.SafePickle import load_sparse_pickle

REAL = Path(__file__).resolve().parent.parent.parent / 'shared' / 'data'


@pytest.fixture
def folder(rng, tmp_path):
    return write_dataset(tmp_path / 'tiny', *planted(rng))


def load(folder, modalities=None):
    return load_dataset(folder.parent, folder.name, modalities)


def test_a_folder_becomes_a_data_set(rng, tmp_path):
    matrices, features = planted(rng, widths=(('zither', 3), ('audio', 2), ('image', 5), ('brush', 1)))
    data = load(write_dataset(tmp_path / 'tiny', matrices, features))
    assert data.modalities == ('image', 'audio', 'brush', 'zither')
    for name, stem in (('train', 'trnMat'), ('val', 'valMat'), ('test', 'tstMat')):
        assert np.array_equal(getattr(data, name).toarray(), matrices[stem].toarray())
    for name, table in features.items():
        assert data.features[name].dtype == np.float32
        np.testing.assert_array_equal(data.features[name], table.astype(np.float32))
    assert data.statistics()['modalities'] == {'image': 5, 'audio': 2, 'brush': 1, 'zither': 3}


def test_any_nonzero_is_one_interaction(folder):
    matrix = sp.coo_matrix(([3.0, 2, 0, 0.5], ([0, 0, 1, 2], [1, 1, 2, 3])), (60, 40))
    sp.save_npz(folder / 'trnMat.npz', matrix)
    train = load(folder).train
    assert train.nnz == 2
    assert train[0, 1] == train[2, 3] == 1


def test_modalities_are_chosen_and_ordered(folder):
    assert load(folder, ('text', 'image')).modalities == ('text', 'image')
    assert load(folder, ('text',)).modalities == ('text',)


@pytest.mark.parametrize('layout', ['coo_matrix', 'csr_matrix', 'csc_matrix', 'coo_array', 'csr_array', 'csc_array'])
@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol(rng, tmp_path, layout, protocol):
    for dtype in ('float64', 'float32', 'int64', 'bool'):
        matrix = getattr(sp, layout)(random_matrix(rng, 7, 5).astype(dtype))
        (tmp_path / 'matrix.pkl').write_bytes(pickle.dumps(matrix, protocol))
        assert np.array_equal(load_sparse_pickle(tmp_path / 'matrix.pkl').toarray(), matrix.toarray())


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_empty_matrices(tmp_path, protocol):
    (tmp_path / 'matrix.pkl').write_bytes(pickle.dumps(sp.coo_matrix((7, 5)), protocol))
    matrix = load_sparse_pickle(tmp_path / 'matrix.pkl')
    assert (matrix.shape, matrix.nnz) == ((7, 5), 0)


def test_other_layouts_are_named(tmp_path):
    (tmp_path / 'matrix.pkl').write_bytes(pickle.dumps(sp.lil_matrix((7, 5))))
    with pytest.raises(InputError, match=r'lil_matrix.*tocsr'):
        load_sparse_pickle(tmp_path / 'matrix.pkl')


def pickled(state, module=b'scipy.sparse._coo'):
    """A coo_matrix with any state, damaged or not."""
    return b'\x80\x02c' + module + b'\ncoo_matrix\n)\x81' + pickle.dumps(state, 2)[2:-1] + b'b.'


def coo_state(matrix):
    matrix = matrix.tocoo()
    return {'_shape': matrix.shape, 'maxprint': 50, 'row': matrix.row, 'col': matrix.col, 'data': matrix.data}


def test_pickles_of_old_scipy(rng, tmp_path):
    """Module paths as scipy and numpy had them when the published files were written."""
    matrix = random_matrix(rng, 7, 5)
    content = pickled(coo_state(matrix), b'scipy.sparse.coo').replace(b'numpy._core', b'numpy.core')
    assert content.count(b'cnumpy.core.multiarray\n') == 1
    (tmp_path / 'matrix.pkl').write_bytes(content)
    assert np.array_equal(load_sparse_pickle(tmp_path / 'matrix.pkl').toarray(), matrix.toarray())


class _Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def hostile(tmp_path):
    import os
    marker = str(tmp_path / 'marker')
    array = np.arange(3)
    state = {'_shape': (3, 3), 'row': array, 'col': array, 'data': array}
    nested = b'\x80\x04)' + b'\x94' + b'h\x00h\x00\x86\x94' * 3 + b'.'
    return {
        'system': pickle.dumps(_Call(os.system, f'touch {marker}')),
        'eval': pickle.dumps(_Call(eval, f'open({marker!r}, "w")')),
        'exec in a matrix': pickle.dumps({'row': _Call(exec, f'open({marker!r}, "w")')}),
        'getattr': pickle.dumps(_Call(getattr, 'text', 'upper')),
        'numpy load': pickle.dumps(_Call(np.load, marker)),
        'a dict': pickle.dumps(state),
        'an object array': pickle.dumps(np.array([{}, []], dtype=object)),
        'an array': pickle.dumps(array),
        'a string': pickle.dumps('matrix'),
        'nested tuples': nested,
        'too many instructions': pickle.dumps(list(range(5000))),
        'a huge memo index': b'\x80\x02K\x01r\xff\xff\xff\x7f.',
        'a huge array': b'\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nM\xff\xffM\xff\xff\x86'
                        b'U\x01b\x87R.',
        'a bare class': b'\x80\x02cscipy.sparse._coo\ncoo_matrix\n.',
        'a persistent id': b'\x80\x02K\x01Q.',
        'an extension code': b'\x80\x02\x82\x01.',
        'nothing': b'',
        'text': b'hello world\n',
        'cut short': pickle.dumps(sp.coo_matrix(np.eye(3)))[:-40],
    }


def test_hostile_pickles_are_refused_without_a_side_effect(tmp_path):
    for name, content in hostile(tmp_path).items():
        path = tmp_path / 'matrix.pkl'
        path.write_bytes(content)
        with pytest.raises(InputError, match=r'matrix\.pkl'):
            load_sparse_pickle(path)
        assert not (tmp_path / 'marker').exists(), name


@pytest.mark.parametrize('damage', [
    lambda state: {'row': state['row'] + 100}, lambda state: {'col': state['col'] - 50},
    lambda state: {'row': state['row'].astype(float)}, lambda state: {'data': state['data'][:-1]},
    lambda state: {'row': state['row'][None]}, lambda state: {'data': None}, lambda state: {'coords': (1, 2)},
    lambda state: {'_shape': (7,)}, lambda state: {'_shape': (-7, 5)}, lambda state: {'_shape': (2**40, 5)}])
def test_matrices_that_are_damaged_inside(rng, tmp_path, damage):
    state = coo_state(random_matrix(rng, 7, 5))
    (tmp_path / 'matrix.pkl').write_bytes(pickled(state | damage(state)))
    with pytest.raises(InputError, match=r'matrix\.pkl holds a matrix'):
        load_sparse_pickle(tmp_path / 'matrix.pkl')


def test_feature_archives(folder):
    table = np.load(folder / 'text_feat.npy')
    with zipfile.ZipFile(folder / 'text_feat.npy.zip', 'w') as archive:
        archive.write(folder / 'text_feat.npy', 'text_feat.npy')
    (folder / 'text_feat.npy').unlink()
    np.testing.assert_array_equal(load(folder).features['text'], table.astype(np.float32))


def break_rows(folder):
    np.save(folder / 'text_feat.npy', np.ones((39, 4)))


def break_nan(folder):
    table = np.ones((40, 4))
    table[7, 2] = np.nan
    np.save(folder / 'text_feat.npy', table)


def break_objects(folder):
    np.save(folder / 'text_feat.npy', np.array([{}] * 40, dtype=object), allow_pickle=True)


def break_archive(folder):
    (folder / 'text_feat.npy').unlink()
    (folder / 'text_feat.npy.zip').write_bytes(b'PK not a zip')


def break_shape(folder):
    sp.save_npz(folder / 'valMat.npz', sp.coo_matrix((60, 41)))


def break_npz(folder):
    (folder / 'tstMat.npz').write_bytes(b'broken')


def break_missing(folder):
    (folder / 'tstMat.npz').unlink()


def break_negative(folder):
    sp.save_npz(folder / 'trnMat.npz', -sp.load_npz(folder / 'trnMat.npz'))


def break_modality_name(folder):
    (folder / 'text_feat.npy').rename(folder / 'text.v2_feat.npy')


def break_into_folder(folder):
    (folder / 'text_feat.npy').unlink()
    (folder / 'text_feat.npy').mkdir()


def break_empty(folder):
    sp.save_npz(folder / 'trnMat.npz', sp.coo_matrix((60, 40)))


@pytest.mark.parametrize(('damage', 'message'), [
    (break_rows, r'39 x 4.*40 items'), (break_nan, r'1 rows, the first of them row 7'),
    (break_objects, 'not a readable'), (break_archive, 'not a readable'), (break_shape, r'valMat 60 x 41'),
    (break_npz, 'not a readable sparse matrix'), (break_missing, r'neither tstMat\.npz nor tstMat\.pkl'),
    (break_negative, 'negative'), (break_modality_name, 'cannot have a dot'),
    (break_into_folder, 'cannot be read'), (break_empty, 'nothing to learn')])
def test_broken_folders(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message):
        load(folder)


def test_missing_folders_and_modalities_name_what_there_is(folder):
    with pytest.raises(InputError, match=r'Did you mean tiny\? .* has: tiny\.'):
        load_dataset(folder.parent, 'tinny')
    with pytest.raises(InputError, match=r'Did you mean image\? Its modalities: image, text\.'):
        load(folder, ('imagee',))
    with pytest.raises(InputError, match='--data_dir'):
        load_dataset(folder, 'tiny')
    for name in ('../tiny', '.', '..', '', '/tiny', 'tiny/'):
        with pytest.raises(InputError, match='expected the name of one folder'):
            load_dataset(folder.parent, name)


def test_row_batches(rng):
    matrix = random_matrix(rng, 12, 9)
    users = torch.as_tensor(rng.permutation(12)[:7])
    batch = UserRows(matrix).batch(users)
    dense = matrix.toarray()[users]
    assert np.array_equal(batch.dense().numpy(), dense)
    table = torch.as_tensor(rng.normal(size=(9, 4)))
    torch.testing.assert_close(batch.times(table), torch.as_tensor(dense).double() @ table)


def test_negatives_are_uniform_and_never_training_items(rng, generator):
    matrix = random_matrix(rng, 5, 8, 0.5).tolil()
    matrix[1] = [1, 1, 1, 0, 1, 1, 1, 1]
    matrix[2] = 1
    matrix[3] = [1, 0, 0, 0, 0, 0, 0, 1]
    matrix = matrix.tocsr()
    sampler = NegativeSampler(UserRows(matrix))
    draws = torch.stack([sampler.sample(generator) for _ in range(4000)])
    assert 2 not in sampler.users, 'a user who has every item has no negative'
    assert len(sampler) == matrix.nnz - 8
    for column, (user, item) in enumerate(zip(sampler.users.tolist(), sampler.positives.tolist(), strict=True)):
        assert matrix[user, item] == 1
        free = np.flatnonzero(matrix[user].toarray()[0] == 0)
        counts = np.bincount(draws[:, column], minlength=8)
        assert set(np.flatnonzero(counts)) == set(free)
        assert np.abs(counts[free] / 4000 - 1 / len(free)).max() < 0.05


def test_no_negative_anywhere_is_told():
    with pytest.raises(InputError, match='Every user has every item'):
        NegativeSampler(UserRows(sp.csr_matrix(np.ones((2, 3), np.float32))))


def test_the_demo_is_the_same_each_time_and_long_tailed(tmp_path):
    (first, features), (second, _) = demo_dataset(), demo_dataset()
    assert all(np.array_equal(first[stem].toarray(), second[stem].toarray()) for stem in first)
    assert set(features) == {'image', 'text', 'audio'}
    sold = np.sort(np.asarray(first['trnMat'].sum(0)).ravel())[::-1]
    assert sold[:80].sum() > 0.25 * sold.sum(), 'a tenth of the items holds over a quarter of the interactions'
    overlap = first['trnMat'].multiply(first['tstMat']).nnz + first['trnMat'].multiply(first['valMat']).nnz
    assert overlap == 0


def test_the_demo_is_written_once_and_whole(tmp_path):
    ensure_generated(tmp_path, 'demo')
    data = load_dataset(tmp_path, 'demo')
    assert (data.n_users, data.n_items) == (1000, 800)
    stamp = (tmp_path / 'demo').stat().st_mtime_ns
    ensure_generated(tmp_path, 'demo')
    assert (tmp_path / 'demo').stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == ['demo'], 'nothing half-written is left'
    ensure_generated(tmp_path, 'other')
    assert not (tmp_path / 'other').exists()
    with pytest.raises(InputError, match=r'There is no folder .*nosuch'):
        ensure_generated(tmp_path / 'nosuch', 'demo')
    assert not (tmp_path / 'nosuch').exists()


@pytest.mark.skipif(not REAL.is_dir(), reason=f'the published data are not at {REAL}')
@pytest.mark.parametrize(('name', 'shape', 'counts', 'widths'), [
    ('tiktok', (9308, 6710), (59541, 3051, 6130), {'image': 128, 'audio': 128}),
    ('baby', (19445, 7050), (118551, 21682, 20559), {}),
    ('sports', (35598, 18357), (218409, 40029, 37899), {'brand': 1175, 'category': 1123})])
def test_the_published_files(name, shape, counts, widths):
    data = load_dataset(REAL, name)
    assert data.train.shape == shape
    assert (data.train.nnz, data.val.nnz, data.test.nnz) == counts
    assert data.statistics()['modalities'] == widths
