-- A role that may read everything and write nothing; GRANT quintet_reader TO someone makes someone a reader. Roles belong to the whole
-- server, so that another database may have made it already, and the owner of this one may not be allowed to.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'quintet_reader') THEN
        CREATE ROLE quintet_reader NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'role quintet_reader is not there, and may not be made; see docs/sql.md';
END
$$;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'quintet_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO quintet_reader', current_schema());
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO quintet_reader', current_schema());
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO quintet_reader', current_schema());
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'role quintet_reader may not be granted the tables; see docs/sql.md';
END
$$;
