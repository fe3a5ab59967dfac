import { useMutation, useQueryClient } from "@tanstack/react-query";
import { App, Button, Input } from "antd";
import { useState } from "react";
import { useNavigate } from "react-router";
import type { Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { FanAvatar } from "../fan/avatar";
import { useI18n } from "../i18n";
import { reasonText } from "../i18n/said";
import { useActions, useKeys } from "../keys/keys";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { useMe } from "../session/session";
import { Icon } from "../ui/icon";
import { accountHue, Facts, Kbd, Monogram, Skeleton } from "../ui/parts";
import { useChanged } from "../ui/stable";
import { conversationKey } from "../feed/store";
import { skippedText } from "./advice";
import { useQuota } from "./chips";
import { useColleagueNames, useGroupNames } from "./names";
import { useChanges } from "./thread-pane";
import { useFan } from "./use-fan";
import { excludedText, whyOf } from "./why";

const shownHistory = 8;

// ContextPane is what is known of the fan, and what was before.
export function ContextPane({ conversation: c, onClose }: { conversation: Conversation; onClose(): void }) {
  const { t, dateTime, day } = useI18n();
  const keys = useKeys();
  const { conversations } = useClients();
  const { user } = useMe();
  const { notification } = App.useApp();
  const cache = useQueryClient();
  const go = useNavigate();
  const nameOf = useColleagueNames();
  const groupOf = useGroupNames();
  const quota = useQuota(c, Number(c.lastSeq));
  const known = useFan(c);
  const fan = known.data?.fan;
  const opened = useChanges(c)?.find((e) => e.event.case === "conversationChanged" && e.event.value.change === "opened");
  const source = opened?.event.case === "conversationChanged" ? reasonText(opened.event.value.reason, t, { group: groupOf, agent: nameOf }) : "";
  const [renaming, setRenaming] = useState<string>();
  const [tagging, setTagging] = useState<string>();
  if (useChanged(conversationKey(c))) {
    setRenaming(undefined);
    setTagging(undefined);
  }
  const change = useMutation({
    mutationFn: async ({ of, ...o }: { of: Conversation; remark?: string; add?: string[]; remove?: string[] }): Promise<unknown> =>
      o.remark !== undefined ? conversations.renameFan({ account: of.account, openid: of.openid, remark: o.remark, actor: user }) : conversations.tagFan({ account: of.account, openid: of.openid, add: o.add ?? [], remove: o.remove ?? [], actor: user }),
    onSuccess: (_, { of }) => cache.invalidateQueries({ queryKey: ["fan", of.account, of.openid] }),
    onError: (err) => notification.error({ title: say(err, t).text }),
  });
  useActions({ rename: () => setRenaming(fan?.remark ?? ""), tag: () => setTagging("") });

  const tags = fan?.tags ?? c.tags;
  const history = (fan?.conversations ?? []).filter((x) => x.id !== c.id);
  return (
    <aside className="pane context" aria-label={t("context.title")} data-zone tabIndex={-1}>
      <section>
        <div className="row g12 top">
          <FanAvatar fan={c} size={48} />
          <div className="grow">
            {renaming === undefined ? (
              <div className="row g4"><h2 className="t16 cut">{fan?.name || c.fanName}</h2><button type="button" className="icon-button tiny" aria-label={t("context.rename")} title={keys.chord("rename")} onClick={() => setRenaming(fan?.remark ?? "")}><Icon name="pen" size={14} /></button></div>
            ) : (
              <Input autoFocus size="small" maxLength={30} value={renaming} aria-label={t("context.rename")} placeholder={fan?.friendlyName} onChange={(e) => setRenaming(e.target.value)} onBlur={() => setRenaming(undefined)}
                onKeyDown={(e) => { if (e.key === "Escape") setRenaming(undefined); if (e.key === "Enter" && !e.nativeEvent.isComposing) { change.mutate({ of: c, remark: renaming }); setRenaming(undefined); } }} />
            )}
            <div className="t12 t3">{fan?.remark ? fan.friendlyName : t("context.generated")}</div>
          </div>
          <button type="button" className="icon-button small" aria-label={t("act.close")} onClick={onClose}><Icon name="side" /></button>
        </div>
        <div className="row g4 wrap" style={{ marginTop: 12 }}>
          {tags.map((tag) => <span key={tag} className="label">{tag}<button type="button" className="icon-button tiny" aria-label={t("context.removeTag", { tag })} onClick={() => change.mutate({ of: c, remove: [tag] })}><Icon name="x" size={12} /></button></span>)}
          {tagging === undefined ? <button type="button" className="label line plain" onClick={() => setTagging("")}><Icon name="plus" size={12} />{t("context.addTag")}</button>
            : <Input autoFocus size="small" style={{ width: 110 }} maxLength={30} value={tagging} aria-label={t("context.addTag")} onChange={(e) => setTagging(e.target.value)} onBlur={() => setTagging(undefined)}
              onKeyDown={(e) => { if (e.key === "Escape") setTagging(undefined); if (e.key === "Enter" && !e.nativeEvent.isComposing && tagging.trim()) { change.mutate({ of: c, add: [tagging.trim()] }); setTagging(undefined); } }} />}
        </div>
        <div style={{ marginTop: 12 }}>{!fan ? (known.error ? <p className="t3">{say(known.error, t).text}</p> : <Skeleton lines={5} />) : <Facts rows={[
          [t("context.source"), source || t("unknown")], [t("context.language"), fan.language || c.language || t("unknown")],
          [t("context.follows"), fan.subscribed ? t("yes") : t("no")], [t("context.lastAgent"), fan.lastAgent ? nameOf(fan.lastAgent) : t("none")],
          [t("context.firstSeen"), fan.firstSeenUnixMs > 0n ? dateTime(Number(fan.firstSeenUnixMs)) : t("unknown")],
          ["openid", <span key="o" className="mono">{c.openid.length > 14 ? `${c.openid.slice(0, 6)}…${c.openid.slice(-4)}` : c.openid} <button type="button" className="icon-button tiny" aria-label={`${t("act.copy")} openid`} onClick={() => void navigator.clipboard?.writeText(c.openid)}><Icon name="copy" size={12} /></button></span>],
        ]} />}</div>
      </section>
      {fan?.unionid && (
        <section>
          <h3><Icon name="link" size={14} />{t("context.linked")}<span className="grow" /><span className="label line">UnionID</span></h3>
          <div className="row linked"><Monogram account={c.account} /><span className="cut grow">{c.account}</span><span className="t12 t3">{t("context.current")}</span></div>
          {fan.linked.map((l) => <div className="row linked" key={`${l.account}/${l.openid}`}><Monogram account={l.account} /><span className="cut grow">{l.account}</span><span className="t12 t3">{l.name}</span></div>)}
          {fan.linked.length > 0 && <Button type="text" size="small" onClick={() => keys.run("person")}>{t("person.open")} <Kbd chord={keys.chord("person")} /></Button>}
        </section>
      )}
      {quota.data && (
        <section>
          <h3>{t("context.allowed")}</h3>
          <Facts rows={[[t("context.kf", { total: quota.total }), <b key="k">{t("context.kf.left", { left: quota.data.remaining })}{quota.data.reserved > 0 && ` · ${t("context.reserved", { count: quota.data.reserved })}`}</b>]]} />
          {quota.data.reason && <p className="t12 t3">{skippedText(quota.data, t)}</p>}
        </section>
      )}
      {c.assignment && (
        <section>
          <h3>{t("context.why")}</h3>
          <p><b>{nameOf(c.assignment.winner) || t("none")}</b> · {whyOf(c.assignment, t)}</p>
          <p className="t12 t3">{t("context.candidates", { count: c.assignment.candidates.length })}</p>
          {c.assignment.candidates.filter((x) => x.excludedBy).slice(0, 4).map((x) => <div key={x.agent} className="row t12"><span className="grow cut">{nameOf(x.agent)} {x.load}/{x.capacity}</span><span className="t3">{t("context.excluded", { why: excludedText(x.excludedBy, t) })}</span></div>)}
        </section>
      )}
      <section>
        <h3>{t("context.history")}<span className="grow" /><span>{t("context.total", { count: history.length })}</span></h3>
        {history.slice(0, shownHistory).map((x) => (
          <button key={x.id} type="button" className="plain gutter" onClick={() => void go(`/desk/${x.account}/${x.id}`)}>
            <i style={{ background: accountHue(x.account) }} /><span className="cut">{x.preview || reasonText(x.reason, t, { group: groupOf, agent: nameOf })}</span><span className="t12 t3 nowrap">{day(Number(x.openedUnixMs))}{x.agent && ` · ${nameOf(x.agent)}`}{x.surveyScore > 0 && ` · ${t("inbox.score", { score: x.surveyScore })}`}</span>
          </button>
        ))}
      </section>
      <Button type="text" size="small" onClick={onClose} style={{ margin: 8 }}>{t("key.context")} <Kbd chord={keys.chord("context")} /></Button>
    </aside>
  );
}

export function ContextStrip({ onOpen }: { onOpen(): void }) {
  const { t } = useI18n();
  const keys = useKeys();
  return (
    <aside className="context-strip" aria-label={t("context.title")}>
      <button type="button" className="icon-button" aria-label={t("context.title")} title={`${t("context.title")} ${keys.chord("context")}`} onClick={onOpen}><Icon name="side" /></button>
      <button type="button" className="icon-button" aria-label={t("context.history")} onClick={onOpen}><Icon name="clock" /></button>
    </aside>
  );
}
