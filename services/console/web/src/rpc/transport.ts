import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { clock } from "../ui/clock";

// unauthenticated is called when the server says that nobody is logged in any more.
let unauthenticated: () => void = () => undefined;
export const onUnauthenticated = (f: () => void): void => void (unauthenticated = f);

// The session is a cookie that scripts cannot read; SameSite and the header below, which no form and
// no foreign page can send, keep strangers from using it.
const guard: Interceptor = (next) => async (req) => {
  req.header.set("X-Wxbus-Csrf", "1");
  try {
    const res = await next(req);
    const date = Date.parse(res.header.get("Date") ?? "");
    // A Date has no fraction: it corrects a clock that is off, and leaves one that is right alone.
    if (!Number.isNaN(date) && Math.abs(date - clock.now()) > 5_000) clock.follow(date);
    return res;
  } catch (err) {
    if (err instanceof ConnectError && err.code === Code.Unauthenticated && !req.url.includes("SessionService")) unauthenticated();
    throw err;
  }
};

export const transport = createConnectTransport({ baseUrl: "/api", interceptors: [guard], useHttpGet: false, defaultTimeoutMs: undefined });
