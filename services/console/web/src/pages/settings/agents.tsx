import { create } from "@bufbuild/protobuf";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Input, InputNumber, Modal, Popconfirm, Select, Switch } from "antd";
import { useState } from "react";
import { AgentSchema, Presence, type Agent } from "../../gen/wxbus/agentrouting/v1/agent_service_pb";
import { UserService } from "../../gen/wxbus/console/v1/user_service_pb";
import { useGroupNames } from "../../desk/names";
import { useI18n } from "../../i18n";
import { useActions, useKeys } from "../../keys/keys";
import { useClients } from "../../rpc/clients";
import { useMe } from "../../session/session";
import { Icon } from "../../ui/icon";
import { AgentAvatar, Dot, Empty, Kbd, Tag } from "../../ui/parts";
import { Data, useFailure } from "../data";

const presence = { [Presence.UNSPECIFIED]: "offline", [Presence.ONLINE]: "online", [Presence.AWAY]: "away", [Presence.OFFLINE]: "offline" } as const;

const dots = { [Presence.UNSPECIFIED]: "off", [Presence.ONLINE]: "green", [Presence.AWAY]: "amber", [Presence.OFFLINE]: "off" } as const;

export function Agents() {
  const { t } = useI18n();
  const { agents } = useClients();
  const keys = useKeys();
  const groupOf = useGroupNames();
  const [open, setOpen] = useState<Agent>();
  const list = useQuery({ queryKey: ["agents", ""], queryFn: () => agents.listAgents({}) });
  const add = () => setOpen(create(AgentSchema, {}));
  useActions({ create: add });
  return (
    <>
      <div className="row"><span className="grow t3">{t("agents.hint")}</span><Button icon={<Icon name="plus" size={14} />} onClick={add}>{t("agents.new")} <Kbd chord={keys.chord("create")} /></Button></div>
      <Data query={list}>{(d) => d.agents.length === 0 ? <Empty title={t("agents.none")} /> : (
        <div className="card"><table className="table"><thead><tr><th>{t("name")}</th><th>{t("state")}</th><th>{t("transfer.groups")}</th><th>{t("groups.skills")}</th><th className="num">{t("agents.load")}</th></tr></thead>
          <tbody>{d.agents.map((a) => <tr key={a.id}><td><span className="row"><AgentAvatar name={a.name || a.id} /><button type="button" className="link" onClick={() => setOpen(a)}>{a.name || a.id}</button><span className="t12 t3 mono">{a.id}</span></span></td><td><span className="row"><Dot tone={dots[a.presence]} />{t(`me.${presence[a.presence]}`)}</span></td><td><span className="row wrap g4">{a.groups.map((g) => <Tag key={g}>{groupOf(g)}</Tag>)}</span></td><td>{a.skills.length > 0 ? <span className="row wrap g4">{a.skills.map((s) => <Tag key={s} line>{s}</Tag>)}</span> : <span className="t3">—</span>}</td><td className="num">{a.load}/{a.effectiveCapacity || a.capacity}</td></tr>)}</tbody></table></div>
      )}</Data>
      {open && <AgentDialog key={open.id} agent={open} onClose={() => setOpen(undefined)} />}
    </>
  );
}

function AgentDialog({ agent, onClose }: { agent: Agent; onClose(): void }) {
  const { t } = useI18n();
  const { agents, users } = useClients();
  const { user, can } = useMe();
  const cache = useQueryClient();
  const fail = useFailure();
  const [a, set] = useState(agent);
  const groups = useQuery({ queryKey: ["groups"], queryFn: () => agents.listGroups({}) });
  const people = useQuery({ queryKey: ["colleagues"], queryFn: () => users.listColleagues({}), enabled: can(UserService.method.listColleagues) });
  const done = async () => { await cache.invalidateQueries({ queryKey: ["agents"] }); onClose(); };
  const save = useMutation({ mutationFn: () => agents.putAgent({ agent: a, actor: user }), onSuccess: done, onError: fail });
  const remove = useMutation({ mutationFn: () => agents.deleteAgent({ id: a.id, actor: user }), onSuccess: done, onError: fail });
  const edit = (part: Partial<Agent>) => set({ ...a, ...part });
  return (
    <Modal open onCancel={onClose} title={agent.id || t("agents.new")} footer={<div className="row">{agent.id && <Popconfirm title={t("agents.delete.ask")} okText={t("act.delete")} cancelText={t("act.cancel")} onConfirm={() => remove.mutate()}><Button danger>{t("act.delete")}</Button></Popconfirm>}<span className="grow" /><Button onClick={onClose}>{t("act.cancel")}</Button><Button type="primary" disabled={!a.id} loading={save.isPending} onClick={() => save.mutate()}>{t("act.save")}</Button></div>}>
      <div className="col">
        <label className="col g4 t12 t2">{t("agents.user")}<Select showSearch disabled={Boolean(agent.id)} value={a.id || undefined} onChange={(id) => edit({ id, name: a.name || people.data?.colleagues.find((c) => c.name === id)?.displayName || id })} options={(people.data?.colleagues ?? []).map((c) => ({ value: c.name, label: `${c.displayName} (${c.name})` }))} /></label>
        <label className="col g4 t12 t2">{t("agents.shownName")}<Input value={a.name} onChange={(e) => edit({ name: e.target.value })} /></label>
        <label className="col g4 t12 t2">{t("transfer.groups")}<Select mode="multiple" value={a.groups} onChange={(v) => edit({ groups: v })} options={(groups.data?.groups ?? []).map((g) => ({ value: g.id, label: g.name || g.id }))} /></label>
        <label className="col g4 t12 t2">{t("groups.skills")}<Select mode="tags" open={false} value={a.skills} onChange={(skills) => edit({ skills })} /></label>
        <label className="col g4 t12 t2">{t("agents.languages")}<Select mode="tags" value={a.languages} onChange={(languages) => edit({ languages })} options={[{ value: "zh" }, { value: "en" }]} /></label>
        <label className="col g4 t12 t2">{t("groups.capacity")}<InputNumber min={0} max={100} value={a.capacity || null} onChange={(v) => edit({ capacity: v ?? 0 })} /></label>
        <label className="row">{t("agents.autoAccept")}<Switch checked={a.autoAccept} onChange={(autoAccept) => edit({ autoAccept })} aria-label={t("agents.autoAccept")} /></label>
      </div>
    </Modal>
  );
}
