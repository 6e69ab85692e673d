# The calculation service: queue a calculation, list them, read one with chosen fields.
curl -sS -X POST http://localhost:8000/calculations/ -H 'Content-Type: application/json' \
  -d '{"date_start": "2026-01-01", "date_fin": "2026-02-01", "lag": 7, "name": "Well 9", "seed": 5}' \
  | tee "$TMP/run"; echo
RUN=$(field id < "$TMP/run")
finished "http://localhost:8000/calculations/$RUN/?fields=name,duration"; echo
curl -sS "http://localhost:8000/calculations/$RUN/?format=csv"; echo
curl -sS 'http://localhost:8000/calculations/?page=1&ordering=-started_at'; echo
curl -sS -X POST http://localhost:8000/calculations/ -H 'Content-Type: application/json' \
  -d '{"date_start": "2026-01-01", "date_fin": "2025-01-01", "lag": 0}'; echo
curl -sS -X POST "http://localhost:8000/calculations/$RUN/rerun"; echo
curl -sS -X POST -o /dev/null -w 'cancel a finished one %{http_code}\n' \
  "http://localhost:8000/calculations/$RUN/cancel"
