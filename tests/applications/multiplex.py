# As multiplex.go, on flup.
import os
import sys
import time
from urllib.parse import parse_qs

from flup.server.fcgi import WSGIServer


def answer(environ, start_response):
    query = parse_qs(environ.get("QUERY_STRING", ""))
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    while "wait" in query and not os.path.exists(query["wait"][0]):
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [query["n"][0].encode() + b";", b"x" * int(query.get("large", ["0"])[0]), body]


WSGIServer(answer, bindAddress=sys.argv[1], multiplexed=True, maxThreads=300).run()
