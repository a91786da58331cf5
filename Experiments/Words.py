"""Saved runs in words: their settings as the command line has them, and what tells them apart."""
from itertools import combinations
from pathlib import Path

from Experiments.Jobs import Job


def what_was_run(run, always=('latdim',)):
    """The settings that are not Main.py's defaults for the run's model and data set, and those to be told always, as
    `name value, ...`."""
    defaults = Job(Path(), ('--model', run.settings['model'], '--data', run.settings['data'])).settings
    elsewhere = ('seed', 'data', 'model', 'modalities', 'epoch', 'tstEpoch', *always)
    names = [*always, *(name for name, value in run.settings.items()
                        if name not in elsewhere and value != defaults.get(name))]
    return ', '.join(f'{name} {text_of(run.settings[name])}' for name in names)


def text_of(value):
    """A setting as the command line has it."""
    if isinstance(value, (list, tuple)):
        return ' '.join(map(text_of, value)) or 'none'
    return f'{value:g}' if isinstance(value, float) else str(value)


def labels(groups, longest=None):
    """What tells groups of runs apart: the settings that not all of them share, the number of epochs only where it is
    needed; no more of them than are needed where a label would have more letters than the longest."""
    settings = [group[0].settings for group in groups]
    telling = [name for name in dict.fromkeys(name for values in settings for name in values) if name != 'seed'
               and any(other.get(name) != settings[0].get(name) for other in settings)]

    def named(names):
        return [', '.join(f'{name} {text_of(values[name])}' for name in names if values.get(name) is not None)
                or values['model'] for values in settings]

    def apart(words):
        return len(set(words)) == len(words)

    words = named([name for name in telling if name != 'epoch'])
    words = words if apart(words) else named(telling)
    if longest is not None and max(map(len, words)) > longest:
        fewest = (named(names) for size in (1, 2, 3) for names in combinations(telling, size))
        return next(filter(apart, fewest), words)
    return words


def title_of(run):
    """Data set, modalities, width and epochs, for the title of a picture."""
    settings = run.settings
    return (f'{run.dataset}, {"+".join(settings["modalities"])}, d = {settings["latdim"]}, '
            f'{run.n_epochs} epochs')
