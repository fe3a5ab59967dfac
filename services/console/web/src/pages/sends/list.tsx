import { CampaignState, type CampaignProgress, type CampaignRecord } from "../../gen/wxbus/sender/v1/campaign_events_pb";
import { useI18n } from "../../i18n";
import type { Key } from "../../i18n/words";
import { Monogram, Tag } from "../../ui/parts";

export const stateTone: Partial<Record<CampaignState, "amber" | "green" | "red" | "blue">> = { [CampaignState.RUNNING]: "green", [CampaignState.CANARY]: "green", [CampaignState.DRAINING]: "green", [CampaignState.PAUSED]: "amber", [CampaignState.SCHEDULED]: "blue", [CampaignState.CANCELLED]: "red" };

const sections = [
  ["campaign.now", [CampaignState.RUNNING, CampaignState.CANARY, CampaignState.DRAINING, CampaignState.PAUSED]], ["campaign.waits", [CampaignState.DRAFT, CampaignState.COUNTED, CampaignState.SCHEDULED]], ["campaign.over", [CampaignState.FINISHED, CampaignState.CANCELLED]],
] as const satisfies readonly (readonly [Key, readonly CampaignState[]])[];

// partsOf are the outcomes of the recipients, in the order of the bar.
export function partsOf(p: CampaignProgress) {
  return [["sent", p.sent, "var(--brand)"], ["in_flight", p.inFlight, "var(--chart-2)"], ["failed", p.failed + p.refused, "var(--red)"], ["ambiguous", p.ambiguous, "var(--amber)"], ["pending", p.pending + p.skipped, "var(--chart-3)"]] as const;
}

// Bar draws what became of the recipients; what it shows stands beside it in words.
export function Bar({ p, label, thin = false }: { p: CampaignProgress; label: string; thin?: boolean }) {
  const parts = partsOf(p);
  const total = Math.max(1, parts.reduce((sum, [, n]) => sum + n, 0));
  return <div className={`bigbar ${thin ? "thin" : ""}`} role="img" aria-label={label}>{parts.filter(([, n]) => n > 0).map(([name, n, fill]) => <i key={name} style={{ width: `${(n / total) * 100}%`, background: fill }} />)}</div>;
}

// CampaignList puts what happens now above what waits and what is over.
export function CampaignList({ all, account, id, onOpen }: { all: readonly CampaignRecord[]; account: string | undefined; id: string | undefined; onOpen(c: CampaignRecord): void }) {
  const { t } = useI18n();
  return sections.map(([title, states]) => {
    const rows = all.filter((c) => (states as readonly CampaignState[]).includes(c.state));
    return rows.length > 0 && (
      <section key={title} aria-label={t(title)}>
        <div className="group-row"><h2 className="t12">{t(title)} {rows.length}</h2></div>
        {rows.map((c) => <Row key={`${c.account}/${c.id}`} c={c} open={c.id === id && c.account === account} onOpen={onOpen} />)}
      </section>
    );
  });
}

function Row({ c, open, onOpen }: { c: CampaignRecord; open: boolean; onOpen(c: CampaignRecord): void }) {
  const { t, number, day } = useI18n();
  const p = c.progress;
  const total = p ? partsOf(p).reduce((sum, [, n]) => sum + n, 0) : 0;
  return (
    <button type="button" className={`plain camp-row ${open ? "open" : ""}`} aria-current={open} onClick={() => onOpen(c)}>
      <span className="row"><b className="cut grow">{c.name || c.id}</b><Tag tone={stateTone[c.state]}>{t(`campaign.state.${c.state}` as Key)}</Tag></span>
      {p && total > 0 && <Bar p={p} label={t("campaign.sentOf", { sent: number(p.sent), total: number(total) })} thin />}
      <span className="row t12 t3"><Monogram account={c.account} size={16} /><span className="cut grow">{c.account} · {day(Number(c.createdUnixMs))}</span>{p && total > 0 ? <span>{number(p.sent)} / {number(total)}</span> : c.audience && <span>{t("campaign.people", { count: number(c.audience.recipients) })}</span>}</span>
    </button>
  );
}
