"""Where figures go: without --publish nothing that is committed changes, with it the published ones are renewed."""
import shutil
import subprocess
import sys

import pytest
from conftest import planted, write_dataset
from saved_runs import rows_of, save_run
from test_published import TABLES

import Benchmark.__main__ as benchmark
from Experiments import Index
from Experiments.Publish import settle_place
from Experiments.Tables import FIGURES, ROOT
from figures import ablation, curves, dataset, groups, model, significance
from figures.runs import command_line
from Utils.Errors import InputError


@pytest.fixture
def quick(monkeypatch):
    """The benchmark measures nothing."""
    monkeypatch.setattr(benchmark, 'machine_rates', lambda: (1e9, 1e9))
    monkeypatch.setattr(benchmark, 'run_stage', lambda stage, shape, *_, **__: {
        'stage': stage, 'shape': shape.name, 'ours_s': 1.0, 'plain_s': 2.0, 'ours_mb': 3.0, 'plain_mb': 4.0,
        'limit_s': 0.5, 'over_limit': 2.0, 'ratio': 2.0, 'max_rel_diff': 0.0})


def test_a_folder_of_its_own_by_default(tmp_path, to, rng, monkeypatch, quick):
    """Every script of figures/, the benchmark and the index: results/figures/NAME below where they are started."""
    for seed in (1, 2):
        save_run(tmp_path / 'runs' / 'full' / f'seed{seed}', '', seed, [0.1, 0.2], ([0, 1], [0.1, 0.2]))
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / 'data' / 'tiktok', *planted(rng))
    model.main([])
    dataset.main(['--data_dir', 'data'])
    curves.main(['--runs', 'runs/full'])
    benchmark.main([])
    Index.main(['--root', str(ROOT / 'results')])
    made = {path.relative_to(tmp_path / 'results' / 'figures').as_posix()
            for path in (tmp_path / 'results').rglob('*.*')}
    assert made >= {
        'model/model.png', 'model/model.svg', 'model/model.csv', 'dataset/dataset.png', 'dataset/dataset.md',
        'curves/curves.png', 'curves/curves.csv', 'benchmark/benchmark.csv', 'benchmark/benchmark.png',
        'benchmark/benchmark_growth.csv', 'index/tiktok/ablation.csv'}
    assert 'benchmark/benchmark.partial.csv' not in made
    assert rows_of(tmp_path / 'results' / 'figures' / 'benchmark' / 'benchmark.csv')[-1]['ratio'] == '2'


def test_some_stages_are_renewed_in_the_table_that_is_there(to, monkeypatch, quick):
    benchmark.main(['--to', str(to)])
    before = rows_of(to / 'benchmark.csv')
    (to / 'benchmark.png').unlink()
    slow = benchmark.run_stage
    monkeypatch.setattr(benchmark, 'run_stage', lambda *place, **__: slow(*place) | {'ratio': 7.0})
    benchmark.main(['--stages', 'sampling', 'fusion', '--to', str(to)])
    after = rows_of(to / 'benchmark.csv')
    assert [row | {'ratio': ''} for row in after] == [row | {'ratio': ''} for row in before]
    assert {row['stage'] for row in after if row['ratio'] == '7'} == {'sampling', 'fusion'}
    assert not (to / 'benchmark.png').exists()


@pytest.mark.parametrize('script', [*TABLES, dataset], ids=lambda script: script.NAME)
def test_every_script_has_the_flags(script, capsys):
    with pytest.raises(SystemExit):
        script.main(['--help'])
    shown = capsys.readouterr().out
    assert all(f'\n  --{flag} ' in shown for flag in ('to', 'publish'))
    assert all((f'--{flag} ' in shown) == (script not in (dataset, model)) for flag in ('run', 'root'))


def refusal(script, *words):
    with pytest.raises(InputError) as error:
        script.main([*map(str, words)])
    return str(error.value)


def test_what_is_not_to_be_published(tmp_path, to, capsys):
    run = save_run(tmp_path / 'run', '', 1, [0.1])
    assert '--to asks for something else' in refusal(curves, '--publish', '--to', to)
    for script in (curves, groups, significance):
        assert '--runs asks for something else' in refusal(script, '--publish', '--runs', run)
    assert '--root asks for something else' in refusal(ablation, '--publish', '--root', tmp_path)
    assert '--root asks for something else' in refusal(Index, '--publish', '--root', tmp_path)
    assert '--quick asks for something else' in refusal(benchmark, '--publish', '--quick')
    assert '--publish renews them' in refusal(model, '--to', FIGURES)
    assert '--csv is now --to' in refusal(benchmark, '--csv', 'x')
    (tmp_path / 'tiktok').mkdir()
    assert 'has no baby and no sports' in refusal(dataset, '--publish', '--data_dir', tmp_path)
    assert not to.exists()


def test_where_nothing_can_be_written(tmp_path, to):
    (tmp_path / 'file').write_text('kept')
    for place in ('file', 'file/below'):
        assert 'can be no folder' in refusal(model, '--to', tmp_path / place)
    assert (tmp_path / 'file').read_text() == 'kept'
    parser = command_line('model', '', data=False)
    options = parser.parse_args(['--to', str(tmp_path / 'not' / 'there')])
    settle_place(parser, options, 'model')
    assert not (tmp_path / 'not').exists(), 'made once there is something to write'


def test_publish_renews_figures_and_pages_of_the_repository(tmp_path):
    """In a copy whose figures and pages have gone stale; nothing else there changes."""
    copy, elsewhere = tmp_path / 'copy', {'tests', '__pycache__', 'baselines', 'baby', 'sports', 'sensitivity'}
    shutil.copytree(ROOT, copy, ignore=lambda folder, names: [
        name for name in names if name.startswith('.') or name in elsewhere or (folder.endswith('Datasets')
                                                                                and '.' not in name)])
    stale = copy / 'docs' / 'RESULTS.md', copy / 'figures' / 'ablation.csv', copy / 'figures' / 'ablation.md'
    for path in stale:
        assert '-0.0220' in path.read_text()
        path.write_text(path.read_text().replace('-0.0220', '-0.9'))
    before = {path: path.read_bytes() for path in copy.rglob('*') if path.is_file()}
    command = [sys.executable, 'figures/ablation.py', '--publish']
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    after = {path: path.read_bytes() for path in copy.rglob('*') if path.is_file() and '__pycache__' not in path.parts}
    changed = {path for path in after if after[path] != before.get(path)} - {copy / 'figures' / 'ablation.png'}
    assert changed == set(stale)
    for path in stale:
        assert path.read_text() == (ROOT / path.relative_to(copy)).read_text()
