"""Train a model on a data set folder and report Recall, NDCG and Precision: `python Main.py --help`.

The loop knows these things of a model (see MDMNS in Model.py), so that another one can take part through
`MODELS` in Baselines/__init__.py alone:
    begin_epoch(boundary)           work done once per epoch; returns named figures for metrics.csv. After each step of
                                    its own, if any, it calls `boundary()`: the run may be saved and stopped there
    losses(users, pos, neg)         the named terms of a batch's loss, whose sum is minimised; where torchrun started
                                    several processes, the part that falls to this one (Utils/Ranks.py)
    scores()                        a function of users (B,) that returns their scores of all items (B, I);
                                    its `arrays()` are saved as the trained embeddings
    loop_parameters()               the parameters that the loop's Adam trains; none: begin_epoch does all the work
    closed_form                     true where a single epoch is all there is to do
    needs_features                  true where the data set has to have features
    flags                           names of the flags of Params.py that it reads, beside those that every run reads
    state_dict()                    all that its later epochs depend on, as tensors, numbers, texts, lists, dictionaries
"""
import sys

import Utils.Threads  # noqa: F401  # isort: skip
import torch

from Baselines import MODELS
from Baselines.popularity import popularity_scores
from DataHandler import UserRows, load_dataset, require_withheld
from Datasets.generate import ensure_generated
from Features.Coherence import log_coherence
from Params import TRAINED
from Runs.Company import run_in_company
from Runs.Contract import check_class, check_scores
from Runs.Flags import flags_read
from Runs.Recommend import check_target, ids_for, load_scores, recommend, recommend_from, require_as_many
from Runs.Recorded import compare_with, read_line
from Runs.Report import describe, log_header, log_protocols
from Runs.Results import run_config
from Runs.Resume import go_on_with, take_up
from Runs.Signals import StopSignals
from Runs.Training import STEPS, Training, only_finite, out_of_patience
from Utils.Device import keep_freed_memory, set_precision
from Utils.Errors import InputError, StoppedError, suggestion
from Utils.Forecast import Forecast
from Utils.Metrics import evaluate
from Utils.TimeLogger import Stopwatch, log


def prepare(settings, company):
    """(data set, device) of a run, after every check that needs no training."""
    device = company.device(settings)
    if settings.model not in MODELS:
        raise InputError(f'--model {settings.model} is not known. {suggestion(settings.model, MODELS)}'
                         f'There are: {", ".join(MODELS)}.')
    check_class(MODELS[settings.model])
    set_precision(settings.precision, device)
    ensure_generated(settings.data_dir, settings.data)
    dataset = load_dataset(settings.data_dir, settings.data, settings.modalities)
    for flag in {'topk', 'rebuild_k'} & flags_read(MODELS[settings.model]):
        require_as_many(flag, settings, dataset)
    require_withheld(dataset)
    if settings.recommend is not None and company.first:
        ids_for(settings, dataset)
    return dataset, device


def run(settings, out, state, company):
    """Everything from the data set folder to result.json in `out`, an entered RunFolder; state: of its checkpoint, or
    None; company: the processes that make the run."""
    watch = Stopwatch()
    dataset, device = prepare(settings, company)
    config = run_config(settings, dataset, device, company.size)
    company.require_same(config, device)
    if settings.like is not None:
        compare_with(settings.like, settings, config)
    rows, seconds_before = [], 0
    if state:
        config, rows, seconds_before = go_on_with(state['config'], config), state['rows'], state['seconds']
    train_rows = UserRows(dataset.train, device)
    training = Training(MODELS[settings.model], settings, dataset, train_rows)
    withheld = {'val': UserRows(dataset.val, device), 'test': UserRows(dataset.test, device)}
    popularity = evaluate(popularity_scores(train_rows), train_rows, withheld, settings.topk, settings.tstBat)
    log_header(settings, dataset, device, training.model, out.path)
    if not state and training.model.needs_features:
        log_coherence(dataset)
    if state:
        training.restore(state)
        if config != state['config']:  # from now on this is what is asked for, also if the run is cut off right away
            out.save_checkpoint({**state, 'config': config})
        out.resume(config, rows)
        log(f'going on in epoch {training.epoch}' + (f', step {len(training.steps.losses)}' if training.steps else ''))
    elif out.holds_a_run():
        log('the earlier run in this folder is replaced once the first epoch is evaluated')

    def save():
        whole = training.state()
        out.begin(config)
        out.save_checkpoint({**whole, 'config': config, 'rows': out.rows, 'seconds': seconds_before + watch.read()})
        out.replace_earlier()

    def boundary():
        if number := company.agreed(stop.number):
            save()
            raise StoppedError(number, f'stopped in epoch {training.epoch} and saved: --resume goes on from there')

    def evaluated(epoch):
        """Metrics of every split, kept where they are the best so far, with the embeddings of the best epoch."""
        scores = training.model.scores()
        if not out.rows:
            check_scores(training.model, scores, torch.arange(dataset.n_users, device=device), dataset.n_items)
        metrics = evaluate(scores, train_rows, withheld, settings.topk, settings.tstBat)
        out.begin(config)
        if chooser in training.best.update(epoch, metrics) and scores.arrays():
            # as they are: deflating floats takes longer than a small epoch and saves a tenth
            out.write_arrays('embeddings.npz', scores.arrays(), compressed=False)
        return {split: metrics[split].means() for split in withheld}

    chooser = 'val' if dataset.val.nnz else 'test'
    with StopSignals() as stop, only_finite(training):
        train(training, out, evaluated, save, boundary)

    summary = training.best.summary()
    result = {'dataset': dataset.name, 'config': config, **summary, 'popularity': popularity['test'].means(),
              'seconds': round(seconds_before + watch.lap(), 3)}
    out.write_arrays('per_user.npz', training.best.per_user())
    out.write_json('result.json', result)
    out.finish(keep_checkpoint=training.checkpoint_every)
    log_protocols(summary, popularity, settings.topk)
    if settings.recommend is not None and company.first:
        saved = (out.path / 'embeddings.npz').exists()
        recommend(load_scores(out.path, device) if saved else training.model.scores(), dataset, settings, device)


def train(training, out, evaluated, save, boundary):
    """Train until the last epoch or until patience is out: for each epoch a line in the log, for each that is evaluated
    a row of metrics.csv, and a checkpoint where it is due.

    evaluated: epoch -> split -> means of its metrics; save, boundary: as in `run`.
    """
    settings, every, watch = training.settings, training.checkpoint_every, Stopwatch()
    with Forecast(training.epochs, STEPS, settings.patience is not None) as forecast:
        while training.epoch < training.epochs and not out_of_patience(settings, training.best, out.rows):
            epoch = training.epoch
            forecast.begin_epoch(epoch)
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
            forecast.end_epoch()
            if not last:
                boundary()
    if training.epoch < training.epochs:
        log(f'no better validation Recall in {settings.patience} evaluations: stopping early')


def start(argv, company):
    settings, like = read_line(argv, MODELS, combined=False)  # of a run that is resumed, what it has counts, too
    if settings.recommend is not None and company.first:
        check_target(settings.recommend)
    if settings.load is not None:
        if company.first:
            recommend_from(settings.load, argv)
        return
    with company.folder(settings.out or f'results/{settings.data}/{settings.model}-seed{settings.seed}') as out:
        work = company.from_first(lambda: take_up(out, argv, MODELS, like), argv)
        if work is None:
            if settings.recommend is not None and company.first:
                recommend_from(out.path, argv)
            return
        settings, state = work
        if company.size > 1 and not trained_by_gradients(settings.model):
            log(f'{settings.model} has no gradients to share: one process works, the others have nothing to do')
            company = company.first_alone()
            if company is None:
                return
        run(settings, out, state, company)


def trained_by_gradients(model):
    return model not in MODELS or MODELS[model].flags >= TRAINED


def main(argv=None):
    """Run the command line; its exit code."""
    keep_freed_memory()
    return run_in_company('Main.py', lambda company: start(argv, company),
                          'lower --batch, --tstBat, --nce_chunk, --latdim or --dims')


if __name__ == '__main__':
    sys.exit(main())
