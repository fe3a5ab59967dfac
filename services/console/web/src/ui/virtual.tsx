import { forwardRef, useCallback, useEffect, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from "react";

export interface ListHandle {
  // reveal scrolls as little as needed to show the row.
  reveal(index: number): void;
}

interface ListProps<T> {
  items: readonly T[];
  heightOf: (item: T) => number;
  keyOf: (item: T) => string;
  render: (item: T, index: number) => ReactNode;
  className?: string;
  // rest are attributes of the scrolling element: role, label, active descendant.
  rest?: Record<string, unknown>;
}

const overscan = 6;
const step = 64; // pixels by which the window moves, so that most frames of a scroll draw nothing anew

function offsetsOf<T>(items: readonly T[], heightOf: (item: T) => number): Float64Array {
  const out = new Float64Array(items.length + 1);
  for (let i = 0; i < items.length; i++) out[i + 1] = (out[i] ?? 0) + heightOf(items[i] as T);
  return out;
}

// firstAfter returns the index of the row that covers y.
export function rowAt(offsets: Float64Array, y: number): number {
  let lo = 0;
  let hi = offsets.length - 1;
  while (lo < hi) {
    const mid = (lo + hi + 1) >> 1;
    if ((offsets[mid] ?? 0) <= y) lo = mid;
    else hi = mid - 1;
  }
  return Math.min(lo, Math.max(0, offsets.length - 2));
}

// VirtualList shows rows whose height is known before they are drawn, so a list of any length costs
// as much as what fits the screen.
function VirtualListOf<T>({ items, heightOf, keyOf, render, className, rest }: ListProps<T>, ref: React.ForwardedRef<ListHandle>) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const offsets = useMemo(() => offsetsOf(items, heightOf), [items, heightOf]);
  const total = offsets[items.length] ?? 0;

  const measure = useCallback(() => {
    const el = box.current;
    if (!el) return;
    const top = Math.floor(el.scrollTop / step) * step;
    setView((v) => (v.top === top && v.height === el.clientHeight ? v : { top, height: el.clientHeight || 800 }));
  }, []);
  useLayoutEffect(measure, [measure, total]);
  useEffect(() => {
    const el = box.current;
    if (!el || typeof ResizeObserver === "undefined") return undefined;
    const watch = new ResizeObserver(measure);
    watch.observe(el);
    return () => watch.disconnect();
  }, [measure]);

  useImperativeHandle(ref, () => ({
    reveal(index) {
      const el = box.current;
      if (!el || index < 0 || index >= items.length) return;
      const top = offsets[index] ?? 0;
      const bottom = offsets[index + 1] ?? top;
      if (top < el.scrollTop) el.scrollTop = top;
      else if (bottom > el.scrollTop + el.clientHeight) el.scrollTop = bottom - el.clientHeight;
    },
  }), [items.length, offsets]);

  const from = Math.max(0, rowAt(offsets, view.top) - overscan);
  const to = Math.min(items.length, rowAt(offsets, view.top + view.height) + overscan + 1);
  const rows: ReactNode[] = [];
  for (let i = from; i < to; i++) {
    const item = items[i] as T;
    rows.push(
      <div key={keyOf(item)} role="presentation" className="virtual-row" style={{ transform: `translateY(${offsets[i] ?? 0}px)`, height: heightOf(item) }}>
        {render(item, i)}
      </div>,
    );
  }
  return (
    <div ref={box} className={`virtual ${className ?? ""}`} onScroll={measure} tabIndex={0} {...rest}>
      <div className="virtual-sheet" role="presentation" style={{ height: total }}>{rows}</div>
    </div>
  );
}

export const VirtualList = forwardRef(VirtualListOf) as <T>(props: ListProps<T> & { ref?: React.Ref<ListHandle> }) => React.ReactElement;
