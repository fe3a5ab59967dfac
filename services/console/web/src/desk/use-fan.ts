import { useQuery } from "@tanstack/react-query";
import type { Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { conversationKey } from "../feed/store";
import { useClients } from "../rpc/clients";
import { keepOf } from "../rpc/keep";
import { useSoon } from "../ui/stable";

// useFan asks for the card of a fan, and again with every change of the conversation.
export function useFan(c: Conversation) {
  const { conversations } = useClients();
  const key = ["fan", c.account, c.openid];
  return useQuery({ queryKey: [...key, String(c.number)], queryFn: () => conversations.getFan({ account: c.account, openid: c.openid }), enabled: useSoon(conversationKey(c)), placeholderData: keepOf(key, 3) });
}
