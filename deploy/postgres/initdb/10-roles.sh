#!/bin/sh
# Makes the database and its roles, or gives the roles the passwords that the secrets hold now. PostgreSQL's image runs it when the
# data directory is new; after a password was rotated, run it again:
#
#   docker compose exec postgres /docker-entrypoint-initdb.d/10-roles.sh
#
# `quintet` owns the database and writes; `quintet_reader` may read everything (docs/sql.md), and the gateways' login is in it.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
SET client_min_messages = warning;
\set superuser_password `cat /run/secrets/postgres-password`
\set owner_password `cat /run/secrets/quintet-password`
\set gateway_password `cat /run/secrets/gateway-password`

SELECT 'CREATE ROLE ' || name FROM (VALUES ('quintet'), ('quintet_reader'), ('quintet_gateway')) AS wanted (name)
WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec
ALTER ROLE postgres PASSWORD :'superuser_password';
ALTER ROLE quintet LOGIN PASSWORD :'owner_password';
ALTER ROLE quintet_gateway LOGIN PASSWORD :'gateway_password';
GRANT quintet_reader TO quintet_gateway;

-- A gateway only reads, and its queries are short.
ALTER ROLE quintet_gateway SET default_transaction_read_only = on;
ALTER ROLE quintet_gateway SET statement_timeout = '30s';
ALTER ROLE quintet_gateway SET idle_in_transaction_session_timeout = '60s';

SELECT 'CREATE DATABASE quintet OWNER quintet' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'quintet') \gexec
REVOKE CONNECT ON DATABASE quintet FROM PUBLIC;
GRANT CONNECT ON DATABASE quintet TO quintet_reader;
SQL
