import { Input, Modal } from "antd";
import { useEffect, useMemo, useState } from "react";
import { useNavigate } from "react-router";
import { useQuery } from "@tanstack/react-query";
import { useDesk, useStore } from "../desk/provider";
import { FanAvatar } from "../fan/avatar";
import { ConversationService } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import { useI18n } from "../i18n";
import { useKeys } from "../keys/keys";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { Icon } from "../ui/icon";
import { Kbd, Monogram } from "../ui/parts";
import { searched, useAccounts } from "./accounts";

interface Entry {
  id: string;
  label: string;
  hint?: string;
  icon: React.ReactNode;
  chord?: string;
  run(): void;
}

// Palette finds and does everything: actions, people, accounts and what was said.
export function Palette({ onClose }: { onClose: () => void }) {
  const { t } = useI18n();
  const keys = useKeys();
  const go = useNavigate();
  const { setAccount } = useDesk();
  const store = useStore();
  const accounts = useAccounts();
  const { conversations } = useClients();
  const { can, session } = useMe();
  const [query, setQuery] = useState("");
  const [at, setAt] = useState(0);
  const [actions] = useState(() => keys.available()); // before the pause below
  useEffect(() => keys.pause(), [keys]);

  const word = query.trim().toLowerCase();
  const asked = useRested(word);
  const found = useQuery({
    queryKey: ["search", asked], enabled: [...asked].length >= 2 && can(ConversationService.method.search),
    queryFn: async () => {
      const hits = await Promise.all(searched(session?.user?.accounts ?? [], accounts).map((account) => conversations.search({ query: asked, account, pageSize: 8 })));
      return hits.flatMap((h) => h.hits);
    },
  });
  const entries = useMemo<Entry[]>(() => {
    const fits = (text: string) => text.toLowerCase().includes(word);
    const list: Entry[] = [];
    for (const id of actions) {
      const label = t(`key.${id}`);
      if (id !== "palette" && fits(label)) list.push({ id: `action/${id}`, label, icon: <Icon name="bolt" />, chord: keys.chord(id), run: () => keys.run(id) });
    }
    for (const c of store.all()) {
      if (word && (fits(c.fanName) || fits(c.preview) || fits(c.openid))) list.push({ id: `fan/${c.account}/${c.id}`, label: c.fanName, hint: c.preview, icon: <FanAvatar fan={c} size={20} />, run: () => void go(`/desk/${c.account}/${c.id}`) });
      if (list.length > 60) break;
    }
    for (const a of accounts) if (word && fits(a)) list.push({ id: `account/${a}`, label: t("nav.onlyAccount", { name: a }), icon: <Monogram account={a} />, run: () => setAccount(a) });
    for (const hit of asked === word ? found.data ?? [] : []) {
      const m = hit.message;
      if (m?.conversation) list.push({ id: `hit/${m.account}/${m.seq}/${m.openid}`, label: hit.fanName, hint: m.text, icon: <Icon name="search" />, run: () => void go(`/desk/${m.account}/${m.conversation}`) });
    }
    return list;
  }, [actions, word, asked, store, accounts, found.data, t, keys, go, setAccount]);

  const run = (e: Entry | undefined) => {
    if (!e) return;
    onClose();
    setTimeout(e.run); // after the dialogue has given the focus back
  };
  const chosen = Math.min(at, Math.max(0, entries.length - 1));
  return (
    <Modal open onCancel={onClose} footer={null} closable={false} width={560} aria-label={t("status.commands")} styles={{ body: { minHeight: 120 } }}>
      <Input autoFocus role="combobox" aria-expanded aria-controls="palette" aria-activedescendant={entries[chosen] ? `palette-${chosen}` : undefined} aria-label={t("palette.hint")}
        prefix={<Icon name="search" />} placeholder={t("palette.hint")} value={query} onChange={(e) => { setQuery(e.target.value); setAt(0); }}
        onKeyDown={(e) => {
          if (e.nativeEvent.isComposing) return;
          if (e.key === "ArrowDown" || e.key === "ArrowUp") {
            e.preventDefault();
            setAt((chosen + (e.key === "ArrowDown" ? 1 : entries.length - 1)) % Math.max(1, entries.length));
          } else if (e.key === "Enter") run(entries[chosen]);
        }} />
      <div className="palette-list" role="listbox" id="palette" aria-label={t("status.commands")}>
        {entries.map((e, i) => (
          <div key={e.id} id={`palette-${i}`} role="option" aria-selected={i === chosen} tabIndex={-1} onMouseMove={() => setAt(i)} onClick={() => run(e)} onKeyDown={undefined}
            ref={(el) => { if (i === chosen) el?.scrollIntoView({ block: "nearest" }); }}>
            {e.icon}<span className="nowrap">{e.label}</span><span className="t3 t12 cut grow">{e.hint}</span>{e.chord && <Kbd chord={e.chord} />}
          </div>
        ))}
        {entries.length === 0 && <p className="t3" style={{ padding: 12 }}>{t("palette.none")}</p>}
      </div>
    </Modal>
  );
}

const rest = 300;

// useRested returns what was typed once the hands rest: half a word is no search.
function useRested(word: string): string {
  const [rested, set] = useState(word);
  useEffect(() => {
    const timer = setTimeout(() => set(word), rest);
    return () => clearTimeout(timer);
  }, [word]);
  return rested;
}
