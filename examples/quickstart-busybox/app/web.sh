#!/bin/sh
# Answers each HTTP request with the greeting and the store's count; `web.sh request` answers one connection.
if [ "${1:-}" = request ]; then
    while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
    body=$(printf '%s\ncount: %s\nserved by: %s\n' "$GREETING" "$(sh /app/ask.sh "$STORE" 'GET count')" "$(hostname)")
    printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n%s\n' "$body"
    exit
fi
trap 'echo "web: stopping"; exit 0' TERM
echo 'web: listening on port 80'
nc -ll -p 80 -e sh /app/web.sh request &
wait
