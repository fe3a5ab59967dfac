// Pictures of the page for the guides, over the real system: every view in both languages and both themes, into
// docs/screens. Names: view, language, theme.
//   node tests/web/screens.mjs [--only PATTERN]
import { spawnSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { launch, opener } from "./browser.mjs";
import { acceptOffer, bubble, composer, desk, groupWith, talk, write } from "./desk.mjs";
import { API, demoUsers, Fan, mini, startLink, startWorld, tone } from "./world.mjs";

const args = process.argv.slice(2);
const only = args.includes("--only") ? new RegExp(args[args.indexOf("--only") + 1]) : undefined;
const out = fileURLToPath(new URL("../../docs/screens/", import.meta.url));
for (const dir of [out, fileURLToPath(new URL("out/", import.meta.url))]) await mkdir(dir, { recursive: true });

// What people say, in the language of the picture.
const stories = {
  "zh-CN": {
    earlier: { asks: "会员积分能抵退货运费吗", answer: "可以，积分够就会自动抵扣。" }, slip: ["退货单 RT-20261129", "运动鞋 41 码 × 1", "请寄至上海市青浦区 8 号仓"], closed: "我要退货，还没收到快递", asks: "我要退货，鞋子小了一码", hello: "您好，可以退。请把鞋盒一起寄回，运费由我们承担。", more: "好的，退款大概多久到账？", answer: "签收后 3 个工作日内原路退回。", note: "熟客，去年买过 6 次，退款优先处理", others: ["订单一直没有更新，麻烦看一下，退款也可以", "我要退货，颜色发错了", "退款什么时候到账？"],
    canned: [{ title: "退货说明", shortcut: "th", text: "您好 {fan.name}，请在 {日期} 前寄回，运费由我们承担。" }, { title: "退款时间", shortcut: "tk", text: "签收后 3 个工作日内原路退回。" }], tag: "金卡", ask: "退货", said: "那退款大概多久到账呢", campaign: { name: "会员日提醒", text: "会员日全场 8 折，今晚 24 点结束。", next: "新品预告" },
  },
  en: {
    earlier: { asks: "Can points pay the refund postage?", answer: "Yes, they are taken by themselves if you have enough." }, slip: ["Return slip RT-20261129", "Running shoes 41 × 1", "Warehouse 8, Qingpu, Shanghai"], closed: "refund: the parcel never came", asks: "refund please, the shoes are one size too small", hello: "Of course. Send them back in their box, we pay the postage.", more: "Thanks. When do I get the money?", answer: "Within 3 working days after they arrive.", note: "Regular: six orders last year, refund first", others: ["My order has not moved for days, a refund is fine too", "refund: the colour is wrong", "When does my refund arrive?"],
    canned: [{ title: "How to return", shortcut: "th", text: "Hello {fan.name}, please send it before {date}, we pay the postage." }, { title: "Time of a refund", shortcut: "tk", text: "Within 3 working days after it arrives." }], tag: "Gold", ask: "refund", said: "And when do I get the money", campaign: { name: "Members' day", text: "20% off for members, until midnight.", next: "New arrivals" },
  },
};

const world = await startWorld();
const browser = await launch();
const open = opener({ browser, url: world.url });
const users = await demoUsers(world);
const admin = await new API(world).logIn(users.admin.name, users.admin.password);
const agents = "wxbus.agentrouting.v1.AgentService";

async function cannedReplies(story) {
  const { replies = [] } = await admin.call(`${agents}/ListCannedReplies`, {});
  for (const r of replies) await admin.call(`${agents}/DeleteCannedReply`, { id: r.id });
  for (const r of story.canned) await admin.call(`${agents}/PutCannedReply`, { reply: { title: r.title, shortcut: r.shortcut, scope: "CANNED_SCOPE_ALL", blocks: [{ content: { text: { content: r.text } } }] } });
}

// campaign sends to those whose window is open, which the others are not, and makes one that waits.
async function campaign({ campaign: c }) {
  const service = "wxbus.sender.v1.CampaignService";
  const openids = [];
  for (let i = 0; i < 9; i++) {
    const fan = await Fan.follow(world, "shop", `Camp${i}`);
    if (i < 7) await fan.says("你好");
    if (i < 7) await fan.sees("the greeting", (m) => m.type === "text");
    openids.push(fan.openid);
  }
  const make = async (name, text) => {
    const made = (await admin.call(`${service}/CreateCampaign`, { account: "shop", name, message: { content: { text: { content: text } } } })).campaign;
    await admin.call(`${service}/SetAudience`, { account: "shop", id: made.id, list: { openids } });
    return (await admin.call(`${service}/DryCount`, { account: "shop", id: made.id })).campaign;
  };
  const sent = await make(c.name, c.text);
  await admin.call(`${service}/StartCampaign`, { account: "shop", id: sent.id, expectedRecipients: sent.count.recipients, maxFailurePercent: 100 });
  await make(c.next, c.text);
  return `/sends/shop/${sent.id}`;
}

// arrange makes a busy desk: one conversation in the middle, one that begins, an offer, and people who wait.
async function arrange(story) {
  await desk({ admin, users }, users.agent);
  await groupWith(admin, { survey: true });
  await cannedReplies(story);
  const page = await open({ user: users.agent });
  const people = await admin.call(`${agents}/ListAgents`);
  const me = people.agents.find((a) => a.id === users.agent.name);
  await admin.call(`${agents}/PutAgent`, { agent: { ...me, capacity: 4, autoAccept: false } });
  const fan = await Fan.follow(world, "shop", "Screen");
  // The same person has asked in another account before, and somebody else waits in one whose window is over.
  const before = await fan.followsToo("club");
  await before.says(story.earlier.asks);
  await acceptOffer(page);
  await write(page, story.earlier.answer);
  await before.sees("the answer", (c) => c.text === story.earlier.answer);
  await composer(page).press("Escape");
  await page.locator("body").press("e");
  await page.getByTestId("send").waitFor({ state: "hidden" });
  const late = await Fan.follow(world, mini, "Late");
  await late.says(story.closed);
  await acceptOffer(page, page.getByTestId("window-closed"));
  await page.getByTestId("window-closed").waitFor();
  const closed = new URL(page.url()).pathname;
  await fan.says(story.asks);
  await acceptOffer(page);
  const address = new URL(page.url()).pathname;
  const [account, id] = address.split("/").slice(-2);
  await write(page, story.hello);
  await fan.sees("the first answer", (c) => c.text === story.hello);
  await fan.push("image"); // the simulator's pattern
  await page.locator(".msg.fan .picture img, .msg.fan img.picture").first().waitFor();
  await fan.push("location", { Location_X: "31.2304", Location_Y: "121.4737", Scale: "15", Label: "上海市黄浦区南京东路 300 号" });
  await fan.sends("voice", tone(5), { Format: "wav", Recognition: story.said });
  await page.locator("[data-voice]").waitFor();
  await fan.says(story.more);
  await bubble(page, story.more).waitFor();
  await admin.call(`${talk}/AddNote`, { account, conversation: id, text: story.note, idempotencyKey: crypto.randomUUID() });
  await admin.call(`${talk}/TagFan`, { account, openid: fan.openid, add: [story.tag] });
  await page.locator('input[type=file][accept^="image"]').setInputFiles({ name: "slip.png", mimeType: "image/png", buffer: await slip(story.slip) });
  await page.locator(".staged-block").waitFor();
  await page.getByTestId("send").click();
  await fan.sees("the picture", (c) => c.type === "image");
  await write(page, story.answer);
  await fan.sees("the second answer", (c) => c.text === story.answer);
  const second = await Fan.follow(world, "shop", "Second");
  await second.says(story.others[0]);
  await acceptOffer(page);
  for (const text of story.others.slice(1)) await (await Fan.follow(world, "shop", "Queue")).says(text);
  await page.getByTestId("offer").waitFor();
  return { address, closed, campaign: await campaign(story), done: () => page.done() }; // an open page keeps the agent online
}

// slip is a picture that an agent sends: a piece of paper with a few lines.
async function slip(lines) {
  const context = await browser.newContext({ viewport: { width: 240, height: 150 }, deviceScaleFactor: 2 });
  const paper = await context.newPage();
  await paper.setContent(`<body style="margin:0;font:14px sans-serif;background:#f6f4ee;color:#333"><div style="padding:20px;line-height:28px"><b>${lines[0]}</b><hr>${lines.slice(1).join("<br>")}</div></body>`);
  const png = await paper.screenshot();
  await context.close();
  return png;
}

let taken = 0;
async function shot(page, view, locale, theme) {
  await page.mouse.move(0, 0);
  await page.evaluate(() => Promise.all([document.fonts.ready, ...document.getAnimations().map((a) => a.finished.catch(() => undefined))]));
  const path = `${out}${view}.${locale}.${theme}.png`;
  await page.screenshot({ path, animations: "disabled", caret: "hide" });
  spawnSync("pngquant", ["--force", "--skip-if-larger", "--output", path, "256", path]); // smaller where the tool is there
  taken++;
}

// views are what is shown: who looks, at what, and what must be there before the picture is taken.
const views = [
  { view: "login", at: "/desk", ready: (p) => p.locator("#login-name").waitFor() },
  { view: "desk.offer", user: users.agent, at: (s) => s.address, ready: (p) => p.getByTestId("offer").waitFor().then(() => p.getByTestId("quota").waitFor()) },
  { view: "desk.canned", user: users.agent, at: (s) => s.address, ready: (p) => composer(p).fill("/t").then(() => p.locator(".canned-preview").waitFor()) },
  { view: "desk", user: users.agent, at: (s) => s.address, ready: (p) => p.getByTestId("quota").waitFor().then(() => p.locator(".context .facts").first().waitFor()) },
  { view: "desk.images", user: users.agent, at: (s) => s.address, ready: (p) => p.locator(".msg.me img.picture, .msg.me .picture img").first().waitFor() },
  { view: "desk.person", user: users.agent, at: (s) => s.address, ready: (p) => p.getByTestId("merge").click().then(() => p.locator(".in-account[data-account=club]").first().waitFor()).then(() => p.locator(".thread").evaluate((el) => { el.scrollTop = 0; })) },
  { view: "desk.closed", user: users.agent, at: (s) => s.closed, ready: (p) => p.getByTestId("window-closed").waitFor().then(() => p.locator(".context .facts").first().waitFor()) },
  { view: "desk.offline", user: users.agent, cut: true, at: (s) => s.address, ready: (p, story) => composer(p).fill(story.more).then(() => p.link.cut()).then(() => p.getByTestId("link-down").waitFor()) },
  { view: "desk-1280", user: users.agent, size: { width: 1280, height: 720 }, at: (s) => s.address, ready: (p) => p.getByTestId("quota").waitFor() },
  { view: "desk-phone", user: users.agent, size: { width: 390, height: 844 }, at: (s) => s.address, ready: (p) => p.getByTestId("quota").waitFor() },
  { view: "desk-phone.queue", user: users.agent, size: { width: 390, height: 844 }, at: "/desk", ready: (p) => p.locator(".queue-row").nth(2).waitFor() },
  { view: "trace", user: users.supervisor, at: (s) => s.address, ready: (p) => p.getByText(/微信已接收|Accepted by WeChat/).last().click().then(() => p.getByTestId("trace").waitFor()) },
  { view: "wall", user: users.supervisor, at: "/wall", ready: (p) => p.locator(".tile .rings button").first().click().then(() => p.locator(".watch .msg").first().waitFor()) },
  { view: "wall.cast", user: users.supervisor, at: "/wall", ready: (p) => p.locator(".tile .rings button").first().waitFor().then(() => p.getByTestId("cast").click()).then(() => p.locator(".rail").waitFor({ state: "hidden" })) },
  { view: "rules", user: users.admin, at: "/rules", ready: (p, story) => p.locator(".rule-row").nth(1).click().then(() => p.getByTestId("try").fill(story.ask)).then(() => p.getByTestId("try-result").waitFor()).then(() => p.locator(".dry-result .ant-btn-text").click()).then(() => p.getByTestId("cases-count").waitFor()) },
  { view: "accounts", user: users.admin, at: "/accounts", ready: (p) => p.getByTestId("doctor").click().then(() => p.getByTestId("doctor-result").waitFor()) },
  { view: "sends", user: users.admin, at: (s) => s.campaign, ready: (p) => p.locator(".camp-row.open").waitFor().then(() => p.getByRole("button", { name: /^(重发|Replay)/ }).first().click()).then(() => p.getByTestId("replay-count").waitFor()) },
  { view: "sends-one", user: users.admin, at: "/sends/one", ready: (p) => p.locator("main .card").waitFor() },
  { view: "sends-dead", user: users.admin, at: "/sends/dead", ready: (p) => p.locator("main .empty, main table").first().waitFor() },
  ...["agents", "audit", "canned", "keys", "users", "webhooks"].map((name) => ({ view: `settings-${name}`, user: users.admin, at: `/settings/${name}`, ready: (p) => p.locator("main .empty, main table").first().waitFor() })),
  { view: "reports", user: users.supervisor, at: "/reports", ready: (p) => p.locator("main table").first().waitFor() },
  { view: "settings-groups", user: users.admin, at: "/settings/groups", ready: (p) => p.locator("main .card, main table").first().waitFor() },
];

// asking returns the page of somebody in this language and theme: who is logged in once is not asked again.
async function asking(kept, v, locale, theme, home) {
  const name = v.cut ? `${v.view}/link` : v.user?.name ?? "nobody";
  if (!kept.has(name)) kept.set(name, await open({ user: v.user, locale, theme, url: home }));
  const page = kept.get(name);
  await page.setViewportSize(v.size ?? { width: 1440, height: 900 });
  await page.evaluate(() => { for (const k of Object.keys(localStorage)) if (k.startsWith("wxbus.draft")) localStorage.removeItem(k); });
  return page;
}

// take takes the views of one person in one language and theme, one after the other.
async function take(list, locale, story, theme, scene) {
  const kept = new Map();
  for (const v of list) {
    const link = v.cut ? await startLink(world.url) : undefined;
    const home = link?.url ?? world.url;
    const page = Object.assign(await asking(kept, v, locale, theme, home), { link });
    await page.goto(home + (typeof v.at === "string" ? v.at : v.at(scene)));
    await v.ready(page, story).catch(async (err) => {
      await page.screenshot({ path: fileURLToPath(new URL("out/screens.png", import.meta.url)) });
      console.error(v.view, locale, theme, page.problems);
      throw err;
    });
    await shot(page, v.view, locale, theme);
    link?.stop();
  }
  for (const page of kept.values()) await page.done();
}

const wanted = views.filter((v) => !only || only.test(v.view));
const byPerson = [...new Set(wanted.map((v) => v.user?.name))].map((name) => wanted.filter((v) => v.user?.name === name));
for (const [locale, story] of Object.entries(stories)) {
  const scene = await arrange(story);
  for (const theme of ["light", "dark"]) for (const list of byPerson) await take(list, locale, story, theme, scene);
  await scene.done();
}
for (const [locale, theme] of [["zh-CN", "light"], ["zh-CN", "dark"], ["en", "light"], ["en", "dark"]]) {
  if (only && !only.test("phone")) continue;
  const phone = await open({ url: `${world.sim}/phone`, locale, theme });
  await phone.locator(".phone").first().waitFor();
  for (const text of [stories[locale].asks, "讲故事"]) {
    await phone.locator(".phone form input").first().fill(text);
    await phone.locator(".phone form input").first().press("Enter");
    await phone.locator(".phone .me .bub", { hasText: text }).first().waitFor();
  }
  await phone.locator(".phone").first().getByRole("button", { name: /^(图片|Image)$/ }).click();
  await phone.locator(".phone .bub img").first().waitFor();
  await shot(phone, "phone", locale, theme);
}
await browser.close();
await world.stop();
console.log(`${taken} pictures in docs/screens`);
