import { threshold } from "../theme/theme";

export type DeadlineKind = "offer" | "reply" | "session" | "window";
export type Tone = "calm" | "amber" | "red";

const minute = 60_000;

// toneOf tells when a deadline becomes amber and red. Grey is the normal state.
export function toneOf(d: { kind: DeadlineKind; at: number; total: number }, now: number): Tone {
  const left = d.at - now;
  switch (d.kind) {
    case "offer":
      return left <= threshold.offer.red * 1000 ? "red" : "amber";
    case "reply":
      return left < d.total * 0.25 ? "red" : left < d.total * 0.33 ? "amber" : "calm";
    case "session":
      return left <= minute ? "red" : left <= 5 * minute ? "amber" : "calm";
    case "window":
      return left <= 0 ? "red" : left <= 120 * minute ? "amber" : "calm";
  }
}

// risk orders people: what is left relative to the target, the least first.
export function risk(d: { at: number; total: number } | undefined, now: number): number {
  return d ? (d.at - now) / d.total : Number.POSITIVE_INFINITY;
}
