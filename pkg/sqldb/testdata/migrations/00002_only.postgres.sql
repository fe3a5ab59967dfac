-- +goose Up
CREATE INDEX things_size ON things USING brin (size);
