import { create } from "@bufbuild/protobuf";
import { Button, Input, Switch } from "antd";
import { HolidaySchema, WeekIntervalSchema, type Holiday } from "../../gen/wxbus/agentrouting/v1/agent_service_pb";
import { useI18n } from "../../i18n";

// Holidays are the days of a group that have hours of their own: closed, or a workday in exchange (调休).
export function Holidays({ days, onChange }: { days: Holiday[]; onChange: (days: Holiday[]) => void }) {
  const { t } = useI18n();
  const put = (i: number, part: Partial<Holiday>) => onChange(days.map((d, n) => (n === i ? { ...d, ...part } : d)));
  return (
    <div className="col g4">
      <span className="t12 t2">{t("groups.holidays.hint")}</span>
      {days.map((day, i) => {
        const open = day.intervals[0];
        const hours = (part: { from?: string; to?: string }) => put(i, { intervals: [create(WeekIntervalSchema, { from: open?.from ?? "09:00", to: open?.to ?? "18:00", ...part }), ...day.intervals.slice(1)] });
        return (
          <div key={i} className="row">
            <Input size="small" type="date" style={{ width: 140 }} value={day.date} aria-label={t("groups.holidays.date")} onChange={(e) => put(i, { date: e.target.value })} />
            <Input size="small" style={{ width: 140 }} maxLength={40} value={day.name} placeholder={t("name")} aria-label={t("groups.holidays.name")} onChange={(e) => put(i, { name: e.target.value })} />
            <Switch size="small" checked={Boolean(open)} onChange={(v) => (v ? hours({}) : put(i, { intervals: [] }))} aria-label={t("groups.open")} />
            {open ? <><Input size="small" style={{ width: 80 }} value={open.from} aria-label={t("groups.from")} onChange={(e) => hours({ from: e.target.value })} />–<Input size="small" style={{ width: 80 }} value={open.to} aria-label={t("groups.to")} onChange={(e) => hours({ to: e.target.value })} /></> : <span className="t2">{t("groups.closed")}</span>}
            <span className="grow" /><Button size="small" type="text" onClick={() => onChange(days.filter((_, n) => n !== i))}>{t("act.delete")}</Button>
          </div>
        );
      })}
      <div><Button size="small" onClick={() => onChange([...days, create(HolidaySchema, { date: nextDay(days.at(-1)?.date) })])}>{t("groups.holidays.add")}</Button></div>
    </div>
  );
}

// nextDay is the day after a date, because holidays come in rows; today when there is none.
export function nextDay(date: string | undefined): string {
  const at = date ? new Date(`${date}T00:00:00Z`) : new Date();
  if (Number.isNaN(at.getTime())) return "";
  if (date) at.setUTCDate(at.getUTCDate() + 1);
  return at.toISOString().slice(0, 10);
}
