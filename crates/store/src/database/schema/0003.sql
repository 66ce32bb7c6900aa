-- Files: what is known of a tenant's blobs. None shares its blob with another.
CREATE TABLE files (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    -- Hexadecimal, both.
    sha256 TEXT NOT NULL,
    blob TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT
);
-- It holds the bytes, so that a quota's sum never reads the rows themselves.
CREATE INDEX files_by_tenant ON files (tenant, kind, created_at_ms, id, bytes);
CREATE INDEX files_by_expiry ON files (expires_at_ms);
