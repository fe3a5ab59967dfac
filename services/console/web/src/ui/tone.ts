import { threshold } from "../theme/theme";

// first, next and close are promises of the group: their moments come from the server.
export type DeadlineKind = "offer" | "reply" | "session" | "window" | "first" | "next" | "close";
export type Tone = "calm" | "amber" | "red";

const minute = 60_000;

// toneOf tells when a deadline becomes amber and red. Grey is the normal state.
export function toneOf(d: { kind: DeadlineKind; at: number; total: number; warn?: number | undefined }, now: number): Tone {
  const left = d.at - now;
  switch (d.kind) {
    case "offer":
      return left <= threshold.offer.red * 1000 ? "red" : "amber";
    case "reply":
      return left < d.total * 0.25 ? "red" : left < d.total * 0.33 ? "amber" : "calm";
    case "session":
      return left <= minute ? "red" : left <= 5 * minute ? "amber" : "calm";
    case "first":
    case "next":
    case "close":
      return left <= 0 ? "red" : now >= (d.warn ?? d.at) ? "amber" : "calm";
    case "window":
      return left <= 0 ? "red" : left <= 120 * minute ? "amber" : "calm";
  }
}

// risk orders people: what is left relative to the target, the least first.
export function risk(d: { at: number; total: number } | undefined, now: number): number {
  return d ? (d.at - now) / d.total : Number.POSITIVE_INFINITY;
}
