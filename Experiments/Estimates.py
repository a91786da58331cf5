"""About how long runs will take: as long as the finished runs that are most like them."""
import json
from contextlib import suppress
from pathlib import Path
from statistics import mean

from Baselines import MODELS

RESULTS = Path('results')  # whose runs are known besides those of the command's own folders
ELSEWHERE = ('seed', 'epoch')  # settings that do not make a run unlike; the number of epochs is reckoned with


class Estimates:
    """What finished runs took, by model and data set."""

    def __init__(self, folders=(), threads=None):
        """folders: of runs, finished or not; threads: of the runs to come, where that is known."""
        self.threads = threads
        self.known = {}
        for folder in dict.fromkeys((*folders, *(path.parent for path in RESULTS.glob('**/result.json')))):
            self.learn(folder)

    def learn(self, folder):
        """Take a finished run into account; one that cannot be read, or is not there, has nothing to say."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            result = json.loads((folder / 'result.json').read_text())
            config, seconds = result['config'], float(result['seconds'])
            settings = config['settings']
            self.known.setdefault((settings['model'], settings['data']), []).append(
                (settings, config.get('threads'), seconds))

    def seconds(self, job):
        """About how long the job's run takes; None where nothing is known of its model on its data set."""
        wanted, best, nearest = job.settings, None, []
        for settings, threads, seconds in self.known.get((wanted['model'], wanted['data']), ()):
            unlike = sum(settings[name] != value for name, value in wanted.items()
                         if name in settings and name not in ELSEWHERE)
            unlike += self.threads not in (None, threads)
            if best is None or unlike <= best:
                nearest = nearest if unlike == best else []
                best = unlike
                nearest.append(seconds * epochs_of(wanted) / epochs_of(settings))
        return mean(nearest) if nearest else None

    def of_all(self, jobs):
        """(seconds of those of which something is known, how many these are)."""
        values = [seconds for job in jobs if (seconds := self.seconds(job)) is not None]
        return sum(values), len(values)


def epochs_of(settings):
    model = MODELS.get(settings['model'])
    return 1 if model is None or model.closed_form else settings['epoch']


def in_words(seconds):
    """A duration as one would say it."""
    if seconds < 90:
        return f'{max(1, round(seconds))} s'
    return f'{round(seconds / 60)} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
