"""The trigger function for things of which only the deletion is noted, such as posts and calculations."""

from django.db import migrations

# SECURITY DEFINER and the path: as in `trail_note_change`.
FORWARD = """
CREATE FUNCTION trail_note_deletion() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
-- Arguments: kind; columns of the label, the first that is not empty counts; the parent's kind and the column with
-- its id; and columns that are left out, because they may hold megabytes.
DECLARE
    acting CONSTANT jsonb := coalesce(nullif(current_setting('plumbline.acting', true), ''), '{}')::jsonb;
    was CONSTANT jsonb := CASE WHEN TG_LEVEL = 'ROW' THEN to_jsonb(OLD) END;
BEGIN
    INSERT INTO trail_entry (
        actor_id, actor, credential, address, request_id, source, action, kind, thing, label, parent, before
    ) VALUES (
        (acting ->> 'actor_id')::bigint,
        coalesce(acting ->> 'actor', ''),
        coalesce(acting ->> 'credential', ''),
        (acting ->> 'address')::inet,
        coalesce(acting ->> 'request_id', ''),
        coalesce(acting ->> 'source', 'SQL as ' || session_user),
        CASE TG_OP WHEN 'TRUNCATE' THEN 'emptied' ELSE 'deleted' END,
        TG_ARGV[0],
        coalesce(TG_ARGV[0] || ':' || (was ->> 'id'), ''),
        coalesce((
            SELECT was ->> name FROM unnest(string_to_array(TG_ARGV[1], ',')) WITH ORDINALITY AS names (name, n)
            WHERE was ->> name <> '' ORDER BY n LIMIT 1
        ), ''),
        coalesce(TG_ARGV[2] || ':' || (was ->> TG_ARGV[3]), ''),
        was - string_to_array(TG_ARGV[4], ',')
    );
    RETURN NULL;
END
$$;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION trail_note_deletion() SET search_path = %I, pg_temp', current_schema());
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("trail", "0002_accounts")]

    operations = [migrations.RunSQL(FORWARD, "DROP FUNCTION trail_note_deletion()")]
