-- +goose Up
-- An erasure that was asked for and is not done: what it must not forget until everything is gone.
CREATE TABLE pending_erasures (
  account TEXT NOT NULL,
  openid TEXT NOT NULL,
  since_ms BIGINT NOT NULL,
  next_ms BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (account, openid)
);
CREATE INDEX pending_erasures_next ON pending_erasures (next_ms);
