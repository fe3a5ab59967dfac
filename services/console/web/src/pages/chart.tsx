// Small charts of our own: lines, and bars side by side. The numbers stand in the table beside them.

interface Series {
  name: string;
  color: string;
  values: readonly number[];
}

// BarChart draws groups of bars with an axis that begins at zero.
export function BarChart({ labels, series, label }: { labels: readonly string[]; series: readonly Series[]; label: string }) {
  const width = 1120;
  const height = 220;
  const left = 40;
  const bottom = 24;
  const most = nice(Math.max(1, ...series.flatMap((s) => s.values)));
  const y = (v: number) => height - bottom - (v / most) * (height - bottom - 8);
  const slot = (width - left) / Math.max(1, labels.length);
  const bar = Math.min(28, (slot * 0.7) / series.length);
  const every = Math.ceil(labels.length / 14);
  return (
    <figure>
      <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label} className="chart">
        {[0, 0.25, 0.5, 0.75, 1].map((share) => <g key={share}><line x1={left} x2={width} y1={y(most * share)} y2={y(most * share)} stroke="var(--line)" /><text x={left - 6} y={y(most * share) + 4} textAnchor="end">{Math.round(most * share)}</text></g>)}
        {labels.map((l, i) => (
          <g key={l}>
            {series.map((s, k) => {
              const v = s.values[i] ?? 0;
              return <rect key={s.name} x={left + i * slot + (slot - bar * series.length) / 2 + k * bar} y={y(v)} width={Math.max(1, bar - 2)} height={Math.max(0, height - bottom - y(v))} rx="2" fill={s.color}><title>{`${l} ${s.name} ${v}`}</title></rect>;
            })}
            {i % every === 0 && <text x={left + i * slot + slot / 2} y={height - 8} textAnchor="middle">{l.length > 10 ? `${l.slice(0, 9)}…` : l.replace(/^\d{4}-/, "")}</text>}
          </g>
        ))}
      </svg>
      <figcaption className="row g16 t12 t2">{series.map((s) => <span key={s.name} className="row g4"><i className="swatch" style={{ background: s.color }} />{s.name}</span>)}</figcaption>
    </figure>
  );
}

// LineChart draws times by day: the middle one as a line, what nine of ten were below as a dashed one. A day without any has no point.
export function LineChart({ labels, median, p90, label, format }: { labels: readonly string[]; median: readonly (number | undefined)[]; p90: readonly (number | undefined)[]; label: string; format(v: number): string }) {
  const width = 540;
  const height = 170;
  const left = 48;
  const bottom = 24;
  const most = Math.max(60_000, ...median.map((v) => v ?? 0), ...p90.map((v) => v ?? 0));
  const x = (i: number) => left + ((i + 0.5) * (width - left)) / Math.max(1, labels.length);
  const y = (v: number) => height - bottom - (v / most) * (height - bottom - 12);
  const path = (values: readonly (number | undefined)[]) => values.flatMap((v, i) => (v === undefined ? [] : [`${x(i).toFixed(1)},${y(v).toFixed(1)}`])).join(" ");
  const every = Math.ceil(labels.length / 7);
  return (
    <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label} className="chart">
      {[0, 0.5, 1].map((share) => <g key={share}><line x1={left} x2={width} y1={y(most * share)} y2={y(most * share)} stroke="var(--line)" /><text x={left - 6} y={y(most * share) + 4} textAnchor="end">{format(most * share)}</text></g>)}
      <polyline points={path(p90)} fill="none" stroke="var(--chart)" strokeWidth="1.5" strokeDasharray="4 3" />
      <polyline points={path(median)} fill="none" stroke="var(--brand-text)" strokeWidth="2" />
      {labels.map((l, i) => (
        <g key={l}>
          {median[i] !== undefined && <circle cx={x(i)} cy={y(median[i])} r="3" fill="var(--brand-text)"><title>{`${l} ${format(median[i])}`}</title></circle>}
          {p90[i] !== undefined && <circle cx={x(i)} cy={y(p90[i])} r="2.5" fill="var(--chart)"><title>{`${l} P90 ${format(p90[i])}`}</title></circle>}
          {i % every === 0 && <text x={x(i)} y={height - 8} textAnchor="middle">{l.replace(/^\d{4}-/, "")}</text>}
        </g>
      ))}
    </svg>
  );
}

// AreaChart draws one quantity over time, with a dashed line for what is allowed.
export function AreaChart({ points, label, limit }: { points: readonly { label: string; value: number }[]; label: string; limit?: { value: number; label: string } | undefined }) {
  const width = 1120;
  const height = 170;
  const left = 40;
  const bottom = 24;
  const most = nice(Math.max(0.1, limit?.value ?? 0, ...points.map((p) => p.value)));
  const x = (i: number) => left + (i * (width - left - 8)) / Math.max(1, points.length - 1);
  const y = (v: number) => height - bottom - (v / most) * (height - bottom - 16);
  const line = points.map((p, i) => `${x(i).toFixed(1)},${y(p.value).toFixed(1)}`).join(" ");
  const every = Math.max(1, Math.ceil(points.length / 6));
  return (
    <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label} className="chart">
      {[0, 0.5, 1].map((share) => <g key={share}><line x1={left} x2={width} y1={y(most * share)} y2={y(most * share)} stroke="var(--line)" /><text x={left - 6} y={y(most * share) + 4} textAnchor="end">{Number((most * share).toFixed(2))}</text></g>)}
      {limit && <g><line x1={left} x2={width} y1={y(limit.value)} y2={y(limit.value)} stroke="var(--line-ctl)" strokeDasharray="4 4" /><text x={width - 4} y={y(limit.value) - 5} textAnchor="end">{limit.label}</text></g>}
      <polygon points={`${x(0)},${y(0)} ${line} ${x(points.length - 1)},${y(0)}`} fill="var(--chart-3)" opacity="0.5" />
      <polyline points={line} fill="none" stroke="var(--chart)" strokeWidth="1.5" />
      {points.map((p, i) => <g key={`${i}/${p.label}`}><rect x={x(i) - 4} y={0} width="8" height={height - bottom} fill="transparent"><title>{`${p.label} ${p.value.toFixed(1)}`}</title></rect>{i % every === 0 && <text x={x(i)} y={height - 8} textAnchor={i === 0 ? "start" : "middle"}>{p.label}</text>}</g>)}
    </svg>
  );
}

// nice rounds up to 1, 2, 4, 5 or 8 times a power of ten, so that the quarter lines are readable.
export function nice(n: number): number {
  const power = 10 ** Math.floor(Math.log10(n));
  return ([1, 2, 4, 8, 10].find((m) => m * power >= n) ?? 10) * power;
}
