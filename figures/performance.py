"""Table II: the published figures beside our runs, both protocols: python figures/performance.py

    --runs RUN ...                          of these runs
    --run --data_dir DIR [--seeds S ...]    make the runs that are missing: MDMNS's, and for every model of
                                            Baselines/grids.json a sweep on each of the data sets that are there
    --run --models lightgcn ials --data tiktok --seeds 421    make these alone

Without --runs: MDMNS's runs of `MDMNS` and the baselines' in results/<data>/baselines/<model>/chosen. Runs that differ
in their seed alone make one row; a model that was not run has none of our figures. Published figures are those of
published_table2.csv; an impossible cell of theirs is marked with !: Precision@K below Recall@K / K, or, with one
test item per user, not equal to it. Writes performance.png, .csv and .md, and without --runs grids.csv and .md, every
run of the sweeps, tried.csv and .md, those beside the grids, and suites.csv and .md: what other suites' own code
reaches on TikTok's matrices (other_suites.csv) beside what our sweeps chose there.

Fresh seeds are those that had no part in the choice of a sweep's point.
"""
import re
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.Grids import points_of, read_grids, words_of
from Experiments.SavedRuns import by_settings, find_runs, given_runs, read_json, told
from Experiments.Sources import Several
from Experiments.Tables import FIGURES, PAGES, read_csv, spread, write_csv, write_markdown
from Experiments.Words import labels, what_was_run
from figures.runs import (
    BASE,
    DATA,
    MULTI_LEVEL,
    command_line,
    jobs_of,
    provide,
    read_command_line,
    write_tables,
)
from figures.style import BLUE, GREY, VERMILION, save
from figures.sweeps import add_parts, sweeps
from Main import MODELS
from Params import parse
from Utils.Command import run_command
from Utils.Errors import InputError

NAME = 'performance'
RESULTS = Path('results')
GRIDS = FIGURES.parent / 'Baselines' / 'grids.json'
MDMNS = {'tiktok/mdmns/cl1-50': f'{BASE} {MULTI_LEVEL} --epoch 50',  # the published number of epochs
         'tiktok/mdmns/cl0-50': f'{BASE} --cl_method 0 --epoch 50',
         # the published command on two of its modalities: for a GPU
         'tiktok/mdmns/published': f'{BASE} --latdim 512 --cl_method 1 --epoch 50',
         'tiktok/ablation/full': f'{BASE} {MULTI_LEVEL} --epoch 10',
         'tiktok/ablation/cross-modal': f'{BASE} --cl_method 0 --epoch 10',
         'tiktok/cl0-d64': f'{BASE} --cl_method 0 --epoch 30'}
K = 20
ROUNDING = 0.5e-4  # of a published figure of four decimals
# in the README
SHOWN = ('mdmns', 'diffmm', 'bm3', 'lattice', 'lightgcn', 'sgl', 'ease', 'ials', 'itemknn', 'popularity')
METRICS = ('recall', 'ndcg', 'precision')
BEST, CHOSEN, FRESH = 'best on test', 'selected on validation', 'Recall@20, fresh seeds'
ASIDE = ('label', 'features', 'lacking')  # of a row, for the picture and the pages alone
PROTOCOLS = {'test': BEST, 'val': CHOSEN}


def impossible(recall, precision, one_test_item):
    """Whether a published pair cannot come from averages over the same users, rounding allowed for."""
    too_low = precision + ROUNDING < (recall - ROUNDING) / K
    too_high = precision - ROUNDING > (recall + ROUNDING) / K
    return too_low or (one_test_item and too_high)


def published():
    """The rows of the paper's table: data set, model, its three figures, and whether they are impossible."""
    folders = {row['dataset']: row['folder'] for row in read_csv(FIGURES / 'published_table1.csv')}
    single = {folders[row['data set']] for row in read_csv(FIGURES / 'dataset.csv')
              if row['most test items of a user'] == '1'}
    for row in read_csv(FIGURES / 'published_table2.csv'):
        figures = {f'published {name}': float(row[name]) for name in METRICS}
        yield {'data set': row['dataset'], 'model': row['model'], **figures,
               'impossible': '!' if impossible(figures['published recall'], figures['published precision'],
                                              row['dataset'] in single) else ''}


def key(name):
    """A published model's name as --model has it: MF-BPR is mfbpr."""
    return ''.join(letter for letter in name.lower() if letter.isalnum())


def model_name(name):
    """A model's name in the paper, or, of a model that it lacks, in our code."""
    paper = {key(row['model']): row['model'] for row in read_csv(FIGURES / 'published_table2.csv')}
    return paper.get(name, MODELS[name].__name__)


def run_in_words(run):
    """What was run: modalities, if any are used, and settings; of a sweep's choice what was chosen, of how many points,
    and whether its grid was moved since the best point lay on an edge (what all points have in common is in
    Baselines/grids.json)."""
    model = run.settings['model']
    swept = run.folder.parent.parent / 'sweep.json'
    if run.folder.parent.name == 'chosen' and swept.is_file():
        words = chosen_settings(run, swept)
    elif MODELS[model].closed_form:
        words = what_was_run(run, ())
    else:
        words = what_was_run(run, ('latdim', 'cl_method') if model == 'mdmns' else ('latdim',))
    features = features_of(run)
    return f'{features}, {words}' if features else words


def features_of(run):
    return '+'.join(run.settings['modalities']) if MODELS[run.settings['model']].needs_features else ''


def chosen_settings(run, path):
    """The chosen point of a sweep.json in words; InputError where the run is not of it."""
    swept = read_json(path, ('chosen', 'finished'))
    point = swept['chosen']['settings']
    wanted = told(asdict(parse(['--model', run.settings['model'], *words_of(point)], combined=False)))
    if any(run.settings.get(name) != wanted.get(name) for name in point):
        raise InputError(f'{run.folder} is not of the point that {path} names as chosen: the sweep is not finished. '
                         f'Finish it, or remove {run.folder.parent} and run it again.')
    moved = read_json(GRIDS).get('moved', {}).get(run.dataset, {}).get(run.settings['model'], 0)
    if moved and swept['finished'] != len(points_of(read_grids(GRIDS, run.settings['model'], run.dataset)[0])):
        moved = 0  # what was run is not, or not yet, the moved grid
    tried = f'of {swept["finished"]}{", moved" if moved else ""}{" twice" if moved == 2 else ""}'
    return f'{point_of(point)} ({tried})' if point else 'nothing to choose'


def point_of(settings):
    return ', '.join(f'{name} {value}' for name, value in settings.items())


def grid_rows(root, study='baselines', title='model'):
    """A row for every run of the sweeps in root/<data>/<study>/<name>, whose name stands under the title."""
    for swept in sorted(root.glob(f'*/{study}/*/sweep.json')):
        chosen = read_json(swept)['chosen']['settings']
        path = swept.with_name('sweep.csv')
        for row in read_csv(path):
            settings = dict(list(row.items())[:list(row).index('seed')])
            yield {'data set': path.parts[-4], title: path.parts[-2], 'settings': point_of(settings),
                   **{name: row[name] for name in ('seed', 'epochs', 'epoch')},
                   **{f'{split} Recall@20': f'{float(row[f"{split}_recall"]):.4f}' for split in ('val', 'test')},
                   'seconds': f'{float(row["seconds"]):.0f}', 'chosen': 'yes' if settings == chosen else ''}


def ours(groups, names):
    """A row of our figures per group of runs; names: what tells it from others of the same model."""
    for group, name in zip(groups, names, strict=True):
        epochs = sorted({run.n_epochs for run in group})
        yield {'data set': group[0].dataset, 'model': group[0].settings['model'], 'label': name,
               'settings': run_in_words(group[0]), 'epochs': '-'.join(map(str, dict.fromkeys((epochs[0], epochs[-1])))),
               'seeds': len(group), 'features': features_of(group[0]),
               **{f'{title} {metric}': spread(run.test(split)[metric] for run in group if run.test(split))
                  for split, title in PROTOCOLS.items() for metric in METRICS},
               FRESH: fresh_recall(group)}


def fresh_recall(runs):
    """Recall@20 of the seeds that had no part in the choice of the sweep's point; '' where all or none had."""
    fresh = [run for run in runs if not run.chose]
    return spread(run.test('val')['recall'] for run in fresh) if 0 < len(fresh) < len(runs) else ''


def told_apart(groups):
    """A label for each group of a model's runs; of a sweep's choice, that it was tuned."""
    tuned = [group[0].folder.parent.name == 'chosen' for group in groups]
    others = [group for group, swept in zip(groups, tuned, strict=True) if not swept]
    words = iter(labels(others, longest=0) if len(others) > 1 else ['untuned' if any(tuned) else ''] * len(others))
    return [('tuned' if others else '') if swept else next(words) for swept in tuned]


def merged(paper, groups):
    """The paper's rows, ours in that of the same model; further ones of that model below, and then models that the
    paper lacks, those with features last."""
    places = {}
    for group in groups:
        places.setdefault((group[0].dataset, group[0].settings['model']), []).append(group)
    found = {place: list(ours(those, told_apart(those))) for place, those in places.items()}
    rows = []
    for row in paper:
        first, *others = found.pop((row['data set'], key(row['model'])), [{}])
        rows += [{**first, **row}, *({**other, 'model': row['model']} for other in others)]
    rows += [{**row, 'model': model_name(row['model']), 'lacking': True}
             for place in sorted(found, key=lambda place: MODELS[place[1]].needs_features) for row in found[place]]
    order = list(dict.fromkeys(row['data set'] for row in rows))
    return sorted(rows, key=lambda row: order.index(row['data set']))


def place(panel, height, row):
    """Draw what was published and what was run of one model. An open marker around a filled one: both show where they
    are equal."""
    if 'published recall' in row:
        panel.plot(row['published recall'], height, 'x' if row['impossible'] else 'o', color=GREY, ms=5)
    chosen = row[f'{CHOSEN} recall'].values
    if chosen:
        panel.plot([min(chosen), max(chosen)], [height] * 2, color=BLUE, lw=3, alpha=0.35, solid_capstyle='butt')
        panel.plot(mean(chosen), height, 'D', color=BLUE, ms=3.5)
    panel.plot(mean(row[f'{BEST} recall'].values), height, 's', color=VERMILION, mfc='none', ms=7)


def draw(rows, path):
    """A panel for each data set with the models that were run there."""
    rows = [row for row in rows if 'seeds' in row]
    datasets = list(dict.fromkeys(row['data set'] for row in rows))
    mdmns = {row['data set']: row['published recall'] for row in published() if key(row['model']) == 'mdmns'}
    facts = {row['folder']: row for row in read_csv(FIGURES / 'published_table1.csv')}
    most = max(sum(row['data set'] == dataset for row in rows) for dataset in datasets)
    figure, panels = plt.subplots(1, len(datasets), figsize=(3.5 * len(datasets) + 0.6, 0.21 * most + 1.7),
                                  squeeze=False)
    for panel, dataset in zip(panels[0], datasets, strict=True):
        mine = [row for row in rows if row['data set'] == dataset]
        for height, row in enumerate(mine):
            place(panel, height, row)
        title = dataset
        if dataset in mdmns:
            panel.axvline(mdmns[dataset], color=GREY, lw=1.2, ls=':')
            title += (f'\ndotted: MDMNS as published\n(d = {facts[dataset]["mdmns_latdim"]}, '
                      f'{len(facts[dataset]["modalities"].split(","))} modalities)')
        if features := next((row['features'] for row in mine if row['features']), ''):
            title += f'\nours: with {features.replace("+", " + ")}'
        panel.set_yticks(range(len(mine)), [short_name(row) for row in mine], fontsize=7)
        panel.set_ylim(len(mine) - 0.4, -0.6)
        panel.set_title(title, fontsize=8)
        panel.set_xlabel('test Recall@20')
    handles = [plt.Line2D([], [], ls='', marker=marker, color=colour, mfc=fill, label=label, ms=size)
               for marker, colour, fill, size, label in (
                   ('o', GREY, GREY, 5, 'published'), ('x', GREY, GREY, 5, 'published, impossible value'),
                   ('s', VERMILION, 'none', 7, 'ours, best on test'),
                   ('D', BLUE, BLUE, 3.5, 'ours, selected on validation (mean, range; in brackets: seeds)'))]
    figure.legend(handles=handles, loc='lower center', ncol=4, frameon=False)
    figure.tight_layout(rect=(0, 0.35 / figure.get_size_inches()[1], 1, 1))
    for panel in panels[0]:  # rows as high as in the fullest panel
        left, bottom, width, height = panel.get_position().bounds
        share = (len(panel.get_yticks()) + 0.2) / (most + 0.2)
        panel.set_position((left, bottom + height * (1 - share), width, height * share))
    save(figure, path)


def short_name(row):
    label = re.sub(r'epoch (\d+)', r'\1 epochs', row['label'])
    return f'{row["model"]}{f": {label}" if label else ""} ({row["seeds"]})'


def summary(rows):
    """The README's short table: some models and, of each data set, our best; per data set the published Recall@20 and
    ours, that of the row beside the published figure."""
    first = {}
    for row in rows:
        first.setdefault((row['data set'], row['model']), row)
    titles = {row['folder']: row['dataset'].removeprefix('Amazon-')
              for row in read_csv(FIGURES / 'published_table1.csv')}
    best = {max((chosen_recall(row), model) for (dataset, model), row in first.items() if dataset == folder)
            for folder in titles}
    best = {model for recall, model in best if recall}
    models = [model for model in dict.fromkeys(row['model'] for row in rows) if key(model) in SHOWN or model in best]
    return [{'model': model, **{f'{title}: {name}': cell for folder, title in titles.items()
                                for name, cell in two_cells(first.get((folder, model), {})).items()}}
            for model in sorted(models, key=lambda model: key(model) != 'mdmns')]


def two_cells(row):
    paper = f'{row["published recall"]:.4f} {row["impossible"]}'.strip() if 'published recall' in row else ''
    ours = f'{row[f"{CHOSEN} recall"]} ({row["seeds"]})' if 'seeds' in row else ''
    return {'published': paper, 'ours (seeds)': ours}


def chosen_recall(row):
    """Of a row of the table; 0 where nothing was run, or nothing chosen on validation."""
    return mean(getattr(row.get(f'{CHOSEN} recall'), 'values', ()) or (0,))


def default_runs(options, flags):
    wanted = (not options.models or 'mdmns' in options.models) and (not options.data or DATA in options.data)
    jobs = jobs_of(MDMNS, options, flags) if wanted else []
    datasets = list(dict.fromkeys(row['dataset'] for row in read_csv(FIGURES / 'published_table2.csv')))
    found = list(sweeps(options, flags, GRIDS, 'baselines', datasets)) if options.run else []
    if (options.models or options.data) and not jobs + found:
        raise InputError('Of these models none is run on these data sets: the log says which need features, and '
                         '--data_dir which data sets are there.')
    provide([*jobs, *(job for sweep in found for job in sweep.jobs)], NAME, options, flags, Several(found))
    return [run for pattern in (*MDMNS, '*/baselines/*/chosen') for run in find_runs(options.root, pattern)]


def line_of(row):
    """A row of the table as the pages have it: three metrics to a cell."""
    paper = ' / '.join(f'{row[f"published {metric}"]:.4f}' for metric in METRICS) if 'impossible' in row else (
        'not in the paper' if 'lacking' in row else '')
    return {'data set': row['data set'], 'model': row['model'],
            'published R / N / P@20': f'{paper} {row.get("impossible", "")}'.strip(),
            **{name: row.get(name, '') for name in ('settings', 'epochs', 'seeds')},
            **{f'{title} R / N / P@20': ' / '.join(str(row[f'{title} {metric}']) for metric in METRICS).strip(' /')
               if 'seeds' in row else '' for title in PROTOCOLS.values()},
            FRESH: row.get(FRESH, '')}


def suites(rows):
    """Rows of other_suites.csv, one seed each, beside the row of what our sweep of that model chose on TikTok."""
    swept = {row['model']: row for row in rows if row['data set'] == DATA and '(of ' in row.get('settings', '')}
    for other in read_csv(FIGURES / 'other_suites.csv'):
        name = model_name(other['model'])
        ours = swept.get(name, {})
        yield {'model': name, 'suite': other['suite'], 'its points': other['points'],
               'its Recall@20': other['recall'], 'its NDCG@20': other['ndcg'], 'our seeds': ours.get('seeds', ''),
               **{f'our {title}@20': ours.get(f'{CHOSEN} {metric}', '')
                  for metric, title in (('recall', 'Recall'), ('ndcg', 'NDCG'))}}


def main(argv=None):
    parser = command_line(NAME, __doc__, RESULTS, seeds=(421, 1, 2), runs=True, variants=False)
    add_parts(parser)
    options, flags = read_command_line(parser, argv)
    runs = given_runs(options.runs) if options.runs else default_runs(options, flags)
    rows = merged(published(), by_settings(runs))
    write_tables(NAME, [{name: value for name, value in row.items() if name not in ASIDE}
                        for row in rows], options, [line_of(row) for row in rows])
    if not options.runs and (grids := list(grid_rows(options.root))):
        write_csv(options.to / 'grids.csv', grids)
        write_markdown('grids', grids, options.to, PAGES if options.publish else ())
        if tried := [{name: cell for name, cell in row.items() if name != 'chosen'}
                     for row in grid_rows(options.root, 'tried', 'tried')]:
            write_tables('tried', tried, options)
        write_tables('suites', list(suites(rows)), options)
    if runs:
        write_markdown('summary', summary(rows), options.to, PAGES if options.publish else ())
        draw(rows, options.to / f'{NAME}.png')


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
