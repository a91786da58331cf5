"""How many runs of Main.py work at a time, and what each of them has to itself: --jobs and --devices."""
import os
import subprocess
import sys
from dataclasses import dataclass

import torch

from Params import number
from Utils.Device import choose_device
from Utils.Errors import InputError

THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')  # read by a run as it starts


@dataclass(frozen=True)
class Slot:
    """The place of one run: its threads (None: as many as a run alone takes) and its devices (none: what --device
    says)."""

    threads: int | None = None
    devices: tuple = ()

    def environment(self):
        return {**os.environ, 'PYTHONUNBUFFERED': '1',  # each line is heard as it is said
                **(dict.fromkeys(THREADS, str(self.threads)) if self.threads else {})}

    def flags(self):
        return ('--device', *self.devices) if self.devices else ()


def add_slots(parser):
    parser.add_argument('--jobs', type=number(int, 1), default=None, metavar='N',
                        help='runs at a time; each has 1/N of the threads that a run alone takes, rounded down '
                             '(default: 1, or one per device)')
    parser.add_argument('--devices', nargs='+', default=(), metavar='DEVICE',
                        help='devices to run on, each run on one that is free: cuda:0 cuda:1 ... (default: what '
                             '--device says for every run)')


def slots_of(options, flags=()):
    """A list of Slots for the parsed --jobs and --devices; flags: those of every run."""
    devices = list(dict.fromkeys(options.devices))
    if devices and any(word.partition('=')[0] == '--device' for word in flags):
        raise InputError('--devices and --device both say where to run: leave one out.')
    for device in devices:
        choose_device(device)
    jobs = options.jobs or len(devices) or 1
    if jobs < len(devices):
        raise InputError(f'--jobs {jobs} is less than the {len(devices)} devices: name as many as are to be used.')
    if devices and jobs % len(devices):
        raise InputError(f'--jobs {jobs} is no multiple of the {len(devices)} devices: give each as many runs.')
    threads = max(1, torch.get_num_threads() // jobs) if jobs > 1 else None
    return [Slot(threads, (devices[place % len(devices)],) if devices else ()) for place in range(jobs)]


def launch(job, slot):
    """Main.py in a process of its own, which goes on where the run's folder stands; all that it says in one pipe.

    It is in a process group of its own, so that Ctrl-C reaches it once, from here, and it can save where it is. Where
    this process is killed, it ends, saved, as soon as it has something to say.
    """
    return subprocess.Popen([sys.executable, *job.command(), *slot.flags(), '--resume'], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                            env=slot.environment())
