import { useEffect } from "react";
import { SignalKind } from "../gen/wxbus/agentrouting/v1/conversation_events_pb";
import type { Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { useSoon } from "../ui/stable";
import { useDesk, useThread } from "./provider";

const viewingEvery = 8_000; // a signal is worth 10 s

// useOpenThread loads what an address names and tells colleagues that somebody looks at it.
export function useOpenThread(account: string | undefined, id: string | undefined, current: Conversation | undefined): void {
  const { conversations } = useClients();
  const { store } = useDesk();
  const { user } = useMe();
  const known = current !== undefined;
  useEffect(() => {
    if (!account || !id || known) return;
    conversations.getConversation({ account, conversation: id }).then((res) => res.conversation && store.put([res.conversation]), () => undefined); // the pane stays empty and says so
  }, [account, id, known, conversations, store]);

  const openid = current?.openid;
  const { loaded } = useThread({ account: account ?? "", openid: openid ?? "" });
  useEffect(() => {
    if (!account || !openid || loaded) return;
    conversations.listMessages({ account, openid, limit: 50 }).then((res) => store.putPage({ account, openid }, res.messages, res.more), () => undefined); // loaded again when the feed is back
  }, [account, openid, loaded, conversations, store]);

  const soon = useSoon(`${account}/${id}`);
  useEffect(() => {
    if (!account || !id || !known || !soon) return undefined;
    const tell = (kind: SignalKind) => void conversations.setTyping({ account, conversation: id, actor: user, kind }).catch(() => undefined); // a courtesy
    tell(SignalKind.VIEWING);
    const timer = setInterval(() => tell(SignalKind.VIEWING), viewingEvery);
    return () => {
      clearInterval(timer);
      tell(SignalKind.GONE);
    };
  }, [account, id, known, soon, conversations, user]);
}
