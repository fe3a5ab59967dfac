import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { useI18n } from "../i18n";
import { rowAt } from "../ui/virtual";

function sums(sizes: Float64Array): Float64Array {
  const out = new Float64Array(sizes.length + 1);
  for (let i = 0; i < sizes.length; i++) out[i + 1] = (out[i] ?? 0) + (sizes[i] ?? 0);
  return out;
}

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

const overscan = 400; // pixels above and below, once a thread was shown
const calm = 200; // ms until then: what is seen at once is drawn at once, and nothing else
const step = 120; // the window moves in steps, so that most frames of a scroll draw nothing anew
const near = 60; // this close to the end counts as at the end

interface View {
  top: number;
  height: number;
}

let lastHeight = 600; // of any thread, so that the next one draws no more than what fits

function viewOf(el: HTMLElement, scrollTop: number, known: View): View {
  const top = Math.floor(scrollTop / step) * step;
  lastHeight = el.clientHeight || lastHeight;
  return known.top === top && known.height === el.clientHeight ? known : { top, height: el.clientHeight };
}

// Thread is a log whose newest row is at the bottom. Rows have any height; those that were never drawn
// are estimated, and what the reader looks at stays where it is when a guess is corrected or when
// older rows are put in front.
export function Thread({ rows, onTop, label, reveal }: Props) {
  const { t } = useI18n();
  const box = useRef<HTMLDivElement>(null);
  const heights = useRef(new Map<string, number>());
  const anchor = useRef<{ key: string; index: number; delta: number } | null>(null);
  const stick = useRef(true);
  const resized = useRef(false);
  const width = useRef(0);
  const [view, setView] = useState<View>(() => ({ top: Number.POSITIVE_INFINITY, height: lastHeight })); // the newest are seen first
  const [measured, setMeasured] = useState(0);
  const [around, setAround] = useState(0);
  useEffect(() => {
    const timer = setTimeout(() => setAround(overscan), calm);
    return () => clearTimeout(timer);
  }, []);

  const sizes = useMemo(() => Float64Array.from(rows, (r) => heights.current.get(r.key) ?? r.estimate), [rows]);
  // oxlint-disable-next-line react/exhaustive-deps -- measured stands for what changed in sizes
  const offsets = useMemo(() => sums(sizes), [sizes, measured]);
  const total = offsets[rows.length] ?? 0;
  const drawn = useRef(total);
  drawn.current = total;
  const from = rowAt(offsets, Math.max(0, Math.min(view.top, total - view.height) - around));
  const to = Math.min(rows.length, rowAt(offsets, view.top + step + view.height + around) + 1);

  const onScroll = useCallback(() => {
    const el = box.current;
    if (!el) return;
    stick.current = el.scrollHeight - el.scrollTop - el.clientHeight < near;
    const first = rowAt(offsets, el.scrollTop);
    const i = rows[first]?.fixed ? first + 1 : first; // a row that stays at the top says nothing about the place
    const row = rows[i];
    anchor.current = row ? { key: row.key, index: i, delta: el.scrollTop - (offsets[i] ?? 0) } : null;
    setView((v) => viewOf(el, el.scrollTop, v));
    if (el.scrollTop < 200) onTop();
  }, [offsets, rows, onTop]);

  // Runs after every drawing and settles: what it sets is what it measured, and the second time nothing differs.
  // oxlint-disable-next-line react-hooks/exhaustive-deps
  useLayoutEffect(() => {
    const el = box.current;
    if (!el) return;
    width.current ||= el.clientWidth;
    let changed = false;
    const all = resized.current;
    resized.current = false;
    const sheet = el.firstElementChild as HTMLElement;
    for (let i = from; i < to; i++) {
      const key = rows[i]?.key ?? "";
      if (!all && heights.current.has(key)) continue; // reading a height makes the browser lay out
      const height = (sheet.children[i - from] as HTMLElement).offsetHeight;
      if (height === 0) continue;
      heights.current.set(key, height);
      if (sizes[i] === height) continue;
      sizes[i] = height;
      changed = true;
    }
    if (changed) {
      setMeasured((n) => n + 1);
      return;
    }
    // The place follows from the heights that are known and not from the page: a picture that grew since it was
    // measured would otherwise move the place by being drawn, and being drawn by the place, for ever.
    let top = el.scrollTop;
    if (stick.current) top = Math.max(0, total - el.clientHeight);
    else if (anchor.current) {
      const { key, index, delta } = anchor.current;
      const i = rows[index]?.key === key ? index : rows.findIndex((r) => r.key === key);
      if (i >= 0) top = (offsets[i] ?? 0) + delta;
    }
    if (Math.abs(top - el.scrollTop) > 0.5) el.scrollTop = stick.current ? el.scrollHeight : top;
    setView((v) => viewOf(el, top, v));
  });

  useEffect(() => {
    const el = box.current;
    if (!el || typeof ResizeObserver === "undefined") return undefined;
    const sheet = el.firstElementChild as HTMLElement;
    // Rows that were drawn change the sheet as foreseen; a row that grew later, or another width, does not.
    const watch = new ResizeObserver(() => {
      if (el.clientWidth === width.current && Math.abs(sheet.offsetHeight - drawn.current) < 1) return setView((v) => viewOf(el, el.scrollTop, v));
      width.current = el.clientWidth;
      resized.current = true;
      setMeasured((n) => n + 1);
      return undefined;
    });
    watch.observe(el);
    watch.observe(sheet);
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
        {rows.slice(from, to).map((r) => <div key={r.key} className="thread-row">{r.render()}</div>)}
      </div>
      <span className="visually-hidden">{t("thread.count", { count: rows.length })}</span>
    </div>
  );
}
