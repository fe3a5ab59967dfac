import { create } from "@bufbuild/protobuf";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Input, Modal, Popconfirm, Select } from "antd";
import { useState } from "react";
import { CannedBlockSchema, CannedReplySchema, CannedScope, type CannedReply } from "../../gen/wxbus/agentrouting/v1/agent_service_pb";
import { CardForm, cardReady, ImagePick, newsContent } from "../../desk/card";
import { imageContent, kindOf, textContent } from "../../desk/content";
import type { Content } from "../../gen/wxbus/event/v1/content_pb";
import { useI18n } from "../../i18n";
import type { Key } from "../../i18n/words";
import { useActions, useKeys } from "../../keys/keys";
import { useClients } from "../../rpc/clients";
import { useMe } from "../../session/session";
import { useAccounts } from "../../shell/accounts";
import { Icon } from "../../ui/icon";
import { Empty, Kbd, Tag } from "../../ui/parts";
import { Data, useFailure } from "../data";

export function Canned() {
  const { t, number } = useI18n();
  const { agents } = useClients();
  const { user } = useMe();
  const keys = useKeys();
  const [open, setOpen] = useState<CannedReply>();
  const list = useQuery({ queryKey: ["canned-all"], queryFn: () => agents.listCannedReplies({ agent: user, everyScope: true }) });
  const add = () => setOpen(create(CannedReplySchema, { scope: CannedScope.ALL, blocks: [create(CannedBlockSchema, { content: textContent("") })] }));
  useActions({ create: add });
  return (
    <>
      <div className="row"><span className="grow t3">{t("canned.hint")}</span><Button icon={<Icon name="plus" size={14} />} onClick={add}>{t("canned.new")} <Kbd chord={keys.chord("create")} /></Button></div>
      <Data query={list}>{(d) => d.replies.length === 0 ? <Empty title={t("canned.empty")} /> : (
        <div className="card"><table className="table"><thead><tr><th>{t("canned.shortcut")}</th><th>{t("canned.name")}</th><th>{t("canned.parts")}</th><th>{t("canned.scope")}</th><th className="num">{t("canned.used")}</th></tr></thead>
          <tbody>{d.replies.map((r) => <tr key={r.id}><td className="mono">/{r.shortcut}</td><td><button type="button" className="link" onClick={() => setOpen(r)}>{r.title}</button></td><td><span className="row g4">{r.blocks.map((b, i) => <Tag key={`${r.id}/${i}`} line>{t(`block.${kindOf(b.content)}`)}</Tag>)}</span></td><td>{t(`cannedScope.${r.scope}` as Key)} {r.scopeId}</td><td className="num">{number(r.used)}</td></tr>)}</tbody></table></div>
      )}</Data>
      {open && <CannedDialog key={open.id} reply={open} onClose={() => setOpen(undefined)} />}
    </>
  );
}

function CannedDialog({ reply, onClose }: { reply: CannedReply; onClose(): void }) {
  const { t } = useI18n();
  const { agents } = useClients();
  const { user } = useMe();
  const accounts = useAccounts();
  const cache = useQueryClient();
  const fail = useFailure();
  const [r, set] = useState(reply);
  const groups = useQuery({ queryKey: ["groups"], queryFn: () => agents.listGroups({}) });
  const done = async () => { await Promise.all([cache.invalidateQueries({ queryKey: ["canned-all"] }), cache.invalidateQueries({ queryKey: ["canned"] })]); onClose(); };
  const save = useMutation({ mutationFn: () => agents.putCannedReply({ reply: r, actor: user }), onSuccess: done, onError: fail });
  const remove = useMutation({ mutationFn: () => agents.deleteCannedReply({ id: r.id, actor: user }), onSuccess: done, onError: fail });
  const edit = (part: Partial<CannedReply>) => set({ ...r, ...part });
  const setBlock = (i: number, content: Content) => edit({ blocks: r.blocks.map((x, n) => (n === i ? { ...x, content } : x)) });
  const ready = r.title && r.shortcut && r.blocks.every((b) => filled(b.content));
  return (
    <Modal open onCancel={onClose} width={620} title={reply.title || t("canned.new")} footer={<div className="row">{reply.id && <Popconfirm title={t("canned.delete.ask")} okText={t("act.delete")} cancelText={t("act.cancel")} onConfirm={() => remove.mutate()}><Button danger>{t("act.delete")}</Button></Popconfirm>}<span className="grow" /><Button onClick={onClose}>{t("act.cancel")}</Button><Button type="primary" disabled={!ready} loading={save.isPending} onClick={() => save.mutate()}>{t("act.save")}</Button></div>}>
      <div className="col">
        <div className="grid-2">
          <label className="col g4 t12 t2">{t("canned.name")}<Input value={r.title} onChange={(e) => edit({ title: e.target.value })} /></label>
          <label className="col g4 t12 t2">{t("canned.shortcut")}<Input prefix="/" className="mono" maxLength={32} value={r.shortcut} onChange={(e) => edit({ shortcut: e.target.value.trim() })} /></label>
          <label className="col g4 t12 t2">{t("canned.scope")}<Select value={r.scope} onChange={(scope) => edit({ scope, scopeId: scope === CannedScope.PERSONAL ? user : "" })} options={[1, 2, 3].map((value) => ({ value: value as CannedScope, label: t(`cannedScope.${value}` as Key) }))} /></label>
          {r.scope === CannedScope.GROUP && <label className="col g4 t12 t2">{t("transfer.groups")}<Select value={r.scopeId || undefined} onChange={(scopeId) => edit({ scopeId })} options={(groups.data?.groups ?? []).map((g) => ({ value: g.id, label: g.name || g.id }))} /></label>}
          <label className="col g4 t12 t2">{t("account")}<Select allowClear value={r.account || undefined} placeholder={t("nav.allAccounts")} onChange={(v) => edit({ account: v ?? "" })} options={accounts.map((a) => ({ value: a, label: a }))} /></label>
        </div>
        {r.blocks.map((b, i) => (
          // oxlint-disable-next-line react/no-array-index-key -- the place is the identity
          <div key={i} className="row top">
            {b.content?.body.case === "text" ? <Input.TextArea rows={3} value={b.content.body.value.content} aria-label={t("block.text")} placeholder={t("canned.variablesHint")} onChange={(e) => setBlock(i, textContent(e.target.value))} />
              : b.content?.body.case === "image" ? <ImagePick account={r.account} mediaId={b.content.body.value.mediaId} label={t("card.upload")} onPick={(id) => setBlock(i, imageContent(id))} />
                : b.content?.body.case === "news" || b.content?.body.case === "miniProgram" ? <CardForm account={r.account} content={b.content} onChange={(content) => setBlock(i, content)} />
                  : <Tag line>{t(`block.${kindOf(b.content)}`)}</Tag>}
            <button type="button" className="icon-button small" aria-label={t("act.delete")} disabled={r.blocks.length < 2} onClick={() => edit({ blocks: r.blocks.filter((_, n) => n !== i) })}><Icon name="x" size={14} /></button>
          </div>
        ))}
        {r.blocks.length < 5 && <div className="row g4"><span className="t12 t3">{t("canned.addPart")}</span>{([["text", textContent("")], ["image", imageContent("")], ["card", newsContent()]] as const).map(([kind, content]) => <Button key={kind} size="small" type="text" icon={<Icon name="plus" size={14} />} onClick={() => edit({ blocks: [...r.blocks, create(CannedBlockSchema, { content })] })}>{t(`block.${kind}`)}</Button>)}</div>}
      </div>
    </Modal>
  );
}

// filled tells whether a part has what it needs. Kinds that this form does not know came by the API and stay as they are.
function filled(c: Content | undefined): boolean {
  switch (c?.body.case) {
    case "text": return c.body.value.content.trim() !== "";
    case "image": return c.body.value.mediaId !== "";
    case "news":
    case "miniProgram": return cardReady(c);
    default: return true;
  }
}
