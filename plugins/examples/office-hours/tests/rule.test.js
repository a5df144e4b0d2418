import assert from "node:assert/strict";
import { test } from "node:test";

import { admit, hours } from "../src/rule.js";

const configured = (values) => hours((key) => (key in values ? JSON.stringify(values[key]) : undefined));
const at = (time, values = {}) => admit(Date.parse(time), configured(values));
// 5 January 2026 is a Monday.

test("it is open from the minute on which it opens to the one on which it closes", () => {
  assert.equal(at("2026-01-05T09:00:00Z").tag, "accept");
  assert.equal(at("2026-01-05T17:59:59.999Z").tag, "accept");
  assert.equal(at("2026-01-05T18:00:00Z").tag, "reject");
  assert.equal(at("2026-01-05T08:59:59.999Z").val.retryAfterMs, 1);
});

test("who comes after hours is told when it opens", () => {
  const friday = at("2026-01-09T18:00:00Z").val;
  assert.equal(friday.message, "closed until mon 09:00");
  assert.equal(friday.retryAfterMs, (2 * 24 + 15) * 3_600_000);
  assert.equal(at("2026-01-05T06:00:00Z").val.retryAfterMs, 3 * 3_600_000);
});

test("the hours are those of the office", () => {
  assert.equal(at("2026-01-05T06:00:00Z", { utc_offset: "+03:00" }).tag, "accept");
  assert.equal(at("2026-01-05T09:00:00Z", { utc_offset: "-05:30" }).tag, "reject");
  // Monday in the office, Sunday in Greenwich.
  assert.equal(at("2026-01-04T23:30:00Z", { utc_offset: "+10:00" }).tag, "accept");
});

test("a shift may end on the next day, and the week goes round", () => {
  const night = { opens: "22:00", closes: "06:00", days: ["sun"] };
  assert.equal(at("2026-01-04T23:00:00Z", night).tag, "accept");
  assert.equal(at("2026-01-05T05:59:00Z", night).tag, "accept");
  assert.equal(at("2026-01-05T06:00:00Z", night).tag, "reject");
});

test("a day can be open from end to end", () => {
  const always = { opens: "00:00", closes: "24:00", days: ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] };
  assert.equal(at("2026-01-10T00:00:00Z", always).tag, "accept");
  assert.equal(at("2026-01-11T23:59:59Z", always).tag, "accept");
});

test("what makes no sense is said to the operator", () => {
  const wrong = [
    { opens: "9" },
    { opens: 9 },
    { closes: "24:01" },
    { closes: "10:60" },
    { opens: "09:00", closes: "09:00" },
    { days: [] },
    { days: ["monday"] },
    { days: "mon" },
    { utc_offset: "03:00" },
    { utc_offset: 3 },
  ];
  for (const values of wrong) {
    assert.throws(() => configured(values), (complaint) => typeof complaint === "string", JSON.stringify(values));
  }
});
