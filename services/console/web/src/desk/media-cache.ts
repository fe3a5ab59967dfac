import type { Clients } from "../rpc/clients";

// A file is fetched once and kept while the page is open; the oldest make room for new ones.
const kept = new Map<string, Promise<string>>();
const most = 200;

// Only types that cannot carry script become addresses of their own type; everything else is bytes.
const shown = /^(image\/(jpeg|png|gif|webp)|audio\/[\w.+-]+|video\/[\w.+-]+)$/;

export function fetchMedia(clients: Pick<Clients, "conversations">, account: string, id: string, playable: boolean): Promise<string> {
  const key = `${account}/${id}/${playable}`;
  const known = kept.get(key);
  if (known) return known;
  const loading = load(clients, account, id, playable);
  kept.set(key, loading);
  loading.catch(() => kept.delete(key));
  const [oldest] = kept.keys();
  if (kept.size > most && oldest) {
    void kept.get(oldest)?.then((url) => URL.revokeObjectURL(url));
    kept.delete(oldest);
  }
  return loading;
}

async function load(clients: Pick<Clients, "conversations">, account: string, id: string, playable: boolean): Promise<string> {
  const parts: BlobPart[] = [];
  let type = "";
  for await (const piece of clients.conversations.getMedia({ account, id, playable })) {
    type ||= piece.contentType;
    parts.push(piece.data as Uint8Array<ArrayBuffer>);
  }
  return URL.createObjectURL(new Blob(parts, { type: shown.test(type) ? type : "application/octet-stream" }));
}
