"""A lock file that one process at a time holds, on one machine or on several that share the folder.

It is filelock's lease: the file is made in one indivisible step (on NFS, too), names its holder, and is touched by it
regularly. A holder on the same machine is told dead by its process number and start, one on another machine by a file
that nobody has touched for as long as STALE. Kernel locks (flock) end with their process at once, but file systems of
clusters often keep them to one machine.
"""
import os
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from Utils.Errors import InputError
from Utils.TimeLogger import log

STALE = 180  # seconds without a sign of life after which a holder counts as dead
HEARTBEAT = 20  # seconds between its signs of life
FRESH = 60  # seconds: age of a sign of life that shows a living holder, whatever two machines' clocks differ by
POLL = 0.05  # seconds between two attempts


class Lock:
    LOST = 'This process no longer holds'

    def __init__(self, path):
        """path: the lock file; the folder that it is in has to be there."""
        self.path = Path(path)
        self.lease = SoftFileLease(self.path, lease_duration=STALE, heartbeat_interval=HEARTBEAT, thread_local=False)

    def take(self):
        """Hold the lock, if nobody alive does: whether it is held now. Asked again and again, it sees a holder on
        another machine die. OSError where the file cannot be written."""
        for _ in range(2):  # on some file systems the first attempt only removes what a dead holder left
            try:
                self.lease.acquire(blocking=False)
                return True
            except Timeout:
                self._remove_unwritten()
            except LeaseSettingsMismatch:  # of another version of this suite
                return False
        return False

    def take_when_left(self):
        """Hold the lock, if need be after having watched a holder for as long as it could still show life; whether it
        is held now. It is not where there is a sign of life."""
        if self.take():
            return True
        seen = self._sign_of_life()
        if seen is not None and time.time() - seen < FRESH:
            return False
        log(f'{self.path} is held by {self.holder()}: watching it for a sign of life, for {STALE} seconds at most')
        while self._sign_of_life() in (seen, None):
            if self.take():
                return True
            time.sleep(POLL)
        return self.take()

    @contextmanager
    def held(self):
        """Wait for the lock and hold it."""
        while not self.take():
            time.sleep(POLL)
        try:
            yield
        finally:
            self.release()

    def release(self):
        self.lease.release()

    def check(self):
        """InputError where this process no longer holds the lock: then another may be at work, and write."""
        owner = self.lease.owner
        if owner is None or owner.token != self.lease.token:
            raise InputError(f'{self.LOST} {self.path}: the file was removed, or {self.holder()} has '
                             f'taken the work over because this one stood still for more than {STALE} seconds. It '
                             'ends here and writes nothing more.')

    def holder(self):
        """Who holds the lock, in words."""
        owner = self.lease.owner
        return f'process {owner.pid} on {owner.hostname.partition("?")[0]}' if owner else 'another process'

    def _sign_of_life(self):
        """When the holder last touched the file; None where there is none."""
        with suppress(FileNotFoundError):
            return self.path.stat().st_mtime
        return None

    def _remove_unwritten(self):
        """Remove an empty lock file that is no longer being made: its maker died before its first word."""
        with suppress(OSError):
            seen = self.path.stat()
            if seen.st_size or time.time() - seen.st_mtime < FRESH:
                return
            aside = self.path.with_name(f'{self.path.name}.{uuid.uuid4().hex}')
            self.path.rename(aside)
            if aside.stat().st_ino != seen.st_ino:  # another process was quicker: what was moved is its lock
                os.link(aside, self.path)
            aside.unlink()
