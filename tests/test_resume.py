"""A run that was cut off anywhere and resumed leaves what it would have left alone, bit for bit."""
import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SEED, lines_on_planted

from Baselines import BASELINES
from Main import Training, main
from Runs.Checkpoint import load_checkpoint, random_states, restore_random_states
from Runs.Signals import StopSignals
from Utils.Adam import Adam
from Utils.Graph import Graph, drop_entries, normalised_graph
from Utils.TimeLogger import Stopwatch

ROOT = Path(__file__).resolve().parent.parent
TINY = '--latdim 8 --dims 16 --guide_fused_hidden_dim 4 --batch 64 --topk 5 --lr 0.02 --device cpu --epoch 4'
METHODS = ('--cl_method 0', '--cl_method 1 --keepRate 1 --sampling_noise',
           '--guidance learned --rebuild_from new --rebuild_weights sample --loss softmax --loss_pop 1 --item_lambda 1',
           '--guidance profile --sampling_steps 2 --fused trained --score fused --decay outputs --cl_method 1',
           '--fused joint --layers mean --decay batch', '--model lightgcn --loss softmax --tstEpoch 1',
           *(f'--model {name} --tstEpoch 1 --clusters 5 --neighbours 9' for name in BASELINES))


class CutOff(BaseException):
    """Stands for the end of the process at that point: nothing of ours catches it."""


@pytest.fixture
def command(rng, tmp_path):
    return lines_on_planted(rng, tmp_path, TINY)


def left(folder):
    """Everything that a finished run left but the seconds it took and where it lies."""
    with open(folder / 'metrics.csv', newline='') as file:
        rows = [{name: value for name, value in row.items() if name != 'seconds'} for row in csv.DictReader(file)]
    result = json.loads((folder / 'result.json').read_text())
    config = json.loads((folder / 'config.json').read_text())
    assert result.pop('config') == config
    del result['seconds'], config['settings']['out'], config['command']
    arrays = {}
    for name in ('per_user.npz', 'embeddings.npz'):
        if (folder / name).exists():
            with np.load(folder / name) as file:
                arrays |= {(name, key): table.tobytes() for key, table in file.items()}
    assert not list(folder.glob('*.partial.*'))
    return rows, result, config, arrays


def cut_off_at(monkeypatch, target, count):
    """Let the count-th call of the function `target` be where the process ends, before or after the call."""
    module, name = target
    original, calls = getattr(module, name), [0]

    def counting(*args, **kwargs):
        calls[0] += 1
        if calls[0] == count:
            raise CutOff
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, counting)
    return calls


@pytest.mark.parametrize('flags', METHODS)
def test_cut_off_after_any_epoch(command, tmp_path, monkeypatch, flags):
    """The process ends while a checkpoint is being put in its place, after a random number of epochs."""
    assert main(command('alone', flags)) == 0
    pick = random.Random(f'{SEED} {flags}')
    for number in range(2):
        name = f'cut{number}'
        with monkeypatch.context() as patch:
            cut_off_at(patch, (Path, 'replace'), pick.randint(1, 12))
            with suppress(CutOff):
                main(command(name, flags))
        assert main(command(name, f'{flags} --resume')) == 0
        assert left(tmp_path / name) == left(tmp_path / 'alone')


@pytest.mark.parametrize('flags', ['--cl_method 1', '--model diffmm --tstEpoch 2', '--model sgl'])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_stopped_at_any_step(command, tmp_path, monkeypatch, capsys, flags, number):
    """A signal comes at a random step, of the denoisers or of the training; it is saved and gone on with from there."""
    assert main(command('alone', flags)) == 0
    pick = random.Random(f'{SEED} {flags} {number}')
    step = Adam.step
    for attempt in range(2):
        name, calls, at = f'stopped{attempt}', [0], pick.randint(1, 40)

        def signalled(self, *args, calls=calls, at=at):
            calls[0] += 1
            if calls[0] == at:
                os.kill(os.getpid(), number)
            return step(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(Adam, 'step', signalled)
            assert main(command(name, flags)) == 128 + number
        assert re.search(r'^Main.py: stopped in epoch \d and saved', capsys.readouterr().err, re.MULTILINE)
        assert (tmp_path / name / 'checkpoint.pt').exists()
        assert main([word for word in command(name, '--resume') if word]) == 0, 'without the flags: they are the run\'s'
        assert left(tmp_path / name) == left(tmp_path / 'alone')
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_within_a_second_are_one(monkeypatch):
    """Batch systems signal a run, and the sweep that passes the signal on."""
    with StopSignals() as stop:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert stop.number == signal.SIGTERM
        monkeypatch.setattr(StopSignals, 'ONCE', 0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_killed_at_random_moments(command, tmp_path):
    """SIGKILL to the process itself, again and again, until one resumption reaches the end."""
    flags = '--epoch 25 --cl_method 1 --checkpoint_every 2'
    assert main(command('alone', flags)) == 0
    pick, kills = random.Random(SEED), 0
    words = [sys.executable, 'Main.py', *command('killed', flags), '--resume']
    while not (tmp_path / 'killed' / 'result.json').exists():
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   env={**os.environ, 'OMP_NUM_THREADS': '1'})
        watch = Stopwatch()
        while kills < 4 and process.poll() is None and not (tmp_path / 'killed' / 'config.json').exists():
            time.sleep(0.01)  # until the first epoch is done
        if kills < 4:
            time.sleep(pick.uniform(0, 0.5) + watch.read() * (kills > 0) * pick.random())
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        assert b'Traceback' not in process.communicate()[1]
    assert kills > 0
    assert left(tmp_path / 'killed') == left(tmp_path / 'alone')


def test_more_epochs(command, tmp_path, capsys):
    assert main(command('alone', '--epoch 5')) == 0
    assert main(command('grown', '--epoch 2')) == 0
    assert main(command('grown', '--epoch 5 --resume')) == 0
    assert left(tmp_path / 'grown') == left(tmp_path / 'alone')
    assert main(command('grown', '--epoch 5 --resume')) == 0
    assert 'nothing is left to do' in capsys.readouterr().out
    assert main(command('grown', '--epoch 3 --resume')) == 2
    assert '--epoch 3 is less than the 5 epochs' in capsys.readouterr().err


def test_more_epochs_are_not_forgotten_when_cut_off(command, tmp_path, monkeypatch, capsys):
    """A finished run is prolonged and cut off before its next checkpoint; --resume alone reaches the new end."""
    assert main(command('alone', '--epoch 6')) == 0
    assert main(command('grown', '--epoch 2')) == 0
    with monkeypatch.context() as patch:
        cut_off_at(patch, (Training, 'train_epoch'), 3)
        with suppress(CutOff):
            main(command('grown', '--epoch 6 --resume --checkpoint_every 5'))
    assert main(command('grown', '--epoch 4 --resume')) == 2
    assert '--epoch 4 is less than the 6 epochs' in capsys.readouterr().err
    assert main(['--out', str(tmp_path / 'grown'), '--resume', '--checkpoint_every', '1']) == 0
    assert left(tmp_path / 'grown') == left(tmp_path / 'alone')


def test_what_lowers_memory_may_change(command, tmp_path, capsys):
    assert main(command('run', '--epoch 1 --cl_method 1')) == 0
    assert main(command('run', '--epoch 2 --cl_method 1 --resume --tstBat 7 --nce_chunk 5')) == 0
    assert 'resumed with other tstBat, nce_chunk than it began with' in capsys.readouterr().out
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert config['resumed_with'] == {'tstBat': 7, 'nce_chunk': 5}


def test_flags_must_fit_the_run_not_the_defaults(command, capsys):
    assert main(command('run', '--epoch 1 --steps 20')) == 0
    assert main(command('run', '--epoch 1 --resume --sampling_steps 10')) == 2
    assert '--sampling_steps is 0 there and 10 here' in capsys.readouterr().err
    assert main(command('run', '--epoch 1 --resume --sampling_steps 30')) == 2
    assert '--sampling_steps 30 is more than --steps 20' in capsys.readouterr().err
    assert main(command('other', '--resume --sampling_steps 10')) == 2
    assert '--sampling_steps 10 is more than --steps 5' in capsys.readouterr().err


def test_what_a_folder_holds_is_kept(command, tmp_path, capsys):
    def refused(flags, message):
        before = {path.name: path.read_bytes() for path in (tmp_path / 'run').iterdir()}
        assert main(command('run', flags)) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count('\n') == 1
        assert {path.name: path.read_bytes() for path in (tmp_path / 'run').iterdir()} == before

    assert main(command('run', '--resume --noise_levels 0 1')) == 0
    assert 'holds no run: starting from the beginning' in capsys.readouterr().out
    refused('', 'holds a finished run: give --resume')
    refused('--resume --overwrite', 'give one of them')
    refused('--resume --latdim 4 --dims 8', '(--latdim is 8 there and 4 here; --dims is 16 there and 8 here)')
    refused('--resume --seed 3 --noise_levels 0 1', '--seed is 421 there and 3 here')
    (tmp_path / 'run' / 'checkpoint.pt').unlink()
    refused('--resume --epoch 9', 'without its checkpoint')
    assert main(command('run', '--resume')) == 0
    assert 'nothing is left to do' in capsys.readouterr().out
    (tmp_path / 'run' / 'result.json').unlink()
    refused('', 'holds an unfinished run: give --resume')
    assert main(command('run', '--resume --epoch 2')) == 0
    assert 'holds no checkpoint: starting from the beginning' in capsys.readouterr().out
    kept = (tmp_path / 'run' / 'config.json').read_bytes()
    for path in (tmp_path / 'run').iterdir():
        if path.name != 'metrics.csv':
            path.unlink()
    for flags in ('', '--resume'):
        refused(flags, 'holds metrics.csv but no config.json, so no run')
    (tmp_path / 'run' / 'config.json').write_bytes(kept)
    assert main(command('run', '--overwrite --latdim 4')) == 0
    assert json.loads((tmp_path / 'run' / 'config.json').read_text())['settings']['latdim'] == 4


def test_other_data_are_refused(command, tmp_path, rng, capsys):
    assert main(command('run', '--epoch 1')) == 0
    features = tmp_path / 'data' / 'tiny' / 'text_feat.npy'
    np.save(features, np.load(features) + 1)
    assert main(command('run', '--epoch 2 --resume')) == 2
    assert 'is not the one that the run began with' in capsys.readouterr().err


def test_patience_ends_a_run_and_its_resumption(command, tmp_path, capsys):
    flags = '--epoch 60 --patience 2 --model mfbpr --lr 0.05 --tstEpoch 1'
    assert main(command('run', flags)) == 0
    rows = left(tmp_path / 'run')[0]
    best = json.loads((tmp_path / 'run' / 'result.json').read_text())['best_val']['epoch']
    assert len(rows) == best + 3 < 60
    assert 'stopping early' in capsys.readouterr().out
    assert main(command('run', f'{flags} --resume')) == 0
    assert 'nothing is left to do' in capsys.readouterr().out
    assert main(command('run', f'{flags} --resume --epoch 70')) == 0
    assert 'stopping early' in capsys.readouterr().out
    assert left(tmp_path / 'run')[0] == rows
    assert main(['--out', str(tmp_path / 'run'), '--resume']) == 0
    assert 'nothing is left to do' in capsys.readouterr().out


def test_without_checkpoints_none_is_left(command, tmp_path):
    assert main(command('run', '--checkpoint_every 0')) == 0
    assert not list((tmp_path / 'run').glob('checkpoint*'))


def test_every_random_generator_is_kept(generator):
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    states = random_states(generator)

    def draws():
        return random.random(), np.random.rand(), torch.rand(()).item(), torch.rand((), generator=generator).item()  # noqa: NPY002

    first = draws()
    assert draws() != first
    restore_random_states(states, generator)
    assert draws() == first


def test_graphs_are_kept_bit_for_bit(rng, generator):
    matrix = torch.as_tensor(rng.random((30, 20)) < 0.2)
    edges = matrix.nonzero().T
    dense = torch.randn(20, 5), torch.randn(30, 5)
    for graph in (normalised_graph(*edges, (30, 20)), drop_entries(normalised_graph(*edges, (30, 20)), 0.5, generator)):
        twin = Graph.from_state(graph.state(), 'cpu')
        for a, b in zip(graph(dense[1], dense[0]), twin(dense[1], dense[0]), strict=True):
            assert torch.equal(a, b)


def test_a_checkpoint_names_no_code(command, tmp_path):
    """It is loaded as tensors, numbers, texts, lists and dictionaries alone, and has what SPEC's parts are made of."""
    assert main(command('run')) == 0
    state = load_checkpoint(tmp_path / 'run')
    assert set(state) == {'model', 'optimiser', 'random', 'best', 'epoch', 'figures', 'steps', 'config', 'rows',
                          'seconds', 'version'}
    assert set(state['model']['_extra_state']) == {'modal_adj', 'denoiser_pass', 'denoiser_optimisers'}
