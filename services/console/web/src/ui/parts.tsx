import { Fragment, type ReactNode } from "react";
import { fnv1a } from "../fan/identity";
import { accountHues } from "../theme/theme";
import { keyCaps } from "../keys/chord";

export function Kbd({ chord }: { chord: string }) {
  return <span className="kbds" aria-hidden="true">{keyCaps(chord).map((cap) => <kbd key={cap}>{cap}</kbd>)}</span>;
}

// Letters of monograms and avatars are drawn by the stylesheet: they are ornaments, and names that are read out stand beside them.

// Monogram stands for an account. The hue appears here and on history gutters only.
export function Monogram({ account, name, size = 20 }: { account: string; name?: string | undefined; size?: 16 | 20 | 24 | 32 }) {
  const letter = [...(name || account)][0] ?? "?";
  return <span className={`monogram s${size}`} style={{ background: accountHue(account) }} data-letter={letter.toUpperCase()} aria-hidden="true" />;
}

export const accountHue = (account: string): string => `var(--${accountHues[fnv1a(account) % accountHues.length]})`;

export function AgentAvatar({ name, size = 24, dot }: { name: string; size?: 20 | 24 | 32 | 40; dot?: "green" | "amber" | "off" | undefined }) {
  return (
    <span className={`agent-avatar s${size}`} title={name} data-letter={[...name][0] ?? "?"}>
      {dot && <Dot tone={dot} />}
    </span>
  );
}

export const Dot = ({ tone }: { tone: "green" | "amber" | "red" | "off" | "calm" }) => <i className={`dot ${tone}`} aria-hidden="true" />;

export function Chip({ tone = "calm", title, children, className }: { tone?: "calm" | "amber" | "red"; title?: string; children: ReactNode; className?: string }) {
  return <span className={`chip ${tone} ${className ?? ""}`} title={title}>{children}</span>;
}

// Pips show a quota: used, reserved, free.
export function Pips({ used, reserved, total, tone = "calm" }: { used: number; reserved: number; total: number; tone?: "calm" | "amber" | "red" }) {
  const look = (i: number) => (i < used ? "used" : i < used + reserved ? "held" : "free");
  return <span className={`pips ${tone}`} aria-hidden="true">{Array.from({ length: total }, (_, i) => <i key={i} className={look(i)} />)}</span>;
}

export function Tag({ tone, children, line }: { tone?: "amber" | "red" | "green" | "blue" | undefined; children: ReactNode; line?: boolean }) {
  return <span className={`label ${tone ?? ""} ${line ? "line" : ""}`}>{children}</span>;
}

// Facts is a list of names and values.
export function Facts({ rows }: { rows: readonly (readonly [string, ReactNode])[] }) {
  return <dl className="facts">{rows.map(([name, value]) => <Fragment key={name}><dt>{name}</dt><dd>{value}</dd></Fragment>)}</dl>;
}

// Skeleton keeps the place of what is being loaded; it is seen only when that takes a while, and it does not move.
export function Skeleton({ lines = 6 }: { lines?: number }) {
  return <div className="skeleton" aria-busy="true">{Array.from({ length: lines }, (_, i) => <i key={i} style={{ width: `${[92, 68, 80, 56, 74, 62][i % 6]}%` }} />)}</div>;
}

// Empty says what is, and what will happen. No picture but the resting ring.
export function Empty({ title, text }: { title: string; text?: string }) {
  return (
    <div className="empty">
      <span className="resting-ring" aria-hidden="true" />
      <b>{title}</b>
      {text && <span className="t3">{text}</span>}
    </div>
  );
}
