import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { App, Button, Dropdown, Input, Modal, Select, Switch } from "antd";
import { useEffect, useMemo, useState } from "react";
import { useSearchParams } from "react-router";
import { RuleState, type RuleInfo } from "../gen/wxbus/rule/v1/rule_service_pb";
import { RuleService } from "../gen/wxbus/rule/v1/rule_service_pb";
import { useGroupNames } from "../desk/names";
import { useI18n, type Translate } from "../i18n";
import { keyed } from "../i18n/said";
import type { Key } from "../i18n/words";
import { useActions, useKeys } from "../keys/keys";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { useMe } from "../session/session";
import { useAccounts } from "../shell/accounts";
import { Icon } from "../ui/icon";
import { Empty, Kbd, Tag } from "../ui/parts";
import { VirtualList } from "../ui/virtual";
import { DryRun } from "./rules/dry-run";
import { RuleEditor } from "./rules/editor";
import { emptyRule, matchKinds, readRule, writeRule } from "./rules/model";
import { Coverage, PublishBar, ShadowPanel, Versions } from "./rules/publish";

const pageSize = 200;
const badge: Partial<Record<RuleState, "amber" | "green" | "red">> = { [RuleState.ADDED]: "green", [RuleState.CHANGED]: "amber", [RuleState.REMOVED]: "red" };

// Rules is the working copy of the rules beside what is live: edit, try, compare, publish, roll back.
export default function Rules() {
  const { t, number } = useI18n();
  const { rules } = useClients();
  const { can } = useMe();
  const keys = useKeys();
  const cache = useQueryClient();
  const { notification } = App.useApp();
  const accounts = useAccounts();
  const [account, setAccount] = useState("");
  const [params] = useSearchParams();
  const [search, setSearch] = useState(params.get("search") ?? "");
  const [openID, setOpenID] = useState<string>();
  const [draft, setDraft] = useState<string>(); // YAML in the editor, also while it is not saved
  const [panel, setPanel] = useState<"versions" | "coverage" | "shadow" | "import">();
  const list = useQuery({ queryKey: ["rules", account, search], queryFn: () => rules.listRules({ pageSize, account, search }), placeholderData: (before) => before });
  const open = useQuery({ queryKey: ["rule", openID], queryFn: () => rules.getRule({ rule: openID ?? "" }), enabled: Boolean(openID) });
  const refresh = () => Promise.all(["rules", "rule", "draft", "rule-sets"].map((k) => cache.invalidateQueries({ queryKey: [k] })));
  const fail = (err: unknown) => notification.error({ title: say(err, t).text, description: say(err, t).code });

  const items = list.data?.rules ?? [];
  const firstID = items[0]?.id;
  useEffect(() => {
    if (!openID && draft === undefined && firstID) setOpenID(firstID);
  }, [openID, draft, firstID]);
  const creating = !openID && draft !== undefined;
  const create = () => {
    setOpenID(undefined);
    setDraft(writeRule({ ...emptyRule(), accounts: account ? [account] : [] }));
  };
  const pick = (id: string) => {
    setDraft(undefined);
    setOpenID(id);
  };
  const at = items.findIndex((r) => r.id === openID);
  useActions({
    create: can(RuleService.method.saveRule) ? create : undefined,
    next: () => { const r = items[Math.min(items.length - 1, at + 1)]; if (r) pick(r.id); },
    previous: () => { const r = items[Math.max(0, at - 1)]; if (r) pick(r.id); },
  });
  const summary = list.data?.draft;
  const changes = summary ? summary.added + summary.changed + summary.removed + summary.sections : 0;
  const decided = Number(list.data?.decided ?? 0n);

  return (
    <main className="page">
      <header className="page-head">
        <h1>{t("nav.rules")}</h1>
        <Select size="small" style={{ minWidth: 140 }} value={account} onChange={setAccount} aria-label={t("account")} options={[{ value: "", label: t("nav.allAccounts") }, ...accounts.map((a) => ({ value: a, label: a }))]} />
        {summary?.liveVersion && <Tag>{t("rules.live", { version: short(summary.liveVersion) })}</Tag>}
        {changes > 0 && <Tag tone="amber">{t("rules.changes", { count: changes })}</Tag>}
        {(summary?.conflicts ?? 0) > 0 && <Tag tone="red">{t("rules.conflicts", { count: summary?.conflicts ?? 0 })}</Tag>}
        <span className="grow" />
        <span className="t12 t3">{t("rules.decided", { count: number(decided) })}</span>
        <Button size="small" onClick={() => setPanel("coverage")}>{t("rules.coverage")}</Button>
        <Button size="small" onClick={() => setPanel("versions")}>{t("rules.versions")}</Button>
        {can(RuleService.method.importRules) && <Button size="small" onClick={() => setPanel("import")}>{t("rules.import")}</Button>}
        {can(RuleService.method.saveRule) && <Button size="small" icon={<Icon name="plus" size={14} />} onClick={create}>{t("rules.new")} <Kbd chord={keys.chord("create")} /></Button>}
      </header>
      <div className="three">
        <section className="pane" aria-label={t("rules.list")}>
          <div className="row" style={{ padding: "12px 16px" }}><Input allowClear prefix={<Icon name="search" />} placeholder={t("rules.search")} aria-label={t("rules.search")} value={search} onChange={(e) => setSearch(e.target.value)} /></div>
          <div className="group-row"><span className="grow">{t("rules.byPriority", { count: Number(list.data?.total ?? 0n) })}</span><span>{t("rules.hits")}</span></div>
          {list.error ? <Empty title={say(list.error, t).text} text={say(list.error, t).code} /> : items.length === 0 && !list.isLoading ? <Empty title={t("rules.none")} text={t("rules.none.text")} /> : (
            <VirtualList items={items} heightOf={ruleHeight} keyOf={ruleKey} rest={{ role: "listbox", "aria-label": t("rules.list"), "data-zone": true }}
              render={(r) => <RuleRow r={r} open={r.id === openID} decided={decided} onOpen={pick} />} />
          )}
        </section>
        <section className="pane" aria-label={t("rules.editor")}>
          {creating || open.data?.rule ? (
            <RuleEditor key={creating ? "new" : `${openID}/${open.data?.rule?.revision}`} rule={creating ? undefined : open.data?.rule} live={creating ? "" : open.data?.liveYaml ?? ""} fields={creating ? [] : open.data?.fields ?? []} initial={draft} onChange={setDraft}
              onSaved={async (r) => { setDraft(undefined); setOpenID(r.id); await refresh(); }} onDeleted={async () => { setDraft(undefined); setOpenID(undefined); await refresh(); }} onError={fail} />
          ) : <Empty title={t("rules.pick")} />}
          <PublishBar summary={summary} onShadow={() => setPanel("shadow")} onDone={refresh} onError={fail} />
        </section>
        <DryRun account={account || accounts[0] || ""} accounts={accounts} version={`${summary?.liveVersion}/${changes}/${String(open.data?.rule?.revision)}`} />
      </div>
      {panel === "versions" && <Versions onClose={() => setPanel(undefined)} onDone={refresh} onError={fail} />}
      {panel === "coverage" && <Coverage account={account} onClose={() => setPanel(undefined)} />}
      {panel === "shadow" && <ShadowPanel account={account} onClose={() => setPanel(undefined)} />}
      {panel === "import" && <ImportDialog account={account} onClose={() => setPanel(undefined)} onDone={refresh} onError={fail} />}
    </main>
  );
}

export const short = (version: string) => version.slice(0, 12);
const ruleHeight = () => 56;
const ruleKey = (r: RuleInfo) => r.id;

function RuleRow({ r, open, decided, onOpen }: { r: RuleInfo; open: boolean; decided: number; onOpen(id: string): void }) {
  const { t, number } = useI18n();
  const share = decided > 0 ? `${((Number(r.hits) / decided) * 100).toFixed(1)}%` : number(r.hits);
  const groupOf = useGroupNames();
  const hint = useMemo(() => summaryOf(r, t, groupOf), [r, t, groupOf]);
  return (
    <div role="option" aria-selected={open} tabIndex={-1} className={`rule-row ${open ? "open" : ""} ${r.enabled ? "" : "parked"}`} onClick={() => onOpen(r.id)} onKeyDown={undefined}>
      <span className="t12 t3">{r.priority}</span>
      <div style={{ minWidth: 0 }}>
        <div className="row g4"><span className="m cut">{r.name}</span>{badge[r.state] && <Tag tone={badge[r.state]}>{t(`rules.state.${r.state}` as Key)}</Tag>}{r.conflict && <Tag tone="red">{t("rules.conflict")}</Tag>}</div>
        <div className="t12 t2 cut">{hint}</div>
      </div>
      <span className={`num ${r.hits === 0n ? "t3" : ""}`} title={number(r.hits)}>{share}</span>
    </div>
  );
}

// summaryOf says in one line what a rule waits for and what it does.
export function summaryOf(r: Pick<RuleInfo, "yaml" | "kinds">, t: Translate, groupOf: (id: string) => string): string {
  const form = readRule(r.yaml);
  if (!form) return r.kinds.map((k) => keyed("kind", k, t)).join(t("said.and"));
  const waits = form.any ? [...form.on.map((k) => keyed("kind", k, t)), ...(form.on.length === 0 ? [t("match.any")] : [])]
    : matchKinds.flatMap((kind) => (form.match[kind].length > 0 ? [`${t(`match.${kind}`)} ${form.match[kind].join(" | ")}`] : []));
  const does = form.actions.map((a) => (a.kind === "text" ? a.text.split("\n")[0] : a.kind === "queue" ? t("said.toGroup", { group: groupOf(a.queue) }) : a.kind === "tag" ? `${t("action.tag")} ${a.tag}` : a.kind === "yaml" ? keyed("does", /^(\w+)/.exec(a.yaml)?.[1] ?? "", t) : t(`action.${a.kind}`)));
  return `${(waits.length > 0 ? waits : r.kinds.map((k) => keyed("kind", k, t))).join(" · ")} → ${does.join(" + ")}`.slice(0, 160);
}

function ImportDialog({ account, onClose, onDone, onError }: { account: string; onClose(): void; onDone(): void; onError(err: unknown): void }) {
  const { t } = useI18n();
  const { rules } = useClients();
  const [text, setText] = useState("");
  const [wechat, setWechat] = useState(false);
  const run = useMutation({ mutationFn: (dryRun: boolean) => rules.importRules({ content: new TextEncoder().encode(text), format: wechat ? 2 : 1, mode: 1, account: wechat ? account : "", dryRun }), onError });
  return (
    <Modal open onCancel={onClose} width={680} title={t("rules.import")} footer={[
      <Button key="try" disabled={!text} loading={run.isPending} onClick={() => run.mutate(true)}>{t("rules.import.try")}</Button>,
      <Button key="do" type="primary" disabled={!text || (wechat && !account)} loading={run.isPending} onClick={() => run.mutateAsync(false).then(() => { onDone(); onClose(); }, () => undefined)}>{t("rules.import")}</Button>,
    ]}>
      <div className="col">
        <label className="row"><Switch checked={wechat} onChange={setWechat} aria-label={t("rules.import.wechat")} />{t("rules.import.wechat")}{wechat && !account && <span className="tone-amber">{t("rules.import.account")}</span>}</label>
        <Input.TextArea rows={12} className="mono" value={text} onChange={(e) => setText(e.target.value)} aria-label={t("rules.import.text")} placeholder={t("rules.import.text")} />
        {run.data && (
          <div className="col g4">
            <b>{t("rules.import.result", { changes: run.data.changes.length + run.data.more, same: run.data.unchanged })}</b>
            {run.data.leftOut.map((l, i) => <div key={`${i}/${l.path}`} className="t12 tone-amber">{l.rule || l.path}: {l.reason}</div>)}
          </div>
        )}
      </div>
    </Modal>
  );
}

export function MoreMenu({ items }: { items: { key: string; label: string; danger?: boolean; run(): void }[] }) {
  const { t } = useI18n();
  return <Dropdown trigger={["click"]} menu={{ items: items.map(({ key, label, danger }) => ({ key, label, danger })), onClick: ({ key }) => items.find((i) => i.key === key)?.run() }}><button type="button" className="icon-button small" aria-label={t("act.more")}><Icon name="more" /></button></Dropdown>;
}
