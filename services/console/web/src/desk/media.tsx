import { Image } from "antd";
import { useEffect, useRef, useState } from "react";
import { MediaState, type Media, type Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useI18n } from "../i18n";
import { Icon } from "../ui/icon";
import { Tag } from "../ui/parts";
import { kindOf, linkify, safeURL } from "./content";
import { addressOf, bounded } from "./media-address";

// What fans write is hostile: it becomes text nodes and checked addresses, never markup.
export function Words({ text }: { text: string }) {
  return (
    <span className="words">
      {linkify(text).map((p, i) => (typeof p === "string" ? p : <a key={`${i}/${p.href}`} href={p.href} target="_blank" rel="noopener noreferrer nofollow">{p.text}</a>))}
    </span>
  );
}

export function MessageBody({ m }: { m: Message }) {
  const file = m.media.find((x) => x.role === "content" || x.role === "") ?? m.media[0];
  const type = m.msgType || kindOf(m.content);
  switch (type) {
    case "image":
      return <Picture m={m} file={file} />;
    case "voice":
      return <Voice m={m} file={file} />;
    case "video":
    case "shortvideo":
      return <Video m={m} file={file} />;
    case "location":
      return <Location m={m} />;
    case "file":
      return <FileCard m={m} file={file} />;
    case "link":
    case "news":
    case "music":
      return <LinkCard m={m} />;
    case "miniprogrampage":
      return <MiniProgram m={m} />;
    case "msgmenu":
      return <MenuMessage m={m} />;
    default:
      return <Words text={m.text} />;
  }
}

type Problem = "pending" | "lost" | "failed";

interface Kept {
  url: string | undefined;
  problem: Problem | undefined;
  // fail tells that the browser could not read the file; retry asks for it again.
  fail(): void;
  retry(): void;
}

// useMedia returns the address of a kept file, or why there is none.
function useMedia(account: string, file: Media | undefined): Kept {
  const [failed, setFailed] = useState(false);
  const url = file?.id && file.state === MediaState.STORED ? addressOf(account, file) : undefined;
  useEffect(() => setFailed(false), [url]);
  const problem = !file || file.state === MediaState.PENDING || file.state === MediaState.UNSPECIFIED ? "pending" : file.state === MediaState.LOST ? "lost" : failed ? "failed" : undefined;
  return { url, problem, fail: () => setFailed(true), retry: () => setFailed(false) };
}

function MediaProblem({ kept, file, text }: { kept: Kept; file: Media | undefined; text: string }) {
  const { t } = useI18n();
  const { problem = "pending", url } = kept;
  return (
    <span className="media-problem">
      <Icon name={problem === "pending" ? "clock" : "alert"} size={14} /><span>{text} · {problem === "lost" ? t("media.lost", { reason: file?.reason || t("unknown") }) : t(`media.${problem}`)}</span>
      {problem === "failed" && <><button type="button" className="link" onClick={kept.retry}>{t("error.retry")}</button><a href={url} download>{t("media.save")}</a></>}
    </span>
  );
}

// sizes are those of the pictures that were loaded, so that one that scrolls back into view takes its place at once.
const sizes = bounded<{ width: number; height: number }>(500);

function Picture({ m, file }: { m: Message; file: Media | undefined }) {
  const { t, time } = useI18n();
  const kept = useMedia(m.account, file);
  const { url, problem } = kept;
  const known = url ? sizes.get(url) : undefined;
  const [loaded, setLoaded] = useState(known !== undefined);
  const label = t("media.image.at", { time: time(Number(m.atUnixMs)) });
  if (problem || !url) return <MediaProblem kept={kept} file={file} text={t("media.image")} />;
  return (
    <Image className={`picture ${loaded ? "" : "holder"}`} rootClassName="picture-root" src={url} alt={label} preview={{ mask: { blur: false } }} onError={kept.fail} {...(known ? { width: known.width, height: known.height } : {})}
      onLoad={(e) => { sizes.set(url, fit(e.currentTarget)); setLoaded(true); }} />
  );
}

const box = { width: 240, height: 320 }; // the largest picture in a thread, as the stylesheet has it

function fit(img: HTMLImageElement): { width: number; height: number } {
  const by = Math.min(1, box.width / img.naturalWidth, box.height / img.naturalHeight);
  return { width: Math.round(img.naturalWidth * by), height: Math.round(img.naturalHeight * by) };
}

const bars = 44;

function Voice({ m, file }: { m: Message; file: Media | undefined }) {
  const { t } = useI18n();
  const kept = useMedia(m.account, file);
  const { url, problem } = kept;
  const audio = useRef<HTMLAudioElement>(null);
  const [playing, setPlaying] = useState(false);
  const [at, setAt] = useState(0);
  const [length, setLength] = useState(0);
  const [double, setDouble] = useState(false);
  const wave = useWave(url);
  const toggle = () => {
    const el = audio.current;
    if (!el) return;
    el.playbackRate = double ? 1.5 : 1;
    if (el.paused) void el.play().catch(() => setPlaying(false));
    else el.pause();
  };
  return (
    <div className="voice" data-voice>
      <div className="voice-line">
        <button type="button" className="play" onClick={toggle} disabled={!url || problem !== undefined} aria-label={playing ? t("media.pause") : t("media.play")} data-play><Icon name={playing ? "pause" : "play"} size={12} /></button>
        <svg className="wave" width={bars * 4} height="24" aria-hidden="true">
          {wave.map((h, i) => <rect key={i} x={i * 4} y={12 - h * 9 - 1} width="2" height={h * 18 + 2} rx="1" className={length > 0 && i / bars < at / length ? "played" : ""} />)}
        </svg>
        <span className="t12 t2">{problem ? t(`media.${problem === "lost" ? "gone" : problem}`) : duration(playing ? at : length)}</span>
        {problem === "failed" && <a className="t12" href={url} download>{t("media.save")}</a>}
        <button type="button" className="label line plain" onClick={() => setDouble(!double)} aria-pressed={double}>{double ? "1.5×" : "1×"}</button>
      </div>
      {url && <audio ref={audio} src={url} preload="metadata" onError={kept.fail} onPlay={() => setPlaying(true)} onPause={() => setPlaying(false)} onEnded={() => setAt(0)} onTimeUpdate={(e) => setAt(e.currentTarget.currentTime)} onLoadedMetadata={(e) => setLength(Number.isFinite(e.currentTarget.duration) ? e.currentTarget.duration : 0)} />}
      <div className="recognised">{m.text ? <>{m.text} <span className="t3 t12">{t("media.recognised")}</span></> : <span className="t3">{t("media.notRecognised")}</span>}</div>
    </div>
  );
}

const duration = (s: number) => `${Math.floor(s / 60)}:${String(Math.round(s % 60)).padStart(2, "0")}`;

const flat: readonly number[] = Array.from({ length: bars }, () => 0.1);
const waves = bounded<Promise<readonly number[]>>(200);

// useWave draws the loudness of the voice itself; a flat line until it is known.
function useWave(url: string | undefined): readonly number[] {
  const [wave, setWave] = useState(flat);
  useEffect(() => {
    if (!url || typeof OfflineAudioContext === "undefined") return undefined;
    let alive = true;
    const known = waves.get(url) ?? loudness(url);
    waves.set(url, known);
    void known.then((w) => alive && setWave(w));
    return () => void (alive = false);
  }, [url]);
  return wave;
}

async function loudness(url: string): Promise<readonly number[]> {
  try {
    const res = await fetch(url);
    if (!res.ok) return flat;
    const sound = await new OfflineAudioContext(1, 1, 8000).decodeAudioData(await res.arrayBuffer());
    const data = sound.getChannelData(0);
    const step = Math.max(1, Math.floor(data.length / bars));
    const loud = Array.from({ length: bars }, (_, i) => data.subarray(i * step, (i + 1) * step).reduce((most, v) => Math.max(most, Math.abs(v)), 0));
    const most = Math.max(...loud, 0.01);
    return loud.map((v) => v / most);
  } catch {
    return flat; // a format that this browser cannot read
  }
}

function Video({ m, file }: { m: Message; file: Media | undefined }) {
  const { t } = useI18n();
  const kept = useMedia(m.account, file);
  const { url, problem } = kept;
  const thumb = m.media.find((x) => x.role === "thumb" && x.state === MediaState.STORED);
  if (problem || !url) return <MediaProblem kept={kept} file={file} text={t("media.video")} />;
  return <video className="picture" src={url} poster={thumb && addressOf(m.account, thumb)} controls preload="metadata" aria-label={m.text || t("media.video")} onError={kept.fail}><track kind="captions" /></video>;
}

function FileCard({ m, file }: { m: Message; file: Media | undefined }) {
  const { t, number } = useI18n();
  const { url, problem } = useMedia(m.account, file);
  const name = m.text || t("media.file");
  return (
    <div className="file-card">
      <Icon name="box" size={20} />
      <div className="grow"><div className="m cut">{name}</div><div className="t12 t3">{file ? t("media.size", { size: number(Math.ceil(Number(file.size) / 1024)) }) : ""}</div></div>
      {url && !problem ? <a href={url} download={name}>{t("media.save")}</a> : <span className="t12 t3">{t(`media.${problem === "lost" ? "gone" : problem ?? "pending"}`)}</span>}
    </div>
  );
}

function Location({ m }: { m: Message }) {
  const { t } = useI18n();
  const at = m.location;
  const position = at ? `${at.latitude.toFixed(5)}, ${at.longitude.toFixed(5)}` : "";
  const map = at ? safeURL(`https://apis.map.qq.com/uri/v1/marker?marker=coord:${at.latitude},${at.longitude};title:${encodeURIComponent(m.text || position)}&referer=wxbus`) : undefined;
  return (
    <div className="location">
      <svg className="map" viewBox="0 0 240 96" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
        <rect width="240" height="96" fill="var(--fill)" />
        <path d="M0 66C50 60 70 84 130 76s80-26 110-20V96H0z" fill="var(--chart-3)" />
        <path d="M-4 30 90 18l60 30 94-16M40-4l18 104M120-4 104 100M196-4l-22 104" stroke="var(--surface)" strokeWidth="5" fill="none" />
        <path d="M-4 52 244 44M76-4 84 100M150-4 150 100" stroke="var(--surface)" strokeWidth="2" fill="none" />
        <path d="M124 56c8-9 12-14 12-20a12 12 0 0 0-24 0c0 6 4 11 12 20z" fill="var(--red)" /><circle cx="124" cy="36" r="4.5" fill="var(--surface)" />
      </svg>
      <div className="caption"><div className="m cut">{m.text || t("media.location")}</div><div className="t12 t3 cut">{position}{map && <> · <a href={map} target="_blank" rel="noopener noreferrer">{t("media.openMap")}</a></>}</div></div>
    </div>
  );
}

function LinkCard({ m }: { m: Message }) {
  const { t } = useI18n();
  const body = m.content?.body;
  const article = body?.case === "news" ? body.value.articles[0] : body?.case === "link" ? body.value : undefined;
  const title = article?.title || m.text || t("media.link");
  const raw = article?.url || m.url;
  const href = safeURL(raw);
  return (
    <div className="link-card">
      <div className="m words">{title}</div>
      {article?.description && <div className="t12 t2 words">{article.description}</div>}
      {href ? <a className="t12 cut" href={href} target="_blank" rel="noopener noreferrer nofollow">{new URL(href).host}</a> : raw && <span className="t12 t3 words">{t("media.unsafeLink")} <span className="mono">{raw}</span></span>}
    </div>
  );
}

function MiniProgram({ m }: { m: Message }) {
  const { t } = useI18n();
  const card = m.content?.body.case === "miniProgram" ? m.content.body.value : undefined;
  return <div className="mini-card"><Icon name="mini" size={20} /><div className="grow"><div className="m cut">{card?.title || m.text || t("media.mini")}</div><div className="t12 t3 cut">{t("media.mini")} {card?.pagePath}</div></div></div>;
}

function MenuMessage({ m }: { m: Message }) {
  const menu = m.content?.body.case === "menu" ? m.content.body.value : undefined;
  if (!menu) return <Words text={m.text} />;
  return <div className="menu-card"><Words text={menu.head} /><ul>{menu.items.map((i) => <li key={i.id}><Tag line>{i.content}</Tag></li>)}</ul>{menu.tail && <Words text={menu.tail} />}</div>;
}
