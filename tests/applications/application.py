# What tests/applications.rs asks of every runtime, by `do` of the query: flup with threads,
# which may multiplex.
import hashlib
import os
import sys
from urllib.parse import parse_qs

from flup.server.fcgi import WSGIServer

NAMES = ["REQUEST_METHOD", "QUERY_STRING", "SCRIPT_NAME", "PATH_INFO", "CONTENT_LENGTH", "HTTP_X_WORD"]


def answer(environ, start_response):
    do = parse_qs(environ.get("QUERY_STRING", "")).get("do", [""])[0]
    headers = [("X-Application", "flup"), ("Content-Type", "text/plain")]
    status, body = "200 OK", b""
    if do == "params":
        # A str of WSGI holds bytes, one for each character.
        body = "".join(f"{name}={environ.get(name, '')}\n" for name in NAMES).encode("latin-1")
    elif do == "echo":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers.append(("X-Digest", hashlib.sha256(body).hexdigest()))
    elif do == "large":
        body = b"0123456789abcdef" * 65536
    elif do == "missing":
        status, body = "404 Not Found", b"not here"
    elif do == "moved":
        status = "302 Found"
        headers.append(("Location", "https://example.net/elsewhere"))
    elif do == "log":
        environ["wsgi.errors"].write("a line for the log\n")
        body = b"logged"
    start_response(status, headers)
    return [body]


WSGIServer(answer, bindAddress=sys.argv[1], multiplexed="MULTIPLEXED" in os.environ).run()
