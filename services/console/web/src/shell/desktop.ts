import { loadSounds } from "./sounds";

// What a desktop notification is about.
export interface About {
  account: string;
  conversation: string;
}

export type DesktopAction = "open" | "accept" | "decline";

interface Said extends About {
  kind: "wxbus.notification";
  action: DesktopAction;
}

const isSaid = (v: unknown): v is Said => typeof v === "object" && v !== null && (v as Said).kind === "wxbus.notification" && typeof (v as Said).account === "string" && typeof (v as Said).conversation === "string" && ["open", "accept", "decline"].includes((v as Said).action);

// worker is what shows notifications with buttons. A page without a secure connection has none, and shows plain ones.
let worker: Promise<ServiceWorkerRegistration | undefined> | undefined;

export function startWorker(): void {
  worker ??= navigator.serviceWorker?.register("/worker.js").then(() => navigator.serviceWorker.ready).catch(() => undefined) ?? Promise.resolve(undefined);
}

// onDesktop hears what somebody pressed on a notification.
export function onDesktop(f: (about: About, action: DesktopAction) => void): () => void {
  const listen = (e: MessageEvent) => {
    if (isSaid(e.data)) f({ account: e.data.account, conversation: e.data.conversation }, e.data.action);
  };
  navigator.serviceWorker?.addEventListener("message", listen);
  navigator.serviceWorker?.startMessages?.();
  return () => navigator.serviceWorker?.removeEventListener("message", listen);
}

const allowed = () => loadSounds().desktop && typeof Notification !== "undefined" && Notification.permission === "granted";

interface Shown {
  tag: string;
  title: string;
  body: string;
  about: About;
  // actions are offered as buttons where the system has them.
  actions?: { action: DesktopAction; title: string }[];
  onClick(): void;
}

// desktop shows a notification while nobody looks at the page.
export async function desktop({ tag, title, body, about, actions, onClick }: Shown): Promise<void> {
  if (!allowed() || document.hasFocus()) return;
  const registration = await worker;
  if (registration?.active) {
    const options: NotificationOptions & { actions?: Shown["actions"] } = { tag, body, icon: "/icon.svg", data: about, ...(actions ? { actions, requireInteraction: true } : {}) };
    return registration.showNotification(title, options).catch(() => undefined); // the permission was taken back meanwhile
  }
  const n = new Notification(title, { tag, body, icon: "/icon.svg" });
  n.addEventListener("click", () => {
    window.focus();
    onClick();
    n.close();
  });
  return undefined;
}

// takeBack removes a notification that is no longer true.
export async function takeBack(tag: string): Promise<void> {
  for (const n of (await (await worker)?.getNotifications({ tag })) ?? []) n.close();
}
