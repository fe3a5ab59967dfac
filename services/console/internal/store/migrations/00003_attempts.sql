-- +goose Up
-- The entry before a change and the one after it have the same attempt; entries from before have none.
ALTER TABLE audit ADD COLUMN attempt TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_attempt ON audit (attempt) WHERE attempt <> '';
