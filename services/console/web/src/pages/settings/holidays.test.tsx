import { create } from "@bufbuild/protobuf";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { HolidaySchema, WeekIntervalSchema, type Holiday } from "../../gen/wxbus/agentrouting/v1/agent_service_pb";
import { I18nProvider } from "../../i18n";
import { Holidays, nextDay } from "./holidays";

function shown(days: Holiday[]) {
  const onChange = vi.fn<(days: Holiday[]) => void>();
  render(<I18nProvider><Holidays days={days} onChange={onChange} /></I18nProvider>);
  return () => onChange.mock.lastCall?.[0] ?? [];
}

const newYear = create(HolidaySchema, { date: "2026-12-31", name: "元旦" });

describe("holidays of a group", () => {
  afterEach(cleanup);

  it("come in rows: the next one is the day after the last", () => {
    const days = shown([newYear]);
    fireEvent.click(screen.getByRole("button", { name: /^(添加|Add)/ }));
    expect(days().map((d) => d.date)).toEqual(["2026-12-31", "2027-01-01"]);
    expect(days()[1]?.intervals).toEqual([]);
  });

  it("are closed, or workdays in exchange with hours", () => {
    const days = shown([newYear]);
    fireEvent.click(screen.getByRole("switch"));
    expect(days()[0]?.intervals.map((i) => [i.from, i.to])).toEqual([["09:00", "18:00"]]);
  });

  it("keep further hours of a day that this page does not show", () => {
    const span = (from: string, to: string) => create(WeekIntervalSchema, { from, to });
    const days = shown([{ ...newYear, intervals: [span("09:00", "12:00"), span("14:00", "18:00")] }]);
    fireEvent.change(screen.getByDisplayValue("09:00"), { target: { value: "10:00" } });
    expect(days()[0]?.intervals.map((i) => [i.from, i.to])).toEqual([["10:00", "12:00"], ["14:00", "18:00"]]);
  });

  it("close again when their hours are switched off, and go when deleted", () => {
    const days = shown([{ ...newYear, intervals: [create(WeekIntervalSchema, { from: "10:00", to: "12:00" })] }]);
    fireEvent.click(screen.getByRole("switch"));
    expect(days()[0]?.intervals).toEqual([]);
    fireEvent.click(screen.getByRole("button", { name: /^(删除|Delete)$/ }));
    expect(days()).toEqual([]);
  });

  it("begin today, and nowhere after a date that is none", () => {
    expect(nextDay(undefined)).toMatch(/^\d{4}-\d{2}-\d{2}$/);
    expect(nextDay("2028-02-28")).toBe("2028-02-29");
    expect(nextDay("soon")).toBe("");
  });
});
