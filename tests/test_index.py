"""The tables of results/ agree with the runs that they index, and git keeps the published studies alone."""
import json
import subprocess

import pytest
from saved_runs import rows_of, save_run

from Experiments import Index
from Experiments.SavedRuns import read_run
from Experiments.Tables import ROOT
from Params import parse
from Runs.Recorded import EARLIER
from Utils.Errors import InputError

RESULTS = ROOT / 'results'
# those of the studies: a run that a user made has a metrics.csv at the same depth
INDEXED = sorted(path for path in RESULTS.glob('*/*.csv') if path.stem in Index.STUDIES)


def check_row(row, folder):
    config, run = json.loads((folder / 'config.json').read_text()), read_run(folder)
    assert (row['model'], row['seed'], row['revision']) == (
        config['settings'].get('model', 'mdmns'), str(config['seed']), config['git'] or '')
    given = vars(parse(row['settings'].split()))
    for flag in (word[2:] for word in row['settings'].split() if word.startswith('--')):
        value = {**EARLIER, **config['settings']}[flag]
        assert given[flag] == (tuple(value) if isinstance(value, list) else value), flag
    if run:
        chosen, best = run.result['best_val'], run.result['best_test']
        expected = {'epochs': run.n_epochs, 'epoch by validation': chosen['epoch'], 'epoch by test': best['epoch'],
                    **{f'{title} {name}': metrics[name] for name in Index.METRICS for title, metrics in
                       (('validation', chosen['val']), ('test', chosen['test']), ('best test', best))}}
        assert {column: float(row[column]) for column in expected} == pytest.approx(expected, abs=5.1e-7)
        assert float(row['seconds']) == pytest.approx(run.result['seconds'], abs=0.051)


@pytest.mark.parametrize('path', INDEXED, ids=lambda path: f'{path.parent.name}-{path.stem}')
def test_a_table_holds_every_run_of_its_study(path):
    rows = {row['run']: row for row in rows_of(path)}
    folders = {file.parent.relative_to(ROOT).as_posix(): file.parent
               for file in (path.parent / path.stem).rglob('config.json')}
    assert rows.keys() == folders.keys(), 'python -m Experiments.Index --publish renews the tables'
    for name, folder in folders.items():
        check_row(rows[name], folder)


def test_every_study_has_a_table():
    there = {(path.parent.name, path.name) for study in Index.STUDIES for path in RESULTS.glob(f'*/{study}')}
    assert there == {(path.parent.name, path.stem) for path in INDEXED}


def test_an_index_of_any_runs(tmp_path, to, capsys):
    save_run(tmp_path / 'tiny' / 'ablation' / 'full' / 'seed2', '--temp 0.3 --noise_levels --dims 20 10', 2, [0.1, 0.4])
    stopped = save_run(tmp_path / 'tiny' / 'ablation' / 'full' / 'seed3', '--temp 0.3', 3, [0.2])
    (stopped / 'result.json').unlink()
    save_run(tmp_path / 'tiny' / 'mdmns-seed421', '', 421, [0.1])
    Index.main(['--root', str(tmp_path), '--to', str(to)])
    assert capsys.readouterr().out == f'{to / "tiny" / "ablation.csv"}: 2 runs\n'
    done, unfinished = rows_of(to / 'tiny' / 'ablation.csv')
    assert (done['settings'], done['modalities']) == ('--temp 0.3 --noise_levels --dims 20 10', 'image+audio')
    assert (done['test recall'], done['best test recall'], done['epochs']) == ('0.100000', '0.400000', '2')
    assert (unfinished['seed'], unfinished['epochs'], unfinished['test recall']) == ('3', '1', '')
    with pytest.raises(InputError, match='holds no run of a study'):
        Index.main(['--root', str(tmp_path / 'tiny'), '--to', str(to)])


def test_git_keeps_the_published_studies_alone():
    def ignored(path):
        return subprocess.run(['git', 'check-ignore', '-q', path], cwd=ROOT, check=False).returncode == 0

    if not (ROOT / '.git').exists():
        pytest.skip('no git checkout')
    for study in Index.STUDIES:
        run = f'results/tiktok/{study}/new/seed9'
        assert not any(ignored(f'{run}/{name}') for name in ('config.json', 'metrics.csv', 'per_user.npz'))
        assert all(ignored(f'{run}/{name}') for name in ('checkpoint.pt', 'embeddings.npz', '.lock', '.earlier/x',
                                                         'metrics.partial.csv'))
        assert not ignored(f'results/sports/{study}.csv')
    assert not ignored('results/README.md')
    assert all(ignored(f'results/{path}') for path in (
        'tiktok/mdmns-seed421/result.json', 'demo/result.json', 'figures/x', 'mine/result.json',
        'tiktok/mine.csv', 'mine.csv', 'tiktok/sweep/x/seed1/config.json'))
