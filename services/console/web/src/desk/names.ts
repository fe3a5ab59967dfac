import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { AgentService, type ListAgentsResponse } from "../gen/wxbus/agentrouting/v1/agent_service_pb";
import { UserService } from "../gen/wxbus/console/v1/user_service_pb";
import { useClients } from "../rpc/clients";
import { useMe } from "../session/session";

// useColleagueNames turns ids of users and agents into what colleagues call them.
export function useColleagueNames(): (id: string) => string {
  const { users, agents } = useClients();
  const { can } = useMe();
  const desk = useQuery({ queryKey: ["agents", ""], queryFn: () => agents.listAgents({}), enabled: can(AgentService.method.listAgents), select: namesOf, staleTime: 60_000 }).data;
  const { data } = useQuery({ queryKey: ["colleagues"], queryFn: () => users.listColleagues({}), enabled: can(UserService.method.listColleagues), staleTime: 300_000 });
  return useMemo(() => {
    const names = new Map(data?.colleagues.map((x) => [x.name, x.displayName || x.name]));
    const served = new Map(desk?.map((a) => [a.id, a.name]));
    return (id: string) => names.get(id) ?? (served.get(id) || id);
  }, [data, desk]);
}

// Only the names count: loads change every few seconds, and threads need not be drawn again for them.
const namesOf = (res: ListAgentsResponse) => res.agents.map((a) => ({ id: a.id, name: a.name }));

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
