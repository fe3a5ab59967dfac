import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { Button } from "antd";
import { useNavigate } from "react-router";
import type { Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { QuotaClass, SenderService, type GetQuotaResponse } from "../gen/wxbus/sender/v1/sender_service_pb";
import { CampaignService } from "../gen/wxbus/sender/v1/campaign_service_pb";
import { fanKey } from "../feed/store";
import { useI18n } from "../i18n";
import { useClients } from "../rpc/clients";
import { keepOf } from "../rpc/keep";
import { useMe } from "../session/session";
import { useSecond } from "../ui/clock";
import { clockText } from "../ui/duration";
import { Icon } from "../ui/icon";
import { Chip, Pips } from "../ui/parts";
import { useSoon } from "../ui/stable";
import { toneOf } from "../ui/tone";
import { Target } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { promised, targets } from "./order";

const usual = 5; // messages in 48 h after a message of the fan

export interface Quota {
  data: GetQuotaResponse | undefined;
  total: number;
  // closed is true when nothing may be sent now, and the server said so.
  closed: boolean;
}

// useQuota asks what may still be sent. It asks again with every message, because each changes it.
export function useQuota(c: Conversation, messages: number): Quota {
  const { sender } = useClients();
  const { can } = useMe();
  const now = useSecond();
  const soon = useSoon(fanKey(c));
  const queryKey = ["quota", c.account, c.openid, messages];
  const query: UseQueryResult<GetQuotaResponse> = useQuery({
    queryKey, queryFn: () => sender.getQuota({ account: c.account, openid: c.openid }),
    enabled: soon && can(SenderService.method.getQuota), refetchInterval: 30_000, placeholderData: keepOf(queryKey, 3),
  });
  const data = query.data;
  const over = data !== undefined && data.deadlineUnixMs > 0n && Number(data.deadlineUnixMs) <= now;
  return { data, total: Math.max(usual, data ? data.remaining + data.reserved : 0), closed: data !== undefined && (data.remaining <= 0 || over) };
}

// forAgents is what agents may send without taking what is kept for the end of the conversation.
export function forAgents(c: Conversation, quota: Quota): number {
  return Math.max(0, (quota.data?.remaining ?? 0) - c.keptForEnd);
}

export function Chips({ c, quota, cost }: { c: Conversation; quota: Quota; cost: number }) {
  const { t, dateTime } = useI18n();
  const now = useSecond();
  const q = quota.data;
  const until = q ? Number(q.deadlineUnixMs) : 0;
  const left = forAgents(c, quota);
  const kept = q ? Math.min(c.keptForEnd, q.remaining) : 0;
  const windowTone = until > 0 ? toneOf({ kind: "window", at: until, total: targets.window }, now) : "red";
  const session = Number(c.idleCloseUnixMs);
  return (
    <>
      {q && (
        <>
          <Chip tone={windowTone} className="window-chip" title={c.lastFanUnixMs > 0n ? t("chip.windowTip", { time: dateTime(Number(c.lastFanUnixMs)) }) : ""}>
            {t("chip.window")} <b data-testid="window">{until > now ? clockText(until - now) : t("chip.closed", { time: until > 0 ? clockText(now - until) : "" })}</b>
          </Chip>
          <Chip tone={left - cost <= 1 ? "amber" : "calm"} title={kept > 0 ? t("chip.keptTip", { count: kept }) : ""}>
            {t("chip.quota")} <b data-testid="quota">{left}/{quota.total}</b>{kept > 0 && <span className="kept" data-testid="kept"> {t("chip.kept", { count: kept })}</span>} <Pips total={quota.total} reserved={q.reserved + kept} used={Math.max(0, quota.total - left - kept - q.reserved)} tone={left - cost <= 1 ? "amber" : "calm"} />
          </Chip>
        </>
      )}
      {session > 0 && <Chip tone={toneOf({ kind: "session", at: session, total: targets.session }, now)}>{t("chip.session")} <b>{clockText(session - now)}</b></Chip>}
    </>
  );
}

// PromiseChips say what the group promised the fan: the next answer always, the end when it is near.
export function PromiseChips({ c }: { c: Conversation }) {
  const { t, dateTime } = useI18n();
  const now = useSecond();
  return c.promises.map((p) => {
    const d = promised(p);
    const tone = toneOf(d, now);
    if (p.target === Target.CLOSE && tone === "calm") return null;
    const late = d.at <= now;
    return (
      <Chip key={p.target} tone={tone} className="promise-chip" title={t("promise.tip", { what: t(`deadline.${d.kind}`), target: clockText(p.targetS * 1000), time: dateTime(d.at) })}>
        {t(late ? "promise.late" : "promise.left", { what: t(`deadline.${d.kind}`) })} <b>{clockText(late ? now - d.at : d.at - now)}</b>
      </Chip>
    );
  });
}

// WindowClosed takes the place of the text field: what cannot be done is named with its reason, and
// what works now comes first.
export function WindowClosed({ c, quota, draft, onHold, onNote }: { c: Conversation; quota: Quota; draft: string; onHold(): void; onNote(): void }) {
  const { t, dateTime } = useI18n();
  const { can } = useMe();
  const go = useNavigate();
  const kind = quota.data?.class ?? QuotaClass.UNSPECIFIED;
  const reason: Partial<Record<QuotaClass, string>> = {
    [QuotaClass.EXHAUSTED]: `${t("closed.exhausted", { total: quota.total })}。${t("closed.exhausted.text")}`,
    [QuotaClass.UNSUBSCRIBED]: t("closed.unsubscribed"), [QuotaClass.NO_API]: t("closed.noApi"), [QuotaClass.NEVER_OPENED]: t("closed.never"), [QuotaClass.CLOSED_BY_WECHAT]: t("closed.wechat"),
  };
  const fallback = c.lastFanUnixMs > 0n ? t("closed.window", { name: c.fanName, time: dateTime(Number(c.lastFanUnixMs)) }) : quota.data?.reason;
  return (
    <div className="window-closed" role="status" data-testid="window-closed">
      <div className="why"><b>{t("closed.title")}</b><p className="t2">{reason[kind] ?? fallback}</p>{draft && <p className="t12 t3 cut">{t("closed.draftKept", { text: draft })}</p>}</div>
      {can(CampaignService.method.createCampaign) && <Option icon="mega" title={t("closed.template")} text={t("closed.template.text")} action={t("closed.template")} onClick={() => void go(`/sends/one?account=${encodeURIComponent(c.account)}&openid=${encodeURIComponent(c.openid)}`)} />}
      <Option icon="clock" title={t("closed.hold")} text={t("closed.hold.text")} action={t("thread.hold")} onClick={onHold} />
      <Option icon="note" title={t("closed.note")} text={t("composer.notePlaceholder")} action={t("composer.note")} onClick={onNote} />
    </div>
  );
}

function Option({ icon, title, text, action, onClick }: { icon: "mega" | "clock" | "note"; title: string; text: string; action: string; onClick(): void }) {
  return <div className="option"><Icon name={icon} /><div className="grow"><div>{title}</div><div className="t12 t3">{text}</div></div><Button size="small" onClick={onClick}>{action}</Button></div>;
}
