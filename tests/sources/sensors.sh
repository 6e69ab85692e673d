# The sensor exercise: measurements of any sensors in one array, statistics of one sensor, and its removal.
curl -sS -o /dev/null -w 'healthz %{http_code}\n' http://localhost:8080/healthz
curl -sS -X POST http://localhost:8080/data -H 'Content-Type: application/json' -d '[
  {"sensor": "s/1", "timestamp": "2026-11-21T10:31:00+01:00", "value": 1},
  {"sensor": "s/1", "timestamp": "2026-11-21T09:30:00Z", "value": 4},
  {"sensor": "s2", "timestamp": "2026-11-21T04:31:00-05:00", "value": 2.5}]'; echo
curl -sS -X POST http://localhost:8080/data -H 'Content-Type: application/json' -d '[]'; echo
curl -sS http://localhost:8080/statistics/s%2F1; echo
curl -sS http://localhost:8080/statistics/s2; echo
curl -sS http://localhost:8080/statistics/never-seen; echo
curl -sS -X DELETE -o /dev/null -w 'deleted %{http_code}\n' http://localhost:8080/statistics/s2
curl -sS -X DELETE -o /dev/null -w 'deleted %{http_code}\n' http://localhost:8080/statistics/s2
curl -sS http://localhost:8080/statistics/s2; echo
curl -sS -X POST http://localhost:8080/data -H 'Content-Type: application/json' -d '[
  {"sensor": "s2", "timestamp": "2026-11-21T11:00:00Z", "value": 7}]'; echo
curl -sS http://localhost:8080/statistics/s2; echo
