"""How many runs of Main.py work at a time, and what each has to itself: --jobs, --devices, --devices_per_run."""
import os
import subprocess
import sys
from dataclasses import dataclass

import torch

from Params import number
from Utils.Device import choose_device
from Utils.Errors import InputError

TO_SAVE = 600  # seconds that torchrun gives the processes of a run to save and end
THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')  # read by a run as it starts


@dataclass(frozen=True)
class Slot:
    """The place of one run: the threads of each of its processes (None: as many as a run alone takes), its devices
    (none: what --device says), and how many processes make it."""

    threads: int | None = None
    devices: tuple = ()
    processes: int = 1

    def environment(self):
        seen = os.environ.get('CUDA_VISIBLE_DEVICES')
        names = seen.split(',') if seen else None
        numbers = [number_of(device) for device in self.devices]
        return {**os.environ, 'PYTHONUNBUFFERED': '1',  # each line is heard as it is said
                **(dict.fromkeys(THREADS, str(self.threads)) if self.threads else {}),
                **({'CUDA_VISIBLE_DEVICES': ','.join(names[number] if names else str(number) for number in numbers)}
                   if self.processes > 1 and numbers else {}),
                **({'TORCH_ELASTIC_SHUTDOWN_TIMEOUT': str(TO_SAVE)} if self.processes > 1 else {})}

    def flags(self):
        if self.processes > 1:
            return ('--device', 'cuda') if self.devices else ()
        return ('--device', *self.devices) if self.devices else ()

    def program(self):
        """What runs a script here: Python, or torchrun as a module of it."""
        torchrun = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(self.processes))
        return (sys.executable, *(torchrun if self.processes > 1 else ()))


def number_of(device):
    """The number of cuda:N; the first one is meant by cuda alone."""
    return int(device.partition(':')[2] or 0)


def add_slots(parser):
    parser.add_argument('--jobs', type=number(int, 1), default=None, metavar='N',
                        help='runs at a time; each has 1/N of the threads that a run alone takes, rounded down '
                             '(default: 1, or one per device)')
    parser.add_argument('--devices', nargs='+', default=(), metavar='DEVICE',
                        help='devices to run on, each run on one that is free: cuda:0 cuda:1 ... (default: what '
                             '--device says for every run)')
    parser.add_argument('--devices_per_run', type=number(int, 1), default=1, metavar='N',
                        help='processes that make each run together, by torchrun: each on a device of its own, or '
                             'where no --devices are given on a share of the threads')


def slots_of(options, flags=()):
    """A list of Slots for the parsed --jobs and --devices; flags: those of every run."""
    devices = list(dict.fromkeys(options.devices))
    if devices and any(word.partition('=')[0] == '--device' for word in flags):
        raise InputError('--devices and --device both say where to run: leave one out.')
    for device in devices:
        choose_device(device)
    each = options.devices_per_run
    if each > 1 and (len(devices) % each or 'cpu' in devices):
        raise InputError(f'--devices names {", ".join(devices)}, which are not {each} CUDA devices for each run, as '
                         '--devices_per_run asks: name a multiple of them, or none to share the threads.')
    groups = [tuple(devices[start:start + each]) for start in range(0, len(devices), each)]
    what = 'devices' if each == 1 else 'groups of devices'
    jobs = options.jobs or len(groups) or 1
    if jobs < len(groups):
        raise InputError(f'--jobs {jobs} is less than the {len(groups)} {what}: name as many as are to be used.')
    if groups and jobs % len(groups):
        raise InputError(f'--jobs {jobs} is no multiple of the {len(groups)} {what}: give each as many runs.')
    threads = max(1, torch.get_num_threads() // (jobs * each)) if jobs * each > 1 else None
    return [Slot(threads, groups[place % len(groups)] if groups else (), each) for place in range(jobs)]


def launch(job, slot):
    """Main.py in a process of its own, which goes on where the run's folder stands; all that it says in one pipe.

    It is in a process group of its own, so that Ctrl-C reaches it once, from here, and it can save where it is. Where
    this process is killed, it ends, saved, as soon as it has something to say.
    """
    return subprocess.Popen([*slot.program(), *job.command(), *slot.flags(), '--resume'], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                            env=slot.environment())
