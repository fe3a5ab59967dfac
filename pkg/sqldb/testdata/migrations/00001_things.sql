-- +goose Up
CREATE TABLE things (
  id $AUTOID,
  name TEXT NOT NULL UNIQUE,
  body $BYTES,
  size BIGINT NOT NULL DEFAULT 0 CHECK (size >= 0)
);
