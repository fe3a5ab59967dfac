import { App } from "antd";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useNavigate, useParams } from "react-router";
import { Presence } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { conversationKey } from "../feed/store";
import { useI18n } from "../i18n";
import { useActions } from "../keys/keys";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { useMe } from "../session/session";
import { breakpoint } from "../theme/theme";
import { useMedia } from "../ui/media-query";
import { useSecond } from "../ui/clock";
import { Empty } from "../ui/parts";
import { Handle, useWidths, type Pane } from "../ui/resize";
import { useStable } from "../ui/stable";
import { ContextPane, ContextStrip } from "./context";
import { useFollowed, useKnown, useMentioned } from "./followed";
import { Inbox } from "./inbox";
import { LinkBanner } from "./link-banner";
import { byUrgency, listsOf, type Tab } from "./order";
import { useConversations, useDesk } from "./provider";
import { ThreadPane } from "./thread-pane";
import { useOpenThread } from "./use-thread";

const inboxPane: Pane = { name: "inbox", least: 280, most: 400 };
const contextPane: Pane = { name: "context", least: 280, most: 400 };
const settle = 1_000; // rows keep their place while somebody walks through them

// Desk is the workbench of an agent: who waits, what was said, and what is known of the fan.
export function Desk() {
  const { t } = useI18n();
  const { account: acct, conversation: id } = useParams();
  const go = useNavigate();
  const { conversations } = useClients();
  const { user } = useMe();
  const { notification } = App.useApp();
  const { store, account, me, setPresence } = useDesk();
  const version = useConversations();
  const now = useSecond();
  const [tab, setTab] = useState<Tab>("mine");
  const [showContext, setShowContext] = useState(false);
  const narrow = useMedia(`(max-width: ${breakpoint.contextCollapses}px)`);
  const phone = useMedia(`(max-width: ${breakpoint.phone}px)`);

  const mentioned = useMentioned();
  const followed = useFollowed();
  useKnown(mentioned, true);
  useKnown(followed, tab === "followed");

  // oxlint-disable-next-line react/exhaustive-deps -- the version stands for what the store holds
  const placed = useMemo(() => listsOf(store.all(), user, account, mentioned, followed), [store, version, user, account, mentioned, followed]);
  const fresh = useMemo(() => byUrgency(placed, tab, now), [placed, tab, now]);
  const lists = useSettled(fresh);
  const shown = useMemo(() => (tab === "mine" ? [...lists.offers, ...lists.mine] : tab === "followed" ? [...lists.mentioned, ...lists.followed] : lists[tab]), [lists, tab]);
  const current = acct && id ? store.conversation(acct, id) : undefined;
  useOpenThread(acct, id, current);
  usePrefetch(shown, current);

  const open = useStable((c: Conversation) => void go(`/desk/${c.account}/${c.id}`)); // go changes with every address
  const walkedAt = useWalk();
  const step = useCallback((by: number) => {
    walkedAt.touch();
    if (shown.length === 0) return;
    const at = shown.findIndex((c) => c.account === acct && c.id === id);
    const next = shown[at < 0 ? 0 : Math.min(shown.length - 1, Math.max(0, at + by))];
    if (next) open(next);
  }, [shown, acct, id, open, walkedAt]);

  const fail = useCallback((err: unknown) => {
    const said = say(err, t);
    notification.error({ title: said.text, description: said.code });
  }, [notification, t]);

  const accept = useCallback(async (c: Conversation) => {
    try {
      const res = c.state === ConversationState.OFFERED
        ? await conversations.accept({ account: c.account, openid: c.openid, agent: user, conversation: c.id })
        : await conversations.take({ account: c.account, conversation: c.id, actor: user });
      if (res.conversation) store.put([res.conversation]);
      setTab("mine");
      open(c);
    } catch (err) {
      fail(err);
    }
  }, [conversations, user, store, open, fail]);

  const decline = useCallback(async (c: Conversation) => {
    try {
      const res = await conversations.decline({ account: c.account, conversation: c.id, actor: user });
      if (res.conversation) store.put([res.conversation]);
    } catch (err) {
      fail(err);
    }
  }, [conversations, user, store, fail]);

  const nextUp = lists.offers[0] ?? lists.queue.find((c) => c.state !== ConversationState.OFFERED);
  const offer = lists.offers[0];
  useActions({
    next: () => step(1), previous: () => step(-1),
    accept: nextUp && (() => void accept(nextUp)),
    decline: offer && (() => void decline(offer)),
    preview: offer && (() => open(offer)), // a picture of an open thread comes first
    context: () => setShowContext((v) => !v),
    presence: me && (() => void setPresence(me.presence === Presence.ONLINE ? Presence.AWAY : Presence.ONLINE).catch(fail)),
  });

  const afterEnd = useCallback((ended: Conversation) => {
    const next = [...lists.offers, ...lists.mine].find((c) => conversationKey(c) !== conversationKey(ended));
    if (next) open(next);
    else void go("/desk");
  }, [lists, open, go]);

  const { style, resize } = useWidths(user);
  const contextShown = current && !phone && (narrow ? showContext : !showContext);
  return (
    <main className={`desk ${contextShown ? "with-context" : ""} ${current ? "has-thread" : ""}`} style={style}>
      <Inbox tab={tab} onTab={setTab} lists={lists} shown={shown} current={current} onOpen={open} onAccept={accept} onDecline={decline} onTouch={walkedAt.touch} />
      <Handle pane={inboxPane} label={t("desk.resizeInbox")} onResize={resize} />
      <section className="pane thread-pane" aria-label={t("desk.thread")}>
        <LinkBanner />
        {current ? <ThreadPane conversation={current} onEnded={afterEnd} onBack={() => void go("/desk")} onAccept={accept} onContext={() => setShowContext((v) => !v)} />
          : <Empty title={t("desk.none")} text={t("desk.none.text")} />}
      </section>
      {contextShown && <Handle pane={contextPane} label={t("desk.resizeContext")} after onResize={resize} />}
      {current && !phone && (contextShown ? <ContextPane conversation={current} onClose={() => setShowContext((v) => !v)} /> : <ContextStrip onOpen={() => setShowContext((v) => !v)} />)}
    </main>
  );
}

const walk = { at: 0 };
function useWalk() {
  return useMemo(() => ({ touch: () => void (walk.at = Date.now()) }), []);
}

// useSettled holds the order back while a pointer moves over the list or keys are walking through it.
function useSettled<T>(fresh: T): T {
  const kept = useRef(fresh);
  if (Date.now() - walk.at > settle) kept.current = fresh;
  const [, again] = useState(0);
  useEffect(() => {
    if (kept.current === fresh) return undefined;
    const timer = setTimeout(() => again((n) => n + 1), settle);
    return () => clearTimeout(timer);
  }, [fresh]);
  return kept.current;
}

// usePrefetch loads the threads of the rows around the open one, so that a switch shows text at once.
function usePrefetch(shown: readonly Conversation[], current: Conversation | undefined): void {
  const { conversations } = useClients();
  const { store } = useDesk();
  const asked = useRef(new Set<string>());
  useEffect(() => {
    const at = current ? shown.findIndex((c) => conversationKey(c) === conversationKey(current)) : 0;
    const near = shown.slice(Math.max(0, at - 2), at + 6);
    const timer = setTimeout(() => {
      for (const c of near) {
        const key = `${c.account}/${c.openid}`;
        if (asked.current.has(key) || store.thread(c).loaded) continue;
        asked.current.add(key);
        conversations.listMessages({ account: c.account, openid: c.openid, limit: 50 }).then(
          (res) => store.putPage(c, res.messages, res.more),
          () => asked.current.delete(key),
        );
      }
    }, 150);
    return () => clearTimeout(timer);
  }, [shown, current, conversations, store]);
}
