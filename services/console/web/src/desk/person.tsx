import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo } from "react";
import type { Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import type { PersonEntry } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import { fanKey } from "../feed/store";
import { useI18n } from "../i18n";
import { useClients } from "../rpc/clients";
import { accountHue, Monogram } from "../ui/parts";
import { dayNumber } from "../ui/zone";
import { Bubble, type BubbleActions } from "./bubble";
import { useDesk } from "./provider";
import { Thread, type ThreadRow } from "./thread";
import { changeText, told } from "./thread-pane";

const pageSize = 50;

// usePerson reads what was said with a person over all their accounts, the newest page first, and again with every
// fact about one of them.
function usePerson(c: Conversation) {
  const { conversations } = useClients();
  const { onEvent } = useDesk();
  const cache = useQueryClient();
  const query = useInfiniteQuery({
    queryKey: ["person", c.account, c.openid], initialPageParam: "", retry: 1,
    queryFn: ({ pageParam }) => conversations.listPersonEntries({ account: c.account, openid: c.openid, before: pageParam, limit: pageSize }),
    getNextPageParam: (last) => (last.more ? last.entries[0]?.cursor : undefined),
  });
  const pages = query.data?.pages;
  const fans = pages?.[0]?.fans;
  useEffect(() => onEvent((e) => {
    if ((fans ?? []).some((f) => fanKey(f) === fanKey(e))) void cache.invalidateQueries({ queryKey: ["person", c.account, c.openid] });
  }), [onEvent, fans, cache, c.account, c.openid]);
  const entries = useMemo(() => (pages ?? []).toReversed().flatMap((p) => p.entries), [pages]);
  return { ...query, entries, fans };
}

const accountOf = (e: PersonEntry): string => (e.entry.case ? e.entry.value.account : "");
const timeOf = (e: PersonEntry): number => (e.entry.case ? Number(e.entry.value.atUnixMs) : 0);

// PersonThread shows one person's accounts as one thread. The gutter in the colour of the account and its name where it
// changes tell which of them a line belongs to; what is written below goes to the account that is open.
export function PersonThread({ c, actions, nameOf, groupOf }: { c: Conversation; actions: BubbleActions; nameOf(id: string): string; groupOf(id: string): string }) {
  const { t, day, time } = useI18n();
  const { entries, hasNextPage, isFetchingNextPage, fetchNextPage, isLoading, error } = usePerson(c);
  const older = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  const rows = useMemo<ThreadRow[]>(() => {
    const list: ThreadRow[] = [{ key: "top", estimate: 26, fixed: true, render: () => <div className="activity">{error ? t("person.failed") : isLoading || hasNextPage ? t("thread.loading") : t("thread.beginning")}</div> }];
    let lastDay = Number.NaN;
    let lastAccount = "";
    for (const e of entries) {
      const { entry, cursor } = e;
      if (entry.case === "change" && !(entry.value.event.case === "conversationChanged" && told.has(entry.value.event.value.change))) continue;
      const at = timeOf(e);
      const account = accountOf(e);
      const n = dayNumber(at);
      if (n !== lastDay) list.push({ key: `d/${n}`, estimate: 26, render: () => <div className="activity">{day(at)}</div> });
      if (n !== lastDay || account !== lastAccount) list.push({ key: `a/${cursor}`, estimate: 26, render: () => <InAccount account={account}><div className="row g4 t12 t2"><Monogram account={account} size={16} />{account}</div></InAccount> });
      lastDay = n;
      lastAccount = account;
      list.push({
        key: `e/${cursor}`, estimate: entry.case === "message" ? 46 : 26,
        render: () => <InAccount account={account}>{entry.case === "message" ? <Bubble m={entry.value} selected={false} actions={actions} /> : entry.case === "change" ? <div className="activity">{time(at)} {changeText(entry.value, t, nameOf, groupOf)}</div> : null}</InAccount>,
      });
    }
    return list;
  }, [entries, hasNextPage, isLoading, error, actions, nameOf, groupOf, t, day, time]);
  return <Thread key={`person/${fanKey(c)}`} rows={rows} onTop={older} label={t("person.thread")} />;
}

function InAccount({ account, children }: { account: string; children: React.ReactNode }) {
  return <div className="in-account" data-account={account}><i style={{ background: accountHue(account) }} aria-hidden="true" /><div className="grow">{children}</div></div>;
}
