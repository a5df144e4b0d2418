// Numbers and times as they are shown.

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

/** Time of the day here; the day too if it is not today. */
export function time(at) {
  if (!at) return "–";
  const date = new Date(at);
  const today = new Date().toDateString() === date.toDateString();
  return today ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

/** Duration of milliseconds, in its two largest units. */
export function lasting(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Bytes, in the unit in which they have three digits. */
export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

/** Bytes per second. */
export function rate(perSecond) {
  return perSecond === null ? "–" : `${bytes(perSecond)}/s`;
}

/** Whole number with its thousands apart. */
export function count(number) {
  return number.toLocaleString("en").replaceAll(",", " ");
}

/** Duration of seconds, in the unit that fits. */
export function short(seconds) {
  if (seconds === null || Number.isNaN(seconds)) return "–";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${Number((seconds * 1000).toPrecision(3))} ms`;
  return `${Number(seconds.toPrecision(3))} s`;
}

/** Beginning of a digest. */
export function digest(whole) {
  return whole ? whole.replace("sha256:", "").slice(0, 12) : "–";
}

/** End of a session's id: the beginning is a time, which many have in common. */
export function shortId(id) {
  return `…${id.slice(-12)}`;
}

/** Who it is: verified, or as a token claims. */
export function who(verified, claimed) {
  if (verified) return verified;
  return claimed ? `${claimed} (unverified)` : "–";
}
