"""Many runs of Main.py, and the settings among them with the best validation Recall: python -m Experiments.Sweep

    python -m Experiments.Sweep --grid latdim=64,128 ssl_reg=1e-3,1e-2 --data tiktok --seeds 421 1 --out results/sweep
    python -m Experiments.Sweep --grids Baselines/grids.json --model lightgcn --data baby --out results/baby/lightgcn
    python -m Experiments.Sweep --grid lr=1e-4..1e-2,log --search tpe --trials 30 --prune median --out sweep --jobs 2

Each run is a plain run of Main.py, in OUT/<flag>=<value>,<flag>=<value>/seed<S>. The same command again goes on where
it was left: runs that are finished stay, one that was begun is continued (they are told by their flags, not by the
code: after a change to a model remove its folder). Given several times at once, on one machine or on several that share
OUT, the command shares the work. OUT/sweep.csv has a row per finished run, OUT/sweep.json what was chosen: of the
points whose seeds are all finished the one with the highest mean validation Recall, the test set unseen. With
--final_seeds the chosen point's runs with these seeds are in OUT/chosen/seed<S>.

--search grid tries every point; random and tpe (Optuna's tree-structured Parzen estimator, whose first ten points are
random) as many as --trials says, in all: after 10 the same command with 30 tries 20 more. OUT/study.journal is the
search's Optuna study, for optuna-dashboard. --prune stops the runs of a point whose first seed falls behind in
validation Recall: median, behind the median of the finished points at the same epoch, where those that stopped earlier
count with their best, once there are four; halving, not in the best third at a ninth and at a third of --epoch. A
pruned run is saved and not finished: it is in no table and not chosen. Without --prune the same command goes on with
it.

--grid takes FLAG=VALUE,VALUE,...; the words of a value of several words are joined by `_` (or separated by spaces, in
quotes): noise_levels=0_0_1_2,0_0.5. The value `none` of such a flag is the flag alone. FLAG=LOW..HIGH and
FLAG=LOW..HIGH,log are ranges, for random and tpe. A file for --grids is {"models": {MODEL: {FLAG: [VALUE, ...]}},
"common": {FLAG: VALUE}}, where a value of several words is a list, and {"low": LOW, "high": HIGH, "log": true} in the
place of [VALUE, ...] is a range; what a model says itself, also of a single value, stands in place of "common", and
what {"data": {DATA: {MODEL: {...}}}} says of a data set in place of both.
"""
import argparse
import sys
from itertools import islice
from pathlib import Path

from Experiments.Choice import (
    best_of,
    candidates_of,
    check_distinct,
    check_validation,
    copy_made,
    jobs_of,
    write_results,
)
from Experiments.Grids import OURS, Range, edges_of, name_of, points_of, read_grid, read_grids, words_of
from Experiments.Jobs import Job, missing, settings_by
from Experiments.Pool import make_runs
from Experiments.Progress import counted
from Experiments.SavedRuns import describe, read_metrics, read_run
from Experiments.Search import PRUNERS, SEARCHES, Space, Study
from Experiments.Slots import add_slots, slots_of
from Experiments.Sources import Source
from Params import Parser, number
from Runs.Lock import Lock
from Utils.Command import run_command
from Utils.Errors import InputError
from Utils.TimeLogger import log

EARLIER = {'sample': '--search random --trials N', 'sample_seed': '--search_seed'}  # flags that have other names now


def command_line():
    parser = Parser(prog='python -m Experiments.Sweep', description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter,
                    epilog='All other flags go to Main.py, for every run.')
    parser.add_argument('--grid', nargs='+', default=[], metavar='FLAG=V1,V2', help='values of flags of Main.py')
    parser.add_argument('--grids', type=Path, metavar='FILE', help='JSON file with the grid of --model')
    parser.add_argument('--model', default=None, help='model to train')
    parser.add_argument('--seeds', type=number(int, 0), nargs='+', default=[421], metavar='SEED',
                        help='seeds of every point (default: 421)')
    parser.add_argument('--search', choices=SEARCHES, default='grid',
                        help='which points: all of the grid, random ones, or those that TPE proposes (default: grid)')
    parser.add_argument('--trials', type=number(int, 1), default=None, metavar='N',
                        help='with random and tpe: how many points there are to be in all')
    parser.add_argument('--search_seed', type=number(int, 0, 2**31 - 1), default=0, metavar='SEED',
                        help='with random and tpe: seed of the search (default: 0)')
    parser.add_argument('--prune', choices=PRUNERS, default=None,
                        help='stop runs that fall behind by validation Recall (default: none)')
    parser.add_argument('--final_seeds', type=number(int, 0), nargs='+', default=[], metavar='SEED',
                        help='seeds of the chosen point in OUT/chosen')
    parser.add_argument('--out', type=Path, required=True, help='folder of the sweep')
    parser.add_argument('--keep_embeddings', action='store_true', help="keep each run's embeddings.npz")
    add_slots(parser)
    return parser


def given(name, flags):
    return any(word.partition('=')[0] == f'--{name}' for word in flags)


class Sweep(Source):
    """A sweep as it was asked for, all checked before any work: its points and their jobs, and what comes of them."""

    def __init__(self, argv):
        self.options, flags = command_line().parse_known_args(argv)
        self.flags, self.grid = self._read(flags)
        options = self.options
        for name in ('seeds', 'final_seeds'):
            setattr(options, name, list(dict.fromkeys(getattr(options, name))))
        self.space = Space(self.grid)
        self.study = Study(options.out, self.space, options.seeds, options.prune,
                           settings_by(self.flags, False).epoch if options.prune else 0)
        self.planned, self.by_folder = [], {}  # [(point, its jobs)]; folder of a run -> one of these
        for point in self._first_points():
            self._add(point)
        self.jobs = [job for _, jobs in self.planned for job in jobs]
        self.slots = slots_of(options, self.flags)
        self.final = None  # jobs of the chosen point, once it is chosen
        self.needed = bool(missing(self.jobs)) or (options.search == 'tpe' and len(self.planned) < options.trials)
        if self.needed:
            check_validation(settings_by(self.jobs[0].flags if self.jobs else self.flags, False))

    def _read(self, flags):
        """(flags of every run, grid)"""
        options = self.options
        for name, reason in OURS.items():
            if given(name, flags):
                raise InputError(f'--{name} cannot be given to a sweep: {reason}.')
        for name, new in EARLIER.items():
            if given(name, flags):
                raise InputError(f'--{name} is no longer a flag of sweeps: give {new}.')
        flags = (*(('--model', options.model) if options.model else ()), *flags)
        if bool(options.grid) == bool(options.grids):
            raise InputError('Give either --grid FLAG=V1,V2 ... or --grids FILE --model NAME.')
        if options.grids:
            data = settings_by(flags, combined=False).data
            grid, common = read_grids(options.grids, options.model, data)
            flags = (*common, *flags)  # what the command line says comes last, and counts
        else:
            grid = read_grid(options.grid)
        settings_by(flags, combined=False)
        for flag in grid:
            if given(flag, flags):
                raise InputError(f'--{flag} is both swept and given for every run: leave one out.')
        if options.search != 'grid' and options.trials is None:
            raise InputError(f'--search {options.search} needs --trials N: how many points to try.')
        if options.search == 'grid' and (options.trials is not None or options.search_seed):
            raise InputError('--trials and --search_seed are for --search random and tpe: a grid is tried as a whole.')
        for flag, values in grid.items() if options.search == 'grid' else ():
            if isinstance(values, Range):
                raise InputError(f'The grid has a range of {flag}, of which not every value can be tried: give '
                                 '--search random or tpe, with --trials N.')
        return flags, grid

    def _first_points(self):
        """The points that are known before any run: all but those that TPE will still propose."""
        options = self.options
        if options.search == 'grid':
            points = points_of(self.grid)
            check_distinct(points, self.flags)
            return points
        for flag, values in self.grid.items():
            if not isinstance(values, Range):
                check_distinct([{flag: value} for value in values], self.flags)
        if options.search == 'random':
            return list(islice(filter(self._possible, self.space.random(options.search_seed)), options.trials))
        return self.study.points() if self.study.exists() else []

    def _possible(self, point):
        """Whether Main.py takes these settings together."""
        try:
            settings_by([*self.flags, *words_of(point)])
        except InputError as error:
            log(f'{name_of(point)} is left out: {error}')
            return False
        return True

    def _add(self, point):
        jobs = jobs_of(point, self.options.seeds, self.flags, self.options.out / name_of(point))
        self.planned.append((point, jobs))
        self.by_folder.update({job.folder: (point, jobs) for job in jobs})
        return jobs

    # While runs are made: what a Pool asks and tells

    def alone(self):
        """To be entered for what one worker at a time may do: write the tables, add to the study."""
        self.options.out.mkdir(parents=True, exist_ok=True)
        return Lock(self.options.out / '.sweep.lock').held()

    def more(self):
        if self.options.search == 'tpe' and (jobs := self._new_trials()):
            return jobs
        if self.final is None and all(job.finished() for _, jobs in self._kept() for job in jobs):
            self.final = self._final_jobs(self.write())
            return missing(self.final)  # the others are copies
        return []

    def later(self):
        """Trials that TPE will propose, and runs of the chosen point that will not be copies."""
        if self.final is not None:
            return 0
        options = self.options
        trials = max(0, options.trials - len(self.planned)) if options.search == 'tpe' else 0
        if self.needed:
            return trials * len(options.seeds) + len(set(options.final_seeds) - set(options.seeds))
        return sum(not (job.finished() or (Path(folder) / job.folder.name / 'result.json').is_file())
                   for job, folder in self._chosen_jobs(best_of(candidates_of(self._kept()))))

    def example(self):
        return Job(self.options.out / 'trial', self.flags) if self.options.search == 'tpe' else None

    def wanted(self, job):
        return not self.options.prune or not self._is_pruned(job)

    def begun(self, job):
        if job.folder in self.by_folder:
            with self.alone():
                self.study.begin(self.by_folder[job.folder][0])

    def heard(self, job):
        if not self.options.prune or job.folder not in self.by_folder:
            return False
        point, jobs = self.by_folder[job.folder]
        path = job.folder / 'metrics.csv'
        first = job == jobs[0] and path.is_file()
        return self.study.report(point, {int(row['epoch']) + 1: row['val_recall'] for row in read_metrics(path)}
                                 if first else {})

    def made(self, job):
        if job.folder in self.by_folder:
            with self.alone():
                self._tell([self.by_folder[job.folder]])
                self._write()

    def failed(self, job):
        if job.folder in self.by_folder:
            with self.alone():
                self.study.fail(self.by_folder[job.folder][0])

    # What they come to

    def write(self):
        """The tables of the finished runs; the chosen point, or None."""
        with self.alone():
            self._tell(self.planned)
            return self._write()

    def _write(self):
        return write_results(self.planned, self.options.out, self._pruned())

    def _tell(self, planned):
        """Let the study know of the finished points among these; where nothing was to be done none is made."""
        if self.needed or self.study.exists():
            for candidate in candidates_of(planned):
                self.study.complete(candidate['settings'], candidate['val_recall'])

    def _pruned(self):
        return self.study.pruned() if self.options.prune and self.study.exists() else set()

    def _is_pruned(self, job):
        return job.folder in self.by_folder and name_of(self.by_folder[job.folder][0]) in self._pruned()

    def _kept(self):
        """(point, its jobs) of all that were not pruned."""
        pruned = self._pruned()
        return [(point, jobs) for point, jobs in self.planned if name_of(point) not in pruned]

    def _new_trials(self):
        """The jobs of the points that other workers have begun, or of one more point."""
        with self.alone():
            self._tell(self.planned)
            known = {name_of(point) for point, _ in self.planned}
            if new := [point for point in self.study.points() if name_of(point) not in known]:
                return [job for point in new for job in self._add(point)]
            while len(self.planned) < self.options.trials:
                point = self.study.next_point(self.options.search_seed)
                if point is None:
                    return []
                if self._possible(point):
                    self.study.begin(point)
                    return self._add(point)
                self.study.refuse(point)
        return []

    def _chosen_jobs(self, best):
        """(job in OUT/chosen, folder of the chosen point) for the final seeds."""
        if best is None or not self.options.final_seeds:
            return []
        return [(job, Path(best['folder'])) for job in
                jobs_of(best['settings'], self.options.final_seeds, self.flags, self.options.out / 'chosen')]

    def _final_jobs(self, best):
        """The chosen point's runs in OUT/chosen: those that the sweep has made are copied."""
        jobs = self._chosen_jobs(best)
        for job, folder in jobs:
            copy_made(job, folder / job.folder.name)
        return [job for job, _ in jobs]


def sweep(argv=None):
    """Run what is missing of a sweep; what was chosen."""
    whole = Sweep(argv)
    options = whole.options
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'{options.out} cannot be made ({error.strerror}): choose another --out.') from error
    log(f'{counted(options.trials or len(whole.planned), "point")}, {counted(len(options.seeds), "seed")} each; '
        f'results in {options.out}')
    make_runs(whole.jobs, whole.slots, options.keep_embeddings, whole)
    best = whole.write()
    if best is None:
        raise InputError(f'No point of {options.out} is finished: there is none to choose.')
    log(f'chosen by validation Recall: {name_of(best["settings"])} (val Recall {best["val_recall"]:.4f}, test Recall '
        f'{best["test_recall"]:.4f}, mean of seeds {", ".join(map(str, best["seeds"]))})')
    for flag in edges_of(whole.grid, best['settings']):
        log(f'{flag} {best["settings"][flag]} is on the edge of the grid: what lies beyond may be better')
    for job in whole.final or ():
        log(f'{job.folder}: {describe(read_run(job.folder))}')
    return best


def main(argv=None):
    def start():
        sweep(argv)

    return run_command('Experiments.Sweep', start)


if __name__ == '__main__':
    sys.exit(main())
