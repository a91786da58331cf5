"""Files put aside until others have taken their place: whatever happens in between, even SIGKILL, they can be put back.

Where they are says how far it got: in COMING some have been moved there, in EARLIER all of them, in LEAVING they are no
longer wanted.
"""
import shutil

COMING, EARLIER, LEAVING = '.earlier.partial', '.earlier', '.earlier.unwanted'


def put_aside(folder, names):
    """Move the files of these names that the folder holds into a folder inside it."""
    (folder / COMING).mkdir()
    for name in names:
        if (folder / name).exists():
            (folder / name).rename(folder / COMING / name)
    (folder / COMING).rename(folder / EARLIER)


def drop(folder):
    """Remove what was put aside, if anything."""
    if (folder / EARLIER).is_dir():
        (folder / EARLIER).rename(folder / LEAVING)
    shutil.rmtree(folder / LEAVING, ignore_errors=True)


def put_back(folder, names):
    """What was put aside and not dropped takes its place again; files of these names that have come since go."""
    shutil.rmtree(folder / LEAVING, ignore_errors=True)
    if (folder / EARLIER).is_dir():
        for name in names:
            (folder / name).unlink(missing_ok=True)
        (folder / EARLIER).rename(folder / COMING)
    if (folder / COMING).is_dir():
        for path in (folder / COMING).iterdir():
            path.rename(folder / path.name)
        (folder / COMING).rmdir()
