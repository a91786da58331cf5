"""The search by Optuna: which points are tried, what is pruned and chosen, and the journal that workers share."""
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import optuna
import pytest
import scipy.sparse as sp
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from Experiments import Grids, Pool, Sweep
from Experiments.Grids import Range, name_of
from Experiments.Search import JOURNAL, Space, Study
from Params import parse
from Utils.Errors import InputError

ROOT = Path(__file__).resolve().parent.parent
# A run in the place of Main.py: best where lr is 0.01 and reg 0.1, and the better the later; with SIGTERM it ends
RUN = '''
import json, math, os, signal, sys, time
words = sys.argv[1:]
value = dict(zip(words[::2], words[1::2]))
lr, reg, epochs = float(value['--lr']), float(value['--reg']), int(value['--epoch'])
best = 1 - abs(math.log10(lr) + 2) / 4 - abs(math.log10(reg) + 1) / 8
if lr == 0.5:
    sys.exit('Main.py: lr became nan')
def metrics(recall):
    return dict.fromkeys(('recall', 'ndcg', 'precision'), recall)
with open('metrics.csv', 'w') as file:
    print('epoch,val_recall', file=file)
    for epoch in range(epochs):
        print(f'{epoch},{best * (1 - 0.5 ** (epoch + 1))}', file=file, flush=True)
        print(f'now  epoch {epoch}/{epochs - 1}  bpr 0.1', flush=True)
        time.sleep(PAUSE * (10 if lr < 0.001 else 1))
with open('result.partial', 'w') as file:
    json.dump({'dataset': 'tiny', 'seconds': 1, 'config': {'seed': int(value['--seed'])},
               'best_test': {'epoch': 0, **metrics(best)},
               'best_val': {'epoch': epochs - 1, 'val': metrics(best), 'test': metrics(best / 2)}}, file)
os.replace('result.partial', 'result.json')  # whole at once, as Main.py writes it
'''
WORKER = '''
import sys
from test_search import stub_launch
from Experiments import Pool, Sweep
Pool.launch = stub_launch(sys.argv[1], 0)
sys.exit(Sweep.main(sys.argv[2:]))
'''


def stub_launch(noted, pause):
    def launch(job, slot):
        job.folder.mkdir(parents=True, exist_ok=True)
        with open(noted, 'a') as file:
            file.write(f'{job.folder}\n')
        return subprocess.Popen([sys.executable, '-S', '-E', '-c', RUN.replace('PAUSE', str(pause)), *job.flags],
                                cwd=job.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return launch


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Runs a sweep over lr and reg: (what was chosen, names of the runs that were begun)."""
    (tmp_path / 'data' / 'tiny').mkdir(parents=True)
    sp.save_npz(tmp_path / 'data' / 'tiny' / 'valMat.npz', sp.eye(3, format='coo'))
    monkeypatch.setattr(Pool, 'POLL', 0.05)

    def search(words, grid=('lr=1e-4..1,log', 'reg=0.01..1,log'), out='sweep', pause=0):
        noted = tmp_path / 'noted'
        noted.unlink(missing_ok=True)
        monkeypatch.setattr(Pool, 'launch', stub_launch(noted, pause))
        chosen = Sweep.sweep(['--grid', *grid, '--data', 'tiny', '--data_dir', str(tmp_path / 'data'), '--out',
                              str(tmp_path / out), '--epoch', '9', *words.split()])
        begun = noted.read_text().split() if noted.exists() else []
        return chosen, [str(Path(folder).relative_to(tmp_path / out)) for folder in begun]

    return search


def trials_of(folder):
    """Those of the only study in the folder's journal, as anybody would read it."""
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return optuna.load_study(study_name=None, storage=storage).trials


def test_random_points_are_different_and_repeat():
    space = Space({'a': list('12345'), 'b': list('123')})
    everything = {name_of(point) for point in Grids.points_of(space.grid)}
    draws = [[name_of(point) for point in space.random(seed)] for seed in range(5)]
    assert all(set(points) == everything and len(points) == 15 for points in draws)
    assert len(set(map(tuple, draws))) == 5
    assert draws[3] == [name_of(point) for point in space.random(3)]

    space = Space({'lr': Range(1e-4, 1e-2, True), 'batch': Range(10, 12), 'norm': ['true', 'false']})
    points = list(islice(space.random(1), 120))
    assert len({name_of(point) for point in points}) == 120
    assert {point['batch'] for point in points} == {'10', '11', '12'}
    rates = np.array([float(point['lr']) for point in points])
    assert rates.min() >= 1e-4
    assert rates.max() <= 1e-2
    assert 0.35 < np.mean(rates < 1e-3) < 0.65, 'evenly on a logarithmic scale'
    assert max(len(point['lr']) for point in points) <= len('0.0001234')
    for point in points:
        assert space.point_of(space.params_of(point)) == point
        assert parse(Grids.words_of(point), combined=False).lr == float(point['lr'])
    assert len(list(Space({'batch': Range(10, 12)}).random(0))) == 3, 'there are no more'


def test_ranges_from_words_and_from_a_file(tmp_path):
    expected = {'lr': Range(0.0001, 0.01, True), 'reg': Range(0.0, 1.0), 'batch': Range(16, 64), 'temp': ['0.1', '1']}
    assert Grids.read_grid(['lr=1e-4..1e-2,log', 'reg=0..1', 'batch=16..64', 'temp=0.1,1']) == expected
    path = tmp_path / 'grids.json'
    path.write_text(json.dumps({'models': {'vbpr': {
        'lr': {'low': 1e-4, 'high': 1e-2, 'log': True}, 'reg': {'low': 0, 'high': 1}, 'batch': {'low': 16, 'high': 64},
        'temp': [0.1, 1]}}}))
    assert Grids.read_grids(path, 'vbpr') == (expected, [])
    for broken in ({'low': 1}, {'low': 1, 'high': 2, 'width': 3}, {}):
        path.write_text(json.dumps({'models': {'vbpr': {'lr': broken}}}))
        with pytest.raises(InputError, match='not a file of grids'):
            Grids.read_grids(path, 'vbpr')
    path.write_text(json.dumps({'models': {'vbpr': {'lr': {'low': 2, 'high': 1}}}}))
    with pytest.raises(InputError, match='no range'):
        Grids.read_grids(path, 'vbpr')


def test_a_random_search_goes_on_and_tells_its_study(search, tmp_path):
    _, begun = search('--search random --trials 3 --seeds 1 2')
    assert len(begun) == len(set(begun)) == 6
    chosen, more = search('--search random --trials 5 --seeds 1 2 --jobs 3')
    assert len(more) == 4
    assert not set(begun) & set(more)
    trials = trials_of(tmp_path / 'sweep')
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    assert max(trial.value for trial in trials) == chosen['val_recall']
    assert json.loads((tmp_path / 'sweep' / 'sweep.json').read_text()) == {'chosen': chosen, 'points': 5, 'finished': 5}
    assert search('--search random --trials 5 --seeds 1 2') == (chosen, [])
    _, other = search('--search random --trials 3 --search_seed 1', out='other')
    assert not {path.partition('/')[0] for path in other} & {path.partition('/')[0] for path in begun}


def test_tpe_learns_and_does_not_depend_on_where_it_was_cut_off(search, tmp_path):
    chosen, begun = search('--search tpe --trials 24')
    assert len(begun) == len(set(begun)) == 24
    values = [trial.value for trial in trials_of(tmp_path / 'sweep')]
    assert np.mean(values[-8:]) > np.mean(values[:10]) + 0.05, 'the first ten are drawn at random'
    assert chosen['val_recall'] == max(values)
    first = [search(f'--search tpe --trials {number}', out='other')[1] for number in (1, 11, 12, 12)]
    assert [folder for part in first for folder in part] == begun[:12]
    (tmp_path / 'other' / JOURNAL).unlink()
    assert search('--search tpe --trials 12', out='other')[1] == [], 'the journal is made anew from the runs'
    assert [trial.state for trial in trials_of(tmp_path / 'other')] == [TrialState.COMPLETE] * 12


def test_tpe_tries_every_point_of_a_small_grid_once(search):
    grid = ('lr=0.001,0.01,0.1', 'reg=0.1,1')
    chosen, begun = search('--search tpe --trials 99', grid)
    assert len(begun) == len(set(begun)) == 6
    assert chosen['settings'] == {'lr': '0.01', 'reg': '0.1'}
    assert search('--search tpe --trials 99', grid) == (chosen, [])


def test_points_that_cannot_be_run_are_left_out(search, tmp_path, capsys):
    for how in ('random', 'tpe'):
        _, begun = search(f'--search {how} --trials 9 --lr 0.1 --reg 0.1', ('sampling_steps=0,7', 'steps=5,9'), how)
        assert len(begun) == 3
        assert 'sampling_steps=7,steps=5 is left out: --sampling_steps 7 is more than' in capsys.readouterr().out
    assert Counter(trial.state for trial in trials_of(tmp_path / 'tpe')) == {TrialState.COMPLETE: 3, TrialState.FAIL: 1}
    assert not search('--search tpe --trials 9 --lr 0.1 --reg 0.1', ('sampling_steps=0,7', 'steps=5,9'), 'tpe')[1]


def test_a_trial_that_fails_is_told_and_tried_again(search, tmp_path):
    grid = ('lr=0.01,0.5', 'reg=0.1,1')
    for how in ('grid', 'tpe --trials 4'):
        out = how.split()[0]
        for _ in range(2):
            with pytest.raises(InputError, match=r'failed: Main\.py: lr became nan'):
                search(f'--search {how}', grid, out)
        states = Counter(trial.state for trial in trials_of(tmp_path / out))
        assert states == {TrialState.COMPLETE: 2, TrialState.FAIL: 4}
        assert len((tmp_path / out / 'sweep.csv').read_text().splitlines()) == 3


@pytest.mark.parametrize('rule', ['median', 'halving'])
def test_runs_that_fall_behind_are_pruned(search, tmp_path, rule):
    grid = ('lr=0.01,0.02,0.03,0.05,0.0002,0.0003', 'reg=0.1')
    chosen, begun = search(f'--prune {rule} --seeds 1 2', grid, pause=0.02)
    out = tmp_path / 'sweep'
    assert chosen['settings']['lr'] == '0.01'
    pruned = {trial.params['lr'] for trial in trials_of(out) if trial.state == TrialState.PRUNED}
    assert {'0.0002', '0.0003'} <= pruned
    table = (out / 'sweep.csv').read_text()
    for lr in grid[0][3:].split(','):
        assert (f'lr={lr},' in table) == (lr not in pruned)
        assert (out / f'lr={lr},reg=0.1' / 'seed1' / 'result.json').exists() == (lr not in pruned)
    assert not [folder for folder in begun if folder.split(',')[0][3:] in pruned and folder.endswith('seed2')]
    assert json.loads((out / 'sweep.json').read_text()) == {
        'chosen': chosen, 'points': 6, 'finished': 6 - len(pruned), 'pruned': len(pruned)}
    assert search(f'--prune {rule} --seeds 1 2', grid) == (chosen, []), 'they stay pruned'
    again, begun = search('--seeds 1 2', grid)
    assert again == chosen
    assert len(begun) == 2 * len(pruned), 'and go on without the flag'
    assert 'pruned' not in json.loads((out / 'sweep.json').read_text())
    assert [trial.state for trial in trials_of(out)].count(TrialState.COMPLETE) == 6


def test_points_that_stopped_early_count_when_later_ones_are_pruned(tmp_path):
    study = Study(tmp_path, Space({'lr': [f'0.{n}' for n in range(1, 10)]}), [421], 'median', epochs=40)
    for number, (best, epochs) in enumerate([(0.04, 12)] * 7 + [(0.09, 40)], start=1):
        point = {'lr': f'0.{number}'}
        study.begin(point)
        assert not study.report(point, dict.fromkeys(range(1, epochs + 1), best))
        study.complete(point, best)
    study.begin({'lr': '0.9'})
    assert not study.report({'lr': '0.9'}, dict.fromkeys(range(1, 41), 0.08)), 'above seven of eight'
    assert study.pruned() == set()


def test_the_other_seeds_of_a_pruned_point_are_stopped(search, tmp_path):
    grid = ('lr=0.0002,0.01,0.02,0.03,0.05', 'reg=0.1')
    _, begun = search('--prune median --seeds 1 2 --jobs 10', grid, pause=0.05)
    assert len(begun) == 10
    for seed in (1, 2):
        rows = (tmp_path / 'sweep' / 'lr=0.0002,reg=0.1' / f'seed{seed}' / 'metrics.csv').read_text().splitlines()
        assert len(rows) < 10


def test_workers_share_a_search(search, tmp_path):
    """Two at a time make as many trials as one was asked for."""
    words = ['--grid', 'lr=1e-4..1,log', 'reg=0.01..1,log', '--search', 'tpe', '--trials', '13', '--data', 'tiny',
             '--data_dir', str(tmp_path / 'data'), '--epoch', '2', '--out', str(tmp_path / 'sweep'), '--jobs', '2',
             '--final_seeds', '421', '7']
    workers = [subprocess.Popen([sys.executable, '-c', WORKER, str(tmp_path / 'noted'), *words], cwd=ROOT, text=True,
                                env={**os.environ, 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}'}, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT) for _ in range(2)]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert len({text.rpartition('chosen by')[2].splitlines()[0] for text in said}) == 1
    begun = (tmp_path / 'noted').read_text().split()
    assert len(begun) == len(set(begun)) == 14
    trials = trials_of(tmp_path / 'sweep')
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 13
    assert len((tmp_path / 'sweep' / 'sweep.csv').read_text().splitlines()) == 14
    assert {path.name for path in (tmp_path / 'sweep' / 'chosen').iterdir()} == {'seed421', 'seed7'}
    assert not list((tmp_path / 'sweep').rglob('.*'))


def test_another_grid_in_the_same_folder_has_a_study_of_its_own(search, tmp_path):
    search('', ('lr=0.01,0.02', 'reg=0.1'))
    _, begun = search('', ('lr=0.01,0.02,0.03', 'reg=0.1'))
    assert begun == ['lr=0.03,reg=0.1/seed421']
    names = optuna.get_all_study_names(JournalStorage(JournalFileBackend(str(tmp_path / 'sweep' / JOURNAL))))
    assert sorted(names) == ['lr 0.01 0.02 0.03; reg 0.1; seeds 421', 'lr 0.01 0.02; reg 0.1; seeds 421']


def test_half_a_line_of_a_worker_that_died_is_dropped(search, tmp_path):
    grid = ('lr=0.01,0.02,0.03', 'reg=0.1')
    search('', grid)
    path = tmp_path / 'sweep' / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 4, "work')
    study = Study(tmp_path / 'sweep', Space(Grids.read_grid(grid)), [421])
    assert len(study.trials()) == 3
    assert path.read_bytes() == whole
    path.write_bytes(whole[:100] + b'\n' + whole[100:])
    with pytest.raises(InputError, match=rf'{path} is damaged .* remove it. The runs stay'):
        Study(tmp_path / 'sweep', Space(Grids.read_grid(grid)), [421]).trials()


def test_a_finished_sweep_from_before_there_were_studies_stays_as_it_is(search, tmp_path):
    grid = ('lr=0.01,0.02', 'reg=0.1')
    search('', grid)
    (tmp_path / 'sweep' / JOURNAL).unlink()
    before = {path: path.read_bytes() for path in (tmp_path / 'sweep').rglob('*') if path.is_file()}
    assert search('', grid)[1] == []
    assert {path: path.read_bytes() for path in (tmp_path / 'sweep').rglob('*') if path.is_file()} == before
