"""Tables I and II: published figures beside ours, the runs that make them, and the README's short table."""
import json
import re

import pytest
import scipy.sparse as sp
from saved_runs import rows_of, save_run
from test_params import PUBLISHED_COMMANDS

from Experiments.SavedRuns import read_run
from Experiments.Tables import FIGURES
from figures import dataset, performance
from Params import parse
from Utils.Errors import InputError


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Two grids, and two data sets of which one has features: the folder of the data sets."""
    grids = tmp_path / 'grids.json'
    grids.write_text(json.dumps({'models': {'lightgcn': {'gnn_layer': [1, 2]}, 'vbpr': {'reg': [0.1, 1]}}}))
    monkeypatch.setattr(performance, 'GRIDS', grids)
    for data in ('baby', 'tiktok'):
        (tmp_path / 'data' / data).mkdir(parents=True)
        sp.save_npz(tmp_path / 'data' / data / 'valMat.npz', sp.eye(3, format='coo'))
    (tmp_path / 'data' / 'tiktok' / 'image_feat.npy').touch()
    return tmp_path / 'data'


@pytest.mark.parametrize(('flags', 'expected'), [
    ('--models lightgcn --data baby', ['baby/lightgcn']), ('--models lightgcn vbpr', [
        'baby/lightgcn', 'tiktok/lightgcn', 'tiktok/vbpr']), ('--data baby', ['baby/lightgcn'])])
def test_a_table_in_part(made, tables, tmp_path, to, flags, expected, capsys):
    performance.main(['--run', *flags.split(), '--root', str(tmp_path / 'runs'), '--data_dir', str(tables), '--to',
                      str(to), '--seeds', '421', '--epoch', '2'])
    found = {'/'.join(path.relative_to(tmp_path / 'runs').parts[:3:2]) for path in made}
    assert sorted(found) == expected
    assert {read_run(path).settings['epoch'] for path in made} == {2}
    said = capsys.readouterr().out
    assert ('vbpr needs features, and baby has none there' in said) == (' vbpr' in flags)
    assert '1 at a time' not in said
    assert f'{len(made)} of {len(made)} runs are missing: ' in said


@pytest.mark.parametrize(('flags', 'sentence'), [
    ('--models mdnms', "--models got 'mdnms'. Did you mean mdmns"),
    ('--data babyy', "--data got 'babyy'. Did you mean"),
    ('--data sports', 'holds no such folder'), ('--models vbpr --data baby', 'none is run on these data sets'),
    ('--models lightgcn --gnn_layer 2', 'both swept and given')])
def test_parts_of_the_table_that_are_not_there(made, tables, tmp_path, to, flags, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        performance.main(['--run', *flags.split(), '--root', str(tmp_path / 'runs'), '--data_dir', str(tables), '--to',
                          str(to)])
    assert not made


def test_run_makes_the_published_table(made, tables, tmp_path, to):
    """MDMNS's runs, and the sweeps of models that can be trained on the data sets that are there."""
    root = tmp_path / 'runs'
    performance.main(['--run', '--seeds', '421', '2', '--root', str(root), '--data_dir', str(tables),
                      '--to', str(to)])
    ran = {str(path.parent.relative_to(root)) for path in root.glob('**/result.json')}
    assert ran == {*(f'{name}/seed{seed}' for name in (*performance.MDMNS, 'tiktok/baselines/lightgcn/chosen',
                                                       'tiktok/baselines/vbpr/chosen', 'baby/baselines/lightgcn/chosen')
                     for seed in (421, 2)), *(f'tiktok/baselines/vbpr/reg={reg}/seed421' for reg in ('0.1', '1')),
                   *(f'{data}/baselines/lightgcn/gnn_layer={layers}/seed421' for data in ('tiktok', 'baby')
                     for layers in (1, 2))}
    rows = [row for row in rows_of(to / 'performance.csv') if row['seeds']]
    of_mdmns = [('tiktok', 'MDMNS')] * len(performance.MDMNS)
    assert [(row['data set'], row['model']) for row in rows] == [
        ('tiktok', 'LightGCN'), ('tiktok', 'VBPR'), *of_mdmns, ('baby', 'LightGCN')]
    assert [row['settings'] for row in rows[:2]] == ['gnn_layer 1 (of 2)', 'image+audio, reg 0.1 (of 2)']
    assert [(row['data set'], row['model'], row['settings'], row['chosen']) for row in rows_of(to / 'grids.csv')] == [
        ('baby', 'lightgcn', 'gnn_layer 1', 'yes'), ('baby', 'lightgcn', 'gnn_layer 2', ''),
        ('tiktok', 'lightgcn', 'gnn_layer 1', 'yes'), ('tiktok', 'lightgcn', 'gnn_layer 2', ''),
        ('tiktok', 'vbpr', 'reg 0.1', 'yes'), ('tiktok', 'vbpr', 'reg 1', '')]
    beside = {row['model']: row for row in rows_of(to / 'suites.csv')}
    assert beside['VBPR']['our Recall@20'] == rows[1]['selected on validation recall']
    assert beside['VBPR']['its Recall@20'] == '0.0433'
    assert beside['MGCN']['our Recall@20'] == '', 'not swept'
    made.clear()
    performance.main(['--run', '--seeds', '421', '2', '--root', str(root), '--data_dir', str(tables),
                      '--to', str(to)])
    assert not made
    swept = root / 'tiktok' / 'baselines' / 'vbpr' / 'sweep.json'
    swept.write_text(swept.read_text().replace('"reg": "0.1"', '"reg": "1.0"'))
    with pytest.raises(InputError, match=r'is not of the point that .*sweep.json names as chosen'):
        performance.main(['--root', str(root), '--to', str(to)])


def test_table_one_needs_its_data_sets(tmp_path):
    with pytest.raises(InputError, match='holds none of the published data sets'):
        dataset.main(['--data_dir', str(tmp_path)])
    (tmp_path / 'tiktok').mkdir()
    with pytest.raises(InputError, match='trnMat'):
        dataset.main(['--data_dir', str(tmp_path)])


def test_published_cells_that_are_impossible():
    impossible = performance.impossible
    assert impossible(0.0380, 0.0018, one_test_item=False), 'below recall / 20'
    assert not impossible(0.1193, 0.0060, one_test_item=True)
    assert impossible(0.0658, 0.0034, one_test_item=True), 'one hit at most: precision is recall / 20'
    assert not impossible(0.0658, 0.0034, one_test_item=False)
    assert not impossible(0.0010, 0.00005, one_test_item=True)
    marked = [(row['data set'], row['model']) for row in performance.published() if row['impossible']]
    assert marked == [('tiktok', model) for model in ('NCL', 'HCCF', 'VBPR', 'GRCN', 'CLCRec', 'MMGCL')]


def test_our_runs_stand_beside_the_published_figures_of_the_same_model(tmp_path, to):
    runs = [save_run(tmp_path / 'a1', '--model lightgcn --latdim 8', 1, [0.1, 0.2, 0.3]),
            save_run(tmp_path / 'a2', '--model lightgcn --latdim 8', 2, [0.1, 0.4, 0.3]),
            save_run(tmp_path / 'b', '--model mdmns --cl_method 1', 1, [0.5]),
            save_run(tmp_path / 'c', '--model mdmns --cl_method 0', 1, [0.6]),
            save_run(tmp_path / 'd', '--model ease', 1, [0.7]),
            save_run(tmp_path / 'e', '--model mfbpr', 1, [0.8], dataset='baby'),
            save_run(tmp_path / 'f', '--model mfbpr', 1, [0.8], dataset='demo')]
    performance.main(['--runs', *map(str, runs), '--to', str(to)])
    rows = rows_of(to / 'performance.csv')
    ran = {(row['data set'], row['model'], row['settings']): row for row in rows if row['seeds']}
    assert list(ran) == [('tiktok', 'LightGCN', 'latdim 8'), ('tiktok', 'MDMNS', 'image+audio, latdim 64, cl_method 1'),
                         ('tiktok', 'MDMNS', 'image+audio, latdim 64, cl_method 0'), ('tiktok', 'EASE', ''),
                         ('baby', 'MF-BPR', 'latdim 64'), ('demo', 'MF-BPR', 'latdim 64')]
    lightgcn, first, second, *_ = ran.values()
    assert (lightgcn['published recall'], lightgcn['epochs'], lightgcn['seeds']) == ('0.0653', '3', '2')
    assert float(lightgcn['selected on validation recall']) == pytest.approx(0.3)
    assert float(lightgcn['best on test ndcg']) == pytest.approx(0.175)
    assert (first['published recall'], second['published recall']) == ('0.1193', '')
    for row in rows:
        if not row['seeds']:
            assert not any(value for name, value in row.items() if name.startswith(('best', 'selected', 'settings')))
    page = (to / 'performance.md').read_text().splitlines()
    assert ('| tiktok | LightGCN | 0.0653 / 0.0282 / 0.0033 | latdim 8 | 3 | 2 | 0.3500 ± 0.0707 / 0.1750 ± 0.0354 / '
            '0.0175 ± 0.0035 | 0.3000 ± 0.1414 / 0.1500 ± 0.0707 / 0.0150 ± 0.0071 |  |') in page
    assert '| sports | MDMNS | 0.1093 / 0.0496 / 0.0058 |  |  |  |  |  |  |' in page


@pytest.mark.parametrize(('finished', 'tried'), [(3, 'of 3, moved'), (2, 'of 2')])
def test_a_grid_counts_as_moved_once_all_of_it_was_run(tmp_path, to, monkeypatch, finished, tried):
    grids = tmp_path / 'grids.json'
    monkeypatch.setattr(performance, 'GRIDS', grids)
    grids.write_text(json.dumps({'models': {'lightgcn': {'reg': [0.1, 0.2, 0.3]}},
                                 'moved': {'tiktok': {'lightgcn': 1}}}))
    folder = tmp_path / 'lightgcn'
    for seed, recall in ((1, 0.9), (2, 0.3), (3, 0.3)):
        save_run(folder / 'chosen' / f'seed{seed}', '--model lightgcn --reg 0.1', seed, [recall] * 2)
    (folder / 'sweep.json').write_text(json.dumps({
        'chosen': {'settings': {'reg': '0.1'}, 'seeds': [1]}, 'points': finished, 'finished': finished}))
    performance.main(['--runs', str(folder / 'chosen'), '--to', str(to)])
    row = next(row for row in rows_of(to / 'performance.csv') if row['seeds'])
    assert row['settings'] == f'reg 0.1 ({tried})'
    assert float(row['selected on validation recall']) == pytest.approx(0.5)
    assert float(row['Recall@20, fresh seeds']) == pytest.approx(0.3), 'seed 1 chose'
    grids.write_text(json.dumps({'models': {}}))
    performance.main(['--runs', str(folder / 'chosen'), '--to', str(to)])
    assert f'reg 0.1 (of {finished})' in (to / 'performance.csv').read_text(), "a user's sweep, of no grid of ours"


def test_performance_without_runs_shows_the_published_figures_alone(tmp_path, to):
    performance.main(['--root', str(tmp_path / 'nothing'), '--to', str(to)])
    rows = rows_of(to / 'performance.csv')
    assert len(rows) == 57
    assert set(rows[0]) == {'data set', 'model', 'published recall', 'published ndcg', 'published precision',
                            'impossible'}


def test_the_width_that_was_published_is_that_of_the_published_commands():
    widths = {row['folder']: int(row['mdmns_latdim']) for row in rows_of(FIGURES / 'published_table1.csv')}
    commands = [parse(words.split()) for words in PUBLISHED_COMMANDS]
    assert widths == {settings.data: settings.latdim for settings in commands}


def test_the_short_table(tmp_path, to):
    """The row beside the published figure, MDMNS first, and our best of a data set whatever it is."""
    runs = [save_run(tmp_path / 'a', '--model mdmns --cl_method 1', 1, [0.1, 0.2]),
            save_run(tmp_path / 'b', '--model mdmns --cl_method 0', 1, [0.3, 0.9]),
            save_run(tmp_path / 'c', '--model ngcf', 1, [0.5, 0.2]),
            save_run(tmp_path / 'd', '--model ncl', 1, [0.4, 0.2]),
            save_run(tmp_path / 'e', '--model ease', 1, [0.2, 0.2])]
    performance.main(['--runs', *map(str, runs), '--to', str(to)])
    lines = (to / 'summary.md').read_text().splitlines()
    assert lines[2].startswith('| MDMNS | 0.1193 | 0.1000 (1) | 0.1009 |  | 0.1093 |')
    shown = [line.split(' | ')[0].strip('| ') for line in lines[2:]]
    assert shown == ['MDMNS', 'NGCF', 'LightGCN', 'SGL', 'LATTICE', 'BM3', 'DiffMM', 'EASE']
    assert '| NGCF | 0.0604 | 0.5000 (1) |' in (to / 'summary.md').read_text()
    assert '| NCL | 0.0658 / 0.0269 / 0.0034 ! |' in (to / 'performance.md').read_text().replace('| tiktok ', '')
