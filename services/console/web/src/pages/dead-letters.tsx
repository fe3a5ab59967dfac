import { useMutation, useQuery } from "@tanstack/react-query";
import { Button, Drawer, Popconfirm } from "antd";
import { useState } from "react";
import { DeadLetterService, type DeadLetterResult } from "../gen/wxbus/console/v1/dead_letter_service_pb";
import { useI18n } from "../i18n";
import { keyed } from "../i18n/said";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { Empty, Facts, Tag } from "../ui/parts";
import { Data, useFailure } from "./data";

// DeadLetters are messages that a service could not handle. They are looked at first, and given back or thrown away after.
export function DeadLetters() {
  const { t, dateTime, number } = useI18n();
  const { deadLetters } = useClients();
  const { can } = useMe();
  const fail = useFailure();
  const [chosen, setChosen] = useState<bigint[]>([]);
  const [open, setOpen] = useState<bigint>();
  const [results, setResults] = useState<DeadLetterResult[]>([]);
  const list = useQuery({ queryKey: ["dead-letters"], queryFn: () => deadLetters.listDeadLetters({ limit: 200 }), refetchInterval: 15_000 });
  const one = useQuery({ queryKey: ["dead-letter", String(open)], queryFn: () => deadLetters.getDeadLetter({ seq: open ?? 0n }), enabled: open !== undefined });
  const done = (res: { results: DeadLetterResult[] }) => {
    setResults(res.results.filter((r) => !r.done));
    setChosen([]);
    void list.refetch();
  };
  const requeue = useMutation({ mutationFn: () => deadLetters.requeueDeadLetters({ seqs: chosen }), onSuccess: done, onError: fail });
  const discard = useMutation({ mutationFn: () => deadLetters.discardDeadLetters({ seqs: chosen }), onSuccess: done, onError: fail });
  const rows = list.data?.deadLetters ?? [];
  return (
    <div className="page-body">
      <div className="row">
        <span className="grow t3">{t("dead.hint")}</span>
        {can(DeadLetterService.method.discardDeadLetters) && <Popconfirm title={t("dead.discard.ask", { count: chosen.length })} okText={t("dead.discard")} cancelText={t("act.cancel")} onConfirm={() => discard.mutate()}><Button danger disabled={chosen.length === 0}>{t("dead.discard")}</Button></Popconfirm>}
        {can(DeadLetterService.method.requeueDeadLetters) && <Button type="primary" disabled={chosen.length === 0} loading={requeue.isPending} onClick={() => requeue.mutate()}>{t("dead.requeue", { count: chosen.length })}</Button>}
      </div>
      {results.map((r) => <div key={String(r.seq)} className="banner red">{number(r.seq)}: {r.reason}</div>)}
      <Data query={list}>{() => rows.length === 0 ? <Empty title={t("dead.none")} text={t("dead.none.text")} /> : (
        <div className="card"><table className="table">
          <thead><tr><th><input type="checkbox" aria-label={t("all")} checked={chosen.length === rows.length} onChange={(e) => setChosen(e.target.checked ? rows.map((r) => r.seq) : [])} /></th><th className="num">{t("dead.seq")}</th><th>{t("time")}</th><th>{t("dead.service")}</th><th>{t("account")}</th><th>{t("dead.reason")}</th><th className="num">{t("dead.deliveries")}</th></tr></thead>
          <tbody>{rows.map((r) => (
            <tr key={String(r.seq)}>
              <td><input type="checkbox" aria-label={number(r.seq)} checked={chosen.includes(r.seq)} onChange={(e) => setChosen(e.target.checked ? [...chosen, r.seq] : chosen.filter((x) => x !== r.seq))} /></td>
              <td className="num"><button type="button" className="link" onClick={() => setOpen(r.seq)}>{number(r.seq)}</button></td><td className="nowrap">{dateTime(Number(r.atUnixMs))}</td><td>{r.service}<div className="t12 t3">{r.stream} {number(r.streamSeq)}</div></td><td>{r.account}</td><td><Tag tone="red">{keyed("fault", r.kind, t)}</Tag> {r.reason}</td><td className="num">{number(r.deliveries)}</td>
            </tr>
          ))}</tbody>
        </table></div>
      )}</Data>
      {open !== undefined && (
        <Drawer open size={640} title={t("dead.one", { seq: number(open) })} onClose={() => setOpen(undefined)}>
          <Data query={one}>{(d) => (
            <div className="col g16">
              <Facts rows={[[t("dead.service"), d.deadLetter?.service ?? ""], [t("dead.reason"), d.deadLetter?.reason ?? ""], [t("dead.type"), <span key="t" className="mono">{d.messageType || t("unknown")}</span>], [t("trace.id"), <span key="i" className="mono">{d.deadLetter?.traceId || t("none")}</span>]]} />
              {d.deadLetter?.causes.map((c) => <p key={c} className="t12 t2">{c}</p>)}
              {d.messageJson && <pre className="code">{d.messageJson}</pre>}
              {d.stack && <pre className="code">{d.stack}</pre>}
            </div>
          )}</Data>
        </Drawer>
      )}
    </div>
  );
}
