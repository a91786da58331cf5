"""What the author of a model leaves out or gets wrong is one sentence; what it is about stands in it."""
import pytest
import torch
from conftest import planted, write_dataset

from Baselines import MODELS
from Baselines.mfbpr import MFBPR
from Main import main
from Params import build_parser
from Runs.Contract import COLUMNS
from Utils.Metrics import DotScores


def model(**attributes):
    return type('Mine', (MFBPR,), attributes)


def losses(make):
    return lambda self, users, positives, negatives: make(self.user_embeds)


@pytest.fixture
def run(rng, tmp_path, monkeypatch, capsys):
    """Train a model class; the one sentence on stderr."""
    write_dataset(tmp_path / 'tiny', *planted(rng))

    def run(model_class, flags=''):
        monkeypatch.setitem(MODELS, 'mine', model_class)
        assert main(f'--data tiny --data_dir {tmp_path} --out {tmp_path / "run"} --device cpu --topk 5 --epoch 3 '
                    f'--batch 500 --model mine {flags}'.split()) == 2
        error = capsys.readouterr().err
        assert error.startswith('Main.py: ')
        assert error.count('\n') == 1
        assert not list(tmp_path.glob('run/*.partial*'))
        return error

    return run


@pytest.mark.parametrize('name', COLUMNS)
def test_a_loss_term_named_like_a_column_of_metrics_csv(run, name):
    assert f'Mine.losses names something {name}, as metrics.csv has a column of' in run(
        model(losses=losses(lambda table: {name: table.sum()})))


@pytest.mark.parametrize(('attributes', 'sentence'), [
    ({'begin_epoch': lambda self, boundary: {'seconds': 3.0}}, 'Mine.begin_epoch names something seconds'),
    ({'begin_epoch': lambda self, boundary: {'bpr': 3.0}}, 'Mine.losses names something bpr'),
    ({'begin_epoch': lambda self, boundary: None}, 'Mine.begin_epoch returned nothing, expected a dictionary'),
    ({'begin_epoch': lambda self, boundary: {'norm': self.user_embeds}}, 'Mine.begin_epoch returned dict'),
    ({'losses': losses(lambda table: table.sum())}, 'Mine.losses returned a tensor of shape (), expected a dictionary'),
    ({'losses': losses(lambda table: None)}, 'Mine.losses returned nothing, expected a dictionary of named terms'),
    ({'losses': losses(lambda table: {})}, 'Mine.losses returned dict {}, expected a dictionary'),
    ({'losses': losses(lambda table: {'bpr': table.sum(1)})}, 'returned a tensor of shape (60,) as bpr, expected'),
    ({'losses': losses(lambda table: {'bpr': 3.0})}, 'returned float 3.0 as bpr, expected a tensor without dimensions'),
    ({'losses': losses(lambda table: {'bpr': torch.ones(())})}, 'terms that depend on no parameter'),
    ({'losses': None}, 'Mine has loop_parameters but no losses'), ({'scores': None}, 'Mine has no scores'),
    ({'begin_epoch': None}, 'Mine has no begin_epoch'), ({'loop_parameters': 3}, 'Mine has no loop_parameters'),
    ({'loop_parameters': lambda self: ['user_embeds']}, 'gives something else than trainable tensors'),
    ({'scores': lambda self: self.user_embeds}, 'Mine.scores returned a tensor of shape (60, 64), expected a function'),
    ({'scores': lambda self: DotScores({'final': (self.user_embeds, self.item_embeds[:9])})},
     'gave a tensor of shape (1, 9) for one user, expected a score of each of 40 items'),
    ({'closed_form': None}, 'does not say whether it is closed_form'), ({'needs_features': 'no'}, 'needs_features'),
    ({'flags': None}, 'Mine.flags is not there'), ({'flags': ('latdim',)}, 'Mine.flags is tuple, expected a set'),
    ({'flags': MFBPR.flags | {'latdin'}}, 'Mine.flags names latdin, which Params.py does not declare'),
    ({'flags': MFBPR.flags - {'reg'}}, 'The model reads --reg, which the `flags` of its class do not name'),
    ({'flags': MFBPR.flags - {'lr'}}, 'The model reads --lr'), ({'flags': MFBPR.flags - {'batch'}}, 'reads --batch')])
def test_what_is_wrong_is_one_sentence(run, attributes, sentence):
    assert sentence in run(model(**attributes))


def test_other_terms_than_before(run):
    steps = iter(range(100))
    assert 'The loss terms of a step are other, those before it bpr' in run(model(losses=losses(
        lambda table: {'bpr' if next(steps) == 0 else 'other': table.sum()})))
    epochs = iter(range(100))
    assert 'metrics.csv the columns epoch, bpr, reg, val_recall' in run(model(
        begin_epoch=lambda self, boundary: {'more': 1.0} if next(epochs) else {}), '--overwrite')


def test_columns_are_those_of_metrics_csv(rng, tmp_path):
    write_dataset(tmp_path / 'tiny', *planted(rng))
    assert main(f'--data tiny --data_dir {tmp_path} --out {tmp_path / "run"} --device cpu --topk 5 --epoch 1 '
                '--model ials'.split()) == 0
    written = (tmp_path / 'run' / 'metrics.csv').read_text().splitlines()[0].split(',')
    assert set(written) - {'objective'} == set(COLUMNS)
    assert not {'epoch', 'seconds'} - set(COLUMNS)
    assert build_parser().flags()['epoch']
