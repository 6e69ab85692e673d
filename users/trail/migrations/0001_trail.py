"""The table of the trail, the trigger function that fills it, and what keeps it as it is."""

from django.db import migrations, models

TABLE = """
CREATE TABLE trail_entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_id bigint,
    actor text NOT NULL DEFAULT '',
    credential text NOT NULL DEFAULT '',
    address inet,
    request_id text NOT NULL DEFAULT '',
    source text NOT NULL DEFAULT '',
    action text NOT NULL,
    kind text NOT NULL,
    -- Such as device:12. A key's parent is its device.
    thing text NOT NULL DEFAULT '',
    label text NOT NULL DEFAULT '',
    parent text NOT NULL DEFAULT '',
    before jsonb,
    after jsonb,
    times integer NOT NULL DEFAULT 1,
    until timestamptz
);
CREATE INDEX trail_newest ON trail_entry (at, id);
CREATE INDEX trail_of_thing ON trail_entry (thing, at, id);
CREATE INDEX trail_of_parent ON trail_entry (parent, at, id) WHERE parent <> '';
CREATE INDEX trail_of_kind ON trail_entry (kind, at, id);
CREATE INDEX trail_of_actor ON trail_entry (upper(actor), at, id) WHERE actor <> '';
CREATE INDEX trail_of_credential ON trail_entry (credential, at, id) WHERE credential <> '';
CREATE INDEX trail_by_label ON trail_entry (upper(label) text_pattern_ops);
CREATE INDEX trail_from_address ON trail_entry (address, at, id) WHERE address IS NOT NULL;
"""
# SECURITY DEFINER: whoever changes a row needs no right to the trail itself, which is its owner's.
NOTE = """
CREATE FUNCTION trail_note_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
-- Arguments: kind; column with the id; columns of the label, the first that is not empty counts; and, for a part of
-- something, the parent's kind and the column with its id.
DECLARE
    -- Hashes and keys never get here. That a password or a second factor's key changed does.
    secret CONSTANT text[] := '{digest,password,data,extra_data}';
    -- Changes with each use of a credential.
    noise CONSTANT text[] := '{last_used_at,last_login}';
    acting CONSTANT jsonb := coalesce(nullif(current_setting('plumbline.acting', true), ''), '{}')::jsonb;
    was CONSTANT jsonb := CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    now_is CONSTANT jsonb := CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    row_of CONSTANT jsonb := coalesce(now_is, was);
    action text := CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'DELETE' THEN 'deleted'
        WHEN 'TRUNCATE' THEN 'emptied' ELSE 'changed' END;
    old_values jsonb;
    new_values jsonb;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT
            jsonb_object_agg(key, CASE WHEN key = ANY(secret) THEN '"hidden"' ELSE value END),
            jsonb_object_agg(key, CASE WHEN key = ANY(secret) THEN '"hidden"' ELSE now_is -> key END)
        INTO old_values, new_values
        FROM jsonb_each(was) WHERE value IS DISTINCT FROM now_is -> key AND key <> ALL (noise);
        IF old_values IS NULL THEN
            RETURN NULL;
        END IF;
    ELSE
        old_values := was - secret - noise;
        new_values := now_is - secret - noise;
    END IF;
    INSERT INTO trail_entry (
        actor_id, actor, credential, address, request_id, source, action, kind, thing, label, parent, before, after
    ) VALUES (
        (acting ->> 'actor_id')::bigint,
        coalesce(acting ->> 'actor', ''),
        coalesce(acting ->> 'credential', ''),
        (acting ->> 'address')::inet,
        coalesce(acting ->> 'request_id', ''),
        coalesce(acting ->> 'source', 'SQL as ' || session_user),
        action,
        TG_ARGV[0],
        coalesce(TG_ARGV[0] || ':' || (row_of ->> TG_ARGV[1]), ''),
        coalesce((
            SELECT row_of ->> name FROM unnest(string_to_array(TG_ARGV[2], ',')) WITH ORDINALITY AS names (name, n)
            WHERE row_of ->> name <> '' ORDER BY n LIMIT 1
        ), ''),
        coalesce(TG_ARGV[3] || ':' || (row_of ->> TG_ARGV[4]), ''),
        old_values,
        new_values
    );
    RETURN NULL;
END
$$;
"""
KEEP = """
CREATE FUNCTION trail_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- `trail_forget` alone sets it, and nothing that is younger than 30 days may go.
    IF TG_OP = 'DELETE' AND current_setting('plumbline.forgetting', true) = 'on' THEN
        IF OLD.at < now() - interval '30 days' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'The trail is only ever added to.' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER trail_kept BEFORE UPDATE OR DELETE ON trail_entry
    FOR EACH ROW EXECUTE FUNCTION trail_refuse_change();
CREATE TRIGGER trail_not_emptied BEFORE TRUNCATE ON trail_entry
    FOR EACH STATEMENT EXECUTE FUNCTION trail_refuse_change();
CREATE FUNCTION trail_forget(days integer) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    forgotten bigint;
BEGIN
    IF days IS NULL OR days < 30 THEN
        RAISE EXCEPTION 'The trail is kept for at least 30 days.' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM set_config('plumbline.forgetting', 'on', true);
    DELETE FROM trail_entry WHERE id IN (
        SELECT id FROM trail_entry WHERE at < now() - make_interval(days => days) ORDER BY at, id LIMIT 10000
    );
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    PERFORM set_config('plumbline.forgetting', '', true);
    RETURN forgotten;
END
$$;
"""
# Temporary tables come last: somebody's own trail_entry must not take the place of the table.
PATH = """
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION trail_note_change() SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION trail_forget(integer) SET search_path = %I, pg_temp', current_schema());
END $$;
"""
# Where roles get rights to each new table, as from deploy/roles.sh, they may add to this one.
RIGHTS = """
DO $$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN
        SELECT DISTINCT quote_ident(rolname)
        FROM pg_class, aclexplode(relacl) AS acl JOIN pg_roles ON pg_roles.oid = acl.grantee
        WHERE pg_class.oid = 'trail_entry'::regclass AND acl.grantee <> relowner
    LOOP
        EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON trail_entry FROM %s', grantee);
    END LOOP;
END $$;
"""
BACKWARD = """
DROP TABLE trail_entry;
DROP FUNCTION trail_forget(integer);
DROP FUNCTION trail_refuse_change();
DROP FUNCTION trail_note_change();
"""


class Migration(migrations.Migration):
    dependencies = []

    operations = [
        migrations.RunSQL(
            TABLE + NOTE + KEEP + PATH + RIGHTS,
            BACKWARD,
            state_operations=[
                migrations.CreateModel(
                    name="Entry",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("at", models.DateTimeField()),
                        ("actor_id", models.BigIntegerField(null=True)),
                        ("actor", models.TextField()),
                        ("credential", models.TextField()),
                        ("address", models.GenericIPAddressField(null=True)),
                        ("request_id", models.TextField()),
                        ("source", models.TextField()),
                        ("action", models.TextField()),
                        ("kind", models.TextField()),
                        ("thing", models.TextField()),
                        ("label", models.TextField()),
                        ("parent", models.TextField()),
                        ("before", models.JSONField(null=True)),
                        ("after", models.JSONField(null=True)),
                        ("times", models.IntegerField(default=1)),
                        ("until", models.DateTimeField(null=True)),
                    ],
                    options={
                        "verbose_name_plural": "entries",
                        "db_table": "trail_entry",
                        "ordering": ("-at", "-id"),
                        "managed": False,
                    },
                ),
            ],
        )
    ]
