"""A run is tied to its data by content: --load and --resume refuse other data, whatever the folder is called."""
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conftest import planted, write_dataset

from DataHandler import load_dataset
from Datasets import prepare
from Main import main
from Runs.Identity import PARTS

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / 'shared' / 'data'
CASE = ROOT / 'tests' / 'cases' / '03-load-run-on-rebuilt-data'
TINY = '--latdim 8 --dims 16 --guide_fused_hidden_dim 4 --batch 64 --topk 5 --lr 0.02 --device cpu --epoch 2'


def write_ids(folder, side, ids):
    with open(folder / f'{side}.csv', 'w', newline='') as file:
        csv.writer(file).writerows([('index', 'id'), *enumerate(ids)])


@pytest.fixture
def folder(rng, tmp_path):
    folder = write_dataset(tmp_path / 'data' / 'tiny', *planted(rng))
    write_ids(folder, 'users', [f'u{n}' for n in range(60)])
    write_ids(folder, 'items', [f'i{n}' for n in range(40)])
    return folder


@pytest.fixture
def command(folder, tmp_path, capsys):
    """Runs Main.py on the folder, or on another one by name: (exit code, what it printed)."""
    def run(flags, data=None):
        where = f'--data {data} --data_dir {folder.parent}'.split() if data else []
        code = main([*where, '--out', str(tmp_path / 'run'), *flags.split()])
        told = capsys.readouterr()
        assert 'Traceback' not in told.err
        assert told.err.count('\n') == (code == 2)
        return code, told.out + told.err

    return run


@pytest.fixture
def load(folder, tmp_path, capsys):
    """Recommendations of the run from the data set of that name: what is told if refused, else None."""
    def run(data='tiny', flags=''):
        target = tmp_path / 'best.csv'
        target.unlink(missing_ok=True)
        code = main(['--load', str(tmp_path / 'run'), '--data', data, '--data_dir', str(folder.parent), '--recommend',
                     str(target), *flags.split()])
        told = capsys.readouterr()
        assert target.exists() == (code == 0)
        assert told.err.count('\n') == (code == 2)
        return told.err if code else None

    return run


def other_interactions(folder):
    matrix = sp.load_npz(folder / 'trnMat.npz').tolil()
    matrix[[0, 1]] = matrix[[1, 0]]
    sp.save_npz(folder / 'trnMat.npz', matrix.tocoo())


def other_test(folder):
    shutil.copy(folder / 'valMat.npz', folder / 'tstMat.npz')


def other_features(folder):
    table = np.load(folder / 'text_feat.npy')
    np.save(folder / 'text_feat.npy', table[::-1])


def no_features(folder):
    (folder / 'text_feat.npy').unlink()


def other_ids(folder):
    write_ids(folder, 'items', [f'i{n}' for n in reversed(range(40))])


def no_ids(folder):
    (folder / 'users.csv').unlink()


CHANGES = [(other_interactions, 'interactions'), (other_test, 'interactions'), (other_features, 'text features'),
           (no_features, 'text features'), (other_ids, 'ids of items (items.csv)'),
           (no_ids, 'ids of users (users.csv is not there now)')]


@pytest.mark.parametrize('model', ['mdmns', 'lightgcn'])
def test_every_part_of_the_data_counts(folder, command, load, model):
    assert command(f'{TINY} --model {model}', 'tiny')[0] == 0
    assert load() is None
    for change, part in CHANGES:
        copy = folder.parent / change.__name__
        shutil.copytree(folder, copy)
        change(copy)
        told = load(copy.name)
        assert 'is not the one that the run in' in told
        assert f'it has other {part};' in told
        code, told = command('--resume --epoch 3', copy.name)
        assert code == 2
        assert f'it has other {part}:' in told
    assert command('--resume --epoch 3')[0] == 0


def test_ids_that_were_not_there(folder, command, load):
    for side in ('users', 'items'):
        (folder / f'{side}.csv').unlink()
    assert command(TINY, 'tiny')[0] == 0
    assert load() is None
    write_ids(folder, 'items', range(40))
    assert 'items.csv was not there then' in load()


def test_the_same_content_in_another_form_is_the_same(folder, command, load):
    """Matrices in another layout and numbers, an id table written otherwise, features as float64."""
    assert command(TINY, 'tiny')[0] == 0
    matrix = 3 * sp.load_npz(folder / 'trnMat.npz').astype(np.float64)
    sp.save_npz(folder / 'trnMat.npz', matrix.tocsc())
    np.save(folder / 'text_feat.npy', np.load(folder / 'text_feat.npy').astype(np.float64))
    (folder / 'users.csv').write_text('\ufeffindex,id\r\n' + ''.join(f'{n},"u{n}"\r\n' for n in range(60)))
    np.save(folder / 'smell_feat.npy', np.ones((40, 2)))  # the run had no such modality: its embeddings stay right
    assert load() is None


def test_a_renamed_folder_is_the_same(folder, tmp_path, command, load):
    assert command(TINY, 'tiny')[0] == 0
    folder.rename(folder.parent / 'renamed')
    assert load('renamed') is None
    code, told = command('--resume')
    assert code == 0, 'finished'
    code, told = command('--resume', 'renamed')
    assert code == 0
    assert 'the data set was called tiny when the run began: renamed holds the same' in told
    code, told = command('--resume --epoch 3')
    assert code == 2
    assert 'There is no data set folder' in told
    code, told = command('--resume --epoch 3', 'renamed')
    assert code == 0
    assert 'the data set was called tiny when the run began: renamed holds the same' in told
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert config['settings']['data'] == 'renamed'
    assert command('--resume --epoch 4')[0] == 0, 'the name is remembered'


def test_another_data_set_by_name_is_refused_for_a_finished_run_too(folder, command):
    assert command(TINY, 'tiny')[0] == 0
    shutil.copytree(folder, folder.parent / 'other')
    other_ids(folder.parent / 'other')
    code, told = command('--resume', 'other')
    assert code == 2
    assert 'other ids of items' in told


def older(run, *names):
    """Take entries out of what the run recorded, as in runs saved by earlier versions."""
    for name in ('config.json', 'result.json'):
        content = json.loads((run / name).read_text())
        for entry in names:
            content.get('config', content).pop(entry)
        (run / name).write_text(json.dumps(content))
    state = torch.load(run / 'checkpoint.pt', weights_only=True)
    for entry in names:
        state['config'].pop(entry)
    torch.save(state, run / 'checkpoint.pt')


def test_runs_that_recorded_no_ids(folder, tmp_path, command, load, capsys):
    assert command(TINY, 'tiny')[0] == 0
    older(tmp_path / 'run', PARTS)
    assert load() is None
    code, told = command('--resume --epoch 3')
    assert code == 0
    assert 'saved before runs recorded ids' in told
    for change, part in CHANGES:
        copy = folder.parent / change.__name__
        shutil.copytree(folder, copy)
        change(copy)
        told = load(copy.name)
        assert told is None if 'ids' in part else 'has other interactions or features' in told
    assert command('--resume --epoch 4', 'other_features')[0] == 2


def test_runs_that_recorded_nothing_of_their_data(folder, tmp_path, command, load, rng, capsys):
    assert command(TINY, 'tiny')[0] == 0
    older(tmp_path / 'run', PARTS, 'data_sha256')
    other_interactions(folder)
    assert load() is None
    write_dataset(folder.parent / 'other', *planted(rng, n_users=30))
    assert 'has 60 users and 40 items, but other has 30 and 40' in load('other')


@pytest.mark.skipif(not REAL.is_dir(), reason=f'the published data are not at {REAL}')
def test_the_checksum_that_saved_runs_have_is_still_made(tmp_path):
    """Of the committed runs on TikTok with image and audio features."""
    data = load_dataset(REAL, 'tiktok')
    saved = (json.loads(path.read_text()) for path in (ROOT / 'results' / 'tiktok').rglob('config.json'))
    assert data.sha256() in {config.get('data_sha256') for config in saved}


def test_a_data_set_made_again_from_rows_in_another_order(tmp_path, capsys):
    """Case 03: the same rows, numbered otherwise; before, other items were recommended without a word."""
    def made(file):
        shutil.rmtree(tmp_path / 'c', ignore_errors=True)
        assert prepare.main([str(CASE / file), '--name', 'c', '--data_dir', str(tmp_path)]) == 0

    made('first.csv')
    where = ['--data', 'c', '--data_dir', str(tmp_path)]
    assert main([*where, *TINY.split(), '--model', 'mfbpr', '--out', str(tmp_path / 'run')]) == 0
    target = tmp_path / 'after.csv'
    made('again.csv')
    capsys.readouterr()
    assert main(['--load', str(tmp_path / 'run'), '--recommend', str(target)]) == 2
    told = capsys.readouterr().err
    assert 'is not the one that the run in' in told
    assert told.count('\n') == 1
    assert not target.exists()
    made('first.csv')
    assert main(['--load', str(tmp_path / 'run'), '--recommend', str(target)]) == 0
