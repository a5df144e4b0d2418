// Lets in the tenants that the operator lists. The rule itself is in rule.js, where it can be tested without a gateway.

import { get } from "sluice:policy/config@0.1.0";
import { admit, tenants } from "./rule.js";
import { deciding } from "./telling.js";

export const onConnect = {
  decide: deciding((connection) => admit(connection.attribute("auth.tenant_id"), tenants(get("tenants")))),
};

// Asked when the policy is loaded: a mistake in the configuration shows there. What is thrown is what the operator reads.
export const lifecycle = {
  validateConfig() {
    tenants(get("tenants"));
  },
};
