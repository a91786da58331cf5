"""Whether and how a run goes on that its folder holds: --resume and --overwrite."""
import dataclasses

from DataHandler import load_dataset
from Params import parse
from Runs.Checkpoint import NEWEST, PREVIOUS, load_checkpoint
from Runs.Flags import LAST_DIGITS, PLACE
from Runs.Identity import changes, require_data_of_run
from Runs.Recorded import read_config, recorded_settings, settings_that_count
from Utils.Errors import InputError
from Utils.TimeLogger import log

MAY_DIFFER = (*PLACE, 'epoch', 'data')  # data: a name, whose content is compared
HINT = 'give --resume to go on with it, --overwrite to replace it, or another --out'


def take_up(out, argv, models, like):
    """(settings, checkpoint or None) for the command line and the entered RunFolder; None where nothing is left to do.

    models: name -> class; like: the settings of --like by name. With --resume, settings that neither these nor the
    command line name are those of the run. InputError where the folder holds a run and neither --resume nor --overwrite
    is given, or where a named setting that counts is not the run's.
    """
    settings = parse(argv, like, combined=False)
    finished = out.is_finished()
    if settings.overwrite or not out.holds_a_run():
        if settings.resume:
            log(f'{out.path} holds no run: starting from the beginning')
        return parse(argv, like), None
    if not {'config.json', NEWEST, PREVIOUS} & set(out.found()):
        raise InputError(f'{out.path} holds {", ".join(out.found())} but no config.json, so no run: choose another '
                         '--out, or let --overwrite replace what is there.')
    if not settings.resume:
        raise InputError(f'{out.path} holds {"a finished" if finished else "an unfinished"} run: {HINT}.')
    state = load_checkpoint(out.path)
    if state is None and not finished:
        log(f'{out.path} holds no checkpoint: starting from the beginning')
        return parse(argv, like), None
    config = state['config'] if state else read_config(out.path, 'start anew with --overwrite, or give another --out')
    recorded = recorded_settings(config)
    settings = parse(argv, {**recorded, **like})
    refuse_differences(settings_that_count(dataclasses.asdict(settings), models), recorded, config['dataset'])
    epochs = config['settings']['epoch']
    if settings.epoch < epochs:
        raise InputError(f'--epoch {settings.epoch} is less than the {epochs} epochs of the run in {out.path}, which '
                         'may only grow: leave it out, or give another --out.')
    if finished and settings.epoch == epochs:
        if settings.data != config['settings']['data']:
            dataset = load_dataset(settings.data_dir, settings.data, modalities=())
            require_data_of_run(config, settings, dataset, out.path)
            tell_of_name(config['settings']['data'], settings.data)
        log(f'the run in {out.path} is finished: nothing is left to do')
        return None
    if state is None:
        raise InputError(f'{out.path} holds a finished run without its checkpoint, which --epoch cannot prolong: '
                         'give --overwrite to start anew, or another --out.')
    return settings, state


def refuse_differences(now, then, dataset):
    """now: the settings that count; then: all of the run; dataset: what the run told of its data."""
    if then['modalities'] is None and now.get('modalities') is not None:  # all of its data set's
        then = {**then, 'modalities': list(dataset['modalities'])}
    told = [f'--{name} is {_told(then[name])} there and {_told(value)} here' for name, value in now.items()
            if name not in MAY_DIFFER and _told(value) != _told(then[name])]
    if told:
        raise InputError(f'The run cannot be resumed with other settings ({"; ".join(told)}): leave these flags out, '
                         'or give another --out.')


def _told(value):
    """As on the command line; lists have become tuples, or the other way round, since the run began."""
    return ' '.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def tell_of_name(then, now):
    if now != then:
        log(f'the data set was called {then} when the run began: {now} holds the same')


def go_on_with(config, now):
    """The config to record for a resumed run: its own, with the settings that may differ as they are now.

    InputError if the data or the kind of device are others. Other versions, threads or LAST_DIGITS are told of and
    recorded as `resumed_with`: the numbers may then differ in their last digits from those of a run left alone.
    """
    if told := changes(config, now):
        raise InputError(f'The data set {now["settings"]["data"]} in {now["settings"]["data_dir"]} is not the one that '
                         f'the run began with, it has other {", ".join(told)}: give the folder that holds it with '
                         '--data_dir.')
    tell_of_name(config['settings']['data'], now['settings']['data'])
    if config['device'].split(':')[0] != now['device'].split(':')[0]:
        raise InputError(f'The run began on {config["device"]} and cannot go on on {now["device"]}, whose random '
                         'numbers are others: choose with --device.')
    changed = {name: now[name] for name in ('threads', 'git', 'versions') if config[name] != now[name]}
    if config.get('ranks', 1) != now.get('ranks', 1):
        changed['ranks'] = now.get('ranks', 1)
    changed |= {name: now['settings'][name] for name in LAST_DIGITS
                if config['settings'].get(name) != now['settings'][name]}
    if changed:
        log(f'resumed with other {", ".join(changed)} than it began with: last digits may differ')
        config = {**config, 'resumed_with': changed}
    return {**config, 'settings': {**config['settings'],
                                   **{name: value for name, value in now['settings'].items() if name in MAY_DIFFER}}}
