import { create } from "@bufbuild/protobuf";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Drawer, Input, InputNumber, Popconfirm, Select, Switch } from "antd";
import { useState } from "react";
import { AutoTextKind, AutoTextSchema, GroupSchema, OfflineAction, QueueAction, RoutingMethod, WeekIntervalSchema, WorkingHoursSchema, type AutoText, type Group } from "../../gen/wxbus/agentrouting/v1/agent_service_pb";
import { useI18n } from "../../i18n";
import type { Key } from "../../i18n/words";
import { useActions, useKeys } from "../../keys/keys";
import { useClients } from "../../rpc/clients";
import { useMe } from "../../session/session";
import { Icon } from "../../ui/icon";
import { Empty, Kbd, Tag } from "../../ui/parts";
import { zone } from "../../ui/zone";
import { Data, useFailure } from "../data";
import { Holidays } from "./holidays";

// Groups are teams with a queue: how agents are found, when the team works, and every automatic text.
export function Groups() {
  const { t, number } = useI18n();
  const { agents } = useClients();
  const keys = useKeys();
  const [open, setOpen] = useState<Group>();
  const list = useQuery({ queryKey: ["groups"], queryFn: () => agents.listGroups({}) });
  const create_ = () => setOpen(create(GroupSchema, { survey: true, surveyMax: 5 }));
  useActions({ create: create_ });
  return (
    <>
      <div className="row"><span className="grow t3">{t("groups.hint")}</span><Button icon={<Icon name="plus" size={14} />} onClick={create_}>{t("groups.new")} <Kbd chord={keys.chord("create")} /></Button></div>
      <Data query={list}>{(d) => d.groups.length === 0 ? <Empty title={t("groups.none")} /> : (
        <div className="card"><table className="table"><thead><tr><th>{t("name")}</th><th>{t("groups.method")}</th><th>{t("groups.hours")}</th><th className="num">{t("groups.online")}</th><th className="num">{t("groups.waiting")}</th></tr></thead>
          <tbody>{d.groups.map((g) => <tr key={g.id}><td><button type="button" className="link" onClick={() => setOpen(g)}>{g.name || g.id}</button> <span className="t12 t3 mono">{g.id}</span></td><td>{t(`routing.${g.method}` as Key)}</td><td><Tag tone={g.openNow ? "green" : "amber"}>{g.openNow ? t("groups.open") : t("groups.closed")}</Tag></td><td className="num">{number(g.agentsOnline)}</td><td className="num">{number(g.waiting)}</td></tr>)}</tbody></table></div>
      )}</Data>
      {open && <GroupDrawer key={open.id} group={open} others={(list.data?.groups ?? []).filter((g) => g.id !== open.id)} onClose={() => setOpen(undefined)} />}
    </>
  );
}

const textKinds = [AutoTextKind.WELCOME, AutoTextKind.WAITING, AutoTextKind.ASSIGNED, AutoTextKind.BUSY, AutoTextKind.NO_AGENT, AutoTextKind.OFF_HOURS, AutoTextKind.IDLE_WARNING, AutoTextKind.CLOSED, AutoTextKind.SURVEY, AutoTextKind.SURVEY_THANKS];
const weekdays = [1, 2, 3, 4, 5, 6, 7];

function GroupDrawer({ group, others, onClose }: { group: Group; others: Group[]; onClose(): void }) {
  const { t, locale } = useI18n();
  const { agents } = useClients();
  const { user } = useMe();
  const cache = useQueryClient();
  const fail = useFailure();
  const [g, set] = useState(group);
  const defaults = useQuery({ queryKey: ["default-texts"], queryFn: () => agents.getDefaultTexts({}), staleTime: Infinity });
  const done = async () => { await cache.invalidateQueries({ queryKey: ["groups"] }); onClose(); };
  const save = useMutation({ mutationFn: () => agents.putGroup({ group: g, actor: user }), onSuccess: done, onError: fail });
  const remove = useMutation({ mutationFn: () => agents.deleteGroup({ id: g.id, actor: user }), onSuccess: done, onError: fail });
  const edit = (part: Partial<Group>) => set({ ...g, ...part });
  const textOf = (kind: AutoTextKind): AutoText => g.texts.find((x) => x.kind === kind) ?? defaults.data?.texts.find((x) => x.kind === kind) ?? create(AutoTextSchema, { kind });
  const setText = (kind: AutoTextKind, part: Partial<AutoText>) => edit({ texts: [...g.texts.filter((x) => x.kind !== kind), { ...textOf(kind), ...part }] });
  const hours = g.hours ?? create(WorkingHoursSchema, { timeZone: zone() });
  const always = hours.week.length === 0 && hours.holidays.length === 0;
  const number = (label: string, value: number, key: keyof Group, placeholder: number, min = -1) => <label className="col g4 t12 t2">{label}<InputNumber value={value || null} min={min} placeholder={String(placeholder)} onChange={(v) => edit({ [key]: v ?? 0 })} /></label>;
  return (
    <Drawer open size={680} title={group.id ? g.name || g.id : t("groups.new")} onClose={onClose} footer={<div className="row">{group.id && <Popconfirm title={t("groups.delete.ask")} okText={t("act.delete")} cancelText={t("act.cancel")} onConfirm={() => remove.mutate()}><Button danger>{t("act.delete")}</Button></Popconfirm>}<span className="grow" /><Button onClick={onClose}>{t("act.cancel")}</Button><Button type="primary" loading={save.isPending} disabled={!g.id} onClick={() => save.mutate()}>{t("act.save")}</Button></div>}>
      <div className="col g16">
        <div className="grid-2">
          <label className="col g4 t12 t2">{t("groups.id")}<Input className="mono" value={g.id} disabled={Boolean(group.id)} onChange={(e) => edit({ id: e.target.value.trim() })} /></label>
          <label className="col g4 t12 t2">{t("name")}<Input value={g.name} onChange={(e) => edit({ name: e.target.value })} /></label>
          <label className="col g4 t12 t2">{t("groups.method")}<Select value={g.method || RoutingMethod.LEAST_LOAD} onChange={(method) => edit({ method })} options={[1, 2, 3, 4].map((value) => ({ value: value as RoutingMethod, label: t(`routing.${value}` as Key) }))} /></label>
          {number(t("groups.capacity"), g.capacity, "capacity", 5)}
          {number(t("groups.offerTimeout"), g.offerTimeoutS, "offerTimeoutS", 30)}
          {number(t("groups.queueTimeout"), g.queueTimeoutS, "queueTimeoutS", 600)}
          <label className="col g4 t12 t2">{t("groups.queueAction")}<Select value={g.queueAction || QueueAction.LEAVE_MESSAGE} onChange={(queueAction) => edit({ queueAction })} options={[1, 2, 3].map((value) => ({ value: value as QueueAction, label: t(`queueAction.${value}` as Key) }))} /></label>
          <label className="col g4 t12 t2">{t("groups.forward")}<Select allowClear value={g.forwardGroup || undefined} onChange={(v) => edit({ forwardGroup: v ?? "" })} options={others.map((o) => ({ value: o.id, label: o.name || o.id }))} /></label>
          {number(t("groups.idleTimeout"), g.idleTimeoutS, "idleTimeoutS", 1800)}
          {number(t("groups.idleWarning"), g.idleWarningS, "idleWarningS", 300)}
          <label className="col g4 t12 t2">{t("groups.offlineAction")}<Select value={g.offlineAction || OfflineAction.REQUEUE} onChange={(offlineAction) => edit({ offlineAction })} options={[1, 2, 3].map((value) => ({ value: value as OfflineAction, label: t(`offlineAction.${value}` as Key) }))} /></label>
          <label className="col g4 t12 t2">{t("groups.skills")}<Select mode="tags" open={false} value={g.skills} onChange={(skills) => edit({ skills })} /></label>
          {number(t("groups.firstResponse"), g.firstResponseS, "firstResponseS", 0, 0)}
          {number(t("groups.nextResponse"), g.nextResponseS, "nextResponseS", 0, 0)}
          {number(t("groups.closeWithin"), g.closeS, "closeS", 0, 0)}
          <label className="row">{t("groups.survey")}<Switch checked={g.survey} onChange={(survey) => edit({ survey })} aria-label={t("groups.survey")} /></label>
        </div>
        <section className="col"><h3 className="m">{t("groups.hours")}</h3>
          <label className="row"><Switch checked={always} onChange={(v) => edit({ hours: { ...hours, holidays: [], week: v ? [] : weekdays.slice(0, 5).map((weekday) => create(WeekIntervalSchema, { weekday, from: "09:00", to: "18:00" })) } })} aria-label={t("groups.always")} />{t("groups.always")}</label>
          {!always && <label className="row t12 t2">{t("groups.zone")}<Select size="small" showSearch style={{ minWidth: 220 }} value={hours.timeZone || "Asia/Shanghai"} onChange={(timeZone) => edit({ hours: { ...hours, timeZone } })} options={zones(hours.timeZone).map((value) => ({ value, label: value }))} aria-label={t("groups.zone")} /></label>}
          {!always && weekdays.map((d) => {
            const i = hours.week.find((w) => w.weekday === d);
            const put = (part: { from?: string; to?: string } | undefined) => {
              const changed = part && create(WeekIntervalSchema, { weekday: d, from: i?.from ?? "09:00", to: i?.to ?? "18:00", ...part });
              // Further hours of the day, which only the API can set, stay as they are.
              const edited = i ? hours.week.map((w) => (w === i && changed ? changed : w)) : [...hours.week, ...(changed ? [changed] : [])].toSorted((x, y) => x.weekday - y.weekday);
              edit({ hours: { ...hours, week: changed ? edited : hours.week.filter((w) => w.weekday !== d) } });
            };
            return <div key={d} className="row"><Switch size="small" checked={Boolean(i)} onChange={(v) => put(v ? {} : undefined)} aria-label={t(`weekday.${d}` as Key)} /><span style={{ width: 56 }}>{t(`weekday.${d}` as Key)}</span>{i && <><Input size="small" style={{ width: 80 }} value={i.from} aria-label={t("groups.from")} onChange={(e) => put({ from: e.target.value })} />–<Input size="small" style={{ width: 80 }} value={i.to} aria-label={t("groups.to")} onChange={(e) => put({ to: e.target.value })} /></>}</div>;
          })}
          {!always && <><h4 className="m t12">{t("groups.holidays")}</h4><Holidays days={hours.holidays} onChange={(holidays) => edit({ hours: { ...hours, holidays } })} /></>}
        </section>
        <section className="col"><h3 className="m">{t("groups.texts")}</h3>
          {textKinds.map((kind) => {
            const x = textOf(kind);
            const usual = defaults.data?.texts.find((d) => d.kind === kind);
            const name = t(`autoText.${kind}` as Key);
            return (
              <div key={kind} className="col g4"><label className="row"><Switch size="small" checked={x.enabled} onChange={(enabled) => setText(kind, { enabled })} aria-label={name} />{name}</label>
                {x.enabled && <><Input.TextArea rows={1} maxLength={600} value={x.zh} placeholder={usual?.zh} aria-label={`${name} 中文`} onChange={(e) => setText(kind, { zh: e.target.value })} /><Input.TextArea rows={1} maxLength={600} value={x.en} placeholder={usual?.en} aria-label={`${name} English`} onChange={(e) => setText(kind, { en: e.target.value })} lang={locale} /></>}</div>
            );
          })}
        </section>
      </div>
    </Drawer>
  );
}

// zones are those that the browser knows, and the one that is set.
const zones = (set: string): string[] => [...new Set([...(set ? [set] : []), zone(), "Asia/Shanghai", "UTC", ...Intl.supportedValuesOf("timeZone")])];
