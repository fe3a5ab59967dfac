import { useQuery } from "@tanstack/react-query";
import { App, Button, Dropdown, Modal, Tooltip } from "antd";
import { memo, useCallback, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { AuthorKind, ConversationState, MessageState, type Conversation, type LinkedFan, type Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import type { ConversationEvent } from "../gen/wxbus/agentrouting/v1/conversation_events_pb";
import { ConversationService } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import { FanAvatar } from "../fan/avatar";
import { conversationKey, fanKey } from "../feed/store";
import { useI18n, type Translate } from "../i18n";
import { reasonText } from "../i18n/said";
import type { Key } from "../i18n/words";
import { words } from "../i18n/words";
import { useActions, useKeys } from "../keys/keys";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { useMe } from "../session/session";
import { useSecond } from "../ui/clock";
import { Icon } from "../ui/icon";
import { AgentAvatar, Kbd, Monogram } from "../ui/parts";
import { DeadlineRing } from "../ui/ring";
import { useChanged, useSoon, useStable } from "../ui/stable";
import { dayNumber, hourOfDay } from "../ui/zone";
import { Bubble, PendingBubble, type BubbleActions } from "./bubble";
import { ClosedBar } from "./closed-bar";
import { Composer } from "./composer";
import { PromiseChips } from "./chips";
import { PersonThread } from "./person";
import { follow, useFollowed } from "./followed";
import { useColleagueNames, useGroupNames } from "./names";
import { deadlineOf, promised } from "./order";
import { clockText } from "../ui/duration";
import { useColleagues, useDesk, useThread } from "./provider";
import { Thread, type ThreadRow } from "./thread";
import { Trace } from "./trace";
import { TransferDialog } from "./transfer";
import { useFan } from "./use-fan";
import { useOutbox } from "./use-outbox";
import { whyOf } from "./why";

interface Props {
  conversation: Conversation;
  onEnded(c: Conversation): void;
  onBack(): void;
  onAccept(c: Conversation): void;
  onContext(): void;
}

const undoFor = 10; // seconds

export function ThreadPane({ conversation: c, onEnded, onBack, onAccept, onContext }: Props) {
  const { t, time } = useI18n();
  const { conversations } = useClients();
  const { user, can } = useMe();
  const { notification, modal } = App.useApp();
  const { store } = useDesk();
  const keys = useKeys();
  const thread = useThread(c);
  const { outbox, pending } = useOutbox(c);
  const [selected, setSelected] = useState<bigint>();
  const [traced, setTraced] = useState<Message>();
  const [transferring, setTransferring] = useState(false);
  const [wanted, setWanted] = useState<"reply" | "note">();
  const [merged, setMerged] = useState(false);
  if (useChanged(fanKey(c))) setMerged(false);
  if (useChanged(conversationKey(c))) {
    setSelected(undefined);
    setTraced(undefined);
    setTransferring(false);
    setWanted(undefined);
  }
  const nameOf = useColleagueNames();
  const groupOf = useGroupNames();
  const changes = useChanges(c);
  const linked = useLinked(c);

  const fail = useCallback((err: unknown) => {
    const said = say(err, t);
    notification.error({ title: said.text, description: said.code });
  }, [notification, t]);
  const run = useCallback(async (call: () => Promise<{ conversation?: Conversation | undefined }>) => {
    try {
      const res = await call();
      if (res.conversation) store.put([res.conversation]);
      return true;
    } catch (err) {
      fail(err);
      return false;
    }
  }, [store, fail]);
  const ref = { account: c.account, conversation: c.id, actor: user };

  const mine = c.agent === user && (c.state === ConversationState.ACTIVE || c.state === ConversationState.ON_HOLD);
  const active = mine && c.state === ConversationState.ACTIVE;

  // offerUndo says what was done, and takes it back for 10 s by a button or its key.
  const [undo, setUndo] = useState<() => void>();
  const offerUndo = (key: string, title: string, back: () => Promise<{ conversation?: Conversation | undefined }>) => {
    const once = () => {
      notification.destroy(key);
      setUndo(undefined);
      void run(back);
    };
    setUndo(() => once);
    const over = () => setUndo((now) => (now === once ? undefined : now));
    notification.success({ key, title, description: c.fanName, duration: undoFor, onClose: over, actions: <Button size="small" onClick={once}>{t("act.undo")} <Kbd chord={keys.chord("undo")} /></Button> });
  };

  const end = async (next: boolean) => {
    if (!(await run(() => conversations.close({ account: c.account, openid: c.openid, agent: user, conversation: c.id })))) return;
    offerUndo(`end/${c.id}`, t("thread.ended"), () => conversations.reopen(ref));
    if (next) onEnded(c);
  };
  const hold = async (until: number) => {
    if (await run(() => conversations.hold({ ...ref, untilUnixMs: BigInt(until) }))) offerUndo(`hold/${c.id}`, t("inbox.held"), () => conversations.unhold(ref));
  };
  const act = useStable((what: HeadAction, until?: number) => {
    switch (what) {
      case "transfer":
        return setTransferring(true);
      case "hold":
        return void hold(until ?? 0);
      case "end":
        return void end(false);
      default:
        return void run(() => conversations[what](ref));
    }
  });

  const resend = useCallback((m: Message) => {
    if (!m.content) return;
    const send = () => void outbox.send({ conversation: c, agent: user, content: m.content as NonNullable<Message["content"]>, text: m.text, expectedLastSeq: 0n, clientId: `${m.clientId || m.sendId}~again` }).catch(fail);
    if (m.state === MessageState.AMBIGUOUS) modal.confirm({ title: t("bubble.sendAgain"), content: t("bubble.sendAgain.warn"), okText: t("bubble.sendAgain"), cancelText: t("act.cancel"), onOk: send });
    else send();
  }, [outbox, c, user, fail, modal, t]);

  const actions = useMemo<BubbleActions>(() => ({ onSelect: (m) => setSelected(m.seq), onTrace: setTraced, onResend: resend, nameOf }), [resend, nameOf]);
  const rows = useRows({ thread: thread.messages, more: thread.more, loaded: thread.loaded, changes, pending, selected, actions, conversation: c, nameOf, groupOf,
    onDiscard: (p) => outbox.discard(p), onRetry: (p) => void outbox.send({ conversation: c, agent: user, content: p.content, text: p.text, expectedLastSeq: 0n, clientId: p.clientId, preview: p.preview }).catch(() => undefined) });

  const loading = useRef(false);
  const older = useCallback(() => {
    const first = thread.messages[0];
    if (!thread.more || !first || loading.current) return;
    loading.current = true;
    conversations.listMessages({ account: c.account, openid: c.openid, beforeSeq: first.seq, limit: 100 })
      .then((res) => store.putPage(c, res.messages, res.more), () => undefined) // scrolling again asks again
      .finally(() => void (loading.current = false));
  }, [thread, conversations, c, store]);

  const selectable = thread.messages;
  const move = (by: number) => {
    const at = selected === undefined ? selectable.length : selectable.findIndex((m) => m.seq === selected);
    const next = selectable[Math.min(selectable.length - 1, Math.max(0, at + by))];
    if (next) setSelected(next.seq);
  };
  const chosen = selectable.find((m) => m.seq === selected) ?? selectable.at(-1);
  const element = () => chosen && document.querySelector<HTMLElement>(`[data-seq="${chosen.seq}"]`);
  useActions({
    reply: () => setWanted("reply"), note: () => setWanted("note"),
    transfer: mine ? () => setTransferring(true) : undefined,
    hold: active ? () => void hold(0) : c.state === ConversationState.ON_HOLD && mine ? () => void run(() => conversations.unhold(ref)) : undefined,
    end: mine ? () => void end(false) : undefined, endAndNext: mine ? () => void end(true) : undefined,
    follow: () => follow(user, c), undo,
    person: linked.length > 0 ? () => setMerged((v) => !v) : undefined,
    trace: chosen ? () => setTraced(chosen) : undefined,
    messageUp: () => move(-1), messageDown: () => move(1),
    play: () => element()?.querySelector<HTMLElement>("[data-play]")?.click(),
    preview: () => element()?.querySelector<HTMLElement>(".picture-root")?.click(),
    resend: chosen && chosen.authorKind === AuthorKind.AGENT && (chosen.state === MessageState.FAILED || chosen.state === MessageState.AMBIGUOUS) ? () => resend(chosen) : undefined,
    takeOver: !mine && can(ConversationService.method.takeOver) && c.state === ConversationState.ACTIVE ? () => void run(() => conversations.takeOver(ref)) : undefined,
  });

  return (
    <>
      <ThreadHead c={c} nameOf={nameOf} onBack={onBack} onContext={onContext}>
        <HeadActions state={c.state} mine={mine} idleWarned={c.idleWarned} reopenUntil={Number(c.reopenUntilUnixMs)} mayTakeOver={can(ConversationService.method.takeOver)} run={act} />
      </ThreadHead>
      {linked.length > 0 && <PersonBar c={c} count={linked.length + 1} merged={merged} onMerge={setMerged} />}
      {merged ? <PersonThread c={c} actions={actions} nameOf={nameOf} groupOf={groupOf} /> : <Thread key={`${c.account}/${c.openid}`} rows={rows} onTop={older} label={t("desk.thread")} reveal={selected === undefined ? undefined : `m/${selected}`} />}
      {mine ? <Composer conversation={c} messages={thread.messages} outbox={outbox} nameOf={nameOf} wanted={wanted} onWanted={() => setWanted(undefined)} onHold={() => void hold(0)} />
        : <ClosedBar key={conversationKey(c)} c={c} nameOf={nameOf} onAccept={onAccept} wanted={wanted} onWanted={() => setWanted(undefined)} />}
      {c.state === ConversationState.CLOSED && c.surveyScore > 0 && <p className="survey" role="status">{t("thread.survey", { score: c.surveyScore, max: 5 })} · {time(Number(c.closedUnixMs))}</p>}
      {traced && <Trace m={traced} onClose={() => setTraced(undefined)} />}
      <Modal open={transferring} onCancel={() => setTransferring(false)} footer={null} title={t("transfer.title")} destroyOnHidden width={480}>
        <TransferDialog c={c} onDone={(name) => { setTransferring(false); notification.success({ title: t("thread.transferred", { name }) }); onEnded(c); }} onError={fail} />
      </Modal>
    </>
  );
}

// useLinked returns the fans of other accounts who are the same person, as WeChat says by the unionid.
function useLinked(c: Conversation): readonly LinkedFan[] {
  return useFan(c).data?.fan?.linked ?? none;
}

const none: readonly LinkedFan[] = [];

// PersonBar says that the fan is known in other accounts too, and shows them in one thread or apart.
function PersonBar({ c, count, merged, onMerge }: { c: Conversation; count: number; merged: boolean; onMerge(v: boolean): void }) {
  const { t } = useI18n();
  const keys = useKeys();
  return (
    <div className="person-bar">
      <Icon name="link" size={14} /><span className="t12 t2 cut grow">{t("person.same", { count })}</span>
      <div className="mode" role="tablist" aria-label={t("person.thread")}>
        <button type="button" role="tab" aria-selected={!merged} onClick={() => onMerge(false)}>{c.account}</button>
        <button type="button" role="tab" aria-selected={merged} onClick={() => onMerge(true)} data-testid="merge">{t("person.all")} <Kbd chord={keys.chord("person")} /></button>
      </div>
    </div>
  );
}

// useChanges returns what happened to a conversation, oldest first; it is asked again with every change (DeskProvider).
export function useChanges(c: Conversation): readonly ConversationEvent[] | undefined {
  const { conversations } = useClients();
  const query = useQuery({
    queryKey: ["changes", c.account, c.id], enabled: useSoon(conversationKey(c)),
    queryFn: () => conversations.getConversation({ account: c.account, conversation: c.id }),
  });
  return query.data?.changes;
}

interface HeadProps {
  c: Conversation;
  nameOf(id: string): string;
  onBack(): void;
  onContext(): void;
  children: ReactNode;
}

function ThreadHead({ c, nameOf, onBack, onContext, children }: HeadProps) {
  const { t } = useI18n();
  const groupOf = useGroupNames();
  const { user } = useMe();
  const keys = useKeys();
  const follows = useFollowed().has(conversationKey(c));
  const followLabel = t(follows ? "thread.unfollow" : "thread.follow");
  const now = useSecond();
  const people = useColleagues(c, now);
  const typing = people.filter((p) => p.typing).map((p) => nameOf(p.actor));
  const viewing = people.filter((p) => !p.typing).map((p) => nameOf(p.actor));
  const seen = typing.length > 0 ? t("thread.typing", { names: typing.join("、") }) : viewing.length > 0 ? t("thread.viewing", { names: viewing.join("、") }) : "";
  return (
    <header className="pane-head thread-head">
      <button type="button" className="icon-button only-phone" aria-label={t("act.back")} onClick={onBack}><Icon name="left" /></button>
      <DeadlineRing deadline={deadlineOf(c, now)}><FanAvatar fan={c} size={28} /></DeadlineRing>
      <div className="grow">
        <button type="button" className="plain t14 m cut" onClick={onContext} data-testid="fan-name">{c.fanName || c.openid}</button>
        <div className="row g4 t12 t3"><Monogram account={c.account} size={16} /><span className="cut">{c.account} · {groupOf(c.group)}{seen && <> · <span className="t2">{seen}</span></>}</span></div>
      </div>
      <PromiseChips c={c} />
      <span className="people">{people.slice(0, 4).map((p) => <AgentAvatar key={p.actor} name={nameOf(p.actor)} />)}</span>
      <Tooltip title={`${followLabel} ${keys.chord("follow").toUpperCase()}`}><button type="button" className={`icon-button small follow ${follows ? "on" : ""}`} aria-pressed={follows} aria-label={followLabel} onClick={() => follow(user, c)} data-testid="follow"><Icon name="star" /></button></Tooltip>
      {children}
    </header>
  );
}

type HeadAction = "transfer" | "hold" | "unhold" | "renew" | "reopen" | "takeOver" | "end";

// HeadActions is what can be done with a conversation in this state. Another one in the same state draws nothing again.
const HeadActions = memo(function HeadActions({ state, mine, idleWarned, reopenUntil, mayTakeOver, run }: { state: ConversationState; mine: boolean; idleWarned: boolean; reopenUntil: number; mayTakeOver: boolean; run(what: HeadAction, until?: number): void }) {
  const { t } = useI18n();
  const keys = useKeys();
  if (state === ConversationState.CLOSED) return <Reopen until={reopenUntil} onReopen={() => run("reopen")} />;
  if (!mine) {
    return state === ConversationState.ACTIVE && mayTakeOver ? <Button size="small" icon={<Icon name="hand" />} onClick={() => run("takeOver")}>{t("thread.takeOver")} <Kbd chord={keys.chord("takeOver")} /></Button> : null;
  }
  return (
    <>
      <Tooltip title={t("thread.transfer")}><Button type="text" size="small" className="head-action" icon={<Icon name="xfer" />} onClick={() => run("transfer")}><span className="wide">{t("thread.transfer")}</span> <Kbd chord={keys.chord("transfer")} /></Button></Tooltip>
      {state === ConversationState.ON_HOLD
        ? <Button type="text" size="small" icon={<Icon name="undo" />} onClick={() => run("unhold")}>{t("thread.unhold")} <Kbd chord={keys.chord("hold")} /></Button>
        : <HoldMenu onHold={(until) => run("hold", until)} />}
      {idleWarned && <Button size="small" onClick={() => run("renew")}>{t("thread.renew")}</Button>}
      <Button size="small" icon={<Icon name="done" />} onClick={() => run("end")} data-testid="end">{t("thread.end")} <Kbd chord={keys.chord("end")} /></Button>
    </>
  );
});

function Reopen({ until, onReopen }: { until: number; onReopen(): void }) {
  const { t } = useI18n();
  const now = useSecond();
  return until > now ? <Button size="small" icon={<Icon name="undo" />} onClick={onReopen}>{t("thread.reopen")}</Button> : null;
}

function HoldMenu({ onHold }: { onHold(until: number): void }) {
  const { t } = useI18n();
  const keys = useKeys();
  const untils: Record<string, () => number> = { fan: () => 0, hour: () => Date.now() + 3_600_000, afternoon: () => Date.now() + 3 * 3_600_000, tomorrow: () => hourOfDay(Date.now(), 1, 9) };
  return (
    <Dropdown trigger={["click"]} menu={{ items: Object.keys(untils).map((key) => ({ key, label: t(`hold.${key}` as Key) })), onClick: ({ key }) => onHold(untils[key]?.() ?? 0) }}>
      <Button type="text" size="small" className="head-action" icon={<Icon name="moon" />}><span className="wide">{t("thread.hold")}</span> <Kbd chord={keys.chord("hold")} /></Button>
    </Dropdown>
  );
}

interface RowsOf {
  thread: readonly Message[];
  more: boolean;
  loaded: boolean;
  changes: readonly ConversationEvent[] | undefined;
  pending: ReturnType<typeof useOutbox>["pending"];
  selected: bigint | undefined;
  actions: BubbleActions;
  conversation: Conversation;
  nameOf(id: string): string;
  groupOf(id: string): string;
  onDiscard(p: RowsOf["pending"][number]): void;
  onRetry(p: RowsOf["pending"][number]): void;
}

const estimates: Record<string, number> = { image: 180, voice: 96, location: 130, video: 200, miniprogrampage: 72, news: 96, link: 96, msgmenu: 120 };

function useRows(o: RowsOf): ThreadRow[] {
  const { t, day, time } = useI18n();
  const handlers = useRef(o);
  handlers.current = o;
  const entries = useMemo(() => timeline(o.thread, o.changes), [o.thread, o.changes]);
  return useMemo(() => {
    const rows: ThreadRow[] = [];
    rows.push({ key: "top", estimate: 26, fixed: true, render: () => <div className="activity">{o.more ? t("thread.loading") : o.loaded ? t("thread.beginning") : ""}</div> });
    let last = Number.NaN;
    const today = dayNumber(Date.now());
    for (const e of entries) {
      const n = dayNumber(e.at);
      if (n !== last) {
        last = n;
        rows.push({ key: `d/${n}`, estimate: 26, render: () => <div className="activity">{n === today ? t("thread.today", { day: day(e.at) }) : day(e.at)}</div> });
      }
      if ("m" in e) rows.push({ key: `m/${e.m.seq}`, estimate: estimates[e.m.msgType] ?? 46, render: () => <Bubble m={e.m} selected={e.m.seq === o.selected} actions={o.actions} /> });
      else rows.push({ key: `c/${e.c.number}`, estimate: 26, render: () => <div className="activity">{time(e.at)} {changeText(e.c, t, o.nameOf, o.groupOf)}</div> });
    }
    for (const p of o.pending) rows.push({ key: `p/${p.clientId}`, estimate: 46, render: () => <PendingBubble p={p} onDiscard={(x) => handlers.current.onDiscard(x)} onRetry={(x) => handlers.current.onRetry(x)} /> });
    return rows;
  }, [entries, o.more, o.loaded, o.pending, o.selected, o.actions, o.nameOf, o.groupOf, t, day, time]);
}

type Entry = { at: number; m: Message } | { at: number; c: ConversationEvent };
export const told = new Set(["opened", "assigned", "accepted", "declined", "offer_expired", "requeued", "transferred", "taken", "taken_over", "held", "resumed", "closed", "reopened", "left_message", "idle_warned", "surveyed", "promise_broken"]);

// timeline puts messages and the changes of the open conversation in one order of time.
export function timeline(messages: readonly Message[], changes: readonly ConversationEvent[] | undefined): Entry[] {
  const list: Entry[] = messages.map((m) => ({ at: Number(m.atUnixMs), m }));
  for (const c of changes ?? []) if (c.event.case === "conversationChanged" && told.has(c.event.value.change)) list.push({ at: Number(c.atUnixMs), c });
  return changes?.length ? list.sort((a, b) => a.at - b.at) : list;
}

export function changeText(e: ConversationEvent, t: Translate, nameOf: (id: string) => string, groupOf: (id: string) => string): string {
  if (e.event.case !== "conversationChanged") return "";
  const v = e.event.value;
  const key = `change.${v.change}`;
  if (!(key in words)) return v.change;
  const reason = reasonText(v.reason, t, { group: groupOf, agent: nameOf });
  const promise = v.promise && promised(v.promise);
  return t(key as Key, {
    what: promise ? t(`deadline.${promise.kind}`) : "", target: clockText((v.promise?.targetS ?? 0) * 1000),
    group: groupOf(v.conversation?.group || e.group), reason, agent: nameOf(v.change === "declined" || v.change === "offer_expired" ? v.fromAgent : v.conversation?.agent || e.agent), why: whyOf(v.assignment, t) || reason,
    from: v.fromAgent ? nameOf(v.fromAgent) : groupOf(v.fromGroup), to: nameOf(v.conversation?.agent || "") || groupOf(v.conversation?.group || ""), score: v.conversation?.surveyScore ?? 0,
  });
}

export function useWanted(wanted: "reply" | "note" | undefined, done: () => void, f: (w: "reply" | "note") => void): void {
  useEffect(() => {
    if (!wanted) return;
    f(wanted);
    done();
    // oxlint-disable-next-line react/exhaustive-deps -- only a new wish counts
  }, [wanted]);
}
