"""Tables behind the figures: as CSV, as Markdown, and in the pages that show them, so that no number there is typed by
hand."""
import csv
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from uuid import uuid4

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / 'figures'
PAGES = tuple(ROOT / name for name in ('README.md', 'docs/RESULTS.md', 'docs/VARIANTS.md'))  # show published tables


@dataclass(frozen=True)
class Spread:
    """A cell: mean and, of several values, standard deviation; empty without values. In a CSV two columns."""

    values: tuple

    def __str__(self):
        if not self.values:
            return ''
        return f'{mean(self.values):.4f}' + (f' ± {stdev(self.values):.4f}' if len(self.values) > 1 else '')

    def cells(self, column):
        return {column: mean(self.values) if self.values else '',
                f'{column} (std)': stdev(self.values) if len(self.values) > 1 else ''}


def spread(values):
    """A Spread of the values that are there."""
    return Spread(tuple(value for value in values if value is not None))


@contextmanager
def replacing(path):
    """A path to write to, whose file takes the place of `path` at the end: nobody ever reads half of it."""
    partial = path.with_name(f'{path.stem}.{uuid4().hex}.partial{path.suffix}')  # others may be at the same file
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_csv(path):
    """Its rows as dictionaries of strings."""
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def write_csv(path, rows, columns=None):
    """rows: dictionaries; keys that are not among the columns (default: all keys) are left out."""
    rows = [{name: cell for column, value in row.items()
             for name, cell in (value.cells(column) if isinstance(value, Spread) else {column: value}).items()}
            for row in rows]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(Path(path)) as partial, open(partial, 'w', newline='') as file:
        writer = csv.DictWriter(file, columns or list(dict.fromkeys(name for row in rows for name in row)),
                                extrasaction='ignore')
        writer.writeheader()
        writer.writerows(rows)


def write_markdown(name, rows, folder, pages=()):
    """Write NAME.md into the folder, and put the table into those of the pages that have a place for it, between
    `<!-- NAME -->` and `<!-- /NAME -->`. Returns the table."""
    lines = [list(rows[0]), ['---'] * len(rows[0]), *(list(row.values()) for row in rows)]
    text = '\n'.join('| ' + ' | '.join(str(cell) for cell in line) + ' |' for line in lines)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with replacing(Path(folder) / f'{name}.md') as partial:
        partial.write_text(text + '\n')
    start, end = f'<!-- {name} -->', f'<!-- /{name} -->'
    for path in pages:
        page = path.read_text()
        before, found, rest = page.partition(start)
        _, closed, after = rest.partition(end)
        if found and closed:
            with replacing(path) as partial:
                partial.write_text(f'{before}{start}\n{text}\n{end}{after}')
    return text
