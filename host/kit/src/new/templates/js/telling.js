// What a hook throws ends the call, and all that the gateway sees of it is a trap. So the log is told first, and the gateway
// puts that into its account of the crash.

import { write } from "sluice:policy/log@0.1.0";

/** The hook, which tells the log what it throws, and where. */
export const telling = (hook) => (...given) => {
  try {
    return hook(...given);
  } catch (error) {
    const place = String(error?.stack ?? "").trim().split("\n")[0];
    write("error", `${error} (${place ? `at ${place}` : "throw an Error, and the place is told too"})`);
    throw error;
  }
};

/** The same for a hook that decides: what it answers must be a decision. */
export const deciding = (hook) => telling((...given) => checked(hook(...given)));

function checked(answer) {
  const isText = (value) => typeof value === "string";
  const { tag, val } = answer ?? {};
  if (tag === "accept" || (tag === "reject" && isText(val?.code) && isText(val?.message))) {
    return answer;
  }
  const said = JSON.stringify(answer) ?? String(answer);
  throw new TypeError(
    `the policy answered ${said}: answer { tag: "accept" }, or { tag: "reject", val: { code: "…", message: "…", … } }`,
  );
}
