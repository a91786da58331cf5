"""Train a model on a data set folder and report Recall, NDCG and Precision: `python Main.py --help`.

The loop knows these things of a model (see MDMNS in Model.py), so that another one can take part through
`MODELS` alone:
    begin_epoch(boundary)           work done once per epoch; returns named figures for metrics.csv. After each step of
                                    its own, if any, it calls `boundary()`: the run may be saved and stopped there
    losses(users, pos, neg)         the named terms of a batch's loss, whose sum is minimised
    scores()                        a function of users (B,) that returns their scores of all items (B, I);
                                    its `arrays()` are saved as the trained embeddings
    loop_parameters()               the parameters that the loop's Adam trains; none: begin_epoch does all the work
    closed_form                     true where a single epoch is all there is to do
    needs_features                  true where the data set has to have features
    state_dict()                    all that its later epochs depend on, as tensors, numbers, texts, lists, dictionaries
"""
import math
import sys
from contextlib import contextmanager

import torch

from Baselines import BASELINES
from Baselines.popularity import popularity_scores
from DataHandler import NegativeSampler, UserRows, load_dataset
from Datasets.generate import ensure_generated
from Model import MDMNS
from Params import parse
from Utils.Checkpoint import (
    ALL,
    PREVIOUS,
    random_states,
    remove_checkpoints,
    restore_random_states,
    save_checkpoint,
)
from Utils.Command import run_command
from Utils.Device import choose_device, keep_freed_memory, set_precision
from Utils.Errors import InputError, NotFiniteError, StoppedError, suggestion
from Utils.Metrics import NAMES, evaluate
from Utils.Pass import Pass
from Utils.Recommend import check_target, ids_for, load_scores, recommend, run_settings
from Utils.Results import Best, RunFolder, run_config
from Utils.Resume import go_on_with, take_up
from Utils.Signals import StopSignals
from Utils.TimeLogger import Stopwatch, log

MODELS = {'mdmns': MDMNS, **BASELINES}


class Training:
    """A model in training and where it stands: everything that a checkpoint of the run holds."""

    def __init__(self, settings, dataset, rows):
        """rows: UserRows of the training interactions, on the device to train on."""
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.generator = torch.Generator(rows.items.device).manual_seed(settings.seed)
        self.model = MODELS[settings.model](dataset, settings, self.generator)
        parameters = list(self.model.loop_parameters())
        self.optimiser = torch.optim.Adam(parameters, settings.lr, fused=True) if parameters else None
        self.sampler = NegativeSampler(rows) if parameters else None
        self.best = Best()
        self.epoch = 0  # the one in progress
        self.figures = None  # what the model's begin_epoch returned, once it has
        self.steps = None  # the pass over the interactions, once it has begun
        # a closed form is solved again sooner than it is read
        self.epochs, self.checkpoint_every = (1, 0) if self.model.closed_form else (
            settings.epoch, settings.checkpoint_every)

    def train_epoch(self, boundary):
        """What is left of the epoch in progress (SPEC section 4); its figures, with the mean of each loss term."""
        if self.figures is None:
            self.figures = self.model.begin_epoch(boundary)
        figures = self.figures
        if self.optimiser:
            if self.steps is None:
                negatives = self.sampler.sample(self.generator)
                self.steps = Pass(len(self.sampler), self.generator, negatives=negatives)
            train_steps(self.model, self.optimiser, self.sampler, self.settings.batch, self.steps, boundary)
            figures = {**self.steps.means(), **figures}
        self.check(figures)
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


def train_steps(model, optimiser, sampler, size, steps, boundary):
    """The steps that are left of one pass over the training interactions, each with its negative."""
    negatives = steps.companions['negatives']
    for batch in steps.batches(size, 'training'):
        terms = model.losses(sampler.users[batch], sampler.positives[batch], negatives[batch])
        loss = sum(terms.values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        steps.add(terms)
        boundary()


def describe(metrics, k):
    return ' '.join(f'{name.capitalize() if name != "ndcg" else "NDCG"}@{k} {metrics[name]:.4f}' for name in NAMES)


def log_header(settings, dataset, device, model, out):
    facts = dataset.statistics()
    log(f'{settings.model} on {dataset.name}: {facts["users"]:,} users, {facts["items"]:,} items, interactions '
        f'{facts["train"]:,} train / {facts["val"]:,} val / {facts["test"]:,} test, '
        f'sparsity {facts["sparsity_percent"]} %')
    log('modalities: ' + (', '.join(f'{name} ({width})' for name, width in facts['modalities'].items()) or 'none'))
    where = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'{torch.get_num_threads()} threads'
    parameters = sum(parameter.numel() for parameter in model.parameters())
    log(f'device: {device} ({where}); {parameters:,} parameters; seed {settings.seed}; results in {out}')


def log_protocols(summary, popularity, k):
    test, val = summary['best_test'], summary['best_val']
    if val:
        log(f'best validation Recall at epoch {val["epoch"]}: val {describe(val["val"], k)}; '
            f'test {describe(val["test"], k)}')
    else:
        log('no validation interactions: no epoch can be selected without looking at the test set')
    if test:
        log(f'best test Recall (the release\'s protocol) at epoch {test["epoch"]}: test {describe(test, k)}')
    log(f'ranking by popularity, for comparison: test {describe(popularity["test"].means(), k)}')


def prepare(settings):
    """(data set, device) of a run, after every check that needs no training."""
    device = choose_device(settings.device, settings.gpu)
    if settings.model not in MODELS:
        raise InputError(f'--model {settings.model} is not known. {suggestion(settings.model, MODELS)}'
                         f'There are: {", ".join(MODELS)}.')
    set_precision(settings.precision, device)
    ensure_generated(settings.data_dir, settings.data)
    dataset = load_dataset(settings.data_dir, settings.data, settings.modalities)
    for flag in ('topk', 'rebuild_k'):
        if getattr(settings, flag) > dataset.n_items:
            raise InputError(f'--{flag} {getattr(settings, flag)} is more than the {dataset.n_items} items of '
                             f'{dataset.name}: lower it.')
    if dataset.test.nnz == 0:
        raise InputError(f'The test matrix of {dataset.name} holds no interaction: there is nothing to evaluate.')
    if settings.recommend is not None:
        ids_for(settings, dataset)
    return dataset, device


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


def run(settings, out, state=None):
    """Everything from the data set folder to result.json in `out`, an entered RunFolder; state: of its checkpoint."""
    watch = Stopwatch()
    dataset, device = prepare(settings)
    config = run_config(settings, dataset, device)
    rows, seconds_before = [], 0
    if state:
        config, rows, seconds_before = go_on_with(state['config'], config), state['rows'], state['seconds']
    train_rows = UserRows(dataset.train, device)
    training = Training(settings, dataset, train_rows)
    withheld = {'val': UserRows(dataset.val, device), 'test': UserRows(dataset.test, device)}
    popularity = evaluate(popularity_scores(train_rows), train_rows, withheld, settings.topk, settings.tstBat)
    log_header(settings, dataset, device, training.model, out.path)
    if state:
        training.restore(state)
        if config != state['config']:  # from now on this is what is asked for, also if the run is cut off right away
            save_checkpoint(out.path, {**state, 'config': config})
        out.resume(config, rows)
        log(f'going on in epoch {training.epoch}' + (f', step {len(training.steps.losses)}' if training.steps else ''))
    elif out.holds_a_run():
        log('the earlier run in this folder is replaced once the first epoch is evaluated')

    def save():
        whole = training.state()
        out.begin(config)
        save_checkpoint(out.path, {**whole, 'config': config, 'rows': out.rows,
                                   'seconds': seconds_before + watch.read()})
        out.replace_earlier()

    def boundary():
        if stop.number:
            save()
            raise StoppedError(stop.number, f'stopped in epoch {training.epoch} and saved: --resume goes on from there')

    def evaluated(epoch):
        """Metrics of every split, kept where they are the best so far, with the embeddings of the best epoch."""
        scores = training.model.scores()
        metrics = evaluate(scores, train_rows, withheld, settings.topk, settings.tstBat)
        out.begin(config)
        if chooser in training.best.update(epoch, metrics) and scores.arrays():
            out.write_arrays('embeddings.npz', scores.arrays())
        return {split: metrics[split].means() for split in withheld}

    chooser = 'val' if dataset.val.nnz else 'test'
    with StopSignals() as stop, only_finite(training):
        train(training, out, evaluated, save, boundary)

    summary = training.best.summary()
    result = {'dataset': dataset.name, 'config': config, **summary, 'popularity': popularity['test'].means(),
              'seconds': round(seconds_before + watch.lap(), 3)}
    out.write_arrays('per_user.npz', training.best.per_user())
    out.write_json('result.json', result)
    remove_checkpoints(out.path, (PREVIOUS,) if training.checkpoint_every else ALL)
    log_protocols(summary, popularity, settings.topk)
    if settings.recommend is not None:
        saved = (out.path / 'embeddings.npz').exists()
        recommend(load_scores(out.path, device) if saved else training.model.scores(), dataset, settings, device)


def train(training, out, evaluated, save, boundary):
    """Train until the last epoch or until patience is out: for each epoch a line in the log, for each that is evaluated
    a row of metrics.csv, and a checkpoint where it is due.

    evaluated: epoch -> split -> means of its metrics; save, boundary: as in `run`.
    """
    settings, every, watch = training.settings, training.checkpoint_every, Stopwatch()
    while training.epoch < training.epochs and not out_of_patience(settings, training.best, out.rows):
        epoch = training.epoch
        figures = training.train_epoch(boundary)
        last = training.epoch == training.epochs
        means = evaluated(epoch) if epoch % settings.tstEpoch == 0 or last else {}
        seconds = watch.lap()
        if means:
            row = {f'{split}_{name}': value for split, mean in means.items() for name, value in mean.items()}
            out.add_metrics({'epoch': epoch, **figures, **row, 'seconds': round(seconds, 3)})
            out.replace_earlier()
        if every and (training.epoch % every == 0 or last):
            save()  # before the log, whose reader may be gone
        log(f'epoch {epoch}/{training.epochs - 1}  ' + ' '.join(f'{name} {x:.4g}' for name, x in figures.items())
            + ''.join(f'  | {split} {describe(mean, settings.topk)}' for split, mean in means.items())
            + f'  | {seconds:.1f} s')
        if not last:
            boundary()
    if training.epoch < training.epochs:
        log(f'no better validation Recall in {settings.patience} evaluations: stopping early')


def recommend_from(run_path, argv):
    """Recommendations from the embeddings of a run; nothing is trained."""
    settings = parse(argv, run_settings(run_path))
    dataset = load_dataset(settings.data_dir, settings.data, modalities=())  # no feature is needed
    device = choose_device(settings.device, settings.gpu)
    recommend(load_scores(run_path, device), dataset, settings, device)


def start(argv):
    settings = parse(argv, combined=False)  # of a run that is resumed, what it has counts, too
    if settings.recommend is not None:
        check_target(settings.recommend)
    if settings.load is not None:
        recommend_from(settings.load, argv)
        return
    with RunFolder(settings.out or f'results/{settings.data}/{settings.model}-seed{settings.seed}') as out:
        work = take_up(out, argv)
        if work is not None:
            run(work[0], out, work[1])
        elif settings.recommend is not None:
            recommend_from(out.path, argv)


def main(argv=None):
    """Run the command line; its exit code."""
    keep_freed_memory()
    return run_command('Main.py', lambda: start(argv), 'lower --batch, --tstBat, --nce_chunk, --latdim or --dims')


if __name__ == '__main__':
    sys.exit(main())
