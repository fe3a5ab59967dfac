import { useEffect, type CSSProperties, type ReactNode } from "react";
import { useI18n } from "../i18n";
import { clock, useTenth } from "./clock";
import { clockText, offerText } from "./duration";
import { toneOf, type DeadlineKind, type Tone } from "./tone";

export interface Deadline {
  kind: DeadlineKind;
  at: number; // Unix milliseconds
  total: number; // milliseconds
  warn?: number; // Unix milliseconds: when a promise is nearly over
}

// DeadlineRing draws what is left of a deadline around its child, clockwise from 12 o'clock. The
// number stands beside it elsewhere: never the ring alone.
export function DeadlineRing({ deadline, children, width }: { deadline?: Deadline | undefined; children: ReactNode; width?: number }) {
  if (!deadline) return <span className="ring none">{children}</span>;
  return <LiveRing deadline={deadline} width={width}>{children}</LiveRing>;
}

function LiveRing({ deadline, children, width }: { deadline: Deadline; children: ReactNode; width?: number | undefined }) {
  const { t } = useI18n();
  const now = useTenth();
  const left = deadline.at - now;
  const hurried = left > 0 && left < 10_000;
  useEffect(() => (hurried ? clock.hurry(() => undefined) : undefined), [hurried]);
  const share = Math.min(1, Math.max(0, left / deadline.total));
  const style = { "--left": share.toFixed(4), ...(width ? { "--w": `${width}px` } : {}) } as CSSProperties;
  return (
    <span className={`ring ${toneOf(deadline, now)}`} style={style} role="img" aria-label={t("ring.left", { what: t(`deadline.${deadline.kind}`), time: clockText(left) })}>
      {children}
    </span>
  );
}

// DeadlineText is the number that stands beside the ring.
export function DeadlineText({ deadline }: { deadline: Deadline }) {
  const now = useTenth();
  const left = deadline.at - now;
  const tone: Tone = toneOf(deadline, now);
  return <b className={`deadline-text ${tone}`}>{deadline.kind === "offer" ? offerText(left) : clockText(left)}</b>;
}
