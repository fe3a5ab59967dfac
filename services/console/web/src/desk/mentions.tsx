import { useQuery } from "@tanstack/react-query";
import { UserService } from "../gen/wxbus/console/v1/user_service_pb";
import { useI18n } from "../i18n";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";
import { AgentAvatar } from "../ui/parts";

// Mentions offers colleagues after an @ at the end of a note.
export function Mentions({ area, text, onPick }: { area: HTMLTextAreaElement | null; text: string; onPick(text: string): void }) {
  const { t } = useI18n();
  const { users } = useClients();
  const { can, user } = useMe();
  const { data } = useQuery({ queryKey: ["colleagues"], queryFn: () => users.listColleagues({}), enabled: can(UserService.method.listColleagues), staleTime: 300_000 });
  const word = /@([^\s@]*)$/.exec(text)?.[1];
  if (word === undefined) return null;
  const found = (data?.colleagues ?? []).filter((c) => c.name !== user && (c.name.includes(word) || c.displayName.includes(word)) && c.displayName !== word).slice(0, 6);
  if (found.length === 0) return null;
  return (
    <div className="popup mentions" role="group" aria-label={t("transfer.agents")}>
      {found.map((c) => (
        <button key={c.name} type="button" className="plain popup-row" onClick={() => { onPick(`${text.slice(0, text.length - word.length)}${c.displayName || c.name} `); area?.focus(); }}>
          <AgentAvatar name={c.displayName || c.name} size={20} /> {c.displayName || c.name} <span className="t3 t12">{c.name}</span>
        </button>
      ))}
    </div>
  );
}
