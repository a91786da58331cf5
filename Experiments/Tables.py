"""Tables behind the figures: as CSV, as Markdown, and in the README, so that no number there is typed by hand."""
import csv
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / 'figures'


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


def write_csv(path, rows, columns=None):
    """rows: dictionaries; keys that are not among the columns (default: all keys) are left out."""
    rows = [{name: cell for column, value in row.items()
             for name, cell in (value.cells(column) if isinstance(value, Spread) else {column: value}).items()}
            for row in rows]
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, columns or list(dict.fromkeys(name for row in rows for name in row)),
                                extrasaction='ignore')
        writer.writeheader()
        writer.writerows(rows)


def write_markdown(name, rows, folder=None):
    """Write NAME.md into the folder (default: figures/) and, by default, put the table between the README's
    `<!-- NAME -->` and `<!-- /NAME -->`, where it has them. Returns the table."""
    lines = [list(rows[0]), ['---'] * len(rows[0]), *(list(row.values()) for row in rows)]
    text = '\n'.join('| ' + ' | '.join(str(cell) for cell in line) + ' |' for line in lines)
    folder = Path(folder or FIGURES)
    (folder / f'{name}.md').write_text(text + '\n')
    readme, start, end = ROOT / 'README.md', f'<!-- {name} -->', f'<!-- /{name} -->'
    page = readme.read_text()
    if folder.resolve() == FIGURES and start in page and end in page:
        before, _, rest = page.partition(start)
        readme.write_text(f'{before}{start}\n{text}\n{end}{rest.partition(end)[2]}')
    return text
