import type { Media } from "../gen/wxbus/agentrouting/v1/conversation_pb";

// addressOf is where the console gives a kept file: as it was sent, or the version that browsers play when there is one.
// The browser asks for the parts that it needs, so a film can be entered in its middle.
export function addressOf(account: string, file: Pick<Media, "id" | "playableType">): string {
  return `/api/media/${encodeURIComponent(account)}/${encodeURIComponent(file.id)}${file.playableType ? "?playable=1" : ""}`;
}

// bounded keeps what is known of the files that were looked at last; the oldest make room for new ones.
export function bounded<V>(most: number) {
  const kept = new Map<string, V>();
  return {
    get: (key: string) => kept.get(key),
    set(key: string, value: V) {
      kept.delete(key);
      kept.set(key, value);
      const [oldest] = kept.keys();
      if (kept.size > most && oldest !== undefined) kept.delete(oldest);
    },
  };
}
