"""The hot statements of PostgreSQL, as SQL. Each is whole in itself: one statement, one transaction."""

from typing import LiteralString

# What differs from row to row goes as one text for each column, split by the server: psycopg quotes each element of an
# array, which would cost a job more than everything else that is done for it here.
INSERT: LiteralString = """
INSERT INTO nocohost_jobs (id, key, state, payload, priority, run_at, enqueued_at, "group", idempotency_key)
SELECT id, key, 'pending', payload, priority, greatest(run_at, clock_timestamp()), clock_timestamp(), "group",
       idempotency_key
FROM ROWS FROM (unnest(string_to_array(%(ids)s, ',')::uuid[]), unnest(string_to_array(%(keys)s, ',')),
                json_array_elements(%(payloads)s::json), unnest(string_to_array(%(priorities)s, ',')::int[]),
                unnest(string_to_array(%(run_at)s, ',', '')::timestamptz[]), json_array_elements_text(%(groups)s::json),
                json_array_elements_text(%(idempotency_keys)s::json))
  AS new(id, key, payload, priority, run_at, "group", idempotency_key)
RETURNING id::text, enqueued_at
"""
INSERT_ONE: LiteralString = """
INSERT INTO nocohost_jobs (id, key, state, payload, priority, run_at, enqueued_at, "group", idempotency_key)
VALUES (%s, %s, 'pending', %s, %s, greatest(%s::timestamptz, clock_timestamp()), clock_timestamp(), %s, %s)
RETURNING enqueued_at
"""
WANTED: LiteralString = """
  SELECT w.* FROM unnest(%(keys)s::text[], %(slots)s::int[], %(floors)s::int[], %(isolated)s::bool[])
    AS w(key, slots, floor, isolated)
  WHERE EXISTS (SELECT FROM nocohost_nodes WHERE id = %(node)s::uuid AND state = 'serving'
                AND lease_until > clock_timestamp())
    AND NOT EXISTS (SELECT FROM nocohost_keys AS k WHERE k.key = w.key AND k.paused_at IS NOT NULL)
"""
DUE: LiteralString = """
    SELECT j.id, j.priority, j.run_at FROM nocohost_jobs AS j
    WHERE j.key = w.key AND j.state = 'pending' AND j."group" IS NULL AND j.priority >= w.floor
      AND j.run_at <= (SELECT clock_timestamp()) AND (w.isolated OR j.losses < 2 AND j.crashes = 0)
    ORDER BY j.priority, j.run_at, j.id LIMIT w.slots FOR UPDATE SKIP LOCKED
"""
# Jobs that must run apart, which an index of their own finds: most often it is empty.
APART: LiteralString = """
    j.key = w.key AND NOT w.isolated AND j.state = 'pending' AND (j.losses > 1 OR j.crashes > 0)
      AND j.run_at <= (SELECT clock_timestamp())
"""
TAKE: LiteralString = """
    state = 'running', claim_id = %(claim)s::uuid, node_id = %(node)s::uuid, fence = fence + 1,
    started_at = clock_timestamp(), progress = NULL
"""
RETURNED: LiteralString = """
  id::text, key, payload::text, priority, "group", extract(epoch FROM run_at)::float8,
  extract(epoch FROM clock_timestamp() - run_at)::float8, enqueued_at, attempts, losses, crashes, fence
"""
# Materialized, because a plan must neither lock rows twice nor those of a key that this node may not take. The ids go
# on as an array, for which the planner expects few elements: joined, an unknown number makes it read the whole table.
CLAIM: LiteralString = f"""
WITH RECURSIVE wanted AS MATERIALIZED ({WANTED}), names AS (
  SELECT w.key, (SELECT min(j."group") FROM nocohost_jobs AS j WHERE j.key = w.key AND j."group" IS NOT NULL) AS name
  FROM wanted AS w
  UNION ALL
  SELECT n.key, (SELECT min(j."group") FROM nocohost_jobs AS j WHERE j.key = n.key AND j."group" > n.name)
  FROM names AS n WHERE n.name IS NOT NULL
), plain AS MATERIALIZED (
  SELECT w.key, w.slots, due.* FROM wanted AS w CROSS JOIN LATERAL ({DUE}) AS due
), heads AS MATERIALIZED (
  SELECT w.key, w.slots, j.id, j.priority, j.run_at
  FROM names AS n JOIN wanted AS w ON w.key = n.key CROSS JOIN LATERAL (
    SELECT h.id, h.priority, h.run_at, h.state FROM nocohost_jobs AS h
    WHERE h.key = n.key AND h."group" = n.name ORDER BY h.enqueued_at, h.id LIMIT 1
  ) AS first JOIN nocohost_jobs AS j ON j.id = first.id
  WHERE n.name IS NOT NULL AND first.state = 'pending' AND j.state = 'pending' AND j.priority >= w.floor
    AND j.run_at <= (SELECT clock_timestamp()) AND (w.isolated OR j.losses < 2 AND j.crashes = 0)
    AND NOT EXISTS (SELECT FROM nocohost_jobs AS r WHERE r.key = n.key AND r."group" = n.name AND r.state = 'running')
  FOR UPDATE OF j SKIP LOCKED
), apart AS MATERIALIZED (
  SELECT w.key, w.slots, due.* FROM wanted AS w CROSS JOIN LATERAL (
    SELECT j.id, j.priority, j.run_at FROM nocohost_jobs AS j
    WHERE {APART} AND (j."group" IS NULL OR NOT EXISTS (
      SELECT FROM nocohost_jobs AS r WHERE r.key = j.key AND r."group" = j."group" AND r.state = 'running'
    ) AND NOT EXISTS (
      SELECT FROM nocohost_jobs AS e
      WHERE e.key = j.key AND e."group" = j."group" AND (e.enqueued_at, e.id) < (j.enqueued_at, j.id)
    ))
    ORDER BY j.priority, j.run_at, j.id LIMIT least(%(places)s::int, w.slots) FOR UPDATE OF j SKIP LOCKED
  ) AS due ORDER BY due.priority, due.run_at, due.id LIMIT %(places)s::int
), chosen AS (
  SELECT id, slots, row_number() OVER (PARTITION BY key ORDER BY priority, run_at, id) AS place
  FROM (SELECT * FROM plain UNION ALL SELECT * FROM heads UNION ALL SELECT * FROM apart) AS due
)
UPDATE nocohost_jobs
SET {TAKE}
WHERE id = ANY(ARRAY(SELECT id FROM chosen WHERE place <= slots))
RETURNING {RETURNED}
"""  # noqa: S608 - made of the constants above
# Most keys have neither groups nor jobs that must run apart: this is planned in a fraction of the time. A row without
# an id tells of a key that has: of groups with a group, which is empty, of the others without one. Both are looked up,
# not joined, which is planned sooner; in order, so that no plan finds it cheap to read the table.
CLAIM_PLAIN: LiteralString = f"""
WITH wanted AS MATERIALIZED ({WANTED}), chosen AS MATERIALIZED (
  SELECT due.id FROM wanted AS w CROSS JOIN LATERAL ({DUE}) AS due
), taken AS (
  UPDATE nocohost_jobs SET {TAKE} WHERE id = ANY(ARRAY(SELECT id FROM chosen)) RETURNING {RETURNED}
)
SELECT * FROM taken UNION ALL
SELECT NULL, w.key, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM wanted AS w
WHERE (SELECT true FROM nocohost_jobs AS j WHERE j.key = w.key AND j."group" IS NOT NULL
       ORDER BY j."group" LIMIT 1) UNION ALL
SELECT NULL, w.key, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM wanted AS w
WHERE %(places)s::int > 0 AND (SELECT true FROM nocohost_jobs AS j WHERE {APART}
                                 ORDER BY j.priority LIMIT 1)
"""  # noqa: S608
# Of a hundred levels from the floor on: in a fair queue every job has a priority of its own, so that there may be as
# many levels as jobs.
OLDEST_LEVELS: LiteralString = """
WITH RECURSIVE wanted AS (
  SELECT w.* FROM unnest(%(keys)s::text[], %(floors)s::int[], %(isolated)s::bool[]) AS w(key, floor, isolated)
), levels AS (
  SELECT 1 AS place, w.key, w.isolated, (SELECT min(j.priority) FROM nocohost_jobs AS j
                 WHERE j.key = w.key AND j.state = 'pending' AND j."group" IS NULL
                   AND j.priority >= w.floor) AS priority
  FROM wanted AS w
  UNION ALL
  SELECT l.place + 1, l.key, l.isolated, (SELECT min(j.priority) FROM nocohost_jobs AS j WHERE j.key = l.key
                 AND j.state = 'pending' AND j."group" IS NULL AND j.priority > l.priority)
  FROM levels AS l WHERE l.priority IS NOT NULL AND l.place < 100
), names AS (
  SELECT w.key, w.isolated, (SELECT min(j."group") FROM nocohost_jobs AS j
                             WHERE j.key = w.key AND j."group" IS NOT NULL) AS name
  FROM wanted AS w
  UNION ALL
  SELECT n.key, n.isolated, (SELECT min(j."group") FROM nocohost_jobs AS j WHERE j.key = n.key AND j."group" > n.name)
  FROM names AS n WHERE n.name IS NOT NULL
), waiting AS (
  SELECT l.key, l.priority, first.since FROM levels AS l CROSS JOIN LATERAL (
    SELECT min(j.run_at) AS since FROM nocohost_jobs AS j
    WHERE j.key = l.key AND j.state = 'pending' AND j."group" IS NULL AND j.priority = l.priority
      AND (l.isolated OR j.losses < 2 AND j.crashes = 0)
  ) AS first
  WHERE l.priority IS NOT NULL
  UNION ALL
  SELECT n.key, head.priority, head.run_at FROM names AS n CROSS JOIN LATERAL (
    SELECT h.priority, h.run_at, h.state, h.losses, h.crashes FROM nocohost_jobs AS h
    WHERE h.key = n.key AND h."group" = n.name ORDER BY h.enqueued_at, h.id LIMIT 1
  ) AS head
  WHERE n.name IS NOT NULL AND head.state = 'pending' AND (n.isolated OR head.losses < 2 AND head.crashes = 0)
), oldest AS (
  SELECT DISTINCT ON (key) key, priority FROM waiting WHERE since <= clock_timestamp() ORDER BY key, since
)
SELECT w.key, o.priority, (SELECT l.priority FROM levels AS l WHERE l.key = w.key AND l.place = 100)
FROM wanted AS w LEFT JOIN oldest AS o ON o.key = w.key
"""
# The state is compared so that no partial index fits: the one of running jobs looks small to the planner, and is walked
# whole, with all that has ended since it was last vacuumed, where the primary key finds each job at once.
END: LiteralString = """
WITH done AS (
  SELECT * FROM ROWS FROM (
    unnest(string_to_array(%(ids)s, ',')::uuid[]), unnest(string_to_array(%(claims)s, ',')::uuid[]),
    unnest(string_to_array(%(states)s, ',')), json_array_elements(%(values)s::json),
    json_array_elements_text(%(errors)s::json), unnest(string_to_array(%(charges)s, ',')::int[]),
    unnest(string_to_array(%(crashes)s, ',')::int[])
  ) AS d(id, claim_id, ended, outcome, error, charge, crash)
), gone AS (
  DELETE FROM nocohost_jobs AS j USING done AS d
  WHERE j.id = d.id AND j.claim_id = d.claim_id AND j.state || '' = 'running'
  RETURNING j.*, d.ended, d.outcome, d.error, d.charge, d.crash
), expired AS (
  UPDATE nocohost_idempotency AS i SET expires_at = clock_timestamp() + i.unique_seconds * interval '1 second'
  FROM gone WHERE gone.idempotency_key IS NOT NULL AND i.key = gone.key
    AND i.idempotency_key = gone.idempotency_key AND i.job_id = gone.id
)
INSERT INTO nocohost_history (id, key, state, payload, priority, "group", run_at, enqueued_at, started_at, finished_at,
  attempts, losses, crashes, fence, node_id, idempotency_key, progress, value, last_error)
SELECT id, key, ended, payload, priority, "group", run_at, enqueued_at, started_at, clock_timestamp(),
  attempts + charge, losses, crashes + crash, fence, node_id, idempotency_key, progress,
  CASE WHEN outcome::text <> 'null' THEN outcome END,
  coalesce(error, last_error)
FROM gone RETURNING id::text
"""
GIVE_BACK: LiteralString = """
UPDATE nocohost_jobs AS j
SET state = 'pending', claim_id = NULL, attempts = j.attempts + d.charge, crashes = j.crashes + d.crash,
    last_error = coalesce(d.error, j.last_error),
    run_at = CASE WHEN d.delay > 0 THEN clock_timestamp() + d.delay * interval '1 second' ELSE j.run_at END
FROM ROWS FROM (unnest(string_to_array(%(ids)s, ',')::uuid[]), unnest(string_to_array(%(claims)s, ',')::uuid[]),
                json_array_elements_text(%(errors)s::json), unnest(string_to_array(%(charges)s, ',')::int[]),
                unnest(string_to_array(%(crashes)s, ',')::int[]), unnest(string_to_array(%(delays)s, ',')::float8[]))
  AS d(id, claim_id, error, charge, crash, delay)
WHERE j.id = d.id AND j.claim_id = d.claim_id AND j.state || '' = 'running' AND NOT j.cancel_requested
RETURNING j.id::text
"""
