"""Plain values in, a decision out."""

import json


def tenants(text: str | None) -> list[str]:
    """The operator's list, which comes as JSON text."""
    listed = json.loads(text or "null")
    if not isinstance(listed, list) or not listed:
        raise ValueError("`tenants` must be a list: list the tenants to let in")
    return listed


def admits(tenant: str | None, listed: list[str]) -> bool:
    return tenant in listed
