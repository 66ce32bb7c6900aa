-- The audit log. Rows come and stay.
CREATE TABLE audit (
    sequence BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    tenant TEXT,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- Canonical JSON.
    details TEXT NOT NULL,
    -- Hexadecimal: the hash of the row before, and of this one.
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_by_tenant ON audit (tenant, sequence);

-- One row: where the log ends, so that a tail that was cut off is missed.
CREATE TABLE audit_head (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    number BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (id, number, hash)
VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- Data keys, wrapped by a master key. A shredded one keeps its number, so that no other key ever gets it.
CREATE TABLE data_keys (
    tenant TEXT NOT NULL REFERENCES tenants (id),
    version BIGINT NOT NULL,
    -- Which master key wraps it.
    master TEXT NOT NULL,
    -- Hexadecimal.
    wrapped TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    shredded_at_ms BIGINT,
    PRIMARY KEY (tenant, version)
);
