// Plain values in, a decision out. All times are milliseconds of the week, which begins on Monday at 00:00, where the office is.

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

/** The operator's hours. `get` gives a key's value as JSON text. */
export function hours(get) {
  const value = (key, otherwise) => JSON.parse(get(key) ?? JSON.stringify(otherwise));
  const opens = clock("opens", value("opens", "09:00"));
  const closes = clock("closes", value("closes", "18:00"));
  if (opens === closes) {
    throw "`opens` and `closes` are the same: for the whole day write \"00:00\" and \"24:00\"";
  }
  const days = value("days", DAYS.slice(0, 5));
  if (!Array.isArray(days) || days.length === 0 || !days.every((day) => DAYS.includes(day))) {
    throw `\`days\` must be a list of ${DAYS.join(", ")}`;
  }
  const offset = value("utc_offset", "+00:00");
  const sign = { "+": 1, "-": -1 }[String(offset)[0]];
  if (sign === undefined) {
    throw "`utc_offset` must be like \"+03:00\" or \"-05:30\"";
  }
  return {
    // Where it closes at an earlier time than it opens, that is on the next day.
    length: closes > opens ? closes - opens : closes + DAY - opens,
    starts: days.map((day) => DAYS.indexOf(day) * DAY + opens),
    offset: sign * clock("utc_offset", offset.slice(1)),
  };
}

function clock(key, text) {
  const [, hour, minute] = /^(\d\d):(\d\d)$/.exec(text) ?? [];
  const time = hour * HOUR + minute * MINUTE;
  if (!(time <= DAY && minute < 60)) {
    throw `\`${key}\` must have a time like "09:00" in it`;
  }
  return time;
}

export function admit(nowMs, { starts, length, offset }) {
  // 1970 began on a Thursday.
  const now = nowMs + offset + 3 * DAY;
  const since = (start) => (((now - start) % WEEK) + WEEK) % WEEK;
  if (starts.some((start) => since(start) < length)) {
    return { tag: "accept" };
  }
  const wait = (start) => WEEK - since(start);
  const next = starts.reduce((soonest, start) => (wait(start) < wait(soonest) ? start : soonest));
  return {
    tag: "reject",
    val: {
      closeCode: 4110,
      code: "closed",
      message: `closed until ${shown(next)}`,
      retryable: true,
      retryAfterMs: wait(next),
    },
  };
}

/** "mon 09:00" */
function shown(time) {
  const part = (unit, of) => Math.floor((time % of) / unit);
  const two = (number) => String(number).padStart(2, "0");
  return `${DAYS[part(DAY, WEEK)]} ${two(part(HOUR, DAY))}:${two(part(MINUTE, HOUR))}`;
}
