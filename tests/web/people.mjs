// Steps at the desk beyond the first story: one person in several accounts, the desktop notification, cards and
// pictures in answers, the reader's time zone, and the desk on a phone.
import assert from "node:assert/strict";
import { acceptOffer, bubble, composer, desk, groupWith, say, talk, write } from "./desk.mjs";
import { Fan, picture, until } from "./world.mjs";

export const people = [
  {
    name: "a person with two accounts is one thread with a gutter for each, and it goes on while one looks",
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.agent });
      const shop = await Fan.follow(t.world, "shop", "Both");
      const club = await shop.followsToo("club"); // WeChat says by the unionid that it is the same person
      await page.getByText(/已连接/).waitFor();
      await club.says("club 这边也要退货");
      await acceptOffer(page);
      await write(page, "club 收到");
      await club.sees("the answer", (c) => c.text === "club 收到");
      await shop.says(say);
      await page.getByTestId("offer").waitFor();
      await composer(page).press("Escape");
      await acceptOffer(page);
      await page.getByTestId("merge").waitFor();
      await composer(page).press("Escape");
      await page.locator("body").press("u");
      const of = (account, text) => page.locator(`.in-account[data-account=${account}]`, { hasText: text }).first();
      await of("club", "club 这边也要退货").waitFor();
      await of("club", "club 收到").waitFor();
      await of("shop", say).waitFor();
      await club.says("club 又问一句");
      await of("club", "club 又问一句").waitFor();
      await page.a11y("one person");
      await write(page, "shop 收到"); // goes to the account that is open
      await shop.sees("the answer", (c) => c.text === "shop 收到");
      await of("shop", "shop 收到").waitFor();
      await composer(page).press("Escape");
      await page.locator("body").press("u");
      await page.locator(".in-account").first().waitFor({ state: "detached" });
    },
  },
  {
    name: "an offer rings, is shown on the desktop, and is accepted there",
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.agent, notifications: true });
      const fan = await Fan.follow(t.world, "shop", "Bell");
      await page.getByText(/已连接/).waitFor();
      await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
      await fan.says(say);
      await page.getByTestId("offer").waitFor();
      await until("a sound", () => page.evaluate(() => globalThis.rang > 0));
      const shown = () => page.evaluate(async () => (await (await navigator.serviceWorker.ready).getNotifications()).map((n) => ({ tag: n.tag, title: n.title, actions: (n.actions ?? []).map((a) => a.action) })));
      const [n] = await until("the notification", async () => { const list = await shown(); return list.length > 0 && list; });
      assert.match(n.title, /在等$/);
      assert.deepEqual(n.actions, ["accept", "decline"]);
      // The desktop is outside of the browser: this is what its worker hears when the button is pressed.
      const [worker] = page.context().serviceWorkers();
      await worker.evaluate(async (tag) => {
        const [notification] = await self.registration.getNotifications({ tag });
        self.dispatchEvent(new NotificationEvent("notificationclick", { notification, action: "accept" }));
      }, n.tag);
      await page.getByTestId("send").waitFor();
      await until("it to be gone from the desktop", async () => (await shown()).length === 0);
    },
  },
  {
    name: "a card and a smile go out from the composer, and canned replies take pictures and cards for one team",
    async run(t) {
      await desk(t, t.users.agent);
      const boss = await t.open({ user: t.users.supervisor });
      await boss.goto(`${t.world.url}/settings/canned`);
      await boss.locator("main").getByRole("button", { name: /新建快捷回复/ }).click();
      const dialog = boss.getByRole("dialog");
      await dialog.getByLabel("标题").first().fill("尺码表");
      await dialog.getByLabel("短码").fill("cm");
      const choose = async (label, option) => {
        await dialog.getByRole("combobox", { name: new RegExp(`^${label}(\\s|$)`) }).click();
        await boss.locator(".ant-select-dropdown:visible .ant-select-item", { hasText: option }).first().click();
      };
      await choose("谁能用", "一个组");
      await choose("组", "售后");
      await choose("账号", "shop");
      await dialog.getByRole("textbox", { name: "文字" }).fill("{fan.name}，这是尺码表：");
      await dialog.getByRole("button", { name: "图片" }).click();
      await dialog.getByRole("button", { name: "卡片" }).click();
      await dialog.locator("input[type=file]").setInputFiles({ name: "sizes.png", mimeType: "image/png", buffer: picture });
      await dialog.getByText("已上传").waitFor();
      await dialog.getByLabel("标题").nth(1).fill("怎么量脚长");
      await dialog.getByLabel("点开的地址").fill("https://example.com/size");
      await boss.a11y("canned reply");
      await dialog.getByRole("button", { name: /保\s*存/ }).click();
      await dialog.waitFor({ state: "hidden" });
      await boss.locator("tr", { hasText: "尺码表" }).getByText("图文").waitFor();

      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Cards");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page);
      await composer(page).fill("/cm");
      await page.locator(".canned-preview").getByText("这是尺码表").waitFor();
      await page.keyboard.press("Enter");
      await page.locator(".staged-block").nth(1).waitFor();
      await composer(page).press("Enter");
      await fan.sees("the picture", (c) => c.type === "image");
      await fan.sees("the card", (c) => c.type === "news");
      await fan.sees("the text", (c) => /这是尺码表/.test(c.text ?? ""));
      await page.locator(".msg.me", { hasText: "怎么量脚长" }).waitFor();

      await fan.says("还有吗"); // and the messages of the window are free again
      await bubble(page, "还有吗").waitFor();
      await page.getByRole("button", { name: "表情" }).click();
      await page.locator(".emoji button").first().click();
      await page.getByRole("button", { name: "卡片" }).click();
      const own = page.getByRole("dialog");
      await own.getByLabel("标题").fill("退货地址");
      await own.getByLabel("点开的地址").fill("https://example.com/back");
      await own.getByRole("button", { name: "放进待发" }).click();
      await page.locator(".staged-block", { hasText: "退货地址" }).waitFor();
      await page.getByTestId("send").click();
      await fan.sees("the own card", (c) => JSON.stringify(c).includes("退货地址"));
      await fan.sees("the smile", (c) => c.text === "😊");
    },
  },
  {
    name: "times are those of the reader, and an agent sees the own day",
    async run(t) {
      await desk(t, t.users.agent);
      const [here, there] = [await t.open({ user: t.users.agent, timezoneId: "Asia/Shanghai" }), await t.open({ user: t.users.supervisor, timezoneId: "America/New_York" })];
      const fan = await Fan.follow(t.world, "shop", "Zone");
      await here.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(here);
      await write(here, "几点都在");
      await fan.sees("the answer", (c) => c.text === "几点都在");
      const [account, conversation] = new URL(here.url()).pathname.split("/").slice(-2);
      const { messages } = await t.admin.call(`${talk}/ListMessages`, { account, openid: fan.openid, limit: 50 }).catch(() => ({}));
      await there.goto(`${t.world.url}/desk/${account}/${conversation}`);
      await bubble(there, say).first().waitFor();
      const shown = (p) => bubble(p, say).first().locator(".state").innerText();
      const [a, b] = [await shown(here), await shown(there)];
      assert.notEqual(a.slice(0, 2), b.slice(0, 2), "another hour in another zone");
      if (messages?.length) assert.equal(a.trim(), new Intl.DateTimeFormat("en-GB", { timeZone: "Asia/Shanghai", hour: "2-digit", minute: "2-digit" }).format(Number(messages[0].atUnixMs)));
      await there.goto(`${t.world.url}/reports`);
      await there.getByText("America/New_York").waitFor();
      await here.reload();
      await here.getByTestId("own-day").getByText(/今日接待/).waitFor();
    },
  },
  {
    name: "on a phone: the queue, the thread and the composer, and nothing else in the way",
    async run(t) {
      await desk(t, t.users.agent);
      await groupWith(t.admin, { method: "ROUTING_METHOD_LEAST_LOAD" });
      const page = await t.open({ user: t.users.agent, width: 390, height: 844 });
      const fan = await Fan.follow(t.world, "shop", "Pocket");
      await page.locator(".inbox").waitFor();
      await fan.says(say);
      await page.getByTestId("offer").getByRole("button", { name: /接受/ }).click();
      await composer(page).fill("手机上也能回");
      await page.getByTestId("send").click();
      await fan.sees("the answer", (c) => c.text === "手机上也能回");
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(wide, 0, "nothing is wider than the phone");
      const small = await page.evaluate(() => [...document.querySelectorAll(".composer button, .thread-head button, .offer button")].filter((b) => b.offsetParent && !b.closest(".chips") && !b.classList.contains("plain")).filter((b) => b.getBoundingClientRect().height < 43).map((b) => b.outerHTML.slice(0, 120)));
      assert.deepEqual(small, [], "what is touched is 44 high");
      await page.a11y("phone thread");
      await page.getByRole("button", { name: "返回" }).click();
      await page.locator(".queue-row").first().waitFor();
      await page.a11y("phone queue");
    },
  },
];
