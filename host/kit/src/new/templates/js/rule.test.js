import assert from "node:assert/strict";
import { test } from "node:test";

import { admit, tenants } from "../src/rule.js";

test("only a listed tenant gets in", () => {
  const listed = tenants('["acme"]');
  assert.equal(admit("acme", listed).tag, "accept");
  assert.equal(admit("other", listed).val.code, "tenant_unknown");
  assert.equal(admit(undefined, listed).tag, "reject");
});

test("a list is required", () => {
  assert.throws(() => tenants(undefined));
  assert.throws(() => tenants("[]"));
});
