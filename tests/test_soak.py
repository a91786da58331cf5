"""Random data sets of many shapes, random flags: each ends in a result that a plain count confirms, or in a sentence.

SOAK=N tries N of them (default 15).
"""
import json
import os

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import SEED, write_dataset

from Main import MODELS, main

CASES = int(os.environ.get('SOAK', 15))
NAMES = ('image', 'text', 'audio', 'smell', 'video')


def random_dataset(rng):
    """(matrices by file stem, features by modality), often at the edge of what makes sense."""
    n_users, n_items = (int(rng.choice([1, 2, 3, rng.integers(4, 80)], p=[0.1, 0.1, 0.1, 0.7])) for _ in range(2))
    density = rng.choice([0.05, 0.3, 0.9])
    seen = rng.random((n_users, n_items)) < density
    if rng.random() < 0.3:
        seen[rng.integers(n_users)] = True  # a user who has every item
    part = rng.choice(3, seen.shape, p=[0.7, 0.15, 0.15])
    if rng.random() < 0.3:
        part[rng.integers(n_users)] = 0
    matrices = {stem: sp.coo_matrix((seen & (part == number)).astype(np.float32))
                for number, stem in enumerate(('trnMat', 'valMat', 'tstMat'))}
    for stem, chance in (('valMat', 0.2), ('tstMat', 0.05)):
        if rng.random() < chance:
            matrices[stem] = sp.coo_matrix(seen.shape)
    if rng.random() < 0.05:
        del matrices['valMat']
    names = rng.permutation(NAMES)[:rng.choice([0, 1, 2, 4], p=[0.1, 0.3, 0.4, 0.2])]
    features = {str(name): rng.normal(size=(n_items, int(rng.choice([1, 7, 4096])))).astype(np.float16)
                for name in names}
    return matrices, features


def random_flags(rng):
    pick = rng.choice
    flags = {'model': pick(['mdmns', *MODELS]), 'latdim': pick([1, 5, 16]), 'dims': pick(['1', '16', '8 4']),
             'topk': pick([1, 5, 20]), 'epoch': pick([1, 2]), 'batch': pick([1, 16, 1024]), 'tstBat': pick([1, 256]),
             'cl_method': pick([0, 1]), 'gnn_layer': pick([0, 1, 3]), 'trans': pick([0, 1, 2]), 'steps': pick([1, 5]),
             'keepRate': pick([0.01, 0.5, 1]), 'rebuild_k': pick([1, 3]), 'norm': pick(['true', 'false']),
             'guidance': pick(['released', 'none', 'learned', 'profile']), 'loss': pick(['bpr', 'softmax']),
             'loss_pop': pick([0, 0.5]), 'fused': pick(['released', 'trained', 'joint']),
             'score': pick(['sum', 'fused']), 'decay': pick(['tables', 'batch']), 'layers': pick(['sum', 'mean']),
             'item_lambda': pick([0, 0.5]), 'item_links': pick([1, 5]), 'rebuild_from': pick(['all', 'new']),
             'rebuild_weights': pick(['equal', 'sample']), 'd_emb_size': pick([2, 5]), 'temp': pick([0.01, 0.5]),
             'neighbours': pick([1, 10]), 'clusters': pick([1, 5]), 'seed': rng.integers(1000)}
    if flags['batch'] == 1:
        flags['epoch'] = 1
    return ' '.join(f'--{name} {value}' for name, value in flags.items())


def recall_bounds(folder, matrices, k):
    """Bounds of the test Recall@k of the saved embeddings, user by user; they differ where scores are nearly equal."""
    with np.load(folder / 'embeddings.npz') as file:
        tables = {name: file[name].astype(np.float64) for name in file}
    scores = sum(tables[name] @ tables[name.replace('_users', '_items')].T for name in tables
                 if name.endswith('_users'))
    near = 1e-5 * np.abs(scores).max()
    scores[matrices['trnMat'].toarray() > 0] = -np.inf
    bounds = []
    for row, withheld in zip(scores, matrices['tstMat'].toarray() > 0, strict=True):
        if withheld.any():
            surely = [(row >= row[item] - near).sum() <= k for item in withheld.nonzero()[0]]
            perhaps = [(row > row[item] + near).sum() < k for item in withheld.nonzero()[0]]
            bounds.append((np.mean(surely), np.mean(perhaps)))
    return np.mean(bounds, 0)


@pytest.mark.parametrize('case', range(CASES))
def test_any_data_set(tmp_path, capsys, case):
    rng = np.random.default_rng([SEED, case])
    matrices, features = random_dataset(rng)
    flags = random_flags(rng)
    write_dataset(tmp_path / 'data' / 'some', matrices, features)
    code = main(f'--data some --data_dir {tmp_path / "data"} --out {tmp_path / "run"} --device cpu {flags}'.split())
    error = capsys.readouterr().err
    shape = f'{matrices["trnMat"].shape}, {[f"{name} {table.shape[1]}" for name, table in features.items()]}, {flags}'
    if code:
        assert code == 2, shape
        assert error.startswith('Main.py: '), shape
        assert error.count('\n') == 1, (shape, error)
        assert not (tmp_path / 'run').exists(), (shape, error)
        return
    result = json.loads((tmp_path / 'run' / 'result.json').read_text())
    chosen = result['best_val']['test'] if result['best_val'] else result['best_test']
    for value in (chosen['recall'], chosen['ndcg'], chosen['precision']):
        assert np.isnan(value) or 0 <= value <= 1, shape
    if (tmp_path / 'run' / 'embeddings.npz').exists():
        k = int(flags.split('--topk ')[1].split()[0])
        low, high = recall_bounds(tmp_path / 'run', matrices, k)
        assert low - 1e-9 <= chosen['recall'] <= high + 1e-9, shape
