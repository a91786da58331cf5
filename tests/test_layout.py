"""The floors of the house: no import from a lower floor to a higher one, and no room that holds too much."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = (('Utils',), ('Formats',), ('DataHandler', 'Params'), ('Datasets', 'Features', 'Model', 'Runs'),
          ('Baselines', 'Benchmark', 'Experiments'), ('Main',), ('figures', 'docs'))
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for room in FLOOR_OF for path in (ROOT / f'{room}.py', *(ROOT / room).rglob('*.py'))
               if path.is_file())


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix('.py')


def imported_rooms(path):
    """The rooms of this repository that a file imports from, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                 [node.module] if isinstance(node, ast.ImportFrom) else [])
        yield from (name.partition('.')[0] for name in names if name.partition('.')[0] in FLOOR_OF)


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_imports_from_a_higher_floor(path):
    floor = FLOOR_OF[room_of(path)]
    assert [room for room in imported_rooms(path) if FLOOR_OF[room] > floor] == []


def test_every_file_is_on_a_floor():
    listed = subprocess.run(['git', 'ls-files', '*.py'], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    rooms = {name.partition('/')[0].removesuffix('.py') for name in listed.splitlines()} - {'tests'}
    assert rooms <= set(FLOOR_OF)


def test_no_room_holds_more_than_a_fifth_of_the_code():
    lines = {}
    for path in FILES:
        lines[room_of(path)] = lines.get(room_of(path), 0) + len(path.read_text().splitlines())
    assert max(lines.values()) <= sum(lines.values()) / 5, lines


@pytest.mark.parametrize(('old', 'new'), [('Utils.Sweep', 'Experiments.Sweep'), ('Utils.Benchmark', 'Benchmark')])
def test_the_earlier_name_of_a_command_names_the_new_one(old, new):
    ended = subprocess.run([sys.executable, '-m', old], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert f'python -m {new}' in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
