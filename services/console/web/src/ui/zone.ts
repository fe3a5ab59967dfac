// The reader's days: where somebody reads decides when a day begins for them, and the browser knows where that is.
// Working hours of a group are in the group's own zone, which their form names.

// A thread asks once for each message, and the browser takes longer to say it than to draw one: it is asked once.
let own: string | undefined;
export const zone = (): string => (own ??= Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(tz: string): Intl.DateTimeFormat {
  let f = formats.get(tz);
  if (!f) {
    f = new Intl.DateTimeFormat("en-US", { timeZone: tz, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" });
    formats.set(tz, f);
  }
  return f;
}

const quarter = 900_000;
const most = 4096;
const offsets = new Map<string, number>();

// wall is what a clock on the wall shows there, written as if it were UTC. Clocks are put forward and back at quarters of
// an hour, so what is found for one holds for all of it.
function wall(ms: number, tz: string): number {
  const begin = Math.floor(ms / quarter) * quarter;
  const key = `${tz} ${begin}`;
  let offset = offsets.get(key);
  if (offset === undefined) {
    if (offsets.size >= most) offsets.clear();
    offset = shown(begin, tz) - begin;
    offsets.set(key, offset);
  }
  return Math.floor(ms / 1000) * 1000 + offset;
}

function shown(ms: number, tz: string): number {
  const part: Record<string, number> = {};
  for (const p of formatOf(tz).formatToParts(ms)) part[p.type] = Number(p.value);
  return Date.UTC(part["year"] ?? 0, (part["month"] ?? 1) - 1, part["day"], part["hour"], part["minute"], part["second"]);
}

const day = 86_400_000;

// dayNumber counts days, so that two moments of one day there have the same number.
export const dayNumber = (ms: number, tz = zone()): number => Math.floor(wall(ms, tz) / day);

// dayKey names the day of a moment: "2026-11-29".
export const dayKey = (ms: number, tz = zone()): string => new Date(wall(ms, tz)).toISOString().slice(0, 10);

// hourOfDay is the moment at which a clock there shows an hour, so many days after the day of ms. Where clocks are put
// forward over that hour, it is the same distance from midnight.
export function hourOfDay(ms: number, days: number, hour: number, tz = zone()): number {
  const wanted = (dayNumber(ms, tz) + days) * day + hour * 3_600_000;
  const guess = wanted - (wall(ms, tz) - Math.floor(ms / 1000) * 1000);
  return guess + wanted - wall(guess, tz);
}

export const midnight = (ms: number, days = 0, tz = zone()): number => hourOfDay(ms, days, 0, tz);

// todayOf is the reader's day, as reports take it.
export const todayOf = (now: number) => ({ fromUnixMs: BigInt(midnight(now)), toUnixMs: BigInt(midnight(now, 1)), timeZone: zone() });
