"""Train a model on a data set folder and report Recall, NDCG and Precision: `python Main.py --help`.

The loop knows four things of a model (see MDMNS in Model.py), so that another one can take part through
`MODELS` alone:
    begin_epoch(boundary)           work done once per epoch; returns named figures for metrics.csv. Where it takes steps of
                                    its own it calls `boundary()` between them (see `Interruptible` below)
    losses(users, pos, neg)         the named terms of a batch's loss, whose sum is minimised
    scores()                        a function of users (B,) that returns their scores of all items (B, I);
                                    its `arrays()` are saved as the trained embeddings
    loop_parameters()               the parameters that the loop's Adam trains; none: begin_epoch does all the work
    closed_form                     true where a single epoch is all there is to do
"""
import math
import sys

import torch

from Baselines import BASELINES
from DataHandler import NegativeSampler, UserRows, load_dataset
from Datasets.generate import ensure_generated
from Model import MDMNS
from Params import parse
from Utils.Command import run_command
from Utils.Device import choose_device, keep_freed_memory, set_precision
from Utils.Errors import InputError
from Utils.Metrics import NAMES, evaluate
from Utils.Recommend import check_target, recommend, run_settings
from Utils.Results import Best, RunFolder, run_config
from Utils.TimeLogger import Stopwatch, log, progress, show_loss

MODELS = {'mdmns': MDMNS, **BASELINES}


def train_epoch(model, optimiser, sampler, settings, generator):
    """One pass over the training interactions, shuffled, each with a fresh negative; the mean of each loss term."""
    negatives = sampler.sample(generator)
    batches = torch.randperm(len(sampler), generator=generator, device=generator.device).split(settings.batch)
    bar = progress(batches, 'training')
    totals = {}
    for batch in bar:
        terms = model.losses(sampler.users[batch], sampler.positives[batch], negatives[batch])
        loss = sum(terms.values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for name, term in terms.items():  # summed on the device: reading them here would wait for every step
            totals[name] = totals.get(name, 0) + term.detach()
        show_loss(bar, loss)
    return {name: float(total) / len(batches) for name, total in totals.items()}


def check_finite(figures, epoch):
    for name, value in figures.items():
        if not math.isfinite(value):
            raise InputError(f'The loss term {name} became {value} in epoch {epoch}: training stopped. Lower --lr, or '
                             'check the features and the loss weights.')


def by_popularity(rows):
    """The score function that ranks items by their number of training interactions: the bar to clear."""
    counts = torch.bincount(rows.items, minlength=rows.shape[1]).float()
    return lambda users: counts.repeat(len(users), 1)


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


def run(settings):
    """Everything from the data set folder to result.json; returns the latter's content."""
    watch = Stopwatch()
    device = choose_device(settings.device, settings.gpu)
    if settings.model not in MODELS:
        raise InputError(f'--model {settings.model} is not known; there are: {", ".join(MODELS)}.')
    set_precision(settings.precision, device)
    ensure_generated(settings.data_dir, settings.data)
    dataset = load_dataset(settings.data_dir, settings.data, settings.modalities)
    for flag in ('topk', 'rebuild_k'):
        if getattr(settings, flag) > dataset.n_items:
            raise InputError(f'--{flag} {getattr(settings, flag)} is more than the {dataset.n_items} items of '
                             f'{dataset.name}: lower it.')
    if dataset.test.nnz == 0:
        raise InputError(f'The test matrix of {dataset.name} holds no interaction: there is nothing to evaluate.')

    torch.manual_seed(settings.seed)
    generator = torch.Generator(device).manual_seed(settings.seed)
    model = MODELS[settings.model](dataset, settings, generator)
    parameters = list(model.loop_parameters())
    optimiser = torch.optim.Adam(parameters, settings.lr, fused=True) if parameters else None
    train_rows = UserRows(dataset.train, device)
    withheld = {'val': UserRows(dataset.val, device), 'test': UserRows(dataset.test, device)}
    sampler = NegativeSampler(train_rows)

    out = RunFolder(settings.out or f'results/{dataset.name}/{settings.model}-seed{settings.seed}')
    log_header(settings, dataset, device, model, out.path)
    if out.holds_a_run():
        log('the earlier run in this folder is replaced once the first epoch is evaluated')
    config = run_config(settings, dataset, device)
    popularity = evaluate(by_popularity(train_rows), train_rows, withheld, settings.topk, settings.tstBat)

    best, chooser = Best(), 'val' if dataset.val.nnz else 'test'
    epoch_watch = Stopwatch()
    epochs = 1 if model.closed_form else settings.epoch
    for epoch in range(epochs):
        figures = model.begin_epoch(lambda: None)
        if optimiser:
            figures = {**train_epoch(model, optimiser, sampler, settings, generator), **figures}
        check_finite(figures, epoch)
        line = f'epoch {epoch}/{epochs - 1}  ' + ' '.join(f'{name} {x:.4g}' for name, x in figures.items())
        evaluated = epoch % settings.tstEpoch == 0 or epoch == epochs - 1
        if evaluated:
            scores = model.scores()
            metrics = evaluate(scores, train_rows, withheld, settings.topk, settings.tstBat)
            if epoch == 0:
                out.begin(config)
            if chooser in best.update(epoch, metrics):
                arrays = scores.arrays()
                if arrays:
                    out.write_arrays('embeddings.npz', arrays)
            means = {split: metrics[split].means() for split in withheld}
            line += ''.join(f'  | {split} {describe(mean, settings.topk)}' for split, mean in means.items())
        seconds = epoch_watch.lap()
        if evaluated:
            row = {f'{split}_{name}': value for split, mean in means.items() for name, value in mean.items()}
            out.add_metrics({'epoch': epoch, **figures, **row, 'seconds': round(seconds, 3)})
        log(f'{line}  | {seconds:.1f} s')

    summary = best.summary()
    result = {'dataset': dataset.name, 'config': config, **summary, 'popularity': popularity['test'].means(),
              'seconds': round(watch.lap(), 3)}
    out.write_arrays('per_user.npz', best.per_user())
    out.write_json('result.json', result)
    log_protocols(summary, popularity, settings.topk)
    if settings.recommend is not None:
        recommend(out.path, dataset, settings, device)
    return result


def start(argv):
    settings = parse(argv)
    if settings.recommend is not None:
        check_target(settings.recommend)
    if settings.load is None:
        run(settings)
    else:
        settings = parse(argv, run_settings(settings.load))
        dataset = load_dataset(settings.data_dir, settings.data, modalities=())  # no feature is needed
        recommend(settings.load, dataset, settings, choose_device(settings.device, settings.gpu))


def main(argv=None):
    """Run the command line; its exit code."""
    keep_freed_memory()
    return run_command('Main.py', lambda: start(argv), 'lower --batch, --tstBat, --nce_chunk, --latdim or --dims')


if __name__ == '__main__':
    sys.exit(main())
