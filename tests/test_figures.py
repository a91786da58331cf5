"""Figures: the tables from saved runs with known numbers, what is refused, and what is said where no run is there."""
import json
import shlex
import shutil

import numpy as np
import pytest
from saved_runs import rows_of, save_run

from Experiments.SavedRuns import by_settings, read_run
from Experiments.Tables import spread, write_csv
from Experiments.Words import labels, what_was_run
from figures import ablation, approximations, curves, groups, performance, sensitivity, significance, variants
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
    script.main([*command, '--run', '--dims', '8'])
    assert len(made) == len(set(made)) > 2
    assert {folder.name for folder in made} == {'seed1', 'seed2'}
    assert {tuple(read_run(folder).settings['dims']) for folder in made} == {(8,)}
    assert (to / f'{script.NAME}.png').is_file()
    first = made[0]
    shutil.rmtree(first)
    made.clear()
    script.main(command)
    assert not made
    assert f'1 of {len(set(tmp_path.glob("runs/**/result.json"))) + 1} runs are not there (the first: {first})' in (
        capsys.readouterr().out)
    script.main([*command, '--run', '--dims', '8'])
    assert made == [first]
    with pytest.raises(InputError, match='holds a run with --dims'):
        script.main([*command, '--run', '--dims', '9'])


def test_a_figure_in_part(made, tmp_path, to):
    command = ['--root', str(tmp_path / 'runs'), '--to', str(to), '--run', '--seeds', '1']
    ablation.main([*command, '--variants', 'full', 'no-noise', '--jobs', '2', '--epoch', '3'])
    assert [str(folder.relative_to(tmp_path / 'runs')) for folder in made] == ['full/seed1', 'no-noise/seed1']
    assert {read_run(folder).settings['epoch'] for folder in made} == {3}
    assert [row['variant'] for row in rows_of(to / 'ablation.csv')] == ['full: multi-level contrast',
                                                                        'no noised negatives']
    with pytest.raises(InputError, match=r"--variants got 'ful'. Did you mean full\? There are: full, guidance-none"):
        ablation.main([*command, '--variants', 'ful'])


def test_flags_that_the_variants_share_are_changed_for_those_that_do_not_set_them(made, tmp_path, to):
    ablation.main(['--root', str(tmp_path / 'runs'), '--to', str(to), '--run', '--modalities', 'image', 'text',
                   '--variants', 'full', 'image', '--latdim', '8'])
    settings = {folder.parent.name: read_run(folder).settings for folder in made}
    assert {name: values['modalities'] for name, values in settings.items()} == {
        'full': ['image', 'text'], 'image': ['image']}
    assert {values['latdim'] for values in settings.values()} == {8}


def test_runs_on_another_data_set_have_a_folder_of_their_own(made, tmp_path, to, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ablation.main(['--to', str(to), '--run', '--data', 'mine', '--variants', 'full'])
    assert list(map(str, made)) == ['results/mine/ablation/full/seed421']
    assert read_run(made[0]).settings['data'] == 'mine'


@pytest.mark.parametrize(('script', 'flags', 'sentence'), [
    (ablation, '--model lightgcn', '--model cannot be passed on to the runs: the script sets it .* --variants says'),
    (performance, '--model lightgcn', '--model cannot be passed on .* --models says which are made'),
    (curves, '--seed 3', 'give --seeds'),
    (curves, '--seed=3', 'give --seeds'),
    (ablation, '--out x', 'give --root'),
    (ablation, '--overwrite', 'remove the folder of the run'),
    (ablation, '--cl_method 0', r'--cl_method cannot be passed on .* sets it \(full\). --variants says which'),
    (sensitivity, '--latdim 8', r'--latdim cannot be passed on .* \(latdim=16\)'),
    (approximations, '--precision high', r'--precision cannot be passed on .* \(precision/bf16\)'),
    (performance, '--cl_method 0', '--cl_method cannot be passed on'),
    (performance, '--models ease --data_dir Datasets --final_seeds 3', '--final_seeds cannot .* a flag of sweeps'),
    (performance, '--prune=median', '--prune cannot be passed on .* a flag of sweeps'),
    (ablation, '--jobs 0', 'of at least 1'),
    (ablation, '--devices cuda:99', 'CUDA device 99 is not there'),
])
def test_flags_that_a_script_sets_itself_are_refused(script, flags, sentence, made, tmp_path, to):
    with pytest.raises(InputError, match=sentence):
        script.main(['--root', str(tmp_path / 'runs'), '--to', str(to), '--run', *flags.split()])
    assert not made
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(('script', 'flags'), [(ablation, '--variants full'), (curves, '--jobs 2'),
                                               (performance, '--models ease'), (performance, '--data tiktok')])
def test_what_says_how_runs_are_made_is_refused_without_run(script, flags, tmp_path, to):
    with pytest.raises(InputError, match=f'{flags.split()[0]} says which runs --run makes, or how, and is of no use'):
        script.main(['--root', str(tmp_path), '--to', str(to), *flags.split()])


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
                                      dict(approximations.PRECISIONS.values()),
                                      {name: f'{variants.BASE} {variants.flags_of(name)}' for name in
                                       variants.VARIANTS}])
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


def test_variants(tmp_path, to, made, monkeypatch):
    """A row for each, empty where there is no run; what is compared, and its cost."""
    root, users = tmp_path / 'runs', np.arange(40)
    monkeypatch.setattr(variants, 'COSTS', tmp_path / 'costs.csv')
    write_csv(variants.COSTS, [{'table': table, 'variant': 'softmax', 'times the released': cost}
                               for table, cost in (('parts', '9.99'), ('variants', '2.00'))])
    base = f'{variants.BASE} {variants.EPOCHS}'

    def save(name, seed, recalls, flags='', values=None):
        save_run(root / name / f'seed{seed}', f'{base} {variants.flags_of(name)} {flags}', seed, recalls,
                 (users, np.full(40, recalls[-2]) if values is None else values))

    save('released', 1, [0.1, 0.2])
    save('released', 2, [0.3, 0.2])
    save('softmax', 2, [0.5, 0.2])
    save('drawn', 2, [0.4, 0.2], values=np.append(np.full(38, 0.3), [2, 2.5]))  # many like `released`, two far better
    variants.main(['--root', str(root), '--to', str(to)])
    rows = {row['variant']: row for row in rows_of(to / 'variants.csv')}
    assert list(rows) == list(variants.VARIANTS)
    assert float(rows['released']['Recall@20']) == pytest.approx(0.2)
    less = {name: rows[name]['Recall@20 less that of released (95 % interval)'] for name in ('softmax', 'drawn')}
    assert less['softmax'] == '+0.2000 (+0.2000 to +0.2000)'
    mean, low, _, high = less['drawn'].replace('(', '').replace(')', '').split()
    assert mean == '+0.0975'
    assert 0 <= float(low) < 0.05 < 0.2 < float(high)
    assert rows['softmax']['p (Holm)'] == '8e-05'
    assert rows['softmax']['epoch, times the released'] == '2.00'
    empty = {name: value for name, value in rows['fused-joint'].items() if name not in ('about', 'variant', 'flags')}
    assert set(empty.values()) == {''}
    save('items', 1, [0.1, 0.2], '--temp 0.3')
    with pytest.raises(InputError, match=r'differs from .*released.* in temp'):
        variants.main(['--root', str(root), '--to', str(to)])
    variants.main(['--root', str(tmp_path / 'new'), '--to', str(to), '--run', '--seeds', '1', '--variants', 'softmax',
                   'decay-batch'])
    assert [folder.parent.name for folder in made] == ['softmax', 'decay-batch']
    assert read_run(made[1]).settings['reg'] == 0.01


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
    save_run(tmp_path / 'alone' / 'seed7', '', 7, [0.75, 0.5, 0], (ids, chances))
    models = [str(tmp_path / name) for name in ('full', 'worse', 'same', 'ease/chosen', 'alone')]
    significance.main(['--runs', *models, '--to', str(to)])
    worse, same, ease = rows_of(to / 'significance.csv')
    assert [row['beside'] for row in (worse, same, ease)] == ['worse', 'same', 'ease'], 'alone shares no seed'
    assert [row['shared seeds'] for row in (worse, same, ease)] == ['2', '3', '3'], 'a closed form has every seed'
    assert float(ease['Recall@20']) == pytest.approx(chances.mean() + 0.32), 'seeds 1, 2 and 3'
    assert float(worse['difference']) == pytest.approx(0.3)
    assert float(worse['Recall@20']) == pytest.approx(chances.mean() + 0.325), 'seeds 2 and 3'
    assert float(same['difference']) == 0
    assert float(same['p Wilcoxon (Holm)']) == 1
    assert float(worse['p Wilcoxon (Holm)']) < 1e-6
    assert float(worse['p bootstrap (Holm)']) == pytest.approx(3 * float(worse['p bootstrap']))
    assert all(float(row['gap']) == pytest.approx(0.25) for row in rows_of(to / 'protocols.csv'))
    assert '+0.3000 (+0.3000 to +0.3000)' in (to / 'significance.md').read_text()

    significance.main(['--runs', str(tmp_path / 'ease' / 'chosen'), str(tmp_path / 'full'), '--to', str(to)])
    assert [(row['beside'], row['shared seeds']) for row in rows_of(to / 'significance.csv')] == [('full', '3')]

    other = save_run(tmp_path / 'other' / 'seed1', '', 1, [0.1, 0.1], (ids + 1, chances)).parent
    with pytest.raises(InputError, match='other users'):
        significance.main(['--runs', str(tmp_path / 'full'), str(other), '--to', str(to)])


def test_mdmns_and_the_best_simple_model_beside_all_others(tmp_path, rng):
    """On each data set, a pair once; corrected for all of the table together."""
    ids, chances = np.arange(300), rng.random(300)
    for data, places in {'tiktok': ('mdmns', 'ease', 'pop', 'lightgcn'), 'baby': ('ease', 'pop', 'lightgcn')}.items():
        for number, model in enumerate(places):
            values = chances - 0.1 * number
            save_run(tmp_path / data / 'baselines' / model / 'chosen' / 'seed1', f'--model {model} --data {data}', 1,
                     [values.mean(), values.mean()], (ids, values))
    rows = significance.corrected(list(significance.beside_all(tmp_path)))
    assert [(row['data set'], row['model'], row['beside']) for row in rows] == [
        ('baby', 'EASE', 'LightGCN'), ('baby', 'EASE', 'Popularity'), ('tiktok', 'MDMNS', 'EASE'),
        ('tiktok', 'MDMNS', 'LightGCN'), ('tiktok', 'MDMNS', 'Popularity'), ('tiktok', 'EASE', 'LightGCN'),
        ('tiktok', 'EASE', 'Popularity')]
    assert [round(row['difference'], 6) for row in rows] == [0.2, 0.1, 0.1, 0.3, 0.2, 0.2, 0.1]
    assert all(row['p bootstrap (Holm)'] == pytest.approx(7 * row['p bootstrap']) for row in rows)
    assert all(row['fresh seeds'] == '' for row in rows)


def test_the_two_contrasts_after_the_published_epochs(tmp_path, rng):
    ids, chances = np.arange(300), rng.random(300)
    for name, gain in (('cl1-50', 0.1), ('cl0-50', 0)):
        assert not list(significance.contrasts(tmp_path)), 'one alone is not compared'
        save_run(tmp_path / name / 'seed1', '', 1, [chances.mean() + gain] * 2, (ids, chances + gain))
    row, = significance.contrasts(tmp_path)
    assert (row['model'], row['beside'], row['kind']) == (*significance.CONTRASTS.values(), 'variant')
    assert row['difference'] == pytest.approx(0.1)


def test_seeds_that_had_no_part_in_the_choice(tmp_path, rng):
    """They are compared once more alone. A closed form is the same for every seed; of one point none chose."""
    ids, chances = np.arange(300), rng.random(300)
    for model, points, seeds in (('mdmns', 4, (1, 2, 3)), ('lightgcn', 4, (1, 2, 3)), ('ease', 4, (1,)),
                                 ('sgl', 4, (1,)), ('ncl', 1, (1, 2, 3))):
        folder = tmp_path / 'tiktok' / 'baselines' / model
        for seed in seeds:
            values = chances + (0.1 if model == 'mdmns' else 0) + (1 if seed == 1 and points > 1 else 0)
            save_run(folder / 'chosen' / f'seed{seed}', f'--model {model}', seed, [values.mean()] * 2, (ids, values))
        (folder / 'sweep.json').write_text(json.dumps({
            'chosen': {'settings': {}, 'seeds': [1]}, 'points': points, 'finished': points}))
    rows = {row['beside']: row for row in significance.beside_all(tmp_path) if row['model'] == 'MDMNS'}
    found = {name: (row['shared seeds'], row['fresh seeds']) for name, row in rows.items()}
    assert found == {'LightGCN': (3, 2), 'EASE': (3, 2), 'SGL': (1, ''), 'NCL': (3, 2)}
    assert rows['LightGCN']['difference, fresh seeds'] == pytest.approx(0.1)
    assert rows['NCL']['difference'] == pytest.approx(0.1 + 1 / 3)
    assert rows['NCL']['difference, fresh seeds'] == pytest.approx(0.1)
    assert rows['EASE']['difference, fresh seeds'] == pytest.approx(-0.9)
    assert significance.line_of(rows['NCL'])['fresh seeds: difference (p bootstrap)'] == '2: +0.1000 (4e-05)'


def test_a_mean_and_a_deviation(tmp_path):
    assert str(spread([])) == ''
    assert str(spread([0.5, None])) == '0.5000'
    assert str(spread([1, 2])) == '1.5000 ± 0.7071'
    write_csv(tmp_path / 'table.csv', [{'name': 'a', 'x': spread([1, 3])}, {'name': 'b', 'x': spread([2]), 'y': 4}])
    assert (tmp_path / 'table.csv').read_text().splitlines() == ['name,x,x (std),y', f'a,2,{np.sqrt(2)},', 'b,2,,4']
