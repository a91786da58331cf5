"""MDMNS beyond the release, each flag alone and together with others: python figures/variants.py

    --run --data_dir DIR [--seeds S ...]    make the runs in results/tiktok/variants that are missing

A folder per variant; variants.csv and .md have a row for each, empty where no run is there: test Recall and NDCG at the
epoch chosen on validation, Recall less that of `released` with the same seeds, with an interval and p by bootstrap over
users, p after Holm's correction for all variants, and an epoch as a multiple of that of `released`, as figures/costs.py
has measured it.
"""
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.SavedRuns import find_runs
from Experiments.Tables import FIGURES, read_csv, spread
from figures.ablation import EPOCHS, check_alone, less_full
from figures.runs import BASE, MULTI_LEVEL, command_line, jobs_of, provide, read_command_line, write_tables
from figures.significance import compared, corrected, testable
from Utils.Command import run_command

NAME = 'variants'
ROOT, COSTS = Path('results/tiktok/variants'), FIGURES / 'variants_cost.csv'
SOFTMAX = '--loss softmax'
ITEMS = '--item_lambda 0.5'
FRESH = '--rebuild_from new --rebuild_k 4 --rebuild_weights sample'
# folder -> (what it is about, flags beside those of the released setting)
VARIANTS = {
    'released': ('released', ''),
    'softmax': ('loss', SOFTMAX),
    'softmax-pop': ('loss', f'{SOFTMAX} --loss_pop 0.5'),
    'fused-trained': ('fused', '--fused trained'),
    'fused-joint': ('fused', '--fused joint'),
    'fused-scored': ('fused', '--fused trained --score fused'),
    'layers-mean': ('layers', '--layers mean'),
    'decay-batch': ('decay', '--decay batch --reg 1e-2'),
    'decay-outputs': ('decay', '--decay outputs --reg 1e-2'),
    'items': ('item graphs', ITEMS),
    'guidance-none': ('guidance', '--guidance none'),
    'guidance-learned': ('guidance', '--guidance learned'),
    'guidance-profile': ('guidance', '--guidance profile'),
    'rebuilt-new': ('modal graphs', FRESH),
    'rebuilt-weighed': ('modal graphs', '--rebuild_k 4 --rebuild_weights sample'),
    'rebuilt-noised': ('modal graphs', '--sampling_steps 5'),
    # the model of the figure: both parts trained, the fused output scored
    'drawn': ('together', '--guidance learned --fused trained --score fused'),
    'joint-softmax': ('together', f'{SOFTMAX} --fused joint'),
    'joint-softmax-items': ('together', f'{SOFTMAX} --fused joint {ITEMS}'),
    'joint-softmax-items-new': ('together', f'{SOFTMAX} --fused joint {ITEMS} --guidance learned {FRESH}'),
    # without diffusion: what is left of a gain that is the loss's
    'joint-softmax-items-no-modal': ('together', f'{SOFTMAX} --fused joint {ITEMS} --guidance none --ris_adj_lambda 0')}


def flags_of(name):
    return f'{MULTI_LEVEL} {VARIANTS[name][1]}'.strip()


def measured():
    """The rows of what figures/costs.py has measured."""
    return read_csv(COSTS) if COSTS.is_file() else []


def costs(table):
    """variant -> an epoch as a multiple of the released setting's, as figures/costs.py measured it."""
    return {row['variant']: row['times the released'] for row in measured() if row['table'] == table}


def row(about, name, flags, runs, reference, result, cost, of='released'):
    """result: as in `beside`; cost: as in `costs`; of: what the runs of the reference are called."""
    chosen = [metrics for run in runs if (metrics := run.test('val'))]
    less = less_full(runs, reference)
    return {'about': about, 'variant': name, 'flags': f'`{flags}`' if flags else '', 'seeds': len(runs) or '',
            'validation Recall@20': spread(run.result['best_val']['val']['recall'] for run in runs),
            **{f'{title}@20': spread(metrics[key] for metrics in chosen)
               for key, title in (('recall', 'Recall'), ('ndcg', 'NDCG'))},
            f'Recall@20 less that of {of} (95 % interval)': (
                '{:+.4f} ({:+.4f} to {:+.4f})'.format(*(0 - round(result[key], 4)
                                                        for key in ('difference', 'high', 'low')))
                if result else f'{np.mean(less):+.4f}' if less else ''),
            'p (Holm)': f'{result["p bootstrap (Holm)"]:.2g}' if result else '',
            'epoch, times the released': cost or ''}


def beside(found, reference='released'):
    """name -> the reference's comparison with it, where both have runs with figures of every user."""
    kept = testable({name: {run.seed: run for run in runs} for name, runs in found.items()})
    rows = corrected(list(compared(kept, reference))) if reference in kept else []
    return {row['beside']: row for row in rows}


def main(argv=None):
    options, flags = read_command_line(command_line(NAME, __doc__, ROOT), argv)
    provide(jobs_of({name: f'{BASE} {EPOCHS} {flags_of(name)}' for name in VARIANTS}, options, flags,
                    changed=('reg',)), NAME, options, flags)
    found = {name: find_runs(options.root, name) for name in VARIANTS}
    for name, runs in found.items():
        for run in runs if found['released'] else ():
            check_alone('full' if name == 'released' else name, flags_of(name), run, found['released'][0])
    results = beside({name: runs for name, runs in found.items() if runs})
    cost = costs(NAME)
    write_tables(NAME, [row(VARIANTS[name][0], name, VARIANTS[name][1], runs, found['released'],
                            results.get(name), cost.get(name))
                        for name, runs in found.items()], options)


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
