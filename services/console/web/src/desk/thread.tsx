import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { useI18n } from "../i18n";
import { rowAt } from "../ui/virtual";

export interface ThreadRow {
  key: string;
  // estimate is the height until it was measured.
  estimate: number;
  // fixed rows stay at the top whatever is put in front of the others.
  fixed?: boolean;
  render(): ReactNode;
}

interface Props {
  rows: readonly ThreadRow[];
  onTop(): void; // older ones are wanted
  label: string;
  reveal?: string | undefined; // key of a row to show
}

const overscan = 400; // pixels above and below
const step = 120; // the window moves in steps, so that most frames of a scroll draw nothing anew
const near = 60; // this close to the end counts as at the end

interface View {
  top: number;
  height: number;
}

function viewOf(el: HTMLElement, known: View): View {
  const top = Math.floor(el.scrollTop / step) * step;
  return known.top === top && known.height === el.clientHeight ? known : { top, height: el.clientHeight };
}

// Thread is a log whose newest row is at the bottom. Rows have any height; those that were never drawn
// are estimated, and what the reader looks at stays where it is when a guess is corrected or when
// older rows are put in front.
export function Thread({ rows, onTop, label, reveal }: Props) {
  const { t } = useI18n();
  const box = useRef<HTMLDivElement>(null);
  const heights = useRef(new Map<string, number>());
  const anchor = useRef<{ key: string; delta: number } | null>(null);
  const stick = useRef(true);
  const resized = useRef(false);
  const [view, setView] = useState<View>({ top: 0, height: 600 });
  const [measured, setMeasured] = useState(0);

  const offsets = useMemo(() => {
    const out = new Float64Array(rows.length + 1);
    for (let i = 0; i < rows.length; i++) out[i + 1] = (out[i] ?? 0) + (heights.current.get(rows[i]?.key ?? "") ?? rows[i]?.estimate ?? 0);
    return out;
    // oxlint-disable-next-line react/exhaustive-deps -- measured stands for what is in heights
  }, [rows, measured]);
  const total = offsets[rows.length] ?? 0;
  const from = rowAt(offsets, Math.max(0, view.top - overscan));
  const to = Math.min(rows.length, rowAt(offsets, view.top + step + view.height + overscan) + 1);

  const onScroll = useCallback(() => {
    const el = box.current;
    if (!el) return;
    stick.current = el.scrollHeight - el.scrollTop - el.clientHeight < near;
    const first = rowAt(offsets, el.scrollTop);
    const i = rows[first]?.fixed ? first + 1 : first; // a row that stays at the top says nothing about the place
    const row = rows[i];
    anchor.current = row ? { key: row.key, delta: el.scrollTop - (offsets[i] ?? 0) } : null;
    setView((v) => viewOf(el, v));
    if (el.scrollTop < 200) onTop();
  }, [offsets, rows, onTop]);

  // Runs after every drawing and settles: what it sets is what it measured, and the second time nothing differs.
  // oxlint-disable-next-line react-hooks/exhaustive-deps
  useLayoutEffect(() => {
    const el = box.current;
    if (!el) return;
    let changed = false;
    const all = resized.current;
    resized.current = false;
    for (const row of el.querySelectorAll<HTMLElement>("[data-row]")) {
      const key = row.dataset["row"] ?? "";
      if (!all && heights.current.has(key)) continue; // reading a height makes the browser lay out
      const height = row.offsetHeight;
      if (height > 0 && heights.current.get(key) !== height) {
        heights.current.set(key, height);
        changed = true;
      }
    }
    if (changed) {
      setMeasured((n) => n + 1);
      return;
    }
    let top = el.scrollTop;
    if (stick.current) top = el.scrollHeight;
    else if (anchor.current) {
      const i = rows.findIndex((r) => r.key === anchor.current?.key);
      if (i >= 0) top = (offsets[i] ?? 0) + anchor.current.delta;
    }
    if (Math.abs(top - el.scrollTop) > 0.5) el.scrollTop = top;
    setView((v) => viewOf(el, v));
  });

  useEffect(() => {
    const el = box.current;
    if (!el || typeof ResizeObserver === "undefined") return undefined;
    const watch = new ResizeObserver(() => {
      resized.current = true;
      setMeasured((n) => n + 1);
    });
    watch.observe(el);
    if (el.firstElementChild) watch.observe(el.firstElementChild);
    return () => watch.disconnect();
  }, []);

  // A page that does not fill the box cannot be scrolled, so more is asked for at once.
  useEffect(() => {
    if ((box.current?.scrollTop ?? 0) < 200) onTop();
  }, [rows, onTop]);

  useEffect(() => {
    const i = reveal ? rows.findIndex((r) => r.key === reveal) : -1;
    const el = box.current;
    if (i < 0 || !el) return;
    const top = offsets[i] ?? 0;
    const bottom = offsets[i + 1] ?? top;
    if (top < el.scrollTop || bottom > el.scrollTop + el.clientHeight) {
      stick.current = false;
      el.scrollTop = Math.max(0, top - el.clientHeight / 3);
    }
    // oxlint-disable-next-line react/exhaustive-deps -- only a new wish scrolls
  }, [reveal]);

  return (
    <div ref={box} className="thread" role="log" aria-live="off" aria-label={label} tabIndex={0} onScroll={onScroll} data-zone data-testid="thread">
      <div className="thread-sheet" style={{ paddingTop: offsets[from] ?? 0, paddingBottom: Math.max(0, total - (offsets[to] ?? total)) }}>
        {rows.slice(from, to).map((r) => <div key={r.key} data-row={r.key} className="thread-row">{r.render()}</div>)}
      </div>
      <span className="visually-hidden">{t("thread.count", { count: rows.length })}</span>
    </div>
  );
}
