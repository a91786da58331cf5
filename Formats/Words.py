"""How files, lines and cells are quoted in messages."""
LONGEST = 80  # characters of a cell or line that a message repeats


def shown(text):
    """A cell or a line as a message shows it: quoted, so that blanks at the ends are seen, and not too long."""
    told = repr(text[:LONGEST + 1])
    return told if len(told) <= LONGEST else f'{told[:LONGEST - 4]}...{told[0]}'


def listed(names, most=12):
    """Names of columns or files, so many at most."""
    told = ', '.join(name if len(name) <= 40 else f'{name[:37]}...' for name in names[:most])
    return f'{told}, ... ({len(names):,} in all)' if len(names) > most else told


def column_name(position, names):
    """A column as messages name it: by its name where it has one, else by its number from 1."""
    if names and position < len(names) and names[position]:
        return f'column {shown(names[position])}'
    return f'column {position + 1}'
