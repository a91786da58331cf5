"""Where a setting's value comes from, and how runs are told apart by those that count."""
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from conftest import planted, write_dataset
from saved_runs import save_run

import Params
from Baselines import BASELINES, MODELS
from Experiments import Sweep
from Experiments.Defaults import PUBLISHED, main as write_defaults, own_of
from Experiments.Jobs import Job, check_same
from Experiments.SavedRuns import Run, by_settings, find_runs
from Experiments.Tables import write_csv
from Main import main
from Params import build_parser, own_defaults, parse
from Runs.Flags import OF_THE_CALL, flags_that_count
from Runs.Recorded import EARLIER, recorded_settings
from Utils.Errors import InputError

ROOT = Path(__file__).resolve().parent.parent
GRIDS = ROOT / 'Baselines' / 'grids.json'


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write the models' own defaults."""
    monkeypatch.setattr(Params, 'OWN', tmp_path / 'defaults.json')

    def write(content):
        (tmp_path / 'defaults.json').write_text(content if isinstance(content, str) else json.dumps(content))

    write({'models': {'lightgcn': {'lr': 0.5, 'batch': 7, 'patience': 4}},
           'data': {'other': {'lightgcn': {'lr': 0.25}, 'sgl': {'dims': [8, 4]}}}})
    return write


@pytest.fixture
def declared(monkeypatch):
    """Edit a default in Params.py."""
    def edit(**defaults):
        def edited(build=build_parser):
            parser = build()
            for name, value in defaults.items():
                parser.flags()[name].default = value
            return parser

        monkeypatch.setattr(Params, 'build_parser', edited)

    return edit


def test_what_comes_before_what(own, declared):
    declared(temp=0.75)
    line = ['--model', 'lightgcn', '--batch', '9']
    settings = parse(line, {'patience': 2, 'reg': 0.125})
    assert (settings.batch, settings.patience, settings.lr, settings.temp) == (9, 2, 0.5, 0.75)
    assert settings.given == {'model', 'batch'}
    assert settings.own == {'lr'}
    assert parse([*line, '--data', 'other']).lr == 0.25
    assert parse(['--model', 'sgl', '--data', 'other']).dims == (8, 4)
    assert parse([*line, '--patience', 'none']).patience is None
    assert parse([]).own == frozenset()
    assert parse([], {'model': 'lightgcn'}).batch == 7


@pytest.mark.parametrize(('edit', 'sentence'), [
    ({'lr': -1}, 'Params.py: argument --lr: got -1, expected a number above 0'),
    ({'latdim': 0}, 'Params.py: argument --latdim: got 0, expected a whole number of at least 1'),
    ({'latdim': 8.5}, "--latdim: got '8.5'"), ({'latdim': None}, "--latdim: got 'None'"),
    ({'guidance': 'releasd'}, "Params.py: argument --guidance: invalid choice: 'releasd'"),
    ({'dims': (100, 0)}, 'Params.py: argument --dims: got 0'), ({'dims': None}, "--dims: got 'None'"),
    ({'norm': 'maybe'}, "--norm: got 'maybe'"), ({'resume': 1}, '--resume'),
    ({'noise_levels': (-1,)}, '--noise_levels: got -1'),
    ({'cl_sample': 0}, '--cl_sample: got 0'), ({'noise_min': 0.5}, '--noise_min 0.5 is above --noise_max'),
    ({'precision': 'low'}, "--precision: invalid choice: 'low'")])
def test_a_default_out_of_range_is_one_sentence(declared, capsys, edit, sentence):
    declared(**edit)
    assert main([]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count('\n') == 1


def test_defaults_pass_the_converters_of_their_flags(declared):
    declared(lr=1, dims=[8], norm=1, shrink=10, modalities=['text'])
    settings = parse([])
    assert (settings.lr, settings.dims, settings.norm, settings.modalities) == (1.0, (8,), True, ('text',))
    assert isinstance(settings.lr, float)
    assert isinstance(settings.shrink, float)


@pytest.mark.parametrize(('content', 'sentence'), [
    ({'models': {'lightgcn': {'lr': -1}}}, 'lightgcn: argument --lr: got -1'),
    ({'models': {'lightgcn': {'lrr': 1}}}, 'there is no flag --lrr. Did you mean lr?'),
    ({'models': {'lightgcn': {'seed': 3}}}, 'lightgcn: --seed says which run it is'),
    ('{', 'is not a file of defaults'), ({'models': {'lightgcn': 3}}, 'is not a file of defaults'),
    ({}, 'is not a file of defaults')])
def test_a_model_s_own_default_that_cannot_be_is_one_sentence(own, content, sentence):
    own(content)
    with pytest.raises(InputError) as error:
        parse(['--model', 'lightgcn'])
    assert sentence in str(error.value)


def test_help_says_whose_the_defaults_are(own, capsys):
    with pytest.raises(SystemExit) as done:
        parse(['--help', '--model', 'lightgcn', '--data', 'other'])
    assert done.value.code == 0
    text = ' '.join(capsys.readouterr().out.split())
    assert 'Defaults of lightgcn are its own' in text
    for words in ('(default of lightgcn: 0.25)', '(default of lightgcn: 4)', '(default: 64)'):
        assert words in text
    assert 'never' not in text


def test_every_default_of_a_model_is_in_range_and_counts():
    content = json.loads(Params.OWN.read_text())
    assert 'mdmns' not in content['models'], 'its defaults are the published ones'
    for data in (None, *content.get('data', {})):
        for model in {**content['models'], **content.get('data', {}).get(data, {})}:
            values = own_defaults(model, data)
            assert set(values) <= flags_that_count(MODELS[model]), model
            parse(['--model', model, '--data', data or 'mine'])


@pytest.mark.parametrize('name', BASELINES)
def test_a_sweep_by_the_grids_is_the_same_without_own_defaults(monkeypatch, name):
    plan = ['--grids', str(GRIDS), '--model', name, '--data', 'sports', '--out', 'x']

    def settings():
        monkeypatch.setattr(Sweep, 'check_validation', lambda _: None)
        return [job.settings for _, *jobs in Sweep.Sweep(plan).planned for same in jobs for job in same]

    with_own = settings()
    monkeypatch.setattr(Params, 'own_defaults', lambda *_: {})
    assert settings() == with_own


def test_own_defaults_are_the_best_point_over_the_data_sets():
    a, b, c = (json.dumps({'reg': value, 'lr': 0.1}) for value in (1, 2, 3))
    sweeps = {'one': {a: 0.4, b: 0.3, c: 0.1}, 'two': {a: 0.5, b: 1.0}, 'three': {b: 0.2, c: 0.1}}
    base, differing = own_of(sweeps, sweeps)
    assert base == {'reg': 2, 'lr': 0.1}
    assert differing == {'one': {'reg': 1}}


def test_a_point_is_the_same_however_often_it_is_evaluated():
    once, thrice = ({reg: json.dumps({'reg': reg, 'tstEpoch': every}) for reg in (1, 2, 3)} for every in (1, 3))
    sweeps = {'one': {once[1]: 0.5, once[2]: 0.4}, 'two': {thrice[3]: 0.5, thrice[2]: 0.4}}
    base, differing = own_of(sweeps, sweeps)
    assert base['reg'] == 2
    assert differing == {'one': {'reg': 1}, 'two': {'reg': 3, 'tstEpoch': 3}}


@pytest.mark.parametrize(('finished', 'reg'), [(1, 0.25), (4, 0.5)])
def test_a_sweep_that_is_not_finished_does_not_choose_the_defaults(tmp_path, finished, reg):
    """On `most` reg 0.5 is far better, which counts if all of its points were run."""
    grids, path = tmp_path / 'grids.json', tmp_path / 'defaults.json'
    grids.write_text(json.dumps({'models': {'lightgcn': {'reg': [0.25, 0.5]}}}))
    for data, recalls, points, done in (('all', {'0.25': 0.5, '0.5': 0.4}, 2, 2),
                                        ('most', {'0.5': 0.5, '0.25': 0.1}, 4, finished)):
        sweep, rows = tmp_path / data / 'baselines' / 'lightgcn', []
        for value, recall in recalls.items():
            folder = save_run(sweep / f'reg={value}' / 'seed421', f'--model lightgcn --reg {value}', 421, [0.5])
            rows.append({'val_recall': recall, 'folder': folder})
        write_csv(sweep / 'sweep.csv', rows)
        (sweep / 'sweep.json').write_text(json.dumps({'points': points, 'finished': done}))
    assert write_defaults(['--root', str(tmp_path), '--grids', str(grids), '--to', str(path)]) == 0
    content = json.loads(path.read_text())
    assert content['models'] == {'lightgcn': {'reg': reg}}
    other = {0.25: ('most', 0.5), 0.5: ('all', 0.25)}[reg]
    assert content['data'] == {other[0]: {'lightgcn': {'reg': other[1]}}}


def test_the_file_of_defaults_is_what_the_sweeps_say(tmp_path):
    path = tmp_path / 'defaults.json'
    path.write_bytes(Params.OWN.read_bytes())
    assert write_defaults(['--to', str(path)]) == 0
    assert path.read_text() == Params.OWN.read_text(), 'python -m Experiments.Defaults writes it anew'


def test_a_model_without_a_sweep_begins_with_the_first_values_of_its_grid(tmp_path):
    grids, path = tmp_path / 'grids.json', tmp_path / 'defaults.json'
    grids.write_text(json.dumps({'common': {'lr': 0.5, 'cl_sample': 3, 'epoch': 7}, 'models': {
        'lightgcn': {'reg': [0.25, 0.5]}, 'mdmns': {'reg': [0.1, 0.2]}, 'pop': {}, 'ncl': {'temp': [1]}}}))
    path.write_text('{"models": {"ncl": {"temp": 9}}}')
    assert write_defaults(['--root', str(tmp_path), '--grids', str(grids), '--to', str(path)]) == 0
    assert json.loads(path.read_text()) == {'models': {'lightgcn': {'epoch': 7, 'lr': 0.5, 'reg': 0.25},
                                                       'ncl': {'temp': 9}}, 'data': {}}


def test_the_log_names_own_defaults_and_flags_that_are_not_read(rng, tmp_path, own, capsys):
    write_dataset(tmp_path / 'data' / 'tiny', *planted(rng))
    line = (f'--data tiny --data_dir {tmp_path / "data"} --out {tmp_path / "run"} --model lightgcn --epoch 1 --topk 5 '
            '--patience 3 --dims 4 --neighbours 3 --device cpu')
    assert main(line.split()) == 0
    printed = capsys.readouterr().out
    assert "lightgcn's own defaults, from " in printed
    assert 'defaults.json: batch 7, lr 0.5\n' in printed
    assert 'given, but not read by lightgcn, so that nothing changes: --dims, --neighbours\n' in printed
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert config['command'] == f'python Main.py {line}'
    assert (config['settings']['lr'], config['settings']['batch']) == (0.5, 7)

    assert main(['--out', str(tmp_path / 'run'), '--resume', '--epoch', '2', '--neighbours', '8']) == 0
    printed = capsys.readouterr().out
    assert 'own defaults' not in printed, 'they are the settings of the run'
    assert 'not read by lightgcn, so that nothing changes: --neighbours\n' in printed
    assert main(['--out', str(tmp_path / 'run'), '--resume', '--epoch', '3', '--gnn_layer', '3']) == 2
    assert '(--gnn_layer is 1 there and 3 here)' in capsys.readouterr().err


def test_only_flags_that_count_tell_runs_apart(tmp_path, declared):
    """Another default of a flag that the model does not read changes nothing; of one that it reads, it does."""
    config = {'settings': asdict(parse(['--seed', '3'])), 'dataset': {'modalities': {'image': 3}}, 'seed': 3}
    (tmp_path / 'config.json').write_text(json.dumps(config))
    check_same(Job(tmp_path, ('--seed', '3', '--neighbours', '7')))
    declared(neighbours=50, shrink=3)
    check_same(Job(tmp_path, ('--seed', '3')))
    declared(e_loss=0.5)
    with pytest.raises(InputError, match=r'holds a run with --e_loss 0.1 in place of 0.5'):
        check_same(Job(tmp_path, ('--seed', '3')))

    first = Run(tmp_path, {'config': config})
    others = [Run(tmp_path, {'config': {**config, 'seed': seed,
                                        'settings': {**config['settings'], 'seed': seed, **changed}}})
              for seed, changed in ((4, {'neighbours': 9}), (5, {'temp': 0.9}))]
    assert by_settings([first, *others]) == [[first, others[0]], [others[1]]]


def test_a_run_older_than_a_flag_keeps_what_it_did(declared):
    settings = {name: value for name, value in asdict(parse(['--model', 'sgl'])).items() if name != 'cl_sample'}
    declared(cl_sample=512, edge_drop=0.7)
    then = recorded_settings({'settings': settings})
    assert list(then) == [name for name in build_parser().flags() if name not in OF_THE_CALL], 'as tables have them'
    assert then['cl_sample'] is None
    assert then['edge_drop'] == 0.1
    with pytest.raises(InputError, match='does not say --temp'):
        recorded_settings({'settings': {name: value for name, value in settings.items() if name != 'temp'}})
    with pytest.raises(InputError, match='there is no flag --tempo'):
        recorded_settings({'settings': {**settings, 'tempo': 3}})


def test_every_flag_younger_than_the_first_runs_has_what_was_before_it():
    configs = [json.loads(path.read_text()) for path in sorted((ROOT / 'results').rglob('config.json'))]
    first = set.intersection(*(set(config['settings']) for config in configs))
    flags = build_parser().flags()
    assert set(EARLIER) >= flags.keys() - first - set(OF_THE_CALL), 'add a new flag to EARLIER in Runs/Recorded.py'
    build_parser().checked(EARLIER, 'EARLIER')
    for config in configs:
        recorded_settings(config)


def test_saved_runs_of_one_folder_are_of_the_same_settings():
    """All seeds of every folder in results/, by the flags that count."""
    for folder in sorted({path.parent.parent for path in (ROOT / 'results').rglob('seed*/result.json')}):
        assert len(by_settings(find_runs(folder.parent, folder.name))) == 1, folder


def test_a_model_s_own_defaults_are_the_settings_of_its_row():
    """What `Main.py --model NAME --data NAME` runs is what is in the table."""
    rows = sorted((ROOT / 'results').glob('*/baselines/*/chosen/seed421'))
    assert rows
    for chosen in rows:
        data, model = chosen.parts[-5], chosen.parts[-3]
        if model == PUBLISHED:
            continue
        check_same(Job(chosen, ('--model', model, '--data', data, '--seed', '421')))


def test_replacing_a_setting_keeps_what_is_beside_it():
    settings = replace(parse(['--lr', '0.5']), seed=3)
    assert (settings.seed, settings.given) == (3, {'lr'})
