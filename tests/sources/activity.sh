# The activity datasets: comments and general activity of a user, as JSON and as a file.
curl -sS 'http://localhost:8000/api/comments/?login=vladimir'; echo
curl -sS 'http://localhost:8000/api/general/?login=vladimir'; echo
curl -sS 'http://localhost:8000/api/comments/?login=vladimir&format=csv'; echo
curl -sS 'http://localhost:8000/api/general/?login=vladimir&format=csv'; echo
curl -sS 'http://localhost:8000/api/comments/?login=nobody-has-this-login'; echo
curl -sS -o /dev/null -w 'no login %{http_code}\n' http://localhost:8000/api/general/
