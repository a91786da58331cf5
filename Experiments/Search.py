"""The search for settings by Optuna: which points a search tries, and its study, in one journal file beside the runs.

The study is what samplers and pruners learn from, and what optuna-dashboard shows. What was trained is told by the
folders of the runs alone: a journal that is lost is made anew from them.
"""
from functools import cached_property
from math import prod

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GridSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState, create_trial

from Experiments.Grids import Range, name_of
from Utils.Errors import InputError

optuna.logging.set_verbosity(optuna.logging.ERROR)  # what there is to say, a sweep's own lines say

SEARCHES, PRUNERS = ('grid', 'random', 'tpe'), ('median', 'halving')
JOURNAL = 'study.journal'
LISTED = 10_000  # points up to which a random search goes through all of them without repeating any
ATTEMPTS = 200  # draws without a point that is new, after which a search is at its end
DIGITS = 4  # of a number drawn from a range
REFUSED = 'refused'  # user attribute of a trial that Main.py would not run
FIRST = 9  # no run is pruned before a ninth of its epochs


def distribution_of(values):
    if not isinstance(values, Range):
        return CategoricalDistribution(values)
    kind = IntDistribution if isinstance(values.low, int) else FloatDistribution
    return kind(values.low, values.high, log=values.log)


def text_of(value, values):
    """A drawn value as a flag's word: a number of a range with DIGITS digits, within the range."""
    if not isinstance(values, Range):
        return value
    exact = isinstance(value, int) or value in (values.low, values.high)
    return repr(value if exact else min(max(float(f'{value:.{DIGITS}g}'), values.low), values.high))


class Space:
    """The points of a grid, {flag: value as text}, as Optuna draws them."""

    def __init__(self, grid):
        self.grid = grid
        self.distributions = {flag: distribution_of(values) for flag, values in grid.items()}

    def size(self):
        """How many points there are; None where a range has any number of them."""
        return None if any(isinstance(values, Range) for values in self.grid.values()) else prod(
            map(len, self.grid.values()))

    def point_of(self, params):
        return {flag: text_of(params[flag], values) for flag, values in self.grid.items()}

    def params_of(self, point):
        """A point as Optuna has it: numbers where the grid has a range."""
        return {flag: type(values.low)(point[flag]) if isinstance(values, Range) else point[flag]
                for flag, values in self.grid.items()}

    def draws(self, sampler, trials=()):
        """Points by a sampler that knows of these trials: any number of them, for Optuna a new trial each."""
        scratch = optuna.create_study(direction='maximize', sampler=sampler)
        scratch.add_trials(trials)
        while True:
            trial = scratch.ask(self.distributions)
            yield self.point_of(trial.params)
            scratch.tell(trial, state=TrialState.FAIL)  # which samplers do not learn from

    def random(self, seed):
        """Every point once, in random order; of a range as many different ones as are asked for."""
        size = self.size()
        if size is not None and size <= LISTED:
            draws = self.draws(GridSampler(self.grid, seed))
            yield from (next(draws) for _ in range(size))
        else:
            yield from different(self.draws(RandomSampler(seed)))

    def next_by_tpe(self, trials, tried, seed):
        """The point that the tree-structured Parzen estimator proposes after these trials, other than those tried (by
        name); None where there is none left."""
        seed += len(tried)  # a generator of its own for each, so that it matters not who draws it, and when
        draws = self.draws(TPESampler(seed=seed), trials)
        for point in different(draws, set(tried)):
            return point
        return next((point for point in self.random(seed) if name_of(point) not in tried), None)


def different(draws, seen=None):
    """Those of the draws that were not seen before, until ATTEMPTS in a row were."""
    seen = set() if seen is None else seen
    while point := next((point for _, point in zip(range(ATTEMPTS), draws, strict=False)
                         if name_of(point) not in seen), None):
        seen.add(name_of(point))
        yield point


def pruner_of(name, epochs):
    """The rule by which a run is stopped early; steps are epochs, counted from 1."""
    first = max(1, epochs // FIRST)
    if name == 'halving':
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=3)
    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=first)


class Study:
    """What is known of the points that were tried, in a journal that several workers may use at once.

    Its name is what was searched, so that another grid in the same folder has a study of its own in the same file.
    """

    def __init__(self, folder, space, seeds, prune=None, epochs=0):
        self.path, self.space, self.epochs = folder / JOURNAL, space, epochs
        self.pruner = prune and pruner_of(prune, epochs)
        self.name = '; '.join([*(f'{flag} {values if isinstance(values, Range) else " ".join(values)}'
                                 for flag, values in space.grid.items()), f'seeds {" ".join(map(str, seeds))}'])

    @cached_property
    def study(self):
        lock = JournalFileOpenLock(str(self.path))
        try:
            self._drop_half_a_line(lock)
            self.storage = JournalStorage(JournalFileBackend(str(self.path), lock_obj=lock))
            if self.name in optuna.get_all_study_names(self.storage):
                return optuna.load_study(storage=self.storage, study_name=self.name, sampler=RandomSampler())
            return optuna.create_study(storage=self.storage, study_name=self.name, direction='maximize',
                                       load_if_exists=True, sampler=RandomSampler())  # another worker may be quicker
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f'{self.path} is damaged ({type(error).__name__}): remove it. The runs stay, and a new '
                             'one is made from them.') from error

    def _drop_half_a_line(self, lock):
        """What a worker that died wrote last may lack its end; nobody could read what came after it."""
        if not self.path.exists():
            return
        lock.acquire()
        try:
            content = self.path.read_bytes()
            if content and not content.endswith(b'\n'):
                with open(self.path, 'r+b') as file:
                    file.truncate(content.rfind(b'\n') + 1)
        finally:
            lock.release()

    def exists(self):
        return self.path.exists()

    def trials(self):
        """name of a point -> its trial, in the order of their numbers; of several the one that got furthest."""
        found = {}
        order = (TrialState.FAIL, TrialState.PRUNED, TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE)
        for trial in self.study.get_trials(deepcopy=False):
            name = name_of(self.space.point_of(trial.params))
            if name not in found or order.index(trial.state) >= order.index(found[name].state):
                found[name] = trial
        return found

    def points(self):
        """The points of all trials, but for those that were refused."""
        return [self.space.point_of(trial.params) for trial in self.trials().values()
                if REFUSED not in trial.user_attrs]

    def pruned(self):
        """The names of the points that were pruned, and not taken up again."""
        return {name for name, trial in self.trials().items() if trial.state == TrialState.PRUNED}

    def begin(self, point):
        """The point is at work. To be called while nobody else may: `begin` and `complete` add trials."""
        trial = self.trials().get(name_of(point))
        if trial is None or trial.state not in (TrialState.RUNNING, TrialState.COMPLETE):
            self._add(point, TrialState.RUNNING)

    def complete(self, point, value):
        """The point's runs are finished, with this mean validation Recall."""
        trial = self.trials().get(name_of(point))
        if trial is not None and trial.state == TrialState.RUNNING:
            self._carry_forward(trial)
            self.study.tell(trial.number, value, skip_if_finished=True)
        elif trial is None or trial.state != TrialState.COMPLETE:
            self._add(point, TrialState.COMPLETE, value)

    def _carry_forward(self, trial):
        """A run that stopped early counts at later epochs with its best: else later runs would be compared with those
        alone that lasted as long, which are the good ones."""
        reached = trial.intermediate_values
        for step in range(max(reached) + 1, self.epochs + 1) if reached else ():
            self.storage.set_trial_intermediate_value(trial._trial_id, step, max(reached.values()))

    def fail(self, point):
        """A run of the point has failed."""
        trial = self.trials().get(name_of(point))
        if trial is not None and trial.state == TrialState.RUNNING:
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def report(self, point, recalls):
        """recalls: epoch, counted from 1 -> validation Recall. Whether the point is pruned, now or before."""
        trial = self.trials()[name_of(point)]
        if trial.state != TrialState.RUNNING:
            return trial.state == TrialState.PRUNED
        for step, recall in recalls.items():
            if step in trial.intermediate_values:
                continue
            self.storage.set_trial_intermediate_value(trial._trial_id, step, recall)
            if self.pruner.prune(self.study, self.trials()[name_of(point)]):
                self.study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
                return True
        return False

    def refuse(self, point):
        """The point cannot be run, and is not to be proposed again."""
        self._add(point, TrialState.FAIL, user_attrs={REFUSED: True})

    def _add(self, point, state, value=None, user_attrs=None):
        self.study.add_trial(create_trial(
            state=state, value=value, params=self.space.params_of(point), distributions=self.space.distributions,
            user_attrs=user_attrs))

    def next_point(self, seed):
        """The point to try next, by TPE; None where none is left."""
        trials = self.trials()
        learnt = [trial for trial in self.study.get_trials(deepcopy=False)
                  if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        return self.space.next_by_tpe(learnt, trials, seed)
