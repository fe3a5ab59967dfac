-- +goose Up
CREATE TABLE users (
  name TEXT NOT NULL PRIMARY KEY,
  display_name TEXT NOT NULL,
  roles TEXT NOT NULL,
  accounts TEXT NOT NULL,
  password_hash TEXT NOT NULL,
  must_change INTEGER NOT NULL,
  disabled INTEGER NOT NULL,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  last_log_in_ms BIGINT NOT NULL,
  revision BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_identity ON users (issuer, subject) WHERE issuer <> '';

CREATE TABLE sessions (
  hash $BYTES NOT NULL PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
  created_ms BIGINT NOT NULL,
  seen_ms BIGINT NOT NULL,
  expires_ms BIGINT NOT NULL,
  address TEXT NOT NULL,
  agent TEXT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_name, created_ms);

CREATE TABLE attempts (
  subject TEXT NOT NULL PRIMARY KEY,
  failures INTEGER NOT NULL,
  last_ms BIGINT NOT NULL,
  until_ms BIGINT NOT NULL
);
CREATE INDEX attempts_last ON attempts (last_ms);

CREATE TABLE api_keys (
  id TEXT NOT NULL PRIMARY KEY,
  hash $BYTES NOT NULL,
  name TEXT NOT NULL,
  scopes TEXT NOT NULL,
  accounts TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  expires_ms BIGINT NOT NULL,
  revoked_ms BIGINT NOT NULL,
  last_used_ms BIGINT NOT NULL
);

CREATE TABLE audit (
  seq BIGINT NOT NULL PRIMARY KEY,
  at_ms BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  account TEXT NOT NULL,
  target TEXT NOT NULL,
  outcome TEXT NOT NULL,
  request_digest TEXT NOT NULL,
  before_hash TEXT NOT NULL,
  after_hash TEXT NOT NULL,
  address TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  previous TEXT NOT NULL,
  hash TEXT NOT NULL
);
CREATE INDEX audit_actor ON audit (actor, seq);
CREATE INDEX audit_at ON audit (at_ms);

-- The newest entry, so that the end of the chain cannot be cut off unseen, and so that writers take turns.
CREATE TABLE audit_head (
  id INTEGER NOT NULL PRIMARY KEY,
  seq BIGINT NOT NULL,
  hash TEXT NOT NULL
);
INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '');
