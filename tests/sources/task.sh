# The task text: users and devices in the admin, readings by the API, analyses and their results as tasks.
curl -sS -o /dev/null -w 'admin %{http_code}\n' http://localhost:8000/admin/
curl -sS -o /dev/null -w 'portal %{http_code}\n' -L http://localhost:8000/
curl -sS -o /dev/null -w 'docs %{http_code}\n' http://localhost:8000/docs
curl -sS -o /dev/null -w 'redoc %{http_code}\n' http://localhost:8000/redoc
curl -sS http://localhost:8000/schema/ | python3 -c 'import json, sys; print("openapi", json.load(sys.stdin)["openapi"])'
curl -sS 'http://localhost:8000/stats/?limit=1'; echo
curl -sS 'http://localhost:8000/tasks/?limit=1'; echo
curl -sS http://localhost:8000/profiles/; echo
