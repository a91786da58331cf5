"""The table of the searches: which runs are made, and MDMNS beside each model."""
import json

import numpy as np
import pytest
import scipy.sparse as sp
from saved_runs import rows_of, save_run

from Experiments.SavedRuns import read_run
from figures import parts, search
from Utils.Errors import InputError


@pytest.fixture
def command(tmp_path, to, monkeypatch):
    """With small grids, and two data sets of which one has features."""
    grids = tmp_path / 'search.json'
    grids.write_text(json.dumps({'models': {'mdmns': {'reg': {'low': 1e-5, 'high': 1e-3, 'log': True}},
                                            'lightgcn': {'gnn_layer': [1, 2]}, 'ease': {'ridge': [3, 4]}}}))
    monkeypatch.setattr(search, 'GRIDS', grids)
    for data in search.TRIALS:
        (tmp_path / 'data' / data).mkdir(parents=True)
        sp.save_npz(tmp_path / 'data' / data / 'valMat.npz', sp.eye(3, format='coo'))
    (tmp_path / 'data' / 'tiktok' / 'image_feat.npy').touch()
    return ['--root', str(tmp_path / 'runs'), '--to', str(to), '--data_dir', str(tmp_path / 'data')]


def test_run_searches_each_model(command, made, tmp_path, to):
    search.main([*command, '--run', '--seeds', '421', '2'])
    points = {(*folder.relative_to(tmp_path / 'runs').parts[:3], folder.name) for folder in made}
    assert {point[:3] for point in points} == {('tiktok', 'search', 'mdmns'), *(
        (data, 'search', model) for data in search.TRIALS for model in ('lightgcn', 'ease'))}
    tried = [read_run(folder).settings['reg'] for folder in made if 'mdmns' in folder.parts and '=' in str(folder)]
    assert len(set(tried)) == 24
    rows = {(row['data set'], row['model']): row for row in rows_of(to / 'search.csv')}
    assert {place: (row['points'], row['seeds'], bool(row['p (Holm)'])) for place, row in rows.items()} == {
        ('tiktok', 'MDMNS'): ('24', '2', False), ('tiktok', 'LightGCN'): ('2', '2', True),
        ('tiktok', 'EASE'): ('2', '1', True), ('sports', 'LightGCN'): ('2', '2', False),
        ('sports', 'EASE'): ('2', '1', False)}
    before = len(made)
    search.main([*command, '--run', '--seeds', '421', '2'])
    assert len(made) == before


def test_mdmns_beside_the_others(tmp_path, to):
    """The best first; p corrected for all rows of the table."""
    rng, root = np.random.default_rng(0), tmp_path / 'runs'
    users = np.arange(200)
    base = rng.random(200)
    for model, more in (('mdmns', 0.1), ('lightgcn', 0.0), ('ials', 0.2)):
        folder = root / 'tiktok' / 'search' / model
        for seed in (1, 2):
            save_run(folder / 'chosen' / f'seed{seed}', f'--model {model}', seed, [0.5 + more] * 3,
                     (users, base + more + 0.01 * rng.random(200)))
        (folder / 'sweep.json').write_text(json.dumps({
            'chosen': {'settings': {'reg': '0.1'}, 'seeds': [2]}, 'points': 9, 'finished': 5, 'pruned': 4}))
    search.main(['--root', str(root), '--to', str(to)])
    rows = rows_of(to / 'search.csv')
    assert [row['model'] for row in rows] == ['IALS', 'MDMNS', 'LightGCN']
    assert {(row['chosen'], row['points'], row['pruned'], row['seeds']) for row in rows} == {('reg 0.1', '9', '4', '2')}
    assert [row['MDMNS less that (95 % interval)'][:5] for row in rows] == ['-0.09', '', '+0.10']
    assert [row['p (Holm)'] for row in rows] == ['8e-05', '', '8e-05']
    assert [float(row['Recall@20, fresh seeds']) for row in rows] == pytest.approx([0.7, 0.6, 0.5])


@pytest.mark.parametrize(('flags', 'sentence'), [
    ('', 'python figures/search.py --run --data_dir DIR makes those'),
    ('--run --models ease --trials 3', '--trials cannot be passed on .* Baselines/search.json'),
    ('--run --models mdmns --data sports', 'None of these models is searched')])
def test_what_cannot_be_done(command, made, flags, sentence):
    with pytest.raises(InputError, match=sentence):
        search.main([*command, *flags.split()])
    assert not made


def test_parts_of_what_was_chosen(tmp_path, to, made):
    """Each on top of the chosen setting; those that it has already are left out."""
    for seed in (1, 2):
        save_run(tmp_path / 'search' / 'mdmns' / 'chosen' / f'seed{seed}', '--loss softmax --fused joint --reg 0.03',
                 seed, [0.2] * 3, ([0, 1], [0.2] * 2))
    command = ['--root', str(tmp_path / 'parts'), '--to', str(to)]
    parts.main([*command, '--run', '--seeds', '2', '--variants', 'bpr', 'no-diffusion'])
    assert [folder.parent.name for folder in made] == ['bpr', 'no-diffusion']
    settings = [read_run(folder).settings for folder in made]
    assert [(one['loss'], one['fused'], one['reg'], one['ris_adj_lambda'], one['seed']) for one in settings] == [
        ('bpr', 'joint', 0.03, 0.2, 2), ('softmax', 'joint', 0.03, 0, 2)]
    rows = {row['variant']: row for row in rows_of(to / 'parts.csv')}
    assert list(rows) == ['chosen', 'bpr', 'no-diffusion']
    assert rows['bpr']['Recall@20 less that of chosen (95 % interval)']
    assert rows['bpr']['p (Holm)']
    with pytest.raises(InputError, match="--variants got 'fused-joint'"):
        parts.main([*command, '--run', '--variants', 'fused-joint'])
    with pytest.raises(InputError, match=r'python figures/search\.py --run'):
        parts.main(['--root', str(tmp_path / 'nowhere' / 'parts'), '--to', str(to)])
