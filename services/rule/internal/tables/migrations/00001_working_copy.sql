-- +goose Up
-- One row for each rule and each top-level section of the rule file: what is being edited (name, body, …)
-- beside what is live of it (live_…). live_digest is empty when nothing is live, digest when it was deleted.
CREATE TABLE rules (
    id          TEXT PRIMARY KEY,
    section     INTEGER NOT NULL,
    name        TEXT NOT NULL,
    priority    INTEGER NOT NULL,
    position    BIGINT NOT NULL,
    accounts    TEXT NOT NULL,
    kinds       TEXT NOT NULL,
    body        TEXT NOT NULL,
    digest      TEXT NOT NULL,
    search      TEXT NOT NULL,
    enabled     INTEGER NOT NULL,
    live_name   TEXT NOT NULL,
    live_body   TEXT NOT NULL,
    live_digest TEXT NOT NULL,
    live_index  INTEGER NOT NULL,
    moved       INTEGER NOT NULL,
    conflict    INTEGER NOT NULL,
    revision    BIGINT NOT NULL,
    changed_by  TEXT NOT NULL,
    changed_ms  BIGINT NOT NULL
);
CREATE UNIQUE INDEX rules_name ON rules (section, name) WHERE digest <> '';
CREATE INDEX rules_order ON rules (section, priority DESC, position, id);

-- The one row that every change of the working copy locks, so that changes come one after the other.
CREATE TABLE copy_state (
    id       INTEGER PRIMARY KEY,
    version  TEXT NOT NULL,
    revision BIGINT NOT NULL
);
INSERT INTO copy_state (id, version, revision) VALUES (1, '', 0);

CREATE TABLE versions (
    version      TEXT PRIMARY KEY,
    published_ms BIGINT NOT NULL,
    published_by TEXT NOT NULL,
    source       TEXT NOT NULL,
    note         TEXT NOT NULL,
    rules        INTEGER NOT NULL
);

-- Rows are added and never changed. ref names what must be noted once.
CREATE TABLE audit (
    id      $AUTOID,
    at_ms   BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    action  INTEGER NOT NULL,
    section INTEGER NOT NULL,
    rule_id TEXT NOT NULL,
    name    TEXT NOT NULL,
    before  TEXT NOT NULL,
    after   TEXT NOT NULL,
    version TEXT NOT NULL,
    note    TEXT NOT NULL,
    ref     TEXT UNIQUE
);
CREATE INDEX audit_rule ON audit (rule_id, id);

-- +goose Down
DROP TABLE audit;
DROP TABLE versions;
DROP TABLE copy_state;
DROP TABLE rules;
