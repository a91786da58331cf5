"""Table II: the published figures beside our runs, both protocols: python figures/performance.py [RUN ...]

Without runs given: every finished run below results/. Runs of the same model, data set and settings but for the seed
make one row. Writes performance.csv, performance.md (and the README's table) and performance.png. Published cells that
cannot be are marked with !: Precision@K below Recall@K / K, or, with one test item per user, not equal to it.
"""
import csv
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from figures.curves import BLUE, GREY, ORANGE, spread
from Utils.Tables import FIGURES, ROOT, write_csv, write_markdown

K = 20
ROUNDING = 0.5e-4  # of a published figure of four decimals
METRICS = ('recall', 'ndcg', 'precision')
UNTOLD = ('seed', 'out', 'data_dir', 'device', 'gpu', 'nce_chunk', 'recommend', 'load', 'tstBat')
TOLD = ('latdim', 'cl_method', 'guidance', 'modalities', 'epoch')  # in the table
LEAST_EPOCHS = 20  # shorter runs are for other tables


def impossible(recall, precision, one_test_item):
    """Whether a published pair cannot come from averages over the same users, rounding allowed for."""
    too_low = precision + ROUNDING < (recall - ROUNDING) / K
    too_high = precision - ROUNDING > (recall + ROUNDING) / K
    return too_low or (one_test_item and too_high)


def read_csv(name):
    with open(FIGURES / name, newline='') as file:
        return list(csv.DictReader(file))


def published():
    folders = {row['dataset']: row['folder'] for row in read_csv('published_table1.csv')}
    single = {folders[row['data set']] for row in read_csv('dataset.csv') if row['most test items of a user'] == '1'}
    for row in read_csv('published_table2.csv'):
        recall, ndcg, precision = (float(row[name]) for name in METRICS)
        wrong = impossible(recall, precision, row['dataset'] in single)
        yield {'data set': row['dataset'], 'model': row['model'], 'published R / N / P@20':
               f'{recall:.4f} / {ndcg:.4f} / {precision:.4f}' + (' !' if wrong else ''), 'recall': recall}


def ours(paths):
    """Rows of our runs, those that differ in the seed alone together."""
    groups = {}
    for path in paths:
        result = json.loads((path / 'result.json').read_text())
        settings = result['config']['settings']
        if settings['epoch'] < LEAST_EPOCHS:
            continue
        widths = result['config']['dataset']['modalities']
        settings = settings | {'modalities': list(settings['modalities'] or widths)}
        key = json.dumps({name: value for name, value in settings.items() if name not in UNTOLD}, sort_keys=True)
        groups.setdefault((result['dataset'], settings['model'], key), []).append(result)
    for (dataset, model, key), results in sorted(groups.items()):
        settings = json.loads(key)
        told = ', '.join(f'{name} {"+".join(value) if isinstance(value, list) else value}'
                         for name, value in ((name, settings[name]) for name in TOLD))
        chosen = {'best on test R / N / P@20': [result['best_test'] for result in results],
                  'selected on validation R / N / P@20': [result['best_val']['test'] for result in results
                                                          if result['best_val']]}
        yield {'data set': dataset, 'model': model, 'settings': told, 'seeds': len(results),
               **{name: ' / '.join(spread([metrics[metric] for metrics in found]) for metric in METRICS)
                  for name, found in chosen.items()},
               'recalls': {name: [metrics['recall'] for metrics in found] for name, found in chosen.items()}}


def draw(rows):
    datasets = list(dict.fromkeys(row['data set'] for row in rows))
    figure, panels = plt.subplots(1, len(datasets), figsize=(3.6 * len(datasets), 5), squeeze=False)
    for panel, dataset in zip(panels[0], datasets, strict=True):
        mine = [row for row in rows if row['data set'] == dataset]
        for height, row in enumerate(reversed(mine)):
            if 'recall' in row:
                wrong = row['published R / N / P@20'].endswith('!')
                panel.plot(row['recall'], height, 'x' if wrong else 'o', color=GREY)
            for colour, marker, recalls in zip((ORANGE, BLUE), 'sD', row.get('recalls', {}).values(), strict=False):
                panel.plot(recalls, [height] * len(recalls), marker, color=colour, ms=5)
        panel.set_yticks(range(len(mine)), [row['model'] + (' (ours)' if 'recalls' in row else '')
                                            for row in reversed(mine)], fontsize=7)
        panel.set(title=dataset, xlabel='test Recall@20')
        panel.grid(alpha=0.3)
    handles = [plt.Line2D([], [], ls='', marker=marker, color=colour, label=label) for marker, colour, label in
               (('o', GREY, 'published'), ('x', GREY, 'published, cannot be'), ('s', ORANGE, 'ours, best on test'),
                ('D', BLUE, 'ours, selected on validation'))]
    figure.legend(handles=handles, loc='lower center', ncol=4, fontsize=8)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(FIGURES / 'performance.png', dpi=150, facecolor='white')


def main(paths):
    paths = [Path(path) for path in paths] or sorted(path.parent for path in (ROOT / 'results').glob('**/result.json'))
    rows = [*published(), *ours(paths)]
    order = list(dict.fromkeys(row['data set'] for row in rows))
    rows.sort(key=lambda row: order.index(row['data set']))
    columns = ('data set', 'model', 'published R / N / P@20', 'settings', 'seeds', 'best on test R / N / P@20',
               'selected on validation R / N / P@20')
    table = [{column: row.get(column, '') for column in columns} for row in rows]
    write_csv(FIGURES / 'performance.csv', table)
    print(write_markdown('performance', table))
    draw(rows)
    if not any('recalls' in row for row in rows):
        print(f'No finished run of {LEAST_EPOCHS} or more epochs in results/: python Main.py makes one (README).')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
