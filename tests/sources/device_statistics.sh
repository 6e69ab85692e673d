# The device statistics service: its four curl lines, then the result, for the device and for its owner.
curl -sS -X POST http://localhost:8000/users/ -H 'Content-Type: application/json' \
  -d '{"name": "Vera", "email": "vera@example.com"}' | tee "$TMP/user"; echo
curl -sS -X POST http://localhost:8000/devices/ -H 'Content-Type: application/json' \
  -d '{"user_id": '"$(field id < "$TMP/user")"'}' | tee "$TMP/device"; echo
DEVICE=$(field id < "$TMP/device")
curl -sS -X POST "http://localhost:8000/devices/$DEVICE/stats/" -H 'Content-Type: application/json' \
  -d '{"x": 1.5, "y": 2.0, "z": -3.25}'; echo
curl -sS -X POST "http://localhost:8000/devices/$DEVICE/stats/" -H 'Content-Type: application/json' \
  -d '{"x": 2.5, "y": 2.0, "z": 3.25}'; echo
curl -sS "http://localhost:8000/devices/$DEVICE/analytics/?start=2026-01-01T00:00:00" | tee "$TMP/task"; echo
finished "http://localhost:8000/tasks/$(field task_id < "$TMP/task")"; echo
curl -sS "http://localhost:8000/users/$(field id < "$TMP/user")/analytics/" | tee "$TMP/task"; echo
finished "http://localhost:8000/tasks/$(field task_id < "$TMP/task")"; echo
curl -sS -o /dev/null -w 'unknown %{http_code}\n' \
  http://localhost:8000/devices/00000000-0000-4000-8000-000000000000/analytics/
