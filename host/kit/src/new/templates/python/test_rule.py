import unittest

import rule


class Rule(unittest.TestCase):
    def test_only_a_listed_tenant_gets_in(self):
        listed = rule.tenants('["acme"]')
        self.assertTrue(rule.admits("acme", listed))
        self.assertFalse(rule.admits("other", listed))
        self.assertFalse(rule.admits(None, listed))

    def test_a_list_is_required(self):
        for text in (None, "[]", '"acme"'):
            with self.assertRaises(ValueError):
                rule.tenants(text)
