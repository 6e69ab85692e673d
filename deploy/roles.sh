#!/bin/sh
# The two roles of the portal in PostgreSQL. plumbline_owner has the tables, and only `migrate` uses it;
# plumbline_runtime reads and writes rows, owns nothing, and cannot change the trail.
#
# The containers `roles` run it as PostgreSQL's superuser before each migration. It changes what is not so yet, also
# in an installation that had one role for everything.
set -eu
if ! [ -s /secrets/OWNER_PASSWORD ] || ! [ -s /secrets/RUNTIME_PASSWORD ]; then
    echo "There are no passwords for two roles: this installation keeps its one role."
    exit 0
fi
PGPASSWORD=$(cat /secrets/POSTGRES_PASSWORD)
export PGPASSWORD
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 <<'SQL'
-- Read here, as arguments show in every process list.
\set owner `cat /secrets/OWNER_PASSWORD`
\set runtime `cat /secrets/RUNTIME_PASSWORD`
SELECT format('CREATE ROLE %I', name) FROM (VALUES ('plumbline_owner'), ('plumbline_runtime')) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE plumbline_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner';
ALTER ROLE plumbline_runtime LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'runtime';
SELECT format('CREATE DATABASE %I', :'DBNAME' || '_activity')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'DBNAME' || '_activity') \gexec
SQL
for database in "$PGDATABASE" "${PGDATABASE}_activity"; do
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$database" <<'SQL'
ALTER DATABASE :"DBNAME" OWNER TO plumbline_owner;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO plumbline_runtime;
ALTER SCHEMA public OWNER TO plumbline_owner;
GRANT USAGE ON SCHEMA public TO plumbline_runtime;
-- What an older installation has. Sequences follow their tables.
SELECT format('ALTER TABLE %s OWNER TO plumbline_owner', oid::regclass) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
    AND relowner <> 'plumbline_owner'::regrole \gexec
SELECT format('ALTER FUNCTION %s OWNER TO plumbline_owner', oid::regprocedure) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proowner <> 'plumbline_owner'::regrole \gexec
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plumbline_runtime;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO plumbline_runtime;
SELECT 'REVOKE UPDATE, DELETE ON trail_entry FROM plumbline_runtime' WHERE to_regclass('trail_entry') IS NOT NULL \gexec
-- What comes: migrations, and partitions.
ALTER DEFAULT PRIVILEGES FOR ROLE plumbline_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO plumbline_runtime;
ALTER DEFAULT PRIVILEGES FOR ROLE plumbline_owner IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO plumbline_runtime;
SQL
done
