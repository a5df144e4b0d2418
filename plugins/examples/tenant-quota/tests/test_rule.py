import json
import unittest

from rule import Quota, TooMany


class World:
    """A gateway with a room of counters."""

    def __init__(self, taken: set[str] = frozenset(), room: bool = True) -> None:
        self.taken = set(taken)
        self.counters: dict[str, int] = {}
        self.room = room

    def claim(self, key: str) -> bool:
        free = key not in self.taken
        self.taken.add(key)
        return free

    def add(self, key: str, amount: int, life_ms: int) -> int | None:
        if not self.room:
            return None
        self.counters[key] = self.counters.get(key, 0) + amount
        return self.counters[key]


def quota(**values: object) -> Quota:
    return Quota.read({key: json.dumps(value) for key, value in values.items()}.get)


class Rule(unittest.TestCase):
    def refused(self, quota: Quota, tenant: str | None, world: World) -> str:
        with self.assertRaises(TooMany) as refusal:
            quota.admit(tenant, world)
        return refusal.exception.code

    def test_a_tenant_has_so_many_places_and_another_its_own(self):
        world = World()
        two = quota(at_once=2)
        two.admit("acme", world)
        two.admit("acme", world)
        self.assertEqual(self.refused(two, "acme", world), "too_many_sessions")
        two.admit("other", world)

    def test_a_place_that_became_free_is_found(self):
        two = quota(at_once=2)
        two.admit("acme", World({json.dumps(["tenant-quota", "acme", 0])}))

    def test_no_name_of_a_tenant_takes_the_place_of_another(self):
        world = World()
        one = quota(at_once=1)
        for tenant in ("a", 'a", 0', "a/0", "a]"):
            one.admit(tenant, world)

    def test_a_refused_session_is_not_counted(self):
        world = World()
        three = quota(total=3)
        for _ in range(3):
            three.admit("acme", world)
        for _ in range(2):
            self.assertEqual(self.refused(three, "acme", world), "quota_used")
        self.assertEqual(world.counters, {"acme": 3})

    def test_nobody_gets_in_because_counting_fails_or_no_tenant_is_known(self):
        self.assertEqual(self.refused(quota(total=1), "acme", World(room=False)), "quota_unknown")
        self.assertEqual(self.refused(quota(total=1), None, World()), "tenant_missing")
        self.assertEqual(self.refused(quota(at_once=1), "", World()), "tenant_missing")

    def test_a_quota_is_required_and_what_makes_no_sense_is_said(self):
        for values in (
            {},
            {"at_once": 0},
            {"at_once": True},
            {"at_once": 101},
            {"at_once": "2"},
            {"total": -1},
            {"total": 1.5},
            {"total": 1, "per": 60},
            {"total": 1, "per": "1w"},
            {"total": 1, "per": "0s"},
            {"total": 1, "per": "50d"},
            {"total": 1, "per": ""},
            {"total": 1, "tenant": ""},
        ):
            with self.assertRaises(ValueError, msg=str(values)):
                quota(**values)
        self.assertEqual(quota(total=1, per="90s").per_ms, 90_000)
