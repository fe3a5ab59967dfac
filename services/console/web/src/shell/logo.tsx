export function Logo({ size = 32 }: { size?: number }) {
  return (
    <svg className="logo" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="var(--brand)" />
      <path d="M7 12h18M7 20h18" stroke="var(--on-brand)" strokeWidth="2.2" strokeLinecap="round" />
      <circle cx="12" cy="12" r="3.4" fill="var(--on-brand)" />
      <circle cx="20" cy="20" r="3.4" fill="var(--on-brand)" />
    </svg>
  );
}
