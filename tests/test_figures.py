"""Figures: the tables from saved runs with known numbers, what is refused, and what is said where no run is there."""
import csv
import json
import shlex
import shutil
from dataclasses import asdict

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conftest import planted, write_dataset

from DataHandler import UserRows, load_dataset
from Experiments import Jobs
from Experiments.SavedRuns import by_settings, read_run
from Experiments.Tables import ROOT, spread, write_csv
from figures import ablation, approximations, curves, dataset, groups, performance, sensitivity, significance
from figures.runs import labels, what_was_run
from Params import parse
from Utils.Errors import InputError
from Utils.Metrics import DotScores, evaluate

SCRIPTS = (ablation, approximations, curves, groups, sensitivity, significance)


def save_run(folder, flags, seed, recalls, users=None, dataset='tiktok'):
    """A run folder as Main.py leaves it. recalls: test Recall per epoch, of which validation chooses the last but one;
    users: each one's Recall there."""
    settings = asdict(parse(['--data', dataset, *shlex.split(flags), '--seed', str(seed)]))
    config = {'settings': settings, 'seed': seed, 'dataset': {'modalities': {'image': 4, 'audio': 4}}}
    chosen = max(0, len(recalls) - 2)

    def metrics(recall):
        return {'recall': recall, 'ndcg': recall / 2, 'precision': recall / 20}

    folder.mkdir(parents=True)
    (folder / 'config.json').write_text(json.dumps(config))
    write_csv(folder / 'metrics.csv', [
        {'epoch': epoch, 'bpr': 1 / (epoch + 1), 'cl': 0.5, 'diffusion_image': 10.0 ** -epoch,
         **{f'{split}_{name}': value for split in ('val', 'test') for name, value in metrics(recall).items()},
         'seconds': 1} for epoch, recall in enumerate(recalls)])
    (folder / 'result.json').write_text(json.dumps({
        'dataset': dataset, 'config': config, 'seconds': 1,
        'best_test': {'epoch': int(np.argmax(recalls)), **metrics(max(recalls))},
        'best_val': {'epoch': chosen, 'val': metrics(0.5), 'test': metrics(recalls[chosen])}}))
    if users is not None:
        ids, values = users
        np.savez(folder / 'per_user.npz', users=ids, best_val_recall=values, best_test_recall=values)
    return folder


def rows_of(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture
def to(tmp_path):
    """A folder for pictures; afterwards the README must be as before."""
    page = (ROOT / 'README.md').read_text()
    folder = tmp_path / 'pictures'
    folder.mkdir()
    yield folder
    assert (ROOT / 'README.md').read_text() == page, 'the README shows the tables in figures/ alone'


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda script: script.NAME)
def test_without_runs_the_command_that_makes_them(script, tmp_path, to):
    with pytest.raises(InputError, match=rf'python figures/{script.NAME}\.py --run --data_dir DIR'):
        script.main(['--root', str(tmp_path / 'nothing'), '--to', str(to)])
    assert not list(to.iterdir())


@pytest.fixture
def made(monkeypatch, rng):
    """The folders of runs that were made; instead of training, known figures are written."""
    folders = []

    def run_job(job, show):
        folders.append(job.folder)
        settings = parse(list(job.flags))
        recall = rng.random()
        save_run(job.folder, shlex.join(job.flags), settings.seed, [recall] * 4, ([0, 1], [recall] * 2), settings.data)

    monkeypatch.setattr(Jobs, 'run_job', run_job)
    return folders


@pytest.mark.parametrize('script', [script for script in SCRIPTS if script is not groups],
                         ids=lambda script: script.NAME)
def test_run_makes_what_is_missing(script, made, tmp_path, to, capsys):
    command = ['--root', str(tmp_path / 'runs'), '--to', str(to), '--seeds', '1', '2']
    script.main([*command, '--run', '--latdim', '8'])
    assert len(made) == len(set(made)) > 2
    assert {folder.name for folder in made} == {'seed1', 'seed2'}
    assert {read_run(folder).settings['latdim'] for folder in made} <= {8, 16, 32, 128}
    assert (to / f'{script.NAME}.png').is_file()
    first = made[0]
    shutil.rmtree(first)
    made.clear()
    script.main(command)
    assert not made
    assert f'1 of {len(set(tmp_path.glob("runs/**/result.json"))) + 1} runs are not there (the first: {first})' in (
        capsys.readouterr().out)
    script.main([*command, '--run', '--latdim', '8'])
    assert made == [first]
    with pytest.raises(InputError, match='holds a run with --latdim'):
        script.main([*command, '--run', '--latdim', '9'])


def test_run_makes_the_published_table(made, tmp_path, to, monkeypatch):
    """MDMNS's runs, and the sweeps of models that can be trained on the data sets that are there."""
    grids = tmp_path / 'grids.json'
    grids.write_text(json.dumps({'models': {'lightgcn': {'gnn_layer': [1, 2]}, 'vbpr': {'reg': [0.1, 1]}}}))
    monkeypatch.setattr(performance, 'GRIDS', grids)
    for data in ('baby', 'tiktok'):
        (tmp_path / 'data' / data).mkdir(parents=True)
        sp.save_npz(tmp_path / 'data' / data / 'valMat.npz', sp.eye(3, format='coo'))
    (tmp_path / 'data' / 'tiktok' / 'image_feat.npy').touch()
    root = tmp_path / 'runs'
    performance.main(['--run', '--seeds', '421', '2', '--root', str(root), '--data_dir', str(tmp_path / 'data'),
                      '--to', str(to)])
    ran = {str(path.parent.relative_to(root)) for path in root.glob('**/result.json')}
    assert ran == {*(f'{name}/seed{seed}' for name in (*performance.MDMNS, 'tiktok/baselines/lightgcn/chosen',
                                                       'tiktok/baselines/vbpr/chosen', 'baby/baselines/lightgcn/chosen')
                     for seed in (421, 2)), *(f'tiktok/baselines/vbpr/reg={reg}/seed421' for reg in ('0.1', '1')),
                   *(f'{data}/baselines/lightgcn/gnn_layer={layers}/seed421' for data in ('tiktok', 'baby')
                     for layers in (1, 2))}
    rows = [row for row in rows_of(to / 'performance.csv') if row['seeds']]
    assert [(row['data set'], row['model']) for row in rows] == [
        ('tiktok', 'LightGCN'), ('tiktok', 'VBPR'), *[('tiktok', 'MDMNS')] * 3, ('baby', 'LightGCN')]
    assert [row['settings'] for row in rows[:2]] == ['gnn_layer 1 (of 2)', 'image+audio, reg 0.1 (of 2)']
    assert [(row['data set'], row['model'], row['settings'], row['chosen']) for row in rows_of(to / 'grids.csv')] == [
        ('baby', 'lightgcn', 'gnn_layer 1', 'yes'), ('baby', 'lightgcn', 'gnn_layer 2', ''),
        ('tiktok', 'lightgcn', 'gnn_layer 1', 'yes'), ('tiktok', 'lightgcn', 'gnn_layer 2', ''),
        ('tiktok', 'vbpr', 'reg 0.1', 'yes'), ('tiktok', 'vbpr', 'reg 1', '')]
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


def test_wrong_flags(tmp_path, to):
    with pytest.raises(InputError, match='--run alone'):
        ablation.main(['--latdim', '8', '--to', str(to)])
    with pytest.raises(InputError, match='nowhere'):
        curves.main(['--runs', str(tmp_path / 'nowhere'), '--to', str(to)])
    with pytest.raises(InputError, match='seeds'):
        ablation.main(['--seeds', 'x'])


@pytest.mark.parametrize('flags', [[], ['--modalities', 'image', 'text', 'audio'], ['--steps', '20']])
def test_every_variant_is_a_command_of_its_own(flags):
    declared = ablation.variants(flags)
    base = [*ablation.BASE.split(), *flags]
    settings = [parse([*base, *own.split()]) for _, _, own in declared.values()]
    assert len({str(one) for one in settings}) == len(settings)
    three = '--modalities' in flags
    assert [name for name in declared if name.startswith('without-')] == (
        ['without-image', 'without-text', 'without-audio'] if three else [])
    assert {'image', 'audio'} <= set(declared)
    if three:
        assert parse([*base, *declared['without-text'][2].split()]).modalities == ('image', 'audio')
    levels = (2, 5, 10) if '--steps' in flags else (0, 1, 2)
    assert [name for name in declared if name.startswith('noise-')] == [f'noise-{level}' for level in levels]


@pytest.mark.parametrize('variants', [sensitivity.variants(), curves.DEFAULT, groups.DEFAULT, performance.MDMNS,
                                      dict(approximations.CONTRASTS.values()),
                                      dict(approximations.PRECISIONS.values())])
def test_the_flags_of_all_figures_are_known(variants):
    settings = [parse(shlex.split(flags)) for flags in variants.values()]
    assert len({str(one) for one in settings}) == len(settings)


def test_ablation(tmp_path, to):
    root = tmp_path / 'runs'
    declared = ablation.variants([])
    base = f'{ablation.BASE} {ablation.EPOCHS}'
    for seed, recall in ((1, 0.1), (2, 0.3)):
        save_run(root / 'full' / f'seed{seed}', f'{base} {declared["full"][2]}', seed, [0, recall, 0.05])
    save_run(root / 'image' / 'seed2', f'{base} {declared["image"][2]}', 2, [0.4, 0.2, 0.1])
    save_run(root / 'no-contrast' / 'seed3', f'{base} {declared["no-contrast"][2]}', 3, [0.4, 0.2, 0.1])
    ablation.main(['--root', str(root), '--to', str(to)])
    full, contrast, image = rows_of(to / 'ablation.csv')
    assert float(full['Recall@20']) == pytest.approx(0.2)
    assert float(full['Recall@20 (std)']) == pytest.approx(np.sqrt(0.02))
    assert (image['variant'], image['seeds']) == ('image alone', '1')
    assert image['Recall@20 less that of full'] == '-0.1000', 'of seed 2, which both have'
    assert contrast['Recall@20 less that of full'] == '', 'no seed is shared'
    assert float(image['best on test Recall@20']) == 0.4
    assert '| 0.2000 ± 0.1414 |' in (to / 'ablation.md').read_text()
    assert (to / 'ablation.png').stat().st_size > 10_000

    save_run(root / 'audio' / 'seed2', f'{base} {declared["audio"][2]} --temp 0.3', 2, [0.1, 0.1])
    with pytest.raises(InputError, match=r'differs from .*full.* in temp'):
        ablation.main(['--root', str(root), '--to', str(to)])


def test_sensitivity_reads_the_settings_not_the_names(tmp_path, to):
    base = sensitivity.variants()['base']
    save_run(tmp_path / 'base' / 'seed1', base, 1, [0.1, 0.1])
    save_run(tmp_path / 'steps=99' / 'seed1', f'{base} --steps 3', 1, [0.2, 0.2])
    save_run(tmp_path / 'x' / 'seed1', f'{base} --steps 7', 1, [0.3, 0.3])
    save_run(tmp_path / 'x' / 'seed2', f'{base} --steps 7', 2, [0.5, 0.3])
    save_run(tmp_path / 'noise' / 'seed1', f'{base} --noise_levels 0 2', 1, [0.4, 0.4])
    save_run(tmp_path / 'two' / 'seed1', f'{base} --steps 2 --temp 0.1', 1, [0.9, 0.9])
    save_run(tmp_path / 'other' / 'seed1', f'{base} --trans 0', 1, [0.9, 0.9])
    sensitivity.main(['--root', str(tmp_path), '--to', str(to)])
    told = [(row['flag'], row['value'], row['base'], row['seeds'], float(row['Recall@20']))
            for row in rows_of(to / 'sensitivity.csv')]
    assert told == [('steps', '3', '', '1', 0.2), ('steps', '5', 'yes', '1', 0.1), ('steps', '7', '', '2', 0.4),
                    ('noise_levels', '0 0 1 2', 'yes', '1', 0.1), ('noise_levels', '0 2', '', '1', 0.4)]
    assert (to / 'sensitivity.png').is_file()


def test_curves_of_any_runs(tmp_path, to):
    runs = [save_run(tmp_path / f'a{seed}', '--temp 0.2', seed, recalls)
            for seed, recalls in ((1, [0.1, 0.2, 0.3]), (2, [0.2, 0.3, 0.1, 0.6]))]
    runs.append(save_run(tmp_path / 'b', '--temp 0.7 --epoch 9', 1, [0.5]))
    curves.main(['--runs', *map(str, runs), '--to', str(to)])
    rows = rows_of(to / 'curves.csv')
    assert [(row['test Recall@20 of'], row['seeds']) for row in rows] == [('temp 0.2 (3/4 epochs)', '2'),
                                                                          ('temp 0.7 (1 epochs)', '1')]
    assert float(rows[0]['epoch 0']) == pytest.approx(0.15)
    assert float(rows[0]['best epoch']) == pytest.approx(0.45)
    assert float(rows[0]['epoch of the best validation Recall']) == pytest.approx(0.15)
    with pytest.raises(InputError, match='leave out either it or --runs'):
        curves.main(['--runs', str(runs[0]), '--run', '--to', str(to)])


def test_what_tells_groups_of_runs_apart(tmp_path):
    flags = ('--latdim 8 --epoch 3', '--latdim 8 --epoch 5', '--latdim 9 --epoch 5')
    found = by_settings([read_run(save_run(tmp_path / str(number), text, 1, [0.1]))
                         for number, text in enumerate(flags)])
    assert labels(found) == ['epoch 3, latdim 8', 'epoch 5, latdim 8', 'epoch 5, latdim 9']
    assert labels(found[1:]) == ['latdim 8', 'latdim 9']
    assert what_was_run(found[0][0]) == 'latdim 8'


def test_published_cells_that_cannot_be():
    impossible = performance.impossible
    assert impossible(0.0380, 0.0018, one_test_item=False), 'below recall / 20'
    assert not impossible(0.1193, 0.0060, one_test_item=True)
    assert impossible(0.0658, 0.0034, one_test_item=True), 'one hit at most: precision is recall / 20'
    assert not impossible(0.0658, 0.0034, one_test_item=False)
    assert not impossible(0.0010, 0.00005, one_test_item=True)
    marked = [(row['data set'], row['model']) for row in performance.published() if row['cannot be']]
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
                         ('baby', 'MF-BPR', 'latdim 64'), ('demo', 'MFBPR', 'latdim 64')]
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
            '0.0175 ± 0.0035 | 0.3000 ± 0.1414 / 0.1500 ± 0.0707 / 0.0150 ± 0.0071 |') in page
    assert '| sports | MDMNS | 0.1093 / 0.0496 / 0.0058 |  |  |  |  |  |' in page


def test_performance_without_runs_shows_the_published_figures_alone(tmp_path, to):
    performance.main(['--root', str(tmp_path / 'nothing'), '--to', str(to)])
    rows = rows_of(to / 'performance.csv')
    assert len(rows) == 57
    assert set(rows[0]) == {'data set', 'model', 'published recall', 'published ndcg', 'published precision',
                            'cannot be'}


def test_significance(tmp_path, to, rng):
    ids, chances = np.arange(400), rng.random(400)
    for name, gain, seeds in (('full', 0.3, (1, 2, 3)), ('worse', 0, (2, 3, 4)), ('same', 0.3, (1, 2, 3)),
                              ('chosen', 0, (9,))):
        folder = tmp_path / ('ease/chosen' if name == 'chosen' else name)
        for seed in seeds:
            values = chances + gain + 0.01 * seed
            save_run(folder / f'seed{seed}', '--model ease' if name == 'chosen' else '', seed,
                     [values.mean() + 0.25, values.mean(), 0], (ids, values))
    models = [str(tmp_path / name) for name in ('full', 'worse', 'same', 'ease/chosen')]
    significance.main(['--runs', *models, '--to', str(to)])
    worse, same, ease = rows_of(to / 'significance.csv')
    assert [row['full beside'] for row in (worse, same, ease)] == ['worse', 'same', 'ease']
    assert [row['shared seeds'] for row in (worse, same, ease)] == ['2', '3', '3'], 'a closed form has every seed'
    assert float(ease['Recall@20 of full']) == pytest.approx(chances.mean() + 0.32), 'seeds 1, 2 and 3'
    assert float(worse['difference']) == pytest.approx(0.3)
    assert float(worse['Recall@20 of full']) == pytest.approx(chances.mean() + 0.325), 'seeds 2 and 3'
    assert float(same['difference']) == 0
    assert float(same['p Wilcoxon (Holm)']) == 1
    assert float(worse['p Wilcoxon (Holm)']) < 1e-6
    assert float(worse['p bootstrap (Holm)']) == pytest.approx(3 * float(worse['p bootstrap']))
    assert all(float(row['gap']) == pytest.approx(0.25) for row in rows_of(to / 'protocols.csv'))
    assert '+0.3000 (+0.3000 to +0.3000)' in (to / 'significance.md').read_text()

    significance.main(['--runs', str(tmp_path / 'ease' / 'chosen'), str(tmp_path / 'full'), '--to', str(to)])
    assert [(row['ease beside'], row['shared seeds']) for row in rows_of(to / 'significance.csv')] == [('full', '3')]

    other = save_run(tmp_path / 'other' / 'seed1', '', 1, [0.1, 0.1], (ids + 1, chances)).parent
    with pytest.raises(InputError, match='other users'):
        significance.main(['--runs', str(tmp_path / 'full'), str(other), '--to', str(to)])


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


def test_runs_of_several_data_sets_make_no_groups(tmp_path, to):
    runs = [save_run(tmp_path / name, '', 1, [0.1], dataset=name) for name in ('one', 'two')]
    with pytest.raises(InputError, match='several data sets'):
        groups.main(['--runs', *map(str, runs), '--to', str(to)])


def test_a_mean_and_a_deviation(tmp_path):
    assert str(spread([])) == ''
    assert str(spread([0.5, None])) == '0.5000'
    assert str(spread([1, 2])) == '1.5000 ± 0.7071'
    write_csv(tmp_path / 'table.csv', [{'name': 'a', 'x': spread([1, 3])}, {'name': 'b', 'x': spread([2]), 'y': 4}])
    assert (tmp_path / 'table.csv').read_text().splitlines() == ['name,x,x (std),y', f'a,2,{np.sqrt(2)},', 'b,2,,4']
