-- +goose Up
-- The timeline of a person is in the order of time, over the fans of several accounts.
CREATE INDEX messages_fan_time ON messages (account, openid, at_ms, seq);
