"""What the documents name is there: links and their anchors, commands and their flags, files, folders, every flag."""
import ast
import importlib
import inspect
import re
import shlex
import subprocess
from argparse import ArgumentParser
from collections import Counter
from contextlib import suppress
from functools import cache, reduce
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import pytest

from docs.usage import PAGE, renewed
from Params import build_parser, parse
from Utils.Errors import InputError

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r'\s*```')
SPAN = re.compile(r'`[^`]+`')
LINK = re.compile(r'\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<(?:a|img)\s[^>]*?(?:href|src)="([^"]+)"')
ELSEWHERE = re.compile(r'[a-z]+:')  # https:, mailto:
PLACEHOLDER = re.compile(r'[A-Z]+\d?|.*[\[\]<>{}$*].*|.*\.\.\..*')  # NAME, FLAG=V1, DIR/x, `...`
NAMED_FILE = re.compile(r'(?<![\w/.*<>{}-])((?:[\w-]+/)+[\w-]+\.[a-z]{2,4}|[\w-]+\.(?:py|md))(?![\w/])')
NAMED_MODULE = re.compile(r'python -m ([A-Za-z_][\w.]*\w)')


def files_of_the_repository():
    """Paths below ROOT: what git has or would take; without git all but what is hidden."""
    try:
        listed = subprocess.run(['git', 'ls-files', '--cached', '--others', '--exclude-standard'], cwd=ROOT, text=True,
                                capture_output=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob('*')]
        listed = [path for path in listed if not any(part.startswith('.') for part in Path(path).parts)]
    return [ROOT / path for path in dict.fromkeys(listed) if (ROOT / path).is_file()]


FILES = files_of_the_repository()
DOCUMENTS = [path for path in FILES if path.suffix == '.md']
SCRIPTS = [path for path in FILES if path.suffix == '.py']
TEXTS = [*DOCUMENTS, *SCRIPTS, ROOT / 'Makefile', ROOT / 'pyproject.toml']
OURS = {path.relative_to(ROOT).parts[0] for path in SCRIPTS if path.parent != ROOT}  # folders with code


def name_of(path):
    return str(path.relative_to(ROOT))


def lines_of(document):
    """(number, text, whether it is code) of every line; the fences themselves are left out."""
    code = False
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if FENCE.match(line):
            code = not code
        else:
            yield number, line, code


# Links

def anchors_of(document):
    """What a link may name after the `#`: GitHub's form of the headings."""
    seen, anchors = Counter(), set()
    for _, line, code in lines_of(document):
        if not code and (heading := re.match(r'#+\s+(.*)', line)):
            text = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading[1]).strip().lower()
            slug = re.sub(r'[^\w\- ]', '', text).replace(' ', '-')
            anchors.add(f'{slug}-{seen[slug]}' if seen[slug] else slug)
            seen[slug] += 1
        anchors.update(re.findall(r'<a\s+(?:id|name)="([^"]+)"', '' if code else line))
    return anchors


def links_of(document):
    for number, line, code in lines_of(document):
        if not code:
            yield from ((number, first or second) for first, second in LINK.findall(SPAN.sub('', line)))


@pytest.mark.parametrize('document', DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document):
    places = {*FILES, *(folder for path in FILES for folder in path.parents)}
    broken = []
    for number, link in links_of(document):
        if not ELSEWHERE.match(link):
            path, _, anchor = link.partition('#')
            target = (document.parent / path).resolve() if path else document
            if target not in places:
                broken.append(f'line {number}: {link}: no such file in the repository')
            elif anchor and anchor not in anchors_of(target):
                broken.append(f'line {number}: {link}: no such heading')
    assert not broken, '\n'.join(broken)


# Commands

def code_of(document):
    """(line, text) of every line in a block of code, continued ones joined, and of every span of code."""
    held = ''
    for number, line, code in lines_of(document):
        for text in [held + line] if code else [span[1:-1].replace(r'\|', '|') for span in SPAN.findall(line)]:
            held = f'{text[:-1]} ' if code and text.endswith('\\') else ''
            if not held:
                yield number, text


def usage_of(script):
    """(line, text) of what a module's docstring gives as its command: after a colon, or indented."""
    docstring = ast.get_docstring(ast.parse(script.read_text()), clean=False) or ''
    for number, line in enumerate(docstring.splitlines(), 1):
        if found := re.search(r'(?:: |^    )(python .*)', line):
            yield number, found[1]


def commands_of(lines):
    """(line, words) of every `python ...` and `make ...`, also behind `srun` or `NAME=value`, or one of several."""
    for number, text in lines:
        for part in re.split(r' (?:&&|\|\||[&|;>])(?= |$)', re.sub(r'(^|\s)# .*', '', text)):
            if found := re.match(r'\s*(?:\$ )?(?:\w+=\S+ +|srun +)*((?:python|make) .*)', part):
                yield number, [word.strip('[]') for word in shlex.split(found[1])]


COMMANDS = [pytest.param(words, id=f'{name_of(path)}:{number}: {" ".join(words)[:60]}')
            for path, lines in [*((path, code_of(path)) for path in DOCUMENTS),
                                *((path, usage_of(path)) for path in SCRIPTS)]
            for number, words in commands_of(lines)]


class ParsingError(Exception):
    """Raised in the place of parsing; holds the parser."""


@cache
def parser_of(module):
    """The argparse parser of a script: its `main` is run up to where it would read the command line."""
    def stop(self, *_):
        raise ParsingError(self)

    main = importlib.import_module(module).main
    if not inspect.signature(main).parameters:
        return ArgumentParser()
    with mock.patch.object(ArgumentParser, 'parse_known_args', stop):
        try:
            main([])
        except ParsingError as stopped:
            return stopped.args[0]
    raise AssertionError(f'{module} reads no command line')


def found_module(name):
    """The specification of a module, of a package that of what `python -m` runs; None where there is none."""
    with suppress(ImportError):
        spec = find_spec(name)
        return find_spec(f'{name}.__main__') if spec and spec.submodule_search_locations else spec
    return None


def module_of(words):
    """(module that a command runs, its arguments); None for a module that is not ours."""
    if words[1] == '-m':
        spec = found_module(words[2])
        assert spec, f'There is no module {words[2]}'
        return spec.name if Path(spec.origin) in FILES else None, words[3:]
    assert ROOT / words[1] in FILES, f'There is no file {words[1]}'
    return words[1].removesuffix('.py').replace('/', '.'), words[2:]


@pytest.mark.parametrize('words', COMMANDS)
def test_every_command_can_be_given(words):
    """Its script is there and knows its flags; where no value is left open, they are understood, values and all."""
    if words[0] == 'make':
        makefile = (ROOT / 'Makefile').read_text()
        assert all(re.search(rf'^{target}:', makefile, re.M) for target in words[1:])
        return
    if PLACEHOLDER.fullmatch(Path(words[1]).stem):  # any script of a folder
        return
    module, arguments = module_of(words)
    if module is None:
        return
    parser = parser_of(module)
    passes_on = 'Main.py' in (parser.epilog or '')
    known = {*parser._option_string_actions, *(build_parser()._option_string_actions if passes_on else ())}
    flags = [word.partition('=')[0] for word in arguments if word.startswith('--') and word != '--']
    assert {*flags} <= known, f'{module} does not know {", ".join({*flags} - known)}'
    if not arguments or '--help' in flags or any(PLACEHOLDER.fullmatch(word) for word in arguments):
        return  # the script is only named, or its form is shown
    try:
        if module == 'Main':
            parse(arguments)
        else:
            _, rest = parser.parse_known_args(arguments)
            assert passes_on or rest == []
            parse(rest)
    except (InputError, SystemExit) as error:
        pytest.fail(f'{" ".join(words)}: {error}')


def test_the_commands_are_found():
    """Lest the checks above have nothing to do."""
    scripts = {words[1] for (words,) in (command.values for command in COMMANDS) if len(words) > 1}
    assert {'Main.py', 'Datasets/check.py', '-m', 'demo'} <= scripts


# Names

def is_a_file(named, folder):
    """`Utils/NCE.py` in a folder with code, from the top or from the folder of the text; `NCE.py` in any. What is
    elsewhere, such as in a run's folder, is left alone."""
    if '/' not in named:
        return named in {path.name for path in FILES}
    return named.partition('/')[0] not in OURS or not {*FILES}.isdisjoint({ROOT / named, folder / named})


@pytest.mark.parametrize('path', TEXTS, ids=name_of)
def test_every_file_that_is_named_exists(path):
    text = path.read_text()
    missing = [named for named in NAMED_FILE.findall(text)
               if Path(named).stem != 'NAME' and not is_a_file(named, path.parent)]
    missing += [module for module in NAMED_MODULE.findall(text) if found_module(module) is None]
    assert not missing, ', '.join(missing)


def is_there(name):
    """Whether a dotted name, such as Model.MDMNS.project, leads to something."""
    parts = name.split('.')
    for n in range(len(parts), 0, -1):
        with suppress(ImportError):
            return reduce(lambda found, part: getattr(found, part, None), parts[n:],
                          importlib.import_module('.'.join(parts[:n]))) is not None
    return False


@pytest.mark.parametrize('document', DOCUMENTS, ids=name_of)
def test_everything_that_is_named_by_its_module_exists(document):
    rooms = '|'.join({path.relative_to(ROOT).parts[0].removesuffix('.py') for path in SCRIPTS} - {'docs', 'tests'})
    names = set(re.findall(rf'(?<![\w/.])((?:{rooms})(?:\.[A-Za-z_]\w*)+)', document.read_text()))
    missing = [name for name in sorted(names) if not name.endswith('.py') and not is_there(name)]
    assert not missing, ', '.join(missing)


def test_readme_names_every_folder_at_the_top():
    readme = (ROOT / 'README.md').read_text()
    folders = {path.relative_to(ROOT).parts[0] for path in FILES if path.parent != ROOT}
    assert [folder for folder in sorted(folders) if not folder.startswith('.')
            and not re.search(rf'(?<![\w/]){folder}/', readme)] == []


# Flags

def test_usage_lists_every_flag():
    page = PAGE.read_text()
    assert page == renewed(page), 'The flags have changed: `python docs/usage.py` renews docs/USAGE.md.'
    for flag in build_parser()._option_string_actions:
        assert flag in ('-h', '--help') or f'| `{flag}' in page
