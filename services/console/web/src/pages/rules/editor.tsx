import { useMutation, useQuery } from "@tanstack/react-query";
import { Button, Input, InputNumber, Popconfirm, Segmented, Select, Switch } from "antd";
import { useState } from "react";
import { AgentService } from "../../gen/wxbus/agentrouting/v1/agent_service_pb";
import { RuleService, type FieldChange, type RuleInfo } from "../../gen/wxbus/rule/v1/rule_service_pb";
import { useI18n } from "../../i18n";
import { useClients } from "../../rpc/clients";
import { useMe } from "../../session/session";
import { useAccounts } from "../../shell/accounts";
import { Icon } from "../../ui/icon";
import { Tag } from "../../ui/parts";
import { matchKinds, readRule, writeRule, type Action, type MatchKind, type RuleForm } from "./model";

interface Props {
  rule: RuleInfo | undefined;
  live: string;
  fields: FieldChange[];
  initial: string | undefined;
  onChange(yaml: string): void;
  onSaved(r: RuleInfo): void;
  onDeleted(): void;
  onError(err: unknown): void;
}

const kinds = ["text", "image", "voice", "video", "location", "link", "subscribe", "unsubscribe", "scan", "click", "view", "event"];

// RuleEditor changes one rule of the working copy, as a form or as the YAML behind it.
export function RuleEditor({ rule, live, fields, initial, onChange, onSaved, onDeleted, onError }: Props) {
  const { t } = useI18n();
  const { rules } = useClients();
  const { can } = useMe();
  const [yaml, setYaml] = useState(initial ?? rule?.yaml ?? "");
  const [enabled, setEnabled] = useState(rule?.enabled ?? true);
  const form = readRule(yaml);
  const [asText, setAsText] = useState(form === undefined);
  const update = (next: string) => {
    setYaml(next);
    onChange(next);
  };
  const edit = (part: Partial<RuleForm>) => form && update(writeRule({ ...form, ...part }));
  const save = useMutation({ mutationFn: () => rules.saveRule({ id: rule?.id ?? "", revision: rule?.revision ?? 0n, yaml, enabled }), onSuccess: (res) => res.rule && onSaved(res.rule), onError });
  const remove = useMutation({ mutationFn: () => rules.deleteRule({ id: rule?.id ?? "", revision: rule?.revision ?? 0n }), onSuccess: onDeleted, onError });
  const discard = useMutation({ mutationFn: () => rules.discardDraft({ ids: [rule?.id ?? ""] }), onSuccess: onDeleted, onError });
  const dirty = yaml !== (rule?.yaml ?? "") || enabled !== (rule?.enabled ?? true);
  const editable = can(RuleService.method.saveRule);
  return (
    <>
      <div className="pane-head">
        <h2 className="t14 m cut grow">{form?.name || rule?.name || t("rules.new")}</h2>
        {rule?.changedBy && <span className="t12 t3 cut">{rule.changedBy === "file" ? t("rules.fromFile") : t("rules.changedBy", { name: rule.changedBy })}</span>}
        <Segmented size="small" value={asText ? "text" : "form"} onChange={(v) => setAsText(v === "text")} options={[{ value: "form", label: t("rules.form"), disabled: form === undefined }, { value: "text", label: "YAML" }]} aria-label={t("rules.editor")} />
        <label className="row g4 t12 t3">{t("rules.enabled")}<Switch size="small" checked={enabled} onChange={setEnabled} disabled={!editable} aria-label={t("rules.enabled")} /></label>
      </div>
      <div className="editor-body">
        {asText || !form ? <Input.TextArea className="mono" rows={12} value={yaml} onChange={(e) => update(e.target.value)} aria-label="YAML" spellCheck={false} disabled={!editable} /> : <FormFields form={form} edit={edit} disabled={!editable} />}
        {fields.length > 0 && <FieldDiff fields={fields} />}
        {rule && !live && <p className="t12 t3">{t("rules.notLive")}</p>}
      </div>
      {editable && (
        <div className="row editor-actions">
          <Button type="primary" size="small" disabled={!dirty || !yaml.trim()} loading={save.isPending} onClick={() => save.mutate()}>{t("rules.saveDraft")}</Button>
          {dirty && rule && <Button size="small" onClick={() => { update(rule.yaml); setEnabled(rule.enabled); }}>{t("act.undo")}</Button>}
          <span className="grow" />
          {rule && fields.length > 0 && <Button size="small" loading={discard.isPending} onClick={() => discard.mutate()}>{t("rules.discardOne")}</Button>}
          {rule && <Popconfirm title={t("rules.delete.ask")} okText={t("act.delete")} cancelText={t("act.cancel")} onConfirm={() => remove.mutate()}><Button size="small" danger loading={remove.isPending}>{t("act.delete")}</Button></Popconfirm>}
        </div>
      )}
    </>
  );
}

function FormFields({ form, edit, disabled }: { form: RuleForm; edit(part: Partial<RuleForm>): void; disabled: boolean }) {
  const { t } = useI18n();
  const accounts = useAccounts();
  const [kind, setKind] = useState<MatchKind>(() => matchKinds.find((k) => form.match[k].length > 0) ?? "contains");
  return (
    <div className="fields">
      <label htmlFor="rule-name">{t("name")}</label>
      <Input id="rule-name" value={form.name} disabled={disabled} onChange={(e) => edit({ name: e.target.value })} />
      <label htmlFor="rule-priority">{t("rules.priority")}</label>
      <InputNumber id="rule-priority" value={form.priority} disabled={disabled} min={-1_000_000} max={1_000_000} onChange={(v) => edit({ priority: v ?? 0 })} />
      <label htmlFor="rule-accounts">{t("account")}</label>
      <Select id="rule-accounts" mode="multiple" value={form.accounts} disabled={disabled} placeholder={t("nav.allAccounts")} onChange={(v) => edit({ accounts: v })} options={accounts.map((a) => ({ value: a, label: a }))} />
      <label htmlFor="rule-on">{t("rules.on")}</label>
      <Select id="rule-on" mode="multiple" value={form.on} disabled={disabled} placeholder={t("kind.text")} onChange={(v) => edit({ on: v })} options={kinds.map((k) => ({ value: k, label: t(`kind.${k}` as never) }))} />
      <span className="label-text">{t("rules.trigger")}</span>
      <div className="col">
        <div className="row wrap">
          <Segmented size="small" disabled={disabled} value={form.any ? "any" : kind} onChange={(v) => { if (v === "any") edit({ any: true }); else { setKind(v as MatchKind); if (form.any) edit({ any: false }); } }}
            options={[...matchKinds.map((k) => ({ value: k, label: <>{t(`match.${k}`)}{form.match[k].length > 0 && <span className="t3"> {form.match[k].length}</span>}</> })), { value: "any", label: t("match.any") }]} aria-label={t("rules.trigger")} />
        </div>
        {!form.any && <Select mode="tags" open={false} suffixIcon={null} disabled={disabled} value={form.match[kind]} onChange={(v) => edit({ match: { ...form.match, [kind]: v } })} placeholder={t("rules.words")} tokenSeparators={kind === "regex" ? [] : ["\n", "，", "、"]} aria-label={t(`match.${kind}`)} />}
      </div>
      <span className="label-text">{t("rules.actions")}</span>
      <Actions list={form.actions} disabled={disabled} onChange={(actions) => edit({ actions })} />
      {Object.keys(form.rest).length > 0 && <><span className="label-text">{t("rules.rest")}</span><div className="row wrap">{Object.keys(form.rest).map((k) => <Tag key={k} line>{k}</Tag>)}<span className="t12 t3">{t("rules.rest.text")}</span></div></>}
    </div>
  );
}

const kindsOfAction = ["text", "queue", "native", "tag", "none", "yaml"] as const;
const fresh: Record<(typeof kindsOfAction)[number], Action> = { text: { kind: "text", text: "" }, queue: { kind: "queue", queue: "" }, native: { kind: "native" }, tag: { kind: "tag", tag: "" }, none: { kind: "none" }, yaml: { kind: "yaml", yaml: "" } };

function Actions({ list, disabled, onChange }: { list: Action[]; disabled: boolean; onChange(list: Action[]): void }) {
  const { t } = useI18n();
  const { agents } = useClients();
  const { can } = useMe();
  const groups = useQuery({ queryKey: ["groups"], queryFn: () => agents.listGroups({}), enabled: can(AgentService.method.listGroups) });
  const set = (i: number, a: Action) => onChange(list.map((x, n) => (n === i ? a : x)));
  return (
    <div className="col">
      {list.map((a, i) => (
        // oxlint-disable-next-line react/no-array-index-key -- the place is the identity
        <div key={i} className="action-card">
          <div className="row"><span className="t12 t3">{i + 1}</span>
            <Select size="small" variant="borderless" disabled={disabled} value={a.kind} onChange={(k) => set(i, fresh[k])} options={kindsOfAction.map((value) => ({ value, label: t(`action.${value}`) }))} aria-label={t("rules.actions")} />
            <span className="grow" />
            <button type="button" className="icon-button small" disabled={disabled} aria-label={t("act.delete")} onClick={() => onChange(list.filter((_, n) => n !== i))}><Icon name="x" size={14} /></button>
          </div>
          {a.kind === "text" && <Input.TextArea rows={2} disabled={disabled} value={a.text} aria-label={t("action.text")} onChange={(e) => set(i, { kind: "text", text: e.target.value })} />}
          {a.kind === "queue" && <Select disabled={disabled} value={a.queue || undefined} aria-label={t("action.queue")} placeholder={t("action.queue")} onChange={(queue) => set(i, { kind: "queue", queue })} options={[...new Set([...(groups.data?.groups ?? []).map((g) => g.id), ...(a.queue ? [a.queue] : [])])].map((value) => ({ value, label: groups.data?.groups.find((g) => g.id === value)?.name || value }))} />}
          {a.kind === "tag" && <Input disabled={disabled} value={a.tag} aria-label={t("action.tag")} onChange={(e) => set(i, { kind: "tag", tag: e.target.value })} />}
          {a.kind === "yaml" && <YamlAction yaml={a.yaml} disabled={disabled} onChange={(yaml) => set(i, { kind: "yaml", yaml })} />}
        </div>
      ))}
      {!disabled && <div><Button size="small" type="text" icon={<Icon name="plus" size={14} />} onClick={() => onChange([...list, fresh.text])}>{t("rules.addAction")}</Button></div>}
    </div>
  );
}

// YamlAction hands its text on only when it can be read, so that a half-written line breaks nothing.
function YamlAction({ yaml, disabled, onChange }: { yaml: string; disabled: boolean; onChange(yaml: string): void }) {
  const [text, setText] = useState(yaml);
  return <Input.TextArea className="mono" rows={2} disabled={disabled} value={text} aria-label="YAML" spellCheck={false} status={text === yaml ? "" : "warning"} onChange={(e) => { setText(e.target.value); if (readRule(`do:\n  - ${e.target.value.replace(/\n/g, "\n    ")}`)) onChange(e.target.value); }} />;
}

// FieldDiff shows what differs from the live rule, field by field.
export function FieldDiff({ fields }: { fields: readonly FieldChange[] }) {
  const { t } = useI18n();
  return (
    <div className="card">
      <header><h3>{t("rules.diff")}</h3></header>
      <div className="diff">
        {fields.map((f) => (
          <div key={f.path}>
            <div className="t12 t3">{f.path}</div>
            {f.added.length + f.removed.length > 0
              ? <div className="row wrap">{f.removed.map((x) => <del key={x}>{x}</del>)}{f.added.map((x) => <ins key={x}>{x}</ins>)}</div>
              : <>{f.before && <del>{f.before}</del>}{f.after && <ins>{f.after}</ins>}</>}
          </div>
        ))}
      </div>
    </div>
  );
}
