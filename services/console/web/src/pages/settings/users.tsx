import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { App, Button, Input, Modal, Select, Switch } from "antd";
import { useState } from "react";
import { Role, type User } from "../../gen/wxbus/console/v1/user_service_pb";
import { useI18n } from "../../i18n";
import type { Key } from "../../i18n/words";
import { useActions, useKeys } from "../../keys/keys";
import { useClients } from "../../rpc/clients";
import { useMe } from "../../session/session";
import { useAccounts } from "../../shell/accounts";
import { Icon } from "../../ui/icon";
import { Kbd, Tag } from "../../ui/parts";
import { Data, useFailure } from "../data";

const roles = [Role.AGENT, Role.SUPERVISOR, Role.OPERATOR, Role.ADMIN];

export function Users() {
  const { t, dateTime } = useI18n();
  const { users } = useClients();
  const me = useMe();
  const keys = useKeys();
  const cache = useQueryClient();
  const fail = useFailure();
  const { modal } = App.useApp();
  const [open, setOpen] = useState<User | "new">();
  const list = useQuery({ queryKey: ["users"], queryFn: () => users.listUsers({}) });
  const refresh = () => cache.invalidateQueries({ queryKey: ["users"] });
  const disable = useMutation({ mutationFn: (u: User) => users.disableUser({ name: u.name, disabled: !u.disabled }), onSuccess: refresh, onError: fail });
  const reset = useMutation({ mutationFn: (u: User) => users.resetPassword({ name: u.name }), onSuccess: (res, u) => showSecret(modal, t("users.password", { name: u.displayName || u.name }), res.password, t("users.password.once")), onError: fail });
  useActions({ create: () => setOpen("new") });
  return (
    <>
      <div className="row"><span className="grow" /><Button icon={<Icon name="plus" size={14} />} onClick={() => setOpen("new")}>{t("users.new")} <Kbd chord={keys.chord("create")} /></Button></div>
      <Data query={list}>{(d) => (
        <div className="card"><table className="table"><thead><tr><th>{t("login.name")}</th><th>{t("users.roles")}</th><th>{t("account")}</th><th>{t("users.lastLogIn")}</th><th>{t("state")}</th><th /></tr></thead>
          <tbody>{d.users.map((u) => (
            <tr key={u.name}>
              <td><button type="button" className="link" onClick={() => setOpen(u)}>{u.displayName || u.name}</button> <span className="mono t3">{u.name}</span>{u.external && <Tag>OIDC</Tag>}</td>
              <td><span className="row g4 wrap">{u.roles.map((r) => <Tag key={r}>{t(`role.${r}` as Key)}</Tag>)}</span></td><td>{u.accounts.includes("*") ? t("nav.allAccounts") : u.accounts.join(", ")}</td>
              <td>{u.lastLogInUnixMs > 0n ? dateTime(Number(u.lastLogInUnixMs)) : t("none")}</td><td>{u.disabled ? <Tag tone="red">{t("users.disabled")}</Tag> : u.lockedUntilUnixMs > 0n && Number(u.lockedUntilUnixMs) > Date.now() ? <Tag tone="amber">{t("users.locked")}</Tag> : <Tag tone="green">{t("users.active")}</Tag>}</td>
              <td className="num"><span className="row g4">{!u.external && <Button size="small" onClick={() => modal.confirm({ title: t("users.reset.ask", { name: u.displayName || u.name }), okText: t("users.reset"), cancelText: t("act.cancel"), onOk: () => reset.mutateAsync(u) })}>{t("users.reset")}</Button>}{u.name !== me.user && <Button size="small" danger={!u.disabled} onClick={() => disable.mutate(u)}>{u.disabled ? t("users.enable") : t("users.disable")}</Button>}</span></td>
            </tr>
          ))}</tbody></table></div>
      )}</Data>
      {open && <UserDialog user={open === "new" ? undefined : open} onClose={() => setOpen(undefined)} onDone={async (password, name) => { setOpen(undefined); await refresh(); if (password) showSecret(modal, t("users.password", { name }), password, t("users.password.once")); }} />}
    </>
  );
}

type ModalAPI = ReturnType<typeof App.useApp>["modal"];

// showSecret shows what the server tells only once.
export function showSecret(modal: ModalAPI, title: string, secret: string, hint: string): void {
  modal.info({ title, content: <div className="col"><p>{hint}</p><Input readOnly className="mono" value={secret} aria-label={title} onFocus={(e) => e.target.select()} data-testid="secret" /></div>, width: 520 });
}

function UserDialog({ user, onClose, onDone }: { user: User | undefined; onClose(): void; onDone(password: string, name: string): void }) {
  const { t } = useI18n();
  const { users } = useClients();
  const accounts = useAccounts();
  const fail = useFailure();
  const [v, set] = useState({ name: user?.name ?? "", displayName: user?.displayName ?? "", roles: user?.roles ?? [Role.AGENT], accounts: user?.accounts ?? ["*"] });
  const all = v.accounts.includes("*");
  const save = useMutation({
    mutationFn: async () => (user ? (await users.updateUser({ ...v, revision: user.revision }), "") : (await users.createUser({ ...v, password: "" })).password),
    onSuccess: (password) => onDone(password, v.displayName || v.name), onError: fail,
  });
  return (
    <Modal open onCancel={onClose} title={user ? user.name : t("users.new")} okText={t("act.save")} cancelText={t("act.cancel")} okButtonProps={{ loading: save.isPending, disabled: !/^[a-z0-9._-]{1,64}$/.test(v.name) || v.roles.length === 0 || v.accounts.length === 0 }} onOk={() => save.mutate()}>
      <div className="col">
        <label className="col g4 t12 t2">{t("login.name")}<Input className="mono" value={v.name} disabled={Boolean(user)} onChange={(e) => set({ ...v, name: e.target.value })} /></label>
        <label className="col g4 t12 t2">{t("users.displayName")}<Input value={v.displayName} onChange={(e) => set({ ...v, displayName: e.target.value })} /></label>
        <label className="col g4 t12 t2">{t("users.roles")}<Select mode="multiple" value={v.roles} onChange={(x) => set({ ...v, roles: x })} options={roles.map((value) => ({ value, label: t(`role.${value}` as Key) }))} /></label>
        <label className="row"><Switch checked={all} onChange={(x) => set({ ...v, accounts: x ? ["*"] : [] })} aria-label={t("nav.allAccounts")} />{t("nav.allAccounts")}</label>
        {!all && <Select mode="multiple" value={v.accounts} onChange={(x) => set({ ...v, accounts: x })} options={accounts.map((a) => ({ value: a, label: a }))} aria-label={t("account")} />}
      </div>
    </Modal>
  );
}
