import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useSyncExternalStore } from "react";
import { ConversationService } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import { conversationKey } from "../feed/store";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { useDesk } from "./provider";

type Ref = { account: string; id: string };

const prefix = "wxbus.followed.";
const most = 100; // the oldest is forgotten
const none: ReadonlySet<string> = new Set();
const listeners = new Set<() => void>();
const known = new Map<string, ReadonlySet<string>>();

function followedBy(user: string): ReadonlySet<string> {
  const kept = known.get(user);
  if (kept) return kept;
  let read = none;
  try {
    const raw: unknown = JSON.parse(localStorage.getItem(prefix + user) ?? "[]");
    if (Array.isArray(raw)) read = new Set(raw.filter((x): x is string => typeof x === "string").slice(-most));
  } catch {
    // no storage or not ours: nothing is followed
  }
  known.set(user, read);
  return read;
}

// follow begins or stops to follow a conversation. It is a matter of one person on one computer, as a draft is.
export function follow(user: string, c: Ref): void {
  const keys = [...followedBy(user)];
  const key = conversationKey(c);
  const next = keys.includes(key) ? keys.filter((k) => k !== key) : [...keys, key].slice(-most);
  known.set(user, new Set(next));
  try {
    localStorage.setItem(prefix + user, JSON.stringify(next));
  } catch {
    // without storage it lasts for this visit
  }
  for (const l of listeners) l();
}

const subscribe = (l: () => void) => {
  listeners.add(l);
  return () => void listeners.delete(l);
};

// useFollowed returns the keys of the conversations that somebody follows, in the order in which they began to.
export function useFollowed(): ReadonlySet<string> {
  const { user } = useMe();
  return useSyncExternalStore(subscribe, () => followedBy(user));
}

const split = (key: string): Ref => ({ account: key.slice(0, key.indexOf("/")), id: key.slice(key.indexOf("/") + 1) });
const recent = 7 * 86_400_000;

// useMentioned returns the keys of the conversations in which a note of a colleague names this person, the newest first.
export function useMentioned(): ReadonlySet<string> {
  const { conversations } = useClients();
  const { user, displayName, can } = useMe();
  const { onEvent } = useDesk();
  const cache = useQueryClient();
  const names = useMemo(() => [...new Set([user, displayName].filter(Boolean))], [user, displayName]);
  const { data } = useQuery({
    queryKey: ["mentions", ...names], enabled: can(ConversationService.method.listMentions), staleTime: Infinity, retry: false,
    queryFn: () => conversations.listMentions({ agent: user, names, fromUnixMs: BigInt(Date.now() - recent) }),
  });
  useEffect(() => onEvent((e) => {
    const text = e.event.case === "noteAdded" ? e.event.value.message?.text ?? "" : "";
    if (names.some((name) => text.includes(`@${name}`))) void cache.invalidateQueries({ queryKey: ["mentions"] });
  }), [onEvent, cache, names]);
  return useMemo(() => new Set((data?.mentions ?? []).map((m) => conversationKey({ account: m.account, id: m.conversation }))), [data]);
}

// useKnown loads those of the conversations that the page does not have yet.
export function useKnown(keys: ReadonlySet<string>, wanted: boolean): void {
  const { conversations } = useClients();
  const { store } = useDesk();
  const load = useCallback((key: string) => {
    const { account, id } = split(key);
    if (store.conversation(account, id)) return;
    conversations.getConversation({ account, conversation: id }).then((res) => res.conversation && store.put([res.conversation]), () => undefined); // it is gone, or no longer ours to see
  }, [conversations, store]);
  useEffect(() => {
    if (wanted) for (const key of keys) load(key);
  }, [keys, wanted, load]);
}
