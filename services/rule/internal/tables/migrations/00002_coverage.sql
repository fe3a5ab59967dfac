-- +goose Up
-- How far decisions are counted. It changes in the same transaction as the counts, so that each is counted once;
-- holder is the process that counts now.
CREATE TABLE coverage_cursor (
    id         INTEGER PRIMARY KEY,
    stream_ms  BIGINT NOT NULL,
    sequence   BIGINT NOT NULL,
    counted_ms BIGINT NOT NULL,
    holder     TEXT NOT NULL,
    until_ms   BIGINT NOT NULL
);
INSERT INTO coverage_cursor (id, stream_ms, sequence, counted_ms, holder, until_ms) VALUES (1, 0, 0, 0, '', 0);

CREATE TABLE coverage_hits (
    hour    BIGINT NOT NULL,
    account TEXT NOT NULL,
    rule    TEXT NOT NULL,
    hits    BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (hour, account, rule)
);
CREATE INDEX coverage_hits_rule ON coverage_hits (rule, hour);

CREATE TABLE coverage_totals (
    hour    BIGINT NOT NULL,
    account TEXT NOT NULL,
    matched BIGINT NOT NULL,
    caught  BIGINT NOT NULL,
    missed  BIGINT NOT NULL,
    silent  BIGINT NOT NULL,
    PRIMARY KEY (hour, account)
);

-- The most frequent texts of a day that no rule asked for; how many is bounded for each account and day.
CREATE TABLE coverage_phrases (
    day       BIGINT NOT NULL,
    account   TEXT NOT NULL,
    phrase    TEXT NOT NULL,
    sample    TEXT NOT NULL,
    seen      BIGINT NOT NULL,
    too_many  BIGINT NOT NULL,
    last_ms   BIGINT NOT NULL,
    PRIMARY KEY (day, account, phrase)
);

-- +goose Down
DROP TABLE coverage_phrases;
DROP TABLE coverage_totals;
DROP TABLE coverage_hits;
DROP TABLE coverage_cursor;
