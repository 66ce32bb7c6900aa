-- Plain SQL that PostgreSQL can run too. Times are milliseconds since 1970 (_ms), money is nano-units (_nano).

-- One row. It grows with every change of tenants, keys and prices, so that a running server hears of them.
CREATE TABLE changes (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    number BIGINT NOT NULL
);
INSERT INTO changes (id, number) VALUES (1, 0);

CREATE TABLE tenants (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    weight BIGINT NOT NULL,
    kv_floor_percent BIGINT NOT NULL,
    -- JSON: they are read whole, and never searched.
    limits TEXT NOT NULL,
    redact_request TEXT NOT NULL,
    redact_response TEXT NOT NULL,
    retention_days BIGINT NOT NULL,
    suspended BIGINT NOT NULL CHECK (suspended IN (0, 1)),
    erased_at_ms BIGINT
);

CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    -- Hexadecimal.
    hash TEXT NOT NULL UNIQUE,
    hint TEXT NOT NULL,
    role TEXT NOT NULL,
    limits TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT,
    last_used_at_ms BIGINT,
    revoked_at_ms BIGINT
);
CREATE INDEX keys_by_tenant ON keys (tenant, created_at_ms);

CREATE TABLE prices (
    model TEXT NOT NULL PRIMARY KEY,
    input_nano BIGINT NOT NULL,
    cached_nano BIGINT NOT NULL,
    output_nano BIGINT NOT NULL
);

-- No reference to tenants and keys: what was served is billed, whatever became of these.
CREATE TABLE usage (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    queue_us BIGINT NOT NULL,
    prefill_us BIGINT NOT NULL,
    decode_us BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    started_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT NOT NULL
);
-- They hold all that a budget needs, so that its sum never reads the rows themselves.
CREATE INDEX usage_by_tenant ON usage (tenant, started_at_ms, input_tokens, output_tokens, cost_nano);
CREATE INDEX usage_by_key ON usage (key_id, tenant, started_at_ms, input_tokens, output_tokens, cost_nano);
