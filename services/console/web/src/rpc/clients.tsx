import { createClient, type Client, type Transport } from "@connectrpc/connect";
import { createContext, useContext, useMemo, type ReactNode } from "react";
import { AgentService } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { ConversationService } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import { ReportService } from "../gen/wxbus/agentrouting/v1/report_service_pb";
import { ApiKeyService } from "../gen/wxbus/console/v1/api_key_service_pb";
import { AuditService } from "../gen/wxbus/console/v1/audit_service_pb";
import { DeadLetterService } from "../gen/wxbus/console/v1/dead_letter_service_pb";
import { FeedService } from "../gen/wxbus/console/v1/feed_service_pb";
import { SessionService } from "../gen/wxbus/console/v1/session_service_pb";
import { StatusService } from "../gen/wxbus/console/v1/status_service_pb";
import { TraceService } from "../gen/wxbus/console/v1/trace_service_pb";
import { UserService } from "../gen/wxbus/console/v1/user_service_pb";
import { WebhookService } from "../gen/wxbus/console/v1/webhook_service_pb";
import { RuleService } from "../gen/wxbus/rule/v1/rule_service_pb";
import { CampaignService } from "../gen/wxbus/sender/v1/campaign_service_pb";
import { SenderService } from "../gen/wxbus/sender/v1/sender_service_pb";
import { AccountService } from "../gen/wxbus/token/v1/account_service_pb";

const services = {
  accounts: AccountService, agents: AgentService, apiKeys: ApiKeyService, audit: AuditService, campaigns: CampaignService, conversations: ConversationService,
  deadLetters: DeadLetterService, feed: FeedService, reports: ReportService, rules: RuleService, sender: SenderService, session: SessionService,
  status: StatusService, trace: TraceService, users: UserService, webhooks: WebhookService,
} as const;

export type Clients = { [K in keyof typeof services]: Client<(typeof services)[K]> };

export const clientsOf = (transport: Transport): Clients =>
  Object.fromEntries(Object.entries(services).map(([name, service]) => [name, createClient(service, transport)])) as unknown as Clients;

const Context = createContext<Clients | null>(null);

export function ClientsProvider({ transport, children }: { transport: Transport; children: ReactNode }) {
  const clients = useMemo(() => clientsOf(transport), [transport]);
  return <Context.Provider value={clients}>{children}</Context.Provider>;
}

export function useClients(): Clients {
  const clients = useContext(Context);
  if (!clients) throw new Error("useClients outside of ClientsProvider");
  return clients;
}
