import { describe, expect, it } from "vitest";
import { dayKey, dayNumber, hourOfDay, midnight } from "./zone";

const iso = (ms: number) => new Date(ms).toISOString();

describe("days of the reader", () => {
  const late = Date.UTC(2026, 10, 28, 17, 30); // 01:30 of the 29th in Shanghai, 12:30 of the 28th in New York
  it.each([["Asia/Shanghai", "2026-11-29"], ["America/New_York", "2026-11-28"], ["UTC", "2026-11-28"]])("in %s it is %s", (tz, key) => expect(dayKey(late, tz)).toBe(key));
  it("a day begins and ends at midnight there", () => {
    expect(iso(midnight(late, 0, "Asia/Shanghai"))).toBe("2026-11-28T16:00:00.000Z");
    expect(iso(midnight(late, 1, "Asia/Shanghai"))).toBe("2026-11-29T16:00:00.000Z");
    expect(iso(midnight(late, -6, "America/New_York"))).toBe("2026-11-22T05:00:00.000Z");
    expect(dayNumber(midnight(late, 1, "UTC"), "UTC")).toBe(dayNumber(late, "UTC") + 1);
  });
  it("tomorrow at nine is nine also when the clocks change in the night", () => {
    expect(iso(hourOfDay(Date.UTC(2026, 2, 28, 12), 1, 9, "Europe/Berlin"))).toBe("2026-03-29T07:00:00.000Z");
    expect(iso(hourOfDay(Date.UTC(2026, 9, 24, 12), 1, 9, "Europe/Berlin"))).toBe("2026-10-25T08:00:00.000Z");
  });
  it("midnight is found all over a year, where clocks change and where they do not", () => {
    for (const tz of ["Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]) {
      for (let ms = Date.UTC(2026, 0, 1); ms < Date.UTC(2027, 0, 1); ms += 29 * 3_600_000 + 17_000) {
        const begin = midnight(ms, 0, tz);
        expect(dayKey(begin, tz)).toBe(dayKey(ms, tz));
        expect(begin).toBeLessThanOrEqual(ms);
        expect(dayKey(begin - 1, tz)).not.toBe(dayKey(ms, tz));
      }
    }
  });
});
