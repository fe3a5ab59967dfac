import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { Button, Input, Switch } from "antd";
import { useState } from "react";
import { AuditService } from "../../gen/wxbus/console/v1/audit_service_pb";
import { useI18n } from "../../i18n";
import { useClients } from "../../rpc/clients";
import { say } from "../../rpc/error";
import { useMe } from "../../session/session";
import { Icon } from "../../ui/icon";
import { Dot, Empty, Skeleton, Tag } from "../../ui/parts";
import { useFailure } from "../data";

// Audit is who changed what. Nothing can be changed here; the chain of hashes can be checked.
export function Audit() {
  const { t, dateTime, number } = useI18n();
  const { audit } = useClients();
  const { can } = useMe();
  const fail = useFailure();
  const [actor, setActor] = useState("");
  const [action, setAction] = useState("");
  const [refusedOnly, setRefusedOnly] = useState(false);
  const [openOnly, setOpenOnly] = useState(false);
  const list = useInfiniteQuery({
    queryKey: ["audit", actor, action, refusedOnly, openOnly], initialPageParam: 0n,
    queryFn: ({ pageParam }) => audit.listAudit({ beforeSeq: pageParam, limit: 100, actor, action, refusedOnly, openOnly }),
    getNextPageParam: (last) => (last.more ? last.entries.at(-1)?.seq : undefined),
  });
  const check = useMutation({ mutationFn: () => audit.checkAudit({}), onError: fail });
  const rows = list.data?.pages.flatMap((p) => p.entries) ?? [];
  return (
    <>
      <div className="row wrap">
        <Input style={{ width: 160 }} allowClear placeholder={t("audit.actor")} aria-label={t("audit.actor")} value={actor} onChange={(e) => setActor(e.target.value)} />
        <Input style={{ width: 280 }} allowClear className="mono" placeholder={t("audit.action")} aria-label={t("audit.action")} value={action} onChange={(e) => setAction(e.target.value)} />
        <label className="row"><Switch size="small" checked={refusedOnly} onChange={setRefusedOnly} aria-label={t("audit.refused")} />{t("audit.refused")}</label>
        <label className="row"><Switch size="small" checked={openOnly} onChange={setOpenOnly} aria-label={t("audit.open")} />{t("audit.open")}</label>
        <span className="grow" />
        {check.data && <Tag tone={check.data.intact ? "green" : "red"}>{check.data.intact ? t("audit.intact", { first: number(check.data.firstSeq), last: number(check.data.lastSeq) }) : t("audit.broken", { seq: number(check.data.brokenSeq) })}</Tag>}
        {can(AuditService.method.checkAudit) && <Button size="small" icon={<Icon name="link" size={14} />} loading={check.isPending} onClick={() => check.mutate()}>{t("audit.check")}</Button>}
      </div>
      {list.error ? <Empty title={say(list.error, t).text} text={say(list.error, t).code} /> : list.isLoading ? <div className="card"><div className="body"><Skeleton /></div></div> : rows.length === 0 ? <Empty title={t("audit.none")} /> : (
        <div className="card"><table className="table"><thead><tr><th className="num">#</th><th>{t("time")}</th><th>{t("audit.actor")}</th><th>{t("audit.action")}</th><th>{t("account")}</th><th>{t("audit.target")}</th><th>{t("audit.outcome")}</th></tr></thead>
          <tbody>{rows.map((e) => <tr key={String(e.seq)}><td className="num">{number(e.seq)}</td><td className="nowrap">{dateTime(Number(e.atUnixMs))}</td><td>{e.actor || <span className="t3">{t("audit.nobody")}</span>}</td><td title={e.action}><b>{e.action.split("/").at(-1)}</b> <span className="t12 t3">{e.action.split("/")[0]?.split(".").at(-1)?.replace(/Service$/, "")}</span></td><td>{e.account}</td><td className="mono">{e.target}</td><td>{e.outcome === "ok" ? <span className="row g4 t3"><Dot tone="green" />{t("audit.ok")}</span> : e.outcome === "attempted" ? <span title={t("audit.attemptedTip")}><Tag tone="amber">{t("audit.attempted")}</Tag></span> : <Tag tone="red">{e.outcome}</Tag>}</td></tr>)}</tbody></table></div>
      )}
      {list.hasNextPage && <Button loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>{t("act.loadMore")}</Button>}
    </>
  );
}
