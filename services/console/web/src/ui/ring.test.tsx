import { act, cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { I18nProvider } from "../i18n";
import { clock } from "./clock";
import { clockText, offerText } from "./duration";
import { DeadlineRing, DeadlineText } from "./ring";
import { toneOf } from "./tone";

const start = Date.UTC(2026, 10, 21, 8, 0, 0);

describe("the deadline ring", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: start });
    clock.follow(start);
  });
  afterEach(() => {
    cleanup();
    vi.useRealTimers();
  });

  it("names what is left and drains with the shared clock", () => {
    const deadline = { kind: "session" as const, at: start + 120_000, total: 240_000 };
    render(<I18nProvider><DeadlineRing deadline={deadline}><i /></DeadlineRing><DeadlineText deadline={deadline} /></I18nProvider>);
    const ring = screen.getByRole("img");
    expect(ring.getAttribute("aria-label")).toBe("会话剩 02:00");
    expect(ring.style.getPropertyValue("--left")).toBe("0.5000");
    expect(screen.getByText("02:00")).toBeTruthy();
    act(() => vi.advanceTimersByTime(60_000));
    expect(ring.style.getPropertyValue("--left")).toBe("0.2500");
    expect(ring.className).toContain("red");
    expect(screen.getByText("01:00")).toBeTruthy();
  });

  it("shares one timer among many rings", () => {
    const rings = Array.from({ length: 50 }, (_, i) => (
      <DeadlineRing key={i} deadline={{ kind: "window", at: start + 3_600_000 * (i + 1), total: 172_800_000 }}><i /></DeadlineRing>
    ));
    render(<I18nProvider>{rings}</I18nProvider>);
    expect(vi.getTimerCount()).toBe(1);
  });
});

describe("when a deadline becomes amber and red", () => {
  const at = (kind: Parameters<typeof toneOf>[0]["kind"], left: number, total: number) => toneOf({ kind, at: start + left, total }, start);
  it.each([
    ["offer", 13_600, 20_000, "amber"], ["offer", 4_900, 20_000, "red"],
    ["reply", 60_000, 180_000, "calm"], ["reply", 50_000, 180_000, "amber"], ["reply", 40_000, 180_000, "red"], ["reply", -1, 180_000, "red"],
    ["session", 301_000, 1_800_000, "calm"], ["session", 300_000, 1_800_000, "amber"], ["session", 60_000, 1_800_000, "red"],
    ["window", 7_300_000, 172_800_000, "calm"], ["window", 7_200_000, 172_800_000, "amber"], ["window", 0, 172_800_000, "red"],
  ] as const)("%s with %d ms of %d left is %s", (kind, left, total, tone) => expect(at(kind, left, total)).toBe(tone));
});

describe("when a promise becomes amber and red", () => {
  it.each([[-1, "calm"], [80_000, "amber"], [99_999, "amber"], [100_000, "red"]] as const)("%d ms after it was made it is %s", (after, tone) => {
    for (const kind of ["first", "next", "close"] as const) expect(toneOf({ kind, at: start + 100_000, total: 100_000, warn: start + 80_000 }, start + after)).toBe(tone);
  });
});

describe("spans in words", () => {
  it.each([[0, "00:00"], [-5, "00:00"], [59_001, "01:00"], [3_599_000, "59:59"], [3_600_000, "01:00:00"], [148_329_000, "41:12:09"]])("%d ms is %s", (ms, text) => expect(clockText(ms)).toBe(text));
  it("has one decimal below 20 s", () => expect([offerText(13_640), offerText(20_000)]).toEqual(["13.6", "00:20"]));
});
