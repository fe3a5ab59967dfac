// One running wxbus: everything in one process on free ports, with the demo's accounts and rules, and a
// simulated WeChat. The tests are fans through the simulator's API and people through the browser.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

// freePorts takes ports below the range from which systems hand out ports on their own, so that no connection
// takes one between its choice and its use.
async function freePorts(count) {
  const open = [];
  while (open.length < count) {
    const server = createServer();
    const ok = await new Promise((done) => server.once("error", () => done(false)).listen(10_000 + Math.floor(Math.random() * 22_000), "127.0.0.1", () => done(true)));
    if (ok) open.push(server);
  }
  const ports = open.map((s) => s.address().port);
  await Promise.all(open.map((s) => new Promise((done) => s.close(done))));
  return ports;
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// until asks again until the answer is true; tests wait for what they mean and never for a time.
export async function until(what, f, timeout = 90_000) {
  const end = Date.now() + timeout;
  for (;;) {
    const got = await f();
    if (got) return got;
    if (Date.now() > end) throw new Error(`waited for ${what} in vain`);
    await sleep(100);
  }
}

// mini is an account whose fans may be answered for a few seconds only, as WeChat's 48 hours would be if a test
// could wait for their end.
export const mini = "mini";
const short = "12s";

function withMini(demo, sim) {
  const account = `  - {name: ${mini}, appid: wx0000000000000003, original_id: gh_demo_mini, kind: miniprogram, format: json, mode: secure, token: demominitoken, encoding_aes_key: 0123456789abcdefghijklmnopqrstuvwxyzABCDEFG, app_secret: demo-mini-app-secret, api_base: "http://127.0.0.1:${sim}", reply: passive}\n`;
  return demo.replace("accounts:\n", `accounts:\n${account}`)
    .replace("simulator:\n", `sender: {grants: {mini_program: {message: {window: ${short}}}}}\nsimulator:\n  windows: {mini_message: {within: ${short}}}\n`);
}

export async function startWorld({ verbose = false } = {}) {
  const dir = await mkdtemp(join(tmpdir(), "wxbus-web-"));
  const [gateway, consolePort, sim, admin, bus] = await freePorts(5);
  const demo = await readFile(join(root, "services/allinone/demo/wxbus.yaml"), "utf8");
  const config = withMini(demo, sim).replaceAll("127.0.0.1:8080", `127.0.0.1:${gateway}`).replaceAll("127.0.0.1:8081", `127.0.0.1:${consolePort}`).replaceAll("127.0.0.1:8082", `127.0.0.1:${sim}`)
    + `\nadmin: {listen: "127.0.0.1:${admin}"}\ngrpc: {listen: "127.0.0.1:0"}\nnats: {listen: "127.0.0.1:${bus}"}\nrules_file: ${join(root, "services/allinone/demo/rules.yaml")}\n`;
  const file = join(dir, "wxbus.yaml");
  await writeFile(file, config);
  const child = spawn(join(root, "bin/wxbus"), ["up", "--config", file, "--data", join(dir, "data")], { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (b) => { log += b; if (verbose) process.stderr.write(b); });
  let exited = false;
  child.once("exit", () => { exited = true; });
  const world = {
    dir, child, url: `http://127.0.0.1:${consolePort}`, sim: `http://127.0.0.1:${sim}`, log: () => log,
    // poison stores a push that no service can read.
    poison: (account) => publish(bus, `wx.in.${account}.0.message.poison`, "not a push"),
    async stop() {
      if (!exited) {
        child.kill("SIGTERM");
        await Promise.race([new Promise((done) => child.once("exit", done)), sleep(20_000).then(() => child.kill("SIGKILL"))]);
      }
      await rm(dir, { recursive: true, force: true });
    },
  };
  try {
    await until("wxbus to be ready", async () => {
      if (exited) throw new Error(`wxbus ended:\n${log.slice(-4000)}`);
      return fetch(`http://127.0.0.1:${admin}/readyz`).then((r) => r.ok, () => false);
    }, 90_000);
  } catch (err) {
    await world.stop();
    throw err;
  }
  return world;
}

// publish says one thing on the bus, in the bus's own words, and waits until the stream has it.
function publish(port, subject, body) {
  return new Promise((done, fail) => {
    const socket = connect(port, "127.0.0.1");
    let heard = "";
    socket.on("error", fail);
    socket.on("data", (b) => {
      heard += b;
      if (/^MSG answer /m.test(heard)) { socket.end(); done(); }
      else if (/^-ERR/m.test(heard)) { socket.end(); fail(new Error(heard)); }
    });
    socket.write(`CONNECT {"verbose":false}\r\nSUB answer 1\r\nPUB ${subject} answer ${body.length}\r\n${body}\r\n`);
  });
}

// startLink is a way to the console that can be cut, as a train does in a tunnel: what is open breaks, and nothing new gets through.
export async function startLink(url) {
  const { hostname, port } = new URL(url);
  const sockets = new Set();
  let cut = false;
  const server = createServer((near) => {
    if (cut) return near.destroy();
    const far = connect(Number(port), hostname);
    for (const s of [near, far]) {
      sockets.add(s);
      s.on("error", () => undefined);
      s.on("close", () => { sockets.delete(s); near.destroy(); far.destroy(); });
    }
    near.pipe(far);
    far.pipe(near);
    return undefined;
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() { cut = true; for (const s of sockets) s.destroy(); },
    restore() { cut = false; },
    stop() { cut = true; for (const s of sockets) s.destroy(); server.close(); },
  };
}

// tone is a voice message: so many seconds of one note that fades.
export function tone(seconds) {
  const rate = 8000;
  const n = rate * seconds;
  const wav = Buffer.alloc(44 + 2 * n);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + 2 * n, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20); // PCM
  wav.writeUInt16LE(1, 22); // one channel
  wav.writeUInt32LE(rate, 24);
  wav.writeUInt32LE(2 * rate, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(2 * n, 40);
  for (let i = 0; i < n; i++) wav.writeInt16LE(Math.round(12_000 * Math.sin(i / 3) * Math.abs(Math.sin(i / 2600))), 44 + 2 * i);
  return wav;
}

// picture is 16 pixels of one colour.
export const picture = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGklEQVR4nGNkYPjPQApgIkn1qIZRDUNKAwBM9gEf2s3xVwAAAABJRU5ErkJggg==", "base64");

// film is a short clip whose index stands behind so many bytes of nothing, as cameras write it: a player that can
// ask for a part jumps there, one that cannot must read everything.
export async function film(padding) {
  const clip = await readFile(new URL("clip.mp4", import.meta.url));
  const index = clip.indexOf("moov") - 4;
  const free = Buffer.alloc(padding);
  free.writeUInt32BE(padding, 0);
  free.write("free", 4);
  return Buffer.concat([clip.subarray(0, index), free, clip.subarray(index)]);
}

// Fan is somebody with a phone.
export class Fan {
  constructor(world, account, openid) {
    Object.assign(this, { world, account, openid });
  }

  static async follow(world, account, name) {
    const openid = `oWeb${name}${Math.random().toString(36).slice(2, 10)}`.padEnd(28, "x");
    await call(world, "POST", `accounts/${account}/fans`, { openid, following: true });
    return new Fan(world, account, openid);
  }

  push(type, fields = {}) {
    return call(this.world, "POST", "push", { account: this.account, openid: this.openid, type, fields });
  }

  says(text) {
    return this.push("text", { Content: text });
  }

  // sends gives WeChat a file and pushes the message that names it.
  async sends(type, file, fields = {}) {
    const res = await fetch(`${this.world.sim}/sim/v1/accounts/${this.account}/media?type=${type}`, { method: "POST", body: file });
    const media = await res.json();
    return this.push(type, { MediaId: media.media_id, ...(type === "image" ? { PicUrl: media.url } : {}), ...fields });
  }

  sendsImage() {
    return this.sends("image", picture);
  }

  // followsToo follows another account: the simulator derives the unionid from the openid, so it is the same person.
  async followsToo(account) {
    await call(this.world, "POST", `accounts/${account}/fans`, { openid: this.openid, following: true });
    return new Fan(this.world, account, this.openid);
  }

  // screen is what the fan's phone shows.
  async screen() {
    return call(this.world, "GET", `accounts/${this.account}/fans/${this.openid}`);
  }

  sees(what, f, timeout) {
    return until(`the fan to see ${what}`, async () => {
      const s = await this.screen();
      return (s.timeline ?? []).find((e) => e.way !== "push" && f(e.content ?? {}, e));
    }, timeout);
  }
}

export async function call(world, method, path, body) {
  const res = await fetch(`${world.sim}/sim/v1/${path}`, { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
  const text = await res.text();
  if (!res.ok) throw new Error(`${method} ${path}: ${res.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

// API is a person who calls the console's methods without a page: to arrange what a test needs.
export class API {
  constructor(world) {
    this.world = world;
    this.cookie = "";
  }

  async call(method, body = {}) {
    const res = await fetch(`${this.world.url}/api/${method}`, { method: "POST", headers: { "Content-Type": "application/json", "Connect-Protocol-Version": "1", Cookie: this.cookie }, body: JSON.stringify(body) });
    const set = res.headers.getSetCookie?.() ?? [];
    if (set.length > 0) this.cookie = set.map((c) => c.split(";")[0]).join("; ");
    const text = await res.text();
    if (!res.ok) throw new Error(`${method}: ${res.status} ${text}`);
    return JSON.parse(text || "{}");
  }

  async logIn(name, password) {
    await this.call("wxbus.console.v1.SessionService/LogIn", { name, password });
    return this;
  }
}

// demoUser is one of the demo's people with a role: 1 agent, 2 supervisor, 3 operator, 4 administrator.
export async function demoUsers(world) {
  const { demoUsers: users = [] } = await new API(world).call("wxbus.console.v1.SessionService/GetSession");
  const by = (role) => users.filter((u) => u.roles.includes(role)).sort((a, b) => a.roles.length - b.roles.length)[0];
  return { all: users, agent: by("ROLE_AGENT"), supervisor: by("ROLE_SUPERVISOR"), operator: by("ROLE_OPERATOR"), admin: by("ROLE_ADMIN") };
}
