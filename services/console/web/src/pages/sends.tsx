import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Input, InputNumber, Modal, Select } from "antd";
import { useEffect, useState } from "react";
import { NavLink, Route, Routes, useNavigate, useParams, useSearchParams } from "react-router";
import { create } from "@bufbuild/protobuf";
import { CampaignState, type CampaignRecord } from "../gen/wxbus/sender/v1/campaign_events_pb";
import { CampaignService } from "../gen/wxbus/sender/v1/campaign_service_pb";
import { SenderService } from "../gen/wxbus/sender/v1/sender_service_pb";
import { ContentSchema, type Content } from "../gen/wxbus/event/v1/content_pb";
import { DeadLetterService } from "../gen/wxbus/console/v1/dead_letter_service_pb";
import { useI18n } from "../i18n";
import { keyed } from "../i18n/said";
import type { Key } from "../i18n/words";
import { useActions, useKeys } from "../keys/keys";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { useAccounts } from "../shell/accounts";
import { Icon } from "../ui/icon";
import { Empty, Facts, Kbd, Monogram, Skeleton, Tag } from "../ui/parts";
import { zone } from "../ui/zone";
import { textContent } from "../desk/content";
import { Data, save, useFailure } from "./data";
import { DeadLetters } from "./dead-letters";
import { CampaignList, stateTone } from "./sends/list";
import { Failures, Progress, Speed } from "./sends/progress";

// Sends is everything that goes out without a conversation: campaigns, single messages, and what could not be handled.
export default function Sends() {
  const { t } = useI18n();
  const { can } = useMe();
  return (
    <main className="page">
      <header className="page-head">
        <h1>{t("nav.sends")}</h1>
        <nav className="tabs inline" aria-label={t("nav.sends")}>
          <NavLink to="/sends" end>{t("sends.campaigns")}</NavLink>
          <NavLink to="/sends/one">{t("sends.one")}</NavLink>
          {can(DeadLetterService.method.listDeadLetters) && <NavLink to="/sends/dead">{t("sends.dead")}</NavLink>}
        </nav>
      </header>
      <Routes>
        <Route path="one" element={<SendOne />} />
        <Route path="dead" element={<DeadLetters />} />
        <Route path=":account?/:id?" element={<Campaigns />} />
      </Routes>
    </main>
  );
}

function Campaigns() {
  const { t } = useI18n();
  const { account, id } = useParams();
  const { campaigns } = useClients();
  const { can } = useMe();
  const keys = useKeys();
  const go = useNavigate();
  const [creating, setCreating] = useState(false);
  const list = useQuery({ queryKey: ["campaigns"], queryFn: () => campaigns.listCampaigns({ pageSize: 100 }), refetchInterval: 10_000 });
  const may = can(CampaignService.method.createCampaign);
  useActions({ create: may ? () => setCreating(true) : undefined });
  const all = list.data?.campaigns ?? [];
  return (
    <div className="camp">
      <section className="pane" aria-label={t("sends.campaigns")} data-zone tabIndex={-1}>
        {may && <div style={{ padding: "12px 16px" }}><Button block icon={<Icon name="plus" size={14} />} onClick={() => setCreating(true)}>{t("campaign.new")} <Kbd chord={keys.chord("create")} /></Button></div>}
        <div style={{ overflow: "auto" }}>
          <Data query={list}>{() => all.length === 0 ? <Empty title={t("campaign.none")} text={t("campaign.none.text")} /> : <CampaignList all={all} account={account} id={id} onOpen={(c) => void go(`/sends/${c.account}/${c.id}`)} />}</Data>
        </div>
      </section>
      <section className="pane" style={{ background: "var(--app)" }} aria-label={t("campaign.one")}>{account && id ? <Campaign key={`${account}/${id}`} account={account} id={id} /> : <Empty title={t("campaign.pick")} />}</section>
      {creating && <CreateCampaign onClose={() => setCreating(false)} onDone={(c) => { setCreating(false); void list.refetch(); void go(`/sends/${c.account}/${c.id}`); }} />}
    </div>
  );
}

// CreateCampaign makes a campaign of a text or of a template. What stands in braces is filled in for each recipient.
function CreateCampaign({ onClose, onDone }: { onClose(): void; onDone(c: CampaignRecord): void }) {
  const { t } = useI18n();
  const { campaigns } = useClients();
  const { user } = useMe();
  const accounts = useAccounts();
  const fail = useFailure();
  const [account, setAccount] = useState(accounts[0] ?? "");
  const [name, setName] = useState("");
  const [kind, setKind] = useState<"text" | "template">("text");
  const [text, setText] = useState("");
  const [template, setTemplate] = useState<TemplateChoice>(noTemplate);
  const content = kind === "text" ? textContent(text) : templateContent(template);
  const ready = account && name && (kind === "text" ? text.trim() : template.id);
  const make = useMutation({ mutationFn: () => campaigns.createCampaign({ account, name, actor: user, message: { content } }), onSuccess: (res) => res.campaign && onDone(res.campaign), onError: fail });
  return (
    <Modal open onCancel={onClose} title={t("campaign.new")} okText={t("act.create")} cancelText={t("act.cancel")} okButtonProps={{ disabled: !ready, loading: make.isPending }} onOk={() => make.mutate()}>
      <div className="col">
        <label className="col g4 t12 t2">{t("account")}<Select value={account} onChange={(v) => { setAccount(v); setTemplate(noTemplate); }} options={accounts.map((a) => ({ value: a, label: a }))} /></label>
        <label className="col g4 t12 t2">{t("name")}<Input value={name} maxLength={100} onChange={(e) => setName(e.target.value)} /></label>
        <label className="col g4 t12 t2">{t("one.kind")}<Select value={kind} onChange={setKind} options={[{ value: "text", label: t("block.text") }, { value: "template", label: t("one.template") }]} /></label>
        {kind === "text" ? <label className="col g4 t12 t2">{t("campaign.text")}<Input.TextArea rows={4} value={text} onChange={(e) => setText(e.target.value)} placeholder={t("campaign.text.hint")} /></label>
          : <TemplateFields account={account} value={template} onChange={setTemplate} />}
      </div>
    </Modal>
  );
}

interface TemplateChoice {
  id: string;
  fields: readonly string[];
  values: Record<string, string>;
}

const noTemplate: TemplateChoice = { id: "", fields: [], values: {} };
const templateContent = (c: TemplateChoice) => create(ContentSchema, { body: { case: "template", value: { templateId: c.id, data: Object.fromEntries(c.fields.map((f) => [f, { value: c.values[f] ?? "" }])) } } });

// TemplateFields chooses one of the templates that the account has, and fills its fields in.
function TemplateFields({ account, value, onChange }: { account: string; value: TemplateChoice; onChange(c: TemplateChoice): void }) {
  const { t } = useI18n();
  const { sender } = useClients();
  const templates = useQuery({ queryKey: ["templates", account], queryFn: () => sender.listTemplates({ account }), enabled: account !== "" });
  const all = templates.data?.templates ?? [];
  const chosen = all.find((x) => x.templateId === value.id);
  return (
    <>
      <label className="col g4 t12 t2">{t("one.template")}<Select loading={templates.isLoading} value={value.id || undefined} onChange={(id) => onChange({ id, fields: all.find((x) => x.templateId === id)?.fields ?? [], values: {} })} options={all.map((x) => ({ value: x.templateId, label: x.title || x.templateId }))} /></label>
      {chosen && <p className="code">{chosen.content}</p>}
      {value.fields.map((f) => <label key={f} className="col g4 t12 t2">{f}<Input value={value.values[f] ?? ""} onChange={(e) => onChange({ ...value, values: { ...value.values, [f]: e.target.value } })} /></label>)}
    </>
  );
}

// MessageText shows what a campaign says.
function MessageText({ content }: { content: Content | undefined }) {
  const { t } = useI18n();
  if (content?.body.case === "text") return <p className="words">{content.body.value.content}</p>;
  if (content?.body.case === "template") return <Facts rows={[[t("one.template"), <span key="id" className="mono">{content.body.value.templateId}</span>], ...Object.entries(content.body.value.data).map(([name, v]) => [name, v.value] as const)]} />;
  return <p>{t("block.other")}</p>;
}

// useCampaign follows a campaign while it is on the screen.
function useCampaign(account: string, id: string): [CampaignRecord | undefined, unknown] {
  const { campaigns } = useClients();
  const [record, setRecord] = useState<CampaignRecord>();
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    const stop = new AbortController();
    const follow = async () => {
      const first = await campaigns.getCampaign({ account, id });
      setRecord(first.campaign);
      for await (const r of campaigns.watchCampaign({ account, id }, { signal: stop.signal })) setRecord((old) => (r.campaign ? { ...r.campaign, message: r.campaign.message ?? old?.message, history: r.campaign.history.length > 0 ? r.campaign.history : old?.history ?? [] } : old));
    };
    follow().catch((err: unknown) => !stop.signal.aborted && setError(err));
    return () => stop.abort();
  }, [campaigns, account, id]);
  return [record, error];
}

function Campaign({ account, id }: { account: string; id: string }) {
  const { t, number, dateTime } = useI18n();
  const { campaigns } = useClients();
  const { user, can } = useMe();
  const cache = useQueryClient();
  const fail = useFailure();
  const [c, error] = useCampaign(account, id);
  const [fresh, setFresh] = useState<CampaignRecord>();
  const record = fresh && c && fresh.updatedUnixMs > c.updatedUnixMs ? fresh : c;
  const act = useMutation({
    mutationFn: async (f: () => Promise<{ campaign?: CampaignRecord | undefined }>) => f(),
    onSuccess: (res) => { setFresh(res.campaign); void cache.invalidateQueries({ queryKey: ["campaigns"] }); }, onError: fail,
  });
  const [audience, setAudience] = useState("");
  if (error && !record) return <Data query={{ data: undefined, error, refetch: () => undefined } as never}>{() => null}</Data>;
  if (!record) return <div className="page-body"><Skeleton /></div>;
  const p = record.progress;
  const may = can(CampaignService.method.startCampaign);
  const draft = record.state === CampaignState.DRAFT || record.state === CampaignState.COUNTED;
  const running = record.state === CampaignState.RUNNING || record.state === CampaignState.CANARY || record.state === CampaignState.SCHEDULED;
  const download = async () => {
    const parts: BlobPart[] = [];
    for await (const piece of campaigns.exportRecipients({ account, id })) parts.push(piece.data as Uint8Array<ArrayBuffer>);
    save(`${id}.csv`, "text/csv;charset=utf-8", parts);
  };
  return (
    <div className="page-body">
      <div className="row"><div className="grow"><h2 className="t20 cut">{record.name || record.id}</h2><p className="t12 t3 row g4"><Monogram account={account} size={16} />{account}{record.audience && ` · ${t("campaign.frozen", { count: number(record.audience.recipients), source: keyed("source", record.audience.source, t) })}`}{record.startedUnixMs > 0n && ` · ${t("campaign.started", { time: dateTime(Number(record.startedUnixMs)) })}`}</p></div><Tag tone={stateTone[record.state]}>{t(`campaign.state.${record.state}` as Key)}</Tag>
        {may && running && <Button size="small" onClick={() => act.mutate(() => campaigns.pauseCampaign({ account, id, actor: user }))}>{t("campaign.pause")}</Button>}
        {may && record.state === CampaignState.PAUSED && <Button size="small" type="primary" onClick={() => act.mutate(() => campaigns.resumeCampaign({ account, id, actor: user }))}>{t("campaign.resume")}</Button>}
        {may && (running || record.state === CampaignState.PAUSED) && <Button size="small" danger onClick={() => act.mutate(() => campaigns.cancelCampaign({ account, id, actor: user }))}>{t("campaign.cancel")}</Button>}
        {!draft && can(CampaignService.method.exportRecipients) && <Button size="small" onClick={() => void download().catch(fail)}>{t("act.download")}</Button>}
      </div>
      {p && <Progress record={record} />}
      {p && p.failures.length > 0 && <Failures record={record} onDone={setFresh} />}
      <Speed record={record} />
      {record.reason && <div className="banner amber"><Icon name="info" />{record.reason}</div>}
      <div className="card"><header><h3>{t("campaign.text")}</h3></header><div className="body"><MessageText content={record.message?.content} /></div></div>
      {draft && may && (
        <div className="card">
          <header><h3>{t("campaign.audience")}</h3></header>
          <div className="body col">
            <Input.TextArea rows={4} className="mono" value={audience} onChange={(e) => setAudience(e.target.value)} placeholder={t("campaign.audience.hint")} aria-label={t("campaign.audience")} />
            <div className="row">
              <Button size="small" disabled={!audience.trim()} loading={act.isPending} onClick={() => act.mutate(() => campaigns.setAudience({ account, id, source: audience.includes(",") || /^openid\b/.test(audience) ? { case: "csv", value: new TextEncoder().encode(audience) } : { case: "list", value: { openids: audience.split(/\s+/).filter(Boolean) } } }))}>{t("campaign.freeze")}</Button>
              {record.audience && <Button size="small" loading={act.isPending} onClick={() => act.mutate(() => campaigns.dryCount({ account, id }))}>{t("campaign.count")}</Button>}
            </div>
          </div>
        </div>
      )}
      {record.count && <Counted record={record} canStart={record.state === CampaignState.COUNTED && may} onStart={(canary, startAt) => act.mutate(() => campaigns.startCampaign({ account, id, actor: user, expectedRecipients: record.count?.recipients ?? 0, startAt, timeZone: zone(), canary: canary > 0 ? { size: { case: "percent", value: canary }, holdMs: 600_000n, confirm: true } : undefined, maxFailurePercent: 20 }))} />}
      {record.history.length > 0 && (
        <div className="card"><header><h3>{t("campaign.history")}</h3></header><table className="table"><tbody>{record.history.toReversed().map((h) => <tr key={`${h.atUnixMs}/${h.to}`}><td className="nowrap t3">{dateTime(Number(h.atUnixMs))}</td><td>{t(`campaign.state.${h.to}` as Key)}</td><td>{h.actor}</td><td className="t2">{h.reason}</td></tr>)}</tbody></table></div>
      )}
    </div>
  );
}

function Counted({ record, canStart, onStart }: { record: CampaignRecord; canStart: boolean; onStart(canary: number, startAt: string): void }) {
  const { t, number } = useI18n();
  const [canary, setCanary] = useState(5);
  const [startAt, setStartAt] = useState("");
  const c = record.count;
  useActions({ confirm: canStart ? () => onStart(canary, startAt) : undefined });
  if (!c) return null;
  return (
    <div className="card">
      <header><h3>{t("campaign.counted")}</h3></header>
      <div className="body col">
        <p className="hero" data-testid="will-get">{t("campaign.willGet", { count: number(c.reachable) })}</p>
        <Facts rows={[[t("campaign.recipients"), number(c.recipients)], ...c.unreachable.map((u) => [keyed("reach", u.reason, t, u.text || u.reason), `− ${number(u.recipients)}`] as const), [t("campaign.takes"), t("campaign.minutes", { minutes: Math.ceil(Number(c.durationMs) / 60_000), days: c.days })]]} />
        {c.warnings.map((w) => <div key={w} className="banner amber">{w}</div>)}
        {canStart && <div className="row"><span>{t("campaign.canary")}</span><InputNumber size="small" min={0} max={99} value={canary} onChange={(v) => setCanary(v ?? 0)} suffix="%" aria-label={t("campaign.canary")} /><label className="row g4">{t("campaign.startAt")}<Input size="small" type="datetime-local" style={{ width: 190 }} value={startAt} onChange={(e) => setStartAt(e.target.value)} title={t("reports.zone", { zone: zone() })} /></label><span className="grow" /><Button type="primary" onClick={() => onStart(canary, startAt)}>{t(startAt ? "campaign.schedule" : "campaign.start", { count: number(c.reachable) })} <Kbd chord="mod+enter" /></Button></div>}
      </div>
    </div>
  );
}

// SendOne sends one message to one fan: a text while the window is open, or a template.
function SendOne() {
  const { t, dateTime } = useI18n();
  const { sender } = useClients();
  const { can } = useMe();
  const accounts = useAccounts();
  const fail = useFailure();
  const [params] = useSearchParams();
  const [account, setAccount] = useState(params.get("account") ?? accounts[0] ?? "");
  const [openid, setOpenid] = useState(params.get("openid") ?? "");
  const [kind, setKind] = useState<"text" | "template">(params.get("openid") ? "template" : "text");
  const [text, setText] = useState("");
  const [template, setTemplate] = useState<TemplateChoice>(noTemplate);
  const [key, setKey] = useState(() => crypto.randomUUID());
  const acct = account || accounts[0] || "";
  const quota = useQuery({ queryKey: ["quota-one", acct, openid], queryFn: () => sender.getQuota({ account: acct, openid }), enabled: openid.length > 3 && acct !== "" });
  const content = () => kind === "text" ? textContent(text) : templateContent(template);
  const send = useMutation({
    mutationFn: () => sender.send({ account: acct, openid, idempotencyKey: key, content: content() }),
    onSuccess: () => setKey(crypto.randomUUID()), onError: fail,
  });
  const id = send.data?.id;
  const state = useQuery({ queryKey: ["send", acct, id], queryFn: () => sender.getSend({ account: acct, id: id ?? "" }), enabled: Boolean(id), refetchInterval: (q) => ((q.state.data?.record?.state ?? 1) <= 2 ? 1_000 : false) });
  const record = state.data?.record ?? send.data?.record;
  return (
    <div className="page-body"><div className="card narrow"><header><h2>{t("sends.one")}</h2></header>
      <div className="body col">
        <label className="col g4 t12 t2">{t("account")}<Select value={acct} onChange={(v) => { setAccount(v); setTemplate(noTemplate); }} options={accounts.map((a) => ({ value: a, label: a }))} /></label>
        <label className="col g4 t12 t2">openid<Input className="mono" value={openid} onChange={(e) => setOpenid(e.target.value.trim())} maxLength={128} /></label>
        {quota.data && <p className="t12 t3">{quota.data.remaining > 0 ? t("one.open", { left: quota.data.remaining, time: dateTime(Number(quota.data.deadlineUnixMs)) }) : t("one.closed", { reason: quota.data.reason })}</p>}
        <label className="col g4 t12 t2">{t("one.kind")}<Select value={kind} onChange={setKind} options={[{ value: "text", label: t("block.text") }, { value: "template", label: t("one.template") }]} /></label>
        {kind === "text" ? <label className="col g4 t12 t2">{t("block.text")}<Input.TextArea rows={4} value={text} onChange={(e) => setText(e.target.value)} /></label> : (
<TemplateFields account={acct} value={template} onChange={setTemplate} />
        )}
        <div className="row"><span className="grow">{record && <Tag tone={record.state === 3 ? "green" : record.state >= 4 && record.state !== 7 ? "red" : undefined}>{t(`send.state.${record.state}` as Key)} {record.reason} {record.errcode !== 0 && record.errcode}</Tag>}</span>
          <Button type="primary" disabled={!acct || !openid || !can(SenderService.method.send) || (kind === "text" ? !text.trim() : !template.id)} loading={send.isPending} onClick={() => send.mutate()}>{t("one.send")}</Button></div>
      </div>
    </div></div>
  );
}
