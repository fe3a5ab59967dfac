import { Dropdown, Tooltip } from "antd";
import { memo, useCallback, useEffect, useMemo, useState, type ReactNode } from "react";
import { NavLink, useNavigate } from "react-router";
import { Presence } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { AuditService } from "../gen/wxbus/console/v1/audit_service_pb";
import { AccountService } from "../gen/wxbus/token/v1/account_service_pb";
import { CampaignService } from "../gen/wxbus/sender/v1/campaign_service_pb";
import { ConversationService } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import { ReportService } from "../gen/wxbus/agentrouting/v1/report_service_pb";
import { AgentService } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { RuleService } from "../gen/wxbus/rule/v1/rule_service_pb";
import { ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useConversations, useDesk } from "../desk/provider";
import { useI18n } from "../i18n";
import type { Key } from "../i18n/words";
import type { ActionID } from "../keys/actions";
import { useActions, useKeys } from "../keys/keys";
import { chordOf, keyCaps } from "../keys/chord";
import { PasswordDialog } from "../session/password";
import { useMe } from "../session/session";
import { useTheme, type Choice } from "../theme/mode";
import { Icon, type IconName } from "../ui/icon";
import { AgentAvatar, Monogram } from "../ui/parts";
import { useAccounts } from "./accounts";
import { CheatSheet } from "./cheatsheet";
import { Logo } from "./logo";
import { Notifications } from "./notify";
import { Palette } from "./palette";
import { SoundDialog } from "./sound-dialog";
import { StatusBar } from "./status-bar";

interface Page {
  to: string;
  label: Key;
  icon: IconName;
  action: ActionID;
  shown: boolean;
}

export function usePages(): Page[] {
  const { can } = useMe();
  const pages: Page[] = [
    { to: "/desk", label: "nav.desk", icon: "desk", action: "goDesk", shown: can(ConversationService.method.listConversations) },
    { to: "/wall", label: "nav.wall", icon: "wall", action: "goWall", shown: can(ConversationService.method.takeOver) },
    { to: "/rules", label: "nav.rules", icon: "rule", action: "goRules", shown: Object.values(RuleService.method).some(can) },
    { to: "/sends", label: "nav.sends", icon: "mega", action: "goSends", shown: can(CampaignService.method.listCampaigns) },
    { to: "/accounts", label: "nav.accounts", icon: "gauge", action: "goAccounts", shown: can(AccountService.method.listAccounts) },
    { to: "/reports", label: "nav.reports", icon: "list", action: "goReports", shown: can(ReportService.method.getReport) },
    { to: "/settings", label: "nav.settings", icon: "gear", action: "goSettings", shown: can(AgentService.method.putGroup) || can(AuditService.method.listAudit) },
  ];
  return pages.filter((p) => p.shown);
}

export function Shell({ children }: { children: ReactNode }) {
  const { t } = useI18n();
  const pages = usePages();
  const go = useNavigate();
  const [palette, setPalette] = useState(false);
  const [cheat, setCheat] = useState(false);

  const openPalette = useCallback(() => setPalette(true), []);
  const openCheat = useCallback(() => setCheat(true), []);
  const to = (path: string) => (pages.some((p) => p.to === path) ? () => void go(path) : undefined);
  useActions({
    palette: openPalette, keys: openCheat, zone: nextZone,
    goDesk: to("/desk"), goWall: to("/wall"), goRules: to("/rules"), goSends: to("/sends"), goAccounts: to("/accounts"), goReports: to("/reports"), goSettings: to("/settings"),
  });
  return (
    <div className="app">
      <Notifications />
      <a className="skip" href="#composer">{t("nav.skip")}</a>
      <nav className="rail" aria-label={t("nav.main")} data-zone tabIndex={-1}>
        <Logo />
        <RailPages />
        <span className="sep" />
        <AccountSwitch />
        <span className="grow" />
        <MyMenu />
      </nav>
      <div style={{ minWidth: 0, minHeight: 0, overflow: "hidden" }}>{children}</div>
      <StatusBar onPalette={openPalette} onKeys={openCheat} />
      <nav className="bottom-nav" aria-label={t("nav.main")}>
        {pages.slice(0, 4).map((p) => <NavLink key={p.to} to={p.to}><Icon name={p.icon} size={20} />{t(p.label)}</NavLink>)}
        <MyMenu />
      </nav>
      {palette && <Palette onClose={() => setPalette(false)} />}
      {cheat && <CheatSheet onClose={() => setCheat(false)} />}
    </div>
  );
}

// RailPages does not follow the address itself; its links do.
const RailPages = memo(function RailPages() {
  const { t } = useI18n();
  const keys = useKeys();
  return usePages().map((p) => (
    <Tooltip key={p.to} placement="right" title={`${t(p.label)} ${keyCaps(keys.chord(p.action)).join(" ")}`}>
      <NavLink to={p.to} className="nav"><Icon name={p.icon} size={20} />{t(p.label)}</NavLink>
    </Tooltip>
  ));
});

// nextZone moves the focus to the next zone of the page: rail, inbox, thread, composer, context.
function nextZone(): void {
  const zones = [...document.querySelectorAll<HTMLElement>("[data-zone]")].filter((z) => z.offsetParent !== null);
  const at = zones.findIndex((z) => z.contains(document.activeElement));
  const zone = zones[(at + 1) % zones.length];
  const inner = zone?.querySelector<HTMLElement>("[data-zone-focus]") ?? zone;
  inner?.focus();
}

// unreadOf counts for each account who waits for this person, or for anybody.
function unreadOf(all: Iterable<Conversation>, user: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const c of all) {
    const waits = c.state === ConversationState.WAITING || (c.state === ConversationState.ACTIVE && c.agent === user && c.unanswered > 0);
    if (waits) counts.set(c.account, (counts.get(c.account) ?? 0) + 1);
  }
  return counts;
}

const AccountSwitch = memo(function AccountSwitch() {
  const { t } = useI18n();
  const { store, account, setAccount } = useDesk();
  const version = useConversations();
  const { user } = useMe();
  const names = useAccounts();
  // oxlint-disable-next-line react/exhaustive-deps -- the version stands for what the store holds
  const unread = useMemo(() => unreadOf(store.all(), user), [store, version, user]);
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      const digit = /^alt\+([1-9])$/.exec(chordOf(e))?.[1];
      const name = digit && names.length > 1 ? names[Number(digit) - 1] : undefined;
      if (!name || e.isComposing) return;
      e.preventDefault();
      setAccount(account === name ? "" : name);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [names, account, setAccount]);
  if (names.length < 2) return null;
  return names.slice(0, 12).map((name, i) => {
    const count = unread.get(name) ?? 0;
    return (
      <Tooltip key={name} placement="right" title={`${name}${i < 9 ? ` ${keyCaps(`alt+${i + 1}`).join(" ")}` : ""}`}>
        <button type="button" className="acct" aria-pressed={account === name} aria-label={`${t("nav.onlyAccount", { name })}${count > 0 ? ` ${count > 99 ? "99+" : count}` : ""}`} onClick={() => setAccount(account === name ? "" : name)}>
          <Monogram account={name} size={32} />
          {count > 0 && <span className="count">{count > 99 ? "99+" : count}</span>}
        </button>
      </Tooltip>
    );
  });
});

const tones = { [Presence.ONLINE]: "green", [Presence.AWAY]: "amber", [Presence.OFFLINE]: "off", [Presence.UNSPECIFIED]: "off" } as const;

const MyMenu = memo(function MyMenu() {
  const { t, locale, setLocale } = useI18n();
  const { choice, choose } = useTheme();
  const me = useMe();
  const { me: agent } = useDesk();
  const [sounds, setSounds] = useState(false);
  const [password, setPassword] = useState(false);
  const pick = useCallback((key: string) => {
    if (key === "zh-CN" || key === "en") setLocale(key);
    else if (key === "light" || key === "dark" || key === "system") choose(key satisfies Choice);
    else if (key === "sounds") setSounds(true);
    else if (key === "password") setPassword(true);
    else if (key === "out") void me.logOut();
  }, [setLocale, choose, me]);
  return (
    <>
      <Dropdown trigger={["click"]} placement="topRight" menu={{
        selectable: true, selectedKeys: [locale, choice], onClick: ({ key }) => pick(key),
        items: [
          { key: "me", type: "group", label: me.displayName },
          { key: "language", type: "group", label: t("me.language"), children: [{ key: "zh-CN", label: "中文" }, { key: "en", label: "English" }] },
          { key: "theme", type: "group", label: t("me.theme"), children: (["light", "dark", "system"] as const).map((key) => ({ key, label: t(`me.theme.${key}`) })) },
          { type: "divider" },
          { key: "sounds", label: t("me.sounds") },
          ...(me.session?.user?.external ? [] : [{ key: "password", label: t("me.password") }]),
          { key: "out", label: t("me.logOut") },
        ],
      }}>
        <button type="button" className="plain" aria-label={t("me.menu")} style={{ padding: 4 }}>
          <AgentAvatar name={me.displayName} size={32} dot={agent ? tones[agent.presence] : undefined} />
        </button>
      </Dropdown>
      {sounds && <SoundDialog onClose={() => setSounds(false)} />}
      <PasswordDialog open={password} onClose={() => setPassword(false)} />
    </>
  );
});
