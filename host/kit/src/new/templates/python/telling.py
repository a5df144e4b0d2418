"""Has the log say what a hook raises, and what the policy prints.

An exception ends the call, and all that the gateway sees of it is a trap. So the log is told first, and the gateway puts
that into its account of the crash. There is no output that `print` could write to: its lines go to the log.
"""

from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps

from componentize_py_types import Err
from wit_world.imports import log

HERE = __file__.rsplit("/", 1)[0] + "/"


def telling[**Given, Answer](hook: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """The hook, which tells the log what it raises, and where."""

    @wraps(hook)
    def asked(*given: Given.args, **named: Given.kwargs) -> Answer:
        printed = Printed()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                return hook(*given, **named)
            except Err:
                # An answer that the contract has.
                raise
            except BaseException as error:
                log.write(log.Level.ERROR, f"{type(error).__name__}: {error}{place(error)}")
                raise
            finally:
                printed.flush()

    return asked


def deciding[**Given, Answer](hook: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """The same for a hook that decides: what it answers must be a decision."""

    @wraps(hook)
    def decided(*given: Given.args, **named: Given.kwargs) -> Answer:
        answer = hook(*given, **named)
        if type(answer).__name__ not in ("Decision_Accept", "Decision_Reject"):
            raise TypeError(f"the policy answered {answer!r}: answer Decision_Accept() or Decision_Reject(Rejection(…))")
        return answer

    return telling(decided)


def place(error: BaseException) -> str:
    """Where it was raised: the last place in the policy's own sources. The module `traceback` would look for the file, and
    there are none."""
    found = ""
    trace = error.__traceback__
    while trace:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(HERE) and file != __file__:
            found = f" (at src/{file.removeprefix(HERE)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return found


class Printed:
    """Writes lines to the log."""

    def __init__(self) -> None:
        self.line = ""

    def write(self, text: str) -> int:
        *lines, self.line = (self.line + text).split("\n")
        for line in lines:
            log.write(log.Level.INFO, line)
        return len(text)

    def flush(self) -> None:
        if self.line:
            log.write(log.Level.INFO, self.line)
            self.line = ""
