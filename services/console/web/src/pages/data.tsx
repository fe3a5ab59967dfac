import type { UseQueryResult } from "@tanstack/react-query";
import { App, Button } from "antd";
import { useCallback, type ReactNode } from "react";
import { useI18n } from "../i18n";
import { say } from "../rpc/error";
import { Empty, Skeleton } from "../ui/parts";

// Data shows the answer of a query, or what stands in its place.
export function Data<T>({ query, children }: { query: UseQueryResult<T>; children: (data: T) => ReactNode }) {
  const { t } = useI18n();
  if (query.data !== undefined) return children(query.data);
  if (query.error) {
    const said = say(query.error, t);
    return <div className="col" style={{ alignItems: "center" }}><Empty title={said.text} text={t("error.code", { code: said.code })} />{said.retry && <Button onClick={() => void query.refetch()}>{t("error.retry")}</Button>}</div>;
  }
  return <div className="card"><div className="body"><Skeleton /></div></div>;
}

// useFailure returns a function that tells an error in words.
export function useFailure(): (err: unknown) => void {
  const { t } = useI18n();
  const { notification } = App.useApp();
  return useCallback((err: unknown) => {
    const said = say(err, t);
    notification.error({ title: said.text, description: t("error.code", { code: said.code }) });
  }, [notification, t]);
}

// save hands bytes to the browser as a file.
export function save(name: string, type: string, parts: BlobPart[]): void {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  const a = document.createElement("a");
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
