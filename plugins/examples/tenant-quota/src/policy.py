"""Lets in so many sessions of each tenant, at once and within a time.

The rule itself is in rule.py, where it can be tested without a gateway.
"""

from componentize_py_types import Err
from rule import Quota, TooMany
from telling import deciding, telling
from wit_world import exports
from wit_world.imports import config, connection, counters, sessions
from wit_world.imports.types import Decision, Decision_Accept, Decision_Reject, Rejection


class Gateway:
    """What the rule asks, asked of the gateway."""

    def __init__(self, c: connection.Facts) -> None:
        self.connection = c

    def claim(self, key: str) -> bool:
        try:
            sessions.claim(self.connection, key)
            return True
        except Err as taken:
            # Who has it does not matter. A call may hold a few handles only, so this one is given back.
            with taken.value:
                return False

    def add(self, key: str, amount: int, life_ms: int) -> int | None:
        try:
            return counters.add(key, amount, life_ms)
        except Err:
            return None


class OnConnect(exports.OnConnect):
    @deciding
    def decide(self, c: connection.Facts) -> Decision:
        quota = Quota.read(config.get)
        try:
            quota.admit(c.attribute(quota.tenant), Gateway(c))
        except TooMany as no:
            return Decision_Reject(
                Rejection(
                    close_code=no.close_code,
                    code=no.code,
                    message=no.message,
                    retryable=no.retryable,
                    retry_after_ms=None,
                )
            )
        return Decision_Accept()


class Lifecycle(exports.Lifecycle):
    """Asked when the policy is loaded: a mistake in the configuration shows there."""

    @telling
    def validate_config(self) -> None:
        try:
            Quota.read(config.get)
        except ValueError as error:
            raise Err(str(error)) from error
