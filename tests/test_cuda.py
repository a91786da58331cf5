"""On a CUDA device the parts compute what they compute on a CPU; skipped where there is none."""
import pytest
import torch
from conftest import SMALL, make_dataset, planted, random_matrix, write_dataset
from test_golden import close as near

from Baselines import BASELINES
from Benchmark.Epochs import epoch_on
from Benchmark.Stages import Shape
from DataHandler import UserRows
from Main import main
from Model import MDMNS
from Params import parse
from Runs.Training import Training
from Utils.Diffusion import Denoiser, GaussianDiffusion
from Utils.FastSampling import make_sampler
from Utils.Graph import normalised_graph
from Utils.NCE import nce

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='torch sees no CUDA device here')
MODELS = {'mdmns': MDMNS, **BASELINES}


@pytest.fixture(autouse=True)
def _float32_products():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    yield
    torch.set_float32_matmul_precision(before)


def on_both(function, *tensors):
    """The result of function(*tensors) and the gradients of its sum, on the CPU and on the CUDA device, compared."""
    kept = []
    for device in ('cpu', 'cuda'):
        inputs = [tensor.detach().to(device).requires_grad_(tensor.is_floating_point()) for tensor in tensors]
        result = function(*inputs)
        result.sum().backward()
        kept.append([result, *(x.grad for x in inputs if x.grad is not None)])
    for ours, theirs in zip(*kept, strict=True):
        near(theirs.cpu(), ours.cpu())


def test_graph_products(rng, generator):
    links = torch.as_tensor(random_matrix(rng, 31, 17).toarray())
    users, items = (torch.randn(size, 6, generator=generator) for size in links.shape)

    def product(users, items):
        graph = normalised_graph(*links.to(users.device).nonzero().T, tuple(links.shape))
        return torch.cat(graph(users, items)).square()

    on_both(product, users, items)


@pytest.mark.parametrize('temp', [0.5, 0.01])
def test_nce(temp, generator):
    rows, columns = torch.randn(300, 8, generator=generator), torch.randn(700, 8, generator=generator)
    targets = torch.randint(700, (300,), generator=generator)
    on_both(lambda a, b, t: nce(a, b, temp, t, chunk=64), rows, columns, targets)


def test_sampling(rng, generator):
    links = random_matrix(rng, 40, 30)
    diffusion = {device: GaussianDiffusion(5, 0.1, 1e-4, 0.02, device) for device in ('cpu', 'cuda')}
    denoiser = Denoiser(30, (16,), 10, False, generator)
    with torch.no_grad():
        plain = diffusion['cpu'].sample(denoiser, torch.as_tensor(links.toarray()), 0)
        rows = UserRows(links, torch.device('cuda')).batch(torch.arange(40, device='cuda'))
        near(make_sampler(diffusion['cuda'], denoiser.cuda())(rows).cpu(), plain)


@pytest.mark.parametrize('name', MODELS)
def test_every_model(name, rng):
    """An epoch on the device; then the same state gives the same scores there and on the CPU, as does a closed form
    that is solved on both."""
    dataset = make_dataset(rng, {'image': 5, 'text': 3})
    # all other items are neighbours: among equally similar ones each device has its own choice
    settings = parse(f'{SMALL} --model {name} --neighbours {dataset.n_items - 1}'.split())
    scores = {}
    for device in ('cuda', 'cpu'):
        training = Training(MODELS[name], settings, dataset, UserRows(dataset.train, torch.device(device)))
        if device == 'cuda':
            training.train_epoch(lambda: None)
            state = {key: value.cpu() if torch.is_tensor(value) else value
                     for key, value in training.model.state_dict().items()}
        elif training.model.closed_form:
            training.train_epoch(lambda: None)
        else:
            training.model.load_state_dict(state)
        scores[device] = training.model.scores()(torch.arange(dataset.n_users, device=device)).cpu()
    near(scores['cuda'], scores['cpu'], 1e-4)


def test_a_run_goes_on(tmp_path, rng):
    """Half a run, resumed, is the whole run up to the order of sums."""
    write_dataset(tmp_path / 'tiny', *planted(rng))
    flags = f'--data tiny --data_dir {tmp_path} --device cuda --latdim 8 --dims 16 --batch 64 --topk 5 --cl_method 1'
    rows = {}
    for folder, lengths in (('whole', (4,)), ('halves', (2, 4))):
        for length in lengths:
            resume = ' --resume' if length != lengths[0] else ''
            assert main(f'{flags} --epoch {length} --checkpoint_every 1 --out {tmp_path / folder}{resume}'.split()) == 0
        rows[folder] = (tmp_path / folder / 'metrics.csv').read_text().splitlines()
    assert len(rows['whole']) == len(rows['halves']) == 5
    for ours, theirs in zip(rows['whole'][1:], rows['halves'][1:], strict=True):
        ours, theirs = (torch.tensor([float(x) for x in row.split(',')[:-1]]) for row in (ours, theirs))
        near(theirs, ours, 1e-3)


def test_the_cost_of_an_epoch():
    shape = Shape('small', 50, 40, (300, 40, 40), '--latdim 8 --dims 16 --batch 32 --topk 5')
    seconds, memory, width = epoch_on(torch.device('cuda:0'), shape, 1, None)
    assert 0 < seconds < 60
    assert memory > 4 * 8 * (50 + 40)
    assert width == 8
