-- What Syncline keeps in a database beside the tables of its targets. `create = true` on a target makes
-- it; where the runtime may not, an administrator runs this file and grants:
--
--   GRANT USAGE ON SCHEMA syncline_meta TO ..;
--   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA syncline_meta TO ..;

CREATE SCHEMA IF NOT EXISTS syncline_meta;

-- For each entity the event that wrote it last: a redelivery takes no row back. Rows of entities that
-- nothing will be delivered for again may be deleted.
CREATE TABLE IF NOT EXISTS syncline_meta.seen (
    relation text NOT NULL,
    entity   text NOT NULL,
    key      text NOT NULL,
    effect   text NOT NULL,
    stream   text NOT NULL,
    created  bigint NOT NULL,
    sequence bigint NOT NULL,
    ordering text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (relation, entity, key)
);

-- Records that were appended in the last 7 days: a redelivery appends none twice.
CREATE TABLE IF NOT EXISTS syncline_meta.appended (
    effect text PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now()
);

-- How each transaction ended here: 'c', committed, or 'a', it never will be. Of two that insert the same
-- name one wins, which makes an answer final.
CREATE TABLE IF NOT EXISTS syncline_meta.barrier (
    name  text PRIMARY KEY,
    state "char" NOT NULL CHECK (state IN ('c', 'a')),
    at    timestamptz NOT NULL DEFAULT now()
);

-- Rows that are older than any marker are deleted now and then.
CREATE INDEX IF NOT EXISTS barrier_at ON syncline_meta.barrier (at);
