"""How every command ends: with an exit code, and one sentence where a user has something to put right."""
import os
import sys
from contextlib import suppress

from Utils.Errors import InputError, StoppedError, is_out_of_memory


def run_command(name, function, memory_advice='free some, or use a larger machine'):
    """Call the function: its exit code (None: 0), or 2 after one sentence on what the user can put right."""
    def fail(message):
        print(f'{name}: {" ".join(str(message).split())}', file=sys.stderr)
        return 2

    with suppress(AttributeError):  # a stream that stands in for the terminal may have no encoding
        sys.stdout.reconfigure(errors='backslashreplace')  # names that the terminal cannot show, as for stderr
    try:
        return function() or 0
    except InputError as error:
        return fail(error)
    except StoppedError as stopped:
        print(f'{name}: {stopped}', file=sys.stderr)
        return stopped.exit_code
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return fail(f'{error.filename or "a file"} cannot be read or written ({error.strerror or error}).')
    except KeyboardInterrupt:
        print(f'\n{name}: stopped', file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return fail(f'There is not enough memory: {memory_advice}.')
