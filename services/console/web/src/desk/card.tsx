import { useMutation } from "@tanstack/react-query";
import { create } from "@bufbuild/protobuf";
import { Button, Input, Modal, Segmented } from "antd";
import { useRef, useState } from "react";
import { ContentSchema, type Article, type Content, type MiniProgramContent } from "../gen/wxbus/event/v1/content_pb";
import { MediaType } from "../gen/wxbus/sender/v1/sender_service_pb";
import { useI18n } from "../i18n";
import { useClients } from "../rpc/clients";
import { Icon } from "../ui/icon";
import { useFailure } from "../pages/data";
import { safeURL } from "./content";

type Kind = "news" | "miniProgram";

type ArticleFields = Partial<Pick<Article, "title" | "description" | "url" | "picUrl">>;
type MiniFields = Partial<Pick<MiniProgramContent, "title" | "appid" | "pagePath" | "thumbMediaId">>;

export const newsContent = ({ title, description, url, picUrl }: ArticleFields = {}): Content =>
  create(ContentSchema, { body: { case: "news", value: { articles: [{ title: title ?? "", description: description ?? "", url: url ?? "", picUrl: picUrl ?? "" }] } } });
export const miniContent = ({ title, appid, pagePath, thumbMediaId }: MiniFields = {}): Content =>
  create(ContentSchema, { body: { case: "miniProgram", value: { title: title ?? "", appid: appid ?? "", pagePath: pagePath ?? "", thumbMediaId: thumbMediaId ?? "" } } });

// cardTitle is how a card is called while it waits to be sent.
export const cardTitle = (c: Content): string => (c.body.case === "news" ? c.body.value.articles[0]?.title : c.body.case === "miniProgram" ? c.body.value.title : "") ?? "";

// cardReady tells whether WeChat would take the card: what it refuses is off before it is sent.
export function cardReady(c: Content): boolean {
  if (c.body.case === "news") return Boolean(c.body.value.articles[0]?.title && safeURL(c.body.value.articles[0].url));
  return c.body.case === "miniProgram" && Boolean(c.body.value.title && c.body.value.pagePath && c.body.value.thumbMediaId);
}

// CardForm edits a card: an article that opens an address, or a page of a Mini Program.
export function CardForm({ account, content, onChange }: { account: string; content: Content; onChange(c: Content): void }) {
  const { t } = useI18n();
  const kind: Kind = content.body.case === "miniProgram" ? "miniProgram" : "news";
  const article = content.body.case === "news" ? content.body.value.articles[0] : undefined;
  const mini = content.body.case === "miniProgram" ? content.body.value : undefined;
  const line = (label: string, value: string | undefined, set: (v: string) => void, hint?: string) => <label className="col g4 t12 t2">{label}<Input value={value} placeholder={hint} maxLength={1024} onChange={(e) => set(e.target.value)} /></label>;
  return (
    <div className="col grow">
      <Segmented size="small" value={kind} onChange={(k) => onChange(k === "news" ? newsContent({ title: cardTitle(content) }) : miniContent({ title: cardTitle(content) }))} aria-label={t("block.card")} options={[{ value: "news" as Kind, label: t("card.news") }, { value: "miniProgram" as Kind, label: t("card.mini") }]} />
      {mini ? (
        <>
          {line(t("card.title"), mini.title, (title) => onChange(miniContent({ ...mini, title })))}
          {line("appid", mini.appid, (appid) => onChange(miniContent({ ...mini, appid: appid.trim() })), t("card.appid.hint"))}
          {line(t("card.path"), mini.pagePath, (pagePath) => onChange(miniContent({ ...mini, pagePath: pagePath.trim() })), "pages/index/index")}
          <ImagePick account={account} mediaId={mini.thumbMediaId} label={t("card.cover")} onPick={(thumbMediaId) => onChange(miniContent({ ...mini, thumbMediaId }))} />
        </>
      ) : (
        <>
          {line(t("card.title"), article?.title, (title) => onChange(newsContent({ ...article, title })))}
          {line(t("card.text"), article?.description, (description) => onChange(newsContent({ ...article, description })))}
          {line(t("card.url"), article?.url, (url) => onChange(newsContent({ ...article, url: url.trim() })), "https://")}
          {line(t("card.picture"), article?.picUrl, (picUrl) => onChange(newsContent({ ...article, picUrl: picUrl.trim() })), "https://")}
        </>
      )}
    </div>
  );
}

// ImagePick uploads a picture to WeChat and names it by its media id. The sender keeps the file and uploads it again when WeChat has forgotten it.
export function ImagePick({ account, mediaId, label, onPick }: { account: string; mediaId: string; label: string; onPick(mediaId: string): void }) {
  const { t } = useI18n();
  const { sender } = useClients();
  const fail = useFailure();
  const input = useRef<HTMLInputElement>(null);
  const upload = useMutation({
    mutationFn: async (file: File) => (await sender.uploadMedia({ account, type: MediaType.IMAGE, filename: file.name, content: new Uint8Array(await file.arrayBuffer()) })).mediaId,
    onSuccess: onPick, onError: fail,
  });
  return (
    <div className="row">
      <Button size="small" icon={<Icon name="img" size={14} />} loading={upload.isPending} disabled={!account} onClick={() => input.current?.click()}>{label}</Button>
      <input ref={input} type="file" hidden accept="image/jpeg,image/png" tabIndex={-1} aria-label={label} onChange={(e) => { const f = e.target.files?.[0]; if (f) upload.mutate(f); e.target.value = ""; }} />
      <span className="t12 t3 cut grow">{!account ? t("card.account") : mediaId ? t("card.uploaded") : t("card.noPicture")}</span>
    </div>
  );
}

// CardDialog makes a card for the fan who is open.
export function CardDialog({ account, onDone, onClose }: { account: string; onDone(c: Content): void; onClose(): void }) {
  const { t } = useI18n();
  const [content, setContent] = useState<Content>(() => newsContent());
  return (
    <Modal open onCancel={onClose} title={t("block.card")} okText={t("card.stage")} cancelText={t("act.cancel")} okButtonProps={{ disabled: !cardReady(content) }} onOk={() => onDone(content)}>
      <CardForm account={account} content={content} onChange={setContent} />
    </Modal>
  );
}
