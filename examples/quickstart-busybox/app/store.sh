#!/bin/sh
# The store: a file per number; `store.sh` serves, `store.sh request` answers one connection.
dir=/var/lib/store
if [ "${1:-}" = request ]; then
    read -r token verb name value
    number=$(cat "$dir/$name" 2>/dev/null || echo 0)
    case $verb in
    GET) echo "$number" ;;
    INIT | ADD)
        [ "$token" = "$(cat /run/secrets/store_token)" ] || { echo 'error: wrong token'; exit; }
        if [ "$verb" = ADD ]; then number=$((number + value)); elif [ ! -e "$dir/$name" ]; then number=$value; fi
        echo "$number" > "$dir/$name"
        echo "$number"
        ;;
    *) echo "error: unknown command $verb" ;;
    esac
    exit
fi
trap 'echo "store: stopping"; exit 0' TERM
echo 'store: ready'
nc -ll -p 7000 -e sh /app/store.sh request &
wait
