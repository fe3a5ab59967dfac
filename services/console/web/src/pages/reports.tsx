import { useQuery } from "@tanstack/react-query";
import { create } from "@bufbuild/protobuf";
import { Button, Segmented, Select, Tooltip } from "antd";
import { useMemo, useState } from "react";
import { ReportBy, ReportRowSchema, ReportService, type Distribution, type Kept, type ReportRow } from "../gen/wxbus/agentrouting/v1/report_service_pb";
import { useColleagueNames, useGroupNames } from "../desk/names";
import { useI18n } from "../i18n";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { useAccounts } from "../shell/accounts";
import { clockText } from "../ui/duration";
import { Empty } from "../ui/parts";
import { dayKey, midnight, zone } from "../ui/zone";
import { BarChart, LineChart } from "./chart";
import { Data, save, useFailure } from "./data";

const spans = [1, 7, 30, 90];

// Reports counts what the desk did. The numbers come from the numbered changes, so yesterday's stay what they were.
export default function Reports() {
  const { t, number, locale } = useI18n();
  const { reports } = useClients();
  const { can } = useMe();
  const fail = useFailure();
  const accounts = useAccounts();
  const nameOf = useColleagueNames();
  const groupOf = useGroupNames();
  const [days, setDays] = useState(7);
  const [by, setBy] = useState<ReportBy>(ReportBy.DAY);
  const [account, setAccount] = useState("");
  const filter = useMemo(() => {
    const now = Date.now();
    return { fromUnixMs: BigInt(midnight(now, 1 - days)), toUnixMs: BigInt(midnight(now, 1)), account, timeZone: zone() };
  }, [days, account]);
  const report = useQuery({ queryKey: ["report", days, by, account], queryFn: () => reports.getReport({ filter, by }) });
  const definitions = useQuery({ queryKey: ["definitions"], queryFn: () => reports.listDefinitions({}), staleTime: Infinity });
  const meaning = (measure: string) => {
    const d = definitions.data?.definitions.find((x) => x.measure === measure);
    return d ? (locale === "en" ? d.en : d.zh) : undefined;
  };
  const keyOf = (r: ReportRow) => (by === ReportBy.AGENT ? nameOf(r.key) : by === ReportBy.GROUP ? groupOf(r.key) : r.key);
  const rowsOf = (rows: readonly ReportRow[]) => (by === ReportBy.DAY ? everyDay(rows, Number(filter.fromUnixMs), days) : rows);
  const name = (measure: string) => {
    const text = meaning(measure);
    const shown = t(`measure.${measure}` as never);
    return text ? <Tooltip title={text}><span className="defined" tabIndex={0}>{shown}</span></Tooltip> : shown;
  };
  const csv = async (rows: boolean) => {
    const res = rows ? await reports.exportConversations({ filter }) : await reports.exportReport({ filter, by });
    save(rows ? "conversations.csv" : "report.csv", "text/csv;charset=utf-8", [res.csv as Uint8Array<ArrayBuffer>]);
  };
  const columns: [string, (r: ReportRow) => string][] = [
    ["opened", (r) => number(r.opened)], ["served", (r) => number(r.served)], ["abandoned", (r) => number(r.abandoned)], ["closed", (r) => number(r.closed)], ["transferred", (r) => number(r.transferred)],
    ["waiting_ms", (r) => span(r.waitingMs)], ["first_response_ms", (r) => span(r.firstResponseMs)], ["handling_ms", (r) => span(r.handlingMs)], ["offers_missed", (r) => number(r.offersMissed)],
    ["survey_average", (r) => (r.surveysAnswered > 0n ? `${r.surveyAverage.toFixed(2)} (${number(r.surveysAnswered)})` : "—")],
    ["first_response_kept", (r) => share(r.firstResponseKept)], ["next_response_kept", (r) => share(r.nextResponseKept)], ["close_kept", (r) => share(r.closeKept)],
  ];
  return (
    <main className="page">
      <header className="page-head">
        <h1>{t("nav.reports")}</h1>
        <Segmented size="small" value={days} onChange={setDays} aria-label={t("time")} options={spans.map((value) => ({ value, label: t("reports.days", { days: value }) }))} />
        <Segmented size="small" value={by} onChange={setBy} aria-label={t("reports.by")} options={([[ReportBy.DAY, "day"], [ReportBy.GROUP, "group"], [ReportBy.AGENT, "agent"]] as const).map(([value, name]) => ({ value, label: t(`reports.by.${name}`) }))} />
        <Select size="small" style={{ minWidth: 140 }} value={account} onChange={setAccount} aria-label={t("account")} options={[{ value: "", label: t("nav.allAccounts") }, ...accounts.map((a) => ({ value: a, label: a }))]} />
        <span className="grow" />
        <span className="t12 t3 nowrap">{t("reports.zone", { zone: zone() })}</span>
        {can(ReportService.method.exportReport) && <Button size="small" onClick={() => void csv(false).catch(fail)}>{t("act.download")}</Button>}
        {can(ReportService.method.exportConversations) && <Button size="small" onClick={() => void csv(true).catch(fail)}>{t("reports.rows")}</Button>}
      </header>
      <div className="page-body" data-zone tabIndex={-1}>
        <Data query={report}>{(d) => (
          <>
            <div className="kpis card">{columns.slice(0, 3).concat(columns.slice(5, 8), columns.slice(9)).map(([m, f]) => <div key={m}><div className="t12 t3">{name(m)}</div><div className="figure">{d.total ? f(d.total) : "—"}</div></div>)}</div>
            {d.rows.length === 0 ? <Empty title={t("reports.none")} text={t("reports.none.text")} /> : (
              <>
                <div className="card"><header><h3>{t("reports.chart")}</h3></header><div className="body"><BarChart label={t("reports.chart")} labels={rowsOf(d.rows).map(keyOf)} series={[
                  { name: t("measure.opened"), color: "var(--chart-2)", values: rowsOf(d.rows).map((r) => Number(r.opened)) }, { name: t("measure.served"), color: "var(--brand)", values: rowsOf(d.rows).map((r) => Number(r.served)) }, { name: t("measure.abandoned"), color: "var(--amber)", values: rowsOf(d.rows).map((r) => Number(r.abandoned)) },
                ]} /></div></div>
                {by === ReportBy.DAY && days > 1 && (
                  <div className="two">
                    {(["firstResponseMs", "handlingMs"] as const).map((m) => (
                      <div key={m} className="card"><header><h3>{name(m === "firstResponseMs" ? "first_response_ms" : "handling_ms")}</h3></header><div className="body">
                        {d.total && d.total[m]?.count ? <LineChart label={t(`measure.${m === "firstResponseMs" ? "first_response_ms" : "handling_ms"}`)} labels={rowsOf(d.rows).map(keyOf)} median={rowsOf(d.rows).map((r) => at(r[m], "median"))} p90={rowsOf(d.rows).map((r) => at(r[m], "p90"))} format={clockText} /> : <p className="t3">{t("reports.noTimes")}</p>}
                      </div></div>
                    ))}
                  </div>
                )}
                <div className="card" style={{ overflow: "auto" }}><table className="table"><thead><tr><th>{t(`reports.by.${by === ReportBy.AGENT ? "agent" : by === ReportBy.GROUP ? "group" : "day"}`)}</th>{columns.map(([m]) => <th key={m} className="num">{name(m)}</th>)}</tr></thead>
                  <tbody>{d.rows.map((r) => <tr key={r.key}><td>{keyOf(r)}</td>{columns.map(([m, f]) => <td key={m} className="num">{f(r)}</td>)}</tr>)}</tbody></table></div>
              </>
            )}
          </>
        )}</Data>
      </div>
    </main>
  );
}

// everyDay puts days on which nothing happened where they belong, so that a gap is seen as one.
export function everyDay(rows: readonly ReportRow[], from: number, days: number, tz = zone()): ReportRow[] {
  const known = new Map(rows.map((r) => [r.key, r]));
  return Array.from({ length: days }, (_, i) => {
    const key = dayKey(midnight(from, i, tz), tz);
    return known.get(key) ?? create(ReportRowSchema, { key });
  });
}

const at = (d: Distribution | undefined, what: "median" | "p90") => (d && d.count > 0n ? Number(d[what]) : undefined);

// span writes the median and, after it, what nine of ten were below.
function span(d: Distribution | undefined): string {
  return d && d.count > 0n ? `${clockText(Number(d.median))} / ${clockText(Number(d.p90))}` : "—";
}

// share writes the percentage of promises that were kept, and how many there were.
function share(k: Kept | undefined): string {
  const all = k ? k.kept + k.broken : 0n;
  return k && all > 0n ? `${k.percent.toFixed(1)}% (${all})` : "—";
}
