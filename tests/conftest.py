"""Shared by all tests: random inputs from a seed that is printed, small data sets on disk, and the baselines' twins."""
import json
import os
import shlex
import signal
import subprocess
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from saved_runs import save_run

from Baselines import BASELINES
from Benchmark import Plain
from DataHandler import Dataset
from Experiments import Pool
from Experiments.Tables import FIGURES, PAGES, ROOT
from Main import main
from Model import slot
from Params import parse

torch.set_num_threads(1)  # on inputs this small threads would only wait for one another
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts with & ignore Ctrl-C
SEED = int(os.environ.get('TEST_SEED', 421))  # of all random inputs: two runs of the tests test the same

# what the baselines are tested with where it need not be a whole run
N_USERS, N_ITEMS = 13, 11
SMALL = '--latdim 6 --dims 10 --batch 16 --item_links 4 --clusters 4 --neighbours 5'
WIDTHS = {'image': 5, 'text': 3}  # of features
USERS, POSITIVES, NEGATIVES = torch.tensor([4, 0, 4, 12]), torch.tensor([1, 10, 3, 1]), torch.tensor([2, 2, 10, 5])


def pytest_report_header():
    return f'random inputs: TEST_SEED={SEED}'


@pytest.fixture
def rng(request):
    """A generator of its own for every test, so that one test can be repeated alone."""
    return np.random.default_rng([SEED, *request.node.name.encode()])


@pytest.fixture
def generator(rng):
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield


def committed():
    """Content of everything that --publish alone may change, by path."""
    pages = (*PAGES, *FIGURES.iterdir(), *(ROOT / 'results').glob('*/*.csv'))
    return {path: path.read_bytes() for path in pages if path.is_file()}


@pytest.fixture
def to(tmp_path):
    """A folder for pictures; afterwards what is committed must be as before."""
    before = committed()
    yield tmp_path / 'pictures'
    assert committed() == before, '--publish alone renews what is committed'


@pytest.fixture
def made(monkeypatch, rng):
    """The folders of runs that were made; instead of training, known figures are written."""
    folders = []

    def launch(job, slot):
        folders.append(job.folder)
        settings = parse(list(job.flags))
        recall = rng.random()
        save_run(job.folder, shlex.join(job.flags), settings.seed, [recall] * 4, ([0, 1], [recall] * 2), settings.data)
        return subprocess.Popen(['true'], stdout=subprocess.PIPE)

    monkeypatch.setattr(Pool, 'launch', launch)
    return folders


def random_matrix(rng, n_users, n_items, density=0.3):
    """A CSR matrix of ones in which some users and items have no entry."""
    dense = rng.random((n_users, n_items)) < density
    dense[rng.integers(n_users)] = False
    dense[:, rng.integers(n_items)] = False
    return sp.csr_matrix(dense.astype(np.float32))


def planted(rng, n_users=60, n_items=40, widths=(('image', 8), ('text', 6))):
    """Two groups of users, each with a taste for all of its own half of the items, which the features also show.

    Returns (matrices by file stem, features by modality).
    """
    groups, halves = np.arange(n_users) % 2, np.arange(n_items) % 2
    splits = {stem: np.zeros((n_users, n_items), np.float32) for stem in ('trnMat', 'valMat', 'tstMat')}
    for user, group in enumerate(groups):
        liked = rng.permutation(np.flatnonzero(halves == group))
        for stem, items in zip(splits, (liked[4:], liked[:2], liked[2:4]), strict=True):
            splits[stem][user, items] = 1
    features = {name: (rng.normal(size=(n_items, width)) + 2 * halves[:, None]).astype(np.float16)
                for name, width in widths}
    return {stem: sp.coo_matrix(matrix) for stem, matrix in splits.items()}, features


def write_dataset(folder, matrices, features):
    folder.mkdir(parents=True)
    for stem, matrix in matrices.items():
        sp.save_npz(folder / f'{stem}.npz', matrix)
    for name, table in features.items():
        np.save(folder / f'{name}_feat.npy', table)
    return folder


def lines_on_planted(rng, folder, common):
    """(name of the run's folder, further flags) -> a command line of Main.py on `planted` data, all below folder."""
    write_dataset(folder / 'data' / 'tiny', *planted(rng))

    def words(name, flags=''):
        return f'--data tiny --data_dir {folder / "data"} --out {folder / name} {common} {flags}'.split()

    return words


def make_dataset(rng, widths=None):
    train = random_matrix(rng, N_USERS, N_ITEMS)
    features = {name: rng.normal(size=(N_ITEMS, width)).astype('float32') for name, width in (widths or {}).items()}
    return Dataset('random', train, train, train, features)


def make_model(name, dataset, flags='', seed=1):
    return BASELINES[name](dataset, parse(f'{SMALL} {flags}'.split()), torch.Generator().manual_seed(seed))


def weights(model):
    """Every parameter in float64, by name."""
    return {name: parameter.detach().double() for name, parameter in model.named_parameters()}


def links_of(dataset):
    return torch.as_tensor(dataset.train.toarray()).double()


def loopless(links):
    """D^-1/2 A D^-1/2 of A = [[0, R], [R', 0]], R the links (U, I), entry by entry."""
    n_users, n_nodes = len(links), sum(links.shape)
    adj = torch.zeros(n_nodes, n_nodes, dtype=torch.float64)
    for user, item in links.nonzero().tolist():
        value = (links[user].sum() * links[:, item].sum()) ** -0.5
        adj[user, n_users + item] = adj[n_users + item, user] = value
    return adj


def lightgcn(links, users, items, n_layers):
    """Users and items of the mean of layers 0..n_layers over the graph without loops."""
    adj, layers = loopless(links), [torch.cat([users, items])]
    for _ in range(n_layers):
        layers.append(adj @ layers[-1])
    return (sum(layers) / len(layers)).split([len(users), len(items)])


def triple_losses(scores, embeds, reg):
    """bpr of the scores (U, I) and reg of the (users, items) tables, over the triples above."""
    margins = scores[USERS, POSITIVES] - scores[USERS, NEGATIVES]
    users, items = embeds
    decay = (users[USERS]**2).sum() + (items[POSITIVES]**2).sum() + (items[NEGATIVES]**2).sum()
    return {'bpr': -F.logsigmoid(margins).mean(), 'reg': reg * decay / 2 / len(USERS)}


def all_scores(model):
    return model.scores()(torch.arange(N_USERS)).double()


def close(ours, plain):
    torch.testing.assert_close(ours.double(), plain, rtol=1e-4, atol=1e-5)


def trainable(model):
    """Every parameter in float64, by name, to take gradients of."""
    return {name: table.requires_grad_() for name, table in weights(model).items()}


def check_losses(model, w, expected, idle=()):
    """Each term of the model's loss, and the gradients of their sum; every parameter of the loop has one but the idle,
    which are named."""
    terms = model.losses(USERS, POSITIVES, NEGATIVES)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        close(terms[name], value)
    for each in (terms, expected):
        sum(each.values()).backward()
    loop = {id(parameter) for parameter in model.loop_parameters()}
    for name, parameter in model.named_parameters():
        if id(parameter) in loop:
            assert bool(parameter.grad.any()) == (name not in idle), name
            close(parameter.grad, w[name].grad)


def unit_features(dataset):
    return {name: Plain.unit(torch.as_tensor(table).double()) for name, table in dataset.features.items()}


def projected(w, dataset):
    """F_m of every modality, of the parameters of a model with `Projections`."""
    return {name: table @ w[f'projections.layers.{slot(name)}.weight'].T
            + w.get(f'projections.layers.{slot(name)}.bias', 0)
            for name, table in unit_features(dataset).items()}


def generator_like(model):
    """One that will draw what the model's will."""
    generator = torch.Generator()
    generator.set_state(model.generator.get_state())
    return generator


def linear(w, name, table):
    return table @ w[f'{name}.weight'].T + w[f'{name}.bias']


def in_batch(rows, columns, temp):
    """Of row b against all columns of the batch, its own the one to be found."""
    total = 0
    for b, row in enumerate(rows):
        logits = [row @ column / temp for column in columns]
        total = total - logits[b] + torch.stack(logits).exp().sum().log()
    return total / len(rows)


def item_graph(table, k):
    """D^-1/2 S D^-1/2 of a table's k nearest, by loops: S_ij the cosine where j is among them and it is positive."""
    n = len(table)
    cosines = [[float(a @ b / (a.norm() * b.norm()).clamp(min=1e-12)) for b in table.detach()] for a in table.detach()]
    rows = []
    for i, a in enumerate(table):
        near = sorted(range(n), key=lambda j: -cosines[i][j])[:k]
        rows.append(torch.stack([Plain.unit(a[None])[0] @ Plain.unit(b[None])[0] if j in near and cosines[i][j] > 0
                                 else a.sum() * 0 for j, b in enumerate(table)]))
    s = torch.stack(rows)
    degrees = s.sum(1)
    return torch.stack([torch.stack([s[i, j] / (degrees[i] * degrees[j]).sqrt() for j in range(n)]) for i in range(n)])


def embeds_of(w):
    return w['user_embeds'], w['item_embeds']


def scores_of(tables):
    return tables[0] @ tables[1].T


def result_of_run(tmp_path, rng, flags):
    """What a whole run on `planted` data reports. Who knows a user's half of the items has 4 of them left to rank, 2 of
    them of the test set."""
    write_dataset(tmp_path / 'tiny', *planted(rng))
    assert main(f'--data tiny --data_dir {tmp_path} --out {tmp_path / "run"} --epoch 15 --device cpu --latdim 8 '
                f'--dims 16 --batch 64 --topk 5 --lr 0.02 --model {flags}'.split()) == 0
    return json.loads((tmp_path / 'run' / 'result.json').read_text())
