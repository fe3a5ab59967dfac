-- +goose Up
-- A search for a word that is everywhere walks from the newest message and stops after a page.
CREATE INDEX messages_time ON messages (at_ms, account, openid, seq);
