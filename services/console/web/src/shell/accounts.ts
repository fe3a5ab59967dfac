import { useQuery } from "@tanstack/react-query";
import { AccountService } from "../gen/wxbus/token/v1/account_service_pb";
import { StatusService } from "../gen/wxbus/console/v1/status_service_pb";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";

// useAccounts returns the names of the accounts that the user may see.
export function useAccounts(): string[] {
  const { accounts, status } = useClients();
  const me = useMe();
  const listed = me.can(AccountService.method.listAccounts);
  const { data } = useQuery({
    queryKey: ["account-names", listed],
    queryFn: async () => {
      if (listed) return (await accounts.listAccounts({ pageSize: 1000 })).accounts.map((a) => a.settings?.name ?? "");
      return (await status.getStatus({})).accounts.map((a) => a.name);
    },
    enabled: listed || me.can(StatusService.method.getStatus),
    staleTime: 60_000,
  });
  const seen = me.session?.user?.accounts ?? [];
  if (data) return data.filter(Boolean);
  return seen.filter((a) => a !== "*");
}

// searched names the accounts that are asked one by one: who may see some of several must say which.
export function searched(own: readonly string[], shown: readonly string[]): string[] {
  const most = 8;
  return own.includes("*") || own.length < 2 ? [""] : shown.filter((a) => own.includes(a)).slice(0, most);
}
