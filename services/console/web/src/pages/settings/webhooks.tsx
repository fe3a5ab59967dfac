import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { App, Button, Input, Modal, Popconfirm, Select } from "antd";
import { useState } from "react";
import type { EventKindInfo, Webhook } from "../../gen/wxbus/console/v1/webhook_service_pb";
import { useI18n } from "../../i18n";
import { useActions, useKeys } from "../../keys/keys";
import { useClients } from "../../rpc/clients";
import { useAccounts } from "../../shell/accounts";
import { Icon } from "../../ui/icon";
import { Empty, Kbd, Tag } from "../../ui/parts";
import { Data, useFailure } from "../data";
import { showSecret } from "./users";

export function Webhooks() {
  const { t, number } = useI18n();
  const { webhooks } = useClients();
  const keys = useKeys();
  const cache = useQueryClient();
  const fail = useFailure();
  const { notification } = App.useApp();
  const [creating, setCreating] = useState(false);
  const list = useQuery({ queryKey: ["webhooks"], queryFn: () => webhooks.listWebhooks({}), refetchInterval: 15_000 });
  const act = useMutation({ mutationFn: (f: () => Promise<unknown>) => f(), onSuccess: () => cache.invalidateQueries({ queryKey: ["webhooks"] }), onError: fail });
  const test = async (w: Webhook) => {
    const res = await webhooks.testWebhook({ id: w.id });
    if (res.failure) notification.error({ title: t("webhooks.failed"), description: `${res.failure} ${res.status || ""}` });
    else notification.success({ title: t("webhooks.ok", { status: res.status, ms: Math.round(Number(res.tookUs) / 1000) }) });
  };
  useActions({ create: () => setCreating(true) });
  return (
    <>
      <div className="row"><span className="grow t3">{t("webhooks.hint")}</span><Button icon={<Icon name="plus" size={14} />} onClick={() => setCreating(true)}>{t("webhooks.new")} <Kbd chord={keys.chord("create")} /></Button></div>
      <Data query={list}>{(d) => d.webhooks.length === 0 ? <Empty title={t("webhooks.none")} /> : (
        <div className="card"><table className="table"><thead><tr><th>{t("name")}</th><th>URL</th><th className="num">{t("webhooks.pending")}</th><th className="num">{t("webhooks.dead")}</th><th>{t("state")}</th><th /></tr></thead>
          <tbody>{d.webhooks.map((w) => (
            <tr key={w.id}><td>{w.name}</td><td className="mono">{w.url}</td><td className="num">{number(w.pending)}</td><td className="num">{number(w.dead)}</td><td>{w.paused ? <Tag tone="amber">{t("webhooks.paused")}</Tag> : w.lastFailure ? <Tag tone="red">{w.lastFailure}</Tag> : <Tag tone="green">{t("users.active")}</Tag>}</td>
              <td className="num"><span className="row g4">
                <Button size="small" onClick={() => act.mutate(() => test(w))}>{t("webhooks.test")}</Button>
                {w.dead > 0n && <Button size="small" onClick={() => act.mutate(() => webhooks.retryWebhookDeliveries({ webhook: w.id, ids: [] }))}>{t("webhooks.retry")}</Button>}
                <Button size="small" onClick={() => act.mutate(() => webhooks.pauseWebhook({ id: w.id, paused: !w.paused }))}>{w.paused ? t("webhooks.resume") : t("webhooks.pause")}</Button>
                <Popconfirm title={t("webhooks.delete.ask", { name: w.name })} okText={t("act.delete")} cancelText={t("act.cancel")} onConfirm={() => act.mutate(() => webhooks.deleteWebhook({ id: w.id }))}><Button size="small" danger>{t("act.delete")}</Button></Popconfirm>
              </span></td></tr>
          ))}</tbody></table></div>
      )}</Data>
      {creating && <CreateWebhook kinds={list.data?.kinds ?? []} onClose={() => setCreating(false)} />}
    </>
  );
}

function CreateWebhook({ kinds, onClose }: { kinds: EventKindInfo[]; onClose(): void }) {
  const { t } = useI18n();
  const { webhooks } = useClients();
  const accounts = useAccounts();
  const cache = useQueryClient();
  const fail = useFailure();
  const { modal } = App.useApp();
  const [v, set] = useState({ name: "", url: "", kinds: [] as string[], accounts: ["*"] });
  const make = useMutation({ mutationFn: () => webhooks.createWebhook(v), onSuccess: async (res) => { await cache.invalidateQueries({ queryKey: ["webhooks"] }); onClose(); showSecret(modal, t("webhooks.secret", { name: v.name }), res.secret, t("users.password.once")); }, onError: fail });
  return (
    <Modal open onCancel={onClose} title={t("webhooks.new")} okText={t("act.create")} cancelText={t("act.cancel")} okButtonProps={{ loading: make.isPending, disabled: !v.name || !v.url }} onOk={() => make.mutate()}>
      <div className="col">
        <label className="col g4 t12 t2">{t("name")}<Input value={v.name} maxLength={64} onChange={(e) => set({ ...v, name: e.target.value })} /></label>
        <label className="col g4 t12 t2">URL<Input className="mono" value={v.url} onChange={(e) => set({ ...v, url: e.target.value.trim() })} /></label>
        <label className="col g4 t12 t2">{t("webhooks.kinds")}<Select mode="multiple" value={v.kinds} placeholder={t("all")} onChange={(x) => set({ ...v, kinds: x })} options={kinds.map((k) => ({ value: k.name, label: k.name, title: k.description }))} /></label>
        <label className="col g4 t12 t2">{t("account")}<Select mode="multiple" value={v.accounts} onChange={(x) => set({ ...v, accounts: x.at(-1) === "*" ? ["*"] : x.filter((a) => a !== "*") })} options={[{ value: "*", label: t("nav.allAccounts") }, ...accounts.map((a) => ({ value: a, label: a }))]} /></label>
      </div>
    </Modal>
  );
}
