"""Has the log say what a hook raises.

An exception ends the call, and all that the gateway sees of it is a trap. So the log is told first, and the gateway puts
that into its account of the crash.
"""

from collections.abc import Callable
from functools import wraps

from wit_world.imports import log


def telling[**Given, Answer](hook: Callable[Given, Answer]) -> Callable[Given, Answer]:
    @wraps(hook)
    def asked(*given: Given.args, **named: Given.kwargs) -> Answer:
        try:
            return hook(*given, **named)
        except Exception as error:
            log.write(log.Level.ERROR, f"{type(error).__name__}: {error}{place(error)}")
            raise

    return asked


def place(error: Exception) -> str:
    """Where it was raised. The module `traceback` would look for the file, and there are none."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" (at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace else ""
