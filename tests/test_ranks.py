"""A run that several processes share is that of one process, up to the order of sums; and how such a run ends."""
import csv
import json
import os
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
from conftest import SMALL, lines_on_planted, planted, write_dataset
from ranks import LONGEST, in_ranks, main_in_ranks

import Runs.Company as Company
import Utils.Ranks as Ranks
from Baselines import MODELS
from DataHandler import Dataset, UserRows
from Main import main, trained_by_gradients
from Params import parse
from Runs.Checkpoint import load_checkpoint
from Runs.Contract import check_parts
from Runs.Training import Training
from Utils import Diffusion
from Utils.Errors import InputError
from Utils.Metrics import evaluate
from Utils.NCE import nce, unit_self_nce

ROOT = Path(__file__).resolve().parent.parent
TINY = '--latdim 8 --dims 16 --guide_fused_hidden_dim 4 --batch 64 --topk 5 --lr 0.02 --device cpu'
CASES = ['mdmns --cl_method 1', 'mdmns --cl_method 1 --cl_sample 5 --noise_levels 0 1 0', 'mdmns --guidance none',
         'mdmns --sampling_steps 2', 'mdmns --guidance learned --loss softmax --loss_pop 0.5 --decay batch',
         'mdmns --guidance profile --item_lambda 0.5 --rebuild_from new --rebuild_k 2 --rebuild_weights sample',
         'mdmns --fused joint --cl_method 1 --decay outputs', 'freedom --loss softmax --loss_pop 0.5',
         'slmrec --ssl_task fd', 'slmrec --ssl_task fm', 'clcrec --cl_sample 7',
         *(name for name in MODELS if trained_by_gradients(name))]


@pytest.fixture
def dataset(rng):
    matrices, features = planted(rng, 50, 31)
    splits = dict(zip(('train', 'val', 'test'), (matrix.tocsr() for matrix in matrices.values()), strict=True))
    return Dataset('tiny', features={name: table.astype(np.float32) for name, table in features.items()}, **splits)


def trained(dataset, case, epochs):
    """Losses of a model's first epochs, then its parameters, scores and mean Recall."""
    settings = parse(f'{SMALL} --batch 64 --lr 0.01 --model {case}'.split())
    training = Training(MODELS[settings.model], settings, dataset, UserRows(dataset.train))
    figures = [training.train_epoch(lambda: None) for _ in range(epochs)]
    scores = training.model.scores()
    metrics = evaluate(scores, UserRows(dataset.train), {'test': UserRows(dataset.test)}, 5, 7)
    return (figures, {name: table.detach().numpy() for name, table in training.model.named_parameters()},
            scores(torch.arange(dataset.n_users)).numpy(), metrics['test'].means()['recall'])


@pytest.mark.parametrize(('size', 'epochs', 'cases'), [
    (2, 1, CASES), (3, 2, ['mdmns', 'mdmns --cl_method 1', 'diffmm'])])
def test_every_model_learns_what_one_process_would(dataset, tmp_path, size, epochs, cases):
    together = in_ranks(size, lambda: {case: trained(dataset, case, epochs) for case in cases}, tmp_path)
    for case in cases:
        figures, _, scores, recall = trained(dataset, case, epochs)
        for rank in range(size):
            our_figures, parameters, our_scores, our_recall = together[rank][case]
            for epoch, expected in enumerate(figures):
                assert our_figures[epoch] == pytest.approx(expected, rel=1e-5, abs=1e-7), case
            for name, table in parameters.items():
                np.testing.assert_array_equal(table, together[0][case][1][name], f'{case} {name}')
            np.testing.assert_allclose(our_scores, scores, 0, 1e-3 * np.abs(scores).max(), err_msg=case)
            assert our_recall == pytest.approx(recall, abs=1e-4), case


@pytest.mark.parametrize('flags', ['', '--guidance learned'])
def test_a_denoiser_for_each_process(dataset, tmp_path, flags):
    """To the bit what one process makes of them, in the middle of an epoch, too."""
    def learnt():
        kept = []

        def keep():
            state = model.state_dict()
            optimisers = state['_extra_state']['denoiser_optimisers']
            kept.append([table.numpy().copy() for name, table in state.items() if name.startswith('denoisers')]
                        + [moment.numpy().copy() for name in sorted(optimisers)
                           for moments in optimisers[name]['state'].values() for moment in moments.values()])

        settings = parse(f'{SMALL} --batch 16 --lr 0.01 {flags}'.split())
        model = Training(MODELS['mdmns'], settings, dataset, UserRows(dataset.train)).model
        losses = model.train_denoisers(lambda: kept or keep())
        keep()
        return losses, kept

    (losses, expected), = in_ranks(1, learnt, tmp_path)
    assert len(expected[0]) == len(expected[1]) > 12
    assert any((first != last).any() for first, last in zip(*expected, strict=True))
    for ours, kept in in_ranks(2, learnt, tmp_path):
        assert ours == losses
        for place in (0, 1):
            for table, other in zip(kept[place], expected[place], strict=True):
                np.testing.assert_array_equal(table, other)


def normal(generator, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)


@pytest.mark.parametrize('n', [1, 2, 23])
def test_parts_of_contrasts(generator, tmp_path, n):
    """Values and gradients of NCE in all its forms, fewer rows than ranks among them."""
    rows, columns, targets = normal(generator, n, 4), normal(generator, 23, 4), torch.arange(n) * 5 % 23
    forms = [lambda: nce(rows, columns, 0.3, targets), lambda: nce(rows, columns, 0.01, targets, 3),
             lambda: nce(rows, columns[:n], 0.5, chunk=4), lambda: nce(rows, columns.detach(), 0.2, targets),
             lambda: unit_self_nce(rows / rows.norm(dim=1, keepdim=True), 0.4),
             lambda: unit_self_nce(rows / rows.norm(dim=1, keepdim=True), 0.01, 2)]

    def parts():
        values = []
        for form in forms:
            rows.grad = columns.grad = None
            value = form()
            value.backward()
            columns.grad = columns.grad if columns.grad is not None else torch.zeros_like(columns)
            Ranks.add_up_gradients([rows, columns])
            values += [Ranks.add_up(value.detach()).numpy(), rows.grad.numpy(), columns.grad.numpy()]
        return values

    expected = parts()
    for ours in in_ranks(3, parts, tmp_path):
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_allclose(a, b, 1e-9, 1e-12)


def test_shares_of_rows(tmp_path):
    def shares():
        table = torch.arange(8)
        return (Ranks.own_rows(table).tolist(), [table[part].tolist() for part in Ranks.own_parts(8, 2)],
                Ranks.gathered(Ranks.own_rows(table) > 3, 8).tolist(), [k for k in range(6) if Ranks.is_own_strip(k)])

    assert shares() == (list(range(8)), [[0, 1], [2, 3], [4, 5], [6, 7]], [False] * 4 + [True] * 4, list(range(6)))
    assert Ranks.own_part_of_each('ab', 5) == {'a': slice(0, 5), 'b': slice(0, 5)}
    assert in_ranks(3, lambda: Ranks.own_part_of_each('ab', 5), tmp_path) == [
        {'a': slice(0, 3)}, {'a': slice(3, 5), 'b': slice(0, 1)}, {'b': slice(1, 5)}]
    assert in_ranks(3, shares, tmp_path) == [([0, 1], [[0, 1]], [False] * 4 + [True] * 4, [0, 5]),
                                             ([2, 3, 4], [[2, 3], [4]], [False] * 4 + [True] * 4, [1, 4]),
                                             ([5, 6, 7], [[5, 6], [7]], [False] * 4 + [True] * 4, [2, 3])]


def test_rows_of_a_batch_a_part_at_a_time(dataset, monkeypatch):
    """The same draws and, up to the order of sums, the same training as the whole batch at once."""
    case = 'mdmns --epoch 1 --rebuild_k 2'
    expected = trained(dataset, case, 1)
    for name, value in (('AT_ONCE', 1), ('PART_ENTRIES', 5 * dataset.n_items), ('PART_ROWS', 2)):
        monkeypatch.setattr(Diffusion, name, value)
    ours = trained(dataset, case, 1)
    assert ours[0][0] == pytest.approx(expected[0][0], rel=1e-4)
    for name, table in expected[1].items():
        np.testing.assert_allclose(ours[1][name], table, 0, 1e-3, err_msg=name)
    assert any((ours[1][name] != table).any() for name, table in expected[1].items())


def test_a_loss_that_is_not_shared_is_refused(dataset, tmp_path):
    class Whole(MODELS['mfbpr']):
        def losses(self, *batch):
            with Ranks.apart():
                return super().losses(*batch)

    def refused():
        model = Whole(dataset, parse(SMALL.split()), torch.Generator().manual_seed(1))
        with pytest.raises(InputError, match=r'Whole.losses of 2 processes add up to .* as bpr, but one process alone'):
            check_parts(model, (torch.tensor([1, 2, 3]),) * 3)
        return True

    assert in_ranks(2, refused, tmp_path) == [True, True]


def test_ranks_that_come_apart_are_told_of(tmp_path):
    def apart():
        generator = torch.Generator().manual_seed(1)
        tables = {'even': torch.ones(2), 'odd': torch.full((2,), float(Ranks.rank()))}
        Ranks.require_same({'even': tables['even']}, generator)
        with pytest.raises(InputError, match='no longer agree on odd'):
            Ranks.require_same(tables, generator)
        if Ranks.rank():
            torch.rand(1, generator=generator)
        with pytest.raises(InputError, match='no longer agree on the random numbers'):
            Ranks.require_same({'even': tables['even']}, generator)
        return True

    assert in_ranks(2, apart, tmp_path) == [True, True]


# Whole runs

@pytest.fixture
def line(rng, tmp_path):
    return lines_on_planted(rng, tmp_path, TINY)


def metrics_of(folder):
    with open(folder / 'metrics.csv', newline='') as file:
        return [{name: float(value) for name, value in row.items() if name != 'seconds'}
                for row in csv.DictReader(file)]


def test_a_run_goes_on_with_another_number_of_processes(line, tmp_path):
    """2 -> 1 -> 3 processes, an epoch each; the log is the first one's alone."""
    flags = '--cl_method 1'
    assert main(line('alone', f'{flags} --epoch 3')) == 0
    for size, epochs in ((2, 1), (1, 2), (3, 3)):
        words = line('run', f'{flags} --epoch {epochs} --resume')
        if size == 1:
            assert main(words) == 0
        else:
            assert main_in_ranks([words] * size, tmp_path) == [(0, '')] * size
            assert [rank for rank in range(size) if (tmp_path / f'out{rank}').read_text()] == [0]
    ours, alone = metrics_of(tmp_path / 'run'), metrics_of(tmp_path / 'alone')
    for row, expected in zip(ours, alone, strict=True):
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name
    results = [json.loads((tmp_path / name / 'result.json').read_text()) for name in ('run', 'alone')]
    for chosen in ('best_val', 'best_test'):
        assert results[0][chosen]['epoch'] == results[1][chosen]['epoch']
    assert results[0]['config']['ranks'] == 2
    assert 'ranks' not in results[1]['config']
    assert results[0]['config']['resumed_with']['ranks'] == 3


@pytest.mark.parametrize('model', ['ease', 'ials'])
def test_a_model_without_gradients_uses_one_process(line, tmp_path, model):
    assert main(line('alone', f'--model {model} --epoch 2')) == 0
    assert main_in_ranks([line('run', f'--model {model} --epoch 2')] * 2, tmp_path) == [(0, '')] * 2
    assert f'{model} has no gradients to share: one process works' in (tmp_path / 'out0').read_text()
    with np.load(tmp_path / 'alone' / 'per_user.npz') as alone, np.load(tmp_path / 'run' / 'per_user.npz') as run:
        assert all((alone[name] == run[name]).all() for name in alone)


@pytest.mark.parametrize(('second', 'sentence'), [
    ('--lr 0.01', r'Main.py: Process 1 was given another --lr than process 0 \(0.01 and 0.02\): .*'),
    ('--data other', r'Main.py: Process 1 has other interactions, image features, text features than process 0: .*'),
    ('--data gone', r'Main.py: There is no data set folder .*gone.*'),
    ('--strange 1', r'Main.py: unrecognized arguments: --strange 1.*')])
def test_what_does_not_fit_is_told_of_once(line, rng, tmp_path, second, sentence):
    write_dataset(tmp_path / 'data' / 'other', *planted(rng))
    (_, first), (_, other) = ended = main_in_ranks(
        [line('run', '--epoch 2'), line('run', f'--epoch 2 {second}')], tmp_path)
    assert [code for code, _ in ended] == [2, 2]
    assert other == ''
    assert first.count('\n') == 1
    assert re.fullmatch(sentence, first.strip())
    assert not (tmp_path / 'run').exists()


def test_devices_that_do_not_fit(line, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr('torch.distributed.is_nccl_available', lambda: False)
    for device, sentence in (('cuda', 'torchrun started 2 processes, where torch sees 1 CUDA devices: give '
                                      '--nproc_per_node 1, or --device cpu.'),
                             ('cuda:0', '--device cuda:0 names one device')):
        ended = main_in_ranks([line('run', f'--epoch 1 --device {device}')] * 2, tmp_path)
        assert [code for code, _ in ended] == [2, 2]
        assert ended[0][1].startswith(f'Main.py: {sentence}')
        assert ended[1][1] == ''


# How such a run ends

def saved(folder, epochs=2):
    """Wait until a run has saved that many epochs, and trained one more: then it is past the saving of the last."""
    until = time.monotonic() + LONGEST
    while not ((folder / 'checkpoint.previous.pt').exists() and len(metrics_of(folder)) > epochs):
        assert time.monotonic() < until, ''.join(path.read_text() for path in folder.parent.glob('err*'))
        time.sleep(0.02)


@pytest.mark.parametrize(('killed', 'listen'), [(0, 5), (2, 5), (2, 0)])
def test_a_killed_process_ends_the_run(line, tmp_path, monkeypatch, killed, listen):
    """Told of once, also where the first process takes longer than the others wait for it."""
    monkeypatch.setattr(Company, 'LISTEN', listen)

    def meanwhile(numbers):
        saved(tmp_path / 'run')
        os.kill(numbers[killed], signal.SIGKILL)

    ended = main_in_ranks([line('run', '--epoch 100000')] * 3, tmp_path, meanwhile)
    assert [code for code, _ in ended] == [-9 if rank == killed else 2 for rank in range(3)]
    said = [words for _, words in ended if words]
    assert len(said) == 1
    assert re.fullmatch(r'Main.py: One of the processes of the run was killed.*--resume goes on from there.\n', said[0])
    assert load_checkpoint(tmp_path / 'run')['epoch'] >= 2


@pytest.mark.parametrize(('number', 'to'), [(signal.SIGINT, [0, 1]), (signal.SIGTERM, [1])])
def test_a_signal_stops_all_processes_saved(line, tmp_path, number, to):
    """Also where only one of them gets it."""
    def meanwhile(numbers):
        saved(tmp_path / 'run')
        for rank in to:
            os.kill(numbers[rank], number)

    (code, first), (other_code, other) = main_in_ranks([line('run', '--epoch 100000')] * 2, tmp_path, meanwhile)
    assert code == other_code == 128 + number
    assert re.fullmatch(r'Main.py: stopped in epoch \d+ and saved: --resume goes on from there\n', first)
    assert other == ''
    assert load_checkpoint(tmp_path / 'run')['epoch'] >= 2


def ranks_below(parent):
    """rank -> process number, of torchrun's processes."""
    found = {}
    for folder in Path('/proc').glob('[0-9]*'):
        with suppress(OSError):
            if f'PPid:\t{parent}\n' in (folder / 'status').read_text():
                environment = (folder / 'environ').read_bytes().split(b'\0')
                found |= {int(word[5:]): int(folder.name) for word in environment if word.startswith(b'RANK=')}
    return found


def test_torchrun(line, tmp_path):
    """A run of two processes, one of which is killed."""
    with open(tmp_path / 'said', 'w') as said:
        process = subprocess.Popen(
            [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', 'Main.py',
             *line('run', '--epoch 100000')], cwd=ROOT, stdout=said, stderr=subprocess.STDOUT,
            env={**os.environ, 'OMP_NUM_THREADS': '1'})
    try:
        saved(tmp_path / 'run')
        ranks = ranks_below(process.pid)
        os.kill(ranks[1], signal.SIGKILL)
        assert process.wait(LONGEST) == 1
    finally:
        process.kill()
        process.wait()
    said = (tmp_path / 'said').read_text()
    assert said.count('Main.py: One of the processes of the run was killed') == 1
    assert said.count('  epoch 0/') == 1
    assert load_checkpoint(tmp_path / 'run')['epoch'] >= 2
    assert not any(Path(f'/proc/{number}').exists() for number in ranks.values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('flags', ['--cl_method 0', '--cl_method 1', '--model lightgcn'])
def test_one_rank_by_nccl_is_one_process(line, tmp_path, flags):
    flags = f'{flags} --epoch 2 --device cuda --precision highest'
    assert main(line('alone', flags)) == 0
    subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '1', 'Main.py',
                    *line('run', flags)], cwd=ROOT, check=True)
    for row, expected in zip(metrics_of(tmp_path / 'run'), metrics_of(tmp_path / 'alone'), strict=True):
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name
