"""Sweeps: what is refused before any work, what is run, what is chosen, and going on after a stop."""
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import planted, write_dataset

import Main
from Baselines import BASELINES
from Experiments import Choice, Grids, Pool, Sweep
from Experiments.Jobs import Job, check_same
from Experiments.SavedRuns import read_run
from Params import parse
from Runs.Recorded import EARLIER
from Utils.Errors import InputError

ROOT = Path(__file__).resolve().parent.parent
TINY = '--latdim 4 --dims 8 --guide_fused_hidden_dim 4 --batch 64 --topk 5 --lr 0.02 --device cpu --epoch 2'


@pytest.fixture
def flags(rng, tmp_path):
    write_dataset(tmp_path / 'data' / 'tiny', *planted(rng))
    return f'--data tiny --data_dir {tmp_path / "data"} {TINY}'.split()


@pytest.fixture
def made(monkeypatch):
    """The folders of the runs that are made, here without a process of their own."""
    folders = []

    def launch(job, slot):
        folders.append(job.folder)
        assert Main.main([*job.command()[1:], '--resume']) == 0
        return subprocess.Popen(['true'], stdout=subprocess.PIPE)

    monkeypatch.setattr(Pool, 'launch', launch)
    return folders


def rows_of(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def test_a_sweep_goes_on_where_it_was_left(flags, made, tmp_path):
    out = tmp_path / 'sweep'
    command = ['--grid', 'temp=0.2,0.5', 'noise_levels=none,0_1', '--cl_method', '1', *flags, '--seeds', '1', '2',
               '--search', 'random', '--trials', '2', '--search_seed', '4', '--out', str(out)]
    assert Sweep.main(command) == 0
    assert len(made) == len(set(made)) == 4, 'two points with two seeds each'
    rows = rows_of(out / 'sweep.csv')
    assert [row['seed'] for row in rows] == ['1', '2', '1', '2']
    for row in rows:
        result = read_run(row['folder']).result
        assert float(row['val_recall']) == result['best_val']['val']['recall']
        assert float(row['test_ndcg']) == result['best_val']['test']['ndcg']
        assert int(row['best_test_epoch']) == result['best_test']['epoch']
        assert (row['epochs'], result['config']['settings']['temp']) == ('2', float(row['temp']))
        assert not (Path(row['folder']) / 'embeddings.npz').exists()
        assert not list(Path(row['folder']).glob('checkpoint*'))
        levels = {'none': [], '0_1': [0, 1]}[row['noise_levels']]
        assert list(result['config']['settings']['noise_levels']) == levels

    made.clear()
    (Path(rows[2]['folder']) / 'result.json').unlink()
    assert Sweep.main([*command, '--final_seeds', '2']) == 0
    assert made == [Path(rows[2]['folder'])], 'the others stay; the final run is a copy'
    assert rows_of(out / 'sweep.csv')[3] == rows[3]
    chosen = json.loads((out / 'sweep.json').read_text())['chosen']
    means = {}
    for row in rows_of(out / 'sweep.csv'):
        means.setdefault(str(Path(row['folder']).parent), []).append(float(row['val_recall']))
    assert np.mean(means[chosen['folder']]) == max(map(np.mean, means.values()))
    copied = out / 'chosen' / 'seed2' / 'result.json'
    assert copied.read_text() == (Path(chosen['folder']) / 'seed2' / 'result.json').read_text()

    made.clear()
    with pytest.raises(InputError, match='holds a run with --temp'):
        Sweep.sweep([*command[:1], f'temp={rows[0]["temp"]}', *command[3:-2], '--out', str(other_settings(out, rows))])
    assert not made


def other_settings(out, rows):
    """A folder in which the first point's runs are those of another temperature."""
    moved = out.parent / 'moved'
    point = moved / f'temp={rows[0]["temp"]}'
    point.mkdir(parents=True)
    other = next(row for row in rows if row['temp'] != rows[0]['temp'] or row is rows[-1])
    for seed in (1, 2):
        folder = point / f'seed{seed}'
        folder.mkdir()
        config = json.loads((Path(other['folder']).parent / f'seed{seed}' / 'config.json').read_text())
        config['settings'] |= {'temp': 0.9}
        (folder / 'config.json').write_text(json.dumps(config))
    return moved


def test_without_validation_interactions_nothing_is_trained(flags, made, tmp_path, capsys):
    data = tmp_path / 'data' / 'tiny'
    val = sp.load_npz(data / 'valMat.npz')
    sp.save_npz(data / 'valMat.npz', sp.coo_matrix(val.shape, dtype=val.dtype))
    assert Sweep.main(['--grid', 'temp=0.2,0.5', *flags, '--out', str(tmp_path / 'sweep')]) == 2
    assert 'tiny has no validation interactions: nothing can be selected' in capsys.readouterr().err
    assert not made
    assert not (tmp_path / 'sweep').exists()
    with pytest.raises(InputError, match='no validation interactions'):
        Sweep.Sweep(['--grid', 'temp=0.2,0.5', *flags, '--out', str(tmp_path / 'sweep')])


def test_the_highest_validation_recall_is_chosen_whatever_the_test_says(tmp_path):
    points, plans = [{'temp': '0.1'}, {'temp': '0.2'}, {'temp': '0.3'}], []
    for point, vals, test in zip(points, ((0.3, 0.5), (0.2, 0.7), (0.9,)), (0.9, 0.1, 0.9), strict=True):
        jobs = [Job(tmp_path / point['temp'] / f'seed{seed}', ()) for seed in (1, 2)]
        plans.append(jobs)
        for job, val in zip(jobs, vals, strict=False):  # the last point lacks a seed
            job.folder.mkdir(parents=True)
            metrics = dict.fromkeys(('recall', 'ndcg', 'precision'), test)
            (job.folder / 'metrics.csv').write_text('epoch\n0\n')
            (job.folder / 'result.json').write_text(json.dumps({
                'dataset': 'tiny', 'config': {'seed': int(job.folder.name[4:])}, 'seconds': 1,
                'best_test': {'epoch': 0, **metrics},
                'best_val': {'epoch': 0, 'val': {**metrics, 'recall': val}, 'test': metrics}}))
    best = Choice.write_results(list(zip(points, plans, strict=True)), tmp_path)
    assert best['settings'] == {'temp': '0.2'}
    assert best['val_recall'] == pytest.approx(0.45)
    assert len(rows_of(tmp_path / 'sweep.csv')) == 5
    assert json.loads((tmp_path / 'sweep.json').read_text()) == {'chosen': best, 'points': 3, 'finished': 2}


@pytest.mark.parametrize(('command', 'sentence'), [
    ('--grid latdimm=64', 'Did you mean latdim?'),
    ('--grid latdim=64,0', 'expected a whole number of at least 1'),
    ('--grid latdim', 'expected FLAG=VALUE'),
    ('--grid latdim=64,,128', 'expected FLAG=VALUE'),
    ('--grid latdim=64 latdim=128', 'latdim twice'),
    ('--grid temp=0.5,5e-1', 'are the same'),
    ('--grid seed=1,2', 'give --seeds'),
    ('--grid latdim=64 --latdim 32', 'both swept and given'),
    ('--grid latdim=64 --seed=3', 'give --seeds'),
    ('--grid latdim=64 --tempp 3', 'tempp'),
    ('--grid latdim=64 --sample 3', 'give --search random --trials N'),
    ('--grid latdim=64 --sample_seed=3', 'give --search_seed'),
    ('--grid latdim=64 --search random --trials 0', 'at least 1'),
    ('--grid latdim=64 --search tpe', 'needs --trials'),
    ('--grid latdim=64 --trials 3', 'for --search random and tpe'),
    ('--grid temp=0.1..0.5', 'not every value can be tried'),
    ('--grid temp=0.5..0.1 --search random --trials 3', 'no range'),
    ('--grid temp=0..0.1 --search random --trials 3', 'above 0'),
    ('--grid reg=0..0.1,log --search random --trials 3', 'above 0'),
    ('--grid norm=true..false --search random --trials 3', 'no single number'),
    ('--grid temp=0.5,5e-1 --search tpe --trials 3', 'are the same'),
    ('--grid latdim=64 --jobs 0', 'at least 1'),
    ('--grid latdim=64 --devices cuda:77', 'CUDA device 77 is not there'),
    ('--grid latdim=64 --devices cpu --device cpu', 'leave one out'),
    ('--grid latdim=64 --load x', 'a sweep trains'),
    ('--grid steps=5,20 --sampling_steps 10', 'sampling_steps 10 is more than'),
    ('', 'either --grid'),
    ('--grids nowhere.json --model mdmns', 'nowhere.json'),
])
def test_refused_before_any_work(command, sentence, made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Sweep.main([*command.split(), '--out', 'sweep']) == 2
    error = capsys.readouterr().err
    assert error.startswith('Experiments.Sweep: ')
    assert sentence in error
    assert error.count('\n') == 1
    assert not made
    assert not (tmp_path / 'sweep').exists()


def test_a_grid_from_a_file(tmp_path):
    path = tmp_path / 'grids.json'
    path.write_text(json.dumps({'models': {'diffmm': {'gnn_layer': [2, 3], 'dims': [[8, 4], [6]], 'norm': [True],
                                                          'lr': [0.5]}},
                                'common': {'epoch': 7, 'noise_levels': [], 'lr': 0.1, 'dims': [3]},
                                'data': {'mine': {'diffmm': {'gnn_layer': [0, 1], 'lr': [0.7]}}}}))
    grid, common = Grids.read_grids(path, 'diffmm')
    assert Grids.read_grids(path, 'diffmm', 'mine') == ({**grid, 'gnn_layer': ['0', '1']},
                                                        [word.replace('0.5', '0.7') for word in common])
    (tmp_path / 'mine').mkdir()
    sp.save_npz(tmp_path / 'mine' / 'valMat.npz', sp.eye(3, format='coo'))
    moved = Sweep.Sweep(['--grids', str(path), '--model', 'diffmm', '--data', 'mine', '--data_dir', str(tmp_path),
                         '--out', 'there'])
    assert next(Grids.name_of(point) for point, _ in moved.planned) == 'gnn_layer=0,dims=8_4'
    assert grid == {'gnn_layer': ['2', '3'], 'dims': ['8_4', '6']}
    assert common == ['--epoch', '7', '--noise_levels', '--lr', '0.5', '--norm', 'true']
    sweep = Sweep.Sweep(
        ['--grids', str(path), '--model', 'diffmm', '--epoch', '9', '--seeds', '1', '1', '2', '--out', 'there'])
    points, plans = zip(*sweep.planned, strict=True)
    assert [Grids.name_of(point) for point in points] == ['gnn_layer=2,dims=8_4', 'gnn_layer=2,dims=6',
                                                          'gnn_layer=3,dims=8_4', 'gnn_layer=3,dims=6']
    settings = parse(list(plans[2][1].flags))
    assert (settings.model, settings.epoch, settings.seed, settings.gnn_layer, settings.dims, settings.norm,
            settings.noise_levels) == ('diffmm', 9, 2, 3, (8, 4), True, ())
    assert plans[2][1].folder == Path('there/gnn_layer=3,dims=8_4/seed2')
    with pytest.raises(InputError, match='Did you mean diffmm'):
        Grids.read_grids(path, 'diffnm')
    for broken in ('{', '[]', '{"models": {"diffmm": 3}}', '{"models": []}',
                   '{"models": {"diffmm": {"lr": []}}}'):
        path.write_text(broken)
        with pytest.raises(InputError, match=r'not a file of grids|no grid for'):
            Grids.read_grids(path, 'diffmm')


def test_a_sweep_of_an_earlier_version_is_finished(made, tmp_path, monkeypatch):
    """One that was made before there were studies, workers and half of the flags: it is told, and no byte changes."""
    out = Path('results/tiktok/baselines/lightgcn')
    shutil.copytree(ROOT / 'tests' / 'sweeps' / 'lightgcn', tmp_path / out)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    best = Sweep.sweep(['--grids', str(ROOT / 'tests' / 'sweeps' / 'grids.json'), '--model', 'lightgcn', '--data',
                        'tiktok', '--data_dir', 'nowhere', '--out', str(out), '--final_seeds', '421', '1', '2'])
    assert best['settings'] == {'reg': '0.03'}
    assert not made
    assert {path: path.read_bytes() for path in out.rglob('*') if path.is_file()} == before


def test_a_run_of_other_settings_is_not_taken_for_the_job(tmp_path):
    first = {name: value for name, value in asdict(parse(['--seed', '3', '--tstBat', '7'])).items()
             if name not in EARLIER}  # a run of before these flags existed
    config = {'settings': first, 'dataset': {'modalities': {'image': 3}}, 'seed': 3}
    (tmp_path / 'config.json').write_text(json.dumps(config))
    check_same(Job(tmp_path, ('--seed', '3')))
    check_same(Job(tmp_path, ('--seed', '3', '--modalities', 'image', '--data_dir', 'elsewhere')))
    for other in ('--seed 4', '--seed 3 --temp 0.6', '--seed 3 --modalities text', '--seed 3 --noise_levels'):
        with pytest.raises(InputError, match='move it away'):
            check_same(Job(tmp_path, tuple(other.split())))
    (tmp_path / 'config.json').write_text('{')
    with pytest.raises(InputError, match='damaged'):
        check_same(Job(tmp_path, ('--seed', '3')))


def test_a_run_that_fails_ends_the_sweep_with_its_words(flags, tmp_path, capsys):
    command = ['--grid', 'modalities=image,smell', *flags, '--out', str(tmp_path / 'sweep')]
    (tmp_path / 'data' / 'tiny' / 'image_feat.npy').unlink()
    assert Sweep.main(command) == 2
    error = capsys.readouterr().err
    assert 'modalities=image/seed421 failed: Main.py: ' in error
    assert error.count('\n') == 1
    assert f'--out {tmp_path / "sweep"}/modalities=image/seed421 --resume' in error, 'the command to see more'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_sweep_cleanly_and_it_goes_on(flags, made, tmp_path, number):
    out = tmp_path / 'sweep'
    command = ['--grid', 'temp=0.2', *flags, '--epoch', '25', '--checkpoint_every', '0', '--out', str(out)]
    start = ('import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); '
             'from Experiments.Sweep import main; sys.exit(main(sys.argv[1:]))')
    process = subprocess.Popen([sys.executable, '-c', start, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
                               stdout=subprocess.DEVNULL)
    run = out / 'temp=0.2' / 'seed421'
    deadline = time.monotonic() + 60
    while not (run / 'metrics.csv').exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert 'Traceback' not in error
    assert 'stopped' in error
    assert (run / 'checkpoint.pt').is_file()
    assert not (run / 'result.json').exists()
    assert not (run / '.lock').exists(), 'the run has ended too'

    assert Sweep.main(command) == 0
    assert made == [run]
    assert [row['epoch'] for row in rows_of(run / 'metrics.csv')] == [str(epoch) for epoch in range(25)]
    assert not list(run.glob('checkpoint*'))


@pytest.mark.parametrize('name', BASELINES)
def test_every_baseline_has_the_same_budget(name):
    sweep = Sweep.Sweep(['--grids', str(ROOT / 'Baselines' / 'grids.json'), '--model', name, '--out', 'x'])
    assert len(sweep.planned) == (1 if name == 'pop' else 4)
