import { useMutation, useQuery } from "@tanstack/react-query";
import { Button } from "antd";
import { useState } from "react";
import { RecipientState, type CampaignFailure, type CampaignMinute, type CampaignRecord } from "../../gen/wxbus/sender/v1/campaign_events_pb";
import { CampaignService } from "../../gen/wxbus/sender/v1/campaign_service_pb";
import { codeReason } from "../../desk/advice";
import { useI18n, type Locale, type Translate } from "../../i18n";
import { useActions } from "../../keys/keys";
import { useClients } from "../../rpc/clients";
import { useMe } from "../../session/session";
import { Facts, Kbd, Skeleton, Tag } from "../../ui/parts";
import { AreaChart } from "../chart";
import { useFailure } from "../data";
import { Bar, partsOf } from "./list";

export function Progress({ record }: { record: CampaignRecord }) {
  const { t, number, time } = useI18n();
  const p = record.progress;
  if (!p) return null;
  const parts = partsOf(p);
  const total = parts.reduce((sum, [, n]) => sum + n, 0);
  const known = total - p.pending - p.inFlight - p.skipped;
  return (
    <section className="card" aria-label={t("campaign.progress")}>
      <div className="body col">
        <div className="row wrap"><span className="hero">{number(known)}</span><span className="t2">{t("campaign.ofTotal", { total: number(total) })}</span><span className="grow" />{p.waiting && <Tag tone="amber">{p.waiting}</Tag>}{p.rate > 0 && <span>{t("campaign.rate", { rate: p.rate.toFixed(1) })}</span>}{p.etaUnixMs > 0n && <span className="t3">{t("campaign.eta", { time: time(Number(p.etaUnixMs)) })}</span>}</div>
        <Bar p={p} label={t("campaign.sentOf", { sent: number(p.sent), total: number(total) })} />
        <div className="row g16 wrap">{parts.map(([name, n, fill]) => <span key={name} className="row g4"><i className="swatch" style={{ background: fill }} />{t(`campaign.part.${name}`)} <b>{number(n)}</b></span>)}</div>
      </div>
    </section>
  );
}

// Speed draws how many results came in each minute, and what the account or the plan allows.
export function Speed({ record }: { record: CampaignRecord }) {
  const { t, time } = useI18n();
  const minutes = everyMinute(record.progress?.minutes ?? []);
  const limit = record.plan?.rate ?? 0;
  if (minutes.length < 2) return null;
  const peak = minutes.reduce((a, b) => (b.value > a.value ? b : a));
  return (
    <section className="card" aria-label={t("campaign.speed")} data-testid="speed">
      <header><h3>{t("campaign.speed")}</h3><span className="t12 t3 grow">{t("campaign.speed.unit")}</span><span className="t12 t3">{t("campaign.speed.peak", { rate: (peak.value / 60).toFixed(1), time: time(peak.at) })}</span></header>
      <div className="body"><AreaChart label={t("campaign.speed")} points={minutes.map((m) => ({ label: time(m.at), value: m.value / 60 }))} limit={limit > 0 ? { value: limit, label: t("campaign.speed.limit", { rate: limit }) } : undefined} /></div>
    </section>
  );
}

const minute = 60_000;

// everyMinute puts minutes without a result where they belong, so that a pause is seen as one.
export function everyMinute(known: readonly Pick<CampaignMinute, "beginUnixMs" | "results">[]): { at: number; value: number }[] {
  if (known.length === 0) return [];
  const first = Number(known[0]?.beginUnixMs ?? 0);
  const last = Number(known.at(-1)?.beginUnixMs ?? 0);
  const values = new Map(known.map((m) => [Number(m.beginUnixMs), m.results]));
  const from = Math.max(first, last - 239 * minute); // a pause of days is not drawn
  return Array.from({ length: Math.max(0, Math.round((last - from) / minute) + 1) }, (_, i) => ({ at: from + i * minute, value: values.get(from + i * minute) ?? 0 }));
}

// failureText says what went wrong with a group of recipients, and what to do about it.
export function failureText(f: CampaignFailure, locale: Locale, t: Translate): { text: string; advice: string } {
  if (f.state === RecipientState.AMBIGUOUS) return { text: t("failure.ambiguous"), advice: t("failure.ambiguous.do") };
  if (f.state === RecipientState.REFUSED) return { text: t("failure.refused"), advice: t("failure.refused.do") };
  if (f.errcode === 0) return { text: t("failure.none"), advice: t("failure.none.do") };
  if (locale === "en") return { text: f.text, advice: f.advice };
  const advice = f.errcode === 45015 || f.errcode === 45047 ? t("failure.fan.do") : t(f.replayable ? "failure.replay.do" : "failure.never.do");
  return { text: codeReason(f.errcode, t) ?? f.text, advice };
}

const keyOf = (f: CampaignFailure) => `${f.errcode}/${f.state}`;

// Failures groups what went wrong. A replay shows its exact count, with what was left out, before it can be asked for.
export function Failures({ record, onDone }: { record: CampaignRecord; onDone(c: CampaignRecord | undefined): void }) {
  const { t, locale, number } = useI18n();
  const { can } = useMe();
  const [open, setOpen] = useState<string>();
  const failures = record.progress?.failures ?? [];
  const chosen = failures.find((f) => keyOf(f) === open);
  const may = can(CampaignService.method.replayFailures);
  const replayable = (f: CampaignFailure) => may && f.replayable && f.state !== RecipientState.AMBIGUOUS;
  return (
    <div className={chosen ? "with-panel" : ""}>
      <div className="card">
        <header><h3>{t("campaign.failures")}</h3><span className="t12 t3">{t("campaign.failed", { count: number(failures.reduce((sum, f) => sum + f.recipients, 0)), kinds: failures.length })}</span></header>
        <table className="table">
          <thead><tr><th>{t("campaign.code")}</th><th>{t("campaign.meaning")}</th><th>{t("campaign.advice")}</th><th className="num">{t("campaign.recipients")}</th><th /></tr></thead>
          <tbody>
            {failures.map((f) => {
              const said = failureText(f, locale, t);
              return (
                <tr key={keyOf(f)} className={f === chosen ? "open" : ""}>
                  <td className="mono">{f.errcode || "—"}</td><td>{said.text}</td><td className="t2">{said.advice}</td><td className="num"><b className={f.state === RecipientState.AMBIGUOUS ? "tone-amber" : ""}>{number(f.recipients)}</b></td>
                  <td className="num">{replayable(f) ? <Button size="small" onClick={() => setOpen(keyOf(f))} aria-label={t("campaign.replayCode", { code: f.errcode || said.text })}>{t("campaign.replay.open")}</Button> : <span className="t3">—</span>}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {chosen && <Replay key={open} record={record} group={chosen} onDone={(c) => { setOpen(undefined); onDone(c); }} onClose={() => setOpen(undefined)} />}
    </div>
  );
}

// Replay counts first: exactly these people, with what is subtracted, and under their first id, so that nobody gets it twice.
function Replay({ record, group, onDone, onClose }: { record: CampaignRecord; group: CampaignFailure; onDone(c: CampaignRecord | undefined): void; onClose(): void }) {
  const { t, locale, number } = useI18n();
  const { campaigns } = useClients();
  const { user } = useMe();
  const fail = useFailure();
  const { account, id } = record;
  const errcodes = [group.errcode];
  const count = useQuery({ queryKey: ["replay", account, id, group.errcode, String(record.updatedUnixMs)], queryFn: () => campaigns.countReplay({ account, id, errcodes }) });
  const n = count.data?.count ?? 0;
  const replay = useMutation({ mutationFn: () => campaigns.replayFailures({ account, id, errcodes, expectedCount: n, actor: user }), onSuccess: (res) => onDone(res.campaign), onError: fail });
  useActions({ confirm: n > 0 ? () => replay.mutate() : undefined });
  return (
    <section className="card counted" aria-label={t("campaign.replay.open")}>
      <header><h3 className="grow">{t("campaign.replayCode", { code: group.errcode || failureText(group, locale, t).text })}</h3></header>
      {!count.data ? <div className="body"><Skeleton lines={3} /></div> : (
        <div className="body col">
          <p><span className="hero" data-testid="replay-count">{number(n)}</span> {t("campaign.replay.people")}</p>
          <Facts rows={[
            [t("campaign.replay.group"), number(count.data.groups.reduce((sum, g) => sum + g.recipients, 0) || group.recipients)],
            ...(count.data.ambiguous > 0 ? [[t("campaign.replay.unknown"), `− ${number(count.data.ambiguous)}`] as const] : []),
            ...(count.data.budgetLeft >= 0n ? [[t("campaign.replay.budget"), `${number(n)} / ${number(count.data.budgetLeft)}`] as const] : []),
            [t("campaign.takes"), t("campaign.seconds", { seconds: number(Math.ceil(Number(count.data.durationMs) / 1000)) })],
          ]} />
          <p className="t12 t3">{t("campaign.replay.once")}</p>
          <div className="row"><Button type="primary" style={{ flex: 1 }} loading={replay.isPending} disabled={n === 0} onClick={() => replay.mutate()}>{t("campaign.replay", { count: number(n) })} <Kbd chord="mod+enter" /></Button><Button onClick={onClose}>{t("act.cancel")}</Button></div>
        </div>
      )}
    </section>
  );
}
