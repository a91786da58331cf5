"""Damaged data set folders: each ends in a correct load or in one clear sentence, never in a traceback."""
import io
import pickle
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import SEED, planted, random_matrix, write_dataset
from hypothesis import HealthCheck, event, given, seed, settings, strategies as st

from DataHandler import SPLITS, load_dataset
from Main import main
from Utils.Errors import InputError

FILES = ('trnMat.npz', 'valMat.npz', 'tstMat.npz', 'trnMat.pkl', 'image_feat.npy', 'text_feat.npy',
         'audio_feat.npy.zip')
EXAMPLES = settings(max_examples=300, deadline=None, database=None, print_blob=True,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
VALUES = [np.nan, np.inf, -1.0, 0.0, 2.0**70, -2.0**40, 1e-300]


@pytest.fixture(scope='module')
def whole():
    """A valid folder with every kind of file in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = write_dataset(Path(name) / 'whole', *planted(np.random.default_rng(SEED), 12, 9))
        matrix = sp.load_npz(folder / 'trnMat.npz')
        (folder / 'trnMat.pkl').write_bytes(pickle.dumps(matrix))
        with zipfile.ZipFile(folder / 'audio_feat.npy.zip', 'w') as archive:
            archive.write(folder / 'image_feat.npy', 'audio_feat.npy')
        yield folder


def load_or_refuse(folder):
    """The outcome; whatever is loaded has to make sense."""
    try:
        data = load_dataset(folder.parent, folder.name)
    except InputError as error:
        told = str(error)
    else:
        told = None
    if told is not None:
        assert '\n' not in told
        assert len(told) > 30
        return 'refused'
    assert data.train.shape == data.val.shape == data.test.shape
    for split in SPLITS:
        matrix = getattr(data, split)
        assert (matrix.data == 1).all()
        matrix.check_format(full_check=True)
    for table in data.features.values():
        assert table.dtype == np.float32
        assert np.isfinite(table).all()
        assert len(table) == data.n_items
    return 'loaded'


@st.composite
def damages(draw):
    """(file, function of its bytes)."""
    name = draw(st.sampled_from(FILES))
    where = draw(st.floats(0, 1, exclude_max=True))
    kind = draw(st.sampled_from(('cut', 'flip', 'bytes', 'insert', 'append', 'header')))
    noise = draw(st.binary(min_size=1, max_size=24))

    def damage(content):
        at = int(where * len(content))
        if kind == 'cut':
            return content[:at]
        if kind == 'flip':
            return content[:at] + bytes([content[at] ^ (noise[0] or 1)]) + content[at + 1:]
        if kind == 'bytes':
            return content[:at] + noise + content[at + len(noise):]
        if kind == 'insert':
            return content[:at] + noise + content[at:]
        if kind == 'append':
            return content + noise
        return noise + content[len(noise):]

    return name, damage


@seed(SEED)
@EXAMPLES
@given(damages(), st.booleans())
def test_damaged_bytes(whole, damage, pickled):
    name, change = damage
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / 'damaged'
        shutil.copytree(whole, folder)
        if pickled:  # a pickle is read where there is no .npz
            (folder / 'trnMat.npz').unlink()
        if (folder / name).exists():
            (folder / name).write_bytes(change((folder / name).read_bytes()))
        event(load_or_refuse(folder))


@st.composite
def wrong_matrices(draw):
    """A file of a sparse matrix with one thing changed, as scipy.sparse.save_npz or pickle would write it."""
    matrix = random_matrix(np.random.default_rng(draw(st.integers(0, 9))), 12, 9)
    layout = draw(st.sampled_from(('coo', 'csr', 'csc')))
    matrix = matrix.asformat(layout)
    names = ('row', 'col') if layout == 'coo' else ('indptr', 'indices')
    arrays = {**{name: getattr(matrix, name) for name in names}, 'data': matrix.data.astype(float)}
    part = draw(st.sampled_from((*names, 'data', 'shape')))
    shape = (12, 9)
    if part == 'shape':
        shape = draw(st.sampled_from(((0, 9), (12, 0), (11, 9), (12, 8), (-12, 9), (2**40, 9), (12, 2**62),
                                      (2**31, 2**31), (12,), (12, 9, 1), (), (12, 10))))
    else:
        array = arrays[part].copy()
        at = draw(st.integers(0, len(array) - 1))
        change = draw(st.sampled_from(('value', 'index', 'dtype', 'length', 'dimensions')))
        if change == 'value' and part == 'data':
            array[at] = draw(st.sampled_from(VALUES))
        elif change in ('value', 'index'):
            array = array.astype(np.int64)
            array[at] = draw(st.sampled_from((-1, 12, 9, 2**31, 2**62, -2**63)))
        elif change == 'dtype':
            kind = draw(st.sampled_from(('complex128', 'U4', 'float16', 'bool', 'int8', 'uint64', 'M8[s]')))
            array = array.astype(np.int64).astype(kind)
        elif change == 'length':
            array = np.append(array, array[:1]) if draw(st.booleans()) else array[:-1]
        else:
            array = array[None] if draw(st.booleans()) else array[:0]
        arrays[part] = array
    if draw(st.booleans()):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, format=np.array(layout.encode()), shape=np.array(shape), **arrays)
        return '.npz', buffer.getvalue()
    module, name = (f'scipy.sparse._{layout}'.encode(), f'{layout}_matrix'.encode())
    state = pickle.dumps({'_shape': shape, **arrays}, 2)[2:-1]
    return '.pkl', b'\x80\x02c' + module + b'\n' + name + b'\n)\x81' + state + b'b.'


@seed(SEED)
@EXAMPLES
@given(wrong_matrices(), st.sampled_from(list(SPLITS.values())))
def test_wrong_matrices(whole, wrong, stem):
    suffix, content = wrong
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / 'damaged'
        shutil.copytree(whole, folder)
        for path in folder.glob(f'{stem}.*'):
            path.unlink()
        (folder / f'{stem}{suffix}').write_bytes(content)
        event(load_or_refuse(folder))


def test_the_command_line_says_it_in_one_sentence(whole, rng, tmp_path, capsys):
    """A few of the same damages through Main.py."""
    for number in range(12):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        name = FILES[number % 3]
        content = bytearray((folder / name).read_bytes())
        del content[int(rng.integers(len(content))):]
        (folder / name).write_bytes(content)
        assert main(['--data', folder.name, '--data_dir', str(tmp_path), '--epoch', '1']) == 2
        told = capsys.readouterr().err
        assert told.startswith('Main.py: ')
        assert told.count('\n') == 1
