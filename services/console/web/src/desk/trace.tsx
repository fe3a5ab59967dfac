import { useQuery } from "@tanstack/react-query";
import { App, Button, Drawer, Spin } from "antd";
import { MessageState, type Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import type { TimelineStep } from "../gen/wxbus/console/v1/trace_service_pb";
import { TimelineKind } from "../gen/wxbus/console/v1/trace_service_pb";
import { useI18n } from "../i18n";
import type { Key } from "../i18n/words";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { Icon, type IconName } from "../ui/icon";
import { Empty, Facts, Tag } from "../ui/parts";

const icons: Record<number, IconName> = {
  [TimelineKind.RECEIVED]: "globe", [TimelineKind.STORED]: "box", [TimelineKind.DECIDED]: "rule", [TimelineKind.CLAIMED]: "globe", [TimelineKind.ACCEPTED]: "send", [TimelineKind.ATTEMPTED]: "wisp", [TimelineKind.SETTLED]: "check",
};

// Trace shows what happened to one message in every service, from stored facts.
export function Trace({ m, onClose }: { m: Message; onClose: () => void }) {
  const { t, dateTime } = useI18n();
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
            <div><div className="t12 t3">{t("trace.took")}</div><div className="t20">{Math.round(end - begin)} ms</div></div>
            <div><div className="t12 t3">{t("trace.steps")}</div><div className="t20">{steps.length}</div></div>
            <span className="grow" />
            <div className="end"><div className="t12 t3">{t("trace.id")}</div><div className="mono">{id || t("unknown")}</div></div>
          </div>
          {(data?.partial.length ?? 0) > 0 && <div className="banner amber">{t("trace.partial", { what: data?.partial.join(", ") ?? "" })}</div>}
          <div className="card" style={{ padding: "8px 16px 12px" }}>{steps.map((s, i) => <Step key={`${s.stream}/${s.streamSeq}/${i}`} s={s} begin={begin} end={end} />)}</div>
          {steps.map((s, i) => <Detail key={`${s.stream}/${s.streamSeq}/${i}`} s={s} at={dateTime(Number(s.atUnixMs))} />)}
        </div>
      )}
    </Drawer>
  );
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
        <em style={left > 55 ? { right: `${Math.max(0, 100 - left) + 1}%` } : { left: `calc(${left + width}% + 8px)` }}>{s.detail || s.outcome}</em>
      </span>
      <span className="took">{took > 0 ? `${took.toFixed(1)} ms` : ""}</span>
    </div>
  );
}

function Detail({ s, at }: { s: TimelineStep; at: string }) {
  const { t } = useI18n();
  const facts: [string, string][] = Object.entries(s.facts);
  return (
    <details className="card">
      <summary className="row" style={{ padding: "8px 16px", cursor: "pointer" }}><Icon name={icons[s.kind] ?? "info"} size={14} /><b>{t(`trace.kind.${s.kind}` as Key)}</b><span className="t3 t12">{s.service} · {s.outcome}</span><span className="grow" /><span className="t3 t12">{at}</span></summary>
      <div className="body"><Facts rows={[["id", <span key="id" className="mono">{s.id}</span>], ["stream", `${s.stream} ${s.streamSeq}`], ...(s.errcode ? [["errcode", String(s.errcode)] as const] : []), ...facts]} /></div>
    </details>
  );
}
