"""Tables behind the figures: as CSV, as Markdown, and in the README, so that no number there is typed by hand."""
import csv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / 'figures'


def write_csv(path, rows, columns=None):
    """rows: dictionaries; keys that are not among the columns (default: the first row's keys) are left out."""
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, columns or list(rows[0]), extrasaction='ignore')
        writer.writeheader()
        writer.writerows(rows)


def write_markdown(name, rows):
    """Write figures/NAME.md and put the table between the README's `<!-- NAME -->` and `<!-- /NAME -->`, where it has
    them. Returns the table."""
    lines = [list(rows[0]), ['---'] * len(rows[0]), *(list(row.values()) for row in rows)]
    text = '\n'.join('| ' + ' | '.join(str(cell) for cell in line) + ' |' for line in lines)
    (FIGURES / f'{name}.md').write_text(text + '\n')
    readme, start, end = ROOT / 'README.md', f'<!-- {name} -->', f'<!-- /{name} -->'
    page = readme.read_text()
    if start in page and end in page:
        before, _, rest = page.partition(start)
        readme.write_text(f'{before}{start}\n{text}\n{end}{rest.partition(end)[2]}')
    return text
