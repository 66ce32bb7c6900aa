-- Long work. Spec, error and result are JSON that only their owner reads.
CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    key_id TEXT NOT NULL,
    spec TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    started_at_ms BIGINT,
    finished_at_ms BIGINT,
    attempt BIGINT NOT NULL,
    cancel_requested BIGINT NOT NULL CHECK (cancel_requested IN (0, 1)),
    error TEXT,
    result TEXT,
    -- How many events it has told.
    events BIGINT NOT NULL,
    -- Who works on it, since when with which right, and until when.
    holder TEXT,
    fence BIGINT NOT NULL,
    leased_until_ms BIGINT
);
CREATE INDEX jobs_by_tenant ON jobs (tenant, created_at_ms, id);
CREATE INDEX jobs_by_status ON jobs (status, created_at_ms, id);

CREATE TABLE job_events (
    job TEXT NOT NULL REFERENCES jobs (id),
    sequence BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (job, sequence)
);

-- Versions of models. Rows come and stay, but for the mark of the archive.
CREATE TABLE model_versions (
    tenant TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    task TEXT NOT NULL,
    digest TEXT NOT NULL,
    manifest TEXT NOT NULL,
    -- A job publishes once.
    job TEXT UNIQUE,
    archived_at_ms BIGINT,
    PRIMARY KEY (tenant, name, version)
);

-- Every setting of every alias; the one with the highest sequence counts.
CREATE TABLE aliases (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    version BIGINT NOT NULL,
    canary_version BIGINT,
    canary_percent BIGINT,
    shadow_version BIGINT,
    at_ms BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    PRIMARY KEY (tenant, name, alias, sequence),
    FOREIGN KEY (tenant, name, version) REFERENCES model_versions (tenant, name, version)
);
