"""A decay that cannot be evaded: whatever could make the scores longer is decayed."""
import pytest
import torch
from conftest import NEGATIVES, POSITIVES, USERS, WIDTHS, all_scores, make_dataset, make_model

from Baselines import BASELINES

DECAYED = [name for name, model in BASELINES.items() if {'lr', 'reg'} <= model.flags]
LONGER = 5  # times as long: more than the scores become where a parameter comes in at unit length or as a share of 1


@pytest.mark.parametrize('name', DECAYED)
def test_what_lengthens_the_scores_is_decayed(rng, name):
    """A decay of the embeddings alone does nothing where a matrix behind them may grow as they shrink."""
    model = make_model(name, make_dataset(rng, WIDTHS), '--reg 1 --gnn_layer 2 --edge_drop 0 --message_drop 0')
    with torch.no_grad():
        for parameter in model.parameters():  # none of zeros, which would have no gradient either
            parameter += 0.1 * torch.randn(parameter.shape, generator=model.generator)
    model.begin_epoch(lambda: None)
    model.losses(USERS, POSITIVES, NEGATIVES)['reg'].backward()
    decayed = {name for name, parameter in model.named_parameters() if parameter.grad is not None
               and parameter.grad.any()}
    assert decayed >= {'user_embeds', 'item_embeds'}
    for parameter_name, parameter in model.named_parameters():
        if parameter_name in decayed or 'denoisers' in parameter_name:
            continue
        before, draw = parameter.detach().clone(), torch.randn(parameter.shape, generator=model.generator)
        lengths = []
        for scale in (1, 100):
            parameter.data.copy_(scale * draw)
            lengths.append(all_scores(model).std())
        parameter.data.copy_(before)
        assert lengths[1] < LONGER * lengths[0], f'{parameter_name} is not decayed'


@pytest.mark.parametrize('name', [name for name, model in BASELINES.items() if 'reg' in model.flags])
def test_the_docstring_names_what_is_decayed(name):
    assert 'decayed' in BASELINES[name].__doc__.lower()
