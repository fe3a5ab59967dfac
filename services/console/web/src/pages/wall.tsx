import { useMutation, useQuery } from "@tanstack/react-query";
import { App, Button, Segmented, Switch } from "antd";
import { useMemo, useState } from "react";
import { Presence, type Agent } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { AgentService } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { ConversationService } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import { ReportBy, ReportService, type ReportRow } from "../gen/wxbus/agentrouting/v1/report_service_pb";
import { FanAvatar } from "../fan/avatar";
import { conversationKey, fanKey } from "../feed/store";
import { useI18n, type Translate } from "../i18n";
import { useActions, useKeys } from "../keys/keys";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { useSecond } from "../ui/clock";
import { clockText } from "../ui/duration";
import { Icon } from "../ui/icon";
import { AgentAvatar, Empty, Kbd, Pips, Tag } from "../ui/parts";
import { DeadlineRing } from "../ui/ring";
import { toneOf } from "../ui/tone";
import { todayOf } from "../ui/zone";
import { Bubble, type BubbleActions } from "../desk/bubble";
import { useColleagueNames } from "../desk/names";
import { NoteField } from "../desk/note-field";
import { deadlineOf, isLate, targets } from "../desk/order";
import { useColleagues, useConversations, useDesk, useThread } from "../desk/provider";
import { Thread, type ThreadRow } from "../desk/thread";
import { Trace } from "../desk/trace";
import { useOpenThread } from "../desk/use-thread";
import { useCast } from "./cast";
import { useFailure } from "./data";
import type { Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";

const dots = { [Presence.UNSPECIFIED]: "off", [Presence.ONLINE]: "green", [Presence.AWAY]: "amber", [Presence.OFFLINE]: "off" } as const;

// Wall is the supervisor's view: who has how much, who waits how long. Read only until take over.
export default function Wall() {
  const { t, number } = useI18n();
  const { agents, reports, conversations } = useClients();
  const { user, can } = useMe();
  const { store, account } = useDesk();
  const { notification } = App.useApp();
  const fail = useFailure();
  const keys = useKeys();
  const nameOf = useColleagueNames();
  useConversations();
  const now = useSecond();
  const [group, setGroup] = useState("");
  const [lateOnly, setLateOnly] = useState(false);
  const [chosen, setChosen] = useState<{ account: string; id: string }>();
  const [moving, setMoving] = useState(false);
  const [cast, toggleCast] = useCast();
  const people = useQuery({ queryKey: ["agents", ""], queryFn: () => agents.listAgents({}), refetchInterval: 5_000 });
  const groups = useQuery({ queryKey: ["groups"], queryFn: () => agents.listGroups({}), enabled: can(AgentService.method.listGroups), refetchInterval: 10_000 });
  const today = useQuery({ queryKey: ["report-today"], queryFn: () => reports.getReport({ filter: todayOf(Date.now()), by: ReportBy.TOTAL }), enabled: can(ReportService.method.getReport), refetchInterval: 30_000 });
  const each = useQuery({ queryKey: ["report-today", "agents"], queryFn: () => reports.getReport({ filter: todayOf(Date.now()), by: ReportBy.AGENT }), enabled: can(ReportService.method.getReport), refetchInterval: 30_000 });
  const firsts = useMemo(() => new Map(each.data?.rows.flatMap((r) => (r.firstResponseMs?.count ? [[r.key, Number(r.firstResponseMs.median)] as const] : []))), [each.data]);
  const everything = [...store.all()].filter((c) => c.state !== ConversationState.CLOSED && (!group || c.group === group) && (!account || c.account === account));
  const late = everything.filter((c) => isLate(c, now));
  const open = lateOnly ? late : everything;
  const waiting = open.filter((c) => c.state === ConversationState.WAITING || c.state === ConversationState.OFFERED);
  const active = open.filter((c) => c.state === ConversationState.ACTIVE);
  const oldest = Math.min(...waiting.map((c) => Number(c.waitingSinceUnixMs || c.openedUnixMs)));
  const list = (people.data?.agents ?? []).filter((a) => !group || a.groups.includes(group)).toSorted((a, b) => order(a) - order(b) || a.id.localeCompare(b.id));
  const capacity = list.filter((a) => a.presence === Presence.ONLINE).reduce((sum, a) => sum + (a.effectiveCapacity || a.capacity), 0);
  const total = today.data?.total;
  const current = chosen ? store.conversation(chosen.account, chosen.id) : undefined;

  const move = useMutation({
    mutationFn: ({ c, to }: { c: Conversation; to: string }) => conversations.transfer({ account: c.account, conversation: c.id, actor: user, to: to ? { case: "toAgent", value: to } : { case: "toGroup", value: c.group }, note: "" }),
    onSuccess: (res, { to }) => { if (res.conversation) store.put([res.conversation]); notification.success({ title: to ? t("thread.transferred", { name: nameOf(to) }) : t("wall.backToQueue.done") }); }, onError: fail,
  });
  const takeOver = async (c: Conversation) => {
    try {
      const res = await conversations.takeOver({ account: c.account, conversation: c.id, actor: user });
      if (res.conversation) store.put([res.conversation]);
    } catch (err) {
      fail(err);
    }
  };
  const walk = active.concat(waiting);
  const step = (by: number) => {
    const at = walk.findIndex((c) => chosen && c.id === chosen.id && c.account === chosen.account);
    const next = walk[Math.min(walk.length - 1, Math.max(0, at + by))];
    if (next) setChosen({ account: next.account, id: next.id });
  };
  useActions({
    next: () => step(1), previous: () => step(-1),
    takeOver: current && current.agent !== user && current.state === ConversationState.ACTIVE ? () => void takeOver(current) : undefined,
    move: current ? () => setMoving(true) : undefined,
    cast: toggleCast,
  });
  const free = list.filter((a) => a.presence === Presence.ONLINE);
  return (
    <main className="page">
      <header className="page-head"><h1>{t("nav.wall")}</h1>
        <Segmented size="small" value={group} onChange={setGroup} aria-label={t("transfer.groups")} options={[{ value: "", label: t("wall.allGroups") }, ...(groups.data?.groups ?? []).map((g) => ({ value: g.id, label: g.name || g.id }))]} />
        <label className="row g4 t12"><Switch size="small" checked={lateOnly} onChange={setLateOnly} aria-label={t("wall.lateOnly")} />{t("wall.lateOnly")}</label>
        <span className="grow" /><span className="t12 t3">{t("wall.readOnly")}</span><Button size="small" icon={<Icon name="wall" size={14} />} aria-pressed={cast} onClick={toggleCast} data-testid="cast">{t(cast ? "wall.castEnd" : "wall.cast")} <Kbd chord={keys.chord("cast")} /></Button></header>
      <div className="kpis">
        <Kpi label={t("wall.queue")} value={number(waiting.length)} />
        <Kpi label={t("wall.oldest")} value={waiting.length > 0 ? clockText(now - oldest) : "—"} tone={waiting.length > 0 ? toneOf({ kind: "reply", at: oldest + targets.firstReply, total: targets.firstReply }, now) : "calm"} note={t("wall.target", { time: clockText(targets.firstReply) })} />
        <Kpi label={t("wall.first")} value={total?.firstResponseMs?.count ? clockText(Number(total.firstResponseMs.median)) : "—"} note={total?.firstResponseMs?.count ? `/ ${clockText(Number(total.firstResponseMs.p90))}` : ""} />
        <Kpi label={t("wall.late")} value={number(late.length)} tone={late.length > 0 ? "red" : "calm"} note={keptNote(total, t)} />
        <Kpi label={t("wall.active")} value={number(active.length)} note={t("wall.capacity", { count: capacity })} />
        <Kpi label={t("wall.online")} value={number(free.length)} note={`/ ${list.length}`} />
        <Kpi label={t("wall.survey")} value={total && total.surveysAnswered > 0n ? total.surveyAverage.toFixed(2) : "—"} note={total ? t("wall.surveys", { count: number(total.surveysAnswered) }) : ""} />
      </div>
      <div className="wall">
        <div className="tiles" data-zone tabIndex={-1}>
          {list.map((a, i) => (
            <Tile key={a.id} a={a} letter={moving ? String.fromCharCode(97 + i) : undefined} conversations={open.filter((c) => c.agent === a.id)} first={firsts.get(a.id)} chosen={current} onChoose={setChosen}
              onDrop={(key) => { const c = open.find((x) => conversationKey(x) === key); if (c && c.agent !== a.id) move.mutate({ c, to: a.id }); }} />
          ))}
          {list.length > 0 && <QueueTile onDrop={(key) => { const c = open.find((x) => conversationKey(x) === key); if (c?.agent) move.mutate({ c, to: "" }); }} />}
          {list.length === 0 && <Empty title={t("wall.nobody")} />}
        </div>
        <div className="col wall-side">
          <section className="card" aria-label={t("wall.queue")}>
            <header><h3 className="grow">{t("wall.queue")}</h3><span className="t12 t3">{t("wall.waits.now")}</span></header>
            {(groups.data?.groups ?? []).filter((g) => !group || g.id === group).map((g) => {
              const rows = waiting.filter((c) => c.group === g.id);
              const first = Math.min(...rows.map((c) => Number(c.waitingSinceUnixMs || c.openedUnixMs)));
              return <div key={g.id} className="queue-line"><div><b className="cut">{g.name || g.id}</b><div className="t12 t3">{t("wall.groupLine", { waiting: rows.length, online: g.agentsOnline })}</div></div><Waits values={histogram(rows, now)} /><span className={`num deadline-text ${rows.length > 0 ? toneOf({ kind: "reply", at: first + targets.firstReply, total: targets.firstReply }, now) : ""}`}>{rows.length > 0 ? clockText(now - first) : "—"}</span></div>;
            })}
          </section>
          {!cast && <section className="card watch" aria-label={t("desk.thread")}>{current ? <WatchPane c={current} onTakeOver={() => void takeOver(current)} onMove={() => setMoving(true)} /> : <Empty title={t("wall.pick")} text={t("wall.pick.text")} />}</section>}
        </div>
      </div>
      {moving && current && <MoveBar list={list} c={current} onMove={(to) => { setMoving(false); move.mutate({ c: current, to }); }} onClose={() => setMoving(false)} keyHint={keys.chord("move")} />}
    </main>
  );
}

const order = (a: Agent) => ({ [Presence.ONLINE]: 0, [Presence.AWAY]: 1, [Presence.OFFLINE]: 2, [Presence.UNSPECIFIED]: 2 })[a.presence];

// keptNote says which share of today's promises of an answer was kept.
function keptNote(total: ReportRow | undefined, t: Translate): string {
  const answers = [total?.firstResponseKept, total?.nextResponseKept];
  const kept = answers.reduce((sum, k) => sum + Number(k?.kept ?? 0n), 0);
  const all = answers.reduce((sum, k) => sum + Number(k?.broken ?? 0n), kept);
  return all > 0 ? t("wall.kept", { percent: Math.floor((100 * kept) / all) }) : "";
}

// histogram counts who waits by half minutes.
function histogram(rows: readonly Conversation[], now: number): number[] {
  const bins = Array.from({ length: 10 }, () => 0);
  for (const c of rows) {
    const i = Math.min(bins.length - 1, Math.max(0, Math.floor((now - Number(c.waitingSinceUnixMs || c.openedUnixMs)) / 30_000)));
    bins[i] = (bins[i] ?? 0) + 1;
  }
  return bins;
}

function Kpi({ label, value, note, tone }: { label: string; value: string; note?: string; tone?: "calm" | "amber" | "red" }) {
  return <div><div className="t12 t3">{label}</div><div className={`figure deadline-text ${tone ?? "calm"}`}>{value} {note && <small>{note}</small>}</div></div>;
}

// Waits draws how many have waited how long, half a minute a bar; those near or behind the target stand out.
function Waits({ values }: { values: readonly number[] }) {
  const most = Math.max(1, ...values);
  const late = (i: number) => (i * 30_000 >= targets.firstReply ? "var(--red)" : (i + 1) * 30_000 >= targets.firstReply * 0.67 ? "var(--amber)" : "var(--chart)");
  return <svg width="120" height="24" aria-hidden="true">{values.map((v, i) => <rect key={i} x={i * 12} y={v > 0 ? 22 - (v / most) * 20 : 21} width="9" height={v > 0 ? (v / most) * 20 + 1 : 2} rx="1" fill={v > 0 ? late(i) : "var(--chart-3)"} />)}</svg>;
}

// QueueTile takes a conversation back into the queue of its group.
function QueueTile({ onDrop }: { onDrop(key: string): void }) {
  const { t } = useI18n();
  const [over, setOver] = useState(false);
  return (
    <div className={`tile offline drop-here ${over ? "drop" : ""}`} onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={(e) => { e.preventDefault(); setOver(false); onDrop(e.dataTransfer.getData("text/plain")); }}>
      <Icon name="undo" size={20} /><span>{t("wall.dropHere")}</span><span className="t12 t3">{t("wall.dropHere.text")}</span>
    </div>
  );
}

function Tile({ a, letter, conversations, first, chosen, onChoose, onDrop }: { a: Agent; letter: string | undefined; conversations: Conversation[]; first: number | undefined; chosen: Conversation | undefined; onChoose(c: { account: string; id: string }): void; onDrop(key: string): void }) {
  const { t } = useI18n();
  const { store } = useDesk();
  const now = useSecond();
  const [over, setOver] = useState(false);
  const doing = conversations.flatMap((c) => store.colleagues(c.account, c.id, now).filter((p) => p.actor === a.id).map((p) => ({ c, typing: p.typing }))).toSorted((x, y) => Number(y.typing) - Number(x.typing))[0];
  const capacity = a.effectiveCapacity || a.capacity;
  const live = conversations.filter((c) => c.state === ConversationState.ACTIVE);
  const unanswered = live.filter((c) => c.unanswered > 0).map((c) => Number(c.lastFanUnixMs));
  const longest = unanswered.length > 0 ? now - Math.min(...unanswered) : 0;
  const late = conversations.some((c) => isLate(c, now)) || longest > targets.firstReply ? "crit" : longest > targets.firstReply * 0.67 ? "warn" : "";
  const offline = a.presence === Presence.OFFLINE;
  return (
    <article className={`tile ${late} ${offline ? "offline" : ""} ${over ? "drop" : ""}`} aria-label={a.name || a.id} onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={(e) => { e.preventDefault(); setOver(false); onDrop(e.dataTransfer.getData("text/plain")); }}>
      <div className="row"><AgentAvatar name={a.name || a.id} size={32} dot={dots[a.presence]} /><div className="grow"><div className="m cut">{a.name || a.id} {letter && <kbd>{letter.toUpperCase()}</kbd>}</div><div className="t12 t3">{t(a.presence === Presence.ONLINE ? "me.online" : a.presence === Presence.AWAY ? "me.away" : "me.offline")} {a.presenceSinceUnixMs > 0n && clockText(now - Number(a.presenceSinceUnixMs))}</div></div><Pips used={Math.min(a.load, capacity)} reserved={0} total={Math.max(capacity, 1)} /></div>
      <div className="rings">
        {conversations.slice(0, 6).map((c) => (
          <button key={conversationKey(c)} type="button" draggable className={`plain ${chosen && conversationKey(chosen) === conversationKey(c) ? "picked" : ""}`} aria-label={c.fanName} title={c.fanName} onClick={() => onChoose({ account: c.account, id: c.id })} onDragStart={(e) => e.dataTransfer.setData("text/plain", conversationKey(c))}>
            <DeadlineRing deadline={deadlineOf(c, now)} width={2}><FanAvatar fan={c} size={28} /></DeadlineRing>
          </button>
        ))}
      </div>
      <div className="row t12 t3"><span className="grow">{longest > 0 ? <>{t("wall.unanswered")} <b className={late === "crit" ? "tone-red" : late === "warn" ? "tone-amber" : ""}>{clockText(longest)}</b></> : offline ? "" : t("wall.allAnswered")}</span>{first !== undefined && <span>{t("wall.firstShort", { time: clockText(first) })}</span>}</div>
      <div className="row t12 t3"><span className="grow cut">{doing && <><Icon name={doing.typing ? "pen" : "eye"} size={12} /> {t(doing.typing ? "wall.types" : "wall.looks", { name: doing.c.fanName })}</>}</span><span>{a.load}/{capacity}</span></div>
    </article>
  );
}

// WatchPane shows a conversation of somebody else without touching it.
function WatchPane({ c, onTakeOver, onMove }: { c: Conversation; onTakeOver(): void; onMove(): void }) {
  const { t } = useI18n();
  const { can, user } = useMe();
  const keys = useKeys();
  const nameOf = useColleagueNames();
  const now = useSecond();
  const [traced, setTraced] = useState<Message>();
  useOpenThread(c.account, c.id, c);
  const thread = useThread(c);
  const actions = useMemo<BubbleActions>(() => ({ onSelect: () => undefined, onTrace: setTraced, onResend: () => undefined, nameOf }), [nameOf]);
  const rows = useMemo<ThreadRow[]>(() => thread.messages.map((m) => ({ key: `m/${m.seq}`, estimate: 46, render: () => <Bubble m={m} selected={false} actions={actions} /> })), [thread.messages, actions]);
  const typing = useColleagues(c, now).filter((p) => p.typing).map((p) => nameOf(p.actor));
  return (
    <>
      <header><DeadlineRing deadline={deadlineOf(c, now)}><FanAvatar fan={c} size={24} /></DeadlineRing><b className="cut">{c.fanName}</b><span className="t12 t3 cut grow">{c.agent ? t(c.state === ConversationState.OFFERED ? "wall.offeredTo" : "wall.servedBy", { name: nameOf(c.agent) }) : t("wall.waits")}</span>{c.unanswered > 0 && <Tag tone="amber">{t("inbox.unanswered", { count: c.unanswered })}</Tag>}</header>
      <Thread key={fanKey(c)} rows={rows} onTop={() => undefined} label={t("desk.thread")} />
      {typing.length > 0 && <p className="t12 t3" style={{ padding: "4px 16px" }}>{t("thread.typing", { names: typing.join("、") })}</p>}
      <NoteField key={conversationKey(c)} c={c} wanted={undefined} onWanted={() => undefined} />
      <div className="row" style={{ padding: "8px 16px 12px" }}>
        {can(ConversationService.method.takeOver) && c.state === ConversationState.ACTIVE && c.agent !== user && <Button type="primary" size="small" onClick={onTakeOver}>{t("thread.takeOver")} <Kbd chord={keys.chord("takeOver")} /></Button>}
        <Button size="small" icon={<Icon name="xfer" size={14} />} onClick={onMove}>{t("wall.move")} <Kbd chord={keys.chord("move")} /></Button>
        <span className="grow" /><span className="t12 t3">{c.agent && t("wall.tells", { name: nameOf(c.agent) })}</span>
      </div>
      {traced && <Trace m={traced} onClose={() => setTraced(undefined)} />}
    </>
  );
}

// MoveBar is the keyboard's way of dragging: a letter for each agent.
function MoveBar({ list, c, onMove, onClose, keyHint }: { list: readonly Agent[]; c: Conversation; onMove(to: string): void; onClose(): void; keyHint: string }) {
  const { t } = useI18n();
  return (
    <div className="move-bar" role="dialog" aria-label={t("wall.move")} ref={(el) => el?.querySelector<HTMLElement>("button")?.focus()}
      onKeyDown={(e) => {
        if (e.key === "Escape") onClose();
        if (e.key === "0" && c.agent) { e.preventDefault(); onMove(""); return; }
        const a = list[e.key.charCodeAt(0) - 97];
        if (e.key.length === 1 && e.key !== keyHint && a && a.presence === Presence.ONLINE) { e.preventDefault(); onMove(a.id); }
      }} tabIndex={-1}>
      <span>{t("wall.moveTo", { name: c.fanName })}</span>
      {list.map((a, i) => a.presence === Presence.ONLINE && a.id !== c.agent && <Button key={a.id} size="small" onClick={() => onMove(a.id)}>{a.name || a.id} <kbd>{String.fromCharCode(65 + i)}</kbd> {t("wall.after", { before: a.load, after: a.load + 1, capacity: a.effectiveCapacity || a.capacity })}</Button>)}
      {c.agent && <Button size="small" onClick={() => onMove("")}>{t("wall.backToQueue")} <kbd>0</kbd></Button>}
      <Button size="small" type="text" onClick={onClose}>{t("act.cancel")} <Kbd chord="esc" /></Button>
    </div>
  );
}
