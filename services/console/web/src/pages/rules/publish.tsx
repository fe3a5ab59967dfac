import { useMutation, useQuery } from "@tanstack/react-query";
import { App, Button, Drawer, Input, Modal, Progress, Select, Spin } from "antd";
import { useEffect, useState } from "react";
import { RuleService, RuleState, type DraftSummary, type RuleChange, type ShadowOutcome, type ShadowProgress, type ShadowResult } from "../../gen/wxbus/rule/v1/rule_service_pb";
import { useI18n } from "../../i18n";
import type { Key } from "../../i18n/words";
import { useActions, useKeys } from "../../keys/keys";
import { useClients } from "../../rpc/clients";
import { say } from "../../rpc/error";
import { useMe } from "../../session/session";
import { Icon } from "../../ui/icon";
import { Empty, Kbd, Tag } from "../../ui/parts";
import { FieldDiff } from "./editor";

const short = (version: string) => version.slice(0, 12);

// PublishBar is always there while something differs: the difference first, then the flip.
export function PublishBar({ summary, onShadow, onDone, onError }: { summary: DraftSummary | undefined; onShadow(): void; onDone(): void; onError(err: unknown): void }) {
  const { t } = useI18n();
  const { can } = useMe();
  const keys = useKeys();
  const [looking, setLooking] = useState(false);
  const count = summary ? summary.added + summary.changed + summary.removed + summary.sections : 0;
  const may = can(RuleService.method.publishDraft);
  useActions({ publish: count > 0 && may ? () => setLooking(true) : undefined });
  if (count === 0) return null;
  return (
    <div className="publish-bar">
      <span className="grow t12 t2">{t("publish.summary", { added: summary?.added ?? 0, changed: summary?.changed ?? 0, removed: summary?.removed ?? 0 })}</span>
      <Button size="small" onClick={onShadow}>{t("shadow.title")}</Button>
      {may && <Button size="small" type="primary" disabled={(summary?.conflicts ?? 0) > 0} onClick={() => setLooking(true)} data-testid="publish">{t("publish.do")} <Kbd chord={keys.chord("publish")} /></Button>}
      {looking && <PublishDialog expected={summary?.liveVersion ?? ""} onClose={() => setLooking(false)} onDone={onDone} onError={onError} />}
    </div>
  );
}

function PublishDialog({ expected, onClose, onDone, onError }: { expected: string; onClose(): void; onDone(): void; onError(err: unknown): void }) {
  const { t } = useI18n();
  const { rules } = useClients();
  const { notification } = App.useApp();
  const [note, setNote] = useState("");
  const draft = useQuery({ queryKey: ["draft", "changes"], queryFn: () => rules.getDraft({}), staleTime: 0 });
  const publish = useMutation({
    mutationFn: () => rules.publishDraft({ note, expectedVersion: expected }),
    onSuccess: (res) => {
      notification.success({ title: t("publish.done", { version: short(res.ruleSet?.version ?? "") }) });
      onDone();
      onClose();
    },
    onError,
  });
  const discard = useMutation({ mutationFn: () => rules.discardDraft({}), onSuccess: () => { onDone(); onClose(); }, onError });
  useActions({ confirm: () => publish.mutate() });
  return (
    <Modal open onCancel={onClose} width={760} title={t("publish.title")} footer={[
      <Button key="discard" danger loading={discard.isPending} onClick={() => discard.mutate()}>{t("publish.discard")}</Button>,
      <Button key="publish" type="primary" loading={publish.isPending} onClick={() => publish.mutate()} data-testid="publish-confirm">{t("publish.do")} <Kbd chord="mod+enter" /></Button>,
    ]}>
      <div className="col" style={{ maxHeight: "60vh", overflow: "auto" }}>
        {draft.isLoading && <Spin delay={200} />}
        {draft.error && <Empty title={say(draft.error, t).text} />}
        {draft.data?.changes.map((c) => <Change key={`${c.kind}/${c.name}`} c={c} />)}
        {(draft.data?.more ?? 0) > 0 && <p className="t3">{t("publish.more", { count: draft.data?.more ?? 0 })}</p>}
        <Input value={note} onChange={(e) => setNote(e.target.value)} maxLength={500} placeholder={t("publish.note")} aria-label={t("publish.note")} />
      </div>
    </Modal>
  );
}

const tones: Partial<Record<RuleState, "amber" | "green" | "red">> = { [RuleState.ADDED]: "green", [RuleState.CHANGED]: "amber", [RuleState.REMOVED]: "red" };

function Change({ c }: { c: RuleChange }) {
  const { t } = useI18n();
  return (
    <div className="col g4">
      <div className="row"><b>{c.name}</b><Tag tone={tones[c.kind]}>{t(`rules.state.${c.kind}` as Key)}</Tag></div>
      {c.fields.length > 0 ? <FieldDiff fields={c.fields} /> : <div className="diff">{c.before && <del>{c.before}</del>}{c.after && <ins>{c.after}</ins>}</div>}
    </div>
  );
}

export function Versions({ onClose, onDone, onError }: { onClose(): void; onDone(): void; onError(err: unknown): void }) {
  const { t, dateTime } = useI18n();
  const { rules } = useClients();
  const { can } = useMe();
  const { modal } = App.useApp();
  const list = useQuery({ queryKey: ["rule-sets"], queryFn: () => rules.listRuleSets({}) });
  const back = useMutation({ mutationFn: (version: string) => rules.rollBackRuleSet({ version }), onSuccess: () => { onDone(); void list.refetch(); }, onError });
  return (
    <Drawer open onClose={onClose} size={560} title={t("rules.versions")}>
      <table className="table">
        <thead><tr><th>{t("rules.version")}</th><th>{t("time")}</th><th>{t("rules.note")}</th><th className="num">{t("rules.count")}</th><th /></tr></thead>
        <tbody>
          {(list.data?.ruleSets ?? []).map((v) => (
            <tr key={v.version}>
              <td className="mono">{short(v.version)}</td><td>{dateTime(Number(v.publishedUnixMs))}<div className="t12 t3">{v.publishedBy}</div></td><td>{v.note}</td><td className="num">{v.rules}</td>
              <td className="num">{v.live ? <Tag tone="green">{t("try.live")}</Tag> : can(RuleService.method.rollBackRuleSet) && (
                <Button size="small" icon={<Icon name="undo" size={14} />} loading={back.isPending} onClick={() => modal.confirm({ title: t("rules.rollBack.ask", { version: short(v.version) }), okText: t("rules.rollBack"), cancelText: t("act.cancel"), onOk: () => back.mutateAsync(v.version) })}>{t("rules.rollBack")}</Button>
              )}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Drawer>
  );
}

const windows = [24, 168, 720];

export function Coverage({ account, onClose }: { account: string; onClose(): void }) {
  const { t, number } = useI18n();
  const { rules } = useClients();
  const [hours, setHours] = useState(168);
  const { data, error, isLoading } = useQuery({ queryKey: ["coverage", account, hours], queryFn: () => rules.getCoverage({ account, hours }) });
  return (
    <Drawer open onClose={onClose} size={720} title={t("rules.coverage")} extra={<Select size="small" value={hours} onChange={setHours} aria-label={t("time")} options={windows.map((value) => ({ value, label: t("rules.hours", { hours: value }) }))} />}>
      {isLoading && <Spin delay={200} />}
      {error && <Empty title={say(error, t).text} text={say(error, t).code} />}
      {data && (
        <div className="col g16">
          <div className="row g16"><Figure label={t("coverage.decided")} value={number(data.decided)} /><Figure label={t("coverage.unmatched")} value={number(data.missed + data.caught)} /></div>
          <div className="card"><header><h3>{t("coverage.phrases")}</h3></header>
            <table className="table"><thead><tr><th>{t("coverage.text")}</th><th className="num">{t("coverage.times")}</th></tr></thead>
              <tbody>{data.phrases.map((p) => <tr key={`${p.account}/${p.text}`}><td className="words">{p.text}</td><td className="num">{number(p.count)}</td></tr>)}</tbody></table>
            {data.phrases.length === 0 && <p className="t3" style={{ padding: 16 }}>{t("coverage.all")}</p>}
          </div>
          <div className="card"><header><h3>{t("nav.rules")}</h3></header>
            <table className="table"><thead><tr><th>{t("name")}</th><th className="num">{t("coverage.times")}</th></tr></thead>
              <tbody>{data.rules.map((r) => <tr key={r.rule}><td>{r.rule}</td><td className="num">{number(r.hits)}</td></tr>)}</tbody></table></div>
        </div>
      )}
    </Drawer>
  );
}

function Figure({ label, value }: { label: string; value: string }) {
  return <div><div className="t12 t3">{label}</div><div className="t20">{value}</div></div>;
}

export function ShadowPanel({ account, onClose }: { account: string; onClose(): void }) {
  const { t, number } = useI18n();
  const { rules } = useClients();
  const [progress, setProgress] = useState<ShadowProgress>();
  const [result, setResult] = useState<ShadowResult>();
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    const stop = new AbortController();
    (async () => {
      for await (const r of rules.shadowRun({ account, hours: 24 }, { signal: stop.signal })) {
        if (r.progress) setProgress(r.progress);
        if (r.result) setResult(r.result);
      }
    })().catch((err: unknown) => !stop.signal.aborted && setError(err));
    return () => stop.abort();
  }, [rules, account]);
  const percent = progress && progress.total > 0n ? Math.round((Number(progress.read) / Number(progress.total)) * 100) : 0;
  return (
    <Drawer open onClose={onClose} size={720} title={t("shadow.title")}>
      {Boolean(error) && <Empty title={say(error, t).text} text={say(error, t).code} />}
      {!result && !error && <><Progress percent={percent} aria-label={t("shadow.title")} /><p className="t3">{t("shadow.running", { count: number(progress?.events ?? 0n) })}</p></>}
      {result && (
        <div className="col g16">
          <div className="row g16"><Figure label={t("shadow.events")} value={number(result.events)} /><Figure label={t("shadow.different")} value={number(result.events - result.same)} /><Figure label={t("shadow.newly")} value={number(result.newlyAnswered)} /><Figure label={t("shadow.silent")} value={number(result.newlySilent)} /></div>
          {result.differences.length === 0 ? <Empty title={t("shadow.none")} /> : (
            <table className="table">
              <thead><tr><th>{t("coverage.text")}</th><th>{t("try.live")}</th><th>{t("try.draft")}</th><th className="num">{t("coverage.times")}</th></tr></thead>
              <tbody>{result.differences.map((d, i) => <tr key={`${i}/${d.account}/${d.text}`}><td className="words">{d.text || d.eventKey || d.kind}</td><td className="t2"><Outcome o={d.before} /></td><td><Outcome o={d.after} /></td><td className="num">{number(d.events)}</td></tr>)}</tbody>
            </table>
          )}
        </div>
      )}
    </Drawer>
  );
}

function Outcome({ o }: { o: ShadowOutcome | undefined }) {
  const { t } = useI18n();
  return <>{o?.rule || t("try.miss")}</>;
}
