import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { App, Button, Input, Modal, Popconfirm, Select } from "antd";
import { useState } from "react";
import type { Scope } from "../../gen/wxbus/console/v1/api_key_service_pb";
import { useI18n } from "../../i18n";
import { useActions, useKeys } from "../../keys/keys";
import { useClients } from "../../rpc/clients";
import { useAccounts } from "../../shell/accounts";
import { Icon } from "../../ui/icon";
import { Empty, Kbd, Tag } from "../../ui/parts";
import { Data, useFailure } from "../data";
import { showSecret } from "./users";

export function ApiKeys() {
  const { t, dateTime } = useI18n();
  const { apiKeys } = useClients();
  const keys = useKeys();
  const cache = useQueryClient();
  const fail = useFailure();
  const [creating, setCreating] = useState(false);
  const list = useQuery({ queryKey: ["api-keys"], queryFn: () => apiKeys.listApiKeys({}) });
  const revoke = useMutation({ mutationFn: (id: string) => apiKeys.revokeApiKey({ id }), onSuccess: () => cache.invalidateQueries({ queryKey: ["api-keys"] }), onError: fail });
  useActions({ create: () => setCreating(true) });
  return (
    <>
      <div className="row"><span className="grow t3">{t("keysPage.hint")}</span><Button icon={<Icon name="plus" size={14} />} onClick={() => setCreating(true)}>{t("keysPage.new")} <Kbd chord={keys.chord("create")} /></Button></div>
      <Data query={list}>{(d) => d.keys.length === 0 ? <Empty title={t("keysPage.none")} /> : (
        <div className="card"><table className="table"><thead><tr><th>{t("name")}</th><th>{t("keysPage.scopes")}</th><th>{t("account")}</th><th>{t("keysPage.used")}</th><th>{t("state")}</th><th /></tr></thead>
          <tbody>{d.keys.map((k) => (
            <tr key={k.id}><td>{k.name} <span className="mono t3">{k.id}</span></td><td><span className="row g4 wrap">{k.scopes.map((s) => <Tag key={s} line>{s}</Tag>)}</span></td><td>{k.accounts.includes("*") ? t("nav.allAccounts") : k.accounts.join(", ")}</td><td>{k.lastUsedUnixMs > 0n ? dateTime(Number(k.lastUsedUnixMs)) : t("none")}</td>
              <td>{k.revokedUnixMs > 0n ? <Tag tone="red">{t("keysPage.revoked")}</Tag> : k.fromFile ? <Tag>{t("accounts.fromFile")}</Tag> : <Tag tone="green">{t("users.active")}</Tag>}</td>
              <td className="num">{k.revokedUnixMs === 0n && !k.fromFile && <Popconfirm title={t("keysPage.revoke.ask", { name: k.name })} okText={t("keysPage.revoke")} cancelText={t("act.cancel")} onConfirm={() => revoke.mutate(k.id)}><Button size="small" danger>{t("keysPage.revoke")}</Button></Popconfirm>}</td></tr>
          ))}</tbody></table></div>
      )}</Data>
      {creating && <CreateKey scopes={list.data?.scopes ?? []} onClose={() => setCreating(false)} />}
    </>
  );
}

function CreateKey({ scopes, onClose }: { scopes: Scope[]; onClose(): void }) {
  const { t } = useI18n();
  const { apiKeys } = useClients();
  const accounts = useAccounts();
  const cache = useQueryClient();
  const fail = useFailure();
  const { modal } = App.useApp();
  const [v, set] = useState({ name: "", scopes: [] as string[], accounts: ["*"] });
  const make = useMutation({
    mutationFn: () => apiKeys.createApiKey(v),
    onSuccess: async (res) => { await cache.invalidateQueries({ queryKey: ["api-keys"] }); onClose(); showSecret(modal, t("keysPage.secret", { name: v.name }), res.secret, t("users.password.once")); }, onError: fail,
  });
  return (
    <Modal open onCancel={onClose} title={t("keysPage.new")} okText={t("act.create")} cancelText={t("act.cancel")} okButtonProps={{ loading: make.isPending, disabled: !v.name || v.scopes.length === 0 || v.accounts.length === 0 }} onOk={() => make.mutate()}>
      <div className="col">
        <label className="col g4 t12 t2">{t("name")}<Input value={v.name} maxLength={64} onChange={(e) => set({ ...v, name: e.target.value })} /></label>
        <label className="col g4 t12 t2">{t("keysPage.scopes")}<Select mode="multiple" value={v.scopes} onChange={(x) => set({ ...v, scopes: x })} options={scopes.map((s) => ({ value: s.name, label: s.name, title: s.description }))} /></label>
        <label className="col g4 t12 t2">{t("account")}<Select mode="multiple" value={v.accounts} onChange={(x) => set({ ...v, accounts: x.at(-1) === "*" ? ["*"] : x.filter((a) => a !== "*") })} options={[{ value: "*", label: t("nav.allAccounts") }, ...accounts.map((a) => ({ value: a, label: a }))]} /></label>
      </div>
    </Modal>
  );
}
