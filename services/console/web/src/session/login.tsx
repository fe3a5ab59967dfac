import { useMutation } from "@tanstack/react-query";
import { Button, Input, Segmented, Switch } from "antd";
import { useEffect, useState } from "react";
import { LogInKind, type DemoUser } from "../gen/wxbus/console/v1/session_service_pb";
import { useI18n } from "../i18n";
import type { Key } from "../i18n/words";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { Code, ConnectError } from "@connectrpc/connect";
import { useTheme } from "../theme/mode";
import { Icon } from "../ui/icon";
import { Dot, Kbd } from "../ui/parts";
import { Logo } from "../shell/logo";
import { rememberOnline, wantsOnline } from "../desk/presence";
import { useMe } from "./session";

// Only paths of our own server are followed for a log-in elsewhere.
const ownPath = (path: string): string | undefined => (/^\/[^/\\]/.test(path) ? path : undefined);

export function LogIn() {
  const { t, locale, setLocale } = useI18n();
  const { mode, choose } = useTheme();
  const { welcome } = useMe();
  const methods = welcome?.logInMethods ?? [];
  const password = methods.length === 0 || methods.some((m) => m.kind === LogInKind.PASSWORD);
  const others = methods.filter((m) => m.kind === LogInKind.OIDC && ownPath(m.startPath));
  return (
    <div className="login">
      <div className="side" aria-hidden="true">
        <div className="row g12"><Logo size={36} /><b className="t20">wxbus</b></div>
        <div className="grow" />
        <Rings />
        <p className="t12 t3" style={{ textAlign: "center", marginTop: 24 }}>{t("login.rings")}</p>
        <div className="grow" />
        <p className="t20">{t("login.motto")}</p>
        <p className="t3" style={{ marginTop: 4 }}>{t("login.about")}</p>
      </div>
      <main className="panel">
        <div className="row">
          <span className="grow" />
          <Segmented size="small" aria-label={t("me.language")} value={locale} onChange={setLocale} options={[{ label: "中文", value: "zh-CN" as const }, { label: "EN", value: "en" as const }]} />
          <button type="button" className="icon-button" aria-label={mode === "dark" ? t("login.light") : t("login.dark")} onClick={() => choose(mode === "dark" ? "light" : "dark")}>
            <Icon name={mode === "dark" ? "sun" : "moon"} />
          </button>
        </div>
        <span className="grow" />
        <h1>{t("login.title")}</h1>
        <p className="t3" style={{ margin: "4px 0 24px" }}>{t("login.about")}</p>
        {others.map((m) => (
          <Button key={m.startPath} size="large" block icon={<Icon name="lock" />} href={`${m.startPath}?return_to=${encodeURIComponent(location.pathname)}`}>{t("login.oidc", { label: m.label })}</Button>
        ))}
        {others.length > 0 && password && <div className="divided" style={{ margin: "20px 0 4px" }}>{t("login.or")}</div>}
        {password && <PasswordForm demo={welcome?.demoUsers ?? []} />}
        <span className="grow" />
        <ServerLine />
      </main>
    </div>
  );
}

function PasswordForm({ demo }: { demo: DemoUser[] }) {
  const { t } = useI18n();
  const { session } = useClients();
  const { reload } = useMe();
  const [name, setName] = useState("");
  const [word, setWord] = useState("");
  const [caps, setCaps] = useState(false);
  const [online, setOnline] = useState(wantsOnline);
  const logIn = useMutation({
    mutationFn: (as: { name: string; password: string }) => session.logIn(as),
    onSuccess: async () => {
      rememberOnline(online);
      await reload();
    },
  });
  const watchCaps = (e: React.KeyboardEvent) => setCaps(e.getModifierState("CapsLock"));
  const failure = logIn.error && (ConnectError.from(logIn.error).code === Code.Unauthenticated ? { text: t("login.wrong"), code: "unauthenticated" } : say(logIn.error, t));
  return (
    <>
      <form onSubmit={(e) => { e.preventDefault(); logIn.mutate({ name: name.trim(), password: word }); }}>
        <label className="field" htmlFor="login-name">{t("login.name")}</label>
        <Input id="login-name" size="large" autoComplete="username" autoFocus spellCheck={false} value={name} onChange={(e) => setName(e.target.value)} />
        <label className="field" htmlFor="login-password">{t("login.password")}</label>
        <Input.Password id="login-password" size="large" autoComplete="current-password" value={word} onChange={(e) => setWord(e.target.value)} onKeyUp={watchCaps} onKeyDown={watchCaps} />
        <div className="row t12 tone-amber" style={{ marginTop: 6, minHeight: 18 }} role="status">{caps && <><Icon name="info" size={14} />{t("login.caps")}</>}</div>
        {failure && <div className="banner red" role="alert" style={{ marginTop: 4 }}><Icon name="alert" />{failure.text} <span className="mono">{failure.code}</span></div>}
        <Button type="primary" size="large" htmlType="submit" block loading={logIn.isPending} disabled={!name.trim() || !word} style={{ margin: "14px 0 8px" }}>{t("login.submit")} <Kbd chord="enter" /></Button>
        <label className="row t12 t3"><Switch size="small" checked={online} onChange={setOnline} aria-label={t("login.online")} />{t("login.online")}</label>
      </form>
      {demo.length > 0 && (
        <section style={{ marginTop: 24 }} aria-label={t("login.demo")}>
          <div className="divided" style={{ marginBottom: 12 }}>{t("login.demo")}</div>
          <div className="demo-users">
            {demo.map((u) => (
              <Button key={u.name} size="small" onClick={() => logIn.mutate({ name: u.name, password: u.password })}>
                {u.name} <span className="t3">{u.roles.map((r) => t(`role.${r}` as Key)).join(" ")}</span>
              </Button>
            ))}
          </div>
        </section>
      )}
    </>
  );
}

function ServerLine() {
  const { t } = useI18n();
  const { session } = useClients();
  const [ms, setMs] = useState<number | null>(null);
  useEffect(() => {
    const begin = performance.now();
    session.getSession({}).then(() => setMs(Math.round(performance.now() - begin)), () => setMs(-1));
  }, [session]);
  return (
    <div className="row t12 t3" role="status">
      <Dot tone={ms === null ? "calm" : ms < 0 ? "red" : "green"} />
      {ms === null ? t("conn.connecting") : ms < 0 ? t("error.network") : t("login.ok", { ms })}
    </div>
  );
}

function Rings() {
  const { t } = useI18n();
  const arcs = [[204, 86, ""], [172, 62, ""], [140, 41, ""], [108, 24, "brand"]] as const;
  return (
    <svg className="rings" viewBox="0 0 440 440" width="440" height="440">
      <g fill="none" strokeWidth="10" transform="rotate(-90 220 220)">
        {arcs.map(([r, left, look]) => (
          <g key={r}>
            <circle className="track" cx="220" cy="220" r={r} />
            <circle className={`arc ${look}`} cx="220" cy="220" r={r} pathLength="100" strokeDasharray={`${left} 200`} strokeDashoffset={left - 100} />
          </g>
        ))}
      </g>
      <text className="big" x="220" y="222" textAnchor="middle">41:12:09</text>
      <text className="small" x="220" y="248" textAnchor="middle">{t("login.window")}</text>
    </svg>
  );
}
