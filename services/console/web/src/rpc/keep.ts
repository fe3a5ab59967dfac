import type { Query, QueryKey } from "@tanstack/react-query";

// keepOf shows the last answer until the next one is there, as long as both are about the same: the first
// `about` parts of the key name it. One fan's quota must never be seen at another's name.
export function keepOf(key: QueryKey, about: number) {
  return <T>(before: T | undefined, query: Query<T, Error, T, QueryKey> | undefined): T | undefined =>
    query && key.slice(0, about).every((part, i) => query.queryKey[i] === part) ? before : undefined;
}
