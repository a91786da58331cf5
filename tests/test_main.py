"""Whole runs: what is learned, what is written, what repeats, and what a user's mistake leads to."""
import csv
import json

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conftest import planted, write_dataset

from DataHandler import Dataset, NegativeSampler, UserRows
from Main import MODELS, main
from Params import TRAINED, parse
from Runs.Training import train_steps
from Utils.Device import choose_device
from Utils.Errors import InputError
from Utils.Metrics import DotScores
from Utils.Pass import Pass

TINY = '--latdim 8 --dims 16 --guide_fused_hidden_dim 4 --batch 64 --topk 5 --lr 0.02'


@pytest.fixture
def data_dir(rng, tmp_path):
    write_dataset(tmp_path / 'data' / 'tiny', *planted(rng))
    return tmp_path / 'data'


def train(data_dir, out, flags=''):
    code = main(f'--data tiny --data_dir {data_dir} --out {out} --epoch 3 --device cpu {TINY} {flags}'.split())
    assert code == 0
    return json.loads((out / 'result.json').read_text())


@pytest.mark.parametrize('flags', ['--cl_method 0', '--cl_method 1', '--modalities text', '--guidance none'])
def test_withheld_items_are_found(data_dir, tmp_path, flags):
    """Who knows a user's half of the items has 4 of them left to rank, 2 of them of the test set."""
    result = train(data_dir, tmp_path / 'run', f'--epoch 15 {flags}')
    assert result['best_val']['test']['recall'] > 0.9
    assert result['popularity']['recall'] < 0.5


def test_what_a_run_leaves(data_dir, tmp_path, capsys):
    out = tmp_path / 'run'
    result = train(data_dir, out)
    assert {path.name for path in out.iterdir()} == {
        'config.json', 'metrics.csv', 'result.json', 'per_user.npz', 'embeddings.npz', 'checkpoint.pt'}
    config = json.loads((out / 'config.json').read_text())
    assert config == result['config']
    assert config['settings']['latdim'] == 8
    assert config['seed'] == 421
    assert set(config['versions']) == {'python', 'torch', 'numpy', 'scipy'}

    with open(out / 'metrics.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ['epoch', 'bpr', 'reg', 'cl', 'diffusion_image', 'diffusion_text', 'val_recall', 'val_ndcg',
                             'val_precision', 'test_recall', 'test_ndcg', 'test_precision', 'seconds']
    assert [row['epoch'] for row in rows] == ['0', '1', '2']
    for split, entry in (('test', result['best_test']), ('val', result['best_val']['val'])):
        best = max(rows, key=lambda row: float(row[f'{split}_recall']))  # max keeps the first of equals
        assert result[f'best_{split}']['epoch'] == int(best['epoch'])
        for name in ('recall', 'ndcg', 'precision'):
            assert entry[name] == float(best[f'{split}_{name}'])
    chosen = rows[result['best_val']['epoch']]
    assert result['best_val']['test']['recall'] == float(chosen['test_recall'])

    with np.load(out / 'per_user.npz') as per_user:
        assert len(per_user['users']) == 60
        assert per_user['best_val_recall'].mean() == result['best_val']['test']['recall']
        assert per_user['best_test_ndcg'].mean() == result['best_test']['ndcg']
    with np.load(out / 'embeddings.npz') as embeddings:
        assert {name: table.shape for name, table in embeddings.items()} == {
            f'{name}_{side}': (size, 8) for name in ('fused', 'image', 'text')
            for side, size in (('users', 60), ('items', 40))}
    printed = capsys.readouterr().out
    for words in ('60 users, 40 items', 'image (8), text (6)', 'epoch 2/2', 'best validation Recall', 'popularity'):
        assert words in printed


def test_saved_embeddings_are_those_of_the_best_validation_epoch(data_dir, tmp_path):
    result = train(data_dir, tmp_path / 'run', '--epoch 6')
    with np.load(tmp_path / 'run' / 'embeddings.npz') as file:
        names = sorted({name.rsplit('_', 1)[0] for name in file})
        score = DotScores({name: tuple(torch.as_tensor(file[f'{name}_{side}']) for side in ('users', 'items'))
                           for name in names})
    seen, withheld = (torch.as_tensor(sp.load_npz(data_dir / 'tiny' / f'{stem}.npz').toarray())
                      for stem in ('trnMat', 'tstMat'))
    scores = score(torch.arange(60)).masked_fill(seen > 0, -torch.inf)
    hits = withheld.gather(1, scores.topk(5).indices).sum(1).numpy()
    assert (hits / 2).mean() == pytest.approx(result['best_val']['test']['recall'])


def test_same_seed_same_numbers(data_dir, tmp_path):
    def numbers(name, flags):
        train(data_dir, tmp_path / name, flags)
        with open(tmp_path / name / 'metrics.csv', newline='') as file:
            rows = [{key: value for key, value in row.items() if key != 'seconds'} for row in csv.DictReader(file)]
        with np.load(tmp_path / name / 'embeddings.npz') as file:
            return rows, {key: table.tobytes() for key, table in file.items()}

    first = numbers('a', '--cl_method 1')
    assert numbers('b', '--cl_method 1') == first
    assert numbers('c', '--cl_method 1 --seed 3') != first


def test_evaluation_every_other_epoch_and_at_the_end(data_dir, tmp_path):
    train(data_dir, tmp_path / 'run', '--epoch 6 --tstEpoch 2')
    with open(tmp_path / 'run' / 'metrics.csv', newline='') as file:
        assert [row['epoch'] for row in csv.DictReader(file)] == ['0', '2', '4', '5']


def test_without_validation_items_no_epoch_is_chosen_by_them(data_dir, tmp_path):
    sp.save_npz(data_dir / 'tiny' / 'valMat.npz', sp.coo_matrix((60, 40)))
    result = train(data_dir, tmp_path / 'run')
    assert result['best_val'] is None
    assert result['best_test']['recall'] >= 0
    assert (tmp_path / 'run' / 'embeddings.npz').exists()


class Biases(torch.nn.Module):
    """Another model: one number per item. `drift` is added by hand at the start of each epoch."""

    drift = None

    def __init__(self, dataset, settings, generator):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(dataset.n_items))
        self.calls, self.epoch = [], -1

    def loop_parameters(self):
        return [self.bias]

    closed_form = needs_features = False
    flags = TRAINED

    def begin_epoch(self, boundary):
        self.epoch += 1
        self.calls.append([])
        return {}

    def losses(self, users, positives, negatives):
        self.calls[-1].append((users, positives, negatives))
        difference = self.bias[positives] - self.bias[negatives]
        return {'bpr': -torch.nn.functional.logsigmoid(difference).mean()}

    @torch.no_grad()
    def scores(self):
        bias = self.bias.clone() if self.drift is None else self.drift[self.epoch]
        return DotScores({'bias': (torch.ones(60, 1), bias[:, None])})


@pytest.fixture
def biases(monkeypatch):
    monkeypatch.setitem(MODELS, 'biases', Biases)
    return monkeypatch


def test_another_model_needs_only_the_four_methods(data_dir, tmp_path, biases):
    result = train(data_dir, tmp_path / 'run', '--model biases')
    assert result['best_test']['recall'] > 0


def test_the_loop_step_by_step(rng, biases):
    """Parameters after two epochs and the reported means, against a plain loop over the batches that the model saw."""
    interactions = sp.csr_matrix((rng.random((60, 40)) < 0.3).astype(np.float32))
    dataset = Dataset('tiny', interactions, interactions, interactions, {})
    settings, generator = parse(['--batch', '64']), torch.Generator().manual_seed(5)
    sampler = NegativeSampler(UserRows(interactions))
    model = Biases(dataset, settings, generator)
    optimiser = torch.optim.Adam(model.loop_parameters(), 0.1)
    reported = []
    for _ in range(2):
        model.begin_epoch(None)
        steps = Pass(len(sampler), generator, negatives=sampler.sample(generator))
        train_steps(model, optimiser, sampler, settings.batch, steps, lambda: None)
        reported.append(steps.means()['bpr'])

    twin = Biases(dataset, settings, generator)
    twin.begin_epoch(None)
    adam = torch.optim.Adam([twin.bias], 0.1)
    for batches, mean in zip(model.calls, reported, strict=True):
        losses = []
        for batch in batches:
            loss = twin.losses(*batch)['bpr']
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(float(loss.detach()))
        assert mean == pytest.approx(np.mean(losses), rel=1e-5)
    torch.testing.assert_close(model.bias, twin.bias)

    epochs = [[torch.cat(column) for column in zip(*batches, strict=True)] for batches in model.calls]
    for users, positives, negatives in epochs:
        assert sorted(zip(users.tolist(), positives.tolist(), strict=True)) == sorted(
            zip(*(ends.tolist() for ends in interactions.nonzero()), strict=True)), 'every interaction once'
        assert not torch.as_tensor(interactions.toarray())[users, negatives].any()
    assert not torch.equal(epochs[0][0], epochs[1][0]), 'shuffled anew'
    drawn = [set(zip(*(column.tolist() for column in epoch), strict=True)) for epoch in epochs]
    assert len(drawn[0] & drawn[1]) < 0.3 * len(drawn[0]), 'negatives drawn anew'


@pytest.mark.parametrize('validation', [True, False])
def test_embeddings_are_of_the_epoch_that_validation_chose(data_dir, tmp_path, biases, validation):
    """Epoch 0 is best on validation, epoch 1 on the test set, epoch 2 on neither."""
    splits = {}
    for name, items in (('val', range(5)), ('test', range(5, 10))):
        matrix = np.zeros((60, 40), np.float32)
        matrix[:, list(items)] = 1
        splits[name] = sp.coo_matrix(matrix)
    sp.save_npz(data_dir / 'tiny' / 'valMat.npz', splits['val'] if validation else sp.coo_matrix((60, 40)))
    sp.save_npz(data_dir / 'tiny' / 'tstMat.npz', splits['test'])
    train_matrix = np.zeros((60, 40), np.float32)
    train_matrix[:, 39] = 1
    sp.save_npz(data_dir / 'tiny' / 'trnMat.npz', sp.coo_matrix(train_matrix))
    drift = torch.zeros(3, 40)
    drift[0, :5], drift[1, 5:10], drift[2, 20:30] = 1, 1, 1
    biases.setattr(Biases, 'drift', drift)
    result = train(data_dir, tmp_path / 'run', '--model biases')
    assert result['best_test']['epoch'] == 1
    assert result['best_test']['recall'] == 1
    if validation:
        assert result['best_val']['epoch'] == 0
        assert result['best_val']['val']['recall'] == 1
        assert result['best_val']['test']['recall'] == 0
    with np.load(tmp_path / 'run' / 'embeddings.npz') as file:
        assert np.array_equal(file['bias_items'][:, 0], drift[0 if validation else 1])


def test_a_loss_that_is_not_finite_stops_the_run(data_dir, tmp_path, capsys):
    assert main(f'--data tiny --data_dir {data_dir} --out {tmp_path / "run"} {TINY} --lr 1e38'.split()) == 2
    assert 'The loss term' in capsys.readouterr().err


def test_a_run_that_fails_leaves_the_earlier_one(data_dir, tmp_path, monkeypatch, capsys):
    train(data_dir, tmp_path / 'run')
    before = {path.name: path.read_bytes() for path in (tmp_path / 'run').iterdir()}
    for error, code in ((MemoryError(), 2), (KeyboardInterrupt(), 130), (OSError(28, 'No space left', 'file'), 2)):
        monkeypatch.setattr('Runs.Training.train_steps', lambda *_, error=error: (_ for _ in ()).throw(error))
        assert main(f'--data tiny --data_dir {data_dir} --out {tmp_path / "run"} --overwrite {TINY}'.split()) == code
        assert {path.name: path.read_bytes() for path in (tmp_path / 'run').iterdir()} == before
    assert 'Traceback' not in capsys.readouterr().err
    monkeypatch.undo()
    train(data_dir, tmp_path / 'run', '--seed 9 --overwrite')
    assert json.loads((tmp_path / 'run' / 'config.json').read_text())['seed'] == 9


@pytest.mark.parametrize(('flags', 'message'), [
    ('--data nothing', 'has: tiny.'), ('--data_dir nowhere', 'nowhere'), ('--modalities smell', 'Its modalities'),
    ('--model other', '--model other is not known'), ('--device cuda:77', 'CUDA device 77 is not there'),
    ('--device tpu', '--device tpu is not known'), ('--topk 41', '--topk 41 is more than the 40 items'),
    ('--rebuild_k 50', '--rebuild_k 50'), ('--epoch -3', 'got -3'), ('--gpu 99', 'not there')])
def test_mistakes_get_one_sentence_and_change_nothing(data_dir, tmp_path, capsys, flags, message):
    out = tmp_path / 'run'
    out.mkdir()
    (out / 'metrics.csv').write_text('earlier')
    code = main(f'--data tiny --data_dir {data_dir} --out {out} --overwrite {TINY} {flags}'.split())
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert error.count('\n') == 1
    assert 'Traceback' not in error
    assert [path.name for path in out.iterdir()] == ['metrics.csv']
    assert (out / 'metrics.csv').read_text() == 'earlier'


def test_an_empty_test_split_is_told(data_dir, tmp_path, capsys):
    sp.save_npz(data_dir / 'tiny' / 'tstMat.npz', sp.coo_matrix((60, 40)))
    assert main(f'--data tiny --data_dir {data_dir} --out {tmp_path / "run"} {TINY}'.split()) == 2
    assert 'nothing to evaluate' in capsys.readouterr().err


def test_withheld_interactions_that_are_in_training_too(data_dir, tmp_path, capsys):
    """All of the test set: refused. Some: said, since ranking passes over them."""
    folder, line = data_dir / 'tiny', f'--data tiny --data_dir {data_dir} --out {tmp_path / "run"} --epoch 1 {TINY}'
    train, test = (sp.load_npz(folder / f'{stem}.npz').tolil() for stem in ('trnMat', 'tstMat'))
    user, item = (int(numbers[0]) for numbers in train.nonzero())
    sp.save_npz(folder / 'tstMat.npz', train.tocoo())
    assert main(line.split()) == 2
    assert 'Every test interaction of tiny is in training, too' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()
    n_test = test.nnz
    test[user, item] = 1
    sp.save_npz(folder / 'tstMat.npz', test.tocoo())
    assert main(line.split()) == 0
    assert f'1 of {n_test + 1} test interactions are in training, too' in capsys.readouterr().out


def test_a_run_folder_that_cannot_be_made(data_dir, tmp_path, capsys):
    (tmp_path / 'file').write_text('in the way')
    assert main(f'--data tiny --data_dir {data_dir} --out {tmp_path / "file" / "run"} {TINY}'.split()) == 2
    assert '--out' in capsys.readouterr().err
    assert (tmp_path / 'file').read_text() == 'in the way'


def test_devices():
    assert choose_device('cpu') == torch.device('cpu')
    if not torch.cuda.is_available():
        assert choose_device('auto') == torch.device('cpu')
        for name, gpu in (('cuda', '0'), ('cuda:0', '0'), ('auto', '1')):
            with pytest.raises(InputError, match='not there'):
                choose_device(name, gpu)
    for name in ('cuda:x', 'cuda:', 'cpu:1', 'gpu', ''):
        with pytest.raises(InputError, match='not known'):
            choose_device(name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='torch sees no CUDA device here')
def test_on_cuda(data_dir, tmp_path):
    for method in (0, 1):
        result = train(data_dir, tmp_path / 'run', f'--overwrite --device cuda --epoch 15 --cl_method {method}')
        assert result['best_val']['test']['recall'] > 0.9
