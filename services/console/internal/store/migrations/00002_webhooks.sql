-- +goose Up
CREATE TABLE webhooks (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  url TEXT NOT NULL,
  kinds TEXT NOT NULL,
  accounts TEXT NOT NULL,
  secret $BYTES NOT NULL,
  old_secret $BYTES,
  old_until_ms BIGINT NOT NULL,
  paused INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  open_until_ms BIGINT NOT NULL,
  last_success_ms BIGINT NOT NULL,
  last_failure TEXT NOT NULL,
  lease_owner TEXT NOT NULL,
  lease_until_ms BIGINT NOT NULL
);

-- How far each subscription has read each stream.
CREATE TABLE webhook_cursors (
  webhook TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  stream TEXT NOT NULL,
  seq BIGINT NOT NULL,
  PRIMARY KEY (webhook, stream)
);

-- Deliveries that were not done at the first try. The event itself stays in its stream.
CREATE TABLE webhook_deliveries (
  id TEXT NOT NULL PRIMARY KEY,
  webhook TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  stream TEXT NOT NULL,
  seq BIGINT NOT NULL,
  kind TEXT NOT NULL,
  account TEXT NOT NULL,
  state INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  created_ms BIGINT NOT NULL,
  next_ms BIGINT NOT NULL,
  status INTEGER NOT NULL,
  failure TEXT NOT NULL,
  ended_ms BIGINT NOT NULL
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook, state, next_ms);
