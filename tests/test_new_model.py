"""The example of Baselines/README.md, set up as that page says: it learns, repeats itself, goes on, has a grid."""
import json
import re
import sys
from pathlib import Path

import pytest
import test_baselines_training
import test_flags

import Params
from Baselines import BASELINES, MODELS
from Experiments import Sweep
from Main import main
from Runs import Recorded
from Utils.Errors import InputError

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / 'Baselines' / 'README.md').read_text()
BLOCKS = [(language, re.sub(r'^ {3}', '', code, flags=re.M) if indented else code)
          for indented, language, code in re.findall(r'^( *)```(\w+)\n(.*?)^ *```', PAGE, re.M | re.S)]
MODEL, FLAG, GRID = (code for _, code in BLOCKS)


@pytest.fixture(autouse=True)
def name(monkeypatch):
    """The model registered, and its flag declared."""
    assert [language for language, _ in BLOCKS] == ['python', 'python', 'json']
    namespace = {'__name__': 'example'}
    exec(compile(MODEL, 'Baselines/README.md', 'exec'), namespace)
    model = next(value for value in namespace.values() if getattr(value, '__module__', None) == 'example')
    name = model.__name__.lower()
    monkeypatch.setitem(BASELINES, name, model)
    monkeypatch.setitem(MODELS, name, model)
    build = Params.build_parser

    def build_with_flag():
        parser = build()
        exec(FLAG, {**vars(Params), FLAG.split('.')[0]: parser.add_argument_group('of the example')})
        return parser

    for module in list(sys.modules.values()):
        if getattr(module, '__dict__', {}).get('build_parser') is build:
            monkeypatch.setattr(module, 'build_parser', build_with_flag)
    return name


def test_it_ranks_the_demo_better_than_popularity(tmp_path, name):
    assert main(f'--data demo --data_dir {tmp_path} --out {tmp_path / "run"} --device cpu --model {name} --latdim 16 '
                '--batch 512 --lr 0.01 --epoch 20 --tstEpoch 10'.split()) == 0
    result = json.loads((tmp_path / 'run' / 'result.json').read_text())
    assert result['best_val']['test']['recall'] > 1.3 * result['popularity']['recall']


def test_what_every_baseline_has_to_hold(rng, monkeypatch, name):
    test_baselines_training.test_the_seed_decides_everything(rng, name)
    test_baselines_training.test_the_state_holds_all_that_training_goes_on_with(rng, name)
    test_flags.test_a_model_reads_what_it_declares(rng, monkeypatch, name)


def test_its_scores_can_be_read_from_the_run(tmp_path, name):
    run, best = tmp_path / 'run', tmp_path / 'best.csv'
    flags = f'--data demo --data_dir {tmp_path} --model {name} --latdim 4 --epoch 1 --device cpu --out {run}'
    assert main([*flags.split(), '--recommend', str(best)]) == 0
    trained = best.read_text()
    assert main(['--load', str(run), '--recommend', str(best), '--data_dir', str(tmp_path)]) == 0
    assert best.read_text() == trained


def test_runs_saved_before_its_flag_can_be_read(monkeypatch):
    """Once EARLIER has the flag, and not before."""
    config = json.loads((ROOT / 'results/tiktok/baselines/lightgcn/chosen/seed421/config.json').read_text())
    with pytest.raises(InputError, match='does not say --margin'):
        Recorded.recorded_settings(config)
    monkeypatch.setitem(Recorded.EARLIER, 'margin', Params.build_parser().get_default('margin'))
    assert Recorded.recorded_settings(config)['gnn_layer'] == config['settings']['gnn_layer']


def test_its_grid_has_as_many_points_as_the_others(tmp_path, name):
    content = json.loads((ROOT / 'Baselines' / 'grids.json').read_text())
    content['models'] |= json.loads(f'{{{GRID}}}')
    path = tmp_path / 'grids.json'
    path.write_text(json.dumps(content))
    points, others = (Sweep.Sweep(['--grids', str(path), '--model', model, '--out', 'x']).planned
                      for model in (name, 'lightgcn'))
    assert len(points) == len(others)
