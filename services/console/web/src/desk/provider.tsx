import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore, type ReactNode } from "react";
import { Presence, type Agent } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import type { ConversationEvent } from "../gen/wxbus/agentrouting/v1/conversation_events_pb";
import { ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { ConversationService } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import { AgentService } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { Feed, type FeedState } from "../feed/feed";
import { DeskStore, type Colleague, type Thread } from "../feed/store";
import { useClients, type Clients } from "../rpc/clients";
import { useMe } from "../session/session";
import { clock } from "../ui/clock";
import { rememberOnline, wantsOnline } from "./presence";

export type EventListener = (e: ConversationEvent, live: boolean) => void;

interface Desk {
  store: DeskStore;
  feed: Feed;
  // onEvent tells every fact after the store has it, for sounds and notifications.
  onEvent(f: EventListener): () => void;
  me: Agent | undefined;
  setPresence(p: Presence): Promise<void>;
  // account that the desk is restricted to; empty for all.
  account: string;
  setAccount(account: string): void;
}

const Context = createContext<Desk | null>(null);
const open = [ConversationState.WAITING, ConversationState.OFFERED, ConversationState.ACTIVE, ConversationState.ON_HOLD, ConversationState.LEFT_MESSAGE];
const mostOpen = 10_000;

async function loadOpen(clients: Clients): Promise<Conversation[]> {
  const list: Conversation[] = [];
  for (let token = ""; list.length < mostOpen; ) {
    const page = await clients.conversations.listConversations({ states: open, pageSize: 200, pageToken: token });
    list.push(...page.conversations);
    token = page.nextPageToken;
    if (!token) break;
  }
  return list;
}

export function DeskProvider({ children }: { children: ReactNode }) {
  const clients = useClients();
  const me = useMe();
  const cache = useQueryClient();
  const [account, setAccount] = useState("");
  const store = useMemo(() => new DeskStore(), []);
  const listeners = useRef(new Set<EventListener>());
  const serves = me.can(ConversationService.method.listConversations);

  const feed = useMemo(() => new Feed({
    clients, now: clock.now,
    onEvent(e, live) {
      store.apply(e);
      if (e.event.case === "conversationChanged") void cache.invalidateQueries({ queryKey: ["changes", e.account, e.conversation] });
      for (const l of listeners.current) l(e, live);
    },
    onSignal: (s) => store.signal(s),
    async reload() {
      store.forgetThreads();
      if (serves) store.replace(await loadOpen(clients));
      await cache.invalidateQueries({ predicate: (q) => q.queryKey[0] !== "session" });
    },
  }), [clients, store, serves, cache]);

  useEffect(() => {
    store.missed = (acct, id) => {
      clients.conversations.getConversation({ account: acct, conversation: id }).then(
        (res) => res.conversation && store.put([res.conversation]),
        () => undefined, // it is gone, or not ours to see
      );
    };
    void feed.run();
    return () => feed.stop();
  }, [clients, store, feed]);
  useLatency(feed);

  const agent = useAgent(me.user);
  const onEvent = useCallback((f: EventListener) => {
    listeners.current.add(f);
    return () => void listeners.current.delete(f);
  }, []);
  const desk = useMemo<Desk>(() => ({ store, feed, onEvent, me: agent.me, setPresence: agent.setPresence, account, setAccount }), [store, feed, onEvent, agent, account]);
  return <Context.Provider value={desk}>{children}</Context.Provider>;
}

export function useDesk(): Desk {
  const desk = useContext(Context);
  if (!desk) throw new Error("useDesk outside of DeskProvider");
  return desk;
}

export function useFeed(): FeedState {
  const { feed } = useDesk();
  return useSyncExternalStore(feed.subscribe, feed.read);
}

// useStore re-renders when anything on the desk changes.
export function useStore(): DeskStore {
  const { store } = useDesk();
  useSyncExternalStore(store.subscribe, store.version);
  return store;
}

// useConversations re-renders when a conversation changes. Its number stands for what the store holds.
export function useConversations(): number {
  const { store } = useDesk();
  return useSyncExternalStore(store.subscribe, store.conversationsVersion);
}

// useThread re-renders when the messages of this fan change.
export function useThread(fan: { account: string; openid: string }): Thread {
  const { store } = useDesk();
  return useSyncExternalStore(store.subscribe, () => store.thread(fan));
}

// useColleagues tells who else looks at a conversation now, and who types.
export function useColleagues(c: Conversation, now: number): Colleague[] {
  const { store } = useDesk();
  const { user } = useMe();
  useSyncExternalStore(store.subscribe, store.colleaguesVersion);
  return store.colleagues(c.account, c.id, now).filter((p) => p.actor !== user);
}

// useLatency measures a round trip every 15 s.
function useLatency(feed: Feed): void {
  const { session } = useClients();
  useEffect(() => {
    let alive = true;
    const measure = () => {
      const begin = performance.now();
      session.getSession({}).then((res) => {
        if (!alive) return;
        feed.measured(Math.round(performance.now() - begin));
        clock.follow(Number(res.serverUnixMs));
      }, () => undefined); // the feed shows that the link is down
    };
    measure();
    const timer = setInterval(measure, 15_000);
    return () => {
      alive = false;
      clearInterval(timer);
    };
  }, [feed, session]);
}

// useAgent keeps the lease of the agent while the page is open.
function useAgent(user: string) {
  const { agents } = useClients();
  const { can } = useMe();
  const cache = useQueryClient();
  const allowed = can(AgentService.method.listAgents);
  const { data } = useQuery({ queryKey: ["agents", ""], queryFn: () => agents.listAgents({}), enabled: allowed, refetchInterval: 15_000 });
  const me = data?.agents.find((a) => a.id === user);
  const heartbeat = useRef(15);
  const presence = me?.presence;

  const setPresence = useCallback(async (p: Presence) => {
    const res = await agents.setPresence({ agent: user, presence: p });
    heartbeat.current = res.heartbeatS || 15;
    rememberOnline(p === Presence.ONLINE);
    await cache.invalidateQueries({ queryKey: ["agents"] });
  }, [agents, user, cache]);

  const asked = useRef(false);
  useEffect(() => {
    if (presence === undefined || asked.current) return;
    asked.current = true;
    if (presence === Presence.OFFLINE && wantsOnline() && can(AgentService.method.setPresence)) setPresence(Presence.ONLINE).catch(() => undefined); // the control shows that it stayed offline
  }, [presence, can, setPresence]);

  useEffect(() => {
    if (presence !== Presence.ONLINE && presence !== Presence.AWAY) return undefined;
    const timer = setInterval(() => void agents.heartbeat({ agent: user }).catch(() => undefined), heartbeat.current * 1000);
    return () => clearInterval(timer);
  }, [agents, user, presence]);

  return useMemo(() => ({ me, setPresence }), [me, setPresence]);
}
