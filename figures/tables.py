"""Tables behind the figures: as CSV, as Markdown, and in the README, so that no number there is typed by hand."""
import csv
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
README = FOLDER.parent / 'README.md'


def write_table(name, rows):
    """rows: dictionaries with the same keys. Writes NAME.csv and NAME.md beside this file and puts the table between
    the README's `<!-- NAME -->` and `<!-- /NAME -->`, where it has them. Returns the Markdown."""
    with open(FOLDER / f'{name}.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    lines = [list(rows[0]), ['---'] * len(rows[0]), *(list(row.values()) for row in rows)]
    text = '\n'.join('| ' + ' | '.join(str(cell) for cell in line) + ' |' for line in lines)
    (FOLDER / f'{name}.md').write_text(text + '\n')
    start, end = f'<!-- {name} -->', f'<!-- /{name} -->'
    readme = README.read_text()
    if start in readme and end in readme:
        before, _, rest = readme.partition(start)
        README.write_text(f'{before}{start}\n{text}\n{end}{rest.partition(end)[2]}')
    return text
