"""Lets in the tenants that the operator lists.

The rule itself is in rule.py, where it can be tested without a gateway.
"""

import rule
from telling import deciding, telling
from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import config, connection
from wit_world.imports.types import Decision, Decision_Accept, Decision_Reject, Rejection


class OnConnect(exports.OnConnect):
    @deciding
    def decide(self, c: connection.Facts) -> Decision:
        if rule.admits(c.attribute("auth.tenant_id"), rule.tenants(config.get("tenants"))):
            return Decision_Accept()
        return Decision_Reject(
            Rejection(
                close_code=4100,
                code="tenant_unknown",
                message="this tenant has no access",
                retryable=False,
                retry_after_ms=None,
            )
        )


class Lifecycle(exports.Lifecycle):
    """Asked when the policy is loaded: a mistake in the configuration shows there."""

    @telling
    def validate_config(self) -> None:
        try:
            rule.tenants(config.get("tenants"))
        except ValueError as error:
            raise Err(str(error)) from error
