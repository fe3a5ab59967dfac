import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { actionIDs, actions } from "./actions";
import { chordOf, keyCaps } from "./chord";
import { KeysProvider, useActions, useKeys } from "./keys";

afterEach(() => {
  cleanup();
  localStorage.clear();
});

const press = (key: string, more: object = {}, target: Element | Window = window) => fireEvent.keyDown(target, { key, code: "", ...more });

function Page({ handlers, children }: { handlers: Parameters<typeof useActions>[0]; children?: React.ReactNode }) {
  useActions(handlers);
  const keys = useKeys();
  return <><button type="button" onClick={() => keys.rebind("accept", "y")}>rebind</button><input aria-label="field" />{children}</>;
}

describe("the keyboard", () => {
  it("runs single keys, but not while somebody types or an input method composes", () => {
    const accept = vi.fn();
    render(<KeysProvider><Page handlers={{ accept }} /></KeysProvider>);
    press("a");
    expect(accept).toHaveBeenCalledTimes(1);
    press("a", {}, screen.getByLabelText("field"));
    press("a", { isComposing: true });
    expect(accept).toHaveBeenCalledTimes(1);
  });

  it("runs chords with a modifier also while somebody types", () => {
    const palette = vi.fn();
    render(<KeysProvider><Page handlers={{ palette }} /></KeysProvider>);
    press("k", { ctrlKey: true }, screen.getByLabelText("field"));
    expect(palette).toHaveBeenCalledTimes(1);
  });

  it("keeps a changed key for the next visit", () => {
    const accept = vi.fn();
    const first = render(<KeysProvider><Page handlers={{ accept }} /></KeysProvider>);
    fireEvent.click(screen.getByText("rebind"));
    press("a");
    press("y");
    expect(accept).toHaveBeenCalledTimes(1);
    first.unmount();
    render(<KeysProvider><Page handlers={{ accept }} /></KeysProvider>);
    press("y");
    expect(accept).toHaveBeenCalledTimes(2);
  });

  it("lets the screen that came last win and gives the key back", () => {
    const below = vi.fn();
    const above = vi.fn();
    const tree = (over: boolean) => <KeysProvider><Page handlers={{ decline: below }}>{over && <Page handlers={{ decline: above }} />}</Page></KeysProvider>;
    const view = render(tree(false));
    view.rerender(tree(true));
    press("d");
    expect([above.mock.calls.length, below.mock.calls.length]).toEqual([1, 0]);
    view.rerender(tree(false));
    press("d");
    expect([above.mock.calls.length, below.mock.calls.length]).toEqual([1, 1]);
  });

  it("leaves Enter and space to the button that has the focus", () => {
    const preview = vi.fn();
    render(<KeysProvider><Page handlers={{ preview }} /></KeysProvider>);
    press(" ", {}, screen.getByText("rebind"));
    expect(preview).not.toHaveBeenCalled();
    press(" ");
    expect(preview).toHaveBeenCalledTimes(1);
  });
});

describe("chords", () => {
  const of = (key: string, more: object = {}) => chordOf({ key, code: "", ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more });
  it("names keys the same on every layout", () => {
    expect(of("J")).toBe("j");
    expect(of("E", { shiftKey: true })).toBe("shift+e");
    expect(of("?", { shiftKey: true })).toBe("?");
    expect(of("œ", { altKey: true, code: "KeyQ" })).toBe("alt+q");
    expect(of(" ")).toBe("space");
  });
  it("has a cap for every action", () => {
    for (const id of actionIDs) expect(keyCaps(actions[id]).every((c) => c.length > 0), id).toBe(true);
  });
});
