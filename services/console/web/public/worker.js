// The worker of the page has one task: a click on a desktop notification reaches the page, with the button that was
// pressed. It has no fetch handler, so nothing that the page loads or sends goes through it, and it calls nothing
// itself: the page acts, with its own session.
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (e) => e.waitUntil(self.clients.claim()));
self.addEventListener("notificationclick", (e) => {
  e.notification.close();
  e.waitUntil(tell({ kind: "wxbus.notification", action: e.action || "open", account: e.notification.data?.account, conversation: e.notification.data?.conversation }));
});

async function tell(said) {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find((p) => p.focused) ?? pages.find((p) => p.visibilityState === "visible") ?? pages[0];
  if (!page) return self.clients.openWindow(`/desk/${encodeURIComponent(said.account)}/${encodeURIComponent(said.conversation)}`);
  page.postMessage(said);
  return said.action === "decline" ? undefined : page.focus().catch(() => undefined); // a browser may keep what the person looks at
}
