import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, useCallback, useContext, useEffect, useMemo, type ReactNode } from "react";
import type { DescMethod } from "@bufbuild/protobuf";
import type { GetSessionResponse, Session } from "../gen/wxbus/console/v1/session_service_pb";
import { Role } from "../gen/wxbus/console/v1/user_service_pb";
import { useClients } from "../rpc/clients";
import { onUnauthenticated } from "../rpc/transport";
import { clock } from "../ui/clock";

interface Me {
  session: Session | undefined;
  user: string;
  displayName: string;
  state: "loading" | "failed" | "in" | "out";
  error: unknown;
  welcome: GetSessionResponse | undefined;
  // can tells whether the roles of the user allow a method.
  can(method: DescMethod): boolean;
  is(role: Role): boolean;
  reload(): Promise<unknown>;
  logOut(): Promise<void>;
}

const Context = createContext<Me | null>(null);
const key = ["session"];

export function SessionProvider({ children }: { children: ReactNode }) {
  const clients = useClients();
  const cache = useQueryClient();
  const query = useQuery({
    queryKey: key,
    queryFn: async () => {
      const res = await clients.session.getSession({});
      clock.follow(Number(res.serverUnixMs));
      return res;
    },
    staleTime: Infinity, retry: 2,
  });
  const reload = useCallback(() => cache.invalidateQueries({ queryKey: key }), [cache]);
  useEffect(() => onUnauthenticated(() => void reload()), [reload]);
  const logOut = useCallback(async () => {
    await clients.session.logOut({});
    cache.removeQueries({ predicate: (q) => q.queryKey[0] !== key[0] });
    await reload();
  }, [clients, cache, reload]);

  const me = useMemo<Me>(() => {
    const session = query.data?.session;
    const methods = new Set(session?.methods);
    return {
      session, welcome: query.data, error: query.error, reload, logOut,
      user: session?.user?.name ?? "",
      displayName: session?.user?.displayName || session?.user?.name || "",
      state: query.data ? (session ? "in" : "out") : query.error ? "failed" : "loading",
      can: (m) => methods.has(`${m.parent.typeName}/${m.name}`),
      is: (role) => session?.user?.roles.includes(role) ?? false,
    };
  }, [query.data, query.error, reload, logOut]);
  return <Context.Provider value={me}>{children}</Context.Provider>;
}

export function useMe(): Me {
  const me = useContext(Context);
  if (!me) throw new Error("useMe outside of SessionProvider");
  return me;
}

export { Role };
