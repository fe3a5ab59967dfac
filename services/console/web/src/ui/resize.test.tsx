import { act, fireEvent, render, renderHook, screen } from "@testing-library/react";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Handle, useWidths, type Pane } from "./resize";

const pane: Pane = { name: "inbox", least: 280, most: 400 };

describe("widths of panes", () => {
  beforeEach(() => localStorage.clear());

  it("stay within their limits and are remembered per person", () => {
    const { result } = renderHook(() => useWidths("li"));
    act(() => result.current.resize(pane, 900));
    expect(result.current.style).toEqual({ "--inbox": "400px" });
    expect(renderHook(() => useWidths("li")).result.current.style).toEqual({ "--inbox": "400px" });
    expect(renderHook(() => useWidths("chen")).result.current.style).toEqual({});
  });

  it("are given back by Home", () => {
    const { result } = renderHook(() => useWidths("li"));
    act(() => result.current.resize(pane, 300));
    act(() => result.current.resize(pane, undefined));
    expect(result.current.style).toEqual({});
  });

  it("survive a storage that somebody else wrote to", () => {
    localStorage.setItem("wxbus.panes.li", '{"inbox":"wide","context":null}');
    expect(renderHook(() => useWidths("li")).result.current.style).toEqual({});
  });
});

it("a handle is moved by the arrow keys, away from its pane or towards it", () => {
  const onResize = vi.fn();
  render(<div><div /><Handle pane={pane} label="before" onResize={onResize} /><Handle pane={pane} label="after" after onResize={onResize} /><div /></div>);
  fireEvent.keyDown(screen.getByLabelText("before"), { key: "ArrowRight" });
  expect(onResize).toHaveBeenLastCalledWith(pane, 16);
  fireEvent.keyDown(screen.getByLabelText("after"), { key: "ArrowRight" });
  expect(onResize).toHaveBeenLastCalledWith(pane, -16);
  fireEvent.keyDown(screen.getByLabelText("after"), { key: "Home" });
  expect(onResize).toHaveBeenLastCalledWith(pane, undefined);
});
