"""All baselines in training, those without features in whole runs, and what they refuse."""
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import (
    N_ITEMS,
    N_USERS,
    WIDTHS,
    all_scores,
    make_dataset,
    make_model,
    planted,
    result_of_run,
    write_dataset,
)

from Baselines import BASELINES
from DataHandler import NegativeSampler, UserRows
from Main import main
from Runs.Training import train_steps
from Utils.Errors import InputError
from Utils.Pass import Pass


class InTraining:
    """A model with what the loop has beside it, trained epoch by epoch."""

    def __init__(self, name, dataset, seed):
        self.model = make_model(name, dataset, '--cl_method 1 --sampling_noise --cl_sample 9', seed)
        parameters = list(self.model.loop_parameters())
        self.optimiser = torch.optim.Adam(parameters, 0.01) if parameters else None
        self.sampler = NegativeSampler(UserRows(dataset.train))

    def epochs(self, n):
        for _ in range(n):
            self.model.begin_epoch(lambda: None)
            self.steps()
        return self.model.scores()(torch.arange(N_USERS))

    def steps(self):
        if self.optimiser:
            generator = self.model.generator
            steps = Pass(len(self.sampler), generator, negatives=self.sampler.sample(generator))
            train_steps(self.model, self.optimiser, self.sampler, 16, steps, lambda: None)

    def state(self):
        """As read back from a file."""
        file = io.BytesIO()
        torch.save([self.model.state_dict(), self.optimiser and self.optimiser.state_dict(),
                    self.model.generator.get_state()], file)
        file.seek(0)
        return torch.load(file, weights_only=True)

    def restore(self, state):
        model, optimiser, generator = state
        self.model.load_state_dict(model)
        if self.optimiser:
            self.optimiser.load_state_dict(optimiser)
        self.model.generator.set_state(generator)


@pytest.mark.parametrize('name', BASELINES)
def test_the_seed_decides_everything(rng, name):
    """Where there is anything to decide."""
    dataset = make_dataset(rng, WIDTHS)
    scores = InTraining(name, dataset, 5).epochs(2)
    assert torch.equal(InTraining(name, dataset, 5).epochs(2), scores)
    assert torch.equal(InTraining(name, dataset, 6).epochs(2), scores) == BASELINES[name].closed_form


@pytest.mark.parametrize('name', [name for name, model in BASELINES.items() if not model.closed_form])
def test_the_state_holds_all_that_training_goes_on_with(rng, name):
    """After an epoch, and in the middle of the next: saved, and taken up by a model of another seed."""
    dataset = make_dataset(rng, WIDTHS)
    training, other = InTraining(name, dataset, 5), InTraining(name, dataset, 6)
    training.epochs(1)
    training.model.begin_epoch(lambda: None)
    training.steps()
    other.restore(training.state())
    for each in (training, other):
        each.steps()  # more of the same epoch: begin_epoch is not called again
    users = torch.arange(N_USERS)
    assert torch.equal(other.model.scores()(users), training.model.scores()(users))
    assert torch.equal(other.epochs(1), training.epochs(1))


@pytest.mark.parametrize('flags', ['itemknn --neighbours 19', 'ease', 'ials --epoch 4 --reg 0.01', 'mfbpr', 'ngcf',
                                   'lightgcn', 'sgl', 'ncl --clusters 2', 'hccf --hyperedges 8 --reg 0.001'])
def test_withheld_items_are_found(rng, tmp_path, flags):
    result = result_of_run(tmp_path, rng, flags)
    assert result['best_val']['test']['recall'] > 0.8
    assert result['popularity']['recall'] < 0.5


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    return tmp_path_factory.mktemp('demo')


@pytest.mark.parametrize('flags', [
    'itemknn', 'ease', 'ials --epoch 3 --reg 0.01 --alpha 0.3', 'mfbpr --epoch 12', 'ngcf --epoch 16 --gnn_layer 1',
    'lightgcn', 'sgl', 'ncl', 'hccf --epoch 8 --gnn_layer 1 --hyperedges 8 --reg 0.1', 'vbpr', 'lgcnm --reg 0.01',
    'bm3 --epoch 15 --lr 0.02 --ssl_reg 0.1 --embed_drop 0.1 --reg 1e-5 --gnn_layer 1', 'lattice --epoch 3',
    'diffmm --epoch 2', 'slmrec --temp 0.2', 'slmrec --ssl_task fd', 'mmgcl', 'mgcn', 'freedom --edge_drop 0.5', 'grcn',
    'clcrec', 'mmgcn'])
def test_the_demo_is_ranked_better_than_by_popularity(demo, flags):
    """The structure planted there is found by small models in a few epochs."""
    out = demo / flags.replace(' ', '')
    assert main(f'--data demo --data_dir {demo} --out {out} --device cpu --latdim 16 --batch 512 --dims 20 --epoch 5 '
                f'--lr 0.03 --tstEpoch 20 --cl_sample 64 --model {flags}'.split()) == 0
    result = json.loads((out / 'result.json').read_text())
    assert result['best_val']['test']['recall'] > 1.1 * result['popularity']['recall']


def test_popularity_is_the_bar_itself(rng, tmp_path):
    result = result_of_run(tmp_path, rng, 'pop')
    assert result['best_test'].pop('epoch') == 0
    assert result['best_test'] == result['best_val']['test'] == result['popularity']


@pytest.mark.parametrize(('flags', 'sentence'), [
    ('ncl --clusters 41', '--clusters 41 is too many for the 60 users and 40 items of tiny: lower it.'),
    ('itemknn --neighbours 40', '--neighbours 40 is too many for the 40 items of tiny: lower it.'),
    ('ials --reg 0', '--reg 0 leaves ials with equations that may have no single solution: give it more.')])
def test_a_flag_that_cannot_be_is_one_sentence(rng, tmp_path, capsys, flags, sentence):
    write_dataset(tmp_path / 'tiny', *planted(rng))
    assert main(f'--data tiny --data_dir {tmp_path} --out {tmp_path / "run"} --device cpu --model {flags}'.split()) == 2
    assert capsys.readouterr().err == f'Main.py: {sentence}\n'


def test_a_ridge_that_is_too_small_is_one_sentence(rng):
    """Every item has the same users: R'R is singular."""
    dataset = make_dataset(rng)
    dataset = replace(dataset, train=type(dataset.train)(np.ones(dataset.train.shape, np.float32)))
    with pytest.raises(InputError, match='--ridge is so small'):
        make_model('ease', dataset, '--ridge 1e-12').begin_epoch(None)


@pytest.mark.parametrize(('name', 'flags'), [('ncl', f'--clusters {min(N_USERS, N_ITEMS)}'),
                                             ('itemknn', f'--neighbours {N_ITEMS - 1}')])
def test_as_many_as_there_are_will_do(rng, name, flags):
    model = make_model(name, make_dataset(rng), flags)
    model.begin_epoch(None)
    assert all_scores(model).isfinite().all()
