import { useCallback, useRef, useState, type CSSProperties } from "react";

// A pane's width is kept for each person who uses this browser.
const storage = (user: string) => `wxbus.panes.${user}`;
const stride = 16; // pixels of an arrow key

export interface Pane {
  name: "inbox" | "context";
  least: number;
  most: number;
}

type Widths = Partial<Record<Pane["name"], number>>;

export const within = (p: Pane, width: number): number => Math.round(Math.min(p.most, Math.max(p.least, width)));

function load(user: string): Widths {
  try {
    const raw: unknown = JSON.parse(localStorage.getItem(storage(user)) ?? "{}");
    if (typeof raw !== "object" || !raw) return {};
    return Object.fromEntries(Object.entries(raw).filter(([, w]) => typeof w === "number" && Number.isFinite(w)));
  } catch {
    return {}; // no storage or not ours: the widths of the layout
  }
}

// useWidths returns what the stylesheet needs, and how a pane is resized; undefined gives back its own width.
export function useWidths(user: string): { style: CSSProperties; resize(pane: Pane, width: number | undefined): void } {
  const [widths, setWidths] = useState(() => load(user));
  const resize = useCallback((pane: Pane, width: number | undefined) => setWidths((all) => {
    const next = { ...all, [pane.name]: width === undefined ? undefined : within(pane, width) };
    try {
      localStorage.setItem(storage(user), JSON.stringify(next));
    } catch {
      // without storage the width lasts for this visit
    }
    return next;
  }), [user]);
  const style = Object.fromEntries(Object.entries(widths).filter(([, w]) => w !== undefined).map(([name, w]) => [`--${name}`, `${w}px`])) as CSSProperties;
  return { style, resize };
}

// Handle stands between two panes. It is dragged, moved with the arrow keys, and a double click or Home gives the width back.
export function Handle({ pane, label, after, onResize }: { pane: Pane; label: string; after?: boolean; onResize(pane: Pane, width: number | undefined): void }) {
  const begin = useRef<{ x: number; width: number } | null>(null);
  const [now, setNow] = useState<number>();
  const side = after ? -1 : 1; // a pane after its handle grows when the handle moves back
  const widthOf = (el: HTMLElement) => ((after ? el.nextElementSibling : el.previousElementSibling) as HTMLElement).getBoundingClientRect().width;
  const set = (width: number | undefined) => {
    setNow(width === undefined ? undefined : within(pane, width));
    onResize(pane, width);
  };
  return (
    <div className="handle" role="separator" aria-orientation="vertical" aria-label={label} aria-valuemin={pane.least} aria-valuemax={pane.most} aria-valuenow={now ?? pane.least} tabIndex={0}
      onFocus={(e) => setNow(within(pane, widthOf(e.currentTarget)))} onDoubleClick={() => set(undefined)}
      onKeyDown={(e) => {
        const by = e.key === "ArrowRight" ? stride : e.key === "ArrowLeft" ? -stride : 0;
        if (by !== 0) set(widthOf(e.currentTarget) + by * side);
        else if (e.key === "Home") set(undefined);
        else return;
        e.preventDefault();
      }}
      onPointerDown={(e) => { begin.current = { x: e.clientX, width: widthOf(e.currentTarget) }; e.currentTarget.setPointerCapture(e.pointerId); }}
      onPointerMove={(e) => { if (begin.current) set(begin.current.width + (e.clientX - begin.current.x) * side); }}
      onPointerUp={() => void (begin.current = null)} onPointerCancel={() => void (begin.current = null)} />
  );
}
