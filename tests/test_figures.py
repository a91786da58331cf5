"""Figures: the tables from saved runs with known numbers, what is refused, and what is said where no run is there."""
import shlex
import shutil

import numpy as np
import pytest
from saved_runs import rows_of, save_run

from Experiments.SavedRuns import by_settings, read_run
from Experiments.Tables import spread, write_csv
from Experiments.Words import labels, what_was_run
from figures import ablation, approximations, curves, groups, performance, sensitivity, significance
from Params import parse
from Utils.Errors import InputError

SCRIPTS = (ablation, approximations, curves, groups, sensitivity, significance)


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda script: script.NAME)
def test_without_runs_the_command_that_makes_them(script, tmp_path, to):
    with pytest.raises(InputError, match=rf'python figures/{script.NAME}\.py --run --data_dir DIR'):
        script.main(['--root', str(tmp_path / 'nothing'), '--to', str(to)])
    assert not to.exists()


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


def test_a_mean_and_a_deviation(tmp_path):
    assert str(spread([])) == ''
    assert str(spread([0.5, None])) == '0.5000'
    assert str(spread([1, 2])) == '1.5000 ± 0.7071'
    write_csv(tmp_path / 'table.csv', [{'name': 'a', 'x': spread([1, 3])}, {'name': 'b', 'x': spread([2]), 'y': 4}])
    assert (tmp_path / 'table.csv').read_text().splitlines() == ['name,x,x (std),y', f'a,2,{np.sqrt(2)},', 'b,2,,4']
