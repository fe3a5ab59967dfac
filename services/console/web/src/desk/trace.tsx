import { useQuery } from "@tanstack/react-query";
import { App, Button, Drawer, Spin } from "antd";
import { Link } from "react-router";
import { AuthorKind, MessageState, type Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import type { TimelineStep } from "../gen/wxbus/console/v1/trace_service_pb";
import { TimelineKind } from "../gen/wxbus/console/v1/trace_service_pb";
import { RuleService } from "../gen/wxbus/rule/v1/rule_service_pb";
import { useI18n, type Translate } from "../i18n";
import { keyed } from "../i18n/said";
import type { Key } from "../i18n/words";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { useMe } from "../session/session";
import { Icon, type IconName } from "../ui/icon";
import { Empty, Facts, Tag } from "../ui/parts";
import { useGroupNames } from "./names";

const icons: Record<number, IconName> = {
  [TimelineKind.RECEIVED]: "globe", [TimelineKind.STORED]: "box", [TimelineKind.DECIDED]: "rule", [TimelineKind.CLAIMED]: "globe", [TimelineKind.ACCEPTED]: "send", [TimelineKind.ATTEMPTED]: "wisp", [TimelineKind.SETTLED]: "check",
};

// Trace shows what happened to one message in every service, from stored facts.
export function Trace({ m, onClose }: { m: Message; onClose: () => void }) {
  const { t, instant } = useI18n();
  const { trace } = useClients();
  const { notification } = App.useApp();
  const request = m.sendId ? { account: m.account, sendId: m.sendId } : { account: m.account, openid: m.openid, eventId: m.eventId };
  const { data, error, isLoading } = useQuery({ queryKey: ["trace", m.account, m.sendId, m.eventId, m.state], queryFn: () => trace.getTimeline(request), enabled: Boolean(m.sendId || m.eventId) });
  const steps = data?.steps ?? [];
  const begin = Number(steps[0]?.atUnixMs ?? 0);
  const end = Math.max(begin + 1, ...steps.map((s) => Number(s.atUnixMs) + Number(s.tookUs) / 1000));
  const id = steps.find((s) => s.traceId)?.traceId || m.traceId;
  const copy = () => {
    const lines = steps.map((s) => [new Date(Number(s.atUnixMs)).toISOString(), s.service, s.outcome, s.detail, s.errcode || ""].join("\t"));
    void navigator.clipboard?.writeText(lines.join("\n")).then(() => notification.success({ title: t("act.copied") }));
  };
  return (
    <Drawer open onClose={onClose} size={720} title={<span className="row"><Icon name="path" size={20} />{t("trace.title")}<span className="t12 t3 cut" style={{ maxWidth: 300 }}>{m.text}</span></span>}
      extra={m.state === MessageState.ACCEPTED && <Tag tone="green"><Icon name="check" size={12} />{t("bubble.accepted")}</Tag>}
      footer={<div className="row"><span className="t12 t3 grow">{t("trace.privacy")}</span><Button size="small" onClick={copy} disabled={steps.length === 0}>{t("trace.copy")}</Button><Button size="small" onClick={onClose}>{t("act.close")}</Button></div>}>
      {isLoading && <Spin delay={200} />}
      {error && <Empty title={say(error, t).text} text={say(error, t).code} />}
      {!isLoading && !error && steps.length === 0 && <Empty title={t("trace.none")} />}
      {steps.length > 0 && (
        <div className="col g16" data-testid="trace">
          <div className="row g16">
            <div><div className="t12 t3">{t("trace.took")}</div><div className="t20">{round(end - begin)} ms</div></div>
            <div><div className="t12 t3">{t("trace.steps")}</div><div className="t20">{steps.length}</div></div>
            <span className="grow" />
            <div className="end"><div className="t12 t3">{t("trace.id")}</div><div className="mono" title={id}>{id ? short(id) : t("unknown")}{id && <button type="button" className="icon-button tiny" aria-label={t("act.copy")} onClick={() => void navigator.clipboard?.writeText(id)}><Icon name="copy" size={12} /></button>}</div></div>
          </div>
          {(data?.partial.length ?? 0) > 0 && <div className="banner amber">{t("trace.partial", { what: data?.partial.join(", ") ?? "" })}</div>}
          <div className="card" style={{ padding: "8px 16px 12px" }}><Axis span={end - begin} />{steps.map((s, i) => <Step key={keyOf(s, i)} s={s} begin={begin} end={end} />)}</div>
          {steps.filter((s) => s.kind === TimelineKind.DECIDED).map((s, i) => <Decided key={keyOf(s, i)} s={s} text={m.authorKind === AuthorKind.FAN ? m.text : ""} />)}
          <Sends steps={steps} />
          <details className="card">
            <summary className="row" style={{ padding: "8px 16px", cursor: "pointer" }}><b>{t("trace.all")}</b><span className="t3 t12 grow">{steps.length}</span></summary>
            <table className="table"><tbody>{steps.map((s, i) => <tr key={keyOf(s, i)}><td className="nowrap t3">{instant(Number(s.atUnixMs))}</td><td className="nowrap">{t(`trace.kind.${s.kind}` as Key)}</td><td>{s.service}</td><td className="mono">{s.stream && `${s.stream} ${s.streamSeq}`}</td><td className="mono cut" style={{ maxWidth: 160 }}>{s.id}</td></tr>)}</tbody></table>
          </details>
        </div>
      )}
    </Drawer>
  );
}

const keyOf = (s: TimelineStep, i: number) => `${s.stream}/${s.streamSeq}/${i}`;
const round = (ms: number) => (ms < 10 ? ms.toFixed(1) : String(Math.round(ms)));

// Axis stands above the lines of the waterfall: five parts of the whole span.
function Axis({ span }: { span: number }) {
  return <div className="waterfall axis" aria-hidden="true"><span /><span className="track">{[0, 0.2, 0.4, 0.6, 0.8].map((at) => <em key={at} style={{ left: `${at * 100}%` }}>{round(span * at)}</em>)}</span><span className="took">ms</span></div>;
}

function Step({ s, begin, end }: { s: TimelineStep; begin: number; end: number }) {
  const { t } = useI18n();
  const span = end - begin;
  const took = Number(s.tookUs) / 1000;
  const left = ((Number(s.atUnixMs) - begin) / span) * 100;
  const width = (took / span) * 100;
  return (
    <div className="waterfall">
      <span className="name"><Icon name={icons[s.kind] ?? "info"} size={14} />{t(`trace.kind.${s.kind}` as Key)}</span>
      <span className="track">
        <i className={s.errcode || s.outcome === "unknown" ? "bad" : ""} style={{ left: `${Math.min(99, left)}%`, width: `${Math.min(100 - left, width)}%` }} />
        <em style={left > 55 ? { right: `${Math.max(0, 100 - left) + 1}%` } : { left: `calc(${left + width}% + 8px)` }}>{stepText(s, t)}</em>
      </span>
      <span className="took">{took > 0 ? `${took.toFixed(1)} ms` : ""}</span>
    </div>
  );
}

// stepText says what happened in a step, in the reader's language.
export function stepText(s: Pick<TimelineStep, "kind" | "outcome" | "detail" | "errcode" | "stream" | "streamSeq" | "facts">, t: Translate): string {
  const code = s.errcode ? ` ${s.errcode}` : "";
  switch (s.kind) {
    case TimelineKind.RECEIVED: return t("trace.say.received", { what: keyed("kind", s.facts["msg_type"] ?? "", t) });
    case TimelineKind.STORED: return t("trace.say.stored", { stream: s.stream, seq: String(s.streamSeq) });
    case TimelineKind.DECIDED: return s.facts["rule"] ? t("trace.say.rule", { rule: s.facts["rule"] }) : t("trace.say.noRule");
    case TimelineKind.CLAIMED: return keyed("trace.claim", s.outcome, t);
    case TimelineKind.ATTEMPTED: return keyed("trace.call", s.outcome, t) + code;
    case TimelineKind.ACCEPTED: return t("trace.say.accepted");
    case TimelineKind.SETTLED: return [keyed("trace.settled", s.outcome, t) + code, s.detail].filter(Boolean).join(" · ");
    default: return s.detail || s.outcome;
  }
}

// Decided is the rule that won, in the words of the fan.
function Decided({ s, text }: { s: TimelineStep; text: string }) {
  const { t } = useI18n();
  const { can } = useMe();
  const groupOf = useGroupNames();
  const { rule, rule_set_version: version, queue } = s.facts;
  return (
    <section className="card" aria-label={t("trace.rule")}>
      <header><h3 className="grow">{t("trace.rule")}</h3>{rule && can(RuleService.method.listRules) && <Link to={`/rules?search=${encodeURIComponent(rule)}`}>{t("trace.openRule")}</Link>}</header>
      <div className="body col">
        {text && <p className="words t14">{text}</p>}
        <div className="row wrap"><Tag>{rule || t("trace.say.noRule")}</Tag>{version && <span className="t12 t3">{t("rules.live", { version: version.slice(0, 12) })}</span>}<span className="t12 t2">{keyed("trace.route", s.outcome, t)}{queue && ` · ${t("said.toGroup", { group: groupOf(queue) })}`}</span></div>
      </div>
    </section>
  );
}

// Sends are what was sent for the message: how it stood in line, and what WeChat said.
function Sends({ steps }: { steps: readonly TimelineStep[] }) {
  const { t, instant } = useI18n();
  const settled = steps.filter((s) => s.kind === TimelineKind.SETTLED);
  const calls = (id: string) => steps.filter((s) => s.kind === TimelineKind.ATTEMPTED && s.id === id);
  return settled.map((s, i) => (
    <div key={keyOf(s, i)} className="two">
      <section className="card" aria-label={t("trace.send")}>
        <header><h3>{t("trace.send")}</h3></header>
        <div className="body"><Facts rows={[[t("trace.lane"), keyed("trace.lane", s.facts["lane"] ?? "", t)], [t("trace.sendId"), <span key="id" className="mono">{short(s.id)}</span>], [t("trace.attempts"), String(calls(s.id).length)], [t("trace.end"), stepText(s, t)]]} /></div>
      </section>
      <section className="card" aria-label={t("trace.receipt")}>
        <header><h3>{t("trace.receipt")}</h3></header>
        <div className="body"><pre className="code">{calls(s.id).map((c) => `errcode ${c.errcode}  ${stepText(c, t)}\n${instant(Number(c.atUnixMs))}  ${(Number(c.tookUs) / 1000).toFixed(1)} ms`).join("\n") || t("trace.noCall")}</pre></div>
      </section>
    </div>
  ));
}

const short = (id: string) => (id.length > 22 ? `${id.slice(0, 10)}…${id.slice(-8)}` : id);
