import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, describe, expect, it } from "vitest";
import { rowAt, VirtualList } from "./virtual";

afterEach(cleanup);

describe("the virtual list", () => {
  const items = Array.from({ length: 10_000 }, (_, i) => i);

  it("draws only what fits", () => {
    render(<VirtualList items={items} heightOf={() => 64} keyOf={String} render={(i) => <span data-testid="row">{i}</span>} rest={{ "data-testid": "box" }} />);
    expect(screen.getAllByTestId("row").length).toBeLessThan(40);
    const box = screen.getByTestId("box");
    box.scrollTop = 64 * 5000;
    fireEvent.scroll(box);
    const shown = screen.getAllByTestId("row").map((r) => Number(r.textContent));
    expect(Math.min(...shown)).toBe(4994);
    expect(shown.length).toBeLessThan(40);
  });

  it("finds the row at a height, also among rows of different heights", () => {
    const offsets = Float64Array.from([0, 28, 92, 156]);
    expect([0, 27, 28, 91, 92, 155, 999].map((y) => rowAt(offsets, y))).toEqual([0, 0, 1, 1, 2, 2, 2]);
    expect(rowAt(Float64Array.from([0]), 10)).toBe(0);
  });
});
