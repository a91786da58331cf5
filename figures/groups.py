"""Recall by user activity and item popularity, cold items apart: python figures/groups.py --data_dir DIR

    --runs RUN ...           of these runs
    --run [--seeds S ...]    make the runs of `DEFAULT` in results/tiktok that are missing

Users are grouped by their training interactions: the mean over users of test Recall@20. Items are grouped by theirs,
and those with none are cold: the share of their test interactions that are found. Either at the epoch chosen on
validation.
Without --runs also the table `found`, where each test user has a single test item: of each model's chosen runs in
results/tiktok/baselines how many of the test interactions found are found by popularity, too, and how many different
items they are of.

Which items were found is worked out anew from a run's embeddings.npz. Where that was not kept it is read from
per_user.npz, which says as much where every test user has a single test item. Writes groups.png, .csv and .md; ranking
by popularity is shown beside the runs. In the picture, cold users or items who are a few are drawn with the next group.
"""
import sys
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from DataHandler import UserRows, load_dataset
from Experiments.SavedRuns import by_settings, find_runs, given_runs
from Experiments.Statistics import per_user
from Experiments.Tables import Spread, spread
from Experiments.Words import labels
from figures.performance import model_name
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
from figures.style import BLACK, COLOURS, MARKERS, save
from Runs.Recommend import load_scores
from Utils.Command import run_command
from Utils.Errors import InputError
from Utils.Metrics import rank_items

NAME = 'groups'
ROOT = Path('results/tiktok')
DEFAULT = {'ablation/full': f'{BASE} {MULTI_LEVEL} --epoch 10',
           'ablation/cross-modal': f'{BASE} --cl_method 0 --epoch 10'}
BINS = 5  # at most, of about as many test users or test interactions each
CHUNK = 256  # users at a time
FEW = 0.01  # a cold group below this share of all is drawn with the next
LONGEST = 40  # letters of a model's name
LINEAR = 0.01  # shares below this are drawn on a linear scale, those above on a logarithmic one


@torch.no_grad()
def found_by(score, data, k):
    """Whether each test interaction (in the order of data.test's entries) is among its user's k best items."""
    train, test = UserRows(data.train, torch.device('cpu')), data.test.tocoo()
    top = np.full((data.n_users, k), -1)
    for users in torch.as_tensor(np.unique(test.row)).split(CHUNK):
        top[users] = rank_items(score(users), train.batch(users).positions, k)
    return (top[test.row] == test.col[:, None]).any(1)


def hits(run, data):
    """Of one run: a vector over the test interactions, 1 where the item was found."""
    if (run.folder / 'embeddings.npz').is_file():
        return found_by(load_scores(run.folder, torch.device('cpu')), data, run.settings['topk']).astype(float)
    rows = data.test.tocoo().row
    users, recall = per_user([run.folder])
    if len(np.unique(rows)) < len(rows):
        raise InputError(f'{run.folder} kept no embeddings.npz, and users of {data.name} have several test items: make '
                         'the run again to see which of them it finds.')
    if not np.array_equal(users, rows):
        raise InputError(f'{run.folder} is of other test users than {data.name}: give its data set with --data_dir.')
    return recall


def bins_of(counts):
    """[(label, mask)] of counts: 0 apart, and up to BINS others, each ending with the value that makes up its share."""
    values, sizes = np.unique(counts[counts > 0], return_counts=True)
    groups = [('0', counts == 0)] if (counts == 0).any() else []
    low = done = 0
    for place, high in enumerate(values):
        low = low or high
        full = sizes[:place + 1].sum() * BINS // sizes.sum()  # so many shares
        if full > done or high == values[-1]:
            groups.append((f'{low}' if low == high else f'{low}-{high}', (counts >= low) & (counts <= high)))
            low, done = 0, full
    return groups


def user_recall(rows, found):
    """(users, their test Recall)."""
    users, place = np.unique(rows, return_inverse=True)
    return users, np.bincount(place, found) / np.bincount(place)


def table_of(data, vectors):
    """A row per group of users, then of items; vectors: model -> hits of each of its runs."""
    test = data.test.tocoo()
    users = np.unique(test.row)
    activity = np.asarray(data.train.sum(1)).ravel().astype(int)
    popularity = np.asarray(data.train.sum(0)).ravel().astype(int)
    recalls = {name: [user_recall(test.row, found)[1] for found in runs] for name, runs in vectors.items()}
    rows = []
    for kind, counts, values in (('users', activity[users], recalls), ('items', popularity[test.col], vectors)):
        for label, mask in bins_of(counts):
            rows.append({'groups of': kind, 'training interactions': label,
                         'test users' if kind == 'users' else 'test interactions': int(mask.sum()),
                         **{name: spread(found[mask].mean() for found in runs) for name, runs in values.items()}})
    return rows


def found_items(vectors, popular, columns):
    """A row for each model, the best first: what it finds beside popularity. vectors: model -> hits of each of its
    runs; popular: hits of popularity; columns: the items of the test interactions."""
    rows = [{'model': name, 'seeds': len(runs), 'share found': spread(found.mean() for found in runs),
             'of these by popularity, too': f'{mean(found @ popular / max(found.sum(), 1) for found in runs):.0%}',
             'different items': round(mean(len(np.unique(columns[found > 0])) for found in runs))}
            for name, runs in vectors.items()]
    return sorted(rows, key=lambda row: -mean(row['share found'].values))


def line_of(row):
    size = row.get('test users', row.get('test interactions'))
    return {'groups of': row['groups of'] + (' (cold)' if row['training interactions'] == '0' else ''),
            'training interactions': row['training interactions'], 'test users or interactions': f'{size:,}',
            **{name: value for name, value in row.items() if name not in (
                'groups of', 'training interactions', 'test users', 'test interactions')}}


def tick_of(row):
    return '0: cold' if row['training interactions'] == '0' else row['training interactions']


def folded(rows, of, names):
    """The rows as they are drawn: a cold group of a few is one with the next, its mean weighted in."""
    cold, *others = rows
    size = cold[of]
    if cold['training interactions'] != '0' or not others or size >= FEW * sum(row[of] for row in rows):
        return rows
    first, *rest = others
    both = size + first[of]
    means = {name: Spread(tuple((size * few + first[of] * many) / both for few, many in
                                zip(cold[name].values, first[name].values, strict=True))) for name in names}
    return [{**first, **means, of: both,
             'training interactions': f'0-{first["training interactions"].split("-")[-1]}'}, *rest]


def draw(rows, names, title, path):
    """Points, since the groups are not equally wide: no line between them would mean anything."""
    legend = 0.1 + 0.18 * -(-len(names) // 3)  # inches
    figure, panels = plt.subplots(1, 2, figsize=(8.6, 3.1 + legend))
    colours = [*COLOURS[:len(names) - 1], BLACK]  # the last, ranking by popularity, in black
    for panel, kind, of in zip(panels, ('users', 'items'), ('test users', 'test interactions'), strict=True):
        mine = folded([row for row in rows if row['groups of'] == kind], of, names)
        for number, (colour, marker, name) in enumerate(zip(colours, MARKERS, names, strict=False)):
            at = np.arange(len(mine)) + 0.6 * ((number + 0.5) / len(names) - 0.5)
            values = [row[name].values for row in mine]
            panel.plot(at, [np.mean(seeds) for seeds in values], ls='', marker=marker, color=colour, label=name)
            panel.vlines(at, [min(seeds) for seeds in values], [max(seeds) for seeds in values], color=colour, lw=4,
                         alpha=0.3)
        panel.set_xticks(range(len(mine)), [f'{tick_of(row)}\n({row[of]:,})' for row in mine])
        panel.set_xticks(np.arange(len(mine) - 1) + 0.5, minor=True)  # lines between the groups, none through them
        panel.tick_params(axis='x', which='minor', length=0)
        panel.grid(axis='x', visible=False)
        panel.grid(axis='x', which='minor')
        panel.set_xlabel(f'training interactions of the {kind[:-1]} ({of})')
    panels[0].set_ylim(bottom=-0.005)
    panels[1].set_yscale('symlog', linthresh=LINEAR)
    panels[1].set_ylim(-LINEAR / 4, 1)
    panels[1].yaxis.set_major_formatter('{x:g}')
    panels[0].set_ylabel('test Recall@20')
    panels[1].set_ylabel('share found in the first 20')
    figure.suptitle(title, fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc='lower center', ncol=3, frameon=False)
    figure.tight_layout(rect=(0, legend / (3.1 + legend), 1, 1))
    save(figure, path)


def main(argv=None):
    options, flags = read_command_line(command_line(NAME, __doc__, ROOT, seeds=(421, 1, 2), runs=True), argv)
    if options.runs:
        runs = given_runs(options.runs)
    else:
        provide(jobs_of(DEFAULT, options, flags), NAME, options, flags)
        runs = [run for name in DEFAULT for run in find_runs(options.root, name)]
    if not runs:
        raise none_there(NAME, ', '.join(str(options.root / name) for name in DEFAULT))
    if len({run.dataset for run in runs}) > 1:
        raise InputError('The runs are of several data sets: give those of one.')
    data = load_dataset(options.data_dir, runs[0].dataset, modalities=())
    groups = by_settings(runs)
    if len(groups) >= len(COLOURS):
        raise InputError(f'The runs have {len(groups)} different settings, and {len(COLOURS) - 1} can be told apart: '
                         'give fewer.')
    names = [f'{name} ({len(group)})' for name, group in zip(labels(groups, LONGEST), groups, strict=True)]
    vectors = {name: [hits(run, data) for run in group] for name, group in zip(names, groups, strict=True)}
    popularity = torch.as_tensor(data.train.sum(0)).float()
    vectors['popularity'] = [found_by(lambda users: popularity.repeat(len(users), 1), data,
                                      runs[0].settings['topk']).astype(float)]
    rows = table_of(data, vectors)
    write_tables(NAME, rows, options, [line_of(row) for row in rows])
    if not options.runs and data.test.getnnz(1).max() == 1:  # where per_user.npz says what was found
        models = {}
        for run in find_runs(options.root, 'baselines/*/chosen'):
            models.setdefault(model_name(run.settings['model']), []).append(hits(run, data))
        if models:
            write_tables('found', found_items(models, vectors['popularity'][0], data.test.tocoo().col), options)
    title = f'{runs[0].dataset}, epoch chosen on validation: mean and range of the seeds (in brackets: how many)'
    draw(rows, list(vectors), title, options.to / f'{NAME}.png')


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
