"""MDMNS without each of its parts: python figures/ablation.py

    --run --data_dir DIR [--seeds S ...]    make the runs in results/tiktok/ablation that are missing

A folder per variant; ablation.png, .csv and .md show test Recall and NDCG of those that are there, by their folders'
names. Each modality is taken alone and, where there are three or more, left out; of two, one alone is the other left
out. Without the modal graphs means ris_adj_lambda 0, which also leaves out the fused output's product of E with the
interaction graph (SPEC section 5).
"""
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.SavedRuns import differences, find_runs
from Experiments.Tables import spread
from Experiments.Words import title_of
from figures.runs import (
    BASE,
    MULTI_LEVEL,
    command_line,
    jobs_of,
    none_there,
    provide,
    read_command_line,
    write_tables,
)
from figures.style import COLOURS, GREY, save
from Params import parse
from Utils.Command import run_command
from Utils.Errors import InputError
from Utils.Utils import noise_levels

NAME = 'ablation'
ROOT = Path('results/tiktok/ablation')
EPOCHS = '--epoch 10'
CONTRAST_FLAGS = {'cl_method', 'cl_sample'}  # may differ from the full model's in any variant


def variants(flags):
    """folder -> (part of the model, label, flags of its own), for a model with these flags."""
    settings = parse([*BASE.split(), *flags])
    modalities = settings.modalities
    levels = sorted(set(noise_levels(settings.steps)))
    return {
        'full': ('model', 'full: multi-level contrast', MULTI_LEVEL),
        'guidance-none': ('diffusion', 'no guidance', f'{MULTI_LEVEL} --guidance none'),
        'no-modal-graphs': ('diffusion', 'no modal graphs', f'{MULTI_LEVEL} --ris_adj_lambda 0'),
        'no-contrast': ('contrast', 'no contrast', '--cl_method 0 --ssl_reg 0'),
        'cross-modal': ('contrast', 'cross-modal contrast instead', '--cl_method 0'),
        'cross-modal-guidance-none': ('contrast', 'cross-modal, no guidance', '--cl_method 0 --guidance none'),
        'no-noise': ('negatives', 'no noised negatives', f'{MULTI_LEVEL} --noise_levels'),
        **{f'noise-{level:g}': ('negatives', f'noise level {level:g} alone', f'{MULTI_LEVEL} --noise_levels {level:g}')
           for level in levels},
        **{name: ('modalities', f'{name} alone', f'{MULTI_LEVEL} --modalities {name}') for name in modalities
           if len(modalities) > 1},
        **{f'without-{name}': ('modalities', f'without {name}',
                               f'{MULTI_LEVEL} --modalities {" ".join(other for other in modalities if other != name)}')
           for name in modalities if len(modalities) > 2}}


def check_alone(name, flags, run, full):
    """InputError where a variant's run differs from the full model in more than what its flags set."""
    own = {word.lstrip('-') for word in flags.split() if word.startswith('--')} | CONTRAST_FLAGS
    other = set(differences(run, full)) - (own if name != 'full' else set())
    if other:
        raise InputError(f'{run.folder} differs from {full.folder} in {", ".join(sorted(other))}, not in {name} alone: '
                         'make one of them again with the settings of the other.')


def row(part, label, runs, full):
    chosen = [run.test('val') for run in runs]
    return {'part': part, 'variant': label, 'seeds': len(runs),
            **{f'{title}@20': spread(metrics[name] for metrics in chosen)
               for name, title in (('recall', 'Recall'), ('ndcg', 'NDCG'), ('precision', 'Precision'))},
            'Recall@20 less that of full': f'{np.mean(values):+.4f}' if (values := less_full(runs, full)) else '',
            'best on test Recall@20': spread(run.test('test')['recall'] for run in runs)}


def less_full(runs, full):
    """Recall less that of the full model, of each seed that both have; empty for the full model itself."""
    shared = {run.seed: run.test('val')['recall'] for run in full}
    return [run.test('val')['recall'] - shared[run.seed] for run in runs if run.seed in shared and run not in full]


def draw(rows, changes, title, path):
    """changes: of each row, its Recall less that of the full model by seed."""
    figure, panels = plt.subplots(1, 3, figsize=(10.4, 0.3 * len(rows) + 1.6), sharey=True)
    parts = list(dict.fromkeys(row['part'] for row in rows))
    heights = [-place - 0.5 * parts.index(row['part']) for place, row in enumerate(rows)]
    full = next(row for row in rows if row['part'] == 'model')
    drawn = [(f'test {column}', [row[column].values for row in rows], full[column].values)
             for column in ('Recall@20', 'NDCG@20')]
    apart = max(full['Recall@20'].values) - min(full['Recall@20'].values)
    drawn.append(('Recall@20 less that of full, same seed', changes, (-apart, apart)))
    for panel, (label, cells, grey) in zip(panels, drawn, strict=True):
        panel.axvspan(min(grey), max(grey), color=GREY, alpha=0.25, lw=0)
        panel.axvline(np.mean(grey), color=GREY, lw=1)
        for height, row, values in zip(heights, rows, cells, strict=True):
            colour = COLOURS[parts.index(row['part'])]
            if len(values) > 1:
                panel.plot(values, [height] * len(values), '|', color=colour, ms=9)
            if len(values):
                panel.plot(np.mean(values), height, 'o', color=colour, ms=6, mfc=colour if len(values) > 1 else 'white')
        panel.set_xlabel(label)
        panel.locator_params(axis='x', nbins=5)
    panels[0].set_yticks(heights, [f'{row["variant"]} ({row["seeds"]})' for row in rows])
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    save(figure, path)


def main(argv=None):
    options, flags = read_command_line(command_line(NAME, __doc__, ROOT), argv)
    declared = variants(flags)
    provide(jobs_of({name: f'{BASE} {EPOCHS} {own}' for name, (_, _, own) in declared.items()}, options, flags), NAME,
            options)
    found = {name: runs for name in declared if (runs := find_runs(options.root, name))}
    if 'full' not in found:
        raise none_there(NAME, options.root / 'full')
    full = found['full']
    for name, runs in found.items():
        for run in runs:
            check_alone(name, declared[name][2], run, full[0])
    rows = [row(*declared[name][:2], runs, full) for name, runs in found.items()]
    write_tables(NAME, rows, options)
    title = (f'{title_of(full[0])}, epoch chosen on validation (in brackets: seeds; hollow: one seed)\n'
             'grey: mean and range of the full model; right, how far its seeds are apart')
    draw(rows, [less_full(runs, full) for runs in found.values()], title, options.to / f'{NAME}.png')


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
