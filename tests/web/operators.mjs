// Steps on the pages of supervisors, operators and administrators.
import assert from "node:assert/strict";
import { desk, group, say } from "./desk.mjs";
import { Fan, until } from "./world.mjs";

const choose = async (page, within, label, option) => {
  // What is chosen already belongs to the name.
  await within.getByRole("combobox", { name: new RegExp(`^${label}`) }).first().click();
  await page.locator(".ant-select-dropdown:visible .ant-select-item", { hasText: option }).first().click();
};

export const operators = [
  {
    name: "a saved case tells what an edited draft would break",
    async run(t) {
      const page = await t.open({ user: t.users.admin });
      await page.goto(`${t.world.url}/rules`);
      await page.locator(".rule-row").first().waitFor();
      await page.getByTestId("try").fill("我想退款");
      await page.getByTestId("try-result").getByText("命中 returns").waitFor();
      await page.getByRole("button", { name: "存为用例" }).click();
      await page.getByTestId("cases-count").getByText("1 通过").waitFor();
      await page.locator(".rule-row", { hasText: "returns" }).click();
      await page.getByRole("switch", { name: "启用" }).click();
      await page.getByRole("button", { name: "存入草稿" }).click();
      await page.getByTestId("cases-count").getByText("1 要看").waitFor();
      await page.locator(".case", { hasText: "应命中 returns" }).waitFor();
      await page.a11y("cases");
      await page.reload();
      await page.locator(".case", { hasText: "应命中 returns" }).waitFor(); // kept on this computer
      await page.getByTestId("publish").click();
      await page.getByRole("button", { name: "丢弃全部改动" }).click();
      await page.getByTestId("cases-count").getByText("1 通过").waitFor();
    },
  },
  {
    name: "what a service could not handle is looked at, given back and thrown away",
    async run(t) {
      await t.world.poison("shop");
      const page = await t.open({ user: t.users.admin });
      await page.goto(`${t.world.url}/sends/dead`);
      const row = page.locator("main tbody tr").first();
      const seq = () => row.locator("button.link").innerText({ timeout: 1_000 }).catch(() => "");
      await row.waitFor();
      await row.locator("button.link").click();
      const drawer = page.getByRole("dialog");
      await drawer.locator(".facts").waitFor();
      await page.a11y("dead letter");
      await page.keyboard.press("Escape");
      await drawer.waitFor({ state: "hidden" });
      const before = await seq();
      await row.locator("input[type=checkbox]").check();
      await page.getByRole("button", { name: /^放回/ }).click();
      await until("it to come back, as broken as before", async () => {
        await page.reload();
        await row.waitFor();
        const all = await page.locator("main tbody button.link").allInnerTexts();
        return all.length > 0 && !all.includes(before);
      });
      await until("all to be thrown away", async () => {
        await page.locator("main thead input[type=checkbox]").check({ timeout: 1_000 }).catch(() => undefined);
        await page.getByRole("button", { name: "丢弃", exact: false }).first().click({ timeout: 1_000 }).catch(() => undefined);
        await page.locator(".ant-popconfirm").getByRole("button", { name: /丢\s*弃/ }).click({ timeout: 2_000 }).catch(() => undefined);
        return page.locator("main .empty").waitFor({ timeout: 2_000 }).then(() => true, () => false);
      });
    },
  },
  {
    name: "an administrator makes a user with a role, who must choose a password and sees no more than the role allows",
    async run(t) {
      const name = `new${Math.random().toString(36).slice(2, 8)}`;
      const page = await t.open({ user: t.users.admin });
      await page.goto(`${t.world.url}/settings/users`);
      await page.locator("main table").waitFor();
      await page.locator("body").press("c");
      const dialog = page.getByRole("dialog");
      await dialog.locator("input.mono").first().fill(name);
      await dialog.getByRole("button", { name: /保\s*存/ }).click();
      const secret = page.getByTestId("secret");
      await secret.waitFor();
      const password = await secret.inputValue();
      await page.keyboard.press("Escape");
      const fresh = await t.open();
      await fresh.fill("#login-name", name);
      await fresh.fill("#login-password", password);
      await fresh.keyboard.press("Enter");
      const fields = fresh.locator("input[type=password]");
      await fields.nth(1).waitFor();
      const own = "a long enough password 7";
      for (let i = 0; i < (await fields.count()); i++) await fields.nth(i).fill(i === 0 ? password : own);
      await fresh.keyboard.press("Enter");
      await fresh.locator(".app").waitFor();
      assert.equal(await fresh.getByRole("link", { name: "设置" }).count(), 0, "an agent has no settings");
      await page.goto(`${t.world.url}/settings/audit`);
      await page.locator("tr", { hasText: name }).first().waitFor();
      await page.getByRole("button", { name: /校验/ }).click();
      await page.locator("main .label.green").waitFor(); // the chain is whole
    },
  },
  {
    name: "a group's automatic text is changed on the page and the next fan reads it",
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.admin });
      await page.goto(`${t.world.url}/settings/groups`);
      await page.locator("tr", { hasText: group }).locator("button.link").click();
      const drawer = page.getByRole("dialog");
      await drawer.getByRole("textbox", { name: /开始接待.*中文/ }).first().fill("我是{agent}，马上看。");
      await page.a11y("group");
      await drawer.getByRole("button", { name: /保\s*存/ }).click();
      await drawer.waitFor({ state: "hidden" });
      const agent = await t.open({ user: t.users.agent });
      const fan = await Fan.follow(t.world, "shop", "Text");
      await agent.getByText(/已连接/).waitFor();
      await fan.says(say);
      await agent.getByTestId("offer").waitFor();
      await agent.locator("body").press("a");
      await fan.sees("the new text", (c) => /马上看。$/.test(c.text ?? ""));
    },
  },
  {
    name: "a template goes to many at an hour that is set, and to one at once",
    async run(t) {
      const fan = await Fan.follow(t.world, "shop", "Tpl");
      const page = await t.open({ user: t.users.admin });
      await page.goto(`${t.world.url}/sends/one?account=shop&openid=${fan.openid}`);
      await choose(page, page.locator("main .card"), "模板消息", "DEMO-TEMPLATE");
      const fields = page.locator("main .card input:not([role=combobox]):not(.mono)");
      for (let i = 0; i < (await fields.count()); i++) await fields.nth(i).fill("1");
      await page.locator("main .card").getByRole("button", { name: /发\s*送/ }).click();
      await fan.sees("the template", (c) => c.type === "template");
      await page.goto(`${t.world.url}/sends`);
      await page.getByRole("button", { name: /新建群发/ }).waitFor();
      await page.locator("body").press("c");
      const dialog = page.getByRole("dialog");
      await choose(page, dialog, "账号", "shop");
      const name = `模板 ${fan.openid.slice(-5)}`;
      await dialog.getByLabel("名称").fill(name);
      await choose(page, dialog, "类型", "模板消息");
      await choose(page, dialog, "模板消息", "DEMO-TEMPLATE");
      const values = dialog.locator("input:not([role=combobox])");
      for (let i = 1; i < (await values.count()); i++) await values.nth(i).fill("2");
      await dialog.getByRole("button", { name: /新\s*建|创\s*建/ }).click();
      await page.locator("main textarea").fill(fan.openid);
      await page.getByRole("button", { name: /冻结/ }).click();
      await page.getByRole("button", { name: "数一数" }).click();
      await page.getByTestId("will-get").waitFor();
      const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
      await page.locator("input[type=datetime-local]").fill(`${tomorrow}T09:00`);
      await page.getByRole("button", { name: /^定时发给/ }).click();
      await page.locator(".camp-row.open").getByText("已定时").waitFor();
      await page.getByRole("button", { name: /取消群发/ }).first().click();
    },
  },
  {
    name: "reports have figures with their meaning, charts and a file",
    async run(t) {
      const fan = await Fan.follow(t.world, "shop", "Rep");
      await fan.says(say);
      const page = await t.open({ user: t.users.supervisor });
      await page.goto(`${t.world.url}/reports`);
      await until("the conversation to be counted", async () => {
        await page.reload();
        await page.locator("main .kpis .figure").first().waitFor();
        return (await page.locator("main .kpis .figure").first().innerText()) !== "0";
      });
      await page.locator("main svg.chart").first().waitFor();
      await page.locator("main .kpis .defined").first().hover();
      await page.locator(".ant-tooltip:visible").waitFor();
      const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: /下载/ }).click()]);
      assert.match(file.suggestedFilename(), /\.csv$/);
    },
  },
  {
    name: "the wall fills a screen of its own, without what fans write",
    async run(t) {
      await desk(t, t.users.agent);
      const page = await t.open({ user: t.users.supervisor });
      await page.goto(`${t.world.url}/wall`);
      await page.locator(".tile").first().waitFor();
      await page.locator("body").press("f");
      await page.locator(".rail").waitFor({ state: "hidden" });
      assert.equal(await page.locator(".watch").count(), 0, "no fan's words on the wall of a room");
      await page.a11y("wall on a screen");
      await page.getByTestId("cast").click();
      await page.locator(".rail").waitFor();
    },
  },
];
