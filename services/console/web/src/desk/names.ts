import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { AgentService } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { UserService } from "../gen/wxbus/console/v1/user_service_pb";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";

// useColleagueNames turns ids of users into what colleagues call them.
export function useColleagueNames(): (id: string) => string {
  const { users } = useClients();
  const { can } = useMe();
  const { data } = useQuery({ queryKey: ["colleagues"], queryFn: () => users.listColleagues({}), enabled: can(UserService.method.listColleagues), staleTime: 300_000 });
  return useMemo(() => {
    const names = new Map(data?.colleagues.map((x) => [x.name, x.displayName || x.name]));
    return (id: string) => names.get(id) ?? id;
  }, [data]);
}

// useGroupNames turns ids of groups into their names.
export function useGroupNames(): (id: string) => string {
  const { agents } = useClients();
  const { can } = useMe();
  const { data } = useQuery({ queryKey: ["groups"], queryFn: () => agents.listGroups({}), enabled: can(AgentService.method.listGroups), staleTime: 60_000 });
  return useMemo(() => {
    const names = new Map(data?.groups.map((g) => [g.id, g.name || g.id]));
    return (id: string) => names.get(id) ?? id;
  }, [data]);
}
