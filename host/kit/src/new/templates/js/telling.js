// What a hook throws ends the call, and all that the gateway sees of it is a trap. So the log is told first, and the gateway
// puts that into its account of the crash.

import { write } from "sluice:policy/log@0.1.0";

export const telling = (hook) => (...given) => {
  try {
    return hook(...given);
  } catch (error) {
    const place = String(error?.stack ?? "").trim().split("\n")[0];
    write("error", `${error}${place ? ` (at ${place})` : ""}`);
    throw error;
  }
};
