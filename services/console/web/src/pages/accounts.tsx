import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { App, Button, Input, Modal, Select, Switch } from "antd";
import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { useState } from "react";
import { useNavigate, useParams, Route, Routes } from "react-router";
import { AccountSource, type Account } from "../gen/wxbus/token/v1/account_pb";
import { AccountService, DoctorStatus, type DoctorCheck, type GetTokenStatusResponse, type LocalText } from "../gen/wxbus/token/v1/account_service_pb";
import { SenderService, type EndpointStatus, type GetSendingStatusResponse } from "../gen/wxbus/sender/v1/sender_service_pb";
import { useI18n } from "../i18n";
import { keyed } from "../i18n/said";
import type { Key } from "../i18n/words";
import { useActions, useKeys } from "../keys/keys";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { useSecond } from "../ui/clock";
import { clockText } from "../ui/duration";
import { Icon } from "../ui/icon";
import { Dot, Empty, Facts, Kbd, Monogram, Skeleton, Tag } from "../ui/parts";
import { Data, useFailure } from "./data";

const ms = (t: Timestamp | undefined) => (t ? timestampMs(t) : 0);

export default function Accounts() {
  return <Routes><Route path=":account?" element={<Page />} /></Routes>;
}

function Page() {
  const { t } = useI18n();
  const { account } = useParams();
  const { accounts } = useClients();
  const { can } = useMe();
  const keys = useKeys();
  const go = useNavigate();
  const [creating, setCreating] = useState(false);
  const list = useQuery({ queryKey: ["accounts"], queryFn: () => accounts.listAccounts({ pageSize: 1000 }) });
  const may = can(AccountService.method.createAccount);
  useActions({ create: may ? () => setCreating(true) : undefined });
  const all = list.data?.accounts ?? [];
  const open = all.find((a) => a.settings?.name === account) ?? all[0];
  return (
    <main className="page">
      <header className="page-head"><h1>{t("nav.accounts")}</h1><span className="t12 t3 grow">{t("accounts.count", { count: all.length })}</span>{may && <Button size="small" icon={<Icon name="plus" size={14} />} onClick={() => setCreating(true)}>{t("accounts.new")} <Kbd chord={keys.chord("create")} /></Button>}</header>
      <div className="camp">
        <section className="pane" aria-label={t("nav.accounts")} data-zone tabIndex={-1}>
          <Data query={list}>{() => all.length === 0 ? <Empty title={t("accounts.none")} /> : all.map((a) => (
            <button key={a.settings?.name} type="button" className={`plain camp-row ${a === open ? "open" : ""}`} onClick={() => void go(`/accounts/${a.settings?.name}`)}>
              <span className="row"><Monogram account={a.settings?.name ?? ""} size={24} /><b className="cut grow">{a.settings?.name}</b>{a.disabled && <Tag tone="red">{t("accounts.disabled")}</Tag>}</span>
              <span className="t12 t3 mono">{a.settings?.appid}</span>
            </button>
          ))}</Data>
        </section>
        <section className="pane" style={{ background: "var(--app)" }} aria-label={t("account")}>{open && <Cockpit key={open.settings?.name} a={open} />}</section>
      </div>
      {creating && <CreateAccount onClose={() => setCreating(false)} />}
    </main>
  );
}

// Cockpit shows one account: whether WeChat and we agree, who refreshes its token, what is left of its quotas.
function Cockpit({ a }: { a: Account }) {
  const { t, number, dateTime } = useI18n();
  const { accounts, sender } = useClients();
  const { can } = useMe();
  const keys = useKeys();
  const fail = useFailure();
  const cache = useQueryClient();
  const { modal } = App.useApp();
  const name = a.settings?.name ?? "";
  const now = useSecond();
  const token = useQuery({ queryKey: ["token-status", name], queryFn: () => accounts.getTokenStatus({ account: name }), enabled: can(AccountService.method.getTokenStatus), refetchInterval: 30_000 });
  const sending = useQuery({ queryKey: ["sending", name], queryFn: () => sender.getSendingStatus({ account: name }), enabled: can(SenderService.method.getSendingStatus), refetchInterval: 15_000 });
  const doctor = useMutation({ mutationFn: () => accounts.doctorAccount({ account: name }), onSuccess: () => cache.invalidateQueries({ queryKey: ["token-status", name] }), onError: fail });
  const flip = useMutation({ mutationFn: async (): Promise<unknown> => (a.disabled ? accounts.enableAccount({ account: name, expectedRevision: a.revision }) : accounts.disableAccount({ account: name, reason: "", expectedRevision: a.revision })), onSuccess: () => cache.invalidateQueries({ queryKey: ["accounts"] }), onError: fail });
  useActions({ doctor: () => doctor.mutate() });
  const st = token.data?.token;
  const expires = ms(st?.expiresAt);
  const editable = a.source === AccountSource.API && can(AccountService.method.disableAccount);
  return (
    <div className="page-body">
      <div className="row">
        <Monogram account={name} size={32} /><h2 className="t20">{name}</h2><span className="mono t3">{a.settings?.appid}</span><Tag>{a.source === AccountSource.FILE ? t("accounts.fromFile") : t("accounts.fromApi")}</Tag><span className="grow" />
        {editable && <Button size="small" danger={!a.disabled} onClick={() => modal.confirm({ title: a.disabled ? t("accounts.enable.ask", { name }) : t("accounts.disable.ask", { name }), okText: a.disabled ? t("accounts.enable") : t("accounts.disable"), cancelText: t("act.cancel"), onOk: () => flip.mutateAsync() })}>{a.disabled ? t("accounts.enable") : t("accounts.disable")}</Button>}
        {editable && <Rotate a={a} />}
        {can(AccountService.method.doctorAccount) && <Button type="primary" size="small" loading={doctor.isPending} onClick={() => doctor.mutate()} data-testid="doctor">{t("accounts.doctor")} <Kbd chord={keys.chord("doctor")} /></Button>}
      </div>
      {token.data?.outsideAlarm && token.data.outside[0] && (
        <div className="banner red" role="alert"><Icon name="alert" />{t("accounts.outside", { generation: number(token.data.outside[0].generation) })}<span className="grow t12">{t("accounts.outside.evidence", { time: dateTime(ms(token.data.outside[0].diedAt)), code: token.data.outside[0].errcode })}</span></div>
      )}
      <Strip now={now} token={token.data} sending={sending.data} />
      {doctor.data && <Checks checks={doctor.data.checks} />}
      <div className="two">
        <div className="card"><header><h3>{t("accounts.token")}</h3>{st?.refreshing && <Tag tone="blue">{t("accounts.refreshing")}</Tag>}</header><div className="body">
          {st && token.data ? <Facts rows={[
            [t("accounts.generation"), st.generation > 0n ? number(st.generation) : t("accounts.never")], [t("accounts.expires"), expires > now ? clockText(expires - now) : st.generation > 0n ? t("accounts.expired") : t("none")], [t("accounts.fetched"), st.fetchedAt ? dateTime(ms(st.fetchedAt)) : t("none")],
            [t("accounts.today"), number(st.refreshesToday)], [t("accounts.forced"), `${token.data.forcedLeft}/${token.data.forcedLimit}`], [t("accounts.outsideCount"), number(token.data.outsideRefreshes)], ...(st.lastError ? [[t("accounts.lastError"), st.lastError] as const] : []),
          ]} /> : token.error ? <p className="t3">{t("unknown")}</p> : <Skeleton lines={4} />}
        </div></div>
        <div className="card"><header><h3>{t("accounts.settings")}</h3></header><div className="body"><Facts rows={[
          [t("accounts.kind"), t(`accountKind.${a.settings?.kind ?? 0}` as Key)], [t("accounts.reply"), t(`replyMode.${a.settings?.reply ?? 0}` as Key)], [t("accounts.mode"), t(`pushMode.${a.settings?.mode ?? 0}` as Key)], [t("accounts.originalId"), a.settings?.originalId || t("none")],
          ["Token", a.token?.set ? a.token.fingerprint : t("none")], ["EncodingAESKey", a.encodingAesKey?.set ? a.encodingAesKey.fingerprint : t("none")], ["AppSecret", a.appSecret?.set ? a.appSecret.fingerprint : t("none")],
          ...(a.previousUntil ? [[t("accounts.overlap"), dateTime(ms(a.previousUntil))] as const] : []),
        ]} /></div></div>
      </div>
      {sending.data && <Quotas endpoints={sending.data.endpoints} now={now} />}
    </div>
  );
}

// Strip is the account at a glance: the token, what is left of today's calls, and what stands still.
function Strip({ now, token, sending }: { now: number; token: GetTokenStatusResponse | undefined; sending: GetSendingStatusResponse | undefined }) {
  const { t, number } = useI18n();
  const st = token?.token;
  const left = ms(st?.expiresAt) - now;
  const busiest = (sending?.endpoints ?? []).filter((e) => e.limit > 0n).toSorted((x, y) => Number(y.used) / Number(y.limit) - Number(x.used) / Number(x.limit))[0];
  const stopped = (sending?.endpoints ?? []).filter((e) => stopOf(e, now)).length;
  return (
    <div className="kpis card">
      <Figure label={t("accounts.token")} tone={token?.outsideAlarm ? "red" : left > 0 || !st?.generation ? "green" : "amber"} value={st?.generation ? t("accounts.nth", { n: number(st.generation) }) : t("accounts.never")} note={left > 0 ? t("accounts.left", { time: clockText(left) }) : ""} />
      <Figure label={t("accounts.forced")} tone={token && token.forcedLeft < token.forcedLimit / 4 ? "amber" : "green"} value={token ? number(token.forcedLeft) : "—"} note={token ? `/ ${number(token.forcedLimit)}` : ""} />
      <Figure label={t("accounts.busiest")} tone={busiest && Number(busiest.used) > 0.8 * Number(busiest.limit) ? "amber" : "green"} value={busiest ? `${Math.round((Number(busiest.used) / Number(busiest.limit)) * 100)}%` : "—"} note={busiest ? keyed("api", apiName(busiest.path), t) : ""} />
      <Figure label={t("accounts.stopped")} tone={stopped > 0 ? "amber" : "green"} value={sending ? number(stopped) : "—"} note={sending ? `/ ${number(sending.endpoints.length)}` : ""} />
    </div>
  );
}

function Figure({ label, value, note, tone }: { label: string; value: string; note: string; tone: "green" | "amber" | "red" }) {
  return <div><div className="row t12 t3"><span className="grow">{label}</span><Dot tone={tone} /></div><div className={`figure ${tone === "green" ? "" : tone}`}>{value} <small>{note}</small></div></div>;
}

const worst = { [DoctorStatus.FAIL]: 0, [DoctorStatus.WARN]: 1, [DoctorStatus.SKIPPED]: 2, [DoctorStatus.UNSPECIFIED]: 2, [DoctorStatus.OK]: 3 } as const;

// Checks puts what needs a hand above what is well, each with its fix.
function Checks({ checks }: { checks: readonly DoctorCheck[] }) {
  const { t, locale } = useI18n();
  const words = (text: LocalText | undefined) => (locale === "en" ? text?.en : text?.zh);
  const well = checks.filter((c) => c.status === DoctorStatus.OK).length;
  return (
    <div className="card" data-testid="doctor-result"><header><h3>{t("accounts.doctor")}</h3><span className="t12 t3">{t("accounts.checked", { count: checks.length, well })}</span></header>
      {checks.toSorted((x, y) => worst[x.status] - worst[y.status]).map((c) => (
        <div key={c.name} className={`doctor-row ${c.status === DoctorStatus.FAIL ? "fail" : c.status === DoctorStatus.WARN ? "warn" : ""}`} title={c.name}>
          {c.status === DoctorStatus.OK ? <Icon name="check" size={14} /> : c.status === DoctorStatus.SKIPPED ? <Dot tone="off" /> : <Icon name="alert" size={14} />}
          <b>{keyed("check", c.name.replace(/^(push_signature)_.*/, "$1"), t)}</b><span>{words(c.evidence)}{c.advice && <div className="fix">{words(c.advice)}</div>}</span>
          <span className="t12 t3 nowrap">{c.errcode !== 0 && <span className="mono">{c.errcode} · </span>}{t(`doctor.status.${c.status}` as Key)}</span>
        </div>
      ))}
    </div>
  );
}

const apiName = (path: string) => path.replace(/^\/cgi-bin\//, "").replaceAll("/", ".");

// stopOf says why an API is not called now; empty when it is.
function stopOf(e: EndpointStatus, now: number): string {
  if (Number(e.pausedUntilUnixMs) > now) return "paused";
  return e.breaker && e.breaker !== "closed" ? "broken" : "";
}

function Quotas({ endpoints, now }: { endpoints: readonly EndpointStatus[]; now: number }) {
  const { t, number, time } = useI18n();
  return (
    <div className="card"><header><h3>{t("accounts.quotas")}</h3><span className="t12 t3">{t("accounts.quotas.day")}</span></header>
      <table className="table">
        <thead><tr><th>{t("accounts.api")}</th><th>{t("accounts.share")}</th><th className="num">{t("accounts.used")}</th><th className="num">{t("accounts.limit")}</th><th className="num">{t("accounts.rate")}</th><th>{t("state")}</th></tr></thead>
        <tbody>{endpoints.map((e) => {
          const share = e.limit > 0n ? Math.min(1, Number(e.used) / Number(e.limit)) : 0;
          const stop = stopOf(e, now);
          return (
            <tr key={e.path}>
              <td><div className="m">{keyed("api", apiName(e.path), t, e.path)}</div><div className="mono t3">{e.path.replace(/^\/cgi-bin\//, "")}</div></td>
              <td><div className="meter" aria-hidden="true"><i className={share > 0.8 ? "high" : ""} style={{ width: `${share * 100}%` }} /></div></td>
              <td className="num">{number(e.used)}</td><td className="num">{e.limit > 0n ? number(e.limit) : t("none")}</td><td className="num">{e.rate.toFixed(1)}/s</td>
              <td>{stop === "paused" ? <Tag tone="amber">{t("accounts.paused", { time: clockText(Number(e.pausedUntilUnixMs) - now), reason: e.pauseReason || e.pauseErrcode })}</Tag> : e.exhaustedUnixMs > 0n ? <Tag tone="amber">{t("accounts.exhausted", { time: time(Number(e.exhaustedUnixMs)) })}</Tag> : stop ? <Tag tone="red">{t("accounts.broken")}</Tag> : <span className="row g4 t3"><Dot tone="green" />{t("accounts.runs")}</span>}</td>
            </tr>
          );
        })}</tbody>
      </table>
    </div>
  );
}

function Rotate({ a }: { a: Account }) {
  const { t } = useI18n();
  const { accounts } = useClients();
  const cache = useQueryClient();
  const fail = useFailure();
  const [open, setOpen] = useState(false);
  const [token, setToken] = useState("");
  const [aes, setAes] = useState("");
  const rotate = useMutation({
    mutationFn: () => accounts.rotateCallbackKeys({ account: a.settings?.name ?? "", token, encodingAesKey: aes, expectedRevision: a.revision }),
    onSuccess: async () => { setOpen(false); setToken(""); setAes(""); await cache.invalidateQueries({ queryKey: ["accounts"] }); }, onError: fail,
  });
  return (
    <>
      <Button size="small" onClick={() => setOpen(true)}>{t("accounts.rotate")}</Button>
      <Modal open={open} onCancel={() => setOpen(false)} title={t("accounts.rotate")} okText={t("accounts.rotate")} cancelText={t("act.cancel")} okButtonProps={{ disabled: !token && !aes, loading: rotate.isPending }} onOk={() => rotate.mutate()}>
        <div className="col"><p className="t2">{t("accounts.rotate.text")}</p>
          <label className="col g4 t12 t2">Token<Input.Password autoComplete="off" value={token} onChange={(e) => setToken(e.target.value)} /></label>
          <label className="col g4 t12 t2">EncodingAESKey<Input.Password autoComplete="off" value={aes} onChange={(e) => setAes(e.target.value)} /></label></div>
      </Modal>
    </>
  );
}

function CreateAccount({ onClose }: { onClose(): void }) {
  const { t } = useI18n();
  const { accounts } = useClients();
  const cache = useQueryClient();
  const fail = useFailure();
  const go = useNavigate();
  const [v, set] = useState({ name: "", appid: "", originalId: "", token: "", aes: "", secret: "", kind: 1, reply: 0, disabled: false });
  const make = useMutation({
    mutationFn: () => accounts.createAccount({ settings: { name: v.name, appid: v.appid, originalId: v.originalId, kind: v.kind, reply: v.reply }, secrets: { token: v.token, encodingAesKey: v.aes, appSecret: v.secret }, disabled: v.disabled }),
    onSuccess: async (res) => { await cache.invalidateQueries({ queryKey: ["accounts"] }); onClose(); void go(`/accounts/${res.account?.settings?.name ?? ""}`); }, onError: fail,
  });
  const fields = [["name", t("name"), false], ["appid", "AppID", false], ["originalId", t("accounts.originalId"), false], ["token", "Token", true], ["aes", "EncodingAESKey", true], ["secret", "AppSecret", true]] as const;
  return (
    <Modal open onCancel={onClose} title={t("accounts.new")} okText={t("act.create")} cancelText={t("act.cancel")} okButtonProps={{ disabled: !v.name || !v.appid, loading: make.isPending }} onOk={() => make.mutate()}>
      <div className="col">
        {fields.map(([key, label, secret]) => <label key={key} className="col g4 t12 t2">{label}{secret ? <Input.Password autoComplete="off" value={v[key]} onChange={(e) => set({ ...v, [key]: e.target.value })} /> : <Input value={v[key]} onChange={(e) => set({ ...v, [key]: e.target.value.trim() })} />}</label>)}
        <label className="col g4 t12 t2">{t("accounts.kind")}<Select value={v.kind} onChange={(kind) => set({ ...v, kind })} options={[1, 2, 3].map((value) => ({ value, label: t(`accountKind.${value}` as Key) }))} /></label>
        <label className="col g4 t12 t2">{t("accounts.reply")}<Select value={v.reply} onChange={(reply) => set({ ...v, reply })} options={[0, 1, 2, 3].map((value) => ({ value, label: t(`replyMode.${value}` as Key) }))} /></label>
        <label className="row">{t("accounts.startDisabled")}<Switch checked={v.disabled} onChange={(disabled) => set({ ...v, disabled })} aria-label={t("accounts.startDisabled")} /></label>
      </div>
    </Modal>
  );
}
