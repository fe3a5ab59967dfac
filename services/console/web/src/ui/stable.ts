import { useCallback, useEffect, useRef, useState } from "react";

// useStable returns a function that stays the same and does what f does now, so that what is given it is not drawn again.
export function useStable<A extends unknown[], R>(f: (...args: A) => R): (...args: A) => R {
  const latest = useRef(f);
  latest.current = f;
  return useCallback((...args: A) => latest.current(...args), []);
}

const mostKept = 200;

// useKept is state that belongs to a key. Another key shows its own state, and what is set late, after an
// upload for example, goes to the key that it was begun for and never to what is shown by then.
export function useKept<T>(key: string, initial: () => T): [T, (change: (before: T) => T) => void] {
  const [kept, setKept] = useState<ReadonlyMap<string, T>>(() => new Map());
  const begin = useRef<{ key: string; value: T } | null>(null);
  if (begin.current?.key !== key) begin.current = { key, value: initial() };
  const first = begin.current.value;
  const set = useCallback((change: (before: T) => T) => setKept((all) => {
    const next = new Map(all);
    const before = next.has(key) ? (next.get(key) as T) : first;
    next.delete(key);
    next.set(key, change(before));
    for (const oldest of next.keys()) {
      if (next.size <= mostKept) break;
      next.delete(oldest);
    }
    return next;
  }), [key, first]);
  return [kept.has(key) ? (kept.get(key) as T) : first, set];
}

// useChanged is true in the first drawing with another key: the moment to forget what belonged to the last.
export function useChanged(key: string): boolean {
  const [last, setLast] = useState(key);
  if (last === key) return false;
  setLast(key);
  return true;
}

const moment = 80; // ms

// useSoon is false until a key was shown for a moment. What the server is asked for then is in nobody's way
// when the key is first seen, and is not asked at all for what was only passed on the way.
export function useSoon(key: string): boolean {
  const [seen, setSeen] = useState<string>();
  useEffect(() => {
    const timer = setTimeout(() => setSeen(key), moment);
    return () => clearTimeout(timer);
  }, [key]);
  return seen === key;
}
