"""A model in training: its epochs, and the state of the run that a checkpoint holds.

What is asked of a model is said in Main.py.
"""
import math
from contextlib import contextmanager

import torch

from DataHandler import NegativeSampler
from Runs.Checkpoint import random_states, restore_random_states
from Runs.Contract import check_figures, check_parameters, check_parts, check_terms
from Runs.Flags import model_settings
from Runs.Results import Best
from Utils.Adam import Adam
from Utils.Errors import InputError, NotFiniteError
from Utils.Pass import Pass
from Utils.Ranks import add_up_gradients, require_same

STEPS = 'training'  # what the steps over the interactions are called, the last of an epoch


class Training:
    """A model in training and where it stands: everything that a checkpoint of the run holds."""

    def __init__(self, model_class, settings, dataset, rows):
        """rows: UserRows of the training interactions, on the device to train on."""
        torch.manual_seed(settings.seed)
        self.settings = settings
        declared = model_settings(settings, model_class)
        self.generator = torch.Generator(rows.items.device).manual_seed(settings.seed)
        self.model = model_class(dataset, declared, self.generator)
        parameters = check_parameters(self.model)
        self.optimiser = Adam(parameters, declared.lr, fused=True) if parameters else None
        self.batch = declared.batch if parameters else None
        self.sampler = NegativeSampler(rows) if parameters else None
        self.best = Best()
        self.epoch = 0  # the one in progress
        self.figures = None  # what the model's begin_epoch returned, once it has
        self.steps = None  # the pass over the interactions, once it has begun
        self.parts_checked = False
        # a closed form is solved again sooner than it is read
        self.epochs, self.checkpoint_every = (1, 0) if self.model.closed_form else (
            settings.epoch, settings.checkpoint_every)

    def train_epoch(self, boundary):
        """What is left of the epoch in progress (SPEC section 4); its figures, with the mean of each loss term."""
        if self.figures is None:
            self.figures = self.model.begin_epoch(boundary)
            check_figures(self.model, self.figures)
        figures = self.figures
        if self.optimiser:
            if self.steps is None:
                negatives = self.sampler.sample(self.generator)
                self.steps = Pass(len(self.sampler), self.generator, negatives=negatives)
            if not self.parts_checked:
                check_parts(self.model, triples(self.sampler, self.steps, self.steps.order[:self.batch]))
                self.parts_checked = True
            train_steps(self.model, self.optimiser, self.sampler, self.batch, self.steps, boundary, figures)
            figures = {**self.steps.means(), **figures}
        self.check(figures)
        require_same(dict(self.model.named_parameters()), self.generator)
        self.epoch, self.figures, self.steps = self.epoch + 1, None, None
        return figures

    def check(self, figures):
        """NotFiniteError if one of the figures or parameters is."""
        for name, value in figures.items():
            if not math.isfinite(value):
                raise NotFiniteError(f'{name} became {value}')
        for name, parameter in self.model.named_parameters():
            if not parameter.isfinite().all():
                raise NotFiniteError(f'The parameter {name} is no longer finite')

    def state(self):
        """What `restore` takes: tensors, numbers, texts, lists and dictionaries. NotFiniteError as `check`."""
        steps = self.steps and self.steps.state()  # first: it can name the step
        self.check(self.figures or {})
        return {'model': self.model.state_dict(), 'optimiser': self.optimiser and self.optimiser.state_dict(),
                'random': random_states(self.generator), 'best': self.best.state(), 'epoch': self.epoch,
                'figures': self.figures, 'steps': steps}

    def restore(self, state):
        self.model.load_state_dict(state['model'])
        if self.optimiser:
            self.optimiser.load_state_dict(state['optimiser'])
        restore_random_states(state['random'], self.generator)
        self.best.restore(state['best'])
        self.epoch, self.figures = state['epoch'], state['figures']
        self.steps = state['steps'] and Pass.from_state(state['steps'], self.generator.device)


def train_steps(model, optimiser, sampler, size, steps, boundary, figures=()):
    """The steps that are left of one pass over the training interactions, each with its negative.

    figures: of the epoch, by name; they stand beside the loss terms."""
    for batch in steps.batches(size, STEPS):
        terms = model.losses(*triples(sampler, steps, batch))
        if not steps.losses:
            check_terms(model, terms, figures)
        loss = sum(terms.values())
        optimiser.zero_grad()
        loss.backward()
        add_up_gradients(parameter for group in optimiser.param_groups for parameter in group['params'])
        optimiser.step()
        steps.add(terms)
        boundary()


def triples(sampler, steps, batch):
    """(users, positives, negatives) of a batch of interactions."""
    return sampler.users[batch], sampler.positives[batch], steps.companions['negatives'][batch]


@contextmanager
def only_finite(training):
    """End the run with one sentence where a loss or a parameter is not finite."""
    try:
        yield
    except NotFiniteError as error:
        raise InputError(f'{error} in epoch {training.epoch}: training stopped, and the run is as the epochs before '
                         'left it. Lower --lr, or check the features and the loss weights, and start anew.') from error


def out_of_patience(settings, best, rows):
    """Whether the last `patience` evaluations brought no better validation Recall."""
    chosen = best.by_split['val']
    return bool(settings.patience and chosen
                and sum(row['epoch'] > chosen['epoch'] for row in rows) >= settings.patience)
