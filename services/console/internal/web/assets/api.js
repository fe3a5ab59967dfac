// Calls of the page. Every failure becomes an ApiError with a kind that the page can tell.

export class ApiError extends Error {
  constructor(kind, code, message) {
    super(message);
    this.kind = kind; // "offline": no answer; "key": a key is needed; "refused": an answer that says no
    this.code = code;
  }
}

let key = "";
try { key = sessionStorage.getItem("wxbus.key") || ""; } catch { /* not kept */ }

export const hasKey = () => key !== "";

export function setKey(value) {
  key = value;
  try { sessionStorage.setItem("wxbus.key", value); } catch { /* not kept */ }
}

// newKey makes an idempotency key; randomUUID exists in secure contexts only.
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

export const fanPath = (fan) =>
  `/api/v1/accounts/${encodeURIComponent(fan.account)}/waiting/${encodeURIComponent(fan.openid)}`;
export const quotaPath = (fan) =>
  `/api/v1/accounts/${encodeURIComponent(fan.account)}/fans/${encodeURIComponent(fan.openid)}/quota`;
export const messagePath = (fan, id) =>
  `/api/v1/accounts/${encodeURIComponent(fan.account)}/messages/${encodeURIComponent(id)}`;

export const get = (path) => call("GET", path);
export const post = (path, body, idempotencyKey) => call("POST", path, body, idempotencyKey);

async function call(method, path, body, idempotencyKey) {
  const headers = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  let answer;
  try {
    answer = await fetch(path, {
      method, headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(method === "GET" ? 5000 : 10000),
    });
  } catch (e) {
    throw new ApiError("offline", "offline", String(e && e.message || e));
  }
  let data = null;
  try { data = await answer.json(); } catch { /* judged below */ }
  if (answer.ok && data !== null) return data;
  const error = (data && data.error) || {};
  const kind = answer.status === 401 ? "key" : answer.status >= 500 ? "offline" : "refused";
  throw new ApiError(kind, error.code || String(answer.status), error.message || answer.statusText);
}
