import { NavLink, Navigate, Route, Routes } from "react-router";
import { AgentService } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { ApiKeyService } from "../gen/wxbus/console/v1/api_key_service_pb";
import { AuditService } from "../gen/wxbus/console/v1/audit_service_pb";
import { UserService } from "../gen/wxbus/console/v1/user_service_pb";
import { WebhookService } from "../gen/wxbus/console/v1/webhook_service_pb";
import { useI18n } from "../i18n";
import { useMe } from "../session/session";
import { Empty } from "../ui/parts";
import { Agents } from "./settings/agents";
import { Audit } from "./settings/audit";
import { Canned } from "./settings/canned";
import { Groups } from "./settings/groups";
import { ApiKeys } from "./settings/keys";
import { Users } from "./settings/users";
import { Webhooks } from "./settings/webhooks";

export default function Settings() {
  const { t } = useI18n();
  const { can } = useMe();
  const pages = [
    ["groups", "settings.groups", can(AgentService.method.putGroup), Groups], ["agents", "settings.agents", can(AgentService.method.putAgent), Agents], ["canned", "settings.canned", can(AgentService.method.putCannedReply), Canned],
    ["users", "settings.users", can(UserService.method.listUsers), Users], ["keys", "settings.keys", can(ApiKeyService.method.listApiKeys), ApiKeys], ["webhooks", "settings.webhooks", can(WebhookService.method.listWebhooks), Webhooks], ["audit", "settings.audit", can(AuditService.method.listAudit), Audit],
  ] as const;
  const shown = pages.filter(([, , may]) => may);
  return (
    <main className="page">
      <header className="page-head"><h1>{t("nav.settings")}</h1><nav className="tabs inline" aria-label={t("nav.settings")}>{shown.map(([path, label]) => <NavLink key={path} to={`/settings/${path}`}>{t(label)}</NavLink>)}</nav></header>
      <div className="page-body" data-zone tabIndex={-1}>
        {shown[0] ? <Routes>{shown.map(([path, , , Part]) => <Route key={path} path={path} element={<Part />} />)}<Route path="*" element={<Navigate to={`/settings/${shown[0][0]}`} replace />} /></Routes> : <Empty title={t("noAccess")} text={t("noAccess.text")} />}
      </div>
    </main>
  );
}
