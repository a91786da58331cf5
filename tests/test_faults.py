"""What goes wrong from outside, made to happen: full disks, damaged checkpoints, no memory, two runs in one folder."""
import os
import pickle
import re
import resource
import shutil
import signal
import tempfile
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from conftest import planted, write_dataset
from test_resume import CutOff, cut_off_at, left

from Main import main
from Model import MDMNS
from Runs.Aside import drop, put_aside, put_back
from Runs.Checkpoint import load_checkpoint
from Runs.Recommend import check_target
from Runs.Results import RunFolder
from Utils.Errors import InputError

TINY = '--latdim 8 --dims 16 --guide_fused_hidden_dim 4 --batch 64 --topk 5 --lr 0.02 --device cpu --epoch 4'


@pytest.fixture
def run(rng, tmp_path):
    """A function that runs the command line in the folder of the given name: its exit code."""
    write_dataset(tmp_path / 'data' / 'tiny', *planted(rng))
    return lambda name, flags='': main(
        f'--data tiny --data_dir {tmp_path / "data"} --out {tmp_path / name} {TINY} {flags}'.split())


@contextmanager
def limited(kind, value):
    """A soft limit of the operating system on this process."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def one_sentence(capsys, *words):
    error = capsys.readouterr().err
    assert 'Traceback' not in error
    assert error.count('\n') == 1
    for word in words:
        assert word in error


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_a_full_disk_while_a_checkpoint_is_written(run, tmp_path, capsys):
    """No file may grow beyond what lies between the size of the other files and that of a checkpoint."""
    assert run('alone') == 0
    assert run('run', '--epoch 2') == 0
    before = files(tmp_path / 'run')
    size = max(len(content) for name, content in before.items() if name != 'checkpoint.pt')
    assert size + 1000 < len(before['checkpoint.pt'])
    with limited(resource.RLIMIT_FSIZE, size + 1000):
        assert run('run', '--resume') == 2
    one_sentence(capsys, 'The checkpoint', 'cannot be written (File too large)', '--resume')
    assert (tmp_path / 'run' / 'checkpoint.pt').read_bytes() == before['checkpoint.pt']
    assert not list((tmp_path / 'run').glob('*.partial.*'))
    assert run('run', '--resume --epoch 4') == 0
    assert left(tmp_path / 'run') == left(tmp_path / 'alone')


@pytest.mark.parametrize('size', [0, 100, 1500])
def test_a_full_disk_at_any_other_file(run, tmp_path, capsys, size):
    assert run('alone') == 0
    with limited(resource.RLIMIT_FSIZE, size):
        assert run('run') == 2
    one_sentence(capsys, 'written', '(File too large)', str(tmp_path / 'run'))
    assert run('run', '--resume') == 0
    assert left(tmp_path / 'run') == left(tmp_path / 'alone')


@pytest.mark.parametrize('cause', ['full disk', 'signal'])
def test_an_earlier_run_stays_until_another_has_something_to_show(run, tmp_path, monkeypatch, capsys, cause):
    """--overwrite, and the new run fails in its first epoch: by a full disk, or as it is to be saved with a NaN."""
    assert run('run') == 0
    before = files(tmp_path / 'run')
    if cause == 'full disk':
        with limited(resource.RLIMIT_FSIZE, 3500):  # enough for config.json
            assert run('run', '--overwrite --seed 3') == 2
        one_sentence(capsys, f'{tmp_path / "run" / "embeddings.npz"} cannot be written (File too large)', '--resume')
    else:
        losses = MDMNS.losses

        def poisoned(model, *batch):
            os.kill(os.getpid(), signal.SIGINT)
            return {**losses(model, *batch), 'bpr': model.user_embeds.sum() * torch.nan}

        monkeypatch.setattr(MDMNS, 'losses', poisoned)
        assert run('run', '--overwrite --seed 3') == 2
        one_sentence(capsys, 'The loss term bpr became nan at step 0 in epoch 0')
    assert files(tmp_path / 'run') == before
    monkeypatch.undo()
    assert run('run', '--overwrite --seed 3') == 0
    assert not set(files(tmp_path / 'run')) - set(before)


def test_files_put_aside_come_back_wherever_it_was_cut_off(tmp_path, monkeypatch):
    """The process ends at any renaming or removal: what is there afterwards is the earlier files or the new ones."""
    names, cut = ('a', 'b', 'c'), 0
    old, new = {'a': b'old a', 'b': b'old b'}, {'a': b'new a', 'c': b'new c'}
    seen = []
    while True:
        cut += 1
        folder = tmp_path / str(cut)
        folder.mkdir()
        for name, content in old.items():
            (folder / name).write_bytes(content)
        with monkeypatch.context() as patch, suppress(CutOff):
            calls = cut_off_at(patch, (Path, 'rename'), cut)
            put_aside(folder, names)
            for name, content in new.items():
                (folder / name).write_bytes(content)
            drop(folder)
        with monkeypatch.context() as patch, suppress(CutOff):  # and once more while they are put back
            cut_off_at(patch, (Path, 'rename'), 1 + cut % 3)
            put_back(folder, names)
        put_back(folder, names)
        seen.append(files(folder))
        if calls[0] < cut:
            break
    assert seen[-1] == new
    assert all(there == old for there in seen[:-1])
    assert len(seen) == 5, 'four renamings'


class Opens:
    """A pickle of this would create a file where it is loaded without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def damaged(path, rng, way, tmp_path):
    content = bytearray(path.read_bytes())
    if way == 'truncated':
        del content[rng.integers(len(content)):]
    elif way == 'a flipped bit':  # in the middle of the largest tensor
        with zipfile.ZipFile(path) as archive:
            tensor = archive.read(max(archive.infolist(), key=lambda entry: entry.file_size))
        content[content.index(tensor) + len(tensor) // 2] ^= 1 << rng.integers(8)
    elif way == 'another pickle':
        content = pickle.dumps(Opens(tmp_path / 'opened'))
    elif way == 'code':
        torch.save({'version': 1, 'model': Opens(tmp_path / 'opened')}, path)
        return
    elif way == 'another version':
        torch.save({'version': 99}, path)
        return
    else:
        content = b''
    path.write_bytes(content)


@pytest.mark.parametrize('way', ['truncated', 'a flipped bit', 'another pickle', 'code', 'another version', 'empty'])
def test_a_damaged_checkpoint(run, rng, tmp_path, monkeypatch, capsys, way):
    """The one before it is taken, and told of; where that is damaged too, the files stay as they are."""
    assert run('alone') == 0
    with monkeypatch.context() as patch:  # cut off before the end, when both are there
        patch.setattr('Runs.Results.Best.summary', lambda _: (_ for _ in ()).throw(MemoryError))
        assert run('run') == 2
    newest, previous = tmp_path / 'run' / 'checkpoint.pt', tmp_path / 'run' / 'checkpoint.previous.pt'
    assert load_checkpoint(newest.parent)['epoch'] == 4
    shutil.copytree(tmp_path / 'run', tmp_path / 'both')
    damaged(newest, rng, way, tmp_path)
    shutil.copytree(tmp_path / 'run', tmp_path / 'damaged')
    assert load_checkpoint(tmp_path / 'damaged')['epoch'] == 3
    assert not (tmp_path / 'damaged' / newest.name).exists(), 'or it would take the place of the good one'
    capsys.readouterr()
    assert run('run', '--resume') == 0
    printed = capsys.readouterr().out
    assert re.search(r'checkpoint.pt is damaged or of another program \(\w+\): passed over', printed)
    assert f'going back to the checkpoint before it, {previous}' in printed
    assert left(tmp_path / 'run') == left(tmp_path / 'alone')

    for name in ('checkpoint.pt', 'checkpoint.previous.pt'):
        damaged(tmp_path / 'both' / name, rng, way, tmp_path)
    before = files(tmp_path / 'both')
    assert run('both', '--resume') == 2
    one_sentence(capsys, 'No checkpoint in', '--overwrite')
    assert files(tmp_path / 'both') == before
    assert not (tmp_path / 'opened').exists(), 'loading runs no code'


@pytest.mark.parametrize('what', ['loss', 'denoiser', 'parameter'])
def test_what_is_not_finite_stops_the_run_and_keeps_the_last_good_state(run, tmp_path, monkeypatch, capsys, what):
    assert run('alone') == 0

    def poison(model, losses, *batch):
        """Epochs 0 and 1 go well; in epoch 2 a term, or after its step a parameter, becomes NaN."""
        terms = losses(model, *batch)
        model.calls = getattr(model, 'calls', 0) + 1
        if model.calls == 2 * n_batches + 3:
            if what == 'loss':
                terms['cl'] = terms['cl'] * torch.nan
            if what == 'parameter':
                model.user_embeds.data[0, 0] = torch.inf
        return terms

    n_batches = -(-60 * 16 // 64)
    losses, denoising = MDMNS.losses, MDMNS.guides
    with monkeypatch.context() as patch:
        patch.setattr(MDMNS, 'losses', lambda model, *batch: poison(model, losses, *batch))
        if what == 'denoiser':
            patch.setattr(MDMNS, 'guides', lambda model, projected: {
                name: table * (torch.nan if getattr(model, 'calls', 0) == 2 * n_batches else 1)
                for name, table in denoising(model, projected).items()})
        assert run('run') == 2
    one_sentence(capsys, 'in epoch 2', *{'loss': ['The loss term cl became nan at step 2'],
                                         'denoiser': ['The loss term diffusion_image became nan at step 0'],
                                         'parameter': []}[what])
    assert load_checkpoint(tmp_path / 'run')['epoch'] == 2
    assert run('run', '--resume') == 0
    assert left(tmp_path / 'run') == left(tmp_path / 'alone')


def test_no_memory(run, tmp_path, capsys):
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    with limited(resource.RLIMIT_AS, used + 2**29):
        assert run('run', '--dims 30000 30000') == 2
    one_sentence(capsys, 'not enough memory', '--tstBat', '--batch', '--nce_chunk')
    assert not (tmp_path / 'run').exists()


def test_two_runs_in_one_folder(run, tmp_path, capsys):
    with RunFolder(tmp_path / 'run'):
        assert run('run') == 2
        one_sentence(capsys, 'Another run is at work in')
        assert run('other', '--epoch 1') == 0
    assert run('run', '--epoch 1') == 0


def test_a_folder_that_cannot_be_written_to(run, capsys):
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    root = os.geteuid() == 0
    try:
        if root:  # to whom everything is allowed
            os.seteuid(65534)
        for name in (folder, folder / 'below'):
            assert run(name) == 2
            one_sentence(capsys, f'The run folder {name} cannot be made or written to (Permission denied)', '--out')
        with pytest.raises(InputError, match='cannot be written to'):
            check_target(folder / 'best.csv')
    finally:
        if root:
            os.seteuid(0)
        assert not list(folder.iterdir())
        folder.rmdir()


def test_a_mistake_leaves_no_folder(run, tmp_path, capsys):
    assert run('deep/er/run', '--modalities smell') == 2
    assert not (tmp_path / 'deep').exists()
    for name, meant in (('mdnms', 'mdmns'), ('LightGCN', 'lightgcn')):
        assert run('run', f'--model {name}') == 2
        assert f'Did you mean {meant}?' in capsys.readouterr().err
