import { useMutation, useQuery } from "@tanstack/react-query";
import { Button, Input } from "antd";
import { useMemo, useState } from "react";
import { Presence } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import type { Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useI18n } from "../i18n";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { useDesk } from "./provider";
import { Icon } from "../ui/icon";
import { AgentAvatar } from "../ui/parts";

type Target = { id: string; name: string; kind: "agent" | "group"; hint: string; off: boolean };

// TransferDialog gives a conversation to a colleague or to a group, with a note. Arrows and Enter are enough.
export function TransferDialog({ c, onDone, onError }: { c: Conversation; onDone(name: string): void; onError(err: unknown): void }) {
  const { t } = useI18n();
  const { agents, conversations } = useClients();
  const { user } = useMe();
  const { store } = useDesk();
  const [query, setQuery] = useState("");
  const [note, setNote] = useState("");
  const [at, setAt] = useState(0);
  const people = useQuery({ queryKey: ["agents", ""], queryFn: () => agents.listAgents({}) });
  const groups = useQuery({ queryKey: ["groups"], queryFn: () => agents.listGroups({}) });
  const targets = useMemo<Target[]>(() => [
    ...(people.data?.agents ?? []).filter((a) => a.id !== user && a.presence === Presence.ONLINE).map((a) => {
      const capacity = a.effectiveCapacity || a.capacity;
      return { id: a.id, name: a.name || a.id, kind: "agent" as const, hint: t("transfer.load", { load: a.load, capacity }), off: a.load >= capacity };
    }),
    ...(groups.data?.groups ?? []).filter((g) => g.id !== c.group || c.agent).map((g) => ({ id: g.id, name: g.name || g.id, kind: "group" as const, hint: t("transfer.waiting", { count: g.waiting }), off: false })),
  ].filter((x) => x.name.toLowerCase().includes(query.toLowerCase()) || x.id.includes(query.toLowerCase())), [people.data, groups.data, user, c, query, t]);
  const transfer = useMutation({
    mutationFn: (x: Target) => conversations.transfer({ account: c.account, conversation: c.id, actor: user, note, to: x.kind === "agent" ? { case: "toAgent", value: x.id } : { case: "toGroup", value: x.id } }),
    onSuccess: (res, x) => {
      if (res.conversation) store.put([res.conversation]);
      onDone(x.name);
    },
    onError,
  });
  const chosen = targets[Math.min(at, targets.length - 1)];
  return (
    <div className="col">
      <Input autoFocus prefix={<Icon name="search" />} placeholder={t("transfer.search")} aria-label={t("transfer.search")} role="combobox" aria-expanded aria-controls="transfer-list" aria-activedescendant={chosen ? `to-${chosen.kind}-${chosen.id}` : undefined}
        value={query} onChange={(e) => { setQuery(e.target.value); setAt(0); }} onKeyDown={(e) => {
          if (e.nativeEvent.isComposing) return;
          if (e.key === "ArrowDown" || e.key === "ArrowUp") { e.preventDefault(); setAt((v) => Math.min(targets.length - 1, Math.max(0, v + (e.key === "ArrowDown" ? 1 : -1)))); }
          if (e.key === "Enter" && chosen && !chosen.off) transfer.mutate(chosen);
        }} />
      <div role="listbox" id="transfer-list" aria-label={t("transfer.title")} className="palette-list" style={{ margin: 0 }}>
        {targets.map((x, i) => (
          <div key={`${x.kind}/${x.id}`} id={`to-${x.kind}-${x.id}`} role="option" aria-selected={x === chosen} aria-disabled={x.off} tabIndex={-1} onClick={() => setAt(i)} onDoubleClick={() => !x.off && transfer.mutate(x)} onKeyDown={undefined}>
            {x.kind === "agent" ? <AgentAvatar name={x.name} size={20} /> : <Icon name="user" />}<span className="grow">{x.name}</span><span className="t3 t12">{x.hint}</span>
          </div>
        ))}
        {targets.length === 0 && <p className="t3">{t("transfer.none")}</p>}
      </div>
      <Input.TextArea placeholder={t("transfer.note")} aria-label={t("transfer.note")} value={note} onChange={(e) => setNote(e.target.value)} rows={2} maxLength={1000} />
      <Button type="primary" disabled={!chosen || chosen.off} loading={transfer.isPending} onClick={() => chosen && transfer.mutate(chosen)}>{t("transfer.do")}</Button>
    </div>
  );
}
