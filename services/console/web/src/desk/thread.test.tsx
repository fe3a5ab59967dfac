import { render } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { I18nProvider } from "../i18n";
import { Thread, type ThreadRow } from "./thread";

// There is no layout here, so the heights of the box and of the rows are played.
const height = 500;
const rowHeight = 46;

beforeEach(() => {
  const sheetHeight = (el: HTMLElement) => parseFloat(el.style.paddingTop || "0") + parseFloat(el.style.paddingBottom || "0") + el.children.length * rowHeight;
  vi.spyOn(HTMLElement.prototype, "offsetHeight", "get").mockImplementation(function heightOf(this: HTMLElement) { return this.className === "thread-row" ? rowHeight : sheetHeight(this); });
  vi.spyOn(HTMLElement.prototype, "clientHeight", "get").mockReturnValue(height);
  vi.spyOn(HTMLElement.prototype, "clientWidth", "get").mockReturnValue(700);
  vi.spyOn(HTMLElement.prototype, "scrollHeight", "get").mockImplementation(function scrollHeight(this: Element) { return Math.max(height, sheetHeight(this.firstElementChild as HTMLElement)); });
  const places = new WeakMap<Element, number>();
  vi.spyOn(Element.prototype, "scrollTop", "get").mockImplementation(function get(this: Element) { return Math.min(places.get(this) ?? 0, this.scrollHeight - height); });
  vi.spyOn(Element.prototype, "scrollTop", "set").mockImplementation(function set(this: Element, v: number) { places.set(this, v); });
});
afterEach(() => vi.restoreAllMocks());

const rowsOf = (count: number): ThreadRow[] => Array.from({ length: count }, (_, i) => ({ key: `m/${i}`, estimate: rowHeight, render: () => `m/${i}` }));
const page = (rows: readonly ThreadRow[]) => <I18nProvider><Thread rows={rows} onTop={() => undefined} label="thread" /></I18nProvider>;

it("shows the newest first and draws no more than what fits", () => {
  const { container } = render(page(rowsOf(1000)));
  const drawn = [...container.querySelectorAll(".thread-row")].map((r) => r.textContent);
  expect(drawn.at(-1)).toBe("m/999");
  expect(drawn.length).toBeLessThan(20);
});
