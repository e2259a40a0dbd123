// What tests/applications.rs asks of every runtime, by `do` of the query: net/http/fcgi.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
)

// Of a path the handlers see all, unless a prefix is taken off.
const prefix = "/app"

func answer(response http.ResponseWriter, request *http.Request) {
	header := response.Header()
	header.Set("X-Application", "go")
	header.Set("Content-Type", "text/plain")
	switch request.URL.Query().Get("do") {
	case "params":
		fmt.Fprintf(response, "REQUEST_METHOD=%s\n", request.Method)
		fmt.Fprintf(response, "QUERY_STRING=%s\n", request.URL.RawQuery)
		fmt.Fprintf(response, "SCRIPT_NAME=%s\n", prefix)
		fmt.Fprintf(response, "PATH_INFO=%s\n", request.URL.Path)
		// A request without a body has a length too: 0.
		if request.ContentLength > 0 {
			fmt.Fprintf(response, "CONTENT_LENGTH=%d\n", request.ContentLength)
		} else {
			fmt.Fprintf(response, "CONTENT_LENGTH=\n")
		}
		fmt.Fprintf(response, "HTTP_X_WORD=%s\n", request.Header.Get("X-Word"))
	case "echo":
		body, err := io.ReadAll(request.Body)
		if err != nil {
			http.Error(response, err.Error(), 400)
			return
		}
		header.Set("X-Digest", fmt.Sprintf("%x", sha256.Sum256(body)))
		response.Write(body)
	case "large":
		response.Write(bytes.Repeat([]byte("0123456789abcdef"), 65536))
	case "missing":
		response.WriteHeader(404)
		fmt.Fprint(response, "not here")
	case "moved":
		header.Set("Location", "https://example.net/elsewhere")
		response.WriteHeader(302)
	}
}

func main() {
	listener, err := net.Listen("unix", os.Args[1])
	if err == nil {
		err = fcgi.Serve(listener, http.StripPrefix(prefix, http.HandlerFunc(answer)))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
