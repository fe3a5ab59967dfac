import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import type { Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import type { Content } from "../gen/wxbus/event/v1/content_pb";
import { useI18n } from "../i18n";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { Kbd, Tag } from "../ui/parts";
import { kindOf } from "./content";
import { useCannedReplies } from "./composer";

export interface CannedChoice {
  title: string;
  contents: Content[];
}

// CannedPopup finds a prepared answer and fills in what is known of the fan.
export function CannedPopup({ c, query, onChoose, onClose }: { c: Conversation; query: string | undefined; onChoose(choice: CannedChoice): void; onClose(): void }) {
  const { t } = useI18n();
  const { agents } = useClients();
  const { user } = useMe();
  const { data } = useCannedReplies(c.account);
  const [at, setAt] = useState(0);
  const word = (query ?? "").toLowerCase();
  const found = useMemo(() => (data?.replies ?? []).filter((r) => r.shortcut.toLowerCase().startsWith(word) || r.title.toLowerCase().includes(word)), [data, word]);
  const chosen = found[Math.min(at, found.length - 1)];
  const rendered = useQuery({
    queryKey: ["canned-rendered", chosen?.id, c.account, c.openid], enabled: chosen !== undefined, staleTime: 10_000,
    queryFn: () => agents.renderCannedReply({ id: chosen?.id ?? "", account: c.account, openid: c.openid, agent: user, values: {} }),
  });
  useEffect(() => setAt(0), [word]);
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if (e.isComposing) return;
      const by = e.key === "ArrowDown" ? 1 : e.key === "ArrowUp" ? -1 : 0;
      if (by !== 0) setAt((v) => Math.min(found.length - 1, Math.max(0, v + by)));
      else if (e.key === "Escape") onClose();
      else if (e.key === "Enter" && chosen && rendered.data) onChoose({ title: chosen.title, contents: rendered.data.contents });
      else if (e.key !== "Enter") return;
      e.preventDefault();
      e.stopPropagation();
    };
    window.addEventListener("keydown", onKey, { capture: true });
    return () => window.removeEventListener("keydown", onKey, { capture: true });
  }, [found, chosen, rendered.data, onChoose, onClose]);

  const contents = rendered.data?.contents ?? [];
  return (
    <div className="popup canned" data-testid="canned">
      <div className="popup-head"><span className="grow">{t("canned.title")} · {c.group}</span><Kbd chord="up+down" /> {t("canned.choose")} <Kbd chord="enter" /> {t("canned.insert")} <Kbd chord="tab" /> {t("canned.variables")}</div>
      <div role="listbox" aria-label={t("canned.title")} className="canned-list">
        {found.map((r, i) => (
          <div key={r.id} role="option" tabIndex={-1} aria-selected={r === chosen} className="canned-row" onMouseMove={() => setAt(i)} onKeyDown={undefined} onClick={() => rendered.data && onChoose({ title: r.title, contents: rendered.data.contents })}
            ref={(el) => { if (r === chosen) el?.scrollIntoView({ block: "nearest" }); }}>
            <span className="mono cut">/{r.shortcut}</span><span className="cut">{r.title}</span><span className="row g4">{r.blocks.map((b, n) => <Tag key={`${r.id}/${n}`} line>{t(`block.${kindOf(b.content)}`)}</Tag>)}</span>
          </div>
        ))}
        {found.length === 0 && <p className="t3" style={{ padding: 12 }}>{t("canned.none")}</p>}
      </div>
      {contents.length > 0 && <div className="canned-preview"><span className="grow"><Filled text={contents.map((x) => (x.body.case === "text" ? x.body.value.content : `[${t(`block.${kindOf(x)}`)}]`)).join(" ")} /></span><span className="t12 t3 nowrap">{t("canned.blocks", { count: contents.length })}</span></div>}
    </div>
  );
}

// Filled marks the variables that still have no value.
function Filled({ text }: { text: string }) {
  return <>{text.split(/(\{[^{}\n]{1,40}\})/g).map((p, i) => (p.startsWith("{") && p.endsWith("}") ? <span key={`${i}/${p}`} className="variable">{p.slice(1, -1)}</span> : p))}</>;
}
