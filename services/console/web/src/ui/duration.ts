// clockText writes a span as mm:ss, and as hh:mm:ss from one hour on. A negative span counts as zero.
export function clockText(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const two = (n: number) => String(n).padStart(2, "0");
  const head = s >= 3600 ? `${two(Math.floor(s / 3600))}:` : "";
  return `${head}${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

// offerText writes what is left of an offer with one decimal below 20 s.
export function offerText(ms: number): string {
  return ms < 20_000 ? (Math.max(0, ms) / 1000).toFixed(1) : clockText(ms);
}
