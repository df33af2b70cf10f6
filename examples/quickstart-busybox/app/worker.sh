#!/bin/sh
# Adds one to the store's count, once a second.
trap 'echo "worker: stopping"; exit 0' TERM
while true; do
    echo "worker $(hostname): count is $(sh /app/ask.sh "$STORE" 'ADD count 1')"
    sleep 1 &
    wait
done
