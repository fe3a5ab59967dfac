import { Button, Dropdown, Tooltip } from "antd";
import { memo, useEffect, useMemo, useRef } from "react";
import { Presence } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { FanAvatar } from "../fan/avatar";
import { conversationKey } from "../feed/store";
import { useI18n, type Translate } from "../i18n";
import { keyed, reasonText } from "../i18n/said";
import { useKeys } from "../keys/keys";
import { useMe } from "../session/session";
import { clock, useSecond } from "../ui/clock";
import { clockText } from "../ui/duration";
import { Icon } from "../ui/icon";
import { AgentAvatar, Dot, Empty, Kbd, Monogram, Tag } from "../ui/parts";
import { DeadlineRing, DeadlineText } from "../ui/ring";
import { toneOf } from "../ui/tone";
import { VirtualList, type ListHandle } from "../ui/virtual";
import { loadDraft } from "./draft";
import { useGroupNames } from "./names";
import { deadlineOf, type Lists, type Tab } from "./order";
import { useClosed } from "./use-closed";
import { useDesk } from "./provider";
import { whyOf } from "./why";

interface Props {
  tab: Tab;
  onTab(tab: Tab): void;
  lists: Lists;
  shown: Conversation[];
  current: Conversation | undefined;
  onOpen(c: Conversation): void;
  onAccept(c: Conversation): void;
  onDecline(c: Conversation): void;
  onTouch(): void; // a pointer moves over the list
}

type Item = { kind: "group"; label: string; hint?: string } | { kind: "row"; c: Conversation };

const tabs: Tab[] = ["mine", "queue", "followed", "all", "closed"];
const rowHeight = 64;
const groupHeight = 28;

export function Inbox({ tab, onTab, lists, shown, current, onOpen, onAccept, onDecline, onTouch }: Props) {
  const { t } = useI18n();
  const keys = useKeys();
  const list = useRef<ListHandle>(null);
  useClosed(tab === "closed");
  const items = useMemo<Item[]>(() => {
    const rows = (cs: Conversation[]): Item[] => cs.map((c) => ({ kind: "row", c }));
    if (tab === "followed") {
      return [
        ...(lists.mentioned.length > 0 ? [{ kind: "group" as const, label: t("inbox.mentioned"), hint: String(lists.mentioned.length) }] : []), ...rows(lists.mentioned),
        ...(lists.followed.length > 0 ? [{ kind: "group" as const, label: t("inbox.followedBy"), hint: String(lists.followed.length) }] : []), ...rows(lists.followed),
      ];
    }
    if (tab !== "mine") return rows(shown);
    const wait = lists.queue.length > 0 ? clockText(lists.queue.reduce((sum, c) => sum + clock.now() - Number(c.waitingSinceUnixMs || c.openedUnixMs), 0) / lists.queue.length) : "";
    return [
      ...(lists.mine.length > 0 ? [{ kind: "group" as const, label: t("inbox.byRisk") }] : []), ...rows(lists.mine),
      ...(lists.queue.length > 0 ? [{ kind: "group" as const, label: t("inbox.queueCount", { count: lists.queue.length }), hint: t("inbox.average", { time: wait }) }, ...rows(lists.queue.slice(0, 50))] : []),
    ];
  }, [tab, shown, lists, t]);
  const at = items.findIndex((i) => i.kind === "row" && current && conversationKey(i.c) === conversationKey(current));
  useEffect(() => list.current?.reveal(at), [at]);
  const count: Record<Tab, number> = { mine: lists.offers.length + lists.mine.length, queue: lists.queue.length, followed: lists.mentioned.length + lists.followed.length, all: lists.all.length, closed: lists.closed.length };
  const offer = lists.offers[0];
  return (
    <section className="pane inbox" aria-label={t("desk.inbox")}>
      <div className="pane-head">
        <h1 className="t16">{t("desk.inbox")}</h1>
        <span className="grow" />
        <InboxTools />
      </div>
      <div className="tabs" role="tablist" aria-label={t("desk.inbox")}>
        {tabs.map((id) => (
          <button key={id} type="button" role="tab" aria-selected={tab === id} aria-controls="inbox-list" onClick={() => onTab(id)}>{t(`inbox.${id}`)} {((id !== "closed" && id !== "followed") || count[id] > 0) && <span className="n">{count[id]}</span>}</button>
        ))}
      </div>
      {offer && <OfferCard c={offer} more={lists.offers.length - 1} onAccept={onAccept} onDecline={onDecline} onPreview={onOpen} />}
      {items.length === 0 ? <InboxEmpty tab={tab} /> : (
        <VirtualList ref={list} className="inbox-list" items={items} heightOf={heightOf} keyOf={keyOf}
          rest={{ id: "inbox-list", role: "listbox", "aria-label": t(`inbox.${tab}`), "aria-activedescendant": current ? `row-${conversationKey(current)}` : undefined, "data-zone": true, onPointerMove: onTouch }}
          render={(item) => item.kind === "group"
            ? <div className="group-row" role="presentation"><span>{item.label}</span><span className="grow" /><span>{item.hint}{!item.hint && <><Kbd chord={keys.chord("next")} /> <Kbd chord={keys.chord("previous")} /></>}</span></div>
            : <QueueRow c={item.c} open={current !== undefined && conversationKey(item.c) === conversationKey(current)} onOpen={onOpen} />} />
      )}
    </section>
  );
}

const heightOf = (i: Item) => (i.kind === "group" ? groupHeight : rowHeight);
const keyOf = (i: Item) => (i.kind === "group" ? `group/${i.label}` : conversationKey(i.c));

function InboxEmpty({ tab }: { tab: Tab }) {
  const { t } = useI18n();
  if (tab === "closed") return <Empty title={t("inbox.empty.closed")} />;
  return tab === "followed" ? <Empty title={t("inbox.empty.followed")} text={t("inbox.empty.followed.text")} /> : <Empty title={t("inbox.empty")} text={t("inbox.empty.text")} />;
}

const QueueRow = memo(function QueueRow({ c, open, onOpen }: { c: Conversation; open: boolean; onOpen(c: Conversation): void }) {
  const { t, time } = useI18n();
  const { user } = useMe();
  const { store } = useDesk();
  const now = useSecond();
  const deadline = deadlineOf(c, now);
  const viewers = store.colleagues(c.account, c.id, now).filter((v) => v.actor !== user);
  const draft = c.agent === user ? loadDraft(c) : undefined;
  return (
    <div id={`row-${conversationKey(c)}`} role="option" aria-selected={open} tabIndex={-1} className={`queue-row ${open ? "open" : ""}`} onClick={() => onOpen(c)} onKeyDown={undefined}>
      <DeadlineRing deadline={deadline}><FanAvatar fan={c} /></DeadlineRing>
      <div style={{ minWidth: 0 }}>
        <div className="first"><span className="name cut">{c.fanName || c.openid}</span><Monogram account={c.account} size={16} />{c.tags[0] && <Tag>{c.tags[0]}</Tag>}</div>
        <div className="second cut">{draft ? <span className="tone-red">{t("inbox.draft")} </span> : null}{draft ? draft.text : preview(c, t)}</div>
      </div>
      <div className="right">
        <RowTime c={c} />
        {viewers.length > 0 ? <span className="people">{viewers.slice(0, 3).map((v) => <AgentAvatar key={v.actor} name={v.actor} size={20} />)}</span>
          : c.unanswered > 0 && c.state === ConversationState.ACTIVE ? <span className="count" aria-label={t("inbox.unanswered", { count: c.unanswered })}>{c.unanswered}</span>
            : c.position > 0 && c.state === ConversationState.WAITING ? <span>{t("inbox.position", { n: c.position })}</span>
              : <span>{time(Number(c.lastAgentUnixMs > c.lastFanUnixMs ? c.lastAgentUnixMs : c.lastFanUnixMs || c.openedUnixMs))}</span>}
      </div>
    </div>
  );
});

// preview says the kind of a message without words in the reader's language.
const preview = (c: Conversation, t: Translate) => c.preview.replace(/^\[(\w+)\]$/, (_, kind: string) => `[${keyed("kind", kind, t)}]`) || t("inbox.noText");

function RowTime({ c }: { c: Conversation }) {
  const { t } = useI18n();
  const now = useSecond();
  const deadline = deadlineOf(c, now);
  if (deadline?.warn && deadline.at <= now) return <span>{t("promise.late", { what: t(`deadline.${deadline.kind}`) })} <b className="deadline-text red">{clockText(now - deadline.at)}</b></span>;
  if (c.state === ConversationState.WAITING && deadline) {
    return <span>{t("inbox.waited")} <b className={`deadline-text ${toneOf(deadline, now)}`}>{clockText(now - Number(c.waitingSinceUnixMs || c.openedUnixMs))}</b></span>;
  }
  if (c.state === ConversationState.ON_HOLD) return <span>{t("inbox.held")}</span>;
  if (c.state === ConversationState.LEFT_MESSAGE) return <span>{t("inbox.leftMessage")}</span>;
  if (c.state === ConversationState.CLOSED) return <span>{c.surveyScore > 0 ? t("inbox.score", { score: c.surveyScore }) : t("inbox.ended")}</span>;
  return deadline ? <span>{t(`deadline.${deadline.kind}`)} <DeadlineText deadline={deadline} /></span> : null;
}

function OfferCard({ c, more, onAccept, onDecline, onPreview }: { c: Conversation; more: number; onAccept(c: Conversation): void; onDecline(c: Conversation): void; onPreview(c: Conversation): void }) {
  const { t } = useI18n();
  const keys = useKeys();
  const groupOf = useGroupNames();
  const now = useSecond();
  const deadline = deadlineOf(c, now);
  return (
    <div className="offer" role="alertdialog" aria-label={t("offer.title", { name: c.fanName })} data-testid="offer">
      <div className="row g12 top">
        <DeadlineRing deadline={deadline}><FanAvatar fan={c} /></DeadlineRing>
        <div className="grow">
          <div className="row g4"><b>{c.fanName}</b><Monogram account={c.account} size={16} /><span className="t12 t3 cut grow">{c.account}</span>{deadline && <span className="t12 tone-amber nowrap">{t("offer.left")} <DeadlineText deadline={deadline} />{deadline.at - now < 20_000 && " s"}</span>}</div>
          <div className="t12 t2 cut" style={{ marginTop: 2 }}>{t("offer.why", { why: whyOf(c.assignment, t) || reasonText(c.reason, t, { group: groupOf, agent: (id) => id }) })}</div>
        </div>
      </div>
      {c.preview && <p className="quote">{preview(c, t)}</p>}
      <div className="row" style={{ marginTop: 8 }}>
        <Button type="primary" size="small" style={{ flex: 1 }} onClick={() => onAccept(c)}>{t("offer.accept")} <Kbd chord={keys.chord("accept")} /></Button>
        <Button size="small" onClick={() => onDecline(c)}>{t("offer.decline")} <Kbd chord={keys.chord("decline")} /></Button>
        <Button size="small" type="text" onClick={() => onPreview(c)}>{t("offer.preview")}</Button>
        <span className="t12 t3 nowrap">{more > 0 ? t("offer.more", { count: more }) : `${t("inbox.waited")} ${clockText(now - Number(c.waitingSinceUnixMs || c.openedUnixMs))}`}</span>
      </div>
    </div>
  );
}

const presences = { online: Presence.ONLINE, away: Presence.AWAY, offline: Presence.OFFLINE } as const;
const names = { [Presence.UNSPECIFIED]: "offline", [Presence.ONLINE]: "online", [Presence.AWAY]: "away", [Presence.OFFLINE]: "offline" } as const;
const dots = { online: "green", away: "amber", offline: "off" } as const;

const InboxTools = memo(function InboxTools() {
  const { t } = useI18n();
  const keys = useKeys();
  return (
    <>
      <PresenceControl />
      <Tooltip title={t("key.palette")}><button type="button" className="icon-button small" aria-label={t("act.search")} onClick={() => keys.run("palette")}><Icon name="search" /></button></Tooltip>
    </>
  );
});

function PresenceControl() {
  const { t } = useI18n();
  const { me, setPresence } = useDesk();
  if (!me) return null;
  const name = names[me.presence];
  return (
    <Dropdown trigger={["click"]} menu={{ selectable: true, selectedKeys: [name], items: Object.keys(presences).map((key) => ({ key, label: t(`me.${key as keyof typeof presences}`) })), onClick: ({ key }) => void setPresence(presences[key as keyof typeof presences]).catch(() => undefined) }}>
      <Button size="small" data-testid="presence"><Dot tone={dots[name]} />{t(`me.${name}`)} <span className="t3">{me.load}/{me.effectiveCapacity || me.capacity}</span><Icon name="down" size={12} /></Button>
    </Dropdown>
  );
}
