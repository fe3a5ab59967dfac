import { act, renderHook } from "@testing-library/react";
import { describe, expect, it, vi } from "vitest";
import { useChanged, useKept, useSoon, useStable } from "./stable";

describe("useKept", () => {
  it("gives what is set late to the key that it was begun for", () => {
    const { result, rerender } = renderHook(({ key }) => useKept(key, () => `first of ${key}`), { initialProps: { key: "a" } });
    const [, setA] = result.current;
    rerender({ key: "b" });
    expect(result.current[0]).toBe("first of b");
    act(() => setA((before) => `${before}, and more`));
    expect(result.current[0]).toBe("first of b");
    rerender({ key: "a" });
    expect(result.current[0]).toBe("first of a, and more");
  });

  it("forgets the key that was set longest ago when there are too many", () => {
    const { result, rerender } = renderHook(({ key }) => useKept(key, () => "none"), { initialProps: { key: "0" } });
    for (let i = 0; i <= 200; i++) {
      rerender({ key: String(i) });
      act(() => result.current[1](() => `set ${i}`));
    }
    rerender({ key: "1" });
    expect(result.current[0]).toBe("set 1");
    rerender({ key: "0" });
    expect(result.current[0]).toBe("none");
  });
});

it("useStable keeps the function and calls the latest one", () => {
  const { result, rerender } = renderHook(({ n }) => useStable(() => n), { initialProps: { n: 1 } });
  const first = result.current;
  rerender({ n: 2 });
  expect(result.current).toBe(first);
  expect(first()).toBe(2);
});

it("useChanged is true once for another key", () => {
  const seen: boolean[] = [];
  const { rerender } = renderHook(({ key }) => void seen.push(useChanged(key)), { initialProps: { key: "a" } });
  rerender({ key: "b" });
  rerender({ key: "b" });
  expect(seen.filter(Boolean)).toHaveLength(1);
});

it("useSoon waits a moment, and asks nothing for what was only passed", () => {
  vi.useFakeTimers();
  const { result, rerender } = renderHook(({ key }) => useSoon(key), { initialProps: { key: "a" } });
  expect(result.current).toBe(false);
  rerender({ key: "b" });
  act(() => void vi.runAllTimers());
  expect(result.current).toBe(true);
  rerender({ key: "c" });
  expect(result.current).toBe(false);
  vi.useRealTimers();
});
