"""--like: a run made again from the record of another, bit for bit; what is given on the line comes before it."""
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import planted, write_dataset
from test_resume import left

from Experiments.Jobs import Job
from Experiments.SavedRuns import settings_of
from Main import main
from Runs.Recorded import EARLIER

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / 'shared' / 'data'
LINES = ('--latdim 8 --dims 16 --guide_fused_hidden_dim 4 --cl_method 1 --nce_chunk 7 --modalities text image --seed 5',
         '--model sgl --patience none --edge_drop 0.3 --tstBat 9', '--model itemknn --neighbours 9')


@pytest.fixture
def run(rng, tmp_path):
    write_dataset(tmp_path / 'data' / 'tiny', *planted(rng))

    def run(name, flags, data=None):
        return main(f'--data_dir {data or tmp_path / "data"} --out {tmp_path / name} --device cpu {flags}'.split())

    return run


def computed(folder):
    """All that a run left but what it says of its command, and the settings that say nothing of what it computes."""
    rows, result, config, arrays = left(folder)
    return rows, result, settings_of(config), config['data_sha256'], arrays


@pytest.mark.parametrize('flags', LINES)
def test_a_run_like_another_is_the_same_bit_for_bit(run, tmp_path, capsys, flags):
    assert run('first', f'--data tiny --epoch 3 --topk 5 --batch 64 --lr 0.02 {flags}') == 0
    capsys.readouterr()
    assert run('again', f'--like {tmp_path / "first"}') == 0
    assert computed(tmp_path / 'again') == computed(tmp_path / 'first')
    assert f'settings of {tmp_path / "first"}\n' in capsys.readouterr().out
    configs = [json.loads((tmp_path / name / 'config.json').read_text()) for name in ('first', 'again')]
    for name in ('tstBat', 'nce_chunk'):  # on which last digits depend
        assert len({config['settings'][name] for config in configs}) == 1
    assert f'--like {tmp_path / "first"}' in configs[1]['command']


def test_what_is_given_comes_before_it(run, tmp_path, capsys):
    assert run('first', '--data tiny --epoch 2 --topk 5 --model lightgcn --lr 0.02 --gnn_layer 3 --temp 0.9') == 0
    first = tmp_path / 'first'
    assert run('other', f'--like {first} --seed 9 --epoch 1') == 0
    assert f'settings of {first}, but for --epoch, --seed\n' in capsys.readouterr().out
    settings = json.loads((tmp_path / 'other' / 'config.json').read_text())['settings']
    assert (settings['model'], settings['lr'], settings['gnn_layer'], settings['seed'], settings['epoch']) == (
        'lightgcn', 0.02, 3, 9, 1)
    assert settings['temp'] == 0.5, 'which the run did not read'
    assert run('sgl', f'--like {first} --model sgl --cl_sample 5 --clusters 4') == 0
    settings = json.loads((tmp_path / 'sgl' / 'config.json').read_text())['settings']
    assert (settings['gnn_layer'], settings['ssl_reg'], settings['temp']) == (3, 0.01, 0.2), "the rest is SGL's own"
    assert run('sgl', f'--resume --like {first}') == 2
    assert '--model is sgl there and lightgcn here' in capsys.readouterr().err
    assert run('other', f'--resume --like {first} --seed 9 --epoch 1') == 0
    assert 'nothing is left to do' in capsys.readouterr().out
    assert Job(tmp_path, ('--like', str(first), '--seed', '9', '--epoch', '1')).settings == settings_of(
        json.loads((tmp_path / 'other' / 'config.json').read_text()))


def test_other_data_of_that_name_are_refused(run, tmp_path, capsys):
    assert run('first', '--data tiny --epoch 1 --topk 5 --model mfbpr') == 0
    shutil.copytree(tmp_path / 'data', tmp_path / 'elsewhere')
    file = tmp_path / 'elsewhere' / 'tiny' / 'text_feat.npy'
    np.save(file, np.load(file) + 1)
    like, elsewhere = f'--like {tmp_path / "first"}', tmp_path / 'elsewhere'
    assert run('other', like, elsewhere) == 2
    error = capsys.readouterr().err
    assert f'The data set tiny in {elsewhere} is not the one of {tmp_path / "first"}: give the folder' in error
    assert error.count('\n') == 1
    assert not (tmp_path / 'other').exists()
    assert run('other', f'{like} --data tiny', elsewhere) == 0, 'they are meant'
    file.rename(file.with_name('smell_feat.npy'))
    config = json.loads((tmp_path / 'first' / 'config.json').read_text())
    (tmp_path / 'data' / 'tiny' / 'taste_feat.npy').write_bytes(
        (tmp_path / 'data' / 'tiny' / 'text_feat.npy').read_bytes())
    assert run('more', like) == 0, 'a modality that has joined since is left out'
    del config['data_sha256']
    config['dataset']['train'] += 1
    (tmp_path / 'first' / 'config.json').write_text(json.dumps(config))
    assert run('older', like) == 2, 'without a checksum the statistics are compared'


def test_a_run_from_before_most_flags_will_do(run, tmp_path, capsys):
    assert run('first', '--data tiny --epoch 1 --topk 5 --latdim 4 --dims 8') == 0
    path = tmp_path / 'first' / 'config.json'
    config = json.loads(path.read_text())
    config['settings'] = {name: value for name, value in config['settings'].items() if name not in EARLIER}
    del config['data_sha256'], config['command']
    path.write_text(json.dumps(config))
    assert run('again', f'--like {tmp_path / "first"}') == 0
    for name in ('metrics.csv', 'per_user.npz'):
        assert (tmp_path / 'again' / name).exists()
    assert left(tmp_path / 'again')[0][0]['bpr']


@pytest.mark.parametrize(('flags', 'sentence'), [
    ('--like nowhere', 'nowhere/config.json is not readable as a run'), ('--like=', '--like: got a blank'),
    ('--like first --load first --recommend x.csv', '--like trains as another run did'),
    ('--like damaged', "The run's config.json: argument --lr: got -1")])
def test_what_cannot_be_is_one_sentence(run, tmp_path, monkeypatch, capsys, flags, sentence):
    monkeypatch.chdir(tmp_path)
    assert run('first', '--data tiny --epoch 1 --topk 5 --model mfbpr') == 0
    shutil.copytree('first', 'damaged')
    config = json.loads(Path('damaged/config.json').read_text())
    config['settings']['lr'] = -1
    Path('damaged/config.json').write_text(json.dumps(config))
    capsys.readouterr()
    assert run('other', flags) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count('\n') == 1


@pytest.mark.skipif(not (DATA / 'tiktok').is_dir(), reason='the published data sets are not in ../shared/data')
@pytest.mark.parametrize('folder', ['tiktok/baselines/itemknn', 'baby/baselines/itemknn', 'sports/baselines/pop'])
def test_a_committed_run_made_again(tmp_path, folder):
    """Closed forms, which take seconds; other versions of torch may break ties of scores otherwise."""
    then, out = ROOT / 'results' / folder / 'chosen' / 'seed421', tmp_path / 'again'
    assert main(f'--like {then} --data_dir {DATA} --out {out}'.split()) == 0
    old, new = (json.loads((path / 'result.json').read_text()) for path in (then, out))
    assert new['best_test']['recall'] == pytest.approx(old['best_test']['recall'], rel=1e-3)
    assert new['best_val']['val']['recall'] == pytest.approx(old['best_val']['val']['recall'], rel=1e-3)
