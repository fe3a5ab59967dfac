-- +goose Up
-- Which promises to fans an entry keeps, breaks or takes back, as a set of targets: reports count them.
ALTER TABLE changes ADD COLUMN promises SMALLINT NOT NULL DEFAULT 0;
