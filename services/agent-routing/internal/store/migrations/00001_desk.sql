-- +goose Up
CREATE TABLE desk_groups (
  id TEXT NOT NULL PRIMARY KEY,
  revision BIGINT NOT NULL,
  body TEXT NOT NULL
);

CREATE TABLE agents (
  id TEXT NOT NULL PRIMARY KEY,
  presence SMALLINT NOT NULL DEFAULT 0,
  presence_ms BIGINT NOT NULL DEFAULT 0,
  lease_ms BIGINT NOT NULL DEFAULT 0,
  assigned_ms BIGINT NOT NULL DEFAULT 0,
  body TEXT NOT NULL
);
CREATE INDEX agents_lease ON agents (lease_ms);

CREATE TABLE agent_groups (
  agent TEXT NOT NULL,
  grp TEXT NOT NULL,
  PRIMARY KEY (grp, agent)
);
CREATE INDEX agent_groups_agent ON agent_groups (agent);

CREATE TABLE fans (
  account TEXT NOT NULL,
  openid TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  owner_kind SMALLINT NOT NULL,
  owner_name TEXT NOT NULL,
  owner_ms BIGINT NOT NULL,
  conversation TEXT NOT NULL DEFAULT '',
  seq BIGINT NOT NULL DEFAULT 0,
  unionid TEXT NOT NULL DEFAULT '',
  body TEXT NOT NULL,
  PRIMARY KEY (account, openid)
);
CREATE INDEX fans_owner ON fans (owner_kind);
CREATE INDEX fans_unionid ON fans (unionid) WHERE unionid <> '';

CREATE TABLE conversations (
  account TEXT NOT NULL,
  id TEXT NOT NULL,
  openid TEXT NOT NULL,
  state SMALLINT NOT NULL,
  grp TEXT NOT NULL,
  agent TEXT NOT NULL,
  opened_ms BIGINT NOT NULL,
  waiting_ms BIGINT NOT NULL,
  state_ms BIGINT NOT NULL,
  active_ms BIGINT NOT NULL,
  closed_ms BIGINT NOT NULL,
  due_ms BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (account, id)
);
CREATE INDEX conversations_queue ON conversations (grp, state, waiting_ms, id);
CREATE INDEX conversations_agent ON conversations (agent, state);
CREATE INDEX conversations_fan ON conversations (account, openid, opened_ms);
CREATE INDEX conversations_open ON conversations (state, waiting_ms, id);
CREATE INDEX conversations_due ON conversations (due_ms) WHERE due_ms > 0;
CREATE INDEX conversations_closed ON conversations (closed_ms) WHERE closed_ms > 0;

CREATE TABLE messages (
  account TEXT NOT NULL,
  openid TEXT NOT NULL,
  seq BIGINT NOT NULL,
  conversation TEXT NOT NULL,
  author_kind SMALLINT NOT NULL,
  author TEXT NOT NULL,
  state SMALLINT NOT NULL,
  event_id TEXT NOT NULL DEFAULT '',
  send_id TEXT NOT NULL DEFAULT '',
  client_id TEXT NOT NULL DEFAULT '',
  at_ms BIGINT NOT NULL,
  body $BYTES NOT NULL,
  folded TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (account, openid, seq)
);
CREATE UNIQUE INDEX messages_event ON messages (account, openid, event_id) WHERE event_id <> '';
CREATE UNIQUE INDEX messages_client ON messages (account, openid, client_id) WHERE client_id <> '';
CREATE INDEX messages_send ON messages (account, send_id) WHERE send_id <> '';
CREATE INDEX messages_conversation ON messages (account, conversation, seq);

CREATE TABLE grams (
  gram TEXT NOT NULL,
  account TEXT NOT NULL,
  openid TEXT NOT NULL,
  seq BIGINT NOT NULL,
  PRIMARY KEY (gram, account, openid, seq)
);
CREATE INDEX grams_fan ON grams (account, openid);

CREATE TABLE changes (
  account TEXT NOT NULL,
  conversation TEXT NOT NULL,
  number BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  what TEXT NOT NULL,
  grp TEXT NOT NULL,
  agent TEXT NOT NULL,
  from_agent TEXT NOT NULL,
  score SMALLINT NOT NULL,
  asked_ms BIGINT NOT NULL,
  body $BYTES NOT NULL,
  PRIMARY KEY (account, conversation, number)
);
CREATE INDEX changes_at ON changes (at_ms);

CREATE TABLE outbox (
  id $AUTOID,
  account TEXT NOT NULL,
  openid TEXT NOT NULL,
  kind SMALLINT NOT NULL,
  key TEXT NOT NULL,
  seq BIGINT NOT NULL,
  body $BYTES NOT NULL,
  created_ms BIGINT NOT NULL
);
CREATE INDEX outbox_fan ON outbox (account, openid, id);
CREATE INDEX outbox_created ON outbox (created_ms);

CREATE TABLE canned (
  id TEXT NOT NULL PRIMARY KEY,
  scope SMALLINT NOT NULL,
  scope_id TEXT NOT NULL,
  account TEXT NOT NULL,
  shortcut TEXT NOT NULL,
  used BIGINT NOT NULL DEFAULT 0,
  folded TEXT NOT NULL,
  body $BYTES NOT NULL
);
CREATE UNIQUE INDEX canned_shortcut ON canned (scope, scope_id, account, shortcut);

CREATE TABLE media (
  id TEXT NOT NULL PRIMARY KEY,
  account TEXT NOT NULL,
  openid TEXT NOT NULL,
  seq BIGINT NOT NULL,
  role TEXT NOT NULL,
  media_id TEXT NOT NULL,
  state SMALLINT NOT NULL,
  content_type TEXT NOT NULL DEFAULT '',
  size BIGINT NOT NULL DEFAULT 0,
  playable_type TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  tries BIGINT NOT NULL DEFAULT 0,
  due_ms BIGINT NOT NULL,
  until_ms BIGINT NOT NULL
);
CREATE INDEX media_message ON media (account, openid, seq);
CREATE INDEX media_due ON media (due_ms) WHERE due_ms > 0;

CREATE TABLE erasures (
  id TEXT NOT NULL PRIMARY KEY,
  account TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  body $BYTES NOT NULL
);
CREATE INDEX erasures_at ON erasures (at_ms);
