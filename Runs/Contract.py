"""What the training loop asks of a model (see Main.py), checked once: one sentence where an author has left something
out, before anything is trained or at the first step."""
import math

import torch

from Params import build_parser
from Utils.Errors import InputError
from Utils.Metrics import NAMES
from Utils.Ranks import add_up, apart, n_ranks

METHODS = ('begin_epoch', 'loop_parameters', 'scores', 'state_dict')
COLUMNS = ('epoch', 'seconds', *(f'{split}_{name}' for split in ('val', 'test') for name in NAMES))  # of metrics.csv


def check_class(model_class):
    name = model_class.__name__
    for method in METHODS:
        if not callable(getattr(model_class, method, None)):
            raise InputError(f'{name} has no {method}: what a model has to have is said at the top of Main.py.')
    for fact in ('closed_form', 'needs_features'):
        if not isinstance(getattr(model_class, fact, None), bool):
            raise InputError(f'{name} does not say whether it is {fact}, True or False, as the top of Main.py asks.')
    flags = getattr(model_class, 'flags', None)
    if not isinstance(flags, (set, frozenset)):
        raise InputError(f'{name}.flags is {"not there" if flags is None else type(flags).__name__}, expected a set of '
                         "names of the flags that it reads, such as EmbeddingModel.flags | {'gnn_layer'}.")
    if strange := sorted(map(str, flags - build_parser().flags().keys())):
        raise InputError(f'{name}.flags names {strange[0]}, which Params.py does not declare.')


def check_parameters(model):
    """The parameters that the loop is to train."""
    name, parameters = type(model).__name__, list(model.loop_parameters())
    if not all(isinstance(parameter, torch.Tensor) and parameter.requires_grad for parameter in parameters):
        raise InputError(f'{name}.loop_parameters gives something else than trainable tensors.')
    if parameters and not callable(getattr(model, 'losses', None)):
        raise InputError(f'{name} has loop_parameters but no losses to train them by.')
    return parameters


def check_figures(model, figures):
    """What begin_epoch returned."""
    where = f'{type(model).__name__}.begin_epoch'
    if not isinstance(figures, dict) or not all(isinstance(value, (int, float)) for value in figures.values()):
        raise InputError(f'{where} returned {_told(figures)}, expected a dictionary of named numbers, {{}} for none.')
    check_names(where, figures, ())


def check_terms(model, terms, figures):
    """What losses returned; figures: of the epoch, which stand beside the terms."""
    where = f'{type(model).__name__}.losses'
    if not isinstance(terms, dict) or not terms:
        raise InputError(f'{where} returned {_told(terms)}, expected a dictionary of named terms, such as '
                         "{'bpr': ...}.")
    for name, term in terms.items():
        if not isinstance(term, torch.Tensor) or term.ndim:
            raise InputError(f'{where} returned {_told(term)} as {name}, expected a tensor without dimensions: a '
                             'mean or a sum.')
    if not any(term.requires_grad for term in terms.values()):
        raise InputError(f'{where} returned terms that depend on no parameter: there is nothing to train.')
    check_names(where, terms, figures)


def check_parts(model, batch):
    """Where several processes share a run: whether their parts of the loss of a batch add up to what one alone has."""
    if n_ranks() == 1:
        return
    stream = model.generator.get_state()
    with torch.no_grad():
        parts = model.losses(*batch)
        model.generator.set_state(stream)
        with apart():
            whole = model.losses(*batch)
        model.generator.set_state(stream)
    for name, term in whole.items():
        total = float(add_up(parts[name].detach().clone()))
        if not math.isclose(total, float(term), rel_tol=1e-3, abs_tol=1e-6) and math.isfinite(float(term)):
            raise InputError(f'{type(model).__name__}.losses of {n_ranks()} processes add up to {total:.6g} as {name}, '
                             f'but one process alone has {float(term):.6g}: each is to return the part of its own_rows '
                             '(Utils/Ranks.py). Start it without torchrun.')


def check_names(where, named, others):
    for name in named:
        if name in COLUMNS or name in others:
            raise InputError(f'{where} names something {name}, as metrics.csv has a column of: choose another name.')


def check_scores(model, score, users, n_items):
    """What scores returned, of the first of the users (B,)."""
    where = f'{type(model).__name__}.scores'
    if not callable(score) or not callable(getattr(score, 'arrays', None)):
        raise InputError(f'{where} returned {_told(score)}, expected a function of users that has `arrays()`, such as '
                         'DotScores or RowScores.')
    got = score(users[:1])
    if not isinstance(got, torch.Tensor) or got.shape != (1, n_items):
        raise InputError(f'{where} gave {_told(got)} for one user, expected a score of each of {n_items} items: (1, '
                         f'{n_items}).')


def _told(value):
    if isinstance(value, torch.Tensor):
        return f'a tensor of shape {tuple(value.shape)}'
    return 'nothing' if value is None else f'{type(value).__name__} {value!r:.40}'
