"""Plain values in, a decision out. Whom it asks is an argument."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# A counter lives for as many milliseconds as 32 bits can say.
LONGEST = 49 * UNITS["d"]
# Each place that is taken is one more question to the gateway.
MOST_AT_ONCE = 100


class Asks(Protocol):
    def claim(self, key: str) -> bool:
        """Takes a key for this connection until it ends; false where another one has it."""

    def add(self, key: str, amount: int, life_ms: int) -> int | None:
        """Adds to a counter, and gives its new value; none where there is no room for another one."""


class TooMany(Exception):
    """Why a session is one too many, in the words of a rejection."""

    def __init__(self, close_code: int, code: str, message: str, retryable: bool) -> None:
        self.close_code = close_code
        self.code = code
        self.message = message
        self.retryable = retryable


@dataclass
class Quota:
    # The attribute that an earlier policy leaves.
    tenant: str
    at_once: int | None
    total: int | None
    per_ms: int

    @staticmethod
    def read(get: Callable[[str], str | None]) -> "Quota":
        """From the configuration, where each value is JSON text."""

        def value(key: str, otherwise: object) -> object:
            text = get(key)
            return otherwise if text is None else json.loads(text)

        tenant = value("tenant", "auth.tenant_id")
        if not isinstance(tenant, str) or not tenant:
            raise ValueError('`tenant` must be the name of an attribute: "auth.tenant_id"')
        at_once = number("at_once", value("at_once", None), MOST_AT_ONCE)
        total = number("total", value("total", None), 1_000_000_000)
        if at_once is None and total is None:
            raise ValueError("there is no quota: say `at_once`, `total` or both")
        return Quota(tenant, at_once, total, duration("per", value("per", "24h")))

    def admit(self, tenant: str | None, asks: Asks) -> None:
        if not tenant:
            raise TooMany(4005, "tenant_missing", "no tenant is known here", False)
        # As JSON, so that no tenant's name can be made to look like another's key.
        if self.at_once is not None:
            places = (json.dumps(["tenant-quota", tenant, place]) for place in range(self.at_once))
            # The gateway gives a place back when its connection ends, whatever ends it.
            if not any(asks.claim(place) for place in places):
                raise TooMany(4120, "too_many_sessions", f"no more than {self.at_once} at once", True)
        if self.total is not None:
            used = asks.add(tenant, 1, self.per_ms)
            if used is None:
                raise TooMany(4122, "quota_unknown", "sessions cannot be counted now", True)
            if used > self.total:
                asks.add(tenant, -1, self.per_ms)
                raise TooMany(4121, "quota_used", f"the quota of {self.total} is used", True)


def number(key: str, value: object, most: int) -> int | None:
    # A bool is an int in Python, and none here.
    if value is None or (type(value) is int and 1 <= value <= most):
        return value
    raise ValueError(f"`{key}` must be a whole number from 1 to {most}")


def duration(key: str, value: object) -> int:
    if isinstance(value, str) and value[:-1].isdecimal() and value[-1] in UNITS:
        length = int(value[:-1]) * UNITS[value[-1]]
        if 0 < length <= LONGEST:
            return length
    raise ValueError(f'`{key}` must be like "90s", "30m", "24h" or "7d", and 49 days at the most')
