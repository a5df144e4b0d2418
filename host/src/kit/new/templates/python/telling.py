"""Has the log say what a hook raises.

An exception ends the call, and all that the gateway sees of it is a trap. So the log is told first, and the gateway puts
that into its account of the crash.
"""

from collections.abc import Callable
from functools import wraps
from traceback import extract_tb

from wit_world.imports import log


def telling[**Given, Answer](hook: Callable[Given, Answer]) -> Callable[Given, Answer]:
    @wraps(hook)
    def asked(*given: Given.args, **named: Given.kwargs) -> Answer:
        try:
            return hook(*given, **named)
        except Exception as error:
            place = extract_tb(error.__traceback__)[-1]
            log.write(log.Level.ERROR, f"{type(error).__name__}: {error} (at {place.filename}:{place.lineno})")
            raise

    return asked
