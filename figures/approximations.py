"""What --cl_sample and --precision bf16 change, beside the exact runs: python figures/approximations.py

    --run --data_dir DIR [--seeds S ...]    make the runs in results/tiktok that are missing

Test Recall by epoch with the contrast over all rows and over a sample of them; the mean losses of the first epoch, and
the Recall after it, with float32 and with bfloat16. Writes approximations.png, and the tables cl_sample and precision
as .csv and .md. Of the precisions only the first epoch is read, so that a run that was stopped after it will do.
"""
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.SavedRuns import find_runs, read_metrics
from Experiments.Tables import spread
from figures.runs import BASE, command_line, jobs_of, none_there, provide, read_command_line, write_tables
from figures.style import BLUE, COLOURS, MARKERS, save
from Utils.Command import run_command
from Utils.Errors import InputError

NAME = 'approximations'
ROOT = Path('results/tiktok')
CONTRASTS = {'all rows': ('cl1-d64', f'{BASE} --cl_method 1 --epoch 4'),
             '`--cl_sample 1024`': ('cl1-d64-sample1024', f'{BASE} --cl_method 1 --epoch 4 --cl_sample 1024')}
PRECISIONS = {'highest': ('precision/highest', f'{BASE} --cl_method 0 --epoch 10'),
              'bf16': ('precision/bf16', f'{BASE} --cl_method 0 --epoch 10 --precision bf16')}
COLUMNS = {'diffusion_image': 'denoiser loss, image', 'diffusion_audio': 'denoiser loss, audio', 'bpr': 'BPR',
           'cl': 'contrast', 'test_recall': 'test Recall@20', 'seconds': 'seconds'}


def columns_of(precisions):
    return {name: label for name, label in COLUMNS.items() if all(name in epoch for epoch in precisions.values())}


def draw(contrasts, precisions, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3))
    for colour, marker, (name, runs) in zip(COLOURS, MARKERS, contrasts.items(), strict=False):
        length = min(len(run.epochs) for run in runs)
        values = np.array([[epoch['test_recall'] for epoch in run.epochs[:length]] for run in runs])
        left.fill_between(range(length), values.min(0), values.max(0), color=colour, alpha=0.25, lw=0)
        left.plot(range(length), values.mean(0), color=colour, marker=marker,
                  label=f'{name.strip("`")} (mean and range of {len(runs)})')
    left.set(xlabel='epoch', ylabel='test Recall@20', title='contrast over')
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend()
    names = [name for name in reversed(columns_of(precisions)) if name != 'seconds']
    change = [100 * (precisions['bf16'][name] / precisions['highest'][name] - 1) for name in names]
    right.axvline(0, color='black', lw=1)
    right.plot(change, range(len(names)), 'o', color=BLUE)
    right.set_yticks(range(len(names)), [COLUMNS[name] for name in names])
    right.set(xlabel='change by bf16, first epoch, one seed (%)', title='bf16 beside float32')
    right.margins(0.1)
    figure.tight_layout()
    save(figure, path)


def main(argv=None):
    options, flags = read_command_line(command_line(NAME, __doc__, ROOT, seeds=(421, 1, 2)), argv)
    jobs = jobs_of(dict((*CONTRASTS.values(), *PRECISIONS.values())), options, flags)
    once = [options.root / folder for folder, _ in PRECISIONS.values()]  # one seed is enough, and its first epoch
    provide([job for job in jobs if job.folder.parent not in once or (
                 job.folder.name == f'seed{options.seeds[0]}'
                 and (job.finished() or not (job.folder / 'metrics.csv').is_file()))],
            NAME, options, flags)
    contrasts = {name: find_runs(options.root, folder) for name, (folder, _) in CONTRASTS.items()}
    logs = {name: sorted((options.root / folder).glob('seed*/metrics.csv')) for name, (folder, _) in PRECISIONS.items()}
    if not all([*contrasts.values(), *logs.values()]):
        raise none_there(NAME, 'one of ' + ', '.join(str(options.root / folder) for folder, _ in
                                                     (*CONTRASTS.values(), *PRECISIONS.values())))
    seeds = set.intersection(*({path.parent.name for path in paths} for paths in logs.values()))
    if not seeds:
        raise InputError('The runs of the two precisions have no seed in common: make one with the seed of the other.')
    precisions = {name: read_metrics(next(path for path in paths if path.parent.name == min(seeds)))[0]
                  for name, paths in logs.items()}
    epochs = range(min(len(run.epochs) for runs in contrasts.values() for run in runs))
    write_tables('cl_sample', [
        {'contrast over': name, 'seeds': len(runs),
         **{f'epoch {epoch}': spread(run.epochs[epoch]['test_recall'] for run in runs) for epoch in epochs}}
        for name, runs in contrasts.items()], options)
    write_tables('precision', [{'`--precision`': name, **{label: f'{epoch[column]:.4g}'
                                                          for column, label in columns_of(precisions).items()}}
                               for name, epoch in precisions.items()], options)
    draw(contrasts, precisions, options.to / f'{NAME}.png')


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
