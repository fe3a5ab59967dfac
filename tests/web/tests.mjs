import assert from "node:assert/strict";
import { acceptOffer, bubble, composer, desk, groupWith, join, say, talk, write } from "./desk.mjs";
import { hostile } from "./hostile.mjs";
import { API, Fan, film, mini, picture, startLink, tone, until } from "./world.mjs";

const rules = "wxbus.rule.v1.RuleService";

// toPeople publishes that what no rule of the shop has words for goes to the group.
async function toPeople({ admin }) {
  const yaml = "name: nothing-fits\naccount: shop\npriority: -50\non: [text]\nmatch: any\ndo:\n  - transfer: {queue: aftersales}\n";
  const { rules: known = [] } = await admin.call(`${rules}/ListRules`, { pageSize: 200, search: "nothing-fits" });
  if (known.length === 0) await admin.call(`${rules}/SaveRule`, { yaml });
  await admin.call(`${rules}/PublishDraft`, { note: "test" });
  await until("the rule to be live", async () => (await admin.call(`${rules}/DryRun`, { account: "shop", on: "text", text: "qwerty" })).rule === "nothing-fits");
}

export const tests = [
  {
    name: "log-in refuses a wrong password, lets the right one in, and passes axe",
    short: true,
    async run({ open, users }) {
      const page = await open();
      await page.waitForSelector("#login-name");
      await page.a11y("log-in");
      await page.fill("#login-name", users.agent.name);
      await page.fill("#login-password", "certainly wrong");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").waitFor();
      await page.fill("#login-password", users.agent.password);
      await page.keyboard.press("Enter");
      await page.waitForSelector(".app");
    },
  },
  {
    name: "a fan asks, an agent accepts, both talk, the conversation ends and is scored",
    short: true,
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Ask");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await page.getByTestId("offer").waitFor();
      await acceptOffer(page);
      await bubble(page, say).first().waitFor();
      await write(page, "您好，我来帮您退货");
      await fan.sees("the reply", (c) => c.text === "您好，我来帮您退货");
      await bubble(page, "您好，我来帮您退货").getByText("微信已接收").waitFor();
      await fan.says("订单号是 9912");
      await bubble(page, "订单号是 9912").waitFor();
      await page.a11y("desk");
      await composer(page).press("Escape");
      await page.locator("body").press("e");
      await page.getByText("会话已结束").first().waitFor();
      const survey = await fan.sees("the survey", (c) => c.type === "msgmenu");
      const best = survey.content.menu.items.at(-1);
      await fan.push("text", { Content: best.text, bizmsgmenuid: best.id });
      await page.locator(".survey").waitFor();
      assert.match(await page.locator(".survey").innerText(), /[1-5]\/5 分/);
      await fan.sees("the thanks", (c) => /感谢您的评价/.test(c.text ?? ""));
    },
  },
  {
    name: "the whole story: no rule fits, the queue, an offer, pictures both ways, a canned reply, another agent, silence, the end and the score",
    async run(t) {
      await desk(t, t.users.agent);
      await t.admin.call("wxbus.agentrouting.v1.AgentService/PutCannedReply", { reply: { title: "退款时间", shortcut: "tk", scope: "CANNED_SCOPE_ALL", blocks: [{ content: { text: { content: "签收后 3 个工作日内原路退回。" } } }] } });
      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Story");
      await page.getByText(/已连接/).waitFor();
      await toPeople(t);
      const asked = "鞋子穿着有点挤脚怎么办呀"; // which no rule has words for
      await fan.says(asked);
      await acceptOffer(page);
      await bubble(page, asked).first().waitFor();
      await fan.sendsImage();
      await page.locator(".msg.fan img.picture, .msg.fan .picture img").first().waitFor();
      await page.locator('input[type=file][accept^="image"]').setInputFiles({ name: "slip.png", mimeType: "image/png", buffer: picture });
      await page.locator(".staged-block").waitFor();
      await page.getByTestId("send").click();
      await fan.sees("the picture", (c) => c.type === "image");
      await composer(page).fill("/tk");
      await page.locator(".canned-preview").waitFor();
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelector(".composer textarea").value.startsWith("签收后"));
      await page.keyboard.press("Enter");
      await fan.sees("the canned reply", (c) => /^签收后/.test(c.text ?? ""));
      await join(t, t.users.supervisor);
      const other = await t.open({ user: t.users.supervisor });
      await composer(page).press("Escape");
      await page.locator("body").press("t");
      const dialog = page.getByRole("dialog");
      await dialog.getByPlaceholder("给下一位的备注").fill("退款归你");
      await dialog.getByRole("option").first().click();
      await dialog.getByRole("button", { name: "转接" }).click();
      await acceptOffer(other);
      await other.getByText("退款归你").first().waitFor();
      await groupWith(t.admin, { idleTimeoutS: 3600, idleWarningS: 3599 });
      await fan.says("好的，我等退款"); // a word starts the time, as the group is now
      await fan.sees("the warning", (c) => /会话将自动结束/.test(c.text ?? ""));
      await other.locator(".activity", { hasText: "已提醒粉丝会话即将结束" }).first().waitFor();
      await other.locator("body").press("e");
      await other.getByText("会话已结束").first().waitFor();
      const survey = await fan.sees("the survey", (c) => c.type === "msgmenu");
      const best = survey.content.menu.items[0];
      await fan.push("text", { Content: best.text, bizmsgmenuid: best.id });
      await other.locator(".survey").waitFor();
    },
  },
  {
    name: "hostile texts of fans stay texts",
    short: true,
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Xss");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page);
      const texts = hostile;
      for (const text of texts) await fan.says(text);
      await page.waitForFunction((n) => document.querySelectorAll(".msg.fan").length >= n || document.querySelector(".thread .visually-hidden"), 1);
      await until("every text to arrive", async () => (await page.locator(".msg.fan", { hasText: texts.at(-1).trim().slice(0, 40) }).count()) > 0);
      assert.equal(await page.evaluate(() => globalThis.pwned), undefined);
      const hrefs = await page.evaluate(() => [...document.querySelectorAll(".thread a")].map((a) => a.href));
      assert.ok(hrefs.every((h) => /^https?:/.test(h)), hrefs.join(" "));
      assert.equal(await page.locator(".thread script, .thread iframe, .thread img[src^=x], .thread svg[onload]").count(), 0);
    },
  },
  {
    name: "two agents race for one fan and one of them gets it",
    short: true,
    async run(t) {
      await desk(t, t.users.agent, t.users.supervisor);
      await groupWith(t.admin, { method: "ROUTING_METHOD_MANUAL" });
      const [a, b] = [await t.open({ user: t.users.agent }), await t.open({ user: t.users.supervisor })];
      const fan = await Fan.follow(t.world, "shop", "Race");
      await fan.says(say);
      for (const p of [a, b]) {
        await p.getByRole("tab", { name: /排队/ }).click();
        await p.locator(".queue-row").first().click();
        await p.getByTestId("take").waitFor();
      }
      // Who is late may find that the button is gone already.
      await Promise.all([a, b].map((p) => p.getByTestId("take").click({ timeout: 3_000 }).catch(() => undefined)));
      const writers = async () => (await a.getByTestId("send").count()) + (await b.getByTestId("send").count());
      await until("one of them to have it", async () => (await writers()) >= 1);
      for (const p of [a, b]) await p.getByTestId("take").waitFor({ state: "hidden" }); // both know by now
      assert.equal(await writers(), 1, "exactly one agent may write");
    },
  },
  {
    name: "images go both ways",
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Img");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page);
      await fan.sendsImage();
      const shown = page.locator(".msg.fan img.picture, .msg.fan .picture img").first();
      await shown.waitFor();
      await until("the picture to be drawn", () => shown.evaluate((img) => img.naturalWidth === 16));
      assert.match(await shown.getAttribute("src"), /^\/api\/media\/shop\//, "a picture is shown by its address");
      await composer(page).press("Escape");
      await page.locator("body").press("ArrowUp");
      await page.locator("body").press("Space");
      await page.locator(".ant-image-preview img").waitFor();
      await page.keyboard.press("Escape");
      await page.locator(".ant-image-preview img").waitFor({ state: "hidden" });
      await page.locator('input[type=file][accept^="image"]').setInputFiles({ name: "receipt.png", mimeType: "image/png", buffer: Buffer.from("iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGklEQVR4nGNkYPjPQApgIkn1qIZRDUNKAwBM9gEf2s3xVwAAAABJRU5ErkJggg==", "base64") });
      await page.locator(".staged-block").waitFor();
      await page.getByTestId("send").click();
      await fan.sees("the image", (c) => c.type === "image");
      // Pictures grow after they were measured; a small thread that begins with them must come to rest all the same.
      await page.setViewportSize({ width: 1280, height: 720 });
      await page.reload();
      await page.locator(".msg.me img.picture, .msg.me .picture img").first().waitFor();
      await page.getByTestId("send").waitFor();
    },
  },
  {
    name: "a voice plays, and a film is entered in its middle by asking for that part",
    short: true,
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.agent });
      const parts = [];
      page.on("response", (r) => {
        const from = /^bytes=(\d+)-/.exec(r.request().headers().range ?? "")?.[1];
        if (new URL(r.url()).pathname.startsWith("/api/media/shop/")) parts.push({ status: r.status(), from: Number(from ?? 0) });
      });
      const fan = await Fan.follow(t.world, "shop", "Film");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page);

      await fan.sends("voice", tone(3), { Format: "wav", Recognition: "鞋子小了一码" });
      const voice = page.locator("[data-voice]");
      await voice.getByText("鞋子小了一码").waitFor();
      await voice.getByText("0:03").waitFor();
      await until("the loudness to be drawn", () => voice.evaluate((el) => new Set([...el.querySelectorAll("rect")].map((r) => r.getAttribute("height"))).size > 3));
      await voice.locator("[data-play]").click();
      await until("the voice to play", () => voice.locator("audio").evaluate((el) => el.currentTime > 0));

      const padding = 4 << 20;
      await fan.sends("video", await film(padding));
      const video = page.locator(".msg.fan video");
      await until("the film to tell its length", () => video.evaluate((el) => Math.round(el.duration) === 12));
      assert.ok(parts.some((p) => p.from > padding / 2 && p.status === 206), `only a part was asked for: ${JSON.stringify(parts)}`);
      const at = await video.evaluate((el) => new Promise((done) => {
        el.addEventListener("seeked", () => done(el.currentTime), { once: true });
        el.currentTime = 9;
      }));
      assert.equal(at, 9);
      await page.a11y("media");
    },
  },
  {
    name: "a canned reply is found with a slash and filled in",
    async run(t) {
      await desk(t, t.users.agent);
      await t.admin.call("wxbus.agentrouting.v1.AgentService/PutCannedReply", { reply: { title: "退货说明", shortcut: "th", scope: "CANNED_SCOPE_ALL", blocks: [{ content: { text: { content: "您好 {fan.name}，请在 {日期} 前寄回。" } } }] } });
      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Canned");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page);
      await composer(page).fill("/th");
      await page.getByTestId("canned").getByText("退货说明").waitFor();
      await page.locator(".canned-preview").waitFor();
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelector(".composer textarea").value.includes("{日期}"));
      await page.keyboard.type("12 月 1 日"); // the variable is selected
      const text = await composer(page).inputValue();
      assert.match(text, /^您好 .+，请在 12 月 1 日 前寄回。$/);
      await page.keyboard.press("Enter");
      await fan.sees("the canned reply", (c) => c.text === text);
    },
  },
  {
    name: "a conversation is transferred with a note, and held back from talking twice",
    async run(t) {
      await desk(t, t.users.agent, t.users.supervisor);
      const [a, b] = [await t.open({ user: t.users.agent }), await t.open({ user: t.users.supervisor })];
      const fan = await Fan.follow(t.world, "shop", "Move");
      await a.getByText(/已连接/).waitFor();
      await fan.says(say);
      const first = await until("an offer", async () => ((await a.getByTestId("offer").count()) ? a : (await b.getByTestId("offer").count()) ? b : undefined));
      const second = first === a ? b : a;
      await acceptOffer(first);
      await write(first, "我请同事来看");
      await fan.sees("the reply", (c) => c.text === "我请同事来看");
      await composer(first).press("Escape");
      await first.locator("body").press("t");
      await first.getByRole("dialog").getByPlaceholder("给下一位的备注").fill("熟客，请优先");
      await first.getByRole("dialog").getByRole("option").first().click();
      await first.getByRole("dialog").getByRole("button", { name: "转接" }).click();
      await second.getByRole("tab", { name: /我的/ }).click();
      await until("the colleague to have it", async () => (await second.getByTestId("offer").count()) > 0 || (await second.locator(".queue-row").count()) > 0);
      if (await second.getByTestId("offer").count()) await acceptOffer(second);
      else await second.locator(".queue-row").first().click();
      await bubble(second, "我请同事来看").first().waitFor();
      await second.locator(".note", { hasText: "熟客" }).or(second.getByText("熟客，请优先")).first().waitFor();
    },
  },
  {
    name: "a cut connection resumes without a gap",
    short: true,
    async run(t) {
      await desk(t, t.users.agent);
      const link = await startLink(t.world.url);
      const page = await t.open({ user: t.users.agent, url: link.url });
      const fan = await Fan.follow(t.world, "shop", "Cut");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page);
      await composer(page).fill("草稿不能丢");
      link.cut();
      await page.getByTestId("link-down").waitFor();
      for (let i = 1; i <= 5; i++) await fan.says(`断线期间第 ${i} 条`);
      link.restore();
      await bubble(page, "断线期间第 5 条").waitFor({ timeout: 60_000 });
      await page.getByTestId("link-back").getByText(/无缺口/).waitFor();
      for (let i = 1; i <= 5; i++) assert.equal(await page.locator(".msg.fan", { hasText: `断线期间第 ${i} 条` }).count(), 1, `message ${i} exactly once`);
      const order = await page.locator(".msg.fan", { hasText: "断线期间第" }).allInnerTexts();
      assert.deepEqual(order.map((x) => /第 (\d)/.exec(x)[1]), ["1", "2", "3", "4", "5"]);
      assert.equal(await composer(page).inputValue(), "草稿不能丢");
      await page.reload();
      await composer(page).waitFor();
      assert.equal(await composer(page).inputValue(), "草稿不能丢", "the draft survives a reload");
      link.stop();
    },
  },
  {
    name: "the quota runs out while somebody types, and the composer says what still works",
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Quota");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page);
      await page.getByTestId("quota").waitFor();
      for (let i = 1; i <= 6 && (await page.getByTestId("window-closed").count()) === 0; i++) {
        const left = Number((await page.getByTestId("quota").innerText()).split("/")[0]);
        if (left === 0) break;
        await write(page, `第 ${i} 条`);
        await until("the quota to go down", async () => (await page.getByTestId("window-closed").count()) > 0 || Number((await page.getByTestId("quota").innerText()).split("/")[0]) < left);
      }
      await page.getByTestId("kept").waitFor(); // for the survey or the goodbye
      await composer(page).fill("我还想说一句");
      await composer(page).press("Enter"); // which alone does not take what is kept
      await page.getByTestId("send").getByText("仍然发送").click();
      await page.getByTestId("window-closed").waitFor();
      await fan.says("还在吗"); // any message opens it again
      await composer(page).waitFor();
    },
  },
  {
    name: "the window closes while somebody types, the draft stays, and the next message opens it again",
    short: true,
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, mini, "Window"); // of an account whose window is a few seconds
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page, page.getByTestId("window-closed"));
      // However slow this is, the window may be closed again: the fan writes until there is time to type.
      const typed = "这句还没写完";
      await until("a draft to be written", async () => {
        if ((await composer(page).count()) === 0) await fan.says("还在");
        await composer(page).waitFor({ timeout: 5_000 }).catch(() => undefined);
        return composer(page).fill(typed, { timeout: 1_000 }).then(() => true, () => false);
      });
      const closed = page.getByTestId("window-closed");
      await closed.waitFor();
      await closed.getByText(`草稿已保留：${typed}`).waitFor();
      assert.equal(await page.getByTestId("send").count(), 0, "nothing can be sent");
      await until("the window to open with the draft in it", async () => {
        if ((await composer(page).count()) === 0) await fan.says("我回来了");
        await composer(page).waitFor({ timeout: 5_000 }).catch(() => undefined);
        return composer(page).inputValue({ timeout: 1_000 }).then((v) => v === typed, () => false);
      });
    },
  },
  {
    name: "colleagues see each other, and a second answer is held back until somebody decides",
    short: true,
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Guard");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page);
      const [account, id] = new URL(page.url()).pathname.split("/").slice(-2);
      const boss = await t.open({ user: t.users.supervisor });
      await boss.goto(`${t.world.url}/desk/${account}/${id}`);
      await page.getByText(/正在看/).waitFor();

      await composer(page).fill("可以退，请寄回");
      await boss.locator("body").press("Shift+T");
      await page.getByTestId("send").waitFor({ state: "hidden" });
      await boss.getByTestId("send").waitFor();
      await write(boss, "可以退，我给您寄袋子");
      await fan.sees("the supervisor's words", (c) => c.text === "可以退，我给您寄袋子");
      const ref = { account, conversation: id };
      await new API(t.world).logIn(t.users.supervisor.name, t.users.supervisor.password).then((api) => api.call(`${talk}/Transfer`, { ...ref, toAgent: t.users.agent.name, note: "你继续" }));
      await page.getByTestId("send").or(page.getByTestId("offer")).first().waitFor();
      if ((await page.getByTestId("send").count()) === 0) await acceptOffer(page);
      assert.equal(await composer(page).inputValue(), "可以退，请寄回", "the draft is still there");
      await fan.says("好的"); // and the messages of the window are free again
      await bubble(page, "好的").waitFor();
      await until("the window to have room", async () => Number((await page.getByTestId("quota").innerText()).split("/")[0]) > 1);

      await composer(page).press("Enter");
      const guard = page.getByTestId("guard");
      await guard.getByText("我给您寄袋子").waitFor();
      await composer(page).press("Escape");
      await guard.waitFor({ state: "hidden" });
      assert.equal(await composer(page).inputValue(), "可以退，请寄回", "cancelling keeps the draft");
      await composer(page).press("Enter");
      await guard.waitFor();
      await composer(page).press("Control+Enter");
      await fan.sees("the second answer, sent on purpose", (c) => c.text === "可以退，请寄回");
    },
  },
  {
    name: "silence is warned of, can be renewed, and ends the conversation by itself",
    short: true,
    async run(t) {
      await desk(t, t.users.agent);
      await groupWith(t.admin, { idleTimeoutS: 3600, idleWarningS: 3599 });
      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Idle");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page);
      await fan.sees("the warning", (c) => /会话将自动结束/.test(c.text ?? ""));
      const warned = page.locator(".activity", { hasText: "已提醒粉丝会话即将结束" });
      await warned.first().waitFor();
      await page.getByRole("button", { name: "续时" }).click();
      await warned.nth(1).waitFor(); // the time started again, and the fan is warned again
      await groupWith(t.admin, { idleTimeoutS: 2, idleWarningS: -1, survey: false });
      await fan.says("好的"); // a word starts the time again, as the group is now
      await page.getByText("会话已结束").first().waitFor();
      await fan.sees("the goodbye", (c) => /本次会话已结束/.test(c.text ?? ""));
    },
  },
  {
    name: "everything by keyboard",
    short: true,
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open();
      await page.waitForSelector("#login-name");
      await page.keyboard.type(t.users.agent.name);
      await page.keyboard.press("Tab");
      await page.keyboard.type(t.users.agent.password);
      await page.keyboard.press("Enter");
      await page.waitForSelector(".app");
      const fan = await Fan.follow(t.world, "shop", "Keys");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await page.getByTestId("offer").waitFor();
      await page.keyboard.press("a");
      await composer(page).waitFor();
      await page.keyboard.press("r");
      await page.waitForFunction(() => document.activeElement?.tagName === "TEXTAREA");
      await page.keyboard.type("键盘回复");
      await page.keyboard.press("Enter");
      await fan.sees("the reply", (c) => c.text === "键盘回复");
      await page.keyboard.press("Escape");
      await page.keyboard.press("n");
      await page.waitForFunction(() => document.activeElement?.classList.contains("is-note"));
      await page.keyboard.type("键盘备注");
      await page.keyboard.press("Enter");
      await page.locator(".note", { hasText: "键盘备注" }).waitFor();
      await page.keyboard.press("Escape");
      await page.keyboard.press("ArrowUp");
      await page.keyboard.press("ArrowUp");
      await page.keyboard.press("g");
      await page.getByTestId("trace").waitFor();
      await page.keyboard.press("Escape");
      await page.getByTestId("trace").waitFor({ state: "hidden" });
      await page.keyboard.press("?");
      await page.getByText("快捷键", { exact: true }).first().waitFor();
      await page.keyboard.press("Escape");
      await page.locator(".cheat").waitFor({ state: "hidden" });
      await page.keyboard.press("Control+k");
      await page.keyboard.type("键盘");
      await page.locator(".palette-list [role=option]").first().waitFor();
      await page.keyboard.press("Escape");
      await page.locator(".palette-list").waitFor({ state: "hidden" });
      await page.keyboard.press("e");
      await page.getByText("会话已结束").first().waitFor();
    },
  },
  {
    name: "a conversation is followed, and a note that mentions somebody finds them",
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Follow");
      await page.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(page);
      const [account, conversation] = new URL(page.url()).pathname.split("/").slice(-2);
      await page.getByTestId("follow").click();
      const tab = page.getByRole("tab", { name: /关注/ });
      await tab.click();
      const group = (label) => page.locator(".group-row", { hasText: label });
      await group("我关注的").waitFor();
      await page.reload();
      await tab.click();
      await group("我关注的").waitFor(); // on this computer, for this person
      await t.admin.call(`${talk}/AddNote`, { account, conversation, text: `@${t.users.agent.displayName || t.users.agent.name} 请优先`, idempotencyKey: crypto.randomUUID() });
      await group("提到我的").waitFor();
      await group("我关注的").waitFor({ state: "hidden" }); // each stands there once
      await page.locator(".queue-row").first().click();
      await page.locator("body").press("f");
      await until("it to be followed no more", async () => (await page.getByTestId("follow").getAttribute("aria-pressed")) === "false");
    },
  },
  {
    name: "a campaign shows what became of everybody, and counts a replay before it asks for one",
    async run(t) {
      const campaigns = "wxbus.sender.v1.CampaignService";
      const openids = [];
      for (let i = 0; i < 3; i++) {
        const fan = await Fan.follow(t.world, "shop", `Camp${i}`);
        if (i < 2) await fan.says("你好"); // opens the window
        if (i < 2) await fan.sees("the greeting", (c) => /演示账号/.test(c.text ?? ""));
        openids.push(fan.openid);
      }
      openids.push("oNobodyEverWroteFromHere0001");
      const name = `提醒 ${openids[0].slice(-4)}`;
      const { campaign } = await t.admin.call(`${campaigns}/CreateCampaign`, { account: "shop", name, message: { content: { text: { content: "今晚 24 点结束。" } } } });
      await t.admin.call(`${campaigns}/SetAudience`, { account: "shop", id: campaign.id, list: { openids } });
      const page = await t.open({ user: t.users.admin });
      await page.goto(`${t.world.url}/sends/shop/${campaign.id}`);
      await page.getByRole("button", { name: "数一数" }).click();
      await page.getByTestId("will-get").waitFor();
      await page.getByRole("spinbutton").fill("0"); // everybody at once
      await page.getByRole("button", { name: /^发给/ }).click();
      await page.locator("section[aria-label=进度]").waitFor();
      await page.getByRole("heading", { name: "失败分组" }).waitFor();
      await page.getByText("没有发出：窗口已关或条数用完").first().waitFor();
      await page.locator(".camp-row.open", { hasText: "已完成" }).waitFor();
      await page.getByRole("button", { name: /^重发/ }).first().click();
      await page.getByTestId("replay-count").waitFor();
      assert.match(await page.getByTestId("replay-count").innerText(), /^[1-4]$/);
      await page.a11y("campaign");
    },
  },
  {
    name: "an operator edits a rule, tries it, publishes and rolls back",
    async run(t) {
      const page = await t.open({ user: t.users.admin });
      await page.goto(`${t.world.url}/rules`);
      await page.locator(".rule-row").first().waitFor();
      await page.locator("body").press("c");
      await page.locator("#rule-name").fill("改签");
      await page.locator(".fields .ant-select-selector, .fields .ant-select").nth(2).click();
      await page.keyboard.type("改签");
      await page.keyboard.press("Enter");
      await page.locator(".action-card textarea").fill("国内航班起飞前 2 小时可改签。");
      await page.getByRole("button", { name: "存入草稿" }).click();
      await page.locator(".rule-row", { hasText: "改签" }).waitFor();
      await page.getByTestId("try").fill("我想改签");
      await page.getByTestId("try-result").getByText("命中 改签").waitFor();
      await page.getByTestId("publish").click();
      await page.getByTestId("publish-confirm").click();
      const fan = await Fan.follow(t.world, "shop", "Rule");
      await until("the rule to be live", async () => {
        await fan.says("改签吗");
        return (await fan.screen().then((s) => JSON.stringify(s))).includes("可改签");
      });
      await page.getByRole("button", { name: "版本" }).click();
      await page.getByRole("button", { name: "回滚" }).first().click();
      await page.locator(".ant-modal-confirm .ant-btn-primary").click();
      await page.locator(".table .label.green").first().waitFor();
    },
  },
  {
    name: "every page passes axe in both themes and languages",
    async run(t) {
      await desk(t, t.users.agent, t.users.supervisor);
      const fan = await Fan.follow(t.world, "shop", "Axe");
      await fan.says(say);
      for (const [theme, locale] of [["light", "zh-CN"], ["dark", "en"]]) {
        const page = await t.open({ user: t.users.admin, theme, locale });
        for (const path of ["desk", "wall", "rules", "sends", "sends/one", "sends/dead", "accounts", "reports", "settings/groups", "settings/agents", "settings/canned", "settings/users", "settings/keys", "settings/webhooks", "settings/audit"]) {
          await page.goto(`${t.world.url}/${path}`);
          await page.locator("main h1, .desk").first().waitFor();
          await page.waitForLoadState("networkidle", { timeout: 2_000 }).catch(() => undefined); // the feed never rests
          if (path === "accounts") {
            await page.getByTestId("doctor").click();
            await page.getByTestId("doctor-result").waitFor();
            await page.waitForFunction(() => getComputedStyle(document.querySelector("[data-testid=doctor]")).opacity === "1"); // a busy button fades
          }
          await page.a11y(path);
        }
        await page.setViewportSize({ width: 1280, height: 720 });
        await page.goto(`${t.world.url}/desk`);
        await page.locator(".desk").waitFor();
        await page.setViewportSize({ width: 390, height: 844 });
        await page.a11y("phone view");
      }
    },
  },
  {
    name: "the supervisor watches, whispers and takes over",
    async run(t) {
      await desk(t, t.users.agent);
      const agent = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Wall");
      await agent.getByText(/已连接/).waitFor();
      await fan.says(say);
      await acceptOffer(agent);
      const boss = await t.open({ user: t.users.supervisor });
      await boss.goto(`${t.world.url}/wall`);
      await boss.locator(".tile .rings button").first().click();
      await boss.locator(".watch .msg").first().waitFor();
      await boss.locator(".watch textarea").fill("先道歉");
      await boss.getByRole("button", { name: "耳语" }).click();
      await agent.locator(".note", { hasText: "先道歉" }).waitFor();
      await boss.locator(".watch textarea").press("Escape");
      await boss.locator("body").press("Shift+T");
      await agent.getByTestId("send").waitFor({ state: "hidden" });
    },
  },
  {
    name: "a fan who waits longer than promised is red in the queue, on the wall and in the thread, until somebody answers",
    async run(t) {
      await desk(t, t.users.agent);
      await groupWith(t.admin, { method: "ROUTING_METHOD_MANUAL", firstResponseS: 3 });
      const [agent, boss] = [await t.open({ user: t.users.agent }), await t.open({ user: t.users.supervisor })];
      await boss.goto(`${t.world.url}/wall`);
      const fan = await Fan.follow(t.world, "shop", "Late");
      await agent.getByText(/已连接/).waitFor();
      await fan.says(say);
      const row = agent.locator(".queue-row", { hasText: "首响超时" });
      await row.waitFor();
      await boss.locator(".kpis .red", { hasText: "1" }).first().waitFor();
      await boss.getByRole("switch", { name: "只看超时" }).click();
      await boss.a11y("late only");
      await row.click();
      await agent.locator(".promise-chip.red").waitFor();
      await agent.getByText("超时：首响目标 00:03 已过").waitFor();
      await agent.locator("body").press("a");
      await agent.getByTestId("send").waitFor();
      await write(agent, "让您久等了");
      await agent.locator(".promise-chip").waitFor({ state: "detached" });
      await fan.sees("the answer", (c) => c.text === "让您久等了");
    },
  },
  {
    name: "the phone page shows what the fan gets",
    async run(t) {
      const page = await t.open();
      await page.goto(`${t.world.sim}/phone`);
      await page.locator(".phone").first().waitFor();
      await page.getByRole("button", { name: /取消关注/ }).first().waitFor(); // somebody who follows has a phone on the table
      const input = page.locator(".phone form input").first();
      await input.fill("你好");
      await input.press("Enter");
      await page.locator(".phone .bub", { hasText: "我是演示账号" }).waitFor();
      const first = page.locator(".phone").first();
      await first.getByRole("button", { name: "图片" }).click();
      await until("the picture to be seen", () => first.locator(".bub img").first().evaluate((img) => img.naturalWidth > 0));
      await first.locator("input[type=file]").setInputFiles({ name: "clip.mp4", mimeType: "video/mp4", buffer: await film(1 << 10) });
      await until("the film to tell its length", () => first.locator("video").evaluate((v) => Math.round(v.duration) === 12));
      await first.getByRole("button", { name: "取消关注" }).click();
      await first.getByRole("button", { name: "关注", exact: true }).click();
      await first.locator("form input").waitFor();
      await page.a11y("phone");
    },
  },
];
