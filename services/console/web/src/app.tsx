import type { Transport } from "@connectrpc/connect";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { Spin } from "antd";
import { lazy, Suspense, useMemo } from "react";
import { BrowserRouter, Navigate, Route, Routes } from "react-router";
import { DeskProvider } from "./desk/provider";
import { I18nProvider, useI18n } from "./i18n";
import { KeysProvider } from "./keys/keys";
import { ClientsProvider } from "./rpc/clients";
import { say } from "./rpc/error";
import { LogIn } from "./session/login";
import { PasswordForm } from "./session/password";
import { SessionProvider, useMe } from "./session/session";
import { Shell } from "./shell/shell";
import { ThemeProvider } from "./theme/mode";
import { Empty, Skeleton } from "./ui/parts";
import { Desk } from "./desk/desk";

const Wall = lazy(() => import("./pages/wall"));
const Rules = lazy(() => import("./pages/rules"));
const Sends = lazy(() => import("./pages/sends"));
const Accounts = lazy(() => import("./pages/accounts"));
const Reports = lazy(() => import("./pages/reports"));
const Settings = lazy(() => import("./pages/settings"));

export function App({ transport }: { transport: Transport }) {
  const cache = useMemo(() => new QueryClient({ defaultOptions: { queries: { retry: 1, staleTime: 5_000, refetchOnWindowFocus: false }, mutations: { retry: false } } }), []);
  return (
    <I18nProvider>
      <ThemeProvider>
        <ClientsProvider transport={transport}>
          <QueryClientProvider client={cache}>
            <KeysProvider>
              <SessionProvider><Gate /></SessionProvider>
            </KeysProvider>
          </QueryClientProvider>
        </ClientsProvider>
      </ThemeProvider>
    </I18nProvider>
  );
}

// Gate shows the log-in until somebody is logged in; nothing else is even mounted before.
function Gate() {
  const { t } = useI18n();
  const me = useMe();
  if (me.state === "loading") return <Spin fullscreen delay={200} description={t("loading")} />;
  if (me.state === "failed") {
    const said = say(me.error, t);
    return <main className="page"><Empty title={said.text} text={said.code} /></main>;
  }
  if (me.state === "out") return <LogIn />;
  if (me.session?.mustChangePassword) {
    return <main className="page"><div className="card" style={{ width: 400, margin: "15vh auto 0", padding: 24 }}><h1 className="t20">{t("password.title")}</h1><PasswordForm must /></div></main>;
  }
  return (
    <BrowserRouter useTransitions={false}>
      <DeskProvider>
        <Shell>
          <Suspense fallback={<main className="page"><div className="page-head" /><div className="page-body"><Skeleton /></div></main>}>
            <Routes>
              <Route path="/desk/:account?/:conversation?" element={<Desk />} />
              <Route path="/wall" element={<Wall />} />
              <Route path="/rules/*" element={<Rules />} />
              <Route path="/sends/*" element={<Sends />} />
              <Route path="/accounts/*" element={<Accounts />} />
              <Route path="/reports" element={<Reports />} />
              <Route path="/settings/*" element={<Settings />} />
              <Route path="*" element={<Navigate to="/desk" replace />} />
            </Routes>
          </Suspense>
        </Shell>
      </DeskProvider>
    </BrowserRouter>
  );
}
