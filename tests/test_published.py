"""What is published is what the scripts make of the saved runs, in pictures that can be read; the pages show it."""
import math
import re
from itertools import combinations

import pytest
from saved_runs import rows_of

from Experiments.Tables import FIGURES, PAGES, ROOT
from figures import (
    ablation,
    approximations,
    curves,
    groups,
    model,
    parts,
    performance,
    search,
    sensitivity,
    significance,
    variants,
)

DATA = ROOT.parent / 'shared' / 'data'
TABLES = {ablation: ['ablation'], approximations: ['cl_sample', 'precision'], curves: ['curves', 'released'],
          groups: ['groups', 'found'], model: ['model'], performance: ['performance', 'grids', 'tried', 'suites'],
          sensitivity: ['sensitivity'], significance: ['significance', 'significance_models', 'protocols'],
          parts: ['parts'], search: ['search', 'search_grids'], variants: ['variants']}


def texts_of(figure):
    """Every text that is seen, the ticks' too."""
    yield from figure.texts
    for legend in figure.legends:
        yield from legend.get_texts()
    for panel in figure.axes:
        yield from (panel.title, panel._left_title, *panel.texts)
        yield from panel.get_legend().get_texts() if panel.get_legend() else ()
        for axis in (panel.xaxis, panel.yaxis) if panel.axison else ():
            low, high = sorted(axis.get_view_interval())
            yield axis.label
            yield from (tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)


def check_layout(figure):
    """No text over another or out of the picture, no legend of the whole picture over a panel."""
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_of(figure)
             if text.get_visible() and text.get_text().strip()]
    for words, box in boxes:
        assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) > -1, f'{words!r} is cut off'
    for (words, box), (other, its) in combinations(boxes, 2):
        over = min(box.x1, its.x1) - max(box.x0, its.x0), min(box.y1, its.y1) - max(box.y0, its.y0)
        assert min(over) < 1, f'{words!r} over {other!r}'
    for legend in figure.legends:
        assert not any(legend.get_window_extent().overlaps(panel.get_tightbbox()) for panel in figure.axes)


def same(ours, published):
    try:
        return math.isclose(float(ours), float(published), rel_tol=1e-6, abs_tol=1e-12)
    except ValueError:
        return ours == published


@pytest.mark.parametrize('script', TABLES, ids=lambda script: script.NAME)
def test_published_tables_are_what_comes_of_the_saved_runs(script, to, monkeypatch):
    monkeypatch.chdir(ROOT)
    if script is groups and not (DATA / 'tiktok').is_dir():
        pytest.skip(f'no TikTok in {DATA}')
    drawn, save = [], getattr(script, 'save', None)  # of those that draw

    def checked(figure, path):
        drawn.append(path)
        check_layout(figure)
        save(figure, path)

    if save:
        monkeypatch.setattr(script, 'save', checked)
    script.main(['--to', str(to), *(() if script is model else ('--data_dir', str(DATA)))])
    assert drawn == ([to / f'{script.NAME}.png'] if save else [])
    for name in TABLES[script]:
        ours, published = rows_of(to / f'{name}.csv'), rows_of(FIGURES / f'{name}.csv')
        assert len(ours) == len(published)
        for row, other in zip(ours, published, strict=True):
            assert row.keys() == other.keys()
            assert {column for column in row if not same(row[column], other[column])} == set()
        assert (to / f'{name}.md').read_text() == (FIGURES / f'{name}.md').read_text()


def test_every_run_that_is_tested_over_users_has_its_users():
    """One without would be left out of the comparison, and the row would still give its seed."""
    runs = [path.parent for study in ('search', 'baselines')
            for path in (ROOT / 'results').glob(f'*/{study}/*/chosen/*/result.json')]
    assert len(runs) > 100
    assert [str(folder) for folder in runs if not (folder / 'per_user.npz').is_file()] == []


def test_every_point_of_the_searches_is_published():
    expected = {(path.parts[-6], path.parts[-3])
                for path in (ROOT / 'results').glob('*/search/*/*=*/*/metrics.csv')}
    rows = rows_of(FIGURES / 'search_points.csv')
    assert {(row['data set'], row['point']) for row in rows} == expected
    assert [{name: str(value) for name, value in row.items()} for row in search.points(ROOT / 'results')] == rows


def tables_in(page):
    return dict(re.findall(r'<!-- (\w+) -->\n(.*?)\n<!-- /\1 -->', page, re.DOTALL))


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_the_pages_show_the_published_tables(page):
    shown = tables_in(page.read_text())
    assert shown == {name: (FIGURES / f'{name}.md').read_text().strip() for name in shown}


def test_every_table_is_shown():
    """But that of the picture of the model."""
    pages = (*PAGES, ROOT / 'docs' / 'SCALING.md')
    shown = {name for page in pages for name in tables_in(page.read_text())}
    assert shown == {path.stem for path in FIGURES.glob('*.md')} - {'model'}


def test_the_page_on_scaling_shows_its_tables():
    shown = tables_in((ROOT / 'docs' / 'SCALING.md').read_text())
    assert shown == {name: (FIGURES / f'{name}.md').read_text().strip() for name in shown}
    assert len(shown) == 4


def prose_of(page):
    text = re.sub(r'<!-- (\w+) -->.*?<!-- /\1 -->', '', page.read_text(), flags=re.DOTALL)
    return re.sub(r'```.*?```', '', text, flags=re.DOTALL)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_figures_in_the_prose_are_cells_of_a_table(page):
    cells = set(re.findall(r'0\.\d{4}\b', '\n'.join(path.read_text() for path in FIGURES.glob('*.md'))))
    assert set(re.findall(r'0\.\d{4}\b', prose_of(page))) <= cells
