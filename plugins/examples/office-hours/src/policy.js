// Lets callers in while the office is open. The rule itself is in rule.js, where it can be tested without a gateway.

import { nowMs } from "sluice:policy/clock@0.1.0";
import { get } from "sluice:policy/config@0.1.0";
import { admit, hours } from "./rule.js";
import { deciding } from "./telling.js";

export const onConnect = {
  // u64 comes as a BigInt; milliseconds since 1970 fit a number for another 285,000 years.
  decide: deciding(() => admit(Number(nowMs()), hours(get))),
};

// Asked when the policy is loaded: a mistake in the configuration shows there. What is thrown is what the operator reads.
export const lifecycle = {
  validateConfig() {
    hours(get);
  },
};
