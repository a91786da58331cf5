"""What a saved run's config.json says of its settings."""
import json
from functools import cache
from pathlib import Path

from Params import build_parser, parse
from Runs.Flags import LAST_DIGITS, OF_THE_CALL, PLACE, flags_that_count
from Utils.Errors import InputError
from Utils.TimeLogger import log

# What the program did before it had these flags, which is what a run did whose config.json does not name them. It stays
# as it is when a default in Params.py changes. A new flag joins with the value that leaves everything as it was.
EARLIER = {
    'patience': None, 'checkpoint_every': 1, 'precision': None, 'cl_sample': None, 'nce_chunk': None,
    'neighbours': 100, 'shrink': 10.0, 'ridge': 100.0, 'alpha': 0.1, 'message_drop': 0.1, 'edge_drop': 0.1,
    'clusters': 100, 'proto_reg': 1e-3, 'hyperedges': 128, 'embed_drop': 0.3, 'item_links': 10, 'item_layers': 1,
    'graph_skip': 0.9, 'routing': 3, 'ssl_task': 'fac', 'loss': 'bpr', 'loss_temp': 0.2, 'loss_pop': 0.0,
    'fused': 'released', 'score': 'sum', 'decay': 'tables', 'layers': 'sum', 'item_lambda': 0.0,
    'rebuild_from': 'all', 'rebuild_weights': 'equal', 'hypergraph': 'paper'}


def read_config(folder, advice):
    """The config.json of a run's folder; InputError, with what to do, where it is damaged or not there."""
    path = Path(folder) / 'config.json'
    try:
        config = json.loads(path.read_text())
        if not isinstance(config['settings']['epoch'], int) or not isinstance(config['settings']['model'], str):
            raise ValueError
        return config
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, 'strerror', None) or type(error).__name__
        raise InputError(f"{path} is not readable as a run's settings ({reason}): {advice}.") from error


@cache
def parser_of(build):
    return build()


def recorded_settings(config):
    """The settings of a run by name, but those of a command. InputError where one cannot be, or is of another version
    of the program."""
    settings = {name: value for name, value in {**EARLIER, **config['settings']}.items() if name not in OF_THE_CALL}
    parser = parser_of(build_parser)  # once for the runs of a whole table
    if lacking := sorted(parser.flags().keys() - settings.keys() - set(PLACE)):
        raise InputError(f'The config.json of the run does not say --{lacking[0]}: it is damaged.')
    settings = parser.checked(settings, "The run's config.json")
    return {name: settings[name] for name in parser.flags() if name in settings}  # in the order of the flags


def settings_that_count(settings, models):
    """Of settings by name those that say what a run computes; models: name -> class. A model that is not among them may
    read all."""
    model = models.get(settings['model'])
    return {name: value for name, value in settings.items()
            if (name in flags_that_count(model) if model else name not in PLACE)}


def settings_like(run, models, given):
    """For --like: the settings that count in a saved run, and those that its last digits depend on.

    given: names of the flags on the command line. The run's modalities are named, so that others which have joined the
    data set since are left out; not where another data set is given.
    """
    config = read_config(run, '--like expects the folder of a run')
    settings = recorded_settings(config)
    taken = settings_that_count(settings, models) | {name: settings[name] for name in LAST_DIGITS}
    if 'data' not in given:
        taken['modalities'] = list(config['dataset']['modalities'])
    return taken


def read_line(argv, models, combined=True):
    """(settings, those of --like by name) of a command line, as `Params.parse` has it."""
    settings = parse(argv, combined=False)
    like = {} if settings.like is None else settings_like(settings.like, models, settings.given)
    return parse(argv, like, combined), like


def compare_with(run, settings, now):
    """Say what else is not as it was in the run of --like; now: the config of the new run.

    InputError where the data of that name are others, unless the line says that they are meant.
    """
    then = read_config(run, '--like expects the folder of a run')
    if not {'data', 'modalities'} & settings.given and identity(then, now) != identity(now, then):
        raise InputError(f'The data set {settings.data} in {settings.data_dir} is not the one of {run}: give the '
                         f'folder that holds it with --data_dir, or --data {settings.data} to train on this one.')
    own = settings.given - set(PLACE)
    other = [name for name in ('device', 'threads', 'git', 'versions') if then.get(name) != now[name]]
    log(f'settings of {run}' + (f', but for {flags_in_words(own)}' if own else '')
        + (f'; other {", ".join(other)} than it had: the figures may differ' if other else ''))


def identity(config, other):
    """What tells a config's data from the other's: the checksum, or the statistics where either is older than that."""
    if 'data_sha256' in config and 'data_sha256' in other:
        return config['data_sha256']
    return {name: value for name, value in config['dataset'].items() if name in other['dataset']}


def flags_in_words(names):
    return ', '.join(f'--{name}' for name in sorted(names))
