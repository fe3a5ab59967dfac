import { ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useQuery } from "@tanstack/react-query";
import { ReportService } from "../gen/wxbus/agentrouting/v1/report_service_pb";
import { useConversations, useDesk, useFeed } from "../desk/provider";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { useI18n } from "../i18n";
import { useKeys } from "../keys/keys";
import { threshold } from "../theme/theme";
import { clock, useSecond } from "../ui/clock";
import { todayOf } from "../ui/zone";
import { clockText } from "../ui/duration";
import { Icon } from "../ui/icon";
import { Dot, Kbd } from "../ui/parts";
import { memo, useMemo, useState } from "react";
import { loadSounds, saveSounds } from "./sounds";

const missedPings = 30_000;

// ConnectionChip says whether the page hears the server, how far away it is and how old its word is.
export function ConnectionChip() {
  const { t } = useI18n();
  const { link, latency, heardAt } = useFeed();
  const now = useSecond();
  if (link.state === "connecting") return <span className="conn"><Dot tone="calm" />{t("conn.connecting")}</span>;
  if (link.state === "down") return <span className="conn tone-red"><Dot tone="red" />{t("conn.down", { seconds: Math.max(0, Math.round((now - link.since) / 1000)) })}</span>;
  const late = heardAt > 0 && now - heardAt > missedPings;
  const tone = latency !== undefined && latency >= threshold.latency.red ? "red" : late || (latency !== undefined && latency >= threshold.latency.amber) ? "amber" : "green";
  return (
    <span className="conn" title={heardAt ? t("conn.age", { seconds: Math.max(0, Math.round((now - heardAt) / 1000)) }) : undefined}>
      <Dot tone={tone} />{t("conn.up")} {latency !== undefined && <b>{t("conn.latency", { ms: latency })}</b>}
    </span>
  );
}

// OwnDay is what an agent did today: so much as one may know of oneself.
function OwnDay() {
  const { t, number } = useI18n();
  const { reports } = useClients();
  const { user, can } = useMe();
  const { me } = useDesk();
  const { data } = useQuery({
    queryKey: ["own-day", user], enabled: me !== undefined && can(ReportService.method.getOwnReport), refetchInterval: 60_000, retry: false,
    queryFn: () => { const { fromUnixMs, toUnixMs } = todayOf(clock.now()); return reports.getOwnReport({ agent: user, fromUnixMs, toUnixMs }); },
  });
  const day = data?.total;
  if (!day) return null;
  return (
    <span className="row g12 wide" data-testid="own-day">
      <span>{t("status.served")} <b>{number(day.served)}</b></span>
      {day.firstResponseMs && day.firstResponseMs.count > 0n && <span>{t("status.first")} <b>{clockText(Number(day.firstResponseMs.median))}</b></span>}
      {day.surveysAnswered > 0n && <span>{t("status.survey")} <b>{day.surveyAverage.toFixed(1)}</b></span>}
    </span>
  );
}

function waitingOf(all: Iterable<Conversation>, account: string): { count: number; oldest: number } {
  const waiting = { count: 0, oldest: Number.POSITIVE_INFINITY };
  for (const c of all) {
    if ((c.state !== ConversationState.WAITING && c.state !== ConversationState.OFFERED) || (account && c.account !== account)) continue;
    waiting.count++;
    waiting.oldest = Math.min(waiting.oldest, Number(c.waitingSinceUnixMs || c.openedUnixMs));
  }
  return waiting;
}

export const StatusBar = memo(function StatusBar({ onPalette, onKeys }: { onPalette: () => void; onKeys: () => void }) {
  const { t, number } = useI18n();
  const keys = useKeys();
  const { seq } = useFeed();
  const { store, account } = useDesk();
  const version = useConversations();
  const now = useSecond();
  const [sounds, setSounds] = useState(loadSounds);
  // oxlint-disable-next-line react/exhaustive-deps -- the version stands for what the store holds
  const waiting = useMemo(() => waitingOf(store.all(), account), [store, version, account]);
  const quiet = sounds.volume === 0;
  const toggle = () => {
    const next = { ...sounds, volume: quiet ? 0.5 : 0 };
    saveSounds(next);
    setSounds(next);
  };
  return (
    <footer className="status">
      <ConnectionChip />
      {seq !== undefined && <span data-testid="seq">{t("status.seq", { seq: number(seq) })}</span>}
      <span>{t("status.queue", { count: waiting.count })}{waiting.count > 0 && <> · {t("status.longest", { time: clockText(now - waiting.oldest) })}</>}</span>
      <span className="grow" />
      <OwnDay />
      <button type="button" className="plain row g4 wide" onClick={toggle} aria-pressed={!quiet}><Icon name="vol" size={14} />{quiet ? t("status.soundOff") : t("status.soundOn")}</button>
      <button type="button" className="plain row g4" onClick={onPalette}><Kbd chord={keys.chord("palette")} /> {t("status.commands")}</button>
      <button type="button" className="plain row g4" onClick={onKeys}><Kbd chord={keys.chord("keys")} /> {t("status.keys")}</button>
    </footer>
  );
});
