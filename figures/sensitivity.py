"""Test Recall of MDMNS as one hyper-parameter at a time leaves its base value: python figures/sensitivity.py

    --run --data_dir DIR [--seeds S ...]    make the runs in results/tiktok/sensitivity that are missing

The base run is in root/base/seed<S>, each other one in root/<flag>=<value>/seed<S>, the words of a value joined by `_`.
What was run is read from the runs' config.json: any run that differs from the base in exactly one of the flags of
`VALUES` is drawn, with any value. Runs beside the root with the base's settings and other seeds show, in grey, how much
the seed alone changes. Writes sensitivity.png, .csv and .md.
"""
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.SavedRuns import by_settings, differences, find_runs
from Experiments.Tables import spread
from Experiments.Words import text_of, title_of
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
from figures.style import BLUE, GREY, VERMILION, save
from Utils.Command import run_command
from Utils.Utils import noise_levels

NAME = 'sensitivity'
ROOT = Path('results/tiktok/sensitivity')
EPOCHS = '--epoch 4'
VALUES = {  # beside the base's
    'steps': ('2', '20'), 'latdim': ('16', '128'), 'temp': ('0.1', '1'), 'ssl_reg': ('1e-3', '1e-1'),
    'e_loss': ('0.01', '1'), 'keepRate': ('0.2', '1'), 'gnn_layer': ('0', '2'),
    'ris_lambda': ('0', '1'), 'ris_adj_lambda': ('0', '1'), 'rebuild_k': ('2', '4'),
    'noise_levels': ('0 0 0.5 1', '0 0 2 4')}


def variants():
    points = {f'{flag}={value.replace(" ", "_")}': f'--{flag} {value}' for flag, values in VALUES.items()
              for value in values}
    return {name: f'{BASE} {MULTI_LEVEL} {EPOCHS} {own}' for name, own in {'base': '', **points}.items()}


def curves(base, runs):
    """flag -> [(value, runs with it)] by value, the base's among them, of runs that differ from it in one flag."""
    points = {}
    for group in by_settings(runs):
        changed = differences(group[0], base[0])
        if len(changed) == 1 and (flag := next(iter(changed))) in VALUES:
            points.setdefault(flag, []).append((changed[flag], group))
    return {flag: sorted([(value_of(base[0], flag), base), *points[flag]], key=lambda point: point[0])
            for flag in VALUES if flag in points}


def value_of(run, flag):
    value = run.settings[flag]
    return [float(level) for level in noise_levels(run.settings['steps'])] if value is None else value


def others_like(base, folder):
    """The base's runs, and those of its settings in folder/*/seed<S>: how much the seed alone changes."""
    seeds = {run.seed: run for run in find_runs(folder) if not differences(run, base[0])}
    return list((seeds | {run.seed: run for run in base}).values())


def draw(found, base, like, path):
    figure, panels = plt.subplots(3, 4, figsize=(8.6, 6.4), sharey=True)
    panels = panels.ravel()
    reference = [run.test('val')['recall'] for run in like]
    for panel, (flag, points) in zip(panels, found.items(), strict=False):
        panel.axhspan(min(reference), max(reference), color=GREY, alpha=0.25, lw=0)
        recalls = [[run.test('val')['recall'] for run in group] for _, group in points]
        means = [np.mean(values) for values in recalls]
        panel.plot(range(len(points)), means, 'o-', color=BLUE, mfc='white')
        panel.fill_between(range(len(points)), *zip(*((min(values), max(values)) for values in recalls), strict=True),
                           color=BLUE, alpha=0.25, lw=0)
        for place, values in enumerate(recalls):
            if len(values) > 1:
                panel.plot(place, means[place], 'o', color=BLUE)
        at = [group is base for _, group in points].index(True)
        panel.plot(at, means[at], 'D', color=VERMILION, ms=7, mfc=VERMILION if len(base) > 1 else 'white')
        panel.set_xticks(range(len(points)), [text_of(value) for value, _ in points],
                         fontsize=7 if flag == 'noise_levels' else 8)
        panel.set_xlim(-0.4, len(points) - 0.6)
        panel.set_title(flag)
    for panel in panels[len(found):]:
        panel.set_axis_off()
    seeds = ', '.join(str(run.seed) for run in sorted(like, key=lambda run: run.seed))
    handles = [plt.Line2D([], [], ls='', marker='D', color=VERMILION, mfc='white', ms=7, label='base'),
               plt.Line2D([], [], marker='o', color=BLUE, mfc='white', label='one value changed')]
    if len(like) > 1:
        handles.append(plt.Rectangle((0, 0), 1, 1, color=GREY, alpha=0.25, lw=0,
                                     label=f"the base's range\nover seeds {seeds}"))
    where = {'loc': 'center', 'bbox_to_anchor': (0.5, 0.5)} if len(found) < len(panels) else {'loc': 'best'}
    panels[-1].legend(handles=handles, frameon=False, **where)
    for panel in panels[::4]:
        panel.set_ylabel('test Recall@20')
    several = any(len(group) > 1 for points in found.values() for _, group in points)
    figure.suptitle(f'{title_of(base[0])}, epoch chosen on validation; hollow: one seed ({base[0].seed})'
                    f'{", blue: range over several" if several else ""}', fontsize=9)
    figure.tight_layout()
    save(figure, path)


def main(argv=None):
    options, flags = read_command_line(command_line(NAME, __doc__, ROOT), argv)
    provide(jobs_of(variants(), options, flags), NAME, options)
    base = find_runs(options.root, 'base')
    found = curves(base, [run for run in find_runs(options.root) if run.folder.parent.name != 'base']) if base else {}
    if not found:
        raise none_there(NAME, f'{options.root / "base"}, or none beside it')
    rows = [{'flag': flag, 'value': text_of(value), 'base': 'yes' if group is base else '', 'seeds': len(group),
             'Recall@20': spread(run.test('val')['recall'] for run in group),
             'NDCG@20': spread(run.test('val')['ndcg'] for run in group),
             'best on test Recall@20': spread(run.test('test')['recall'] for run in group)}
            for flag, points in found.items() for value, group in points]
    write_tables(NAME, rows, options)
    draw(found, base, others_like(base, options.root.parent), options.to / f'{NAME}.png')


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
