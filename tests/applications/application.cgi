#!/bin/sh
# What tests/applications.rs asks of every runtime, by `do` of the query: a CGI script.
echo 'X-Application: fcgiwrap'
echo 'Content-Type: text/plain'
case $QUERY_STRING in
do=params*)
    # To fcgiwrap a script that ends before its body does has failed.
    cat >/dev/null
    echo
    printf '%s=%s\n' REQUEST_METHOD "$REQUEST_METHOD" QUERY_STRING "$QUERY_STRING" SCRIPT_NAME "$SCRIPT_NAME" \
        PATH_INFO "$PATH_INFO" CONTENT_LENGTH "$CONTENT_LENGTH" HTTP_X_WORD "$HTTP_X_WORD"
    ;;
do=echo*)
    # fcgiwrap hands over the whole body before it takes anything of the answer.
    body=$(mktemp)
    cat >"$body"
    printf 'X-Digest: %s\n\n' "$(sha256sum "$body" | cut -d ' ' -f 1)"
    cat "$body"
    rm "$body"
    ;;
do=large*)
    echo
    awk 'BEGIN { for (; i < 65536; i++) printf "0123456789abcdef" }'
    ;;
do=missing*) printf 'Status: 404 Not Found\n\nnot here' ;;
do=moved*) printf 'Status: 302 Found\nLocation: https://example.net/elsewhere\n\n' ;;
do=log*)
    echo 'a line for the log' >&2
    printf '\nlogged'
    ;;
esac
