import { useEffect } from "react";
import { ConversationState } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useClients } from "../rpc/clients";
import { useDesk } from "./provider";

// useClosed loads the newest ended conversations of the agent while their tab is open.
export function useClosed(wanted: boolean): void {
  const { conversations } = useClients();
  const { store } = useDesk();
  useEffect(() => {
    if (!wanted) return;
    conversations.listConversations({ states: [ConversationState.CLOSED], pageSize: 200 }).then((res) => store.put(res.conversations), () => undefined); // the tab stays empty
  }, [wanted, conversations, store]);
}
